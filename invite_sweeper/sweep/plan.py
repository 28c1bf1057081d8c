"""What an organization is in a run, in four parts, each a frozen value that one step makes.

`AtlasOrganization` is its identity, `Reading` what was read there, `OrganizationPlan` what is to
be deleted, `Swept` what became of that. A step takes the part before its own. Only a plan can be
executed, and an organization that failed has none.

A plan has what is deletable, within the limits: with `over_limit: trim` the oldest invitations over
all organizations stay in it, as far as each limit allows. The order in which lists were read
decides nothing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING

from invite_sweeper.audit.events import ListResult, Planned
from invite_sweeper.errors import RunError
from invite_sweeper.models import (
    InvitationKey,
    ListRef,
    ListUnreadable,
    Source,
    SourceRetired,
)
from invite_sweeper.outcomes import Counts, total
from invite_sweeper.sweep.conditions import ActiveMembers
from invite_sweeper.sweep.limits import Backlog, Limit, RunLimits
from invite_sweeper.sweep.scope import RunScope
from invite_sweeper.text import organization_label

if TYPE_CHECKING:  # what only shows runs imports no HTTP client
    from invite_sweeper.atlas.deleter import AtlasClient


@dataclass(frozen=True, slots=True, eq=False)
class AtlasOrganization:
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


@dataclass(frozen=True, slots=True)
class ReadLists:
    """What was read of the lists of one organization.

    Attributes:
        entries: Entries of each list that was read to its end.
        unread: The lists that could not be read, with the names of their projects.
        retired: The lists that Atlas no longer serves.
    """

    entries: dict[ListRef, int] = field(default_factory=dict)
    unread: list[ListUnreadable] = field(default_factory=list)
    retired: dict[Source, SourceRetired] = field(default_factory=dict)

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


@dataclass(frozen=True, slots=True)
class ReadPeople:
    """What is known of the people of one organization.

    Attributes:
        members: Its active members, where a rule or keep entry judges by them and they are known.
        absent: What is stale in `users`, of people whom no list of the organization shows, where
            one was read: the project may lag behind, and the person be a member.
    """

    members: ActiveMembers | None = None
    absent: frozenset[InvitationKey] = frozenset()


@dataclass(frozen=True, slots=True)
class ReadDates:
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


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of one organization, and what the policy decided about it.

    Attributes:
        organization: With its name, as Atlas or an earlier run has it.
        returned_name: The name that Atlas returned in this run; None where it returned none.
        scope: Its projects; None if they could not be listed.
        error: What ended the run for this organization; nothing is deleted there then.
        deletable: The invitations that a sweep would delete without limits; none after an error.
        counts: Of projects, entries and invitations, as far as they were read.
    """

    organization: AtlasOrganization
    returned_name: str | None = None
    scope: RunScope | None = None
    error: RunError | None = None
    deletable: tuple[Planned, ...] = ()
    counts: Counts = field(default_factory=Counts)
    lists: ReadLists = field(default_factory=ReadLists)
    people: ReadPeople = field(default_factory=ReadPeople)
    dates: ReadDates = field(default_factory=ReadDates)

    @property
    def id(self) -> str:
        """The organization's id."""
        return self.organization.id


@dataclass(frozen=True, slots=True)
class OrganizationPlan:
    """What is to be deleted in an organization that was read without an error.

    Attributes:
        deletions: What is deletable within the limits, in the order of the reading.
        left: What the limits leave of it for a later run, each with the limit that it waits for.
    """

    reading: Reading
    deletions: tuple[Planned, ...]
    left: Mapping[InvitationKey, Limit] = field(default_factory=dict)

    @property
    def organization(self) -> AtlasOrganization:
        """Where it is deleted."""
        return self.reading.organization

    @property
    def counts(self) -> Counts:
        """Those of the reading; what is left is not due, but trimmed."""
        return self.reading.counts.plus(due=-len(self.left), trimmed=len(self.left))


def all_deletions(plans: Iterable[OrganizationPlan]) -> list[Planned]:
    """Return the deletions of all plans, in their order."""
    return list(chain.from_iterable(plan.deletions for plan in plans))


def count_deletable(plans: Iterable[OrganizationPlan]) -> int:
    """Return how many invitations would be deleted without limits."""
    return sum(len(plan.reading.deletable) for plan in plans)


def organization_labels(plans: Iterable[OrganizationPlan]) -> dict[str, str]:
    """Return the labels of the organizations by id."""
    return {plan.organization.id: plan.organization.label for plan in plans}


@dataclass(frozen=True, slots=True)
class Swept:
    """What became of the plan of one organization, or of the people that a restore invited there.

    Attributes:
        outcomes: How many by outcome.
        counts: What else was counted while and after deleting.
        error: What ended the deletions there; None while nothing did.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    counts: Counts = field(default_factory=Counts)
    error: RunError | None = None

    def __add__(self, later: "Swept") -> "Swept":
        """Return both steps together; the first error counts."""
        return Swept(
            outcomes=self.outcomes + later.outcomes,
            counts=self.counts + later.counts,
            error=self.error or later.error,
        )


def make_plans(
    readings: Iterable[Reading], limits: RunLimits, now: datetime
) -> tuple[OrganizationPlan, ...]:
    """Return the plans of a run, of each organization without an error.

    With `over_limit: trim`, they have the oldest deletable invitations within the limits.
    """
    plans = tuple(
        OrganizationPlan(reading, reading.deletable)
        for reading in readings
        if reading.error is None
    )
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
        trimmed_plans.append(replace(plan, deletions=tuple(deletions), left=left_there))
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
