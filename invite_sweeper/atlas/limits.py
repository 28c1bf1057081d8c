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
_LAST_TOKENS: Final = 8
"""Tokens above the reserve that are spent one by one, so that the refill is seen in time."""
_FIRST_POLL_S: Final = 0.1
_POLL_SHARE: Final = 0.25
"""The interval of polls, as a share of the time since which tokens are scarce."""
MAX_POLL_INTERVAL_S: Final = 9.0
"""Longest wait for a bucket that seems empty: the known limit may be wrong."""
_FIRST_RESPONSE_CHECK_S: Final = 0.005
_MAX_RESPONSE_CHECK_S: Final = 1.0
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
    requests are sent at growing intervals, as polls: the response to one of them shows the refill.

    Attributes:
        limit: Capacity, refill and period.
        level: Tokens according to the last response, which may or may not count the requests
            in flight.
        in_flight: When each token without a response was acquired, oldest first. A tuple, because
            most of thousands of buckets have none, and share the empty one.
        blocked_until_s: The end of the wait after a 429.
        queue: The lock that callers wait for in their order; None until one has to wait.
    """

    # fmt: off
    __slots__ = (
        "_blocked_since_s", "_consecutive_429s", "_has_header", "_is_limit_guessed",
        "_last_acquired_s", "_last_tokens", "_level_received_s", "_refill_due_s", "_reserve",
        "_reserve_share", "_scarce_since_s",
        "blocked_until_s", "in_flight", "level", "limit", "queue",
    )
    # fmt: on

    def __init__(self, limit: BucketLimit, reserve_share: float, now_s: float) -> None:
        self._reserve_share = reserve_share
        self.use_limit(limit)
        self._is_limit_guessed = False  # by `_guess_limit`
        self.queue: asyncio.Lock | None = None
        # The level, and the requests that it may not count.
        self.level = limit.capacity
        self._level_received_s = now_s
        self._has_header = False  # a response had a `RateLimit` header
        self.in_flight: tuple[float, ...] = ()
        # When the next poll may be sent.
        self._refill_due_s = math.inf  # a refill comes until then; known from the first response on
        self._last_acquired_s = now_s
        self._scarce_since_s = now_s  # since when there are no more than the last tokens
        # The 429s in a row.
        self._consecutive_429s = 0
        self._blocked_since_s = -math.inf
        self.blocked_until_s = -math.inf

    def use_limit(self, limit: BucketLimit) -> None:
        """Set capacity, refill and period; the level stays."""
        self.limit = limit
        self._reserve = limit.reserve(self._reserve_share)  # tokens left to other programs
        # Of a small bucket a third, so that most of its tokens need no poll.
        third = (limit.capacity - self._reserve) // 3
        self._last_tokens = min(_LAST_TOKENS, third)

    def wait_s(self, now_s: float, count: int = 1) -> float:
        """Return 0.0 if `count` requests may be sent now, else the seconds until the next check.

        What is certain comes first: the wait that Atlas requested, then responses that must
        arrive, then tokens that no request in flight can take. A poll comes last.
        """
        if now_s < self.blocked_until_s:
            return max(self.blocked_until_s - now_s, _MIN_WAIT_S)
        self._count_lost_and_refilled(now_s)
        if self._must_wait_for_response(now_s, count):
            return self._response_check_s(now_s)
        if self._consecutive_429s:
            return 0.0  # one request is sent first; its response shows the level
        # The level may or may not count what is in flight, here and in another program.
        free = self.level - _WITH_OTHERS_IN_FLIGHT * len(self.in_flight) - self._reserve
        if free >= count + self._last_tokens:
            self._scarce_since_s = now_s
            return 0.0
        wait_s = self._next_poll_s(count) - now_s
        if self.in_flight:
            wait_s = min(wait_s, self._response_check_s(now_s))
        return max(wait_s, _MIN_WAIT_S) if wait_s > 0.0 else 0.0

    def _must_wait_for_response(self, now_s: float, count: int) -> bool:
        """Return whether a request in flight must be answered before `count` more are sent.

        After a 429 that is each of them: one request shows whether the wait is over. Before the
        first `RateLimit` header, no more than `MAX_UNCONFIRMED` are without a response.
        """
        if self._consecutive_429s:
            may_be_in_flight = 0
        elif not self._has_header:
            may_be_in_flight = max(MAX_UNCONFIRMED - count, 0)
        else:
            return False
        too_many = len(self.in_flight) - may_be_in_flight
        if too_many <= 0:
            return False
        # As many of the oldest must be answered, but for those that may not be sent yet: where
        # even the newest of them was acquired long ago, none is waited for.
        newest_acquired_s = self.in_flight[too_many - 1]
        return newest_acquired_s >= now_s - MAX_WAIT_FOR_RESPONSE_S

    def _response_check_s(self, now_s: float) -> float:
        """Return the seconds until the next check whether a response has arrived.

        It may arrive at any moment, so the first wait is short; each wait is half as long as the
        time since the last token was acquired.
        """
        interval_s = (now_s - self._last_acquired_s) / 2
        return min(max(_FIRST_RESPONSE_CHECK_S, interval_s), _MAX_RESPONSE_CHECK_S)

    def _next_poll_s(self, count: int) -> float:
        """Return when to send the next request; its response shows whether there was a refill."""
        # The longer the tokens have been scarce, the less often it polls.
        scarce_s = self._last_acquired_s - self._scarce_since_s
        interval_s = max(_FIRST_POLL_S, scarce_s * _POLL_SHARE)
        poll_s = self._last_acquired_s + min(interval_s, MAX_POLL_INTERVAL_S)
        refill_s = self._refill_due_s + _CLOCK_MARGIN_S
        if self._last_acquired_s >= refill_s:
            return poll_s  # the refill was due, and has not shown yet
        left = self.level - len(self.in_flight)
        is_above_reserve = left >= self._reserve + count
        # The refill may come earlier than known, so a poll may spend half of the reserve. It may
        # spend all of it under a guessed limit, of which the refill is not known at all. Without
        # headers a poll shows nothing.
        may_spend_reserve = self._is_limit_guessed or left - count >= self._reserve / 2
        if is_above_reserve or (self._has_header and may_spend_reserve):
            return min(poll_s, refill_s)
        return refill_s

    def retry_wait_s(self, now_s: float, since_s: float, count: int = 1) -> float:
        """Return 0.0 if `count` requests may be retried now, else the seconds until the next check.

        It waits at most `MAX_RETRY_DELAY_S` after `Retry-After` and after `since_s`: its caller
        may hold other tokens, so a wait for a response to those would be a deadlock.
        """
        latest_s = max(since_s, self.blocked_until_s) + MAX_RETRY_DELAY_S
        return max(0.0, min(self.wait_s(now_s, count), latest_s - now_s))

    def acquire(self, now_s: float) -> None:
        """Acquire a token; `wait_s` or `retry_wait_s` must have returned 0.0."""
        self._last_acquired_s = now_s
        self.in_flight += (now_s,)

    def release(self) -> None:
        """Release an acquired token that was not used."""
        self.in_flight = self.in_flight[:-1]

    def on_response(
        self, now_s: float, sent_s: float, *, limit: float | None, remaining: float | None
    ) -> None:
        """Complete a request that was not answered with 429.

        Args:
            limit: The header `RateLimit-Limit`; None without it, or without a response.
            remaining: The header `RateLimit-Remaining`; None likewise.
        """
        self._count_lost_and_refilled(now_s)
        self.in_flight = self.in_flight[1:]
        if self._refill_due_s == math.inf:
            # The first response. A full bucket gains nothing, so no refill was seen before it.
            self._refill_due_s = now_s + self.limit.period_s
        if remaining is None:
            self.level = max(0.0, self.level - 1)
        else:
            if limit is not None and 0 < limit != self.limit.capacity:
                self._guess_limit(limit)
            level = min(max(remaining, 0.0), self.limit.capacity)
            self._use_level(now_s, sent_s, level)
        # An answer to a request that was sent before the 429 does not prove that the wait is over.
        # Nor does one without a header, where Atlas sends headers: it may be from a proxy.
        is_from_bucket = remaining is not None or not self._has_header
        if is_from_bucket and sent_s >= self._blocked_since_s:
            self._consecutive_429s = 0

    def _guess_limit(self, capacity: float) -> None:
        """Use a capacity that a header names; no header names the refill.

        It is assumed to grow with the capacity, and not to shrink with it.
        """
        growth = max(1.0, capacity / self.limit.capacity)
        refill = min(self.limit.refill * growth, capacity)
        self.use_limit(BucketLimit(capacity, refill, self.limit.period_s))
        self.level = capacity
        self._is_limit_guessed = True

    def _use_level(self, now_s: float, sent_s: float, level: float) -> None:
        """Set the level to that of a response, unless it may be older than the known one.

        Responses may arrive out of order, so a higher level may be an older one. It proves a
        refill only if its request was sent after the lower level was received.
        """
        if self._has_header and level > self.level:
            if sent_s < self._level_received_s:
                return
            self._refill_due_s = now_s + self.limit.period_s
        self._has_header = True
        self.level = level
        self._level_received_s = now_s

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
        self._count_lost_and_refilled(now_s)
        self.in_flight = self.in_flight[1:]
        if limit is not None:
            self.use_limit(limit)
            self._is_limit_guessed = False
        # 429s of requests that were in flight at the first one count as the same event.
        is_same_event = self._consecutive_429s > 0 and sent_s < self._blocked_since_s
        if not is_same_event:
            self._consecutive_429s += 1
            self._blocked_since_s = now_s
        wait_s = min(max(retry_after_s, MIN_RETRY_AFTER_S), MAX_RETRY_AFTER_S)
        if self._consecutive_429s > 1 and wait_s <= MIN_RETRY_AFTER_S:
            wait_s = self._backoff_s() * (1 + _BACKOFF_JITTER * jitter)
        self.blocked_until_s = max(self.blocked_until_s, now_s + wait_s)
        self._refill_due_s = self.blocked_until_s
        self.level = 0.0
        self._level_received_s = now_s

    def _backoff_s(self) -> float:
        """Return the documented wait after the second and further 429s in a row."""
        step = self._consecutive_429s - 2
        last_step = len(BACKOFF_STEPS_S) - 1
        return BACKOFF_STEPS_S[min(step, last_step)]

    def _count_lost_and_refilled(self, now_s: float) -> None:
        """Apply what depends on time only: lost responses, and refills without headers."""
        while self.in_flight and now_s - self.in_flight[0] > ASSUME_LOST_AFTER_S:
            self.in_flight = self.in_flight[1:]
            self.level = max(0.0, self.level - 1)
        if now_s >= self._refill_due_s and not self._has_header:
            overdue_s = now_s - self._refill_due_s
            # The one that was due, and one more after each whole period since.
            refills = 1 + int(overdue_s / self.limit.period_s)
            self._refill_due_s += refills * self.limit.period_s
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
        self._reserve_share = reserve
        self._spacing = asyncio.Lock()
        self._interval_s = 1 / max_requests_per_second if max_requests_per_second else 0.0
        self._next_place_s = clock()

    def bucket(self, endpoint_set: EndpointSet, place_id: str) -> TokenBucket:
        """Return a bucket; at first it is full and has the documented limit."""
        buckets = self._buckets[endpoint_set]
        bucket = buckets.get(place_id)
        if bucket is None:
            bucket = TokenBucket(endpoint_set.limit, self._reserve_share, self.clock())
            buckets[place_id] = bucket
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
        is_first = bucket.queue is None or not bucket.queue.locked()
        if is_first and self.try_acquire(bucket) == 0.0:
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
            while (wait_s := self._next_place_s - self.clock()) > 0.0:
                await self.sleep(wait_s)
            # After a pause the places that were missed are not made up for: no burst follows.
            place_s = max(self._next_place_s, self.clock() - _CATCH_UP_S)
            self._next_place_s = place_s + self._interval_s
