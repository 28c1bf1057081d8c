"""What a run is given, and each organization in it: its client, counts and error."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from invite_sweeper import __version__
from invite_sweeper.atlas import AtlasClient
from invite_sweeper.audit import CompleteRun, History, PlanScope, SavedPlan
from invite_sweeper.audit.events import ListResult, Mode, Planned, RunStarted
from invite_sweeper.counts import Counts
from invite_sweeper.errors import RunError
from invite_sweeper.models import ListRef, ListUnreadable, Source, SourceRetired
from invite_sweeper.policy import Limits, Policy
from invite_sweeper.sweep.scope import RunScope, Shard, scope_sha256
from invite_sweeper.sweep.steps import ChangeTracker, KeepBounced, KeepOutsidePlan, Notice, Step
from invite_sweeper.text import organization_label


@dataclass(slots=True, eq=False)
class Organization:
    """One organization of the policy.

    Attributes:
        client: Of its credentials; organizations with the same credentials share it.
        variables: The environment variables of these credentials.
        name: None where Atlas has not returned it.
        scope: Its projects; None before they are listed.
        error: What ended the run for this organization; nothing is deleted there then.
        counts: What was counted so far; the deletions are in `outcomes`.
        outcomes: Deletions by outcome.
        unverified: Removed users whose status could not be read afterwards.
        stale: The planned deletions.
        oldest: When the oldest invitation in scope was sent; None where none has a date.
        next_due: When the first announced invitation may be deleted; None without one.
        entries: Entries of each list that was read to its end.
        unread: The lists that could not be read, with the names of their projects.
        retired: The lists that Atlas no longer serves.
        members: Its active members, where a rule or keep entry judges by them.
    """

    id: str
    client: AtlasClient
    variables: tuple[str, ...] = ()
    name: str | None = None
    scope: RunScope | None = None
    error: RunError | None = None
    counts: Counts = field(default_factory=Counts)
    outcomes: Counter[str] = field(default_factory=Counter)
    unverified: int = 0
    stale: list[Planned] = field(default_factory=list)
    oldest: datetime | None = None
    next_due: datetime | None = None
    entries: dict[ListRef, int] = field(default_factory=dict)
    unread: list[ListUnreadable] = field(default_factory=list)
    retired: dict[Source, SourceRetired] = field(default_factory=dict)
    members: frozenset[str] | None = None

    @property
    def label(self) -> str:
        """The name with the id, or the id alone."""
        return organization_label(self.id, self.name)

    @property
    def is_planned(self) -> bool:
        """Whether its lists were read, or could not be, and nothing keeps it out."""
        return self.error is None and self.scope is not None

    def count(self, **counts: int | Mapping[str, int]) -> None:
        """Add to the counts."""
        self.counts = self.counts.plus(**counts)

    def list_results(self, sources: Iterable[Source]) -> Iterator[ListResult]:
        """Yield what was read of each source that Atlas serves."""
        for source in sources:
            if source in self.retired:
                continue
            unread = tuple(each.list_key[2] for each in self.unread if each.source is source)
            counts = {ref.project.id: n for ref, n in self.entries.items() if ref.source is source}
            yield ListResult(
                org_id=self.id,
                source=source,
                complete=not unread,
                entries=sum(counts.values()),
                by_project={}
                if source.is_organization_level
                else {id_: count for id_, count in counts.items() if count},
                unread=unread,
            )


@dataclass(frozen=True)
class Command:
    """One `sweep` or `plan`.

    Attributes:
        policy: For the organizations of this command.
        policy_path: As the operator wrote it.
        now: The one instant of the run, aware UTC.
        base_url: Of Atlas.
        history: What earlier runs of the audit directory did.
        clock: Monotonic seconds; the command began at `started_s`.
        dry_run: Stop before the first DELETE.
        saved: The plan that limits the deletions; None without one.
        shard: Which part of the organizations this is; None for all.
        accept_population: Ignore a drop in projects, entries or members for this run.
        detailed_exit_code: A dry run that finds stale invitations ends with 10.
        restores: The run whose deletions a restore undoes; None of any other run.
    """

    policy: Policy
    policy_path: str
    now: datetime
    base_url: str
    history: History
    clock: Callable[[], float]
    started_s: float
    dry_run: bool = False
    saved: SavedPlan | None = None
    shard: Shard | None = None
    accept_population: bool = False
    detailed_exit_code: bool = False
    restores: str | None = None

    @cached_property
    def limits(self) -> Limits:
        """The limits of the command; with shards, this shard's part of them."""
        limits, shard = self.policy.limits, self.shard
        if shard is None:
            return limits
        divided = ("max_deletions", "max_unreadable_projects")
        parts = {key: shard.part_of(getattr(limits, key)) for key in divided}
        return limits.model_copy(update=parts)

    @cached_property
    def recent(self) -> Counter[str]:
        """How many the runs of the audit directory deleted in each place within `limits.period`."""
        return self.history.deleted_within(self.policy.limits.period, self.now)

    @cached_property
    def before(self) -> CompleteRun | None:
        """What the last complete runs of the same scope left; None without one."""
        return self.history.last_complete(scope_sha256(self.policy), self.base_url)

    def steps(self) -> tuple[Step, ...]:
        """Return the steps that follow the policy's decision; each can only keep more."""
        bounced = KeepBounced(self.history, self.policy.limits.max_bounces)
        if self.policy.notice is None:
            return (bounced,)
        announced = self.history.announcements(self.base_url)
        return bounced, Notice(announced, self.policy.notice.wait, self.now)

    def comparison(self) -> ChangeTracker | KeepOutsidePlan | None:
        """Return what compares the plan with the saved one, or the last one; None without one."""
        if self.saved is not None:
            return KeepOutsidePlan(self.saved.planned)
        scope = PlanScope(self.policy.sha256, self.policy.organization_ids, self.base_url)
        previous = self.history.last_plan(scope)
        return ChangeTracker(previous) if previous is not None else None

    def run_started(self, organizations: Iterable[Organization] = ()) -> RunStarted:
        """Return the first line of the run; without organizations, none was connected."""
        mode: Mode = "dry-run" if self.dry_run else "sweep"
        is_sweep = self.restores is None
        return RunStarted(
            mode=mode if is_sweep else "restore",
            tool_version=__version__,
            policy_sha256=self.policy.sha256 if is_sweep else None,
            policy_path=self.policy_path,
            organizations=tuple(each.id for each in self.policy.organizations),
            actors={each.id: each.client.actor for each in organizations},
            base_url=self.base_url,
            now=self.now.isoformat().replace("+00:00", "Z"),
            shard=str(self.shard) if self.shard is not None else None,
            scope_sha256=scope_sha256(self.policy) if is_sweep else None,
            plan_sha256=self.saved.sha256 if self.saved is not None else None,
            restores=self.restores,
        )
