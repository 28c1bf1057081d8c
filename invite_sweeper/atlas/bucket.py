"""One token bucket of Atlas: may a request go now, and if not, when? Pure."""

import math

from invite_sweeper.atlas.level import Level
from invite_sweeper.atlas.limits import Limit
from invite_sweeper.atlas.penalty import WAIT_CAP_S, Penalty
from invite_sweeper.atlas.ticks import MARGIN_S

FIRST = 10
"""So many go out before the first answer: the bucket may be smaller than documented."""

LEAST_S = 0.001  # no wait is shorter
AGAIN = 8
"""So many tokens are kept to see whether a tick that was seen once comes again on time."""


class Bucket:
    """A bucket that is full at first. Seconds are monotonic.

    A part of it, the reserve, is left to other programs. While nobody knows when the next
    tick comes, the last tokens above the reserve are spent one by one, to find out.

    Attributes:
        unfamiliar: A header named another capacity than the figures we have; then refill and
            period are guesses, which `relearn` ends.
    """

    # fmt: off
    __slots__ = (
        "_demand", "_floor", "_last_s", "_looks", "_share", "level", "penalty", "unfamiliar",
    )
    # fmt: on

    def __init__(self, limit: Limit, reserve: float, now_s: float) -> None:
        self._share = reserve
        self._last_s = -math.inf  # when the last token was taken
        self._demand: int | None = None  # requests to come; None where nobody knows
        self.level = Level(limit, now_s)
        self.penalty = Penalty()
        self.unfamiliar = False
        self._measure(limit)

    def _measure(self, limit: Limit) -> None:
        self._floor = limit.reserve(self._share)
        usable = limit.capacity - self._floor
        # Of the tokens kept for looking, a bucket that a tick fills loses those not yet used,
        # so they are few; what it would keep anyway costs nothing.
        self._looks = max(min(16, usable // 3), min(64, usable - limit.refill), 1)

    def try_take(self, now_s: float) -> float:
        """Take a token and give 0.0, or give the seconds until it is worth asking again."""
        wait_s = self.wait_s(now_s)
        if wait_s > 0.0:
            return min(max(wait_s, LEAST_S), WAIT_CAP_S)  # or one would ask without end, or never
        if self.penalty.pending:
            self.penalty.probe(now_s)
        if self._demand:
            self._demand -= 1
        self.level.out.append(now_s)
        self._last_s = now_s
        return 0.0

    def wait_s(self, now_s: float) -> float:
        """Give 0.0 when a request may go now; takes nothing."""
        level = self.level
        level.roll(now_s)
        if self.penalty.pending:
            return self.penalty.wait_s(now_s)
        out = len(level.out)
        if (level.unproven or not level.met) and out >= self._allowed_out():
            return self._soon_s(now_s)
        held = self._held(now_s) if level.others.per_s else self._floor
        free = level.left - out - held
        if free < 1.0:
            return self._dry_s(now_s, 1.0 - free)
        if free > self._looks or not level.told or self._no_need_to_look(free):
            return 0.0
        wait_s = max(0.0, self._last_s + self._gap_s(free) - now_s)
        return min(wait_s, self._soon_s(now_s)) if out else wait_s  # the answer may be the tick's

    def _no_need_to_look(self, free: float) -> bool:
        """Whether what is free may be spent at once, though it is little."""
        ticks = self.level.ticks
        last_ones = self._demand is not None and self._demand <= free
        return last_ones or (free > AGAIN and ticks.expected) or ticks.known or self.level.drips

    def _allowed_out(self) -> float:
        """How many may be without an answer at a time, while the level is not to be relied on."""
        # A tick that did not come is found out with the reserve.
        return max(1.0, self._floor) if self.level.met else FIRST

    def _held(self, now_s: float) -> float:
        """What is left to others: the reserve, or more where they are known to spend more."""
        level, others, ticks = self.level, self.level.others, self.level.ticks
        # Until the next tick that is; where it is not known when, one must go on looking.
        ahead_s = ticks.latest_s - now_s if ticks.known else 0.0
        held = max(self._floor, others.ahead(ahead_s, len(level.out))) + others.per_s * level.rtt_s
        return min(held, level.limit.capacity - 1) if others.per_s else self._floor

    def _soon_s(self, now_s: float) -> float:
        """When to ask again while an answer is on its way that may change things."""
        return min(max(0.005, self.level.rtt_s / 4, (now_s - self._last_s) / 4), 1.0)

    def _gap_s(self, free: float) -> float:
        """How far apart to look for a tick whose time is not known, with what is free."""
        ticks = self.level.ticks
        if ticks.sure:
            return max(0.0, ticks.due_s - self._last_s) / free
        # The period is unknown as well: look ever more rarely, from a tenth of a second on.
        growth = math.exp(math.log(max(ticks.period_s, 0.2) / 0.1) / self._looks) - 1
        return max(0.1, self._last_s - ticks.since_s) * growth

    def _dry_s(self, now_s: float, short: float) -> float:
        """When there may be a token again, where so much is missing for one."""
        level, ticks = self.level, self.level.ticks
        if level.drips:
            return max(LEAST_S, short * level.limit.period_s / level.limit.refill)
        wait_s = max(LEAST_S, ticks.latest_s + MARGIN_S - now_s)
        overdue = level.told and not ticks.sure and now_s >= ticks.latest_s + MARGIN_S
        if overdue or level.doubtful:  # one goes to look, and is not followed
            alone = not level.out or now_s - self._last_s > ticks.period_s
            return 0.0 if alone else self._soon_s(now_s)
        if level.out:
            return min(wait_s, self._soon_s(now_s))
        per_s = level.others.per_s
        if per_s and level.left >= self._floor + 1 + per_s * level.rtt_s:
            wait_s = min(wait_s, max(short / per_s, LEAST_S))  # what is held for others shrinks
        return wait_s

    def answered(
        self, now_s: float, *, limit: float | None, remaining: float | None, sent_s: float | None
    ) -> None:
        """Settle a request; the headers' word counts before ours where there is one."""
        level = self.level
        sent_s = level.settle(now_s, sent_s)
        proven = self.penalty.pending and self.penalty.success(sent_s)
        if remaining is not None:
            if limit is not None and 0 < limit < math.inf and limit != level.limit.capacity:
                self._resize(limit)
            level.hear(now_s, remaining, sent_s)
            return
        if proven and not level.told:
            level.refilled(now_s)
        level.left = max(0.0, level.left - 1)

    def _resize(self, capacity: float) -> None:
        """Take another capacity from a header: then refill and period are guesses, too."""
        level, known = self.level, self.level.limit
        refill = min(known.refill, capacity)
        if capacity > known.capacity:  # a raised limit: raised as a whole, we assume
            refill *= capacity / known.capacity
        level.relimit(Limit(capacity, refill, known.period_s))
        level.left = capacity  # the `remaining` that came with it is heard next
        level.ticks.doubt()
        self.unfamiliar = True
        self._measure(level.limit)

    def relearn(self, limit: Limit, now_s: float) -> None:
        """Take Atlas's own figures; what is spent stays spent."""
        self.level.relimit(limit)
        self.level.ticks.relearn(limit.period_s, now_s)
        self.unfamiliar = False
        self._measure(limit)

    def refused(
        self, now_s: float, retry_after_s: float | None, *, jitter: float, sent_s: float | None
    ) -> None:
        """Settle a request that was a 429: nothing goes until the wait is over, then one."""
        sent_s = self.level.settle(now_s, sent_s)
        self.level.refused(now_s, sent_s)
        self.penalty.begin(now_s, retry_after_s, jitter=jitter, sent_s=sent_s)

    def expect(self, count: int) -> bool:
        """Say how many requests are still to come; tells whether that makes a difference."""
        self._demand = count
        return count > self.level.limit.capacity - self._floor - self._looks

    def idle(self, now_s: float) -> bool:
        """Tell whether forgetting it does no harm: nothing out, full but for the reserve."""
        level = self.level
        level.roll(now_s)
        missing = level.limit.capacity - level.left
        return not level.out and not self.penalty.pending and missing <= self._floor / 2

    def estimate_s(self, now_s: float, count: int) -> float:
        """Give the seconds until so many more requests can have gone out."""
        level, ticks, limit = self.level, self.level.ticks, self.level.limit
        level.roll(now_s)
        start_s = max(0.0, self.penalty.until_s - now_s)
        short = count - max(0.0, level.left - len(level.out) - self._held(now_s))
        if short <= 0:
            return start_s
        each = min(limit.refill, limit.capacity - self._floor)
        each -= min(level.others.per_s * ticks.period_s, each / 2)
        if level.drips:
            return max(start_s, short * ticks.period_s / each)
        next_s = (max(ticks.earliest_s, now_s) + max(ticks.latest_s, now_s)) / 2 - now_s
        return max(start_s, next_s) + (math.ceil(short / each) - 1) * ticks.period_s
