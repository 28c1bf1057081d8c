"""May this plan be carried out? Counts x limits -> yes, or every reason why not. Pure.

Each limit is a ceiling that may be reached and not passed; 0 means zero. `trim` takes the
oldest up to the same ceilings, so a trimmed plan passes the same questions.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from invite_sweeper.errors import GuardRefused
from invite_sweeper.policy import Limits
from invite_sweeper.selection import Decision

SHARE_COUNTS_ABOVE = 10
"""Up to so many stale invitations `max_share` says nothing: in a small organization
half of the invitations is one or two."""
CLOCK_MAY_DIFFER_S = 300.0


@dataclass(frozen=True, slots=True)
class Census:
    """What a walk counted.

    Attributes:
        invitations_seen: In scope, stale and kept together.
        doomed: What the plan deletes, by project id; projects without any are left out.
    """

    invitations_seen: int
    projects_unreadable: int
    doomed: Mapping[str, int]

    @property
    def deletions(self) -> int:
        """How many invitations the plan deletes."""
        return sum(self.doomed.values())


def share_limit(limits: Limits, *, seen: int, stale: int) -> int | None:
    """Give how many of the invitations seen may go; None where the share says nothing.

    Exact: 0.29 of 100 is 29, which a product of floats misses.
    """
    if stale <= SHARE_COUNTS_ABOVE:
        return None
    return int(Fraction(str(limits.max_share)) * seen)


def refusals(census: Census, limits: Limits) -> tuple[str, ...]:
    """Give a sentence with both numbers for each limit that the plan passes."""
    found: list[str] = []
    total, seen = census.deletions, census.invitations_seen
    if census.projects_unreadable > limits.max_unreadable_projects:
        found.append(
            f"{census.projects_unreadable} projects could not be read, "
            f"over max_unreadable_projects: {limits.max_unreadable_projects}."
        )
    if total > limits.max_deletions:
        found.append(f"{total} stale invitations are over max_deletions: {limits.max_deletions}.")
    for project_id, count in census.doomed.items():
        if count > limits.max_deletions_per_project:
            found.append(
                f"{count} stale invitations in project {project_id} are over "
                f"max_deletions_per_project: {limits.max_deletions_per_project}."
            )
    allowed = share_limit(limits, seen=seen, stale=total)
    if allowed is not None and total > allowed:
        found.append(
            f"{total} stale of {seen} invitations ({total / seen:.1%}) "
            f"are over max_share: {limits.max_share}."
        )
    return tuple(found)


def raise_if_unsafe(census: Census, limits: Limits) -> None:
    """Let a plan pass that keeps every limit.

    Raises:
        GuardRefused: It passes at least one; nothing was deleted.
    """
    found = refusals(census, limits)
    if found:
        most = 5
        shown = (*found[:most], *([f"And {len(found) - most} more."] if len(found) > most else ()))
        raise GuardRefused(
            " ".join(shown),
            mend="Read the plan; then raise the limit, narrow the rules, "
            "or let the oldest go first with over_limit: trim.",
        )


def raise_if_clock_differs(skew_s: float | None) -> None:
    """Let a run pass whose clock agrees with Atlas's: ages are counted by it.

    Args:
        skew_s: Ours minus Atlas's; None where its answer had no readable `Date`.

    Raises:
        GuardRefused: They differ by more than 5 minutes, or nobody can tell.
    """
    if skew_s is None:
        raise GuardRefused(
            "Atlas's answer carried no readable Date, so this clock could not be checked.",
            mend="Look for a proxy that removes the Date header.",
        )
    if abs(skew_s) > CLOCK_MAY_DIFFER_S:
        way = "ahead of" if skew_s > 0 else "behind"
        raise GuardRefused(
            f"This clock is {abs(skew_s):.0f} s {way} Atlas's.",
            mend="Set the clock (NTP): ages are counted by it.",
        )


@dataclass(frozen=True, slots=True)
class Population:
    """How many there are: what a run saw, or what the last one left behind."""

    projects: int
    invitations: int


def raise_if_fewer(before: Population, seen: Population, limits: Limits) -> None:
    """Let a run pass that sees about as much as the last complete one left.

    A listing that lost a page looks like a small organization. Up to 10 the share says
    nothing: there, one acceptance is a tenth.

    Raises:
        GuardRefused: Projects or invitations are fewer by more than `max_population_drop`.
    """
    drop = Fraction(str(limits.max_population_drop))
    for name, was, now in (
        ("projects", before.projects, seen.projects),
        ("invitations", before.invitations, seen.invitations),
    ):
        if was > SHARE_COUNTS_ABOVE and was - now > drop * was:
            raise GuardRefused(
                f"{now} {name} are seen where the last complete run left {was}, "
                f"a fall over max_population_drop: {limits.max_population_drop}.",
                mend="Find out where they went; where it is as it should be, "
                "--accept-population lets it pass once.",
            )


class OldestFirst:
    """Keeps the oldest stale invitations up to the limits, in memory bounded by them.

    Projects are offered one at a time; `take` gives what may go tonight.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._heap: list[tuple[float, int, Decision]] = []
        self._offered = 0

    def offer(self, stale: Sequence[Decision]) -> None:
        """Take the stale invitations of one project into account."""
        per_project = self._limits.max_deletions_per_project
        for decision in heapq.nsmallest(per_project, stale, key=_age_order):
            # The order of arrival breaks ties, so decisions are never compared themselves.
            self._offered += 1
            entry = (-_created(decision), -self._offered, decision)
            if len(self._heap) < self._limits.max_deletions:
                heapq.heappush(self._heap, entry)
            elif self._heap:
                heapq.heappushpop(self._heap, entry)

    def take(self, *, seen: int, stale: int) -> Iterable[tuple[Decision, ...]]:
        """Give what may go, list by list, the list of the oldest first; none is empty.

        The lists of one project share its limit.

        Args:
            seen: The invitations in scope.
            stale: Those that are stale, before anything is left for another night.
        """
        oldest = [decision for *_, decision in sorted(self._heap, reverse=True)]
        allowed = share_limit(self._limits, seen=seen, stale=stale)
        per_project: Counter[str] = Counter()
        by_list: dict[tuple[str, str], list[Decision]] = {}
        for decision in oldest[:allowed]:
            project_id = decision.invitation.project_id
            if per_project[project_id] == self._limits.max_deletions_per_project:
                continue
            per_project[project_id] += 1
            key = (decision.invitation.source, project_id)
            by_list.setdefault(key, []).append(decision)
        return map(tuple, by_list.values())


def _created(decision: Decision) -> float:
    created_at = decision.invitation.created_at
    # Only an invitation with a readable date is ever stale.
    assert isinstance(created_at, datetime)  # noqa: S101
    return created_at.timestamp()


def _age_order(decision: Decision) -> tuple[float, str]:
    return _created(decision), decision.invitation.id
