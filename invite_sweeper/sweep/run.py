"""One run: list projects, recover, build the plan, check it, confirm, sweep."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, Protocol

from invite_sweeper.audit import AuditLog, OpenIntent, PlanReader, PlanSpan, SweepRecorder
from invite_sweeper.errors import CredentialsRefused, GuardRefused, Interrupted, RunError
from invite_sweeper.models import (
    SOURCES_OF_USERS,
    DeletionResult,
    Invitation,
    ListRef,
    Outcome,
    PlannedDeletion,
    Source,
    SourceRetired,
)
from invite_sweeper.policy import Limits, Policy
from invite_sweeper.shutdown import NOTHING_DELETED, StopRequest
from invite_sweeper.sweep.discovery import ListOutcome, discover_projects, list_invitations
from invite_sweeper.sweep.executor import Deleter, ExecutorOptions, SweepExecutor
from invite_sweeper.sweep.guards import (
    CircuitBreaker,
    Population,
    check_clock,
    check_limits,
    check_population,
)
from invite_sweeper.sweep.plan import PlanBuilder
from invite_sweeper.sweep.previous_runs import Recovery, UserStatusReader
from invite_sweeper.sweep.scope import ProjectFilter, RunScope, Shard
from invite_sweeper.sweep.selection import Decision, Selector, no_filter
from invite_sweeper.sweep.summary import (
    RunCounts,
    RunResult,
    RunSummary,
    RunWarning,
    removed_member_warning,
    retired_warning,
    sunset_warnings,
    unused_keep_warnings,
    unverified_warning,
)
from invite_sweeper.text import pluralize


class AtlasConnection(Protocol):
    """The Atlas client as a run uses it."""

    @property
    def reader(self) -> UserStatusReader:
        """The part that reads; it cannot delete."""
        ...

    def deleter(self, sources: Iterable[Source]) -> Deleter:
        """Return the part that deletes from these lists; only a sweep calls it."""
        ...

    @property
    def clock_skew_s(self) -> float | None:
        """Local time minus Atlas's; None while no response had a `Date` header."""
        ...

    @property
    def has_responded(self) -> bool:
        """Whether Atlas has returned any response."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about Atlas's responses, as sentences for the operator."""
        ...

    @property
    def sunset(self) -> date | None:
        """The first day on which Atlas stops serving a list in use; None if not announced."""
        ...

    @property
    def sunsets(self) -> Mapping[Source, date]:
        """The announced sunset of each source."""
        ...

    @property
    def deprecation(self) -> date | None:
        """The first day on which something in use is deprecated; None if not announced."""
        ...

    async def fetch_limits(self) -> None:
        """Read the rate limits from Atlas; failing to is not an error."""
        ...

    async def prepare_for(self, deletions: Mapping[ListRef, int]) -> None:
        """Prepare for this number of deletions per list; this only saves time."""
        ...

    def estimate_s(self, deletions: Mapping[ListRef, int]) -> float:
        """Return the seconds that this number of deletions per list takes within rate limits."""
        ...


class ProgressView(Protocol):
    """What the operator sees during a run."""

    def listing_started(self, projects: int) -> None:
        """Show that this number of lists will be read."""
        ...

    def list_done(self) -> None:
        """Show that one list was read, or could not be."""
        ...

    def deleting_started(self, deletions: int, estimate_s: float) -> None:
        """Show that this number of deletions begins, and how long they should take."""
        ...

    def deletion_done(self, outcome: Outcome) -> None:
        """Show that one deletion ended."""
        ...

    def warning(self, message: str) -> None:
        """Show a warning; the run continues."""
        ...

    def error(self, message: str) -> None:
        """Show an error that needs action; the run continues."""
        ...


class PopulationRecorder(Protocol):
    """Records every invitation that a run sees, with its decision."""

    @property
    def sha256(self) -> str | None:
        """The hash of what was recorded; None before it is complete."""
        ...

    def add_list(self, outcome: ListOutcome, decisions: Sequence[Decision]) -> None:
        """Record one list; raise AuditLogError if that fails."""
        ...

    def end(self, summary: RunSummary) -> None:
        """Record the totals, before anything is deleted; raise AuditLogError if that fails."""
        ...


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The configuration of one run.

    Attributes:
        now: The one instant of the run, aware UTC.
        dry_run: Stop before the first DELETE.
        clock: Monotonic seconds; the run began at `started_s`.
        confirm: Called once, after the guards and before the first DELETE; None to not ask.
        run_started_fields: The fields of the `run_started` line.
        decision_filter: Applied to each decision; it can only keep more.
        previous_population: What the last complete run left; None to not compare.
        open_intents: Intents that an interrupted run left without an outcome.
        on_plan_accepted: Called when the plan is on disk and passed the guards; returns
            warnings.
        policy_change: Called after the guards; returns the error to end with and warnings,
            or None.
        population: Records every invitation that the run sees; None to not record them.
    """

    policy: Policy
    now: datetime
    run_id: str
    dry_run: bool
    clock: Callable[[], float]
    started_s: float
    shard: Shard | None = None
    confirm: Callable[[RunSummary], Awaitable[bool]] | None = None
    run_started_fields: Mapping[str, object] = field(default_factory=dict)
    decision_filter: Callable[[Decision], Decision] = no_filter
    previous_population: Population | None = None
    open_intents: tuple[OpenIntent, ...] = ()
    on_plan_accepted: Callable[[Sequence[PlanSpan]], tuple[str, ...]] | None = None
    policy_change: Callable[[], tuple[GuardRefused, tuple[str, ...]] | None] | None = None
    population: PopulationRecorder | None = None

    @property
    def limits(self) -> Limits:
        """The limits of this run; with shards, this shard's part of them."""
        whole = self.policy.limits
        return self.shard.limits_for(whole) if self.shard is not None else whole

    @property
    def deadline_left_s(self) -> float:
        """Seconds until the deadline; 0.0 when it has passed."""
        spent_s = self.clock() - self.started_s
        return max(0.0, self.policy.execution.deadline.total_seconds() - spent_s)


MAX_WARNINGS: Final = 1000
"""Warnings that the summary contains at most; the view shows all of them."""


class RunWarnings:
    """Shows warnings immediately and adds them to the summary."""

    def __init__(
        self, config: RunConfig, log: AuditLog, counts: RunCounts, view: ProgressView
    ) -> None:
        self._config = config
        self._log = log
        self._counts = counts
        self._view = view
        self._unverified = 0

    def warn(self, *messages: str) -> None:
        """Report warnings."""
        self._report(map(RunWarning, messages))

    def unused_keep_entries(self, kept: Mapping[str, int]) -> None:
        """Warn about keep entries that matched no invitation."""
        self._report(unused_keep_warnings(self._config.policy.keep, kept, self._config.now.date()))

    def retired_sources(
        self, retired: Iterable[SourceRetired], sunsets: Mapping[Source, date]
    ) -> None:
        """Warn about sources that Atlas has retired or will retire soon."""
        retired_by_source = {each.source: each for each in retired}
        upcoming = {
            source: day for source, day in sunsets.items() if source not in retired_by_source
        }
        self._report(map(retired_warning, retired_by_source.values()))
        self._report(sunset_warnings(upcoming, self._config.now.date()))

    def deletion_done(self, planned: PlannedDeletion, result: DeletionResult) -> None:
        """Show the outcome of one deletion; report a removed member immediately."""
        self._view.deletion_done(result.outcome)
        if result.outcome is Outcome.ACCEPTED_DURING:
            self._removed_member(planned.invitation)
        elif result.outcome is Outcome.DELETED and result.seen_after is None:
            self._unverified += planned.invitation.source in SOURCES_OF_USERS

    def recovered(self, intent: OpenIntent, outcome: Outcome) -> None:
        """Count an intent of an earlier run; report a removed member immediately."""
        self._counts.recovered[outcome] += 1
        if outcome is Outcome.ACCEPTED_DURING:
            self._removed_member(intent.invitation)
        elif outcome is Outcome.UNKNOWN:
            self._unverified += not intent.from_restore

    def finish(self) -> None:
        """Report how many removed users could not be checked since the last call."""
        if self._unverified:
            self._report([unverified_warning(self._unverified)])
        self._unverified = 0

    def _removed_member(self, invitation: Invitation) -> None:
        path, run_id = str(self._log.path), self._config.run_id
        self._report([removed_member_warning(invitation, path, run_id)])

    def _report(self, warnings: Iterable[RunWarning]) -> None:
        for text, urgent in warnings:
            if len(self._counts.warnings) < MAX_WARNINGS:
                self._counts.warnings.append(text)
            (self._view.error if urgent else self._view.warning)(text)


_READERS_PER_SLOT = 2
"""Lists read at a time per request in flight: one of them may be backing off."""


class Run:
    """One run against Atlas, recorded in the audit log."""

    def __init__(
        self,
        config: RunConfig,
        atlas: AtlasConnection,
        log: AuditLog,
        counts: RunCounts,
        *,
        stop: StopRequest,
        view: ProgressView,
    ) -> None:
        self._config = config
        self._atlas = atlas
        self._log = log
        self._counts = counts
        self._stop = stop
        self._view = view
        self._warnings = RunWarnings(config, log, counts, view)
        self._readers = config.policy.execution.concurrency * _READERS_PER_SLOT

    async def run(self) -> RunResult:
        """Run all steps; the result contains the error that stopped them, if any.

        All lines up to `run_finished` are on disk afterwards, unless writing the log failed.
        """
        error: RunError | None = None
        deadline = f"the deadline of {self._config.policy.execution.deadline} passed"
        deadline_timer = asyncio.get_running_loop().call_later(
            self._config.deadline_left_s, self._stop.request, deadline
        )
        try:
            self._log.write("run_started", **self._config.run_started_fields)
            await self._log.sync()
            await self._run_steps()
        except RunError as caught:
            error = caught
            refused = isinstance(error, CredentialsRefused)
            interrupted = isinstance(error, Interrupted) and self._counts.summary().requests > 0
            self._counts.reached_atlas |= interrupted or (self._atlas.has_responded and not refused)
        finally:
            deadline_timer.cancel()
        self._counts.sunset = self._atlas.sunset
        self._counts.deprecation = self._atlas.deprecation
        return await self._counts.finish(self._log, error)

    async def _run_steps(self) -> None:
        scope = await self._stop.run_unless_stopped(self._list_projects())
        if self._config.open_intents and not self._config.dry_run:
            await self._stop.run_unless_stopped(self._recover())
        plan = await self._stop.run_unless_stopped(self._build_plan(scope))
        if self._config.dry_run and plan.seen:
            self._warnings.unused_keep_entries(plan.kept)
        self._check_plan(plan)
        if self._config.dry_run or not plan.planned:
            return
        await self._confirm()
        await self._sweep(plan)

    async def _recover(self) -> None:
        """Resolve what an earlier run left open, before this run plans anything."""
        config, warnings = self._config, self._warnings
        recovery = Recovery(self._atlas.reader, self._log, config.now, warnings.recovered)
        try:
            warnings.warn(*await recovery.run(config.open_intents))
        finally:
            warnings.finish()

    def _check_plan(self, plan: PlanBuilder) -> None:
        """Raise GuardRefused if a guard refuses the plan; nothing was deleted so far."""
        config, plan_counts = self._config, plan.counts()
        self._counts.estimate_s = self._atlas.estimate_s(plan.deletions_by_list)
        if config.previous_population is not None:
            # Invitations of a retired source are not visible, which is not a drop.
            min_invitations = config.previous_population.invitations if plan.retired else 0
            seen = Population(self._counts.projects_seen, max(plan.seen, min_invitations))
            check_population(config.previous_population, seen, config.limits)
        check_limits(plan_counts, config.limits, str(config.shard) if config.shard else None)
        change = config.policy_change() if config.policy_change is not None else None
        if change is not None:
            self._warnings.warn(*change[1])
            raise change[0]
        if config.on_plan_accepted is not None:
            self._warnings.warn(*config.on_plan_accepted(plan.spans))

    async def _list_projects(self) -> RunScope:
        project_filter = ProjectFilter(self._config.policy)
        scope = await discover_projects(self._atlas.reader, project_filter)
        self._counts.reached_atlas = True
        check_clock(self._atlas.clock_skew_s)
        await self._atlas.fetch_limits()
        self._warnings.warn(*self._atlas.warnings, *project_filter.unused_entries())
        shard = self._config.shard
        if shard is not None:
            scope = scope.restricted_to(shard.includes)
        self._counts.projects_seen = len(scope.projects) + len(scope.unreadable)
        return scope

    async def _build_plan(self, scope: RunScope) -> PlanBuilder:
        config = self._config
        plan = PlanBuilder(
            self._log,
            Selector(config.policy, config.now),
            config.limits,
            config.now,
            config.decision_filter,
            config.population.add_list if config.population is not None else lambda *_: None,
        )
        self._counts.plan = plan
        sources = config.policy.sources
        self._view.listing_started(len(scope.lists(sources)))

        async def add_list(outcome: ListOutcome) -> None:
            await plan.add(outcome)
            self._view.list_done()

        for unreadable in scope.unreadable:
            await plan.add(unreadable)
        try:
            await list_invitations(
                self._atlas.reader, scope, sources, add_list, workers=self._readers
            )
        finally:
            self._warnings.retired_sources(plan.retired, self._atlas.sunsets)
        await plan.finish()
        if config.population is not None:
            config.population.end(self._counts.summary())
            self._counts.population_sha256 = config.population.sha256
        return plan

    async def _confirm(self) -> None:
        confirm = self._config.confirm
        agreed = confirm is None or await confirm(self._counts.summary())
        if self._stop.reason is not None:
            raise self._stop.as_error(consequence=NOTHING_DELETED)
        if not agreed:
            raise GuardRefused("Cancelled at the confirmation prompt.")

    async def _sweep(self, plan: PlanBuilder) -> None:
        config, stop, execution = self._config, self._stop, self._config.policy.execution
        await self._atlas.prepare_for(plan.deletions_by_list)
        executor = SweepExecutor(
            self._atlas.deleter(config.policy.sources),
            SweepRecorder(self._log, config.now),
            stop=stop,
            breaker=CircuitBreaker(config.limits),
            clock=config.clock,
            options=ExecutorOptions(
                workers=execution.concurrency,
                extra_workers=execution.concurrency,
                canary=config.limits.canary,
                grace_s=execution.grace.total_seconds(),
                multiple_sources=len(config.policy.sources) > 1,
            ),
            on_deletion_done=self._warnings.deletion_done,
        )
        recorder = executor.recorder
        self._counts.outcomes = outcomes = recorder.outcomes
        self._view.deleting_started(plan.planned, self._counts.estimate_s or 0.0)
        try:
            with PlanReader.open(self._log.path, config.run_id) as queue_for:
                await executor.run(queue_for(span) for span in plan.spans)
        except RunError as error:
            done = pluralize(outcomes[Outcome.DELETED], "invitation")
            error.consequence = f"{done} had been deleted by then."
            raise
        finally:
            self._warnings.finish()
        for source, message in recorder.sources.retired.items():
            self._warnings.warn(f"Atlas retired the list {source.value} in mid-sweep: {message}")
        if recorder.breaker_reason is not None:
            self._warnings.warn(f"The sweep stopped itself: {recorder.breaker_reason}")
        incomplete = (
            recorder.retries_cut_short or outcomes[Outcome.SKIPPED] or outcomes[Outcome.UNKNOWN]
        )
        if stop.reason is not None and incomplete:
            raise stop.as_error(consequence="The audit log is complete.")
