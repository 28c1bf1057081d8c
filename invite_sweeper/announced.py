"""Deletions whose intent is on disk, handed from the one who announces to those who send."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Iterator

from invite_sweeper.outcome import Planned


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
