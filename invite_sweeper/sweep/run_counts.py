"""The counts of a run while it goes on, and its summary at the end."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from invite_sweeper.audit import AuditLog
from invite_sweeper.endings import Advisor, Reason, RunWarning
from invite_sweeper.errors import AuditLogError, RunError
from invite_sweeper.models import Outcome, Population
from invite_sweeper.policy import Keep
from invite_sweeper.sweep.changes import PlanChanges, PolicyDifference
from invite_sweeper.sweep.plan import OrganizationCounts, PlanBuilder
from invite_sweeper.sweep.summary import SHARED_COUNTS, OrganizationSummary, RunSummary, with_end


class RequestCounters(Protocol):
    """The requests sent to Atlas, as the client counts them."""

    requests: int
    retries: int
    rate_limited: int


class RunResult(NamedTuple):
    """How a run ended.

    Attributes:
        error: What stopped it; None when it completed.
        reached_atlas: Atlas answered, so there is a result to show.
    """

    summary: RunSummary
    error: RunError | None
    reached_atlas: bool


class RunCounts:
    """Collects the counts of one run.

    Args:
        start: A summary with what is known from the start.
        elapsed_s: Seconds since the run began.
        keep: The policy's keep entries; the log records how many invitations each one kept.
        detailed_exit_code: A dry run that finds stale invitations ends with 10 instead of 0.

    Attributes:
        reached_atlas: Atlas returned the projects, or was being asked for them when a stop came.
        organization_names: As Atlas returned them, by organization id.
        projects_by_organization: Projects in scope, by organization id.
        outcomes: Deletions by outcome.
        outcomes_by_organization: The same, by organization id.
        verified: Deletions whose invitation was gone from its list after the sweep, by
            organization id.
        still_there: Deletions whose invitation was still in its list after the sweep, likewise.
        recovered: Deletions that an interrupted run left open, by outcome; not in `outcomes`.
        visible_projects: By organization, before the policy selects some.
        removed_members: The username of each active member that this run removed.
        removed: Invitations that are no longer pending after this run's deletions, by source.
        changes: The complete plan compared with the last one; None if there is none.
        policy_change: What a policy that is not accepted changes; None for an accepted one.
        question_s: How long the confirmation question was open.
        stopped_by: Why deletions were skipped although no error stopped the run.
        population_sha256: Hash of the population file; None if none was written.
    """

    def __init__(
        self,
        start: RunSummary,
        now: datetime,
        counters: RequestCounters,
        elapsed_s: Callable[[], float],
        *,
        keep: Sequence[Keep] = (),
        detailed_exit_code: bool = False,
    ) -> None:
        self._start = start
        self._now = now
        self._counters = counters
        self._elapsed_s = elapsed_s
        self._keep = keep
        self._detailed_exit_code = detailed_exit_code
        self.reached_atlas = False
        self.projects_seen = 0
        self.organization_names: Mapping[str, str] = {}
        self.projects_by_organization: Counter[str] = Counter()
        self.plan: PlanBuilder | None = None
        self.outcomes: Counter[Outcome] = Counter()
        self.outcomes_by_organization: defaultdict[str, Counter[Outcome]] = defaultdict(Counter)
        self.verified: Counter[str] = Counter()
        self.still_there: Counter[str] = Counter()
        self.warnings: list[RunWarning] = []
        self.sunset: date | None = None
        self.deprecation: date | None = None
        self.estimate_s: float | None = None
        self.changes: PlanChanges | None = None
        self.policy_change: PolicyDifference | None = None
        self.recovered: Counter[Outcome] = Counter()
        self.visible_projects: Mapping[str, int] = {}
        self.removed: Counter[str] = Counter()
        self.removed_members: list[str | None] = []
        self.population_sha256: str | None = None
        self.question_s = 0.0
        self.stopped_by: list[Reason] = []

    def population(self) -> Population:
        """Return what the run found so far."""
        plan = self.plan
        if plan is None:
            return Population(self.projects_seen, self.visible_projects)
        retired = {each.source for each in plan.retired}
        return Population(
            projects=self.projects_seen - len(plan.gone_ids),
            visible_projects=self.visible_projects,
            invitations={s: n for s, n in plan.seen_by_source.items() if s not in retired},
        )

    def _remaining(self) -> dict[str, object]:
        """Return what the run leaves, for the comparison of a later run."""
        found = self.population()
        counts = sorted(found.invitations.items())
        left = {source: n - self.removed[source] for source, n in counts}
        return asdict(replace(found, invitations=left))

    @property
    def advisor(self) -> Advisor:
        """The facts of the run that advice is made of."""
        members = tuple(sorted({each for each in self.removed_members if each is not None}))
        return replace(self._start.advisor, removed=members)

    def summary(self) -> RunSummary:
        """Return the counts so far."""
        outcomes: dict[str, Any] = {each.value: self.outcomes[each] for each in Outcome}
        summary = replace(
            self._start,
            projects_seen=self.projects_seen,
            requests=self._counters.requests,
            retries=self._counters.retries,
            rate_limited=self._counters.rate_limited,
            duration_s=round(self._elapsed_s() - self.question_s, 3),
            estimate_s=self.estimate_s,
            changes=self.changes,
            policy_change=self.policy_change,
            recovered=self.recovered.total(),
            sunset=_iso(self.sunset),
            deprecation=_iso(self.deprecation),
            warnings=tuple(self.warnings),
            advisor=self.advisor,
            verified=self.verified.total(),
            still_there=self.still_there.total(),
            not_verified=self.outcomes[Outcome.DELETED]
            - self.verified.total()
            - self.still_there.total(),
            **outcomes,
        )
        plan = self.plan
        if plan is not None:
            summary = self._with_plan(summary, plan)
        organizations = tuple(self._organization(each, summary) for each in summary.organizations)
        return replace(summary, organizations=organizations)

    def _with_plan(self, summary: RunSummary, plan: PlanBuilder) -> RunSummary:
        return replace(
            summary,
            plan_complete=self.estimate_s is not None and not plan.unreadable,
            projects_unreadable=plan.unreadable,
            projects_gone=len(plan.gone_ids),
            invitations_by_source=dict(sorted(plan.seen_by_source.items())),
            sources_retired=tuple(each.source.value for each in plan.retired),
            invitations_seen=plan.seen,
            stale=plan.stale,
            trimmed=plan.trimmed,
            kept=plan.kept.total(),
            kept_by_reason=dict(plan.kept),
            oldest_pending_days=self._days_since(plan.oldest),
        )

    def _organization(
        self, organization: OrganizationSummary, summary: RunSummary
    ) -> OrganizationSummary:
        """Return the counts of one organization; those of the only one are the run's."""
        organization = replace(organization, name=self.organization_names.get(organization.id))
        if len(summary.organizations) == 1:
            return replace(organization, **{name: getattr(summary, name) for name in SHARED_COUNTS})
        plan, org_id = self.plan, organization.id
        counts = plan.organizations.get(org_id) if plan is not None else None
        counts = counts if counts is not None else OrganizationCounts()
        outcomes = self.outcomes_by_organization[org_id]
        counted: dict[str, Any] = {each.value: outcomes[each] for each in Outcome}
        return replace(
            organization,
            projects_seen=self.projects_by_organization[org_id],
            projects_unreadable=counts.unreadable,
            projects_gone=counts.gone,
            invitations_seen=counts.stale + counts.kept.total(),
            stale=counts.stale,
            trimmed=counts.stale - counts.planned if summary.trimmed else 0,
            kept=counts.kept.total(),
            kept_by_reason=dict(counts.kept),
            verified=self.verified[org_id],
            still_there=self.still_there[org_id],
            not_verified=outcomes[Outcome.DELETED]
            - self.verified[org_id]
            - self.still_there[org_id],
            **counted,
        )

    async def finish(self, log: AuditLog, error: RunError | None) -> RunResult:
        """Write `run_finished`, and return the end of the run.

        When that line cannot be written, the run ends with the exit code of the audit log.
        """
        try:
            finished = self._final_summary(error)
            log.write("run_finished", **finished.to_run_finished(), **self._extra_log_fields())
            await log.sync()
        except AuditLogError as failure:
            error = error if isinstance(error, AuditLogError) else failure
            finished = self._final_summary(error)
        summary = replace(finished, audit_last_hash=log.last_hash, checkpoint=log.checkpoint)
        return RunResult(summary, error, self.reached_atlas)

    def _extra_log_fields(self) -> dict[str, object]:
        """Return what later runs compare with, evidence, and for the report ages and entries."""
        plan = self.plan
        if plan is None:
            return {}
        entries = [
            {
                "name": entry.name,
                "reason": entry.reason,
                "until": entry.until.isoformat() if entry.until else None,
                "matched": plan.kept[f"keep:{entry.name}"],
            }
            for entry in self._keep
        ]
        fields: dict[str, object] = {
            "kept_ages": plan.kept_ages.to_field(),
            "keep_entries": entries,
            "remaining": self._remaining(),
        }
        if self.population_sha256 is not None:
            fields["population_sha256"] = self.population_sha256
        return fields

    def _final_summary(self, error: RunError | None) -> RunSummary:
        # This run may have completed what an interrupted one left open.
        removed = [Reason.REMOVED_MEMBER] if self.recovered[Outcome.ACCEPTED_DURING] else []
        return with_end(
            self.summary(),
            error,
            stopped_by=(*self.stopped_by, *removed),
            detailed_exit_code=self._detailed_exit_code,
        )

    def _days_since(self, timestamp: datetime | None) -> float | None:
        if timestamp is None:
            return None
        return round((self._now - timestamp) / timedelta(days=1), 1)


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day is not None else None
