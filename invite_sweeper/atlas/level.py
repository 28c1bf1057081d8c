"""How full one of Atlas's buckets is, by what its answers say. Pure."""

import math
from collections import deque

from invite_sweeper.atlas.limits import Limit
from invite_sweeper.atlas.others import Others
from invite_sweeper.atlas.penalty import LOST_AFTER_S
from invite_sweeper.atlas.ticks import Doubt, Presumed, Ticks

DRIPS = 3
"""So many small rises more than jumps, and the refill is taken to be continuous."""


class Level:
    """What is left in a bucket that is full at first. Tokens may be fractions.

    The server counts in an order that we do not see: between two ticks the lowest number is
    the latest, and a higher one is a tick for certain only if its request went out after
    the lower one was known.

    Attributes:
        left: What the latest answer said, and ticks that came since for certain. Requests
            without an answer may be in it or not.
        out: When the tokens of those requests were taken, oldest first.
        told: Any answer had a RateLimit header.
        met: There was any answer.
    """

    # fmt: off
    __slots__ = (
        "_credited_s", "_doubt", "_drips", "_heard_s", "_presumed", "_sent_s", "_settled",
        "left", "limit", "met", "others", "out", "rtt_s", "ticks", "told",
    )
    # fmt: on

    def __init__(self, limit: Limit, now_s: float) -> None:
        self.limit = limit
        self.left = limit.capacity
        self.out: deque[float] = deque()
        self.told = self.met = False
        self.rtt_s = 0.0
        self.ticks = Ticks(limit.period_s, now_s)
        self.others = Others(limit.refill, limit.period_s)
        self._sent_s = self._heard_s = now_s  # of the request whose answer said `left`
        self._settled = 0  # answers since
        self._doubt = Doubt(0.0, 0.0, now_s)
        self._credited_s = -math.inf
        self._presumed: Presumed | None = None
        self._drips = 0

    @property
    def drips(self) -> bool:
        """Whether the refill is continuous, against what is documented."""
        return self._drips >= DRIPS

    @property
    def step(self) -> float:
        """By how much a tick would raise the level."""
        return min(self.limit.refill, self.limit.capacity - self.left)

    @property
    def unproven(self) -> bool:
        """Whether the level rests on a tick that no answer has borne out yet."""
        return self._presumed is not None and self.told

    @property
    def doubtful(self) -> bool:
        """Whether an answer that may be old speaks of a tick, and one look would tell."""
        return self.left >= 1.0 and self._doubt.rise > max(8.0, self.step / 2)

    def roll(self, now_s: float) -> None:
        """Count what time alone brought: lost requests, ticks that are due for certain."""
        out, ticks = self.out, self.ticks
        while out and now_s - out[0] > LOST_AFTER_S:
            out.popleft()
            self.left = max(0.0, self.left - 1)
        if self._drips >= DRIPS:
            self._drip(now_s)
        elif now_s >= ticks.latest_s and (ticks.sure or not self.told):
            self._credit(now_s, ticks.passed(now_s))

    def _drip(self, now_s: float) -> None:
        grown = max(0.0, now_s - self._heard_s) * self.limit.refill / self.limit.period_s
        self.left = min(self.limit.capacity, self.left + grown)
        self._heard_s = max(now_s, self._heard_s)

    def _credit(self, now_s: float, count: int) -> None:
        if not count:
            return
        capacity, gain = self.limit.capacity, count * self.limit.refill
        self._credited_s = self.ticks.latest_s - self.ticks.period_s
        self._presumed = Presumed(self.left, min(capacity, self.left + gain))
        spent = self.others.per_s * max(0.0, self._credited_s - self._sent_s)
        self.left = min(capacity, max(0.0, self.left - spent) + gain)
        self._sent_s = self._heard_s = self._credited_s
        self._doubt = Doubt(0.0, 0.0, now_s)
        self.others.ticked()

    def settle(self, now_s: float, sent_s: float | None) -> float:
        """Note that a request has its answer; gives when it went out."""
        taken_s = self.out.popleft() if self.out else now_s
        sent_s = taken_s if sent_s is None else min(sent_s, now_s)
        self.roll(now_s)
        if not self.met:
            # Ticks before the first answer left no trace in a full bucket.
            self.met = True
            self.ticks.restart(sent_s, now_s)
        return sent_s

    def hear(self, now_s: float, remaining: float, sent_s: float) -> None:
        """Take an answer's `RateLimit-Remaining`, whatever it is."""
        first, self.told = not self.told, True
        self.rtt_s += (min(now_s - sent_s, 5.0) - self.rtt_s) / 8
        remaining = min(max(remaining, 0.0), self.limit.capacity)
        if sent_s < self._credited_s:  # from before a tick that is counted already
            self.left = min(self.left, remaining + self.limit.refill)
            return
        self._settled += 1
        if first:  # what an earlier run left is no sign of others
            self.say(now_s, remaining, sent_s)
        elif remaining <= self.left:
            self._fell(now_s, remaining, sent_s)
        elif sent_s >= self._heard_s:
            self._rose(now_s, remaining, sent_s)
        else:
            self.others.saw(-1.0, 0.0, len(self.out))
            if remaining - self.left > self._doubt.rise:
                self._doubt = Doubt(remaining - self.left, remaining, now_s)

    def _fell(self, now_s: float, level: float, sent_s: float) -> None:
        newest = sent_s >= self._sent_s
        if self._presumed is None:
            watched_s = sent_s - self._sent_s if newest else 0.0
            self.others.saw(self.left - level - 1, watched_s, len(self.out))
        else:
            self._prove(self._presumed, level, sent_s)
        if newest:
            self.ticks.absent(sent_s)
        if self._drips >= DRIPS and self.left - level > 3 + len(self.out):
            self._drips -= 1
        self.say(now_s, level, sent_s)

    def _prove(self, presumed: Presumed, level: float, sent_s: float) -> None:
        """Decide whether the tick that was counted has come; not every answer tells."""
        if level > presumed.before:
            self._presumed = None
            self.ticks.confirm()
            self.others.taken = presumed.full - level - self._settled
        elif level + self._settled + len(self.out) <= presumed.before:
            self._presumed = None
            if not self.others.per_s:
                self.ticks.missed(sent_s)

    def _rose(self, now_s: float, level: float, sent_s: float) -> None:
        rise = level - self.left + self._settled
        flowed = (now_s - self._sent_s) * self.limit.refill / self.limit.period_s
        if self._presumed is not None:
            self._presumed = None  # the tick brought more than we dared to count
        elif rise < self.step / 2 and rise < 2 * flowed + 2:
            self._drips = min(self._drips + 1, 2 * DRIPS)
        else:
            self._drips = max(self._drips - 1, 0)
            doubt = self._doubt
            after = doubt.rise >= rise / 2 and doubt.level >= level
            self.ticks.seen(self._sent_s, doubt.heard_s if after else now_s)
            self.others.ticked()
        self.say(now_s, level, sent_s)

    def say(self, now_s: float, level: float, sent_s: float) -> None:
        """Set the level to what a request that went out then was told."""
        self.left = level
        self._sent_s = max(sent_s, self._sent_s)
        self._heard_s = now_s
        self._settled = 0
        if self._doubt.rise and sent_s >= self._doubt.heard_s:
            self._doubt = Doubt(0.0, 0.0, now_s)

    def refused(self, now_s: float, sent_s: float) -> None:
        """Set the level to nothing: a request that went out then was a 429."""
        if self.told and self._presumed is not None and sent_s >= self._credited_s:
            self.ticks.missed(sent_s)
        self._presumed = None
        self.say(now_s, 0.0, sent_s)

    def refilled(self, now_s: float) -> None:
        """Count a tick that a success after a 429 proves, where no header tells the level."""
        self.left = min(self.limit.capacity, self.limit.refill)
        self.ticks.restart(now_s, now_s)

    def relimit(self, limit: Limit) -> None:
        """Take other figures; what is spent stays spent."""
        self.left = max(0.0, self.left + limit.capacity - self.limit.capacity)
        self.limit = limit
        self.others.refilled_by(limit.refill, limit.period_s)
