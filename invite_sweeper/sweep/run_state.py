"""What is known about a run while it goes on, and its summary at the end."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple

from invite_sweeper.audit import AuditLog, RunFinished
from invite_sweeper.audit.events import KeepEntry, PlanChanges, PolicyDifference, Unseen
from invite_sweeper.counts import Counts, count_values, total
from invite_sweeper.endings import Advisor, Reason, RunWarning
from invite_sweeper.errors import AuditLogError, RunError
from invite_sweeper.models import Population, RequestCounters, Source
from invite_sweeper.policy import Keep
from invite_sweeper.sweep.plan import PlanBuilder
from invite_sweeper.sweep.summary import OrganizationSummary, RunSummary, with_end

_MAX_LISTS: Final = 10_000
"""Lists whose counts a line of the log contains: of a larger estate it would be too long."""


def list_name(source: Source, project_id: str) -> str:
    """Return the name of a list in `Population.lists`."""
    return f"{source.value} {project_id}"


def _source_of(name: str) -> str:
    return name.partition(" ")[0]


class RunResult(NamedTuple):
    """How a run ended.

    Attributes:
        error: What stopped it; None when it completed.
        reached_atlas: Atlas answered, so there is a result to show.
    """

    summary: RunSummary
    error: RunError | None
    reached_atlas: bool


class RunState:
    """Collects what becomes known during one run.

    Args:
        start: A summary with what is known from the start.
        elapsed_s: Seconds since the run began.
        keep: The policy's keep entries; the log records how many invitations each one kept.
        detailed_exit_code: A dry run that finds stale invitations ends with 10 instead of 0.

    Attributes:
        reached_atlas: Atlas returned the projects, or was being asked for them when a stop came.
        organization_names: As Atlas returned them, by organization id.
        counts: What is counted outside of the plan, by organization id.
        outcomes: Deletions by outcome, by organization id.
        absent_organizations: Those without a visible project.
        visible_projects: By organization, before the policy selects some.
        removed_members: The username of each active member that this run removed, or whose
            removal by an interrupted run it found.
        removed: Invitations that are no longer pending after this run's deletions, by list.
        lists: Invitations of the lists that were read, by `list_name`; only lists that have some.
        unread: The lists that could not be read.
        previous: What the last complete runs left; None to ignore a drop.
        changes: The complete plan compared with the last one; None if there is none.
        policy_change: What a policy that is not accepted changes; None for an accepted one.
        unseen: Whom the policy does not see; None where it reads each list.
        question_s: How long the confirmation question was open.
        stopped_by: Why deletions were skipped although no error stopped the run.
        population_sha256: Hash of the population file; None if none was written.
        members: The active members of each organization, where a rule has `inviter_gone`.
        population_manifest_sha256: Hash of the manifest beside it, likewise.
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
        self.organization_names: Mapping[str, str] = {}
        self.counts: defaultdict[str, Counts] = defaultdict(Counts)
        self.plan: PlanBuilder | None = None
        self.outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.warnings: list[RunWarning] = []
        self.sunset: date | None = None
        self.sunsets: Mapping[Source, date] = {}
        self.retired_early: set[Source] = set()
        self.plan_made = False
        self.changes: PlanChanges | None = None
        self.policy_change: PolicyDifference | None = None
        self.unseen: Unseen | None = None
        self.absent_organizations: frozenset[str] = frozenset()
        self.visible_projects: Mapping[str, int] = {}
        self.removed: Counter[str] = Counter()
        self.lists: dict[str, int] = {}
        self.unread: set[str] = set()
        self.previous: Population | None = None
        self.removed_members: list[str | None] = []
        self.population_sha256: str | None = None
        self.members: Mapping[str, int] = {}
        self.population_manifest_sha256: str | None = None
        self.question_s = 0.0
        self.stopped_by: list[Reason] = []

    @property
    def projects_seen(self) -> int:
        """The projects in scope."""
        return sum(each.projects_seen for each in self.counts.values())

    def population(self) -> Population:
        """Return what the run found so far; for a list that was not read, what is known of it."""
        plan = self.plan
        if plan is None:
            return Population(self.projects_seen, self.visible_projects)
        retired = {each.source.value for each in plan.retired}
        seen = Counter(plan.total().invitations_by_source)
        known = self.previous.lists if self.previous is not None else {}
        stand_in = {name: known[name] for name in sorted(self.unread) if name in known}
        for name, count in stand_in.items():
            seen[_source_of(name)] += count
        return Population(
            projects=self.projects_seen - len(plan.gone_ids),
            visible_projects=self.visible_projects,
            invitations={s: n for s, n in sorted(seen.items()) if s not in retired},
            lists=self.lists | stand_in,
        )

    def _remaining(self) -> Population:
        """Return what the run leaves, for the comparison of a later run.

        A source of which a list was never read is left out: its earlier count holds on.
        """
        found = self.population()
        known = self.previous is not None and bool(self.previous.lists)
        unknown = set() if known else {_source_of(name) for name in self.unread}
        removed: Counter[str] = Counter()
        for name, count in self.removed.items():
            removed[_source_of(name)] += count
        lists = {name: n - self.removed[name] for name, n in found.lists.items()}
        return replace(
            found,
            invitations={
                source: n - removed[source]
                for source, n in found.invitations.items()
                if source not in unknown
            },
            lists=lists if not unknown and len(lists) <= _MAX_LISTS else {},
        )

    @property
    def advisor(self) -> Advisor:
        """The facts of the run that advice is made of."""
        members = tuple(sorted({each for each in self.removed_members if each is not None}))
        return replace(self._start.advisor, removed=members)

    def summary(self) -> RunSummary:
        """Return what is known so far."""
        by_organization = self._counts_by_organization()
        whole, plan = total(by_organization.values()), self.plan
        summary = replace(
            self._start,
            **count_values(whole),
            requests=self._counters.requests,
            retries=self._counters.retries,
            rate_limited=self._counters.rate_limited,
            duration_s=round(self._elapsed_s() - self.question_s, 3),
            plan_made=self.plan_made,
            changes=self.changes,
            policy_change=self.policy_change,
            unseen=self.unseen,
            sunset=_iso(self.sunset),
            warnings=tuple(self.warnings),
            advisor=self.advisor,
            plan_complete=self.plan_made and not (whole.projects_unreadable or self.retired_early),
        )
        if plan is not None:
            summary = replace(
                summary,
                sources_retired=tuple(each.source.value for each in plan.retired),
                oldest_pending_days=self._days_since(plan.oldest),
            )
        if len(summary.organizations) == 1:  # also what was counted without an organization
            by_organization = {summary.organizations[0].id: whole}
        organizations = tuple(
            self._organization(each, by_organization.get(each.id, Counts()), summary)
            for each in summary.organizations
        )
        return replace(summary, organizations=organizations)

    def _counts_by_organization(self) -> dict[str, Counts]:
        planned = self.plan.counts if self.plan is not None else {}
        found: dict[str, Counts] = {}
        for org_id in dict.fromkeys((*planned, *self.counts, *self.outcomes)):
            outcomes = Counts(**dict[str, Any](self.outcomes[org_id]))
            found[org_id] = both = total(
                (planned.get(org_id, Counts()), self.counts[org_id], outcomes)
            )
            not_verified = both.deleted - both.verified - both.still_there
            found[org_id] = replace(both, not_verified=not_verified)
        return found

    def _organization(
        self, organization: OrganizationSummary, counts: Counts, summary: RunSummary
    ) -> OrganizationSummary:
        """Return the summary of one organization; requests are known if it is the only one."""
        requests: dict[str, Any] = {
            name: getattr(summary, name) if len(summary.organizations) == 1 else None
            for name in ("requests", "retries", "rate_limited")
        }
        return replace(
            organization,
            name=self.organization_names.get(organization.id),
            visible=organization.id not in self.absent_organizations,
            plan_made=summary.plan_made,
            plan_complete=summary.plan_made and not counts.projects_unreadable,
            **count_values(counts),
            **requests,
        )

    async def finish(self, log: AuditLog, error: RunError | None) -> RunResult:
        """Write `run_finished`, and return the end of the run.

        When that line cannot be written, the run ends with the exit code of the audit log.
        """
        try:
            finished = self._final_summary(error)
            log.write(RunFinished(**finished.to_run_finished(), **self._extra_log_fields()))
            await log.sync()
        except AuditLogError as failure:
            error = error if isinstance(error, AuditLogError) else failure
            finished = self._final_summary(error)
        summary = replace(finished, audit_last_hash=log.last_hash, checkpoint=log.checkpoint)
        return RunResult(summary, error, self.reached_atlas)

    def _extra_log_fields(self) -> dict[str, Any]:
        """Return what later runs compare with, evidence, and for the report ages and entries."""
        plan = self.plan
        if plan is None:
            return {}
        kept = plan.total().kept_by_reason
        entries = [
            KeepEntry(
                name=entry.name,
                reason=entry.reason,
                until=entry.until.isoformat() if entry.until else None,
                matched=kept.get(f"keep:{entry.name}", 0),
            )
            for entry in self._keep
        ]
        fields: dict[str, Any] = {
            "keep_entries": entries,
            "remaining": self._remaining(),
        }
        if self.sunsets:
            fields["sunsets"] = {each.value: day.isoformat() for each, day in self.sunsets.items()}
        if self.members:
            fields["members"] = self.members
        if self.population_sha256 is not None:
            fields["population_sha256"] = self.population_sha256
            fields["population_manifest_sha256"] = self.population_manifest_sha256
        return fields

    def _final_summary(self, error: RunError | None) -> RunSummary:
        # This run may have completed what an interrupted one left open.
        retired = [Reason.RETIRED_SOURCE] if self.retired_early else []
        removed = [Reason.REMOVED_MEMBER] if self.removed_members else []
        return with_end(
            self.summary(),
            error,
            stopped_by=(*retired, *self.stopped_by, *removed),
            detailed_exit_code=self._detailed_exit_code,
        )

    def _days_since(self, timestamp: datetime | None) -> float | None:
        if timestamp is None:
            return None
        return round((self._now - timestamp) / timedelta(days=1), 1)


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day is not None else None
