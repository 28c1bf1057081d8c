"""RateLimiter: reserve, acquire, update from headers."""

import asyncio
import random as _random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from invite_sweeper.atlas.rate_limits import BucketKey, Limit, RateLimit, limit_of, ours
from invite_sweeper.atlas.token_bucket import Bucket

# All buckets of a run, each opened when it is first drawn from. Pure: no clock of its own.


FORGET_ABOVE = 1024
"""So many buckets are kept before those that are as good as full are forgotten."""


class Buckets:
    """The buckets that were drawn from, by key.

    Args:
        reserve: The share of each bucket's capacity left to other programs.
        shared_by: So many shards run at once; see `parts`.
    """

    def __init__(self, reserve: float, shared_by: int) -> None:
        self._reserve = reserve
        self._shared_by = shared_by
        self._open: dict[BucketKey, Bucket] = {}
        self._seeded: dict[str, Limit] = {}
        self._forget_above = FORGET_ABOVE

    def __len__(self) -> int:
        """Say how many are open."""
        return len(self._open)

    def get(self, key: BucketKey) -> Bucket | None:
        """Give a bucket that is open."""
        return self._open.get(key)

    def open(self, key: BucketKey, now_s: float) -> Bucket:
        """Give a bucket; one that nobody has drawn from is full."""
        bucket = self._open.get(key)
        if bucket is None:
            if len(self._open) >= self._forget_above:
                self._open = {k: b for k, b in self._open.items() if not b.idle(now_s)}
                self._forget_above = max(FORGET_ABOVE, 2 * len(self._open))
            bucket = self._open[key] = self._fresh(key, now_s)
        return bucket

    def look(self, key: BucketKey, now_s: float) -> Bucket:
        """Give a bucket to look at; one that nobody has drawn from is not kept."""
        return self._open.get(key) or self._fresh(key, now_s)

    def keep(self, key: BucketKey, bucket: Bucket) -> None:
        """Keep what `look` gave, as it has something to remember now."""
        self._open[key] = bucket

    def seed(self, rate_limit: RateLimit, now_s: float) -> bool:
        """Take an entry of `GET /rateLimits` for all buckets of its endpoint set.

        Returns:
            Whether it is one of ours, with figures that one can wait by.
        """
        endpoint_set = ours(rate_limit)
        if endpoint_set is None or not rate_limit.limit.sane:
            return False
        self._seeded[endpoint_set] = rate_limit.limit
        for key, bucket in self._open.items():
            if key.endpoint_set == endpoint_set:
                bucket.relearn(rate_limit.limit.part(self.parts(endpoint_set)), now_s)
        return True

    def parts(self, endpoint_set: str) -> int:
        """Into how many parts a bucket is divided: a project's is one shard's alone."""
        alone = self._shared_by == 1 or endpoint_set.endswith("_group")
        return 1 if alone else self._shared_by

    def _fresh(self, key: BucketKey, now_s: float) -> Bucket:
        limit = self._seeded.get(key.endpoint_set) or limit_of(key.endpoint_set)
        return Bucket(limit.part(self.parts(key.endpoint_set)), self._reserve, now_s)


# Who waits for a turn, in the order of coming: for one bucket, or under the ceiling.


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


# Waits for Atlas's token buckets, so that a 429 is almost never sent back to us.
#
# One `Bucket` (pure) an endpoint set and scope; this module adds the clock, the queues and
# the ceiling over all requests.
#
# Each request takes its token first (`reserve` or `acquire`) and is settled once afterwards,
# whatever became of it: by `throttled` when the answer was a 429, by `learn` in any other case
# (no answer at all: `learn(key, limit=None, remaining=None)`). What answers tell is taken in when
# somebody asks next, with the time at which it came: several at once cost less.


_MOST_HEARD = 256


class _Heard(NamedTuple):
    key: BucketKey
    limit: int | None
    remaining: int | None
    sent_s: float | None
    now_s: float


class RateLimiter:
    """The buckets of one run, and the ceiling over all its requests.

    Attributes:
        blind: No answer had a RateLimit header so far, and `GET /rateLimits` told nothing:
            the documented figures and the 429s are all there is.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        *,
        reserve: float = 0.1,
        max_requests_per_second: float | None = None,
        random: Callable[[], float] = _random.random,
        shared_by: int = 1,
    ) -> None:
        """Start with every bucket full.

        Args:
            clock: Monotonic seconds.
            sleep: Waits for so many seconds; `asyncio.sleep` outside tests.
            reserve: The share of each bucket's capacity left to other programs.
            max_requests_per_second: The ceiling over all buckets; None for none.
            random: From 0 up to 1; jitter, so that two clients do not come back together.
            shared_by: So many shards run at once: each takes its part of the buckets that
                count a user or an organization. A project's bucket is one shard's alone.
        """
        self._clock = clock
        self._random = random
        self._buckets = Buckets(reserve, shared_by)
        self._heard: list[_Heard] = []
        self._turns = Turns(clock, sleep, self.reserve)
        self._ceiling = Ceiling(clock, sleep, max_requests_per_second)
        self.blind = True

    def reserve(self, key: BucketKey) -> float:
        """Take a token and give 0.0, or take nothing and give the seconds to wait."""
        if self._heard:
            self._take_in()
        now_s = self._clock()
        return self._buckets.open(key, now_s).try_take(now_s)

    async def acquire(self, key: BucketKey) -> None:
        """Take a token as soon as there is one; first come, first served for each bucket.

        Cancelled while it waits, it has taken nothing. Those who `reserve` meanwhile do not
        queue: they may come first.
        """
        await self._turns.take(key)

    @property
    def paced(self) -> bool:
        """Whether there is a ceiling over all requests."""
        return self._ceiling.gap_s > 0.0

    async def ceiling(self) -> None:
        """Wait for this request's turn under `max_requests_per_second`, evenly spaced."""
        await self._ceiling.take()

    def learn(
        self,
        key: BucketKey,
        *,
        limit: int | None,
        remaining: int | None,
        sent_s: float | None = None,
    ) -> None:
        """Settle one request that was no 429, and take the headers' word for the level.

        Args:
            key: The bucket that the request's token came from.
            limit: `RateLimit-Limit`; None where it is missing or no number.
            remaining: `RateLimit-Remaining`, likewise.
            sent_s: When the request went out, on the limiter's clock; where it is None,
                answers are taken to come in the order of their tokens.
        """
        if remaining is not None:
            self.blind = False
        self._heard.append(_Heard(key, limit, remaining, sent_s, self._clock()))
        if self._turns.anybody or len(self._heard) >= _MOST_HEARD:
            self._take_in()

    def _take_in(self) -> None:
        """Settle the requests of which `learn` was told, in the order of their answers."""
        heard, self._heard = self._heard, []
        for key, limit, remaining, sent_s, now_s in heard:
            bucket = self._buckets.open(key, now_s)
            part: float | None = limit
            rest: float | None = remaining
            if (parts := self._buckets.parts(key.endpoint_set)) > 1:
                part = limit / parts if limit is not None else None
                rest = remaining / parts if remaining is not None else None
            bucket.answered(now_s, limit=part, remaining=rest, sent_s=sent_s)
            if self._turns.anybody:
                self._turns.tell(key, bucket.wait_s, now_s)

    def throttled(
        self, key: BucketKey, retry_after_s: float | None, *, sent_s: float | None = None
    ) -> None:
        """Settle one request that was a 429: its bucket waits, no other does."""
        self._take_in()
        now_s = self._clock()
        bucket = self._buckets.open(key, now_s)
        bucket.refused(now_s, retry_after_s, jitter=self._random(), sent_s=sent_s)

    def learn_refill(self, key: BucketKey, capacity: int, refill: int, period_s: float) -> None:
        """Take a 429's own words for its bucket (`parameters[2:5]` of the body)."""
        self._take_in()
        now_s = self._clock()
        bucket = self._buckets.open(key, now_s)
        limit = Limit(capacity, refill, period_s)
        if limit.sane:
            bucket.relearn(limit.part(self._buckets.parts(key.endpoint_set)), now_s)
            self._turns.tell(key, bucket.wait_s, now_s)

    def seed(self, rate_limits: Iterable[RateLimit]) -> None:
        """Take the answer of `GET /rateLimits` for every bucket of those endpoint sets."""
        self._take_in()
        now_s = self._clock()
        for rate_limit in rate_limits:
            if self._buckets.seed(rate_limit, now_s):
                self.blind = False

    def unfamiliar(self, key: BucketKey) -> bool:
        """Tell whether a header named a capacity that no source gives a refill for.

        Then how fast the bucket is refilled has to be found out by looking. It is worth one
        `GET /rateLimits` for its scope, handed to `learn_refill`.
        """
        self._take_in()
        bucket = self._buckets.get(key)
        return bucket is not None and bucket.unfamiliar

    def expect(self, counts: Mapping[BucketKey, int]) -> None:
        """Say how many requests are still to come, so that none is held back for nothing.

        A bucket's last tokens are otherwise spent one by one, to see when more will come.
        """
        self._take_in()
        now_s = self._clock()
        for key, count in counts.items():
            bucket = self._buckets.look(key, now_s)
            if bucket.expect(count):
                self._buckets.keep(key, bucket)

    def estimate_s(self, counts: Mapping[BucketKey, int]) -> float:
        """Give the seconds that the buckets allow for so many requests each, from now."""
        self._take_in()
        now_s = self._clock()
        slowest_s = sum(counts.values()) * self._ceiling.gap_s
        for key, count in counts.items():
            slowest_s = max(slowest_s, self._buckets.look(key, now_s).estimate_s(now_s, count))
        return slowest_s
