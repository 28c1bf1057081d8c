"""Speed and number of 429s of a client against a bucket as Atlas implements it."""

import asyncio
import math
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
        responses: Number of responses, including 429s.
        rejected: Number of 429s.
    """

    clock: object
    size: BucketSize
    phase: float
    responses: int = 0
    rejected: int = 0

    def __post_init__(self):
        self.first_refill_s = START_S + self.phase * self.size.period_s
        self.bucket = SimulatedBucket(self.size, self.first_refill_s - self.size.period_s)

    def request(self):
        """Return whether a request is allowed, what remains, and after which wait to retry."""
        self.responses += 1
        allowed = self.bucket.take(self.clock())
        self.rejected += not allowed
        period_s = self.size.period_s
        wait_s = math.ceil(period_s - (self.clock() - self.first_refill_s) % period_s)
        return allowed, self.bucket.tokens, wait_s

    def bound_s(self, count, pace_per_s=math.inf):
        """Return the minimum seconds for `count` requests, if all refills are known."""
        capacity, refill, period_s = self.size
        level = float(capacity)
        now_s = START_S
        refill_s = self.first_refill_s
        for _ in range(count):
            if level - 1 < 0.1 * capacity:  # the reserve
                now_s = max(now_s, refill_s)
            while now_s >= refill_s:
                level = min(capacity, level + refill)
                refill_s += period_s
            level -= 1
            now_s += 1 / pace_per_s
        return now_s - START_S


@dataclass
class Client:
    """Sends requests as the program does: concurrently, after acquiring a token for each."""

    loop: object
    server: Server
    concurrency: int = 20
    latency_s: float = 0.05
    jitter: float = 0.5
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def __post_init__(self):
        self.limiter = RateLimiter(self.loop.time, asyncio.sleep)
        self.bucket = self.limiter.bucket(*KEY)
        self.bucket.limit = BucketLimit(*self.server.size)
        self.bucket.level = self.server.size.capacity

    def bound_s(self, count):
        """Return the minimum seconds at the pace of this client, with the last response."""
        last_s = self.latency_s * (1 + self.jitter / 2)
        return self.server.bound_s(count, self.concurrency / last_s) + last_s

    async def _travel(self):
        await asyncio.sleep(self.latency_s / 2 * (1 + self.jitter * self.rng.random()))

    async def _exchange(self):
        """Send one request with an acquired token; return whether it was allowed."""
        await self._travel()
        allowed, remaining, retry_after_s = self.server.request()
        await self._travel()
        if allowed:
            limit = self.server.size.capacity
            self.bucket.on_response(self.loop.time(), limit=limit, remaining=remaining)
        else:
            self.bucket.on_429(self.loop.time(), retry_after_s, jitter=0.5, limit=self.bucket.limit)
        return allowed

    async def _acquire(self, *, is_retry=False):
        while wait_s := self.limiter.try_acquire(self.bucket, is_retry=is_retry):
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
                    await self._acquire(is_retry=True)
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


# Pace ---------------------------------------------------------------------------------------------


DOCUMENTED = BucketSize(1200, 500)


def send_all(count, size, *, phase, discovery=False, **client_options):
    """Send `count` requests; return (seconds, server, client)."""

    async def main(loop):
        atlas = Server(loop.time, size, phase)
        client = Client(loop, atlas, **client_options)
        return await client.send_all(count, discovery=discovery), atlas, client

    return run(main)


@pytest.mark.parametrize("phase", [0.02, 0.5])
def test_documented_bucket_is_used_as_fast_as_it_refills_without_a_429(phase):
    took_s, atlas, client = send_all(2500, DOCUMENTED, phase=phase)
    assert atlas.rejected == 0
    assert took_s <= 1.05 * client.bound_s(2500)


@settings(max_examples=15, deadline=None)
@given(
    size=st.sampled_from([DOCUMENTED, BucketSize(500, 250), BucketSize(300, 100)]),
    phase=st.floats(0.0, 0.999),
    fills=st.floats(0.1, 4.0),
    client_options=st.fixed_dictionaries(
        {
            "latency_s": st.sampled_from([0.002, 0.02, 0.05]),
            "jitter": st.sampled_from([0.0, 0.5, 2.0]),
            "concurrency": st.sampled_from([1, 5, 20, 50]),
            "discovery": st.booleans(),
        }
    ),
)
def test_alone_it_causes_at_most_1_percent_429_and_takes_at_most_one_period_more(
    size, phase, fills, client_options
):
    count = max(1, int(fills * size.capacity))
    took_s, atlas, client = send_all(count, size, phase=phase, **client_options)
    assert atlas.responses - atlas.rejected == count
    assert atlas.rejected <= 0.01 * atlas.responses
    # A refill before the last tokens are spent is lost.
    worst_s = client.bound_s(count + min(16, size.capacity // 3) + client.concurrency)
    # The last tokens are spread over one period.
    assert took_s <= 1.05 * worst_s + size.period_s + 10 * client.latency_s * (1 + client.jitter)
