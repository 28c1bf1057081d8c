"""How many deletions the limits of a policy allow: in each place, and in all places together.

A place is a project, or the lists of an organization. What earlier runs sent within
`limits.period` is used up. Limits are inclusive, and 0 means none. Guards, plan, question and
`explain` ask here, and compute nothing of it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from math import ceil, inf
from typing import Final

import msgspec
from msgspec import structs

from invite_sweeper.audit.events import Planned
from invite_sweeper.endings import Reason
from invite_sweeper.models import InvitationKey, Project
from invite_sweeper.policy import Limits
from invite_sweeper.sweep.scope import Shard
from invite_sweeper.text import escape_unprintable

MIN_COUNT_FOR_SHARE: Final = 10
"""Up to this number of deletions, `max_share` is ignored: in a small organization one
or two invitations are half of all. Shards divide it like a limit."""


class Limit(msgspec.Struct, frozen=True):
    """One limit of the policy, within `limits.period`.

    Attributes:
        reason: Its key in the policy.
        most: How many deletions it allows.
        used: How many earlier runs sent.
        place: Where, of `max_deletions_per_project`; None in all places together.
    """

    reason: Reason
    most: int
    used: int
    place: Project | None = None

    @property
    def left(self) -> int:
        """How many deletions it still allows."""
        return max(0, self.most - self.used)

    def describe(self, labels: Mapping[str, str]) -> str:
        """Return its key, with its place.

        Args:
            labels: Of all organizations, by id.
        """
        if self.place is None:
            return self.reason.value
        return f"{self.reason} in {describe_place(self.place, labels)}"

    def describe_use(self, labels: Mapping[str, str]) -> str:
        """Return its key and place, and how much of it earlier runs used."""
        return f"{self.describe(labels)} ({self.used:,} of {self.most:,} used)"


class Exceeded(msgspec.Struct, frozen=True):
    """A limit that some deletions exceed.

    Attributes:
        deletions: How many of them it limits.
        needed: The value of its key with which they would be allowed.
        other_places: How many other places exceed the same key.
    """

    limit: Limit
    deletions: int
    needed: float
    other_places: int = 0


class Backlog(msgspec.Struct, frozen=True):
    """What the limits leave for later.

    Attributes:
        limit: The one that binds: of those that hold something back, the one that takes longest.
        nights: About how many nights all of it takes: what is left, divided by what one run may
            delete; None where a limit never lets it go.
    """

    limit: Limit
    nights: int | None


class RunLimits(msgspec.Struct, frozen=True):
    """The limits of one run; with shards, this shard's part of them.

    Attributes:
        policy: As the policy has them.
        shard: Whose part counts; None for all.
        sent: What earlier runs sent within `limits.period`, by the id of the place.
    """

    policy: Limits
    shard: Shard | None
    sent: Counter[str]

    @property
    def max_unreadable(self) -> int:
        """How many lists may be unreadable."""
        return self._part(self.policy.max_unreadable_projects)

    @property
    def max_deletions(self) -> Limit:
        """The limit of all places together."""
        most = self._part(self.policy.max_deletions)
        return Limit(Reason.MAX_DELETIONS, most, self.sent.total())

    def in_place(self, place: Project) -> Limit:
        """Return the limit of one place."""
        most = self.policy.max_deletions_per_project
        return Limit(Reason.MAX_DELETIONS_PER_PROJECT, most, self.sent[place.id], place)

    def max_share(self, seen: int, deletable: int) -> Limit | None:
        """Return the limit by the share of the invitations; None where few are deletable.

        Exact: 0.29 of 100 is 29, which floating-point multiplication misses.

        Args:
            seen: Invitations that were read.
            deletable: Those of them that would be deleted without limits.
        """
        used = self.sent.total()
        if deletable + used <= self._part(MIN_COUNT_FOR_SHARE):
            return None
        # Atlas no longer shows what was deleted within the period: it counts among the seen.
        share = Fraction(str(self.policy.max_share))
        return Limit(Reason.MAX_SHARE, int(share * (seen + used)), used)

    def trim(
        self, deletable: Sequence[Planned], seen: int, now: datetime
    ) -> Mapping[InvitationKey, Limit]:
        """Return the invitations that do not fit, each with the limit that it waits for.

        The oldest fit first.

        Args:
            seen: Invitations that were read.
            now: The instant of the run.
        """
        in_all = min(self._in_all(seen, len(deletable)), key=lambda limit: limit.left)
        fitting = Counter[str]()
        left: dict[InvitationKey, Limit] = {}
        for invitation in sorted(deletable, key=lambda each: _age(each, now)):
            place = invitation.place
            in_place = self.in_place(place)
            if fitting[place.id] >= in_place.left:
                left[invitation.key] = in_place
            elif fitting.total() >= in_all.left:
                left[invitation.key] = in_all
            else:
                fitting[place.id] += 1
        return left

    def exceeded(
        self, deletions: Sequence[Planned], seen: int, deletable: int
    ) -> Iterator[Exceeded]:
        """Yield each limit that some deletions exceed; of the places the one that does so most.

        Args:
            seen: As in `max_share`, like `deletable`.
        """
        count = len(deletions)
        if not count:  # however much earlier runs deleted, this one exceeds nothing
            return
        limit = self.max_deletions
        if count > limit.left:
            yield Exceeded(limit, count, count + limit.used)
        yield from self._exceeded_in_a_place(deletions)
        share = self.max_share(seen, deletable)
        if share is not None and count > share.left:
            # In whole percents, rounded up: the policy is to be set to it.
            percent = ceil(Fraction(100 * (count + share.used), seen + share.used))
            yield Exceeded(share, count, percent / 100)

    def _exceeded_in_a_place(self, deletions: Iterable[Planned]) -> Iterator[Exceeded]:
        """Yield the place that exceeds its limit most, if one does."""
        counts = Counter(deletion.place_id for deletion in deletions)
        places = {deletion.place_id: deletion.place for deletion in deletions}
        over: list[Exceeded] = []
        for place_id, count in counts.items():
            limit = self.in_place(places[place_id])
            if count > limit.left:
                over.append(Exceeded(limit, count, count + limit.used))
        if over:
            worst = max(over, key=lambda exceeded: exceeded.needed)
            yield structs.replace(worst, other_places=len(over) - 1)

    def backlog(
        self, left: Mapping[InvitationKey, Limit], seen: int, deletable: int
    ) -> Backlog | None:
        """Return what binds, and how long the limits take; None where nothing is left.

        Args:
            left: As `trim` returns it.
            seen: As in `max_share`, like `deletable`.
        """
        if not left:
            return None
        in_places = Counter(place_id for _, _, place_id, _ in left)

        def nights(limit: Limit) -> float:
            count = len(left) if limit.place is None else in_places[limit.place.id]
            return ceil(count / limit.most) if limit.most else inf

        binding = max(left.values(), key=nights)
        # A limit that holds nothing back now may do so in the nights to come.
        slowest = max(map(nights, (binding, *self._in_all(seen, deletable))))
        return Backlog(binding, None if slowest == inf else int(slowest))

    def _in_all(self, seen: int, deletable: int) -> list[Limit]:
        """Return the limits of all places together."""
        limits = (self.max_deletions, self.max_share(seen, deletable))
        return [limit for limit in limits if limit is not None]

    def _part(self, count: int) -> int:
        """Return this shard's part of a number."""
        return count if self.shard is None else self.shard.part_of(count)


def _age(invitation: Planned, now: datetime) -> tuple[datetime, str, InvitationKey]:
    """Return what sorts the oldest first, and those without a date last.

    Of two that were sent at the same instant, the ids decide: each run takes the same ones.
    """
    return invitation.sent_at or now, invitation.invitation_id, invitation.key


def describe_place(place: Project, labels: Mapping[str, str]) -> str:
    """Return a project, or the lists of an organization, by name and id, on one line.

    Args:
        place: As `Invitation.place`; its `org_id` is "" where it is not known.
        labels: Of all organizations, by id; a single one need not be named.
    """
    organization = labels.get(place.org_id, place.org_id)
    if place.id == place.org_id:
        return f"the lists of {organization}"
    project = f"project {escape_unprintable(place.name)} ({place.id})"
    if place.org_id and len(labels) > 1:
        return f"{project} of {organization}"
    return project
