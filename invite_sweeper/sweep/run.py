"""One run: list projects, recover and build the plan; then delete what it contains.

`group.py` runs both phases for all organizations of a command, with the guards in between.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from invite_sweeper.audit import AuditLog, PlanReader, SweepRecorder
from invite_sweeper.counts import Counts
from invite_sweeper.endings import Reason, WarningCode
from invite_sweeper.errors import AuditLogError, CredentialsRefused, Interrupted, RunError
from invite_sweeper.models import (
    DeletionResult,
    Invitation,
    ListUnreadable,
    Outcome,
    PlannedDeletion,
    Source,
    SourceRetired,
)
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.connection import AtlasConnection
from invite_sweeper.sweep.discovery import (
    DeletionVerifier,
    ListedInvitations,
    ListOutcome,
    discover_projects,
    list_invitations,
)
from invite_sweeper.sweep.executor import (
    ExecutorOptions,
    OutcomeRecorder,
    SweepExecutor,
)
from invite_sweeper.sweep.guards import CircuitBreaker, check_clock
from invite_sweeper.sweep.members import read_members
from invite_sweeper.sweep.plan import PlanBuilder
from invite_sweeper.sweep.recovery import Recovery
from invite_sweeper.sweep.run_config import RunConfig
from invite_sweeper.sweep.run_state import RunResult, RunState, list_name
from invite_sweeper.sweep.run_warnings import ProgressView, RunWarnings
from invite_sweeper.sweep.scope import ProjectFilter, RunScope
from invite_sweeper.sweep.selection import Decision, Members, Selector
from invite_sweeper.sweep.sunset import announced_ends, secret_warnings
from invite_sweeper.sweep.unread_lists import find_unseen
from invite_sweeper.text import organization_label, pluralize

_MAX_ORGANIZATIONS_NAMED = 3
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

    @property
    def _where(self) -> str:
        """The organizations, or how many there are, for the progress."""
        labels = [*self.state.summary().organization_labels.values()]
        few = len(labels) <= _MAX_ORGANIZATIONS_NAMED
        return ", ".join(labels) if few else f"{len(labels)} organizations"

    def check_clock(self) -> None:
        """Raise GuardRefused if the clock differs from Atlas's, where Atlas has shown its own."""
        if self._atlas.clock_skew_s is not None:
            check_clock(self._atlas.clock_skew_s)

    def plan_finished(self) -> None:
        """Record that the plan is complete, and compare it with the last one."""
        self.state.plan_made = True
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
        sources = self.config.policy.sources
        # A list whose replacements the policy reads can end without a change of the policy.
        needed = [each for each in sources if not each.is_replaced_by(sources)]
        state.sunset = self._atlas.sunset(needed)
        state.sunsets = self._atlas.sunsets
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
        names, expiries = await asyncio.gather(
            self._atlas.organization_names(),
            self._atlas.secret_expiries(scope.organizations[0]),
        )
        self.warnings.report(*secret_warnings(expiries, self.config.now))
        self.state.organization_names = {**self.state.organization_names, **names}
        self._report_absent(project_filter.absent_organizations())
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

    def _report_absent(self, organizations: Sequence[str]) -> None:
        self.state.absent_organizations = frozenset(organizations)
        variables = " and ".join(self.config.credentials_variables)
        which = f" with the credentials of {variables}" if variables else ""
        names = self.state.organization_names
        messages = (
            f"No project of organization {organization_label(each, names.get(each))} is "
            f"visible{which}: check the id, and that the credentials belong to it."
            for each in organizations
        )
        self.warnings.warn(WarningCode.ABSENT_ORGANIZATION, *messages)

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
        self._view.listing_started(len(scope.lists(sources)), self._where)

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
        ends = announced_ends(config.earlier_sunsets, self._atlas.sunsets)
        self.state.unseen = await find_unseen(
            self._atlas.reader, sources, scope, self._seen, ends, config.now.date()
        )

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

    def _mark_new(self, decision: Decision) -> Decision:
        last_plan = self.config.last_plan
        if last_plan is not None and last_plan.is_new(decision.invitation, stale=decision.stale):
            return decision._replace(new=True)
        return decision

    def _list_added(self, outcome: ListOutcome, decisions: Sequence[Decision]) -> None:
        if isinstance(outcome, ListedInvitations):
            ref, count = outcome.list_ref, len(outcome.invitations)
            if len(self.config.policy.sources) < len(Source):
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
        self._view.deleting_started(plan.planned, self._where)
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
