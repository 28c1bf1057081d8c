"""The bucket of the simulated Atlas, and a client, on a virtual clock."""

import asyncio
import math
import random
from dataclasses import dataclass, field

from virtual_time import run_skipping_idle_time

from invite_sweeper.atlas.endpoints import PROJECTS_GROUP, BucketLimit
from invite_sweeper.atlas.limits import RateLimiter
from invite_sweeper.simulator.throttling import BucketSize, SimulatedBucket

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
    """A bucket that each request lowers by one, and what it answers.

    Attributes:
        phase: The time of the first refill, as a share of the period.
        headers: Whether responses have `RateLimit` headers.
        responses: Number of responses, including 429s.
        rejected: Number of 429s.
        allowed_at: Times of the other responses.
    """

    clock: object
    size: BucketSize
    phase: float = 0.0
    headers: bool = True
    responses: int = 0
    rejected: int = 0
    allowed_at: list = field(default_factory=list)

    def __post_init__(self):
        self.first_refill_s = START_S + self.phase * self.size.period_s
        self.bucket = SimulatedBucket(self.size, self.first_refill_s - self.size.period_s)

    def spend(self, count=1):
        """Spend tokens as another program."""
        for _ in range(count):
            self.bucket.take(self.clock())

    def request(self):
        """Return (allowed, limit, remaining, retry_after_s)."""
        self.responses += 1
        allowed = self.bucket.take(self.clock())
        if allowed:
            self.allowed_at.append(self.clock())
        else:
            self.rejected += 1
        period_s = self.size.period_s
        wait_s = math.ceil(period_s - (self.clock() - self.first_refill_s) % period_s)
        shown = (self.size.capacity, self.bucket.tokens) if self.headers else (None, None)
        return allowed, *shown, wait_s

    def bound_s(self, count, *, pace_per_s=math.inf, others=0):
        """Return the minimum seconds for `count` requests, if all refills are known.

        Args:
            count: Number of requests.
            pace_per_s: Requests a second that the client can send.
            others: Tokens that another program spends in each period.
        """
        capacity, refill, period_s = self.size
        floor = max(0.1 * capacity, others)  # without the reserve
        level = float(capacity)
        now_s = START_S
        refill_s = self.first_refill_s
        for _ in range(count):
            if level - 1 < floor:
                now_s = max(now_s, refill_s)
            while now_s >= refill_s:
                level = min(capacity, level - others + refill)
                refill_s += period_s
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
        await asyncio.sleep(self.latency_s / 2 * (1 + self.jitter * self.rng.random()))
        allowed, limit, remaining, retry_after_s = self.server.request()
        await asyncio.sleep(self.latency_s / 2 * (1 + self.jitter * self.rng.random()))
        if allowed:
            self.bucket.on_response(self.loop.time(), limit=limit, remaining=remaining)
            return True
        actual = BucketLimit(*self.server.size)
        self.bucket.on_429(self.loop.time(), retry_after_s, jitter=0.5, limit=actual)
        return False

    async def _acquire_again(self):
        while wait_s := self.bucket.wait_s(self.loop.time(), is_retry=True):
            await asyncio.sleep(wait_s)
        self.bucket.in_flight += 1

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
                    await self._acquire_again()
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
