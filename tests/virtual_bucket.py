"""One bucket as Atlas keeps it, and a client, on a virtual clock: no test waits for real.

`run` drives a coroutine on an event loop whose time jumps to the next timer.
"""

import asyncio
import math
import random
import selectors
from dataclasses import dataclass, field

from invite_sweeper.atlas.rate_limits import BucketLimit

START_S = 1000.0
"""What the virtual clock shows at first."""


class _Leaping(selectors.SelectSelector):
    """A selector that adds the time it would have waited to `now_s`."""

    now_s = START_S

    def select(self, timeout=None):
        if timeout is None:
            raise RuntimeError("every task waits for something that never comes")
        self.now_s += max(timeout, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        self._leaping = _Leaping()
        super().__init__(self._leaping)
        self._clock_resolution = 1e-9

    def time(self):
        return self._leaping.now_s


def run(main):
    """Run `main(loop)`; virtual seconds."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.close()


@dataclass
class Server:
    """One bucket as Atlas keeps it: falls by one a request, jumps every `period_s`.

    `anchor_s`: a tick falls on it (virtual time). `drip`: refilled continuously instead.
    """

    clock: object
    capacity: int = 60
    refill: int = 60
    period_s: float = 2.0
    anchor_s: float = START_S
    drip: bool = False
    headers: bool = True
    level: float = math.nan
    answers: int = 0
    refusals: int = 0
    allowed_at: list = field(default_factory=list)
    lows: list = field(default_factory=list)

    def __post_init__(self):
        self.level = float(self.capacity)
        self._at_s = self.clock()
        self._tick = self._ticks()

    def _ticks(self):
        return math.floor((self.clock() - self.anchor_s) / self.period_s)

    def _members(self):
        if self.drip:
            grown = (self.clock() - self._at_s) * self.refill / self.period_s
            self.level = min(self.capacity, self.level + grown)
            self._at_s = self.clock()
        elif (tick := self._ticks()) > self._tick:
            self.lows.append(self.level)
            self.level = min(self.capacity, self.level + self.refill * (tick - self._tick))
            self._tick = tick

    def spend(self, count=1):
        """Spend as another program; return how many tokens there were."""
        self._members()
        spent = min(count, int(self.level))
        self.level -= spent
        return spent

    def request(self):
        """Return (allowed, limit, remaining, retry_after_s)."""
        self._members()
        self.answers += 1
        allowed = self.level >= 1
        if allowed:
            self.level -= 1
            self.allowed_at.append(self.clock())
        else:
            self.refusals += 1
        wait_s = (self._tick + 1) * self.period_s + self.anchor_s - self.clock()
        if not self.headers:
            return allowed, None, None, math.ceil(wait_s)
        return allowed, self.capacity, int(self.level), math.ceil(wait_s)

    def bound_s(self, count, *, reserve=0.1, start_s=START_S, pace_per_s=math.inf, others=0):
        """Return the least seconds for `count` requests, when every refill is known.

        `others`: what another program takes between two refills; it is left to it.
        """
        floor = max(reserve * self.capacity, others)
        level = float(self.capacity)
        tick_s = self.anchor_s + self.period_s * math.ceil(
            (start_s - self.anchor_s) / self.period_s
        )
        now_s = start_s
        for _ in range(count):
            if level - 1 < floor:
                now_s = max(now_s, tick_s)
            while now_s >= tick_s:
                level = min(self.capacity, level - others + self.refill)
                tick_s += self.period_s
            level -= 1
            now_s += 1 / pace_per_s
        return now_s - start_s


@dataclass
class Client:
    """Sends as the program does: a number of workers, each request's token first.

    `figures_in_429`: it reads a bucket's figures from the body of a 429.
    """

    loop: object
    limiter: object
    server: Server
    key: object
    concurrency: int = 20
    latency_s: float = 0.05
    jitter: float = 0.5
    figures_in_429: bool = True
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    @property
    def pace_per_s(self):
        return self.concurrency / (self.latency_s * (1 + self.jitter / 2))

    async def exchange(self):
        """Send one request whose token was acquired; return whether it was allowed."""
        sent_s = self.loop.time()
        await asyncio.sleep(self.latency_s / 2 * (1 + self.jitter * self.rng.random()))
        allowed, limit, remaining, retry_after_s = self.server.request()
        await asyncio.sleep(self.latency_s / 2 * (1 + self.jitter * self.rng.random()))
        if allowed:
            self.limiter.on_response(self.key, limit=limit, remaining=remaining, sent_s=sent_s)
            return True
        if self.figures_in_429:
            server = self.server
            limit = BucketLimit(server.capacity, server.refill, server.period_s)
            self.limiter.set_limit(self.key, limit)
        self.limiter.on_429(self.key, retry_after_s, sent_s=sent_s)
        return False

    async def sweep(self, count):
        """Send `count` requests as a sweep does; return the seconds it took."""
        slots = asyncio.Semaphore(self.concurrency)
        began_s = self.loop.time()

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
        return self.loop.time() - began_s

    async def acquire(self):
        while wait_s := self.limiter.try_acquire(self.key):
            await asyncio.sleep(wait_s)

    async def list_all(self, count):
        """Send `count` requests as the listing does: all queue for their token at once."""
        slots = asyncio.Semaphore(self.concurrency)
        began_s = self.loop.time()

        async def one():
            while True:
                await self.limiter.acquire(self.key)
                async with slots:
                    if await self.exchange():
                        return

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(one())
        return self.loop.time() - began_s
