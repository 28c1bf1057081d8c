"""A token bucket as Atlas implements it, and a client, on a virtual clock.

`run` runs a coroutine on an event loop that skips the time until the next timer.
"""

import asyncio
import math
import random
import selectors
from dataclasses import dataclass, field

from invite_sweeper.atlas.limits import BucketLimit

START_S = 1000.0
"""The virtual time at the start."""


class _SkippingSelector(selectors.SelectSelector):
    """A selector that adds the time it would have waited to `now_s`."""

    now_s = START_S

    def select(self, timeout=None):
        if timeout is None:
            raise RuntimeError("deadlock: no task can continue")
        self.now_s += max(timeout, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        self._skipping = _SkippingSelector()
        super().__init__(self._skipping)
        self._clock_resolution = 1e-9

    def time(self):
        return self._skipping.now_s


def run(main):
    """Run `main(loop)` on virtual time and return its result."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.close()


@dataclass
class Server:
    """A bucket that each request lowers by one and that is refilled every `period_s`.

    Attributes:
        anchor_s: Virtual time of one of the refills.
        continuous: Refilled continuously instead.
        headers: Whether responses have `RateLimit` headers.
        responses: Number of responses, including 429s.
        rejected: Number of 429s.
        allowed_at: Times of the other responses.
        lows: The level before each refill.
    """

    clock: object
    capacity: int = 60
    refill: int = 60
    period_s: float = 2.0
    anchor_s: float = START_S
    continuous: bool = False
    headers: bool = True
    level: float = math.nan
    responses: int = 0
    rejected: int = 0
    allowed_at: list = field(default_factory=list)
    lows: list = field(default_factory=list)

    def __post_init__(self):
        self.level = float(self.capacity)
        self._updated_s = self.clock()
        self._refills_applied = self._refill_count()

    def _refill_count(self):
        return math.floor((self.clock() - self.anchor_s) / self.period_s)

    def _apply_refills(self):
        if self.continuous:
            gained = (self.clock() - self._updated_s) * self.refill / self.period_s
            self.level = min(self.capacity, self.level + gained)
            self._updated_s = self.clock()
        elif (count := self._refill_count()) > self._refills_applied:
            self.lows.append(self.level)
            self.level = min(
                self.capacity, self.level + self.refill * (count - self._refills_applied)
            )
            self._refills_applied = count

    def spend(self, count=1):
        """Spend tokens as another program; return how many were spent."""
        self._apply_refills()
        spent = min(count, int(self.level))
        self.level -= spent
        return spent

    def request(self):
        """Return (allowed, limit, remaining, retry_after_s)."""
        self._apply_refills()
        self.responses += 1
        allowed = self.level >= 1
        if allowed:
            self.level -= 1
            self.allowed_at.append(self.clock())
        else:
            self.rejected += 1
        wait_s = (self._refills_applied + 1) * self.period_s + self.anchor_s - self.clock()
        if not self.headers:
            return allowed, None, None, math.ceil(wait_s)
        return allowed, self.capacity, int(self.level), math.ceil(wait_s)

    def bound_s(self, count, *, reserve=0.1, start_s=START_S, pace_per_s=math.inf, others=0):
        """Return the minimum seconds for `count` requests, if all refills are known.

        Args:
            count: Number of requests.
            reserve: Share of the capacity that is not used.
            start_s: When they start.
            pace_per_s: Requests a second that the client can send.
            others: Tokens that another program spends in each period.
        """
        floor = max(reserve * self.capacity, others)
        level = float(self.capacity)
        refill_s = self.anchor_s + self.period_s * math.ceil(
            (start_s - self.anchor_s) / self.period_s
        )
        now_s = start_s
        for _ in range(count):
            if level - 1 < floor:
                now_s = max(now_s, refill_s)
            while now_s >= refill_s:
                level = min(self.capacity, level - others + self.refill)
                refill_s += self.period_s
            level -= 1
            now_s += 1 / pace_per_s
        return now_s - start_s


@dataclass
class Client:
    """Sends requests as the program does: concurrently, after acquiring a token for each.

    Attributes:
        limit_in_429: Whether the body of a 429 names the limit of the bucket.
    """

    loop: object
    limiter: object
    server: Server
    key: object
    concurrency: int = 20
    latency_s: float = 0.05
    jitter: float = 0.5
    limit_in_429: bool = True
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    @property
    def pace_per_s(self):
        return self.concurrency / (self.latency_s * (1 + self.jitter / 2))

    async def exchange(self):
        """Send one request with an acquired token; return whether it was allowed."""
        sent_s = self.loop.time()
        await asyncio.sleep(self.latency_s / 2 * (1 + self.jitter * self.rng.random()))
        allowed, limit, remaining, retry_after_s = self.server.request()
        await asyncio.sleep(self.latency_s / 2 * (1 + self.jitter * self.rng.random()))
        if allowed:
            self.limiter.on_response(self.key, limit=limit, remaining=remaining, sent_s=sent_s)
            return True
        if self.limit_in_429:
            server = self.server
            limit = BucketLimit(server.capacity, server.refill, server.period_s)
            self.limiter.set_limit(self.key, limit)
        self.limiter.on_429(self.key, retry_after_s, sent_s=sent_s)
        return False

    async def sweep(self, count):
        """Send `count` requests as a sweep does; return the seconds it took."""
        slots = asyncio.Semaphore(self.concurrency)
        start_s = self.loop.time()

        async def one():
            try:
                while not await self.exchange():
                    await self.acquire()
            finally:
                slots.release()

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                await slots.acquire()
                await self.acquire()
                group.create_task(one())
        return self.loop.time() - start_s

    async def acquire(self):
        while wait_s := self.limiter.try_acquire(self.key):
            await asyncio.sleep(wait_s)

    async def list_all(self, count):
        """Send `count` requests as discovery does: all wait for a token at once."""
        slots = asyncio.Semaphore(self.concurrency)
        start_s = self.loop.time()

        async def one():
            while True:
                await self.limiter.acquire(self.key)
                async with slots:
                    if await self.exchange():
                        return

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(one())
        return self.loop.time() - start_s
