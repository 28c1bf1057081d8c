"""Who waits for a turn, in the order of coming: for one bucket, or under the ceiling."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")

_SOONER_S = 0.001  # a wait is not cut short for less
_CATCH_UP_S = 0.1  # so late a timer may fire, and the spacing still hold on average


class _Queue:
    """Those who wait for one bucket; only the first of them looks at the clock.

    Attributes:
        news: Done when that one shall ask again before its time, `until_s`.
    """

    __slots__ = ("lock", "news", "until_s", "waiting")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.news: asyncio.Future[None] | None = None
        self.until_s = 0.0
        self.waiting = 0


class Turns(Generic[Key]):
    """A queue for each bucket that somebody waits for, and none for the others."""

    def __init__(
        self,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        reserve: Callable[[Key], float],
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._reserve = reserve
        self._queues: dict[Key, _Queue] = {}

    async def take(self, key: Key) -> None:
        """Reserve as soon as it can be had; cancelled while waiting, nothing was taken."""
        queue = self._queues.get(key)
        if queue is None:
            if self._reserve(key) == 0.0:
                return
            queue = self._queues[key] = _Queue()
        queue.waiting += 1
        try:
            async with queue.lock:
                while (wait_s := self._reserve(key)) > 0.0:
                    await self._pause(queue, wait_s)
        finally:
            queue.waiting -= 1
            if not queue.waiting:
                del self._queues[key]

    async def _pause(self, queue: _Queue, wait_s: float) -> None:
        nap = asyncio.ensure_future(self._sleep(wait_s))
        queue.until_s = self._clock() + wait_s
        queue.news = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait((nap, queue.news), return_when=asyncio.FIRST_COMPLETED)
        finally:
            queue.news = None
            if not nap.cancel():
                nap.result()

    @property
    def anybody(self) -> bool:
        """Whether anybody waits for a bucket."""
        return bool(self._queues)

    def tell(self, key: Key, wait_s: Callable[[float], float], now_s: float) -> None:
        """Wake the first in the queue if its wait has become shorter than it thinks."""
        queue = self._queues.get(key)
        if queue is None or queue.news is None or queue.news.done():
            return
        if now_s + wait_s(now_s) < queue.until_s - _SOONER_S:
            queue.news.set_result(None)


class Ceiling:
    """Spaces requests evenly, so that there are never more than so many a second."""

    def __init__(
        self,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        per_s: float | None,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lock = asyncio.Lock()
        self._next_s = clock()
        self.gap_s = 1 / per_s if per_s else 0.0

    async def take(self) -> None:
        """Wait for one's turn; cancelled while waiting, nobody else waits longer for it."""
        if not self.gap_s:
            return
        async with self._lock:
            while (wait_s := self._next_s - self._clock()) > 0.0:
                await self._sleep(wait_s)
            self._next_s = max(self._next_s, self._clock() - _CATCH_UP_S) + self.gap_s
