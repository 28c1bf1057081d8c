"""The runs of one command: all organizations are planned before anything is deleted in one.

Each run has its own credentials. The limits count over all runs together, the question is asked
once, and one circuit breaker watches all deletions. A run that fails leaves the others alone.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from invite_sweeper.audit import PlanSpan
from invite_sweeper.audit.events import PlanChanges, PolicyDifference
from invite_sweeper.counts import total
from invite_sweeper.endings import RunWarning, WarningCode
from invite_sweeper.errors import (
    Cancelled,
    CredentialsRefused,
    GuardRefused,
    Interrupted,
    RunError,
)
from invite_sweeper.models import Population, Project
from invite_sweeper.shutdown import NOTHING_DELETED, StopRequest
from invite_sweeper.sweep.guards import (
    CircuitBreaker,
    check_limits,
    check_population,
)
from invite_sweeper.sweep.notice import describe_notice
from invite_sweeper.sweep.plan import trim_plans
from invite_sweeper.sweep.run import Run
from invite_sweeper.sweep.run_state import RunResult
from invite_sweeper.sweep.summary import RunSummary, merge_summaries

_MAX_QUESTION_S = 60.0
"""After a longer question, the lists are read again before anything is deleted."""


class RunPlan(NamedTuple):
    """The planned lines of one run in the audit log, compared with those of the last plan."""

    run_id: str
    spans: Sequence[PlanSpan]
    changes: PlanChanges | None = None
    organization_names: Mapping[str, str] = MappingProxyType({})


class QuarantineResult(NamedTuple):
    """What the quarantine says about the policy of the runs.

    Attributes:
        refusal: The error to end with after the other guards; None to go on.
        warnings: What the operator should know.
        difference: What a policy that is not accepted changes; None for an accepted one.
    """

    refusal: GuardRefused | None = None
    warnings: tuple[RunWarning, ...] = ()
    difference: PolicyDifference | None = None


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """What the runs of one command decide together.

    Attributes:
        confirm: Called once with the merged summary, after the guards and before the first
            DELETE; None to not ask.
        on_plans_accepted: Called when the plans are on disk and passed the guards; returns
            remarks.
        quarantine: Called when the plans are complete.
    """

    confirm: Callable[[RunSummary], Awaitable[bool]] | None = None
    on_plans_accepted: Callable[[Sequence[RunPlan]], tuple[RunWarning, ...]] | None = None
    quarantine: Callable[[], QuarantineResult] = QuarantineResult


class RunGroup:
    """The runs of one command, which share policy, mode, shard, audit log and deadline.

    Args:
        runs: One for each credential; at least one.
    """

    def __init__(self, runs: Sequence[Run], config: GroupConfig, stop: StopRequest) -> None:
        self._runs = runs
        self._config = config
        self._stop = stop
        self._results: dict[Run, RunResult] = {}

    async def run(self) -> tuple[RunResult, ...]:
        """Read, check, delete; return the result of each run, with the error that stopped it."""
        claimed: set[str] = set()
        for run in self._runs:
            await self._attempt(run, run.read(claimed))
        await self._check_and_sweep(self._unfinished())
        return tuple(self._results[run] for run in self._runs)

    def _unfinished(self) -> tuple[Run, ...]:
        return tuple(run for run in self._runs if run not in self._results)

    async def _attempt(self, run: Run, phase: Coroutine[object, object, None]) -> None:
        """Run a phase; a failure ends this run alone, and names its organizations."""
        try:
            await phase
        except RunError as error:
            if isinstance(error, CredentialsRefused):
                error.name_variables(run.config.credentials_variables)
            if len(self._runs) > 1 and not isinstance(error, Interrupted):
                error.message = f"{_describe_organizations(run)}: {error.message}"
                if error.consequence == NOTHING_DELETED:
                    error.consequence = "Nothing was deleted there."
            run.fail_population(error.message)
            self._results[run] = await run.finish(error)

    async def _check_and_sweep(self, runs: Sequence[Run]) -> None:
        """Check all plans together and sweep; a refusal ends all runs, nothing was deleted."""
        if not runs:
            return
        try:
            await self._check(runs)
            to_sweep = [] if runs[0].config.dry_run else [run for run in runs if run.plan.planned]
            if to_sweep:
                await self._confirm(runs)
        except RunError as error:
            for run in runs:
                self._results[run] = await run.finish(error)
            return
        breaker = CircuitBreaker(runs[0].config.limits)
        for run in runs:
            if run in to_sweep:
                await self._attempt(run, run.sweep(breaker))
            if run not in self._results:
                self._results[run] = await run.finish(None)

    async def _check(self, runs: Sequence[Run]) -> None:
        """Complete the plans and raise GuardRefused if a guard refuses them.

        A run that failed contributes nothing: neither deletions nor invitations seen.
        """
        config = runs[0].config
        await self._stop.run_unless_stopped(self._finish_plans(runs))
        self._warn_about_policy(runs)
        for run in self._runs:
            run.check_clock()
        quarantine = self._config.quarantine()
        runs[0].warnings.report(*quarantine.warnings)
        runs[0].state.policy_change = quarantine.difference
        labels = _labels(runs)
        _check_populations(runs, labels)
        deletions: Counter[str] = Counter()
        for run in runs:
            deletions.update(run.plan.deletions_by_project)
        counts = total(run.plan.total() for run in runs)
        places = {
            id_: _describe_place(place, labels)
            for run in runs
            for id_, place in run.plan.places.items()
        }
        unreadable = [
            _describe_place(place, labels) for run in runs for place in run.plan.unreadable.values()
        ]
        try:
            check_limits(counts, deletions, config.limits, config.shard, places, unreadable)
        except GuardRefused as error:
            if len(runs) > 1:
                error.message = f"In {len(labels)} organizations together: {error.message}"
            raise
        group = self._config
        if quarantine.refusal is not None:
            raise quarantine.refusal
        if group.on_plans_accepted is not None:
            plans = [
                RunPlan(
                    run.config.run_id,
                    run.plan.spans,
                    run.state.changes,
                    run.state.organization_names,
                )
                for run in runs
            ]
            runs[0].warnings.report(*group.on_plans_accepted(plans))

    async def _finish_plans(self, runs: Sequence[Run]) -> None:
        config = runs[0].config
        for plan, lists in trim_plans([run.plan for run in runs], config.limits, config.shard):
            await plan.finish(lists)
        for run in runs:
            run.plan_finished()
            run.end_population()
        _report_notice(runs)
        for run in runs:
            run.record_population_hash()

    def _warn_about_policy(self, runs: Sequence[Run]) -> None:
        """Warn about patterns and keep entries that matched nothing in any organization."""
        if len(runs) < len(self._runs):  # they may match where nothing could be read
            return
        first, *others = runs
        unused = (
            each
            for each in first.unused_patterns
            if all(each in run.unused_patterns for run in others)
        )
        first.warnings.remark(WarningCode.UNUSED_PATTERN, *unused)
        counts = total(run.plan.total() for run in runs)
        if first.config.dry_run and counts.invitations_seen:
            first.warnings.unused_keep_entries(counts.kept_by_reason)

    async def _confirm(self, runs: Sequence[Run]) -> None:
        confirm = self._config.confirm
        summary = merge_summaries([run.state.summary() for run in runs])
        clock = runs[0].config.clock
        asked_s = clock()
        agreed = confirm is None or await confirm(summary)
        for run in runs:
            run.state.question_s = clock() - asked_s
        if self._stop.reason is not None:
            raise self._stop.as_error(consequence=NOTHING_DELETED)
        if not agreed:
            raise Cancelled("Cancelled.")
        if clock() - asked_s > _MAX_QUESTION_S:
            for run in runs:
                if run.plan.planned:
                    await self._stop.run_unless_stopped(run.reread())


def _describe_organizations(run: Run) -> str:
    labels = [each.label for each in run.state.summary().organizations]
    return f"{'Organization' if len(labels) == 1 else 'Organizations'} {', '.join(labels)}"


def _labels(runs: Sequence[Run]) -> dict[str, str]:
    """Return the names of all organizations with their ids, by id."""
    found: dict[str, str] = {}
    for run in runs:
        found |= run.state.summary().organization_labels
    return found


def _describe_place(place: Project, labels: Mapping[str, str]) -> str:
    """Return a project, or the lists of an organization, by name and id."""
    organization = labels.get(place.org_id, place.org_id)
    if place.id == place.org_id:
        return f"the lists of {organization}"
    of = f" of {organization}" if place.org_id and len(labels) > 1 else ""
    return f"project {place.name} ({place.id}){of}"


def _report_notice(runs: Sequence[Run]) -> None:
    """Report what the runs announce, what waits, and from when the first may be deleted."""
    next_due = min((run.plan.next_due for run in runs if run.plan.next_due), default=None)
    if next_due is None:
        return
    counts = total(run.plan.total() for run in runs)
    waiting = counts.kept_by_reason.get("notice_pending", 0) - counts.announced
    text = describe_notice(
        announced=counts.announced,
        due=sum(run.plan.planned for run in runs),
        waiting=waiting,
        next_due=next_due,
        dry_run=runs[0].config.dry_run,
    )
    runs[0].warnings.remark(WarningCode.NOTICE, text)


def _check_populations(runs: Sequence[Run], labels: Mapping[str, str]) -> None:
    """Raise GuardRefused if the population of one run dropped, or that of all together."""
    limits, before, now = runs[0].config.limits, Population(), Population()
    retired: set[str] = set()
    for run in runs:
        previous, current = run.config.previous_population, run.state.population()
        if previous is None:  # a drop is accepted
            return
        run_retired = {each.source.value for each in run.plan.retired}
        gone = len(run.plan.gone_ids)
        try:
            check_population(
                previous, current, limits, retired=run_retired, gone=gone, labels=labels
            )
        except GuardRefused as error:
            if len(runs) > 1:
                error.message = f"{_describe_organizations(run)}: {error.message}"
            raise
        before, now, retired = before + previous, now + current, retired | run_retired
    check_population(
        before, now, limits, retired=retired, gone=sum(len(run.plan.gone_ids) for run in runs)
    )
