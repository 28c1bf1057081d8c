"""`over_limit: trim`: the oldest stale invitations, up to the ceilings of the guard. Pure."""

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from invite_sweeper.guard import share_limit
from invite_sweeper.policy import Limits
from invite_sweeper.selection import Decision


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
