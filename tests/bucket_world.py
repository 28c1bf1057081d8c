"""A world of buckets on a clock of its own: nothing in it waits for real.

`run` drives a coroutine on an event loop whose time jumps to the next timer.
"""

import asyncio
import math
import random
import selectors
from dataclasses import dataclass, field


class _Leaping(selectors.SelectSelector):
    """A selector that adds the time it would have waited to `now_s`."""

    now_s = 1000.0

    def select(self, timeout=None):
        if timeout is None:
            raise RuntimeError("everything waits for something that never comes")
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
    anchor_s: float = 1000.0
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

    def _roll(self):
        if self.drip:
            grown = (self.clock() - self._at_s) * self.refill / self.period_s
            self.level = min(self.capacity, self.level + grown)
            self._at_s = self.clock()
        elif (tick := self._ticks()) > self._tick:
            self.lows.append(self.level)
            self.level = min(self.capacity, self.level + self.refill * (tick - self._tick))
            self._tick = tick

    def spend(self, count=1):
        """Another program's requests; gives how many of them there was a token for."""
        self._roll()
        spent = min(count, int(self.level))
        self.level -= spent
        return spent

    def request(self):
        """Give (allowed, limit, remaining, retry_after_s)."""
        self._roll()
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

    def bound_s(self, count, *, reserve=0.1, start_s=1000.0):
        """Seconds in which a client that knows all could have sent `count` requests."""
        floor = reserve * self.capacity
        level, tick, sent = float(self.capacity), 0, 0
        first = (
            self.anchor_s
            + math.ceil((start_s - self.anchor_s) / self.period_s + 1e-9) * self.period_s
        )
        while True:
            sent += max(0, math.floor(level - floor))
            if sent >= count:
                return max(0.0, first - start_s + (tick - 1) * self.period_s) if tick else 0.0
            level = min(self.capacity, min(level, floor) + self.refill)
            tick += 1


async def sweep(
    limiter,
    server,
    key,
    count,
    *,
    concurrency=20,
    latency_s=0.05,
    jitter=0.0,
    rng=None,
    loop=None,
    admit=True,
):
    """Send `count` requests as a client does: token first, slot second."""
    rng = rng or random.Random(0)
    slots = asyncio.Semaphore(concurrency)
    left = [count]
    done = [0.0]

    async def one():
        while True:
            await limiter.acquire(key)
            async with slots:
                sent_s = loop.time()
                await asyncio.sleep(latency_s / 2 * (1 + jitter * rng.random()))
                allowed, limit, remaining, retry_after_s = server.request()
                await asyncio.sleep(latency_s / 2 * (1 + jitter * rng.random()))
            if allowed:
                limiter.learn(key, limit=limit, remaining=remaining, sent_s=sent_s)
                break
            limiter.throttled(key, retry_after_s, sent_s=sent_s)
        left[0] -= 1
        done[0] = loop.time()

    await asyncio.gather(*(one() for _ in range(count)))
    return done[0] - 1000.0
