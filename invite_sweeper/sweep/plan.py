"""What an organization is in a run: frozen values, each of one step.

`AtlasOrganization` is its identity, `OrganizationRead` what it showed, `Decided` what follows from
that, `OrganizationPlan` what is to be deleted, `Swept` what became of it. A step takes the part
before its own. Only a plan can be executed, and an organization that failed has none.

A plan has what is deletable, within the limits: with `over_limit: trim` the oldest invitations over
all organizations stay in it, as far as each limit allows.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec import structs

from invite_sweeper.audit.events import (
    AnnouncementKey,
    ListResult,
    OutcomeLine,
    Planned,
    RunWarning,
)
from invite_sweeper.errors import RunError
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
from invite_sweeper.sweep.conditions import ActiveMembers
from invite_sweeper.sweep.limits import Backlog, Limit, RunLimits
from invite_sweeper.sweep.scope import RunScope
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.sweep.steps import OutsidePlan
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
