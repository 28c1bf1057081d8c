"""A token bucket as Atlas implements it, and a client, on a virtual clock."""

import asyncio
import math
import random
from dataclasses import dataclass, field

from virtual_time import run_skipping_idle_time

from invite_sweeper.atlas.endpoints import PROJECTS_GROUP, BucketLimit
from invite_sweeper.atlas.limits import RateLimiter

START_S = 1000.0
"""The virtual time at the start."""
KEY = PROJECTS_GROUP, "a" * 24


def run(main):
    """Run `main(loop)` on virtual time and return its result."""

    async def scenario():
        return await main(asyncio.get_running_loop())

    return run_skipping_idle_time(scenario, poll_s=0)[0]


@dataclass
class Server:
    """A bucket that each request lowers by one and that is refilled every `period_s`.

    Attributes:
        anchor_s: Virtual time of one of the refills.
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
    headers: bool = True
    level: float = math.nan
    responses: int = 0
    rejected: int = 0
    allowed_at: list = field(default_factory=list)
    lows: list = field(default_factory=list)

    def __post_init__(self):
        self.level = float(self.capacity)
        self._refills_applied = self._refill_count()

    def _refill_count(self):
        return math.floor((self.clock() - self.anchor_s) / self.period_s)

    def _apply_refills(self):
        if (count := self._refill_count()) > self._refills_applied:
            self.lows.append(self.level)
            gained = self.refill * (count - self._refills_applied)
            self.level = min(self.capacity, self.level + gained)
            self._refills_applied = count

    def spend(self, count=1):
        """Spend tokens as another program."""
        self._apply_refills()
        self.level -= min(count, int(self.level))

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

    def bound_s(self, count, *, pace_per_s=math.inf, others=0):
        """Return the minimum seconds for `count` requests, if all refills are known.

        Args:
            count: Number of requests.
            pace_per_s: Requests a second that the client can send.
            others: Tokens that another program spends in each period.
        """
        floor = max(0.1 * self.capacity, others)  # without the reserve
        level = float(self.capacity)
        now_s = START_S
        periods = math.ceil((START_S - self.anchor_s) / self.period_s)
        refill_s = self.anchor_s + self.period_s * periods
        for _ in range(count):
            if level - 1 < floor:
                now_s = max(now_s, refill_s)
            while now_s >= refill_s:
                level = min(self.capacity, level - others + self.refill)
                refill_s += self.period_s
            level -= 1
            now_s += 1 / pace_per_s
        return now_s - START_S


@dataclass
class Client:
    """Sends requests as the program does: concurrently, after acquiring a token for each."""

    loop: object
    limiter: RateLimiter
    server: Server
    concurrency: int = 20
    latency_s: float = 0.05
    jitter: float = 0.5
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def __post_init__(self):
        self.bucket = self.limiter.bucket(*KEY)

    def bound_s(self, count, **others):
        """Return the minimum seconds at the pace of this client, with the last response."""
        last_s = self.latency_s * (1 + self.jitter / 2)
        return self.server.bound_s(count, pace_per_s=self.concurrency / last_s, **others) + last_s

    async def _exchange(self):
        """Send one request with an acquired token; return whether it was allowed."""
        sent_s = self.loop.time()
        await asyncio.sleep(self.latency_s / 2 * (1 + self.jitter * self.rng.random()))
        allowed, limit, remaining, retry_after_s = self.server.request()
        await asyncio.sleep(self.latency_s / 2 * (1 + self.jitter * self.rng.random()))
        if allowed:
            self.bucket.on_response(self.loop.time(), sent_s, limit=limit, remaining=remaining)
            return True
        server = self.server
        actual = BucketLimit(server.capacity, server.refill, server.period_s)
        self.bucket.on_429(self.loop.time(), sent_s, retry_after_s, jitter=0.5, limit=actual)
        return False

    async def _acquire(self):
        while wait_s := self.limiter.try_acquire(self.bucket):
            await asyncio.sleep(wait_s)

    async def send_all(self, count, *, discovery=False):
        """Send requests as a sweep does, or as discovery, in which all wait for a token at once.

        Returns:
            The seconds it took.
        """
        slots = asyncio.Semaphore(self.concurrency)
        start_s = self.loop.time()

        async def delete():
            try:
                while not await self._exchange():
                    await self._acquire()
            finally:
                slots.release()

        async def read():
            is_read = False
            while not is_read:
                await self.limiter.acquire(self.bucket)
                async with slots:
                    is_read = await self._exchange()

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                if not discovery:
                    await slots.acquire()
                    await self._acquire()
                group.create_task(read() if discovery else delete())
        return self.loop.time() - start_s
