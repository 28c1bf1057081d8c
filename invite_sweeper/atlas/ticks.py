"""When a bucket is refilled next, by what its answers showed so far. Pure.

Atlas refills in steps: the counter falls by one a request, then jumps. Nothing says when, so
the next step ("tick") is an interval: each answer without a jump moves its beginning, a jump
between two answers closes it, and from then on it repeats every period.

Source: `RateLimit-Remaining` in 14,505 recorded answers of 2026-01 to 2026-08.
"""

import math
from typing import NamedTuple

MARGIN_S = 0.002
"""Waited beyond the latest instant of a tick, for clocks and timers that are not exact."""


class Ticks:
    """The next tick comes after `earliest_s` and by `latest_s` (monotonic).

    Attributes:
        since_s: Where the present wait for a tick began.
        sure: The period is known; else it is a guess that two ticks seen will replace.
    """

    __slots__ = (
        "_seen",
        "_sightings",
        "_span_s",
        "earliest_s",
        "latest_s",
        "period_s",
        "since_s",
        "sure",
    )

    def __init__(self, period_s: float, now_s: float) -> None:
        self.period_s = period_s
        self.sure = True
        self._sightings = 0  # ticks seen where they were expected
        self._seen: tuple[float, float] | None = None
        self._span_s = (0.0, math.inf)
        self.restart(now_s, now_s)

    def restart(self, low_s: float, high_s: float) -> None:
        """Forget when ticks come: the watch for the next begins between these instants."""
        self.since_s = self.earliest_s = low_s
        self.latest_s = high_s + self.period_s

    @property
    def known(self) -> bool:
        """Whether it is worth waiting for the end of the interval, rather than looking."""
        return self.sure and self._sightings > 1 and self._narrow

    @property
    def _narrow(self) -> bool:
        return self.latest_s - self.earliest_s <= self.period_s / 4

    @property
    def expected(self) -> bool:
        """Whether the next one is expected at its time, as one was seen before."""
        return self.sure and self._sightings > 0 and self._narrow

    @property
    def due_s(self) -> float:
        """By when to have spent what a tick would make useless."""
        return self.earliest_s if self.expected else self.latest_s

    def confirm(self) -> None:
        """Note that a tick that was counted unseen has come."""
        self._sightings += 1

    def passed(self, now_s: float) -> int:
        """Give how many ticks have come for certain since it was last asked."""
        late_s = now_s - self.latest_s - MARGIN_S
        if late_s < 0.0:
            return 0
        count = 1 + int(late_s / self.period_s)
        self.earliest_s += count * self.period_s
        self.latest_s += count * self.period_s
        self.since_s = self.earliest_s
        return count

    def absent(self, sent_s: float) -> None:
        """Note that none had come when a request sent then was counted."""
        if sent_s >= self.latest_s:
            self.missed(sent_s)
        elif sent_s > self.earliest_s:
            self.earliest_s = sent_s

    def missed(self, sent_s: float) -> None:
        """Note that one was due and had not come: the period is not what it was taken for."""
        self.doubt()
        self.restart(sent_s, sent_s)

    def seen(self, low_s: float, high_s: float) -> None:
        """Note a jump: a tick came after `low_s` and by `high_s`."""
        low_s = max(low_s, high_s - self.period_s)  # of several it was the last
        if self.sure and high_s + MARGIN_S >= self.earliest_s:
            low_s = min(max(low_s, self.earliest_s), high_s)
            high_s = min(high_s, max(low_s, self.latest_s))
        else:
            self.doubt()
        self._sightings += 1
        last, self._seen = self._seen, (low_s, high_s)
        if not self.sure and last is not None:
            self._learn(low_s - last[1], high_s - last[0])
        self.earliest_s = self.since_s = low_s + self.period_s if self.sure else high_s
        self.latest_s = (high_s if self.sure else low_s) + self.period_s

    def _learn(self, shortest_s: float, longest_s: float) -> None:
        """Learn the period from two ticks seen; Atlas's are whole seconds."""
        apart_s = self.period_s * max(1, round((shortest_s + longest_s) / 2 / self.period_s))
        if shortest_s <= apart_s <= longest_s <= shortest_s + self.period_s:
            self.sure = True  # as it was, ticks between the two unseen
            return
        low_s, high_s = max(shortest_s, self._span_s[0]), min(longest_s, self._span_s[1])
        if low_s > high_s:
            low_s, high_s = shortest_s, longest_s
        self._span_s = (max(low_s, 0.0), high_s)
        whole_s = math.ceil(low_s)
        if 0 < whole_s <= high_s < whole_s + 1:
            self.period_s, self.sure = float(whole_s), True
        elif high_s - low_s <= high_s / 8:
            self.period_s, self.sure = (low_s + high_s) / 2, True

    def doubt(self) -> None:
        """Take the period for a guess from now on: the bucket is not the one we know."""
        self.sure = False
        self._sightings = 0

    def relearn(self, period_s: float, now_s: float) -> None:
        """Take a period from Atlas's own mouth; the tick may be a whole one away."""
        if period_s != self.period_s or not self.sure:
            self.period_s, self.sure = period_s, True
            self._span_s = (0.0, math.inf)
            self.restart(now_s, now_s)


class Doubt(NamedTuple):
    """The highest answer that is either old or a tick's, until a later one tells."""

    rise: float
    level: float
    heard_s: float


class Presumed(NamedTuple):
    """A tick that was counted because it was due.

    Attributes:
        before: The level before it.
        full: The level after it, had nobody else spent anything.
    """

    before: float
    full: float
