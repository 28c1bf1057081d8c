"""The rate limiter: known limits, queues, and the spacing of all requests."""

import asyncio
import math

import pytest
from virtual_bucket import KEY, START_S, Client, Server, run

from invite_sweeper.atlas import limits as rate_limits
from invite_sweeper.atlas.limiter import MAX_IDLE_BUCKETS, RateLimiter
from invite_sweeper.atlas.limits import PROJECTS_GROUP, BucketKey, BucketLimit

OTHER = BucketKey(PROJECTS_GROUP, "b" * 24)


class Clock:
    def __init__(self):
        self.now_s = START_S

    def __call__(self):
        return self.now_s


def limiter_at(clock=None, **options):
    options.setdefault("random", lambda: 0.0)
    return RateLimiter(clock or Clock(), asyncio.sleep, **options)


def exchange(limiter, key=KEY, *, limit=None, remaining=None):
    assert limiter.try_acquire(key) == 0.0
    limiter.on_response(key, limit=limit, remaining=remaining)


def usable(key=KEY, limit=None, **options):
    """Return the number of requests sent in 59 s, with responses without headers."""
    clock = Clock()
    limiter = limiter_at(clock, **options)
    if limit is not None:
        limiter.set_limit(key, limit)
    sent = 0
    while clock.now_s < START_S + 59.0:
        wait_s = limiter.try_acquire(key)
        if wait_s == 0.0:
            limiter.on_response(key, limit=None, remaining=None)
            sent += 1
        clock.now_s += wait_s
    return sent


@pytest.mark.parametrize(
    ("endpoint_set", "capacity"),
    [
        (rate_limits.PROJECTS_GROUP, 1200),
        (rate_limits.PROJECTS_USER, 1200),
        (rate_limits.ORGANIZATIONS_ORG, 500),
        (rate_limits.ORGANIZATIONS_USER, 300),
        (rate_limits.CLOUD_USERS_GROUP, 1200),
        (rate_limits.CLOUD_USERS_ORG, 500),
        ("unknown", 300),
    ],
)
def test_bucket_has_the_documented_capacity(endpoint_set, capacity):
    assert usable(BucketKey(endpoint_set, "x"), reserve=0.0) == capacity


@pytest.mark.parametrize("limit", [(0, 5, 60), (10, 0, 60), (10, 5, 0), (math.nan, 5, 60)])
def test_limit_of_zero_or_nan_is_ignored(limit):
    assert usable(limit=BucketLimit(*limit), reserve=0.0) == 1200


@pytest.mark.parametrize(
    ("share", "usable_now"), [(0.0, 1200), (0.1, 1080), (0.5, 600), (0.9, 120), (0.999, 1)]
)
def test_reserved_share_of_a_documented_bucket_is_not_used(share, usable_now):
    assert usable(reserve=share) == usable_now


@pytest.mark.parametrize(
    ("limit", "reserve"),
    [
        ((100, 1, 60), 10.0),
        ((100, 0.9, 60), 9.0),
        ((2000, 1, 60), 10.0),
        ((2000, 100, 60), 200.0),
        ((1, 1, 60), 0.0),
        ((0.5, 1, 60), 0.0),
    ],
)
def test_reserve_is_at_most_10_refills_and_leaves_one_token(limit, reserve):
    assert BucketLimit(*limit).reserve(0.1) == pytest.approx(reserve)


def test_429_delays_only_its_own_bucket():
    limiter = limiter_at()
    exchange(limiter)
    limiter.on_429(KEY, 30.0)
    assert limiter.try_acquire(KEY) == pytest.approx(30.0)
    assert limiter.try_acquire(OTHER) == 0.0


def test_at_most_1024_idle_buckets_are_stored_and_none_that_is_in_use_is_dropped():
    clock = Clock()
    limiter = limiter_at(clock)
    low, waits, in_flight = (BucketKey(PROJECTS_GROUP, name) for name in ("low", "waits", "sent"))
    exchange(limiter, low, limit=1200, remaining=700)
    exchange(limiter, waits)
    limiter.on_429(waits, 100.0)
    assert limiter.try_acquire(in_flight) == 0.0
    for number in range(3 * MAX_IDLE_BUCKETS):
        exchange(limiter, BucketKey(PROJECTS_GROUP, str(number)), limit=1200, remaining=1199)
        clock.now_s += 0.003
        assert len(limiter._buckets) <= MAX_IDLE_BUCKETS
    assert all(key in limiter._buckets for key in (low, waits, in_flight))


# --- queues ----------------------------------------------------------------------------------


def queued(main, **options):
    """Run `main(limiter, loop)` on virtual time, with a bucket that waits 5 s after a 429."""

    async def start(loop):
        limiter = RateLimiter(loop.time, asyncio.sleep, reserve=0.0, **options)
        exchange(limiter)
        limiter.on_429(KEY, 5.0)
        return await main(limiter, loop)

    return run(start)


async def acquire(limiter, loop, served, number=0):
    await limiter.acquire(KEY)
    served.append(number)
    limiter.on_response(KEY, limit=1200, remaining=1000 - len(served), sent_s=loop.time())


@pytest.mark.parametrize("cancelled", [[], [0], [1], [0, 1], [9], [2, 4, 6, 8]])
def test_tasks_are_served_in_order_and_a_cancelled_one_acquires_no_token_and_delays_no_other(
    cancelled,
):
    async def main(limiter, loop):
        served = []
        tasks = [
            asyncio.ensure_future(acquire(limiter, loop, served, number)) for number in range(10)
        ]
        await asyncio.sleep(1.0)
        for number in cancelled:
            tasks[number].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return served, loop.time() - START_S, limiter._queues

    served, took_s, queues = queued(main)
    assert served == [number for number in range(10) if number not in cancelled]
    assert took_s == pytest.approx(5.0, abs=0.1)
    assert queues == {}


@pytest.mark.parametrize("late_s", [-0.001, 0.0, 0.001])
def test_task_cancelled_when_its_token_is_available_loses_no_token(late_s):
    async def main(limiter, loop):
        served = []
        first = asyncio.ensure_future(acquire(limiter, loop, served))
        rest = [asyncio.ensure_future(acquire(limiter, loop, served)) for _ in range(10)]
        loop.call_at(START_S + 5.0 + late_s, first.cancel)
        await asyncio.gather(first, *rest, return_exceptions=True)
        return len(served) + first.cancelled(), loop.time() - START_S

    served, took_s = queued(main)
    assert served == 11
    assert took_s == pytest.approx(5.0, abs=0.1)


def test_wait_ends_within_1_s_of_a_response_with_remaining_tokens():
    async def main(limiter, loop):
        limiter.try_acquire(OTHER)
        limiter.on_response(OTHER, limit=1200, remaining=0, sent_s=loop.time())
        sent_s = loop.time()
        while limiter.try_acquire(OTHER):  # the request that checks for a refill
            await asyncio.sleep(0.1)
            sent_s = loop.time()
        waiting = asyncio.ensure_future(limiter.acquire(OTHER))
        await asyncio.sleep(5.0)
        responded_s = loop.time()
        limiter.on_response(OTHER, limit=1200, remaining=900, sent_s=sent_s)
        await waiting
        return loop.time() - responded_s

    assert queued(main) <= 1.0


def test_empty_bucket_delays_no_other():
    async def main(limiter, loop):
        waiting = asyncio.ensure_future(limiter.acquire(KEY))
        await asyncio.sleep(0)
        await limiter.acquire(OTHER)
        at_s = loop.time() - START_S
        waiting.cancel()
        return at_s

    assert queued(main) == 0.0


def test_waiting_reads_the_clock_at_most_12_times_per_request():
    async def main(loop):
        reads = []

        def clock():
            reads.append(loop.time())
            return loop.time()

        limiter = RateLimiter(clock, asyncio.sleep)
        limiter.set_limit(KEY, BucketLimit(60, 60, 60))
        server = Server(loop.time, 60, 60, 60.0, anchor_s=START_S + 20)
        await Client(loop, limiter, server).send_all(301, discovery=True)
        return len(reads)

    assert run(main) < 301 * 12


# --- spacing ---------------------------------------------------------------------------------


def spaced(per_s, main):
    """Run `main(limiter, loop)`; return its result and the seconds that it took."""

    async def start(loop):
        limiter = RateLimiter(loop.time, asyncio.sleep, max_requests_per_second=per_s)
        return await main(limiter, loop), loop.time() - START_S

    return run(start)


@pytest.mark.parametrize("per_s", [None, 0.5, 3, 50])
def test_requests_are_spaced_evenly(per_s):
    async def main(limiter, loop):
        at_s = []

        async def one():
            await limiter.wait_for_spacing()
            at_s.append(loop.time() - START_S)

        await asyncio.gather(*(one() for _ in range(100)))
        return at_s

    at_s, _ = spaced(per_s, main)
    assert at_s == pytest.approx([number / (per_s or math.inf) for number in range(100)], abs=1e-6)


def test_pause_is_followed_by_no_burst():
    async def main(limiter, loop):
        await limiter.wait_for_spacing()
        await asyncio.sleep(30.0)
        for _ in range(100):
            await limiter.wait_for_spacing()

    assert spaced(100, main)[1] == pytest.approx(30.9, abs=0.02)


def test_cancelled_wait_for_spacing_does_not_delay_the_others():
    async def main(limiter, loop):
        tasks = [asyncio.ensure_future(limiter.wait_for_spacing()) for _ in range(6)]
        await asyncio.sleep(0.5)
        for task in tasks[1:4]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    assert spaced(1, main)[1] == pytest.approx(2.0)
