"""One token bucket of Atlas, as far as its answers tell: may a request go now? Pure."""

import math
from collections import deque

from invite_sweeper.atlas.limits import Limit

MARGIN_S = 0.005
"""Added to the latest instant of a tick, for clocks that run apart."""
LOST_AFTER_S = 120.0
"""A request that was never settled is counted as spent and done after so long."""
WAIT_FLOOR_S, WAIT_CAP_S = 1.0, 120.0
"""What a `Retry-After` is held to: 0 is real, and a huge one would outlast the run."""


class Bucket:
    """A bucket that is full at first and refilled in steps. Seconds are monotonic."""

    __slots__ = (
        "_base", "_base_sent_s", "_blocked_s", "_floor", "_half_open", "_limit", "_out",
        "_probe_s", "_share", "_strikes", "_tick_s",
    )  # fmt: skip

    def __init__(self, limit: Limit, reserve: float, now_s: float) -> None:
        self._share = reserve
        self._base = limit.capacity
        self._base_sent_s = now_s
        self._out: deque[float] = deque()
        self._tick_s = now_s + limit.period_s
        self._blocked_s = -math.inf
        self._half_open = False
        self._probe_s = -math.inf
        self._strikes = 0
        self._set(limit)

    def _set(self, limit: Limit) -> None:
        self._limit = limit
        self._floor = max(0.0, min(self._share * limit.capacity, limit.capacity - 1))

    def _roll(self, now_s: float) -> None:
        while self._out and now_s - self._out[0] > LOST_AFTER_S:
            self._out.popleft()
            self._base -= 1
        if now_s >= self._tick_s + MARGIN_S:
            ticks = 1 + int((now_s - MARGIN_S - self._tick_s) / self._limit.period_s)
            self._base = min(self._limit.capacity, self._base + ticks * self._limit.refill)
            self._tick_s += ticks * self._limit.period_s

    def wait_s(self, now_s: float) -> float:
        """Give 0.0 when a request may go now, else the seconds until it is worth asking."""
        if now_s < self._blocked_s:
            return self._blocked_s - now_s
        self._roll(now_s)
        if self._half_open:
            return 0.0 if now_s - self._probe_s > LOST_AFTER_S else 0.25
        if self._base - len(self._out) - 1 >= self._floor:
            return 0.0
        return self._tick_s + MARGIN_S - now_s

    def take(self, now_s: float) -> None:
        """Count a request that goes out now; `wait_s` has just given 0.0."""
        if self._half_open:
            self._probe_s = now_s
        self._out.append(now_s)

    def answered(
        self, now_s: float, *, limit: int | None, remaining: int | None, sent_s: float | None
    ) -> None:
        """Settle a request; the level is what the headers say where there are any."""
        taken_s = self._out.popleft() if self._out else now_s
        self._roll(now_s)
        self._half_open, self._strikes = False, 0
        self._base -= 1
        if limit is not None and limit > 0 and limit != self._limit.capacity:
            refill = min(self._limit.refill, float(limit))
            self._set(Limit(limit, refill, self._limit.period_s))
        if remaining is None:
            return
        sent_s = taken_s if sent_s is None else sent_s
        level = float(max(0, min(remaining, int(self._limit.capacity))))
        if sent_s >= self._base_sent_s or level < self._base:
            self._base, self._base_sent_s = level, max(sent_s, self._base_sent_s)

    def refused(
        self, now_s: float, retry_after_s: float | None, *, jitter: float, sent_s: float | None
    ) -> None:
        """Settle a request that was a 429: nothing goes until the wait is over, then one."""
        if self._out:
            self._out.popleft()
        self._base = float(len(self._out))
        if (now_s if sent_s is None else sent_s) >= self._blocked_s:
            self._strikes += 1
        wait_s = WAIT_FLOOR_S if retry_after_s is None else retry_after_s
        if self._strikes > 1:
            wait_s = max(wait_s, 5.0 * 2 ** min(self._strikes - 1, 3) * (1 + jitter / 4))
        wait_s = min(max(wait_s, WAIT_FLOOR_S), WAIT_CAP_S)
        self._blocked_s = max(self._blocked_s, now_s + wait_s)
        self._half_open, self._probe_s = True, -math.inf

    def relearn(self, limit: Limit) -> None:
        """Take better figures; what is spent stays spent."""
        self._base += limit.capacity - self._limit.capacity
        self._set(limit)

    def idle(self, now_s: float) -> bool:
        """Tell whether forgetting it does no harm: nothing out, and full but for the reserve."""
        self._roll(now_s)
        return (
            not self._out
            and not self._half_open
            and self._limit.capacity - self._base <= self._floor / 2
        )

    def estimate_s(self, now_s: float, count: int) -> float:
        """Give the seconds until so many more requests can have gone out."""
        self._roll(now_s)
        short = count - (self._base - len(self._out) - self._floor)
        start_s = max(0.0, self._blocked_s - now_s)
        if short <= 0:
            return start_s
        each = min(self._limit.refill, self._limit.capacity - self._floor)
        ticks = math.ceil(short / each)
        return max(start_s, self._tick_s - now_s) + (ticks - 1) * self._limit.period_s
