"""ProjectQueues and the bounded queue of deletions ready to send."""

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from invite_sweeper.models import Invitation, Planned

# Deletions whose intent is on disk, handed from the one who announces to those who send.


class Announced:
    """A bounded queue that is filled by groups and emptied one by one.

    Args:
        most: So many wait at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._ready: deque[Planned] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._filler: asyncio.Future[None] | None = None
        self._closed = asyncio.Event()

    async def room(self) -> int:
        """Wait until no more than half is left; give how many more fit, 0 once it is closed.

        Each group costs a sync of the disk, so it had better not be one deletion.
        """
        while not self._closed.is_set():
            if len(self._ready) * 2 <= self._most:
                return self._most - len(self._ready)
            self._filler = asyncio.get_running_loop().create_future()
            await self._filler
        return 0

    async def rest(self, wait_s: float) -> None:
        """Wait so many seconds, or until it is closed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), wait_s)

    def put(self, group: Iterable[Planned]) -> None:
        """Let these be sent; a queue that was closed meanwhile takes them, too."""
        self._ready.extend(group)
        for _ in range(min(len(self._ready), len(self._idle))):
            _wake(self._idle.popleft())

    def take(self) -> Planned | None:
        """Take the next one; None where none is ready."""
        if not self._ready:
            return None
        planned = self._ready.popleft()
        if self._filler is not None and len(self._ready) * 2 <= self._most:
            self._let_fill()
        return planned

    async def get(self) -> Planned | None:
        """Take the next one, or wait for it; None once it is closed and empty."""
        while (planned := self.take()) is None and not self._closed.is_set():
            waiter = asyncio.get_running_loop().create_future()
            self._idle.append(waiter)
            await waiter
        return planned

    def close(self) -> None:
        """Let nobody wait any longer: neither for room, nor for one that will not come."""
        self._closed.set()
        self._let_fill()
        while self._idle:
            _wake(self._idle.popleft())

    def left(self) -> Iterator[Planned]:
        """Give away, one by one, those that nobody has taken."""
        while self._ready:
            yield self._ready.popleft()

    def _let_fill(self) -> None:
        if self._filler is not None:
            _wake(self._filler)
            self._filler = None


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():  # whoever waited may have been cancelled
        waiter.set_result(None)


# Whose turn it is: one lane a project, and a dry one holds up nobody.
#
# A lane that Atlas's limits do not admit steps aside until they may. When its time comes it
# goes first, since the lane that had to wait has the most left to do.


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
