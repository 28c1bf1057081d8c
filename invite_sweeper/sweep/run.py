"""One run: list projects, recover and build the plan; then delete what it contains.

`group.py` runs both phases for all organizations of a command, with the guards in between.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Final, Protocol

from invite_sweeper.audit import AuditLog, OpenIntent, PlanReader, RunStarted, SweepRecorder
from invite_sweeper.counts import Counts
from invite_sweeper.endings import Reason, RunWarning, WarningCode, WarningLevel
from invite_sweeper.errors import AuditLogError, CredentialsRefused, Interrupted, RunError
from invite_sweeper.models import (
    SOURCES_OF_USERS,
    DeletionEstimate,
    DeletionResult,
    Invitation,
    ListRef,
    ListUnreadable,
    Outcome,
    PlannedDeletion,
    Population,
    Source,
    SourceRetired,
    is_permission_error,
)
from invite_sweeper.policy import Limits, Policy
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.changes import ChangeTracker
from invite_sweeper.sweep.decision_steps import Step
from invite_sweeper.sweep.discovery import (
    DeletionVerifier,
    ListedInvitations,
    ListOutcome,
    discover_projects,
    list_invitations,
)
from invite_sweeper.sweep.executor import (
    Deleter,
    ExecutorOptions,
    OutcomeRecorder,
    SweepExecutor,
)
from invite_sweeper.sweep.guards import CircuitBreaker, check_clock
from invite_sweeper.sweep.members import MemberReader, read_members
from invite_sweeper.sweep.notice import describe_notice
from invite_sweeper.sweep.plan import PlanBuilder
from invite_sweeper.sweep.quarantine import PolicyChange
from invite_sweeper.sweep.recovery import Recovery, UserStatusReader
from invite_sweeper.sweep.run_state import RunResult, RunState, list_name
from invite_sweeper.sweep.scope import ProjectFilter, RunScope, Shard
from invite_sweeper.sweep.selection import Decision, Members, Selector
from invite_sweeper.sweep.summary import (
    RunSummary,
    removed_member_warning,
    still_there_warnings,
    unused_keep_warnings,
    unverified_warning,
)
from invite_sweeper.sweep.sunset import has_ended, retired_warning, secret_warnings, sunset_warnings
from invite_sweeper.sweep.unread_lists import look_beyond
from invite_sweeper.text import pluralize


class RunReader(UserStatusReader, MemberReader, Protocol):
    """The read access to Atlas that a run needs."""


class AtlasConnection(Protocol):
    """The Atlas client as a run uses it."""

    @property
    def reader(self) -> RunReader:
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

    async def organization_names(self) -> Mapping[str, str]:
        """Return the names of the organizations, by id; failing to read them is not an error."""
        ...

    async def secret_expiries(self, org_id: str) -> tuple[datetime, ...]:
        """Return when the credentials' secrets expire; failing to read it is not an error."""
        ...

    async def prepare_for(self, deletions: Mapping[ListRef, int]) -> None:
        """Read the rate limits in force where these deletions need them."""
        ...

    def estimate(self, deletions: Mapping[ListRef, int]) -> DeletionEstimate:
        """Return how long this number of deletions per list will take."""
        ...


class ProgressView(Protocol):
    """What the operator sees during a run."""

    def listing_started(self, projects: int) -> None:
        """Show that this number of lists will be read."""
        ...

    def list_done(self) -> None:
        """Show that one list was read, or could not be."""
        ...

    def deleting_started(self, deletions: int, estimate: DeletionEstimate) -> None:
        """Show that this number of deletions begins, and how long they should take."""
        ...

    def deletion_done(self, outcome: Outcome) -> None:
        """Show that one deletion ended."""
        ...

    def remark(self, message: str) -> None:
        """Show a remark about the policy or the setup; the run is not affected."""
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

    @property
    def manifest_sha256(self) -> str | None:
        """The hash of the manifest, likewise."""
        ...

    def add_list(self, outcome: ListOutcome, decisions: Sequence[Decision]) -> None:
        """Record one list; raise AuditLogError if that fails."""
        ...

    def end(self, summary: RunSummary) -> None:
        """Record the totals, before anything is deleted; raise AuditLogError if that fails."""
        ...

    def fail(self, reason: str) -> None:
        """Record that the run did not read all its lists; raise AuditLogError if that fails."""
        ...


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The configuration of one run.

    Attributes:
        now: The one instant of the run, aware UTC.
        dry_run: Stop before the first DELETE.
        clock: Monotonic seconds; the command began at `started_s`.
        started: The first line of the run.
        steps: Applied to each decision; they can only keep more.
        previous_population: What the last complete runs left; None to ignore a drop.
        open_intents: Intents that an interrupted run left without an outcome.
        change: Compares a changed policy with the accepted one; None without a quarantine.
        population: Records every invitation that the run sees; None to not record them.
        last_plan: The last plan of the same policy, to compare this one with; None without one.
        earlier_sunsets: The end of each source as the last runs recorded it.
        credentials_variables: The environment variables with the credentials.
        earlier_members: The active members that each organization last had.
    """

    policy: Policy
    now: datetime
    run_id: str
    dry_run: bool
    clock: Callable[[], float]
    started_s: float
    started: RunStarted
    shard: Shard | None = None
    steps: tuple[Step, ...] = ()
    previous_population: Population | None = None
    open_intents: tuple[OpenIntent, ...] = ()
    change: PolicyChange | None = None
    population: PopulationRecorder | None = None
    last_plan: ChangeTracker | None = None
    earlier_sunsets: Mapping[Source, date] = field(default_factory=dict)
    credentials_variables: tuple[str, ...] = ()
    earlier_members: Mapping[str, int] = field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        """The limits of the command; with shards, this shard's part of them."""
        whole = self.policy.limits
        return self.shard.limits_for(whole) if self.shard is not None else whole


MAX_WARNINGS: Final = 1000
"""Warnings that the summary contains at most; the view shows all of them."""


class RunWarnings:
    """Shows warnings immediately and adds them to the summary."""

    def __init__(self, config: RunConfig, state: RunState, view: ProgressView) -> None:
        self._config = config
        self._state = state
        self._view = view
        self._unverified = 0

    def warn(self, code: WarningCode, *messages: str) -> None:
        """Report warnings."""
        self.report(*(RunWarning(code, message) for message in messages))

    def remark(self, code: WarningCode, *messages: str) -> None:
        """Report remarks about the policy."""
        self.report(*(RunWarning(code, each, WarningLevel.REMARK) for each in messages))

    def unused_keep_entries(self, kept: Mapping[str, int]) -> None:
        """Warn about keep entries that matched no invitation."""
        today = self._config.now.date()
        self.report(*unused_keep_warnings(self._config.policy.keep, kept, today))

    def retired_sources(
        self, retired: Iterable[SourceRetired], sunsets: Mapping[Source, date]
    ) -> None:
        """Warn about sources that Atlas has retired or will retire soon.

        A source that is retired before the announced day is a reason of the run's end.
        """
        today = self._config.now.date()
        retired_by_source = {each.source: each for each in retired}
        upcoming = {
            source: day for source, day in sunsets.items() if source not in retired_by_source
        }
        announced = {**self._config.earlier_sunsets, **sunsets} if retired_by_source else {}
        for source, each in retired_by_source.items():
            ended = has_ended(source, announced, today)
            self.report(retired_warning(each, has_ended=ended))
            if not ended:
                self._state.retired_early.add(source)
        self.report(*sunset_warnings(upcoming, today))

    def deletion_done(self, planned: PlannedDeletion, result: DeletionResult) -> None:
        """Show the outcome of one deletion; report a removed member immediately."""
        self._view.deletion_done(result.outcome)
        org_id = planned.invitation.org_id
        self._state.outcomes[org_id][result.outcome] += 1
        invitation = planned.invitation
        name = list_name(invitation.source, invitation.project_id)
        self._state.removed[name] += result.outcome.no_longer_pending
        if result.outcome is Outcome.ACCEPTED_DURING:
            self._removed_member(planned.invitation)
        elif result.outcome is Outcome.FAILED:
            refused = is_permission_error(result.http_status, result.error_code)
            self._state.counts[org_id] += Counts(missing_role=int(refused))
        elif result.outcome is Outcome.DELETED and result.seen_after is None:
            self._unverified += planned.invitation.source in SOURCES_OF_USERS

    def recovered(self, intent: OpenIntent, outcome: Outcome) -> None:
        """Count an intent of an earlier run; report a removed member immediately."""
        self._state.counts[intent.invitation.org_id] += Counts(recovered=1)
        if outcome is Outcome.ACCEPTED_DURING:
            self._removed_member(intent.invitation)
        elif outcome is Outcome.UNKNOWN:
            self._unverified += not intent.from_restore

    def still_there(self, verifier: DeletionVerifier) -> None:
        """Report the invitations that Atlas's lists still contain."""
        self.report(*still_there_warnings(verifier.still_there))
        claim = "An answer said that there is no such invitation, for"
        self.report(*still_there_warnings(verifier.not_gone, claim))

    def finish(self) -> None:
        """Report how many removed users could not be checked since the last call."""
        if self._unverified:
            self.report(unverified_warning(self._unverified))
        self._unverified = 0

    def _removed_member(self, invitation: Invitation) -> None:
        self._state.removed_members.append(invitation.username)
        self.report(removed_member_warning(invitation, self._state.advisor))

    def report(self, *warnings: RunWarning) -> None:
        """Show warnings and record them."""
        for each in warnings:
            if len(self._state.warnings) < MAX_WARNINGS:
                self._state.warnings.append(each)
            match each.level:
                case WarningLevel.REMARK:
                    self._view.remark(each.message)
                case WarningLevel.URGENT:
                    self._view.error(each.message)
                case _:
                    self._view.warning(each.message)


_READERS_PER_SLOT = 2
"""Lists read at a time per request in flight: one of them may be backing off."""


class Run:
    """One run against Atlas, recorded in the audit log.

    Attributes:
        config: Its configuration.
        state: What is known about it so far.
        warnings: Its warnings.
        plan: What it deletes; complete after `read` and `PlanBuilder.finish`.
        unused_patterns: A warning for each pattern of the policy that matched no project.
    """

    def __init__(
        self,
        config: RunConfig,
        atlas: AtlasConnection,
        log: AuditLog,
        state: RunState,
        *,
        stop: StopRequest,
        view: ProgressView,
    ) -> None:
        self.config = config
        self.state = state
        state.previous = config.previous_population
        self.warnings = RunWarnings(config, state, view)
        self.unused_patterns: tuple[str, ...] = ()
        self._listed_again: set[int] | None = None
        self._atlas = atlas
        self._estimate = DeletionEstimate()
        self._log = log
        self._stop = stop
        self._view = view
        self._seen: defaultdict[Source, set[int]] = defaultdict(set)  # hashes of user keys
        self._readers = config.policy.execution.concurrency * _READERS_PER_SLOT

    @property
    def plan(self) -> PlanBuilder:
        """The plan; `read` has created it."""
        assert self.state.plan is not None  # noqa: S101 - the group plans before it checks
        return self.state.plan

    async def read(self, claimed: set[str] | None = None) -> None:
        """Read everything and decide; write the plan, but what `over_limit: trim` may leave out.

        Args:
            claimed: The projects that earlier runs of the command have read; this run's are
                added. A project that moves between two organizations is read once.

        Raises:
            RunError: The run cannot go on. Nothing was deleted.
        """
        self._log.write(self.config.started)
        await self._log.sync()
        claimed = claimed if claimed is not None else set()
        scope = await self._stop.run_unless_stopped(self._list_projects(claimed))
        if self.config.open_intents and not self.config.dry_run:
            await self._stop.run_unless_stopped(self._recover())
        await self._stop.run_unless_stopped(self._build_plan(scope))

    def check_clock(self) -> None:
        """Raise GuardRefused if the clock differs from Atlas's, where Atlas has shown its own."""
        if self._atlas.clock_skew_s is not None:
            check_clock(self._atlas.clock_skew_s)

    def estimate(self) -> None:
        """Estimate the time that the planned deletions take, and compare the complete plan."""
        self._estimate = self._atlas.estimate(self.plan.deletions_by_list)
        self.state.estimate_s = round(self._estimate.expected_s, 3)
        self._report_notice()
        if self.config.last_plan is not None:
            self.state.changes = self.config.last_plan.result()

    async def finish(self, error: RunError | None) -> RunResult:
        """Write the last line and return the result.

        All lines are on disk afterwards, unless writing the log failed.
        """
        state = self.state
        if error is not None:
            refused = isinstance(error, CredentialsRefused)
            interrupted = isinstance(error, Interrupted) and state.summary().requests > 0
            state.reached_atlas |= interrupted or (self._atlas.has_responded and not refused)
        state.sunset = self._atlas.sunset
        state.sunsets = self._atlas.sunsets
        state.deprecation = self._atlas.deprecation
        return await state.finish(self._log, error)

    async def _recover(self) -> None:
        """Resolve what an earlier run left open, before this run plans anything."""
        config, warnings = self.config, self.warnings
        recovery = Recovery(self._atlas.reader, self._log, config.now, warnings.recovered)
        try:
            warnings.warn(WarningCode.RECOVERY, *await recovery.run(config.open_intents))
        finally:
            warnings.finish()

    async def _list_projects(self, claimed: set[str]) -> RunScope:
        project_filter = ProjectFilter(self.config.policy)
        scope = await discover_projects(self._atlas.reader, project_filter)
        moved = claimed.intersection(each.id for each in scope.projects)
        left = tuple(each for each in scope.projects if each.id not in moved)
        claimed.update(each.id for each in left)
        scope = replace(scope, projects=left)
        self.state.reached_atlas = True
        check_clock(self._atlas.clock_skew_s)
        names, expiries, _ = await asyncio.gather(
            self._atlas.organization_names(),
            self._atlas.secret_expiries(scope.organizations[0]),
            self._atlas.fetch_limits(),
        )
        self.warnings.report(*secret_warnings(expiries, self.config.now))
        self.state.organization_names = {**self.state.organization_names, **names}
        absent = project_filter.absent_organizations()
        self.warnings.warn(WarningCode.ABSENT_ORGANIZATION, *absent)
        if moved:
            ids = ", ".join(sorted(moved))
            text = f"Moved between two organizations, and read in the first alone: {ids}."
            self.warnings.warn(WarningCode.MOVED_PROJECT, text)
        self.unused_patterns = project_filter.unused_patterns()
        self.state.visible_projects = scope.visible_projects()
        if self.config.change is not None:
            self.config.change.observe_scope(scope)
        seen = Counter(each.org_id for each in scope.projects)
        seen[""] = len(scope.unreadable)  # Atlas listed them with a malformed id
        for org_id, projects in seen.items():
            self.state.counts[org_id] += Counts(projects_seen=projects)
        return scope

    async def reread(self) -> None:
        """Read projects and lists again, because the plan was shown a while ago.

        The plan is a ceiling: what is no longer listed as it was planned, or is in a list that
        cannot be read now, is not deleted.

        Raises:
            RunError: The run cannot go on. Nothing was deleted.
        """
        config, listed = self.config, set[int]()
        scope = await discover_projects(self._atlas.reader, ProjectFilter(config.policy))
        self.check_clock()

        async def add_list(outcome: ListOutcome) -> None:
            if isinstance(outcome, ListedInvitations):
                listed.update(map(hash, outcome.invitations))

        await list_invitations(
            self._atlas.reader, scope, config.policy.sources, add_list, workers=self._readers
        )
        self._listed_again = listed

    def _is_current(self, invitation: Invitation) -> bool:
        return self._listed_again is None or hash(invitation) in self._listed_again

    async def _build_plan(self, scope: RunScope) -> None:
        config = self.config
        organization_of = {each.id: each.org_id for each in scope.projects}
        plan = PlanBuilder(
            self._log,
            Selector(config.policy, config.now, await self._read_members()),
            config.limits,
            config.now,
            (*config.steps, self._mark_new),
            organization_of | {org_id: org_id for org_id in scope.organizations},
            self._list_added,
            announces=not config.dry_run,
        )
        self.state.plan = plan
        sources = config.policy.sources
        self._view.listing_started(len(scope.lists(sources)))

        async def add_list(outcome: ListOutcome) -> None:
            await plan.add(outcome)
            self._view.list_done()

        for unreadable in scope.unreadable:
            await plan.add(unreadable)
        try:
            warnings = await list_invitations(
                self._atlas.reader, scope, sources, add_list, workers=self._readers
            )
            self.warnings.warn(WarningCode.TEAMS, *warnings)
        finally:
            self.warnings.retired_sources(plan.retired, self._atlas.sunsets)
        reader, sunsets = self._atlas.reader, self._atlas.sunsets
        remarks = await look_beyond(reader, sources, scope.organizations, self._seen, sunsets)
        self.warnings.report(*remarks)

    async def _read_members(self) -> Members:
        config, change = self.config, self.config.change
        compared = change.policies if change is not None else ()
        found = await read_members(
            self._atlas.reader, config.policy, config.earlier_members, compared
        )
        if change is not None:
            change.observe_members(found.members)
        self.state.members = found.counts
        self.warnings.warn(WarningCode.MEMBERS, *found.problems)
        return found.members

    def _report_notice(self) -> None:
        """Report what is announced, what waits, and from when the first may be deleted."""
        plan, counts = self.plan, self.plan.total()
        if plan.next_due is None:
            return
        waiting = counts.kept_by_reason.get("notice_pending", 0) - counts.announced
        self.warnings.remark(
            WarningCode.NOTICE,
            describe_notice(
                announced=counts.announced,
                due=plan.planned,
                waiting=waiting,
                next_due=plan.next_due,
                dry_run=self.config.dry_run,
            ),
        )

    def _mark_new(self, decision: Decision) -> Decision:
        last_plan = self.config.last_plan
        if last_plan is not None and last_plan.is_new(decision.invitation, stale=decision.stale):
            return decision._replace(new=True)
        return decision

    def _list_added(self, outcome: ListOutcome, decisions: Sequence[Decision]) -> None:
        if isinstance(outcome, ListedInvitations):
            ref, count = outcome.list_ref, len(outcome.invitations)
            if Source.ORG_USERS not in self.config.policy.sources:
                self._seen[ref.source].update(hash(i.user_key) for i in outcome.invitations)
            if count:
                self.state.lists[list_name(ref.source, ref.project.id)] = count
        elif isinstance(outcome, ListUnreadable) and not isinstance(outcome, SourceRetired):
            self.state.unread.add(list_name(outcome.source, outcome.project_id))
        if self.config.last_plan is not None and isinstance(outcome, ListUnreadable):
            self.config.last_plan.add_unread(outcome)
        if self.config.population is not None:
            self.config.population.add_list(outcome, decisions)

    def end_population(self) -> None:
        """Record the totals of the plan in the population file.

        Raises:
            AuditLogError: The file cannot be written; nothing was deleted.
        """
        if self.config.population is not None:
            self.config.population.end(self.state.summary())

    def fail_population(self, reason: str) -> None:
        """Record in the population file that the run did not read all its lists.

        A file that cannot be written makes `end_population` of every run fail, so nothing is
        deleted.
        """
        if self.config.population is not None:
            with suppress(AuditLogError):
                self.config.population.fail(reason)

    def record_population_hash(self) -> None:
        """Take the hash of the population file, once all runs of the command have ended theirs."""
        if self.config.population is not None:
            self.state.population_sha256 = self.config.population.sha256
            self.state.population_manifest_sha256 = self.config.population.manifest_sha256

    async def sweep(self, breaker: CircuitBreaker) -> None:
        """Delete what the plan contains; each deletion gets an outcome.

        Args:
            breaker: The breaker of the command; when it is open, all deletions are skipped.

        Raises:
            RunError: The audit log failed, a response concerned the run, or a stop came.
        """
        plan, opened_before = self.plan, breaker.reason is not None
        config, stop, execution = self.config, self._stop, self.config.policy.execution
        if stop.reason is None and not opened_before:
            await self._atlas.prepare_for(plan.deletions_by_list)
        verifier = DeletionVerifier(self._atlas.reader, stop)

        def on_deletion_done(planned: PlannedDeletion, result: DeletionResult) -> None:
            verifier.record(planned, result)
            self.warnings.deletion_done(planned, result)

        executor = SweepExecutor(
            self._atlas.deleter(config.policy.sources),
            SweepRecorder(self._log, config.now),
            stop=stop,
            breaker=breaker,
            clock=config.clock,
            options=ExecutorOptions(
                workers=execution.concurrency,
                extra_workers=execution.concurrency,
                canary=breaker.canary_left,
                grace_s=execution.grace.total_seconds(),
                multiple_sources=len(config.policy.sources) > 1,
                is_current=self._is_current,
            ),
            on_deletion_done=on_deletion_done,
        )
        recorder = executor.recorder
        outcomes = recorder.outcomes
        self._view.deleting_started(plan.planned, self._estimate)
        try:
            await executor.run(PlanReader(self._log.fd, span, config.run_id) for span in plan.spans)
        except RunError as error:
            done = pluralize(outcomes[Outcome.DELETED], "invitation")
            error.consequence = f"{done} had been deleted by then."
            raise
        finally:
            self.warnings.finish()
        self._report_skipped(recorder, opened_before=opened_before)
        self._report_changed(outcomes[Outcome.CHANGED])
        await self._verify(verifier)
        incomplete = (
            recorder.retries_cut_short or outcomes[Outcome.SKIPPED] or outcomes[Outcome.UNKNOWN]
        )
        if stop.reason is not None and incomplete:
            raise stop.as_error(consequence="The audit log is complete.")

    def _report_changed(self, count: int) -> None:
        if count and self._listed_again is not None:
            invitations = pluralize(count, "planned invitation")
            text = (
                f"{invitations} changed or left the lists after the plan was shown: "
                "nothing was deleted there, the next run judges them anew."
            )
            self.warnings.warn(WarningCode.PLAN_DIFFERS, text)

    def _report_skipped(self, recorder: OutcomeRecorder, *, opened_before: bool) -> None:
        """Report why deletions were skipped although no error stopped the run."""
        if recorder.sources.retired:
            self.state.stopped_by.append(Reason.RETIRED_SOURCE)
        for source, message in recorder.sources.retired.items():
            text = f"Atlas retired the list {source.value} during the sweep: {message}"
            self.warnings.warn(WarningCode.RETIRED_SOURCE, text)
        if recorder.breaker_reason is None:
            return
        self.state.stopped_by.append(Reason.CIRCUIT_BREAKER)
        if not opened_before:
            text = f"The sweep stopped itself: {recorder.breaker_reason}"
            self.warnings.warn(WarningCode.CIRCUIT_BREAKER, text)

    async def _verify(self, verifier: DeletionVerifier) -> None:
        """Read the lists again from which invitations were deleted."""
        await verifier.run(workers=self._readers)
        for org_id, verified in verifier.verified.items():
            self.state.counts[org_id] += Counts(verified=verified)
        for each in verifier.still_there:
            self.state.counts[each.org_id] += Counts(still_there=1)
        for each in verifier.not_gone:
            # The outcome in the log is what the answer said; the totals are what is true.
            self.state.outcomes[each.org_id][Outcome.ALREADY_GONE] -= 1
            self.state.outcomes[each.org_id][Outcome.FAILED] += 1
            self.state.removed[list_name(each.source, each.project_id)] -= 1
        self.warnings.still_there(verifier)
