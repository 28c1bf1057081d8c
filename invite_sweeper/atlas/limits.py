"""Atlas's rate limits: documented figures, token buckets led by the headers, and spacing.

There is one `TokenBucket` per endpoint set and scope. Each request acquires a token before it is
sent and is completed exactly once: by `on_429` after a 429, else by `on_response`, also if it
failed without a response (`limit=None, remaining=None`).
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Final

from invite_sweeper.atlas.endpoints import BucketLimit, EndpointSet

MIN_RETRY_AFTER_S: Final = 1.0
"""Atlas has sent `Please retry after 0 seconds`."""
MAX_RETRY_AFTER_S: Final = 120.0

MAX_UNCONFIRMED: Final = 8
"""Requests in flight until a response has a `RateLimit` header.

The bucket may be smaller than documented: this bounds how many requests are answered with 429.
"""
_KEPT_TOKENS: Final = 8
"""The last ones above the reserve are spent one by one, to see the refill."""
_FIRST_POLL_S: Final = 0.1
MAX_POLL_INTERVAL_S: Final = 9.0
"""Longest wait for a bucket that seems empty: the known limit may be wrong."""
MAX_WAIT_FOR_RESPONSE_S: Final = 5.0
"""After this time, others no longer wait for a response: the request may not be sent yet."""
ASSUME_LOST_AFTER_S: Final = 120.0
"""After this time without a response, a token counts as spent and not in flight."""
MAX_RETRY_DELAY_S: Final = 1.0
"""A retry waits at most this long after `Retry-After`, even if the bucket seems empty."""
BACKOFF_STEPS_S: Final = (10.0, 20.0, 40.0)
"""Waits after the second and further 429s in a row, if `Retry-After` is not longer than 1 s.

Source: https://www.mongodb.com/docs/atlas/api/api-rate-limit (April 10, 2026).
"""
_BACKOFF_JITTER: Final = 0.25
_WITH_OTHERS_IN_FLIGHT: Final = 2
"""Another program may have as many requests in flight as this one."""
_CLOCK_MARGIN_S: Final = 0.002
_MIN_WAIT_S: Final = 0.001


class TokenBucket:
    """One bucket of Atlas, as its responses show it; a new one is full.

    Times are arguments: `now_s`, and `sent_s` when the request of a response was sent.

    The level is `RateLimit-Remaining` of the latest response; a 429 sets the time to wait. Without
    headers, the level is the local count plus the known refill. When the tokens come to an end,
    requests are sent at growing intervals: the response to one of them shows the refill.

    Attributes:
        limit: Capacity, refill and period.
        level: Tokens according to the last response, which may or may not count the requests
            in flight.
        in_flight: When each token without a response was acquired, oldest first. A tuple, because
            most of thousands of buckets have none, and share the empty one.
        blocked_until_s: The end of the wait after a 429.
        queue: Of callers that wait; None until there is one.
    """

    # fmt: off
    __slots__ = (
        "_acquired_s", "_blocked_since_s", "_has_header", "_is_guessed", "_kept", "_plenty_s",
        "_received_s", "_refill_by_s", "_rejections", "_reserve", "_reserve_share",
        "blocked_until_s", "in_flight", "level", "limit", "queue",
    )
    # fmt: on

    def __init__(self, limit: BucketLimit, reserve_share: float, now_s: float) -> None:
        self._reserve_share = reserve_share
        self.use_limit(limit)
        self.level = limit.capacity
        self.queue: asyncio.Lock | None = None
        self.in_flight: tuple[float, ...] = ()
        self._has_header = False  # a response had a `RateLimit` header
        self._is_guessed = False  # the limit is one of `_guess_limit`
        self._acquired_s = now_s  # the last token
        self._plenty_s = now_s  # the last time at which tokens were not scarce
        self._received_s = now_s  # the response that the level is from
        self._refill_by_s = math.inf  # there is a refill until then; set by the first response
        self._rejections = 0  # 429s in a row
        self._blocked_since_s = -math.inf
        self.blocked_until_s = -math.inf

    def use_limit(self, limit: BucketLimit) -> None:
        """Set capacity, refill and period; the level stays."""
        self.limit = limit
        self._reserve = limit.reserve(self._reserve_share)
        a_third = (limit.capacity - self._reserve) // 3  # of a small bucket
        self._kept = min(_KEPT_TOKENS, a_third)

    def wait_s(self, now_s: float, count: int = 1) -> float:
        """Return 0.0 if `count` requests may be sent now, else the seconds until the next check.

        In this order: the wait that Atlas requested after a 429; what must be answered before
        more is sent; tokens that are free whatever the requests in flight do; else the next
        request that asks for the level, one by one.
        """
        if now_s < self.blocked_until_s:
            return max(self.blocked_until_s - now_s, _MIN_WAIT_S)
        self._advance(now_s)
        # A response may come at any moment, so a wait for one is short, and longer each time.
        until_response_s = min(max(0.005, (now_s - self._acquired_s) / 2), 1.0)
        if self._must_wait_for_response(now_s, count):
            return until_response_s
        if self._rejections:
            return 0.0  # one request is sent first; its response shows the level
        # The level may or may not count what is in flight, here and in another program.
        free = self.level - _WITH_OTHERS_IN_FLIGHT * len(self.in_flight) - self._reserve
        if free >= count + self._kept:
            self._plenty_s = now_s
            return 0.0
        wait_s = self._next_poll_s(count) - now_s
        if self.in_flight:
            wait_s = min(wait_s, until_response_s)
        return max(wait_s, _MIN_WAIT_S) if wait_s > 0.0 else 0.0

    def _must_wait_for_response(self, now_s: float, count: int) -> bool:
        """Return whether a request in flight must be answered first.

        After a 429 that is any request; before the first `RateLimit` header, it is the one that
        would leave more than `MAX_UNCONFIRMED` without an answer. One that was acquired long ago
        is not waited for: it may not be sent yet.
        """
        if self._rejections:
            most = 0
        elif not self._has_header:
            most = max(MAX_UNCONFIRMED - count, 0)
        else:
            return False
        if len(self.in_flight) <= most:
            return False
        first_too_many_s = self.in_flight[-(most + 1)]
        return first_too_many_s >= now_s - MAX_WAIT_FOR_RESPONSE_S

    def retry_wait_s(self, now_s: float, since_s: float, count: int = 1) -> float:
        """Return 0.0 if `count` requests may be retried now, else the seconds until the next check.

        It waits at most `MAX_RETRY_DELAY_S` after `Retry-After` and after `since_s`: its caller
        may hold other tokens, so a wait for a response to those would be a deadlock.
        """
        until_s = max(since_s, self.blocked_until_s) + MAX_RETRY_DELAY_S
        return max(0.0, min(self.wait_s(now_s, count), until_s - now_s))

    def acquire(self, now_s: float, count: int = 1) -> None:
        """Acquire tokens; `wait_s` or `retry_wait_s` must have returned 0.0."""
        self._acquired_s = now_s
        self.in_flight += (now_s,) * count

    def release(self) -> None:
        """Release an acquired token that was not used."""
        self.in_flight = self.in_flight[:-1]

    def on_response(
        self, now_s: float, sent_s: float, *, limit: float | None, remaining: float | None
    ) -> None:
        """Complete a request that was not answered with 429.

        Responses may arrive out of order, so a higher level may be an older one. It proves a
        refill only if its request was sent after the lower level was received. `limit` and
        `remaining` are the headers; None without them or any response.
        """
        self._advance(now_s)
        self.in_flight = self.in_flight[1:]
        if self._refill_by_s == math.inf:  # refills of a full bucket cannot be observed
            self._refill_by_s = now_s + self.limit.period_s
        if remaining is None:
            self.level = max(0.0, self.level - 1)
        else:
            if limit is not None and 0 < limit != self.limit.capacity:
                self._guess_limit(limit)
            self._use_level(now_s, sent_s, min(max(remaining, 0.0), self.limit.capacity))
        # An answer to a request that was sent before the 429 does not prove that the wait is over.
        # Nor does one without a header, where Atlas sends headers: it may be from a proxy.
        is_from_bucket = remaining is not None or not self._has_header
        if is_from_bucket and sent_s >= self._blocked_since_s:
            self._rejections = 0

    def _guess_limit(self, capacity: float) -> None:
        """Use a capacity that a header names; no header names the refill.

        It is assumed to grow with the capacity, and not to shrink with it.
        """
        share = max(1.0, capacity / self.limit.capacity)
        refill = min(self.limit.refill * share, capacity)
        self.use_limit(BucketLimit(capacity, refill, self.limit.period_s))
        self.level = capacity
        self._is_guessed = True

    def _use_level(self, now_s: float, sent_s: float, remaining: float) -> None:
        """Use the level of a response, unless it may be older than the known one."""
        is_higher = self._has_header and remaining > self.level
        if is_higher and sent_s < self._received_s:
            return
        if is_higher:  # since the lower level was received, there was a refill
            self._refill_by_s = now_s + self.limit.period_s
        self._has_header = True
        self.level = remaining
        self._received_s = now_s

    def on_429(
        self,
        now_s: float,
        sent_s: float,
        retry_after_s: float,
        *,
        jitter: float,
        limit: BucketLimit | None = None,
    ) -> None:
        """Complete a request that was answered with 429.

        Nothing is sent until the wait is over, then one request first. `retry_after_s` is 0 where
        Atlas requested no wait, `jitter` from 0 up to 1, and `limit` what the response names.
        """
        self._advance(now_s)
        self.in_flight = self.in_flight[1:]
        if limit is not None:
            self.use_limit(limit)
            self._is_guessed = False
        if not self._rejections or sent_s >= self._blocked_since_s:
            # 429s of requests that were in flight at the first one count as the same event.
            self._rejections += 1
            self._blocked_since_s = now_s
        wait_s = min(max(retry_after_s, MIN_RETRY_AFTER_S), MAX_RETRY_AFTER_S)
        if self._rejections > 1 and wait_s <= MIN_RETRY_AFTER_S:
            step_s = BACKOFF_STEPS_S[min(self._rejections - 2, len(BACKOFF_STEPS_S) - 1)]
            wait_s = step_s * (1 + _BACKOFF_JITTER * jitter)
        self.blocked_until_s = max(self.blocked_until_s, now_s + wait_s)
        self._refill_by_s = self.blocked_until_s
        self.level = 0.0
        self._received_s = now_s

    def _next_poll_s(self, count: int) -> float:
        """Return when to send the next request; its response shows whether there was a refill."""
        last_s = self._acquired_s
        refill_s = self._refill_by_s + _CLOCK_MARGIN_S
        is_refill_ahead = last_s < refill_s
        left = self.level - len(self.in_flight)
        # Half of the reserve may be spent to ask: a header is worth a token, as the refill may
        # come earlier than known. A guessed limit is worth one in any case.
        may_ask = self._has_header and (left - count >= self._reserve / 2 or self._is_guessed)
        if left < self._reserve + count and not may_ask and is_refill_ahead:
            return refill_s
        # The longer the tokens have been scarce, the less often it asks.
        interval_s = max(_FIRST_POLL_S, (last_s - self._plenty_s) / 4)
        next_s = last_s + min(interval_s, MAX_POLL_INTERVAL_S)
        return min(next_s, refill_s) if is_refill_ahead else next_s

    def _advance(self, now_s: float) -> None:
        """Apply what depends on time only: lost responses, and refills without headers."""
        while self.in_flight and now_s - self.in_flight[0] > ASSUME_LOST_AFTER_S:
            self.in_flight = self.in_flight[1:]
            self.level = max(0.0, self.level - 1)
        if now_s >= self._refill_by_s and not self._has_header:
            # One was due at `_refill_by_s`, and one more after each whole period since.
            periods = int((now_s - self._refill_by_s) / self.limit.period_s)
            refills = periods + 1
            self._refill_by_s += refills * self.limit.period_s
            refilled = self.level + refills * self.limit.refill
            self.level = min(self.limit.capacity, refilled)


_CATCH_UP_S: Final = 0.1
"""A timer that fires this late does not lower the average rate."""


class RateLimiter:
    """The rate limits of one run: its buckets, a queue for each, and the spacing of all requests.

    Args:
        clock: Monotonic seconds.
        sleep: Waits for a number of seconds; `asyncio.sleep` outside tests.
        reserve: Share of each bucket's capacity left to other programs.
        max_requests_per_second: Over all buckets; None for no limit.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        *,
        reserve: float = 0.1,
        max_requests_per_second: float | None = None,
    ) -> None:
        self.clock = clock
        self.sleep = sleep
        self.is_spaced = max_requests_per_second is not None
        self._buckets: defaultdict[EndpointSet, dict[str, TokenBucket]] = defaultdict(dict)
        self._reserve = reserve
        self._spacing = asyncio.Lock()
        self._interval_s = 1 / max_requests_per_second if max_requests_per_second else 0.0
        self._next_s = clock()

    def bucket(self, endpoint_set: EndpointSet, scope_id: str) -> TokenBucket:
        """Return a bucket; at first it is full and has the documented limit."""
        buckets = self._buckets[endpoint_set]
        bucket = buckets.get(scope_id)
        if bucket is None:
            bucket = TokenBucket(endpoint_set.limit, self._reserve, self.clock())
            buckets[scope_id] = bucket
        return bucket

    def try_acquire(self, *buckets: TokenBucket) -> float:
        """Acquire one token of each and return 0.0, or none and return the seconds to wait.

        A bucket that occurs twice means two tokens. All or none, because a caller that holds one
        token while it waits for another could deadlock.
        """
        now_s = self.clock()
        wait_s = 0.0
        for bucket in buckets:
            wait_s = max(wait_s, bucket.wait_s(now_s, buckets.count(bucket)))
        if wait_s == 0.0:
            for bucket in buckets:
                bucket.acquire(now_s)
        return wait_s

    async def acquire(self, bucket: TokenBucket) -> None:
        """Wait for a token and acquire it; callers of one bucket are served in order.

        If it is cancelled, no token is acquired. Callers of `try_acquire` bypass the queue.
        """
        if (bucket.queue is None or not bucket.queue.locked()) and self.try_acquire(bucket) == 0.0:
            return
        if bucket.queue is None:
            bucket.queue = asyncio.Lock()
        async with bucket.queue:
            while (wait_s := self.try_acquire(bucket)) > 0.0:
                await self.sleep(wait_s)

    async def wait_for_spacing(self) -> None:
        """Wait until `max_requests_per_second` allows the next request.

        A wait that is cancelled does not use a place.
        """
        async with self._spacing:
            while (wait_s := self._next_s - self.clock()) > 0.0:
                await self.sleep(wait_s)
            self._next_s = max(self._next_s, self.clock() - _CATCH_UP_S) + self._interval_s
