"""What Atlas's headers show: its rate limits, its clock, and when it removes an API.

The rate limits have documented figures, token buckets led by the headers, and spacing.

There is one `TokenBucket` per endpoint set and scope. Each request acquires a token before it is
sent and is completed exactly once: by `on_429` after a 429, else by `on_response`, also if it
failed without a response.
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final, NamedTuple

from invite_sweeper.atlas.endpoints import SOURCES, BucketLimit, Endpoint, EndpointSet
from invite_sweeper.atlas.responses import Response
from invite_sweeper.models import Source

MIN_RETRY_AFTER_S: Final = 1.0
"""Atlas has sent `Please retry after 0 seconds`."""
MAX_RETRY_AFTER_S: Final = 120.0
BACKOFF_STEPS_S: Final = (10.0, 20.0, 40.0)
"""Waits after the second and further 429s in a row, if `Retry-After` is not longer than 1 s.

Source: https://www.mongodb.com/docs/atlas/api/api-rate-limit (April 10, 2026).
"""
_BACKOFF_JITTER: Final = 0.25

MAX_UNCONFIRMED: Final = 4
"""Requests in flight until a response has a `RateLimit` header.

The bucket may be smaller than documented: this bounds how many requests are answered with 429.
"""
_WITH_OTHERS_IN_FLIGHT: Final = 2
"""Another program may have as many requests in flight as this one."""
_RESPONSE_CHECK_S: Final = 0.02
"""The longest wait while a request is in flight: its response may show more tokens."""
_MIN_WAIT_S: Final = 0.001


class TokenBucket:
    """One bucket of Atlas, as its responses show it; a new one is full. Times are arguments.

    It gains its refill evenly, and each response with a `RateLimit` header sets its level. Atlas
    refills at once every period: what is sent by a gain that Atlas has not added yet comes out of
    the reserve and lowers the level, so that such requests become fewer until one shows the refill.

    Attributes:
        limit: Capacity, refill and period.
        level: Tokens when it was last set; it may or may not count the requests in flight.
        in_flight: Tokens that were acquired and not completed.
        blocked_until_s: The end of the wait after a 429.
        queue: The lock that callers wait for in their order; None until one has to wait.
    """

    # fmt: off
    __slots__ = (
        "_consecutive_429s", "_has_header", "_level_at_s", "_reserve_share",
        "blocked_until_s", "in_flight", "level", "limit", "queue",
    )
    # fmt: on

    def __init__(self, limit: BucketLimit, reserve_share: float, now_s: float) -> None:
        self.limit = limit
        self.level = limit.capacity
        self.in_flight = 0
        self.blocked_until_s = -math.inf
        self.queue: asyncio.Lock | None = None
        self._reserve_share = reserve_share
        self._level_at_s = now_s
        self._has_header = False  # a response had a `RateLimit` header
        self._consecutive_429s = 0

    def wait_s(self, now_s: float, count: int = 1, *, is_retry: bool = False) -> float:
        """Return 0.0 if `count` requests may be sent now, else the seconds until the next check.

        A retry of a full bucket does not wait for responses: the requests that hold its tokens may
        wait for the slot that the retry holds.
        """
        if not (is_retry or self._has_header) and self.in_flight + count > MAX_UNCONFIRMED:
            return _RESPONSE_CHECK_S
        if now_s < self.blocked_until_s:
            return max(self.blocked_until_s - now_s, _MIN_WAIT_S)
        self._gain(now_s)
        capacity = self.limit.capacity
        # A bucket that has no room for the reserve beside the requests is used when it is full.
        needed = min(self._reserve_share * capacity + count, capacity)
        # The level may or may not count what is in flight, here and in another program.
        needed += _WITH_OTHERS_IN_FLIGHT * self.in_flight
        if is_retry:
            needed = min(needed, capacity)
        missing = needed - self.level
        if missing <= 0.0:
            return 0.0
        wait_s = missing * self.limit.period_s / self.limit.refill
        if self.in_flight:
            wait_s = min(wait_s, _RESPONSE_CHECK_S)
        return max(wait_s, _MIN_WAIT_S)

    def release(self) -> None:
        """Release an acquired token that was not used."""
        self.in_flight -= 1

    def on_response(
        self, now_s: float, *, limit: float | None = None, remaining: float | None = None
    ) -> None:
        """Complete a request that was not answered with 429.

        Args:
            limit: The header `RateLimit-Limit`; None without it, or without a response.
            remaining: The header `RateLimit-Remaining`; None likewise.
        """
        self.in_flight -= 1
        self._gain(now_s)
        if remaining is None:
            self.level = max(0.0, self.level - 1)
        else:
            self._has_header = True
            if limit and limit != self.limit.capacity:  # no header names the refill
                self.limit = self.limit._replace(capacity=limit)
            self.level = min(remaining, self.limit.capacity)
        # An answer that arrives during the wait is to a request that was sent before it.
        if now_s >= self.blocked_until_s:
            self._consecutive_429s = 0

    def on_429(
        self,
        now_s: float,
        retry_after_s: float,
        *,
        jitter: float,
        limit: BucketLimit | None = None,
    ) -> None:
        """Complete a request that was answered with 429: nothing is sent until the wait is over.

        Args:
            retry_after_s: 0 where Atlas requested no wait.
            jitter: From 0 up to 1.
            limit: What the response names; None if it names none.
        """
        self.in_flight -= 1
        self.limit = limit or self.limit
        # 429s of requests that were in flight at the first one count as the same event.
        if now_s >= self.blocked_until_s:
            self._consecutive_429s += 1
        wait_s = min(max(retry_after_s, MIN_RETRY_AFTER_S), MAX_RETRY_AFTER_S)
        if self._consecutive_429s > 1 and wait_s <= MIN_RETRY_AFTER_S:
            step = min(self._consecutive_429s - 1, len(BACKOFF_STEPS_S))
            wait_s = BACKOFF_STEPS_S[step - 1] * (1 + _BACKOFF_JITTER * jitter)
        self.blocked_until_s = max(self.blocked_until_s, now_s + wait_s)
        # After the wait there is a token again, or Atlas would have requested a longer one.
        capacity = self.limit.capacity
        self.level = min(self._reserve_share * capacity + 1, capacity)
        self._level_at_s = now_s

    def _gain(self, now_s: float) -> None:
        """Add the tokens of the time since the level was set."""
        gained = (now_s - self._level_at_s) * self.limit.refill / self.limit.period_s
        self.level = min(self.limit.capacity, self.level + gained)
        self._level_at_s = now_s


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

    def try_acquire(self, *buckets: TokenBucket, is_retry: bool = False) -> float:
        """Acquire one token of each and return 0.0, or none and return the seconds to wait.

        A bucket that occurs twice means two tokens. All or none, because a caller that holds one
        token while it waits for another could deadlock.
        """
        now_s = self.clock()
        wait_s = 0.0
        for bucket in buckets:
            count = buckets.count(bucket)
            wait_s = max(wait_s, bucket.wait_s(now_s, count, is_retry=is_retry))
        if wait_s == 0.0:
            for bucket in buckets:
                bucket.in_flight += 1
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


_BUCKET_CODE: Final = "RATE_LIMITED_TOKEN_BUCKET"
_MAX_NUMBER: Final = 10**9
"""The highest number of a 429 that counts seconds or requests."""


class RateLimitDetails(NamedTuple):
    """What a response says of a bucket from which nothing may be sent for some time.

    Attributes:
        retry_after_s: The seconds to wait; 0.0 where it names none.
        limit: None where it names none.
    """

    retry_after_s: float = 0.0
    limit: BucketLimit | None = None


def parse_rate_limit_error(response: Response) -> RateLimitDetails:
    """Return what the body of a 429 names of the bucket; the headers have precedence.

    Source:
        https://www.mongodb.com/docs/atlas/api/api-rate-limit (read 2026-08): the parameters
        are path, seconds to wait, capacity, tokens per refill, and refill period in seconds.
    """
    if response.code != _BUCKET_CODE:
        return RateLimitDetails()
    match (response.content or {}).get("parameters"):
        case [_, int(wait_s), int(capacity), int(refill), int(period_s)]:
            numbers = (capacity, refill, period_s)
            if min(numbers) > 0 and max(wait_s, *numbers) <= _MAX_NUMBER:
                return RateLimitDetails(float(wait_s), BucketLimit(capacity, refill, period_s))
        case _:
            pass
    return RateLimitDetails()


_MAX_DIGITS: Final = 9
"""The most digits of a number in a header; a longer one counts no seconds or requests."""


@lru_cache(maxsize=64)
def parse_date(raw: str) -> datetime | None:
    """Return the date of a header in UTC; None if it is unreadable.

    Cached: every response about invitations has the same `Sunset`.

    Source:
        The recordings (read 2026-08): the day may have one digit (`Sunset: Thu, 1 Jul 2027
        00:00:00 GMT`).
    """
    try:
        moment = parsedate_to_datetime(raw)
        if moment.tzinfo is None:  # without a zone, or with `-0000`
            return moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def parse_int_header(headers: Mapping[str, str], name: str) -> int | None:
    """Return the number of a header that has a whole one from 0; None if missing or unreadable."""
    raw = headers.get(name, "")
    is_number = raw.isascii() and raw.isdigit() and len(raw) <= _MAX_DIGITS
    return int(raw) if is_number else None


def retry_after_s(headers: Mapping[str, str], clock: Callable[[], datetime]) -> float | None:
    """Return the seconds from now to `Retry-After`; None if it is missing or unreadable.

    Source: RFC 9110, 10.2.3: seconds or a date.
    """
    wait_s = parse_int_header(headers, "Retry-After")
    if wait_s is not None:
        return wait_s
    moment = parse_date(headers.get("Retry-After", ""))
    return None if moment is None else (moment - clock()).total_seconds()


_EARLY_TOLERANCE_S: Final = 5.0
"""`Date` has no fraction, and the servers behind one address may differ."""
_LATE_TOLERANCE_S: Final = 120.0
"""The known skew contains the duration of the first response."""
_SOURCE_OF: Final = {api.list: source for source, api in SOURCES.items()} | {
    api.delete: source for source, api in SOURCES.items()
}
"""The list that the `Sunset` header of an endpoint is about."""


class ServerInfo:
    """What the responses of a run have shown of Atlas so far.

    Its `Date` is compared with the run's clock: a clock that is wrong shows in the first response,
    and a look that a cache answered in its own.

    Attributes:
        clock_skew_s: Local clock minus Atlas's at the first 2xx response with a `Date` header,
            to the second; None before that.
        sunsets: The last `Sunset` date of each list: Atlas may remove it from then on.

    Source:
        Recorded responses (read 2026-08): responses about invitations have the header, also
        errors and 204; the sunset has moved three times.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.clock_skew_s: float | None = None
        self.sunsets: dict[Source, date] = {}

    def age_s(self, headers: Mapping[str, str], took_s: float) -> float:
        """Return how long before its request an answer was made; 0.0 for one that is fresh.

        Only a cache returns an older one. It has an `Age`, or a `Date` that Atlas's clock did not
        show between request and answer.

        Args:
            headers: Of an answer that has just arrived.
            took_s: The time since its request was sent.
        """
        age_s = float(parse_int_header(headers, "Age") or 0)
        dated = parse_date(headers.get("Date", ""))
        if dated is None or self.clock_skew_s is None:
            return age_s
        # `Date` is of Atlas's clock, and that of the run is later by the skew.
        since_s = (self.clock() - dated).total_seconds() - self.clock_skew_s
        early_s, late_s = since_s - took_s, -since_s
        is_off = early_s > _EARLY_TOLERANCE_S or late_s > _LATE_TOLERANCE_S
        return max(age_s, early_s, late_s) if is_off else age_s

    def update(self, response: Response, endpoint: Endpoint) -> None:
        """Record the headers of a response that was received now."""
        if self.clock_skew_s is None and response.is_success:
            dated = parse_date(response.headers.get("Date", ""))
            if dated is not None:
                self.clock_skew_s = (self.clock() - dated).total_seconds()
        source = _SOURCE_OF.get(endpoint)
        sunset = parse_date(response.headers.get("Sunset", ""))
        if source is not None and sunset is not None:
            self.sunsets[source] = sunset.date()
