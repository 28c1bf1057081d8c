"""Waits for Atlas's token buckets, so that a 429 is almost never sent back to us.

One `Bucket` (pure) an endpoint set and scope; this module adds the clock, the queues and
the ceiling over all requests.

Each request takes its token first (`reserve` or `acquire`) and is settled once afterwards,
whatever became of it: by `throttled` when the answer was a 429, by `learn` in any other case
(no answer at all: `learn(key, limit=None, remaining=None)`).
"""

import asyncio
import random as _random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

from invite_sweeper.atlas.bucket import Bucket
from invite_sweeper.atlas.limits import Limit, RateLimit, limit_of, ours

FORGET_ABOVE = 1024
"""So many buckets are kept before those that are as good as full are forgotten."""


class BucketKey(NamedTuple):
    """Which bucket: an endpoint set (the constants of `limits`) and whose requests it counts.

    A named tuple, as it is hashed for every request and that is the fastest there is.

    Attributes:
        scope_id: The project's or organization's id, or the credential's name.
    """

    endpoint_set: str
    scope_id: str


class _Gate:
    """Who waits for one bucket: in the order of coming, the first of them on the clock."""

    __slots__ = ("lock", "news", "waiting")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.news: asyncio.Future[None] | None = None
        self.waiting = 0


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
        self._sleep = sleep
        self._reserve = reserve
        self._gap_s = 1 / max_requests_per_second if max_requests_per_second else 0.0
        self._random = random
        self._shared_by = shared_by
        self._buckets: dict[BucketKey, Bucket] = {}
        self._gates: dict[BucketKey, _Gate] = {}
        self._seeded: dict[str, Limit] = {}
        self._ceiling_lock = asyncio.Lock()
        self._next_slot_s = clock()
        self._forget_above = FORGET_ABOVE
        self.blind = True

    def reserve(self, key: BucketKey) -> float:
        """Take a token and give 0.0, or take nothing and give the seconds to wait."""
        now_s = self._clock()
        bucket = self._buckets.get(key) or self._open(key, now_s)
        return bucket.try_take(now_s)

    async def acquire(self, key: BucketKey) -> None:
        """Take a token as soon as there is one; first come, first served for each bucket.

        Cancelled while it waits, it has taken nothing.
        """
        gate = self._gates.get(key)
        if gate is None:
            if self.reserve(key) == 0.0:
                return
            gate = self._gates[key] = _Gate()
        gate.waiting += 1
        try:
            async with gate.lock:
                while (wait_s := self.reserve(key)) > 0.0:
                    await self._pause(gate, wait_s)
        finally:
            gate.waiting -= 1
            if not gate.waiting:
                del self._gates[key]

    async def _pause(self, gate: _Gate, wait_s: float) -> None:
        """Wait for the time to pass or for an answer that says there is a token now."""
        nap = asyncio.ensure_future(self._sleep(wait_s))
        gate.news = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait((nap, gate.news), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gate.news.cancel()
            gate.news = None
            nap.cancel()

    async def ceiling(self) -> None:
        """Wait for this request's turn under `max_requests_per_second`, evenly spaced."""
        if not self._gap_s:
            return
        async with self._ceiling_lock:
            while (wait_s := self._next_slot_s - self._clock()) > 0.0:
                await self._sleep(wait_s)
            # A timer that fires late is made up for, by a tenth of a second and no more.
            self._next_slot_s = max(self._next_slot_s, self._clock() - 0.1) + self._gap_s

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
        now_s = self._clock()
        bucket = self._buckets.get(key) or self._open(key, now_s)
        bucket.answered(now_s, limit=limit, remaining=remaining, sent_s=sent_s)
        self._tell(key, bucket, now_s)

    def throttled(
        self, key: BucketKey, retry_after_s: float | None, *, sent_s: float | None = None
    ) -> None:
        """Settle one request that was a 429: its bucket waits, no other does."""
        now_s = self._clock()
        bucket = self._buckets.get(key) or self._open(key, now_s)
        bucket.refused(now_s, retry_after_s, jitter=self._random(), sent_s=sent_s)

    def learn_refill(self, key: BucketKey, capacity: int, refill: int, period_s: float) -> None:
        """Take a 429's own words for its bucket (`parameters[2:5]` of the body)."""
        now_s = self._clock()
        bucket = self._buckets.get(key) or self._open(key, now_s)
        limit = Limit(capacity, refill, period_s)
        if limit.sane:
            bucket.relearn(limit.part(self._parts(key.endpoint_set)), now_s)
            self._tell(key, bucket, now_s)

    def seed(self, rate_limits: Iterable[RateLimit]) -> None:
        """Take the answer of `GET /rateLimits` for every bucket of those endpoint sets."""
        now_s = self._clock()
        for rate_limit in rate_limits:
            endpoint_set = ours(rate_limit)
            if endpoint_set is None or not rate_limit.limit.sane:
                continue
            self.blind = False
            self._seeded[endpoint_set] = rate_limit.limit
            for key, bucket in self._buckets.items():
                if key.endpoint_set == endpoint_set:
                    bucket.relearn(rate_limit.limit.part(self._parts(endpoint_set)), now_s)

    def estimate_s(self, counts: Mapping[BucketKey, int]) -> float:
        """Give the seconds that the buckets allow for so many requests each, from now."""
        now_s = self._clock()
        slowest_s = sum(counts.values()) * self._gap_s
        for key, count in counts.items():
            bucket = self._buckets.get(key) or self._fresh(key, now_s)
            slowest_s = max(slowest_s, bucket.estimate_s(now_s, count))
        return slowest_s

    def _tell(self, key: BucketKey, bucket: Bucket, now_s: float) -> None:
        gate = self._gates.get(key)
        if gate is None or gate.news is None or gate.news.done():
            return
        if bucket.wait_s(now_s) == 0.0:
            gate.news.set_result(None)

    def _parts(self, endpoint_set: str) -> int:
        return 1 if endpoint_set.endswith("_group") else self._shared_by

    def _fresh(self, key: BucketKey, now_s: float) -> Bucket:
        limit = self._seeded.get(key.endpoint_set) or limit_of(key.endpoint_set)
        return Bucket(limit.part(self._parts(key.endpoint_set)), self._reserve, now_s)

    def _open(self, key: BucketKey, now_s: float) -> Bucket:
        if len(self._buckets) >= self._forget_above:
            self._buckets = {k: b for k, b in self._buckets.items() if not b.idle(now_s)}
            self._forget_above = max(FORGET_ABOVE, 2 * len(self._buckets))
        bucket = self._buckets[key] = self._fresh(key, now_s)
        return bucket
