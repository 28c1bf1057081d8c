"""Whose turn it is: one lane a project, and a dry one holds up nobody.

A lane that Atlas's limits do not admit steps aside until they may. When its time comes it
goes first, since the lane that had to wait has the most left to do.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from invite_sweeper.inventory import Invitation
from invite_sweeper.outcome import Planned


class Lane(Protocol):
    """The planned deletions of one project, one after another."""

    def head(self) -> Planned | None:
        """Give the next one without taking it; None at the end."""
        ...

    def advance(self) -> None:
        """Take the head."""
        ...

    def rest(self) -> None:
        """Let go of what is held in memory; the lane is not needed for a while."""
        ...


class Lanes:
    """The lanes of a sweep.

    Args:
        admit: Takes the turn of one deletion (0.0), or gives the seconds until there may be
            one.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        lanes: Iterable[Lane],
        admit: Callable[[Invitation], float],
        clock: Callable[[], float],
    ) -> None:
        self._ready = deque(lanes)
        self._waiting: list[tuple[float, int, Lane]] = []
        self._admit = admit
        self._clock = clock
        self._order = 0

    def take(self) -> Planned | float | None:
        """Give the next deletion, or the seconds until there may be one, or None at the end."""
        self._wake()
        while self._ready:
            lane = self._ready[0]
            planned = lane.head()
            if planned is None:
                self._ready.popleft()
                continue
            wait_s = self._admit(planned.invitation)
            if wait_s <= 0:
                lane.advance()
                return planned
            self._step_aside(wait_s)
        if self._waiting:
            return max(0.0, self._waiting[0][0] - self._clock())
        return None

    def left(self) -> tuple[Lane, ...]:
        """Give away the lanes that are not at their end; no turn at a bucket is taken."""
        lanes = (*self._ready, *(lane for *_, lane in self._waiting))
        self._ready.clear()
        self._waiting.clear()
        return lanes

    def _step_aside(self, wait_s: float) -> None:
        lane = self._ready.popleft()
        lane.rest()
        self._order += 1
        heapq.heappush(self._waiting, (self._clock() + wait_s, self._order, lane))

    def _wake(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._clock():
            self._ready.appendleft(heapq.heappop(self._waiting)[2])


class Turns:
    """The lanes, ending after `most` deletions (the canary); None for no end of its own."""

    def __init__(self, queue: Lanes, most: int | None) -> None:
        self._queue = queue
        self._left = most

    def fill(self, group: list[Planned], room: int) -> float | None:
        """Add those that may go now to a group, until there is no room for more of them.

        What was taken before anything is raised stands in the group.

        Returns:
            The seconds until there may be more, where fewer were found; None where the group
            is full, or nobody is left.
        """
        while len(group) < room and self._left != 0:
            found = self._queue.take()
            if not isinstance(found, Planned):
                return found
            group.append(found)
            if self._left is not None:
                self._left -= 1
        return None
