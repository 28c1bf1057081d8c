"""One server-side token bucket, estimated from answers."""

import math
from collections import deque
from typing import NamedTuple

from invite_sweeper.atlas.rate_limits import Limit

# When a bucket is refilled next, by what its answers showed so far. Pure.
#
# Atlas refills in steps: the counter falls by one a request, then jumps. Nothing says when, so
# the next step ("tick") is an interval: each answer without a jump moves its beginning, a jump
# between two answers closes it, and from then on it repeats every period.
#
# Source: `RateLimit-Remaining` in 14,505 recorded answers of 2026-01 to 2026-08.


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


# How fast other programs spend from a bucket that we spend from, too. Pure.


class Others:
    """Counts what the bucket lost beyond our own requests, while we were looking.

    Attributes:
        per_s: Tokens a second; never above half of what the bucket gets, for that much is
            ours: two clients that yield to each other must not both stand still.
        taken: What they took since the last tick; ours without an answer may be in it.
    """

    __slots__ = ("_fair_per_s", "_lost", "_period_s", "_shortest_s", "_watched_s", "per_s", "taken")

    def __init__(self, refill: float, period_s: float) -> None:
        self._lost = 0.0
        self._watched_s = 0.0
        self.per_s = self.taken = 0.0
        self.refilled_by(refill, period_s)

    def refilled_by(self, refill: float, period_s: float) -> None:
        """Take other figures of the bucket."""
        self._period_s = period_s
        self._fair_per_s = refill / period_s / 2
        self.per_s = min(self.per_s, self._fair_per_s)
        self._shortest_s = period_s / 32  # below it one foreign request looks like a flood

    def saw(self, lost: float, watched_s: float, out: int) -> None:
        """Add what one answer showed.

        Args:
            lost: By so much the counter fell beyond the one request answered; negative
                where answers overtook each other, so that the sum comes out right.
            watched_s: Since the answer before.
            out: Our requests without an answer; the counter may hold them already.
        """
        self._lost += lost
        self.taken += lost
        self._watched_s += watched_s
        if self._lost <= 1.0 and not self.per_s:  # nobody there, as almost always
            return
        watched_s = max(self._watched_s, self._shortest_s)
        # One token is what a lost answer looks like. Between the bounds nothing new is known.
        least = max(self._lost - out - 1.0, 0.0) / watched_s
        most = max(self._lost - 1.0, 0.0) / watched_s
        self.per_s = min(max(self.per_s, least), most, self._fair_per_s)

    def ahead(self, ahead_s: float, out: int) -> float:
        """Give how much they will still take in so many seconds, of their usual share."""
        share = self.per_s * self._period_s - max(0.0, self.taken - out)
        return max(0.0, min(self.per_s * ahead_s, share))

    def ticked(self) -> None:
        """Let the past count for half from now on."""
        self._lost = max(0.0, self._lost) / 2
        self._watched_s /= 2
        self.taken = 0.0


# How long a bucket waits after a 429, and who goes first afterwards. Pure.


WAIT_FLOOR_S, WAIT_CAP_S = 1.0, 120.0
"""What a `Retry-After` is held to: Atlas does send 0, and a huge one outlasts the run. No bucket
is waited for longer at a time, either."""
STEPS_S = (10.0, 20.0, 40.0)
"""After a second 429 and the next ones, without a success between.

Source: https://www.mongodb.com/docs/atlas/api/api-rate-limit (April 10, 2026).
"""
LOST_AFTER_S = 120.0
"""A request that was never settled is counted as spent and done after so long."""


class Penalty:
    """Nothing goes until `until_s`; then one request, and on its success the rest."""

    __slots__ = ("_began_s", "_probe_s", "_strikes", "pending", "until_s")

    def __init__(self) -> None:
        self.pending = False
        self.until_s = -math.inf
        self._began_s = -math.inf
        self._probe_s = -math.inf
        self._strikes = 0

    def begin(
        self, now_s: float, retry_after_s: float | None, *, jitter: float, sent_s: float
    ) -> None:
        """Start or lengthen the wait.

        Requests that were in flight when it began are refused with the first one: they are
        one event, and only a later one counts as a second.
        """
        if not self.pending or sent_s >= self._began_s:
            self._strikes += 1
            self._began_s = now_s
        wait_s = retry_after_s if retry_after_s is not None else 0.0
        if self._strikes > 1:
            step_s = STEPS_S[min(self._strikes - 2, len(STEPS_S) - 1)]
            wait_s = max(wait_s, step_s * (1 + jitter / 4))
        # `max` with the floor first, so that a NaN becomes the floor.
        wait_s = min(max(WAIT_FLOOR_S, wait_s), WAIT_CAP_S)
        self.until_s = max(self.until_s, now_s + wait_s)
        self.pending = True
        self._probe_s = -math.inf

    def wait_s(self, now_s: float) -> float:
        """Give 0.0 when the probe may go; only asked while `pending`."""
        if now_s < self.until_s:
            return self.until_s - now_s
        out_s = now_s - self._probe_s
        # While the probe is out one asks again, now and then; its answer wakes who waits.
        return 0.0 if out_s > LOST_AFTER_S else min(max(out_s, 0.05), 1.0)

    def probe(self, now_s: float) -> None:
        """Note that the probe has gone."""
        self._probe_s = now_s

    def success(self, sent_s: float) -> bool:
        """End it if the request was sent after it began; tell whether that was so."""
        if not self.pending or sent_s < self._began_s:
            return False
        self.pending = False
        self._strikes = 0
        return True


# How full one of Atlas's buckets is, by what its answers say. Pure.


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


# One token bucket of Atlas: may a request go now, and if not, when? Pure.


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
