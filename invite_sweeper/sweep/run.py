"""One run, its steps in order."""

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

# What a run is asked to do, and what it needs of the world.


class AtlasConnection(Protocol):
    """What a run needs of Atlas."""

    @property
    def reader(self) -> UserStatusReader:
        """Give the part that reads, and cannot delete."""
        ...

    def deleter(self, sources: Iterable[Source]) -> Deleter:
        """Give the part that deletes from these lists; called by a sweep alone."""
        ...

    @property
    def clock_skew_s(self) -> float | None:
        """How far our clock is ahead of Atlas's; None while no answer had a date."""
        ...

    @property
    def has_responded(self) -> bool:
        """Tell whether Atlas has answered anything."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """Give what the answers left open, as sentences for a person."""
        ...

    @property
    def sunset(self) -> date | None:
        """The day on which Atlas says that it stops serving a list; None where it does not."""
        ...

    @property
    def sunsets(self) -> Mapping[Source, date]:
        """The same for each source that Atlas names a day for."""
        ...

    @property
    def deprecation(self) -> date | None:
        """The day from which Atlas advises against what is in use; None where it does not."""
        ...

    async def fetch_limits(self) -> None:
        """Ask Atlas for its limits, if it tells them; nothing depends on the answer."""
        ...

    async def prepare_for(self, deletions: Mapping[ListRef, int]) -> None:
        """Prepare for so many deletions in each list; nothing depends on it but the time."""
        ...

    def estimate_s(self, deletions: Mapping[ListRef, int]) -> float:
        """Give the seconds that Atlas's limits ask for so many deletions a list."""
        ...


class ProgressView(Protocol):
    """What a person sees while it runs."""

    def listing_started(self, projects: int) -> None:
        """So many projects are about to be read."""
        ...

    def list_done(self) -> None:
        """One project has been read, or could not be."""
        ...

    def deleting_started(self, deletions: int, estimate_s: float) -> None:
        """So many deletions are about to begin, and should take so long by Atlas's limits."""
        ...

    def deletion_done(self, outcome: Outcome) -> None:
        """One deletion has ended."""
        ...

    def warning(self, message: str) -> None:
        """Something deserves a look, and does not stop the run."""
        ...

    def error(self, message: str) -> None:
        """Something has to be seen to, though the run goes on."""
        ...


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What a run is asked to do.

    Attributes:
        now: The one instant of the run, aware UTC.
        dry_run: Stop before the first DELETE.
        clock: Monotonic seconds; the run began at `started_s` on it.
        confirm: Asked once, after the guard, before the first DELETE; None asks nobody.
        preamble: The fields of the `run_started` line.
        amend: A second look at each decision; it only ever keeps more.
        before: What the last complete run left; None where nothing is known, or not asked.
        open_intents: What a run that was cut off left unsettled.
        passed: Called when the plan is on disk and has passed the guard; gives sentences for
            a person.
        refusal: What the run ends with after the guard, whatever the plan, and sentences for
            a person; None for nothing.
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

    @property
    def limits(self) -> Limits:
        """The limits of this run: the shard's part of them where there are several."""
        whole = self.policy.limits
        return self.shard.limits_for(whole) if self.shard is not None else whole

    @property
    def deadline_left_s(self) -> float:
        """Seconds until the deadline; 0.0 when it has passed."""
        spent_s = self.clock() - self.started_s
        return max(0.0, self.policy.execution.deadline.total_seconds() - spent_s)


# What a run tells a person while it goes on, and keeps for its summary.


MAX_WARNINGS: Final = 1000
"""So many sentences are kept for the summary; the log has all of them."""


class RunWarnings:
    """Says things at once, and puts them among the warnings of the summary."""

    def __init__(
        self, config: RunConfig, log: AuditLog, counts: RunCounts, view: ProgressView
    ) -> None:
        self._config = config
        self._log = log
        self._counts = counts
        self._view = view
        self._unverified = 0

    def warn(self, *messages: str) -> None:
        """Say what deserves a look."""
        self._report(map(RunWarning, messages))

    def unused_keep_entries(self, kept: Mapping[str, int]) -> None:
        """Tell of keep entries that kept nobody."""
        self._report(unused_keep_warnings(self._config.policy.keep, kept, self._config.now.date()))

    def retired_sources(
        self, retired: Iterable[SourceRetired], sunsets: Mapping[Source, date]
    ) -> None:
        """Tell of lists that have ended, and of those that soon will."""
        retired_by_source = {each.source: each for each in retired}
        upcoming = {
            source: day for source, day in sunsets.items() if source not in retired_by_source
        }
        self._report(map(retired_warning, retired_by_source.values()))
        self._report(sunset_warnings(upcoming, self._config.now.date()))

    def deletion_done(self, planned: PlannedDeletion, result: DeletionResult) -> None:
        """Show that one deletion has ended; a member that was removed is told at once."""
        self._view.deletion_done(result.outcome)
        if result.outcome is Outcome.ACCEPTED_DURING:
            self._removed_member(planned.invitation)
        elif result.outcome is Outcome.DELETED and result.seen_after is None:
            self._unverified += planned.invitation.source in SOURCES_OF_USERS

    def recovered(self, intent: OpenIntent, outcome: Outcome) -> None:
        """Count what an earlier run had left open; a member that it removed is told at once."""
        self._counts.recovered[outcome] += 1
        if outcome is Outcome.ACCEPTED_DURING:
            self._removed_member(intent.invitation)
        elif outcome is Outcome.UNKNOWN:
            self._unverified += not intent.from_restore

    def finish(self) -> None:
        """Tell what could not be found out so far."""
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


# One run, its steps in order: survey, draw up the plan, guard, ask, sweep.


_READERS_PER_SLOT = 2
"""Lists asked for at a time, for each request in flight: one may wait between its tries."""


class Run:
    """One run of the job against Atlas, accounted for in the audit log."""

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
        """Carry out the job; what went wrong is in what it returns.

        Everything up to `run_finished` is on disk then, unless the log itself failed.
        """
        error: RunError | None = None
        deadline = f"the deadline of {self._config.policy.execution.deadline} came"
        deadline_timer = asyncio.get_running_loop().call_later(
            self._config.deadline_left_s, self._stop.request, deadline
        )
        try:
            self._log.write("run_started", **self._config.run_started_fields)
            await self._log.sync()
            await self._run_steps()
        except RunError as trouble:
            error = trouble
            refused = isinstance(trouble, CredentialsRefused)
            interrupted = isinstance(trouble, Interrupted) and self._counts.summary().requests > 0
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
        """Settle what an earlier run left open, before anything of this one."""
        config, warnings = self._config, self._warnings
        recovery = Recovery(self._atlas.reader, self._log, config.now, warnings.recovered)
        try:
            warnings.warn(*await recovery.run(config.open_intents))
        finally:
            warnings.finish()

    def _check_plan(self, plan: PlanBuilder) -> None:
        """Let the plan pass, or raise; nothing was sent so far."""
        config, plan_counts = self._config, plan.counts()
        self._counts.estimate_s = self._atlas.estimate_s(plan.deletions_by_list)
        if config.previous_population is not None:
            # A list that Atlas retired holds nobody any more, and nobody has left.
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
        )
        self._counts.plan = plan
        sources = config.policy.sources
        self._view.listing_started(len(scope.lists(sources)))

        async def visit(found: ListOutcome) -> None:
            await plan.add(found)
            self._view.list_done()

        for unreadable in scope.unreadable:
            await plan.add(unreadable)
        try:
            await list_invitations(self._atlas.reader, scope, sources, visit, workers=self._readers)
        finally:
            self._warnings.retired_sources(plan.retired, self._atlas.sunsets)
        await plan.finish()
        return plan

    async def _confirm(self) -> None:
        confirm = self._config.confirm
        agreed = confirm is None or await confirm(self._counts.summary())
        if self._stop.reason is not None:
            raise self._stop.as_error(consequence=NOTHING_DELETED)
        if not agreed:
            raise GuardRefused("The person at the terminal did not say yes.")

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
            self._warnings.warn(f"The list {source.value} ended in mid-sweep: {message}")
        if recorder.breaker_reason is not None:
            self._warnings.warn(f"The sweep stopped itself: {recorder.breaker_reason}")
        incomplete = (
            recorder.retries_cut_short or outcomes[Outcome.SKIPPED] or outcomes[Outcome.UNKNOWN]
        )
        if stop.reason is not None and incomplete:
            raise stop.as_error(consequence="What was done is in the audit log.")
