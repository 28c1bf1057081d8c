"""ProjectQueues and the bounded queue of deletions ready to send."""

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from invite_sweeper.models import Invitation, PlannedDeletion

# Deletions whose intent is on disk, handed from the one who announces to those who send.


class ReadyQueue:
    """A bounded queue that is filled by groups and emptied one by one.

    Args:
        most: So many wait at a time.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._ready: deque[PlannedDeletion] = deque()
        self._consumers: deque[asyncio.Future[None]] = deque()
        self._producer: asyncio.Future[None] | None = None
        self._closed = asyncio.Event()

    async def free_slots(self) -> int:
        """Wait until no more than half is left; give how many more fit, 0 once it is closed.

        Each group costs a sync of the disk, so it had better not be one deletion.
        """
        while not self._closed.is_set():
            if len(self._ready) * 2 <= self._max_size:
                return self._max_size - len(self._ready)
            self._producer = asyncio.get_running_loop().create_future()
            await self._producer
        return 0

    async def sleep(self, wait_s: float) -> None:
        """Wait so many seconds, or until it is closed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), wait_s)

    def put(self, group: Iterable[PlannedDeletion]) -> None:
        """Let these be sent; a queue that was closed meanwhile takes them, too."""
        self._ready.extend(group)
        for _ in range(min(len(self._ready), len(self._consumers))):
            _wake(self._consumers.popleft())

    def get_nowait(self) -> PlannedDeletion | None:
        """Take the next one; None where none is ready."""
        if not self._ready:
            return None
        planned = self._ready.popleft()
        if self._producer is not None and len(self._ready) * 2 <= self._max_size:
            self._wake_producer()
        return planned

    async def get(self) -> PlannedDeletion | None:
        """Take the next one, or wait for it; None once it is closed and empty."""
        while (planned := self.get_nowait()) is None and not self._closed.is_set():
            waiter = asyncio.get_running_loop().create_future()
            self._consumers.append(waiter)
            await waiter
        return planned

    def close(self) -> None:
        """Let nobody wait any longer: neither for room, nor for one that will not come."""
        self._closed.set()
        self._wake_producer()
        while self._consumers:
            _wake(self._consumers.popleft())

    def drain(self) -> Iterator[PlannedDeletion]:
        """Give away, one by one, those that nobody has taken."""
        while self._ready:
            yield self._ready.popleft()

    def _wake_producer(self) -> None:
        if self._producer is not None:
            _wake(self._producer)
            self._producer = None


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():  # whoever waited may have been cancelled
        waiter.set_result(None)


# Whose turn it is: one lane a project, and a dry one holds up nobody.
#
# A lane that Atlas's limits do not admit steps aside until they may. When its time comes it
# goes first, since the lane that had to wait has the most left to do.


class ProjectQueue(Protocol):
    """The planned deletions of one project, one after another."""

    def peek(self) -> PlannedDeletion | None:
        """Give the next one without taking it; None at the end."""
        ...

    def pop(self) -> None:
        """Take the head."""
        ...

    def release_memory(self) -> None:
        """Let go of what is held in memory; the lane is not needed for a while."""
        ...


class ProjectQueues:
    """The lanes of a sweep.

    Args:
        admit: Takes the turn of one deletion (0.0), or gives the seconds until there may be
            one.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        queues: Iterable[ProjectQueue],
        try_acquire: Callable[[Invitation], float],
        clock: Callable[[], float],
    ) -> None:
        self._ready = deque(queues)
        self._waiting: list[tuple[float, int, ProjectQueue]] = []
        self._try_acquire = try_acquire
        self._clock = clock
        self._sequence = 0

    def next(self) -> PlannedDeletion | float | None:
        """Give the next deletion, or the seconds until there may be one, or None at the end."""
        self._resume()
        while self._ready:
            queue = self._ready[0]
            planned = queue.peek()
            if planned is None:
                self._ready.popleft()
                continue
            wait_s = self._try_acquire(planned.invitation)
            if wait_s <= 0:
                queue.pop()
                return planned
            self._postpone(wait_s)
        if self._waiting:
            return max(0.0, self._waiting[0][0] - self._clock())
        return None

    def drain(self) -> tuple[ProjectQueue, ...]:
        """Give away the lanes that are not at their end; no turn at a bucket is taken."""
        queues = (*self._ready, *(lane for *_, lane in self._waiting))
        self._ready.clear()
        self._waiting.clear()
        return queues

    def _postpone(self, wait_s: float) -> None:
        queue = self._ready.popleft()
        queue.release_memory()
        self._sequence += 1
        heapq.heappush(self._waiting, (self._clock() + wait_s, self._sequence, queue))

    def _resume(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._clock():
            self._ready.appendleft(heapq.heappop(self._waiting)[2])


class CanaryLimit:
    """The lanes, ending after `most` deletions (the canary); None for no end of its own."""

    def __init__(self, queues: ProjectQueues, max_deletions: int | None) -> None:
        self._queues = queues
        self._remaining = max_deletions

    def take_batch(self, group: list[PlannedDeletion], free_slots: int) -> float | None:
        """Add those that may go now to a group, until there is no room for more of them.

        What was taken before anything is raised stands in the group.

        Returns:
            The seconds until there may be more, where fewer were found; None where the group
            is full, or nobody is left.
        """
        while len(group) < free_slots and self._remaining != 0:
            found = self._queues.next()
            if not isinstance(found, PlannedDeletion):
                return found
            group.append(found)
            if self._remaining is not None:
                self._remaining -= 1
        return None
