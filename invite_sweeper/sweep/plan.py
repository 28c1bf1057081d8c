"""What a run is given, and what an organization is in it: frozen values, each of one step.

`AtlasOrganization` is its identity, `OrganizationRead` what it showed, `Decided` what follows from
that, `OrganizationPlan` what is to be deleted, `Swept` what became of it. A step takes the part
before its own. Only a plan can be executed, and an organization that failed has none.

A plan has what is deletable, within the limits: with `over_limit: trim` the oldest invitations over
all organizations stay in it, as far as each limit allows.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec import structs

from invite_sweeper import __version__
from invite_sweeper.audit import AuditDirectory, History, RunFile, SavedPlan
from invite_sweeper.audit.events import (
    AnnouncementKey,
    ListResult,
    Mode,
    OutcomeLine,
    Planned,
    RunStarted,
    RunWarning,
)
from invite_sweeper.errors import Advisor, RunError
from invite_sweeper.json_text import rfc3339
from invite_sweeper.models import (
    InvitationKey,
    Invitations,
    ListKey,
    ListRef,
    ListUnreadable,
    ProjectGone,
    Source,
    SourceRetired,
)
from invite_sweeper.outcomes import Counts, total
from invite_sweeper.policy import Policy
from invite_sweeper.redaction import SECRETS
from invite_sweeper.sweep.conditions import ActiveMembers
from invite_sweeper.sweep.limits import Backlog, Limit, RunLimits
from invite_sweeper.sweep.scope import RunScope, Shard, scope_sha256
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.sweep.steps import UNKNOWN_REASONS, Notice, OutsidePlan
from invite_sweeper.text import organization_label

if TYPE_CHECKING:  # what only shows runs imports no HTTP client
    from invite_sweeper.atlas.deleter import AtlasClient


class AtlasOrganization(msgspec.Struct, frozen=True, eq=False):
    """One organization of the policy, and how it is reached.

    Attributes:
        client: Of its credentials; organizations with the same credentials share it.
        variables: The environment variables of these credentials.
        name: As Atlas or an earlier run has it; None where neither does.
    """

    id: str
    client: "AtlasClient"
    variables: tuple[str, ...] = ()
    name: str | None = None

    @property
    def label(self) -> str:
        """The name with the id, or the id alone."""
        return organization_label(self.id, self.name)


ListAnswer: TypeAlias = Invitations | ListUnreadable | ProjectGone
"""What became of a list: its rows, if it was read to its end; else why it has none."""


class OrganizationRead(msgspec.Struct, frozen=True, eq=False):
    """What an organization showed, as far as it was asked: all by which its people are decided.

    Attributes:
        organization: With its name, as Atlas or an earlier run has it.
        returned_name: The name that Atlas returned in this run; None where it returned none.
        scope: Its projects; None if they could not be listed.
        error: What ended the run for this organization: nothing of it is decided.
        lists: Those of the scope, and those in which a killed run left deletions open.
        teams: The ids of the teams of each of the scope's `team_projects`, by project id; empty
            where no invitation depends on them.
        key_names: The names of API keys, by public key, where one of them is an inviter.
        members: The active members, or why they are not known; None where no clause needs them.
        unknown_inviters: Why it is not known of some inviters whether they are members.
        secret_ends: When the secrets of its service account end.
    """

    organization: AtlasOrganization
    returned_name: str | None = None
    scope: RunScope | None = None
    error: RunError | None = None
    lists: Mapping[ListKey, ListAnswer] = {}
    teams: Mapping[str, frozenset[str] | ListUnreadable] = {}
    key_names: Mapping[str, str] = {}
    members: ActiveMembers | ListUnreadable | None = None
    unknown_inviters: Sequence[ListUnreadable] = ()
    secret_ends: Sequence[datetime] = ()

    def rows(self, ref: ListRef) -> Invitations:
        """Return the rows of a list; none of one that was not read."""
        answer = self.lists[ref.key]
        return answer if isinstance(answer, tuple) else ()


class ReadLists(msgspec.Struct, frozen=True):
    """Which lists of one organization were read.

    Attributes:
        entries: Entries of each list of the scope that was read to its end.
        unread: The lists that could not be read, with the names of their projects.
        retired: The lists that Atlas no longer serves.
    """

    entries: Mapping[ListRef, int] = {}
    unread: Sequence[ListUnreadable] = ()
    retired: Mapping[Source, SourceRetired] = {}

    def results(self, org_id: str, sources: Iterable[Source]) -> Iterator[ListResult]:
        """Yield what was read of each source that Atlas serves."""
        for source in sources:
            if source in self.retired:
                continue
            unread = [unreadable for unreadable in self.unread if unreadable.source is source]
            entries = (count for ref, count in self.entries.items() if ref.source is source)
            yield ListResult(
                org_id=org_id,
                source=source,
                complete=not unread,
                entries=sum(entries),
                unread=tuple(unreadable.place_id for unreadable in unread),
            )


class DecidedDates(msgspec.Struct, frozen=True):
    """When something happens in one organization; None where nothing does, or it is not known.

    Attributes:
        oldest: When the oldest entry that is still PENDING was sent. Atlas never removes people
            whose invitation has expired.
        next_due: When the first announced invitation may be deleted.
        credentials_expire: When the first secret of its service account ends.
        stale_within_7d: In a dry run, how many invitations that are not stale now will be.
        stale_within_30d: The same.
    """

    oldest: datetime | None = None
    next_due: datetime | None = None
    credentials_expire: datetime | None = None
    stale_within_7d: int = 0
    stale_within_30d: int = 0


class Decided(msgspec.Struct, frozen=True):
    """What was decided about one organization.

    Attributes:
        organization: As it was read, like `returned_name`, `scope` and `error`.
        members: Its active members, where they are known.
        lists: Which lists were read.
        decisions: About every invitation in scope; let go once their lines are written.
        deletable: The invitations that a sweep would delete without limits, in a fixed order.
        absent: Those of them in `users` whose people no list of the organization shows, where one
            was read: the project may lag behind, and the person be a member.
        seen: The announcements of the invitations that were found, but for those that ended.
        outside_plan: What a saved plan lists and this run does not delete.
        recovered: What became of the deletions that killed runs left open.
        counts: Of projects, entries and invitations.
        dates: When something happens.
        warnings: For the operator.
    """

    organization: AtlasOrganization
    returned_name: str | None = None
    scope: RunScope | None = None
    error: RunError | None = None
    members: ActiveMembers | None = None
    lists: ReadLists = ReadLists()
    decisions: Sequence[Decision] = ()
    deletable: tuple[Planned, ...] = ()
    absent: frozenset[InvitationKey] = frozenset()
    seen: frozenset[AnnouncementKey] = frozenset()
    outside_plan: OutsidePlan = OutsidePlan()
    recovered: Sequence[OutcomeLine] = ()
    counts: Counts = Counts()
    dates: DecidedDates = DecidedDates()
    warnings: Sequence[RunWarning] = ()

    @property
    def id(self) -> str:
        """The organization's id."""
        return self.organization.id


class OrganizationPlan(msgspec.Struct, frozen=True):
    """What is to be deleted in an organization that was read without an error.

    Attributes:
        deletions: What is deletable within the limits, in its order.
        left: What the limits leave of it for a later run, each with the limit that it waits for.
    """

    decided: Decided
    deletions: tuple[Planned, ...]
    left: Mapping[InvitationKey, Limit] = msgspec.field(default_factory=dict)

    @property
    def organization(self) -> AtlasOrganization:
        """Where it is deleted."""
        return self.decided.organization

    @property
    def counts(self) -> Counts:
        """Those of the decisions; what is left is not due, but trimmed."""
        return self.decided.counts.plus(due=-len(self.left), trimmed=len(self.left))


def all_deletions(plans: Iterable[OrganizationPlan]) -> list[Planned]:
    """Return the deletions of all plans, in their order."""
    return list(chain.from_iterable(plan.deletions for plan in plans))


def count_deletable(plans: Iterable[OrganizationPlan]) -> int:
    """Return how many invitations would be deleted without limits."""
    return sum(len(plan.decided.deletable) for plan in plans)


def organization_labels(plans: Iterable[OrganizationPlan]) -> dict[str, str]:
    """Return the labels of the organizations by id."""
    return {plan.organization.id: plan.organization.label for plan in plans}


class Swept(msgspec.Struct, frozen=True):
    """What became of the plan of one organization, or of the people that a restore invited there.

    Attributes:
        outcomes: How many by outcome.
        counts: What else was counted while and after deleting.
        error: What ended the deletions there; None while nothing did.
    """

    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    counts: Counts = msgspec.field(default_factory=Counts)
    error: RunError | None = None

    def __add__(self, later: "Swept") -> "Swept":
        """Return both steps together; the first error counts."""
        return Swept(
            outcomes=self.outcomes + later.outcomes,
            counts=self.counts + later.counts,
            error=self.error or later.error,
        )


def make_plans(
    decided: Iterable[Decided], limits: RunLimits, now: datetime
) -> tuple[OrganizationPlan, ...]:
    """Return the plans of a run, of each organization without an error.

    With `over_limit: trim`, they have the oldest deletable invitations within the limits.
    """
    plans = tuple(OrganizationPlan(each, each.deletable) for each in decided if each.error is None)
    if limits.policy.over_limit != "trim":
        return plans
    seen = total(plan.counts for plan in plans).invitations_seen
    left = limits.trim(all_deletions(plans), seen, now)
    trimmed_plans: list[OrganizationPlan] = []
    for plan in plans:
        deletions: list[Planned] = []
        left_there: dict[InvitationKey, Limit] = {}
        for planned in plan.deletions:
            if planned.key in left:
                left_there[planned.key] = left[planned.key]
            else:
                deletions.append(planned)
        trimmed_plans.append(structs.replace(plan, deletions=tuple(deletions), left=left_there))
    return tuple(trimmed_plans)


def awaited_limits(
    plans: Sequence[OrganizationPlan], limits: RunLimits
) -> Mapping[InvitationKey, Limit]:
    """Return the limit that each deletable invitation waits for which no run may delete now.

    With `over_limit: refuse`, all of them wait for the limits that they exceed.
    """
    seen = total(plan.counts for plan in plans).invitations_seen
    deletions = all_deletions(plans)
    exceeded = next(limits.exceeded(deletions, seen, count_deletable(plans)), None)
    if exceeded is not None:
        return {deletion.key: exceeded.limit for deletion in deletions}
    return {key: limit for plan in plans for key, limit in plan.left.items()}


def backlog(plans: Sequence[OrganizationPlan], limits: RunLimits) -> Backlog | None:
    """Return how long the limits take for what they leave; None where nothing is left."""
    left = {key: limit for plan in plans for key, limit in plan.left.items()}
    seen = total(plan.counts for plan in plans).invitations_seen
    return limits.backlog(left, seen, count_deletable(plans))


class Command(msgspec.Struct, frozen=True, dict=True):
    """What a command is to do: the policy, the options of the operator, one instant, and the past.

    All of it is known before Atlas is asked for anything, and nothing of it changes during the run.

    Attributes:
        policy: For the organizations of this command.
        policy_path: As the operator wrote it.
        now: The one instant of the run, aware UTC.
        base_url: Of Atlas, without trailing slashes.
        directory: The audit directory.
        run_id: Unique, sorts by time.
        clock: Monotonic seconds; the command began at `started_s`.
        history: What earlier runs of the audit directory did; empty until they are read.
        dry_run: Stop before the first DELETE.
        plan: As the operator named the plan to apply; None without one.
        plan_sha256: Of the plan that a second person read; None without one.
        plan_max_age: The oldest that the plan may be.
        accept_missing: Go on without the files of earlier runs that are lost.
        saved: The plan that limits the deletions; None without one.
        shard: Which part of the organizations this is; None for all.
        shards_used: How many shards have an organization, where this one has none.
        detailed_exit_code: A dry run that finds stale invitations ends with 10.
        only_projects: Names or ids to which the operator narrows the policy's scope; none without.
        restores: The runs whose deletions a restore undoes; None of any other run.
        reason: Why it runs, as the operator wrote it: a ticket, a name; None without one.
        advisor: Makes the commands of hints, for the same policy, Atlas and audit directory.
    """

    policy: Policy
    policy_path: str
    now: datetime
    base_url: str
    directory: AuditDirectory
    run_id: str
    plan_max_age: timedelta
    clock: Callable[[], float]
    started_s: float
    history: History = msgspec.field(default_factory=History)
    dry_run: bool = False
    plan: str | None = None
    plan_sha256: str | None = None
    accept_missing: bool = False
    saved: SavedPlan | None = None
    shard: Shard | None = None
    shards_used: int | None = None
    detailed_exit_code: bool = False
    only_projects: tuple[str, ...] = ()
    restores: tuple[RunFile, ...] | None = None
    reason: str | None = None
    advisor: Advisor = msgspec.field(default_factory=Advisor)

    def current_time(self) -> datetime:
        """Return the time by `now`: a clock set meanwhile cannot hide that `now` was wrong."""
        return self.now + timedelta(seconds=self.clock() - self.started_s)

    @property
    def limits(self) -> RunLimits:
        """What the command may delete; with shards, this shard's part of it."""
        return RunLimits(self.policy.limits, self.shard, self.history.sent)

    @property
    def projects(self) -> tuple[str, ...]:
        """The projects to which the run is narrowed; a saved plan has its own."""
        return self.saved.start.projects if self.saved is not None else self.only_projects

    @property
    def scope_sha256(self) -> str:
        """The hash of what the run reads."""
        return scope_sha256(self.policy, self.projects)

    def projects_seen_before(self, org_id: str) -> int:
        """Return how many projects of an organization the last run that read the same saw, or 0."""
        return self.history.projects_seen(self.base_url, self.scope_sha256, org_id)

    @cached_property
    def notice(self) -> Notice | None:
        """The step that keeps what is stale until its notice is over; None without one."""
        if self.policy.notice is None:
            return None
        announced = self.history.announcements(self.base_url)
        # What a narrowed run does not read is not known: it ends no announcement.
        unknown = {"reaches_out_of_scope"} if self.projects else ()
        return Notice(announced, self.policy.notice.wait, self.now, UNKNOWN_REASONS.union(unknown))

    def run_started(
        self, organizations: Iterable[AtlasOrganization] = (), number: int = 0
    ) -> RunStarted:
        """Return the first line of the run; without organizations, none was connected.

        Args:
            number: Of the run in its audit directory; 0 where no run began.
        """
        is_restore = self.restores is not None
        restored = self.restores or ()
        mode: Mode = "dry-run" if self.dry_run else "sweep"
        return RunStarted(
            mode="restore" if is_restore else mode,
            tool_version=__version__,
            policy_sha256=self.policy.sha256,
            policy_path=self.policy_path,
            organizations=tuple(organization.id for organization in self.policy.organizations),
            actors={organization.id: organization.client.actor for organization in organizations},
            base_url=self.base_url,
            now=rfc3339(self.now),
            shard=str(self.shard) if self.shard is not None else None,
            shards_used=self.shards_used,
            projects=tuple(map(SECRETS.redact, self.projects)),
            scope_sha256=None if is_restore else self.scope_sha256,
            plan_sha256=self.saved.sha256 if self.saved is not None else None,
            restores=tuple(run.run_id for run in restored) if is_restore else None,
            restores_numbers=tuple(run.number for run in restored),
            reason=SECRETS.redact(self.reason) if self.reason is not None else None,
            number=number,
        )
