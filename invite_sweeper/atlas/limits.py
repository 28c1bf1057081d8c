"""Atlas's rate limits: the documented figures, and a token bucket led by the headers. Pure.

Source:
    https://www.mongodb.com/docs/atlas/api/api-rate-limit ("Last updated April 10, 2026").
    The figures are "not part of the API contract": the headers of the responses have precedence.
"""

import math
from typing import Final, NamedTuple

PROJECTS_GROUP: Final = "projects_group"
PROJECTS_USER: Final = "projects_user"
ORGANIZATIONS_ORG: Final = "organizations_org"
ORGANIZATIONS_USER: Final = "organizations_user"
CLOUD_USERS_GROUP: Final = "cloud_users_group"
CLOUD_USERS_ORG: Final = "cloud_users_org"
TEAMS_GROUP: Final = "teams_group"
# Not documented: the smallest documented limit applies until a header names another one.
EVENTS_ORG: Final = "events_org"
SERVICE_ACCOUNTS_ORG: Final = "service_accounts_org"
TOKENS: Final = "tokens"

MIN_RETRY_AFTER_S: Final = 1.0
"""Atlas has sent `Please retry after 0 seconds`."""
MAX_RETRY_AFTER_S: Final = 120.0
_MAX_REFILLS_RESERVED: Final = 10


class BucketKey(NamedTuple):
    """Identifies a bucket. A named tuple, because it is hashed for every request.

    Attributes:
        endpoint_set: One of the constants above.
        scope_id: ID of the project or organization, or the name of the credentials.
    """

    endpoint_set: str
    scope_id: str


class BucketLimit(NamedTuple):
    """A bucket holds `capacity` tokens and gains `refill` tokens every `period_s`."""

    capacity: float
    refill: float
    period_s: float

    @property
    def is_usable(self) -> bool:
        """Whether all values are positive and finite."""
        return all(0 < value < math.inf for value in self)

    def reserve(self, share: float) -> float:
        """Return the number of tokens left to other programs: a share of the capacity.

        At most ten refills, because nothing is sent until a spent reserve is refilled. All
        documented buckets are refilled in three periods.
        """
        max_tokens = min(_MAX_REFILLS_RESERVED * self.refill, self.capacity - 1)
        return max(0.0, min(share * self.capacity, max_tokens))


_DOCUMENTED_LIMITS: Final = {
    PROJECTS_GROUP: BucketLimit(1200, 500, 60),
    PROJECTS_USER: BucketLimit(1200, 500, 60),
    ORGANIZATIONS_ORG: BucketLimit(500, 250, 60),
    ORGANIZATIONS_USER: BucketLimit(300, 100, 60),
    CLOUD_USERS_GROUP: BucketLimit(1200, 500, 60),
    CLOUD_USERS_ORG: BucketLimit(500, 250, 60),
    TEAMS_GROUP: BucketLimit(1200, 500, 60),
    # https://www.mongodb.com/docs/atlas/api/api-authentication: 10, later 50 a minute.
    TOKENS: BucketLimit(10, 10, 60),
}
_SMALLEST_LIMIT: Final = BucketLimit(300, 100, 60)


def documented_limit(endpoint_set: str) -> BucketLimit:
    """Return the documented limit; the smallest one for an unknown endpoint set."""
    return _DOCUMENTED_LIMITS.get(endpoint_set, _SMALLEST_LIMIT)


def clamp_wait_s(wait_s: float) -> float | None:
    """Limit a wait requested by Atlas to the range from floor to cap; None for NaN."""
    if math.isnan(wait_s):
        return None
    return min(max(wait_s, MIN_RETRY_AFTER_S), MAX_RETRY_AFTER_S)


MAX_UNCONFIRMED: Final = 8
"""Requests in flight until a response has a `RateLimit` header.

The bucket may be smaller than documented: this bounds how many requests are answered with 429.
"""
POLLS_PER_PERIOD: Final = 8
_KNOWN_PART_OF_PERIOD: Final = 6
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
_RETRY_AFTER_UNIT_S: Final = 1.0
_CLOCK_MARGIN_S: Final = 0.002
_MIN_WAIT_S: Final = 0.001


class TokenBucket:
    """One bucket of Atlas, as its responses show it; a new one is full. Times are arguments.

    The level is `RateLimit-Remaining` of the latest response; a 429 sets the time to wait. Without
    headers, the level is the local count plus the known refill. The time of the next refill is
    only bounded, by responses: the last tokens above the reserve are spread over the period, so
    that a response to one of them soon shows the refill.

    Attributes:
        limit: Capacity, refill and period.
        level: Tokens according to the last response, which may or may not count the requests
            in flight.
        in_flight: When each token without a response was acquired, oldest first.
        refill_unknown: A header had a capacity that differs from the known limit, so refill
            and period are guesses until `set_limit`.
    """

    # fmt: off
    __slots__ = (
        "_blocked_since_s", "_blocked_until_s", "_has_header", "_last_acquired_s", "_last_free_s",
        "_level_received_s", "_level_sent_s", "_poll_tokens", "_refill_after_s", "_refill_by_s",
        "_rejections", "_reserve", "_reserve_share", "in_flight", "level", "limit",
        "refill_unknown",
    )
    # fmt: on

    def __init__(self, limit: BucketLimit, reserve_share: float, now_s: float) -> None:
        self.limit = limit
        self.level = limit.capacity
        self.in_flight: list[float] = []  # an empty deque takes 0.7 KiB
        self.refill_unknown = False
        self._reserve_share = reserve_share
        self._has_header = False
        self._level_sent_s = self._level_received_s = now_s  # of the request that returned `level`
        self._last_acquired_s = self._last_free_s = now_s
        # The next refill is between these times; set by the first response.
        self._refill_after_s, self._refill_by_s = now_s, math.inf
        self._rejections = 0  # 429s in a row
        self._blocked_since_s = self._blocked_until_s = -math.inf
        self._use_limit(limit)

    def wait_s(self, now_s: float, count: int = 1) -> float:
        """Return 0.0 if `count` requests may be sent now, else the seconds until the next check."""
        if now_s < self._blocked_until_s:
            return max(self._blocked_until_s - now_s, _MIN_WAIT_S)
        self._advance(now_s)
        if self._rejections:  # send one request and wait for its response
            return self._soon_s(now_s) if self._awaits_response(now_s) else 0.0
        if not self._has_header and self._awaits_response(now_s, MAX_UNCONFIRMED + 1 - count):
            return self._soon_s(now_s)
        if self._has_plenty(count):
            return 0.0
        free = self.level - len(self.in_flight) - self._reserve
        wait_s = self._next_poll_s(free if free >= count else 0.0) - now_s
        if wait_s <= 0.0:
            return 0.0
        return min(wait_s, self._soon_s(now_s)) if self.in_flight else max(wait_s, _MIN_WAIT_S)

    def blocked_s(self, now_s: float) -> float:
        """Return the seconds for which a 429 still blocks it; 0.0 if none does."""
        return max(0.0, self._blocked_until_s - now_s)

    def retry_wait_s(self, now_s: float, since_s: float) -> float:
        """Return 0.0 if a retry may be sent now, else the seconds until the next check.

        A retry may use the reserve and waits at most `MAX_RETRY_DELAY_S` after `Retry-After`
        and after `since_s`. Its caller holds other tokens, so a wait for a response to those
        would be a deadlock.
        """
        if now_s < self._blocked_until_s:
            return max(self._blocked_until_s - now_s, _MIN_WAIT_S)
        self._advance(now_s)
        left_s = max(since_s, self._blocked_until_s) + MAX_RETRY_DELAY_S - now_s
        if self._rejections:
            can_go = not self._awaits_response(now_s)
        else:
            can_go = self.level - len(self.in_flight) >= 1
        if can_go or left_s <= 0.0:
            return 0.0
        return max(min(left_s, self._soon_s(now_s)), _MIN_WAIT_S)

    def acquire(self, now_s: float, count: int = 1) -> None:
        """Acquire tokens; `wait_s` or `retry_wait_s` must have returned 0.0."""
        if self._has_plenty(count):
            self._last_free_s = now_s
        self._last_acquired_s = now_s
        for _ in range(count):
            self.in_flight.append(now_s)

    def release(self) -> None:
        """Release an acquired token that was not used."""
        if self.in_flight:
            self.in_flight.pop()

    def on_response(
        self, now_s: float, *, limit: float | None, remaining: float | None, sent_s: float | None
    ) -> None:
        """Complete a request that was not answered with 429.

        Args:
            now_s: When its response arrived.
            limit: `RateLimit-Limit`; None without the header.
            remaining: `RateLimit-Remaining`; None without the header or any response.
            sent_s: When it was sent; None to use the time its token was acquired.
        """
        sent_s = self._complete(now_s, sent_s)
        if self._refill_by_s == math.inf:  # refills of a full bucket cannot be observed
            self._refill_by_s = now_s + self.limit.period_s
        if remaining is None:
            self.level = max(0.0, self.level - 1)
        else:
            if limit is not None and 0 < limit < math.inf and limit != self.limit.capacity:
                self._resize(limit)
            self._apply_remaining(now_s, min(max(remaining, 0.0), self.limit.capacity), sent_s)
        if (remaining is not None or not self._has_header) and sent_s >= self._blocked_since_s:
            self._rejections = 0

    def on_429(
        self, now_s: float, retry_after_s: float | None, *, jitter: float, sent_s: float | None
    ) -> None:
        """Complete a request that was answered with 429.

        Nothing is sent until the wait is over, then one request first.

        Args:
            now_s: When its response arrived.
            retry_after_s: The wait that Atlas requested; None without one.
            jitter: From 0 up to 1.
            sent_s: When it was sent; None to use the time its token was acquired.
        """
        sent_s = self._complete(now_s, sent_s)
        if not self._rejections or sent_s >= self._blocked_since_s:
            # 429s of requests that were in flight at the first one count as the same event.
            self._rejections += 1
            self._blocked_since_s = now_s
        wait_s = clamp_wait_s(retry_after_s or 0.0) or MIN_RETRY_AFTER_S
        if self._rejections > 1 and wait_s <= MIN_RETRY_AFTER_S:
            step_s = BACKOFF_STEPS_S[min(self._rejections - 2, len(BACKOFF_STEPS_S) - 1)]
            wait_s = step_s * (1 + _BACKOFF_JITTER * jitter)
        self._blocked_until_s = max(self._blocked_until_s, now_s + wait_s)
        self._refill_by_s = self._blocked_until_s
        self._refill_after_s = self._blocked_until_s - _RETRY_AFTER_UNIT_S
        self._set_level(0.0, now_s, sent_s)

    def set_limit(self, limit: BucketLimit, now_s: float) -> None:
        """Set the limit, as Atlas returned it; spent tokens stay spent."""
        self.level = max(0.0, self.level + limit.capacity - self.limit.capacity)
        self.refill_unknown = False
        self._use_limit(limit)
        self._refill_by_s = min(self._refill_by_s, now_s + limit.period_s)

    def is_full(self, now_s: float) -> bool:
        """Return whether it can be dropped: nothing in flight, at most half the reserve missing."""
        self._advance(now_s)
        missing = self.limit.capacity - self.level
        return not self.in_flight and not self._rejections and missing <= self._reserve / 2

    def _awaits_response(self, now_s: float, count: int = 1) -> bool:
        """Return whether at least `count` responses can be expected soon."""
        in_flight, count = self.in_flight, max(count, 1)
        recent_s = now_s - MAX_WAIT_FOR_RESPONSE_S
        return len(in_flight) >= count and in_flight[-count] >= recent_s

    def _has_plenty(self, count: int) -> bool:
        """Return whether there are more tokens than those spread over the period."""
        kept = self._poll_tokens
        if self._refill_is_known(self._refill_after_s):
            kept = min(kept, self.limit.period_s // MAX_POLL_INTERVAL_S)
        free = self.level - _WITH_OTHERS_IN_FLIGHT * len(self.in_flight) - self._reserve
        return free >= count + kept

    def _refill_is_known(self, after_s: float) -> bool:
        """Return whether the next refill, after `after_s`, can be predicted well enough to wait."""
        uncertain_s = self._refill_by_s - after_s
        enough_s = max(self.limit.period_s / _KNOWN_PART_OF_PERIOD, _RETRY_AFTER_UNIT_S)
        return not self.refill_unknown and uncertain_s <= enough_s

    def _use_limit(self, limit: BucketLimit) -> None:
        self.limit = limit
        self._reserve = limit.reserve(self._reserve_share)
        self._poll_tokens = min(POLLS_PER_PERIOD, (limit.capacity - self._reserve) // 3)

    def _resize(self, capacity: float) -> None:
        """Apply the capacity of a header; the refill becomes a guess."""
        known = self.limit
        refill = min(known.refill, capacity)
        if capacity > known.capacity:  # assume that the refill was raised in proportion
            refill *= capacity / known.capacity
        self.level = capacity  # `_apply_remaining` follows
        self.refill_unknown = True
        self._use_limit(BucketLimit(capacity, refill, known.period_s))

    def _advance(self, now_s: float) -> None:
        """Apply what depends on time only: lost responses, and refills without headers."""
        while self.in_flight and now_s - self.in_flight[0] > ASSUME_LOST_AFTER_S:
            self.in_flight.pop(0)
            self.level = max(0.0, self.level - 1)
        if not self._has_header and now_s >= self._refill_by_s:
            refills = self._count_refills(now_s)
            self.level = min(self.limit.capacity, self.level + refills * self.limit.refill)

    def _count_refills(self, now_s: float) -> int:
        """Return the number of refills since the last call, and expect the next one."""
        if now_s < self._refill_by_s:
            return 0
        count = 1 + int((now_s - self._refill_by_s) / self.limit.period_s)
        self._refill_after_s += count * self.limit.period_s
        self._refill_by_s += count * self.limit.period_s
        return count

    def _complete(self, now_s: float, sent_s: float | None) -> float:
        """Remove a request from those in flight; return when it was sent."""
        self._advance(now_s)
        acquired_s = self.in_flight.pop(0) if self.in_flight else now_s
        return acquired_s if sent_s is None else min(sent_s, now_s)

    def _apply_remaining(self, now_s: float, remaining: float, sent_s: float) -> None:
        """Apply `RateLimit-Remaining`.

        Responses may arrive out of order, so a higher level may be an older one. It proves a
        refill only if its request was sent after the lower level was received.
        """
        overdue = self._count_refills(now_s)
        if self._has_header and remaining > self.level:
            if sent_s < self._level_received_s:
                return
            if not overdue:
                self._refill_after_s = self._level_sent_s + self.limit.period_s
                self._refill_by_s = now_s + self.limit.period_s
        self._has_header = True
        self._set_level(remaining, now_s, sent_s)

    def _set_level(self, level: float, now_s: float, sent_s: float) -> None:
        self.level = level
        self._level_sent_s, self._level_received_s = sent_s, now_s

    def _next_poll_s(self, free: float) -> float:
        """Return when to send the next request; its response shows whether there was a refill.

        Args:
            free: Tokens above the reserve; 0 if the request would use the reserve.
        """
        last_s, refill_s = self._last_acquired_s, self._refill_by_s + _CLOCK_MARGIN_S
        if self.refill_unknown or last_s >= refill_s:
            # When the refill comes is unknown: ask at growing intervals, at first also with the
            # reserve, because a 429 would name the refill.
            grown_s = max(_FIRST_POLL_S, (last_s - self._last_free_s) / 4)
            may_ask = free or self.refill_unknown
            return last_s + (min(grown_s, MAX_POLL_INTERVAL_S) if may_ask else MAX_POLL_INTERVAL_S)
        after_s = max(self._refill_after_s, last_s)
        if free:
            interval_s = (refill_s - last_s) / (free + 1)
            if not self._refill_is_known(self._refill_after_s):
                interval_s = min(interval_s, self.limit.period_s / POLLS_PER_PERIOD)
        elif not self._has_header or self.level - len(self.in_flight) <= self._reserve / 2:
            return refill_s
        elif not self._refill_is_known(after_s):
            interval_s = (after_s + refill_s) / 2 - last_s
        else:
            interval_s = MAX_POLL_INTERVAL_S
        return min(last_s + min(interval_s, MAX_POLL_INTERVAL_S), refill_s)

    def _soon_s(self, now_s: float) -> float:
        """Return the seconds until the next check while responses are expected; they increase."""
        return min(max(0.005, (now_s - self._last_acquired_s) / 2), 1.0)
