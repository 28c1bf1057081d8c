"""Queues of a sweep: planned deletions per project, and deletions ready to send.

A rate-limited project queue is postponed, so that it does not block others.
"""

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Self

from invite_sweeper.audit.events import Planned
from invite_sweeper.models import Invitation


class Deletion(NamedTuple):
    """A planned deletion, and the invitation that its DELETE names."""

    planned: Planned
    invitation: Invitation

    @classmethod
    def of(cls, planned: Planned) -> Self:
        """Return the deletion of a planned line."""
        return cls(planned, planned.invitation())


class ReadyQueue:
    """A bounded queue of deletions with their intents on disk, filled in groups.

    Args:
        max_size: Deletions in the queue at most.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._ready: deque[Deletion] = deque()
        self._consumers: deque[asyncio.Future[None]] = deque()
        self._producer: asyncio.Future[None] | None = None
        self._closed = asyncio.Event()

    async def free_slots(self) -> int:
        """Wait until at most half is left; return the free slots, 0 once the queue is closed.

        Each group costs one sync to disk, so groups should be large.
        """
        while not self._closed.is_set():
            if len(self._ready) * 2 <= self._max_size:
                return self._max_size - len(self._ready)
            self._producer = asyncio.get_running_loop().create_future()
            await self._producer
        return 0

    async def sleep(self, wait_s: float) -> None:
        """Wait for a time, or until the queue is closed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), wait_s)

    def put(self, group: Iterable[Deletion]) -> None:
        """Add deletions; a closed queue accepts them too, for `drain`."""
        self._ready.extend(group)
        for _ in range(min(len(self._ready), len(self._consumers))):
            _wake(self._consumers.popleft())

    def get_nowait(self) -> Deletion | None:
        """Remove and return the next deletion; None if none is ready."""
        if not self._ready:
            return None
        planned = self._ready.popleft()
        if self._producer is not None and len(self._ready) * 2 <= self._max_size:
            self._wake_producer()
        return planned

    async def get(self) -> Deletion | None:
        """Wait for the next deletion and return it; None once the queue is closed and empty."""
        while (planned := self.get_nowait()) is None and not self._closed.is_set():
            waiter = asyncio.get_running_loop().create_future()
            self._consumers.append(waiter)
            await waiter
        return planned

    def close(self) -> None:
        """Close the queue and wake all waiting tasks."""
        self._closed.set()
        self._wake_producer()
        while self._consumers:
            _wake(self._consumers.popleft())

    def drain(self) -> Iterator[Deletion]:
        """Remove and yield the deletions that no worker has taken."""
        while self._ready:
            yield self._ready.popleft()

    def _wake_producer(self) -> None:
        if self._producer is not None:
            _wake(self._producer)
            self._producer = None


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():  # the waiting task may have been cancelled
        waiter.set_result(None)


class ProjectQueues:
    """The project queues of a sweep.

    A queue that the rate limits do not admit is postponed. When its wait is over it comes
    first, because it has the most left to do.

    Args:
        try_acquire: Acquires the tokens for one deletion and returns 0.0, or returns the
            seconds to wait.
        clock: Monotonic seconds.
        admits: Returns whether a deletion may be sent; one that may not is removed.
    """

    def __init__(
        self,
        plan: Iterable[Planned],
        try_acquire: Callable[[Invitation], float],
        clock: Callable[[], float],
        admits: Callable[[Planned], bool] = lambda _: True,
    ) -> None:
        queues: dict[tuple[str, ...], deque[Planned]] = {}
        for planned in plan:
            queues.setdefault(planned.key[:3], deque()).append(planned)
        self._ready = deque(queues.values())
        self._waiting: list[tuple[float, int, deque[Planned]]] = []
        self._try_acquire = try_acquire
        self._clock = clock
        self._admits = admits
        self._sequence = 0

    def next(self) -> Deletion | float | None:
        """Return the next deletion, the seconds to wait for one, or None at the end."""
        self._resume()
        while self._ready:
            queue = self._ready[0]
            if not queue:
                self._ready.popleft()
                continue
            if not self._admits(queue[0]):
                queue.popleft()
                continue
            deletion = Deletion.of(queue[0])
            wait_s = self._try_acquire(deletion.invitation)
            if wait_s <= 0:
                queue.popleft()
                return deletion
            self._postpone(wait_s)
        if self._waiting:
            return max(0.0, self._waiting[0][0] - self._clock())
        return None

    def drain(self) -> Iterator[Planned]:
        """Remove and yield what is left; no token is acquired."""
        for queue in (*self._ready, *(queue for *_, queue in self._waiting)):
            while queue:
                yield queue.popleft()

    def _postpone(self, wait_s: float) -> None:
        self._sequence += 1
        entry = (self._clock() + wait_s, self._sequence, self._ready.popleft())
        heapq.heappush(self._waiting, entry)

    def _resume(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._clock():
            self._ready.appendleft(heapq.heappop(self._waiting)[2])


class CanaryLimit:
    """Project queues that end after `max_deletions` (the canary), or at their end if None."""

    def __init__(self, queues: ProjectQueues, max_deletions: int | None) -> None:
        self._queues = queues
        self._remaining = max_deletions

    def take_batch(self, group: list[Deletion], free_slots: int) -> float | None:
        """Fill a group with deletions that may be sent now, up to `free_slots`.

        If a queue raises, the group contains what was taken before.

        Returns:
            The seconds to wait for more if the rate limits ended the group; None if the group
            is full or no deletion is left.
        """
        while len(group) < free_slots and self._remaining != 0:
            found = self._queues.next()
            if not isinstance(found, Deletion):
                return found
            group.append(found)
            if self._remaining is not None:
                self._remaining -= 1
        return None
