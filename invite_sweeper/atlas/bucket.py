"""One token bucket of Atlas, as far as its answers tell: may a request go now? Pure."""

import math
from collections import deque

from invite_sweeper.atlas.limits import Limit
from invite_sweeper.atlas.others import Others
from invite_sweeper.atlas.penalty import LOST_AFTER_S, Penalty
from invite_sweeper.atlas.ticks import MARGIN_S, Ticks

FIRST = 10
"""So many go out before the first answer: the bucket may be smaller than documented."""
DRIPS = 3
"""So many small rises more than jumps, and the refill is taken to be continuous."""


class Bucket:
    """A bucket that is full at first. Seconds are monotonic, tokens may be fractions.

    The level is what the latest answer said was left (`_base`) less our requests that have
    no answer yet (`_out`, the instants of their tokens). The server counts in an order that
    we do not see: between two ticks the lowest number is the latest, and a higher one is a
    tick only if its request went out after the lower one was known.
    """

    __slots__ = (
        "_base",
        "_before",
        "_credited_s",
        "_demand",
        "_drips",
        "_floor",
        "_full",
        "_last_s",
        "_limit",
        "_looks",
        "_met",
        "_out",
        "_rtt_s",
        "_said_s",
        "_sent_s",
        "_settled",
        "_share",
        "_told",
        "_unclear",
        "_unproven",
        "others",
        "penalty",
        "ticks",
    )  # fmt: skip

    def __init__(self, limit: Limit, reserve: float, now_s: float) -> None:
        self._share = reserve
        self._base = limit.capacity
        self._out: deque[float] = deque()
        self._settled = 0  # answers since `_base` was said
        self._unclear = (
            0.0,
            now_s,
        )  # the greatest rise that may be an older answer's, and when it came
        self._sent_s = self._said_s = now_s  # of the request whose answer said `_base`
        self._credited_s = -math.inf  # the last tick that was counted without being seen
        self._full = limit.capacity  # the level after it, had nobody else spent anything
        self._before: float | None = None  # the level before it, until an answer bears it out
        self._last_s = -math.inf
        self._rtt_s = 0.0
        self._told = False  # whether any answer had a RateLimit header
        self._met = False  # whether there was any answer
        self._unproven: float = FIRST  # so many go out until an answer bears the level out
        self._drips = 0
        self._demand: int | None = None
        self.ticks = Ticks(limit.period_s, now_s)
        self.others = Others(limit.refill, limit.period_s)
        self.penalty = Penalty()
        self._set(limit)

    def _set(self, limit: Limit) -> None:
        self._limit = limit
        self._floor = max(0.0, min(self._share * limit.capacity, limit.capacity - 1))
        usable = limit.capacity - self._floor
        # Tokens kept for looking out for the tick. Those that a full bucket would lose at
        # the tick are few, those that it would keep anyway cost nothing.
        self._looks = max(min(16, usable // 3), min(64, usable - limit.refill), 1)

    def try_take(self, now_s: float) -> float:
        """Take a token and give 0.0, or give the seconds until it is worth asking again."""
        wait_s = self.wait_s(now_s)
        if wait_s <= 0.0:
            if self.penalty.pending:
                self.penalty.probe(now_s)
            if self._demand:
                self._demand -= 1
            self._out.append(now_s)
            self._last_s = now_s
            return 0.0
        return wait_s

    def wait_s(self, now_s: float) -> float:
        """Give 0.0 when a request may go now; takes nothing."""
        self._roll(now_s)
        if self.penalty.pending:
            return self.penalty.wait_s(now_s)
        free = self._base - len(self._out) - self._held(now_s)
        if len(self._out) >= self._unproven:
            return self._soon_s
        if free < 1.0:
            return self._dry_s(now_s, 1.0 - free)
        if free > self._looks or not self._told or self.ticks.known or self._drips >= DRIPS:
            return 0.0
        if self._demand is not None and self._demand <= free:
            return 0.0
        return max(0.0, self._last_s + self._gap_s(now_s, free) - now_s)

    def _held(self, now_s: float) -> float:
        """What is left to others: the reserve, or more where they are known to spend more."""
        others = self.others
        if not others.per_s:
            return self._floor
        # Until the next tick that is; where it is not known when, one must go on looking.
        ahead_s = self.ticks.latest_s - now_s if self.ticks.known else 0.0
        ahead = others.ahead(ahead_s, len(self._out))
        return max(self._floor, ahead) + others.per_s * self._rtt_s

    @property
    def _step(self) -> float:
        """By how much a tick would raise the level."""
        return min(self._limit.refill, self._limit.capacity - self._base)

    @property
    def _soon_s(self) -> float:
        """When to ask again while an answer is on its way that may change things."""
        return min(max(0.005, self._rtt_s / 4), 0.25)

    def _gap_s(self, now_s: float, free: float) -> float:
        """How far apart to look for a tick whose time is not known, with what is free."""
        ticks = self.ticks
        if ticks.sure:
            return max(0.0, ticks.due_s - now_s) / free
        # The period is unknown as well: look ever more rarely, from a tenth of a second on.
        growth = math.exp(math.log(max(ticks.period_s, 0.2) / 0.1) / self._looks) - 1
        return max(0.1, now_s - ticks.since_s) * growth

    def _dry_s(self, now_s: float, short: float) -> float:
        ticks, limit = self.ticks, self._limit
        if self._drips >= DRIPS:
            return max(0.001, short * limit.period_s / limit.refill)
        wait_s = ticks.latest_s + MARGIN_S - now_s
        doubtful = self._base >= 1.0 and self._unclear[0] > max(8.0, self._step / 2)
        if wait_s <= 0.0 or doubtful:  # one goes to look, and is not followed
            return 0.0 if not self._out or now_s - self._last_s > ticks.period_s else self._soon_s
        if self._base - self._held(now_s) >= 1.0:  # answers on their way may free tokens
            wait_s = min(wait_s, self._soon_s)
        per_s = self.others.per_s
        if per_s and self._base - len(self._out) >= self._floor + 1 + per_s * self._rtt_s:
            wait_s = min(wait_s, max(short / per_s, 0.001))
        return wait_s

    def _roll(self, now_s: float) -> None:
        """Count what time alone brought: lost requests, ticks that are due for certain."""
        while self._out and now_s - self._out[0] > LOST_AFTER_S:
            self._out.popleft()
            self._base -= 1
        limit = self._limit
        if self._drips >= DRIPS:
            grown = (now_s - self._said_s) * limit.refill / limit.period_s
            self._base = min(limit.capacity, self._base + max(0.0, grown))
            self._said_s = max(now_s, self._said_s)
            return
        if not self.ticks.sure and self._told:
            return
        count = self.ticks.passed(now_s)
        if count:
            self._credited_s = self.ticks.latest_s - self.ticks.period_s
            self._before = self._base
            self._full = min(limit.capacity, self._base + count * limit.refill)
            # The reserve is what a tick that did not come is found out with.
            self._unproven = max(1.0, self._floor) if self._told else math.inf
            spent = self.others.per_s * max(0.0, self._credited_s - self._sent_s)
            base = max(0.0, self._base - spent) + count * limit.refill
            self._base = min(limit.capacity, base)
            self._sent_s = self._said_s = self._credited_s
            self._unclear = (0.0, now_s)
            self.others.ticked()

    def answered(
        self, now_s: float, *, limit: float | None, remaining: float | None, sent_s: float | None
    ) -> None:
        """Settle a request; the headers' word counts before ours where there is one."""
        taken_s = self._out.popleft() if self._out else now_s
        sent_s = taken_s if sent_s is None else sent_s
        self._roll(now_s)
        proven = self.penalty.success(sent_s)
        if limit is not None and 0 < limit < math.inf and limit != self._limit.capacity:
            self._resize(limit)
        if not self._met:
            # Ticks before the first answer left no trace in a full bucket.
            self._met, self._unproven = True, math.inf
            self.ticks.restart(sent_s, now_s)
        if remaining is None:
            self._base -= 1
            if proven and not self._told:
                self._base = min(self._limit.capacity, self._limit.refill) - 1
                self.ticks.relearn(self.ticks.period_s, now_s)
            return
        self._told = True
        self._rtt_s += (min(max(now_s - sent_s, 0.0), 5.0) - self._rtt_s) / 8
        self._hear(now_s, min(max(remaining, 0.0), self._limit.capacity), sent_s)

    def _hear(self, now_s: float, level: float, sent_s: float) -> None:
        if sent_s < self._credited_s:  # from before a tick that is counted already
            self._base = min(self._base, level + self._limit.refill)
            return
        self._settled += 1
        if level <= self._base:
            self._fell(now_s, level, sent_s)
        elif sent_s >= self._said_s:
            self._rose(now_s, level, sent_s)
        else:  # overtaken by the answer that said `_base`, or after a tick; the next ones tell
            self.others.saw(-1.0, 0.0, len(self._out))
            if level - self._base > self._unclear[0]:
                self._unclear = (level - self._base, now_s)

    def _fell(self, now_s: float, level: float, sent_s: float) -> None:
        newest = sent_s >= self._sent_s
        if self._before is None:
            watched_s = sent_s - self._sent_s if newest else 0.0
            self.others.saw(self._base - level - 1, watched_s, len(self._out))
        elif level > self._before:
            self._before, self._unproven = None, math.inf
            self.ticks.confirm()
            self.others.taken = self._full - level - self._settled
        elif level + self._settled + len(self._out) <= self._before:
            self._before, self._unproven = None, math.inf
            if not self.others.per_s:
                self.ticks.missed(sent_s)
        if newest:
            self.ticks.absent(sent_s)
        if self._drips >= DRIPS and self._base - level > 3 + len(self._out):
            self._drips -= 1
        self._said(now_s, level, sent_s)

    def _rose(self, now_s: float, level: float, sent_s: float) -> None:
        rise = level - self._base + self._settled
        if self._before is not None:
            # The tick brought more than we dared to count.
            self._before, self._unproven = None, math.inf
        elif self._is_drip(now_s, rise):
            self._drips = min(self._drips + 1, 2 * DRIPS)
        else:
            self._drips = max(self._drips - 1, 0)
            clear = self._unclear[0] < rise / 2
            self.ticks.seen(self._sent_s, now_s if clear else self._unclear[1])
            self.others.ticked()
        self._said(now_s, level, sent_s)

    def _is_drip(self, now_s: float, rise: float) -> bool:
        """Tell whether a rise is too small for a tick, and nothing else explains that."""
        watched = now_s - self._said_s < self.ticks.period_s / 4
        return rise < self._step / 2 and watched and not self.others.per_s

    def _said(self, now_s: float, level: float, sent_s: float) -> None:
        self._base = level
        self._sent_s = max(sent_s, self._sent_s)
        self._said_s = now_s
        self._settled = 0
        if sent_s >= self._unclear[1]:
            self._unclear = (0.0, now_s)

    def _resize(self, capacity: float) -> None:
        """Take another capacity from a header: then refill and period are guesses, too."""
        refill = min(self._limit.refill, capacity)
        self.relearn(Limit(capacity, refill, self.ticks.period_s))
        self._base = capacity  # the `remaining` that came with it is heard next
        self.ticks.doubt()

    def relearn(self, limit: Limit, now_s: float | None = None) -> None:
        """Take better figures; what is spent stays spent.

        Args:
            limit: The figures.
            now_s: Given where the period is Atlas's own word, too.
        """
        self._base = max(0.0, self._base + limit.capacity - self._limit.capacity)
        self._set(limit)
        self.others.refilled_by(limit.refill, limit.period_s)
        if now_s is not None:
            self.ticks.relearn(limit.period_s, now_s)

    def refused(
        self, now_s: float, retry_after_s: float | None, *, jitter: float, sent_s: float | None
    ) -> None:
        """Settle a request that was a 429: nothing goes until the wait is over, then one."""
        taken_s = self._out.popleft() if self._out else now_s
        sent_s = taken_s if sent_s is None else sent_s
        self._roll(now_s)
        if self._told and self._before is not None and sent_s >= self._credited_s:
            self.ticks.missed(sent_s)
        self._before, self._unproven = None, math.inf
        self._said(now_s, 0.0, sent_s)
        self.penalty.begin(now_s, retry_after_s, jitter=jitter, sent_s=sent_s)

    def expect(self, count: int | None) -> None:
        """Say how many requests are still to come; None where nobody knows."""
        self._demand = count

    def idle(self, now_s: float) -> bool:
        """Tell whether forgetting it does no harm: nothing out, full but for the reserve."""
        self._roll(now_s)
        missing = self._limit.capacity - self._base
        return not self._out and not self.penalty.pending and missing <= self._floor / 2

    def estimate_s(self, now_s: float, count: int) -> float:
        """Give the seconds until so many more requests can have gone out."""
        self._roll(now_s)
        start_s = max(0.0, self.penalty.until_s - now_s)
        short = count - max(0.0, self._base - len(self._out) - self._held(now_s))
        if short <= 0:
            return start_s
        ticks, limit = self.ticks, self._limit
        each = min(limit.refill, limit.capacity - self._floor)
        each -= min(self.others.per_s * ticks.period_s, each / 2)
        if self._drips >= DRIPS:
            return max(start_s, short * ticks.period_s / each)
        next_s = (max(ticks.earliest_s, now_s) + max(ticks.latest_s, now_s)) / 2 - now_s
        return max(start_s, next_s) + (math.ceil(short / each) - 1) * ticks.period_s
