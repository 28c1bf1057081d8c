"""Keeps requests within Atlas's token buckets, so that a 429 is rare, and spaces them.

There is one `TokenBucket` per endpoint set and scope. This module adds the clock, a queue per
bucket and the spacing of all requests. Each request acquires a token before it is sent and is
completed exactly once: by `on_429` after a 429, else by `on_response`, also if it failed without
a response (`limit=None, remaining=None`).
"""

import asyncio
import random as random_module
from collections.abc import Awaitable, Callable, Iterable
from typing import Final
from weakref import WeakValueDictionary

from invite_sweeper.atlas.limits import BucketKey, BucketLimit, TokenBucket, documented_limit

MAX_IDLE_BUCKETS: Final = 1024
"""Above this number of buckets, those that are full again are dropped."""
_CATCH_UP_S: Final = 0.1
"""A timer that fires this late does not lower the average rate."""


class RateLimiter:
    """The rate limits of one run: its buckets, a queue for each, and the spacing of all requests.

    Attributes:
        is_spaced: Whether `max_requests_per_second` is set.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        *,
        reserve: float = 0.1,
        max_requests_per_second: float | None = None,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        """Start with every bucket full.

        Args:
            clock: Monotonic seconds.
            sleep: Waits for a number of seconds; `asyncio.sleep` outside tests.
            reserve: Share of each bucket's capacity left to other programs.
            max_requests_per_second: Over all buckets; None for no limit.
            random: Returns a number from 0 up to 1: jitter, so that two clients do not retry
                at the same time.
        """
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._reserve = reserve
        self._buckets: dict[BucketKey, TokenBucket] = {}
        self._forget_above = MAX_IDLE_BUCKETS
        # A queue exists as long as a caller waits in it.
        self._queues: WeakValueDictionary[BucketKey, asyncio.Lock] = WeakValueDictionary()
        self._spacing = asyncio.Lock()
        self._interval_s = 1 / max_requests_per_second if max_requests_per_second else 0.0
        self._next_s = clock()
        self.is_spaced = max_requests_per_second is not None

    def try_acquire(self, *keys: BucketKey) -> float:
        """Acquire one token per key and return 0.0, or none and return the seconds to wait.

        A key that occurs twice means two tokens. All or none, because a caller that holds one
        token while it waits for another could deadlock.
        """
        now_s, wait_s, wanted = self._clock(), 0.0, []
        for key in dict.fromkeys(keys):
            bucket = self._buckets.get(key) or self._new_bucket(key, now_s)
            wanted.append((bucket, keys.count(key)))
            wait_s = max(wait_s, bucket.wait_s(now_s, keys.count(key)))
        if wait_s == 0.0:
            for bucket, count in wanted:
                bucket.acquire(now_s, count)
        return wait_s

    def try_acquire_for_retry(self, key: BucketKey, since_s: float) -> float:
        """Acquire a token for a retry and return 0.0, or return the seconds to wait.

        Args:
            key: The bucket.
            since_s: When the retry began to wait; see `TokenBucket.retry_wait_s`.
        """
        now_s = self._clock()
        bucket = self._bucket(key, now_s)
        wait_s = bucket.retry_wait_s(now_s, since_s)
        if wait_s == 0.0:
            bucket.acquire(now_s)
        return wait_s

    async def acquire(self, key: BucketKey) -> None:
        """Wait for a token and acquire it; callers of one bucket are served in order.

        If it is cancelled, no token is acquired. Callers of `try_acquire` bypass the queue.
        """
        if key not in self._queues and self.try_acquire(key) == 0.0:
            return
        queue = self._queues.setdefault(key, asyncio.Lock())
        async with queue:
            while (wait_s := self.try_acquire(key)) > 0.0:
                await self._sleep(wait_s)

    def release(self, keys: Iterable[BucketKey]) -> None:
        """Release acquired tokens that were not used."""
        for key in keys:
            self._bucket(key, self._clock()).release()

    async def wait_for_spacing(self) -> None:
        """Wait until `max_requests_per_second` allows the next request.

        A wait that is cancelled does not use a place.
        """
        async with self._spacing:
            while (wait_s := self._next_s - self._clock()) > 0.0:
                await self._sleep(wait_s)
            self._next_s = max(self._next_s, self._clock() - _CATCH_UP_S) + self._interval_s

    def on_response(
        self,
        key: BucketKey,
        *,
        limit: int | None,
        remaining: int | None,
        sent_s: float | None = None,
    ) -> None:
        """Complete a request that was not answered with 429.

        Args:
            key: The bucket of its token.
            limit: `RateLimit-Limit`; None if it is missing or not a number.
            remaining: `RateLimit-Remaining`, likewise.
            sent_s: When it was sent, on the limiter's clock; None if unknown.
        """
        now_s = self._clock()
        bucket = self._buckets.get(key) or self._new_bucket(key, now_s)
        bucket.on_response(now_s, limit=limit, remaining=remaining, sent_s=sent_s)

    def on_429(
        self, key: BucketKey, retry_after_s: float | None, *, sent_s: float | None = None
    ) -> None:
        """Complete a request that was answered with 429; only its bucket waits."""
        now_s = self._clock()
        bucket = self._bucket(key, now_s)
        bucket.on_429(now_s, retry_after_s, jitter=self._random(), sent_s=sent_s)

    def set_limit(self, key: BucketKey, limit: BucketLimit) -> None:
        """Set the limit of one bucket, as a 429 names it."""
        if limit.is_usable:
            now_s = self._clock()
            self._bucket(key, now_s).set_limit(limit, now_s)

    def blocked_s(self, key: BucketKey) -> float:
        """Return the seconds for which a 429 still blocks a bucket."""
        now_s = self._clock()
        return self._bucket(key, now_s).blocked_s(now_s)

    def _bucket(self, key: BucketKey, now_s: float) -> TokenBucket:
        return self._buckets.get(key) or self._new_bucket(key, now_s)

    def _new_bucket(self, key: BucketKey, now_s: float) -> TokenBucket:
        """Create a bucket for the first request that needs it."""
        if len(self._buckets) >= self._forget_above:
            self._buckets = {k: b for k, b in self._buckets.items() if not b.is_full(now_s)}
            self._forget_above = max(MAX_IDLE_BUCKETS, 2 * len(self._buckets))
        limit = documented_limit(key.endpoint_set)
        bucket = self._buckets[key] = TokenBucket(limit, self._reserve, now_s)
        return bucket
