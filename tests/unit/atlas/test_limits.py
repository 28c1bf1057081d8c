"""Token buckets: headers, waits after a 429, that every wait ends; queues; spacing."""

import asyncio
import math
import random
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from builders import ORG, OTHER_ORG, policy_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import run_skipping_idle_time

from invite_sweeper.atlas import endpoints
from invite_sweeper.atlas.deleter import open_limiter
from invite_sweeper.atlas.endpoints import ENDPOINTS, PROJECTS_GROUP, BucketLimit
from invite_sweeper.atlas.limits import MAX_UNCONFIRMED, RateLimiter, TokenBucket
from invite_sweeper.cli.session import begin, connect
from invite_sweeper.policy import Execution
from invite_sweeper.simulator.throttling import BucketSize, SimulatedBucket

LIMIT = BucketLimit(60, 60, 2)
PROJECT = BucketLimit(1200, 500, 60)


def new_bucket(*, reserve=0.1, limit=LIMIT):
    return TokenBucket(limit, reserve, 0.0)


def try_acquire(bucket, now_s):
    wait_s = bucket.wait_s(now_s)
    if wait_s == 0.0:
        bucket.in_flight += 1
    return wait_s


def send(bucket, now_s):
    assert try_acquire(bucket, now_s) == 0.0


def respond(bucket, now_s, remaining=None, *, limit=60):
    bucket.on_response(now_s, limit=limit if remaining is not None else None, remaining=remaining)


def reject(bucket, now_s, retry_after_s=0.0, *, jitter=0.0, limit=None):
    bucket.on_429(now_s, retry_after_s, jitter=jitter, limit=limit)


def spend(bucket, start_s, end_s):
    """Send as many requests as possible, with immediate responses without headers."""
    now_s = start_s
    sent = 0
    while now_s < end_s:
        wait_s = try_acquire(bucket, now_s)
        if wait_s == 0.0:
            respond(bucket, now_s)
            sent += 1
        now_s += wait_s
    return sent


# --- the documented figures ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint_set", "capacity"),
    [(endpoints.PROJECTS_GROUP, 1200), (endpoints.EndpointSet("unknown"), 300)],
)
def test_bucket_has_the_documented_capacity_without_the_reserve(endpoint_set, capacity):
    bucket = RateLimiter(lambda: 0.0, asyncio.sleep).bucket(endpoint_set, "x")
    assert spend(bucket, 0.0, 0.1) == 0.9 * capacity


# --- headers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("reserve", "usable"), [(0.0, 60), (0.1, 54)])
def test_without_headers_the_refill_is_gained_evenly(reserve, usable):
    bucket = new_bucket(reserve=reserve)
    assert spend(bucket, 0.0, 0.03) == usable
    assert spend(bucket, 0.05, 2.05) == pytest.approx(60, abs=2)


def test_at_most_4_requests_are_sent_before_the_first_response_with_a_header():
    bucket = new_bucket(limit=PROJECT)
    send(bucket, 0.0)
    respond(bucket, 0.0)
    for _ in range(MAX_UNCONFIRMED):
        send(bucket, 0.0)
    assert try_acquire(bucket, 0.0) > 0.0
    respond(bucket, 0.1, 1199, limit=1200)
    send(bucket, 0.1)


@pytest.mark.parametrize(
    ("remaining", "level", "is_sent"), [(7, 7, True), (6, 6, False), (10_000, 60, True)]
)
def test_remaining_header_sets_the_level_of_which_the_reserve_is_left(remaining, level, is_sent):
    bucket = new_bucket()
    send(bucket, 0.0)
    respond(bucket, 0.1, remaining)
    assert (bucket.wait_s(0.1) == 0.0, bucket.level) == (is_sent, level)
    bucket.in_flight += 1
    respond(bucket, 0.1)  # a response without a header lowers it by its token
    assert bucket.level == level - 1


@pytest.mark.parametrize(("header", "remaining", "capacity"), [(0, 59, 1200), (60, 59, 60)])
def test_limit_header_replaces_the_capacity_of_which_the_reserve_is_a_share(
    header, remaining, capacity
):
    bucket = new_bucket(limit=PROJECT)
    send(bucket, 0.0)
    respond(bucket, 0.1, remaining, limit=header)
    assert bucket.limit == BucketLimit(capacity, 500, 60)
    assert (bucket.wait_s(0.1) == 0.0) is (capacity == 60)


def test_request_in_flight_may_be_one_of_two_of_which_the_other_is_of_another_program():
    bucket = new_bucket(reserve=0.0)
    send(bucket, 0.0)
    respond(bucket, 0.0, 3)
    send(bucket, 0.0)
    assert bucket.wait_s(0.0, 1) == 0.0
    assert bucket.wait_s(0.0, 2) > 0.0


def test_retry_waits_for_no_request_in_flight_also_where_a_smaller_bucket_has_no_room_for_them():
    bucket = new_bucket(limit=PROJECT)
    for _ in range(MAX_UNCONFIRMED):
        send(bucket, 0.0)
    assert bucket.wait_s(0.0) > 0.0
    assert bucket.wait_s(0.0, is_retry=True) == 0.0
    reject(bucket, 0.0, limit=BucketLimit(5, 5, 1))
    assert bucket.wait_s(0.0, is_retry=True) > 0.0
    assert bucket.in_flight == MAX_UNCONFIRMED - 1  # these may wait for the slot of the retry
    assert bucket.wait_s(60.0, is_retry=True) == 0.0
    assert bucket.wait_s(60.0) > 0.0


def test_two_tokens_are_acquired_together_or_not_at_all():
    limiter = RateLimiter(lambda: 0.3, asyncio.sleep, reserve=0.0)
    bucket = limiter.bucket(*KEY)
    send(bucket, 0.3)
    respond(bucket, 0.3, 1, limit=1200)
    assert limiter.try_acquire(bucket, bucket) > 0.0
    assert not bucket.in_flight
    assert limiter.try_acquire(bucket) == 0.0


def test_bucket_that_is_too_small_for_its_reserve_is_used_when_it_is_full():
    bucket = new_bucket(reserve=0.9, limit=BucketLimit(2, 1, 60))
    assert bucket.wait_s(0.0, 2) == 0.0
    send(bucket, 0.0)
    respond(bucket, 0.0, 1, limit=2)
    assert bucket.wait_s(0.0, 2) == pytest.approx(60.0)


@pytest.mark.parametrize(
    "limit", sorted({each.endpoint_set.limit for each in ENDPOINTS if each.template.count("{}")})
)
def test_requests_before_a_refill_shows_become_fewer_and_use_at_most_half_of_the_reserve(limit):
    bucket = new_bucket(limit=limit)
    level = reserve = int(limit.capacity * 0.1)
    bucket.in_flight += 1
    respond(bucket, 0.0, level, limit=limit.capacity)
    now_s, sent_s = 0.0, [0.0]
    while now_s < limit.period_s:
        wait_s = try_acquire(bucket, now_s)
        now_s += wait_s
        if wait_s == 0.0:
            level -= 1
            sent_s.append(now_s)
            respond(bucket, now_s, level, limit=limit.capacity)
    gaps_s = [round(later - earlier, 2) for earlier, later in pairwise(sent_s)]
    assert gaps_s == sorted(gaps_s)
    assert level >= reserve // 2


# --- after a 429 -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry_after_s", "jitter", "expected_s"),
    [
        *((none_s, 0.0, [1, 10, 20, 40, 40]) for none_s in (-5.0, 0.0)),
        (1.0, 1.0, [1, 12.5, 25, 50, 50]),
        (3.0, 1.0, [3] * 5),
        (121.0, 1.0, [120] * 5),
    ],
)
def test_consecutive_429s_wait_10_20_40_and_40_s_or_a_retry_after_above_1_up_to_120_s(
    retry_after_s, jitter, expected_s
):
    bucket = new_bucket()
    now_s = 0.0
    waits = []
    for _ in range(5):
        send(bucket, now_s)
        reject(bucket, now_s, retry_after_s, jitter=jitter)
        waits.append(bucket.wait_s(now_s))
        now_s += waits[-1]
    assert waits == pytest.approx(expected_s)


def test_answer_after_the_wait_ends_a_row_of_429s_and_one_that_arrives_during_it_does_not():
    bucket = new_bucket()
    for _ in range(3):
        send(bucket, 0.0)
    reject(bucket, 0.1)
    respond(bucket, 0.2, 50)
    reject(bucket, 1.2)
    assert bucket.wait_s(1.2) == pytest.approx(10.0)  # the second one in a row
    send(bucket, 12.0)
    respond(bucket, 12.1, 50)
    send(bucket, 12.1)
    reject(bucket, 12.2)
    assert bucket.wait_s(12.2) == pytest.approx(1.0)  # the first one in a row again


def test_429s_of_requests_in_flight_count_as_one():
    bucket = new_bucket()
    for _ in range(MAX_UNCONFIRMED):
        send(bucket, 0.0)
    for number in range(MAX_UNCONFIRMED):
        reject(bucket, 0.1 + number / 100)
    assert bucket.wait_s(0.1 + number / 100) == pytest.approx(1.0)


# --- properties ------------------------------------------------------------------------------

ANY_COUNT = st.one_of(st.none(), st.integers(0, 2000), st.integers(0, 10**9))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["acquire", "respond", "reject"]),
            st.floats(0.0, 30.0),
            ANY_COUNT,
            ANY_COUNT,
        ),
        max_size=60,
    )
)
def test_any_headers_lead_to_finite_and_positive_waits(steps):
    bucket = new_bucket()
    now_s = 0.0
    for what, elapsed_s, limit, remaining in steps:
        now_s += elapsed_s
        if what == "acquire":
            try_acquire(bucket, now_s)
        elif bucket.in_flight:
            if what == "respond":
                respond(bucket, now_s, remaining, limit=limit)
            else:
                reject(bucket, now_s, limit or 0.0, jitter=0.5)
        assert 0.0 <= bucket.level <= bucket.limit.capacity
    while bucket.in_flight:
        respond(bucket, now_s)
    for _ in range(100):
        wait_s = try_acquire(bucket, now_s)
        if wait_s == 0.0:
            return
        assert wait_s >= 0.0005
        now_s += wait_s
    pytest.fail("no request was ever sent")


# --- queues ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cancelled", [[], [0, 1], [2, 4, 6, 8]])
def test_tasks_are_served_in_order_and_a_cancelled_one_acquires_no_token_and_delays_no_other(
    cancelled,
):
    async def main(loop):
        limiter = RateLimiter(loop.time, asyncio.sleep, reserve=0.0)
        bucket = limiter.bucket(*KEY)
        served = []
        assert limiter.try_acquire(bucket) == 0.0
        reject(bucket, loop.time(), 5.0)

        async def acquire(number):
            await limiter.acquire(bucket)
            served.append(number)
            respond(bucket, loop.time(), 1000 - len(served), limit=1200)

        tasks = [asyncio.ensure_future(acquire(number)) for number in range(10)]
        await asyncio.sleep(1.0)
        for number in cancelled:
            tasks[number].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return served, loop.time() - START_S

    served, took_s = on_virtual_time(main)
    assert served == [number for number in range(10) if number not in cancelled]
    assert took_s == pytest.approx(5.0, abs=0.1)


# --- spacing ---------------------------------------------------------------------------------


def spaced(per_s, main):

    async def start(loop):
        limiter = RateLimiter(loop.time, asyncio.sleep, max_requests_per_second=per_s)
        return await main(limiter, loop), loop.time() - START_S

    return on_virtual_time(start)


@pytest.mark.parametrize("per_s", [None, 0.5, 50])
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


# The limiter of a run, which all its clients share ------------------------------------------------


def test_limiter_leaves_the_reserve_of_the_policy_to_other_programs():
    limiter = open_limiter(Execution(reserve=0.5))
    bucket = limiter.bucket(endpoints.PROJECTS_GROUP, "x")
    waits = []
    for remaining in (601, 600):  # of 1,200
        bucket.in_flight += 1
        bucket.on_response(limiter.clock(), remaining=remaining)
        waits.append(bucket.wait_s(limiter.clock()) > 0)
    assert waits == [False, True]


async def waits(limiter):
    """Return whether a request must wait for its place."""
    place = asyncio.ensure_future(limiter.wait_for_spacing())
    for _ in range(5):
        await asyncio.sleep(0)
    is_done = place.done()
    place.cancel()
    return not is_done


async def test_max_requests_per_second_is_a_ceiling_over_all_organizations(tmp_path):
    organizations = [{"id": ORG, "credentials": "A"}, {"id": OTHER_ORG, "credentials": "B"}]
    keys = {
        "version": 1,
        "organizations": organizations,
        "rules": [{"name": "forgotten", "older_than": "14d"}],
        "execution": {"max_requests_per_second": 0.01},
    }
    path = tmp_path / "policy.yaml"
    path.write_bytes(policy_bytes(keys))
    environment = {f"MONGODB_ATLAS_ACCESS_TOKEN_{name}": f"a-token-of-{name}" for name in "AB"}
    command, session = begin(environment, policy=path)
    async with connect(command, environment, session.log) as (one, other):
        assert one.client is not other.client
        assert not await waits(one.client.limiter)
        assert await waits(other.client.limiter)


# The pace of a client against a bucket as Atlas implements it -------------------------------------


START_S = 1000.0
"""The virtual time at the start."""
KEY = PROJECTS_GROUP, "a" * 24


def on_virtual_time(main):

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


DOCUMENTED = BucketSize(1200, 500)


def send_all(count, size, *, phase, discovery=False, **client_options):
    """Send `count` requests; return (seconds, server, client)."""

    async def main(loop):
        atlas = Server(loop.time, size, phase)
        client = Client(loop, atlas, **client_options)
        return await client.send_all(count, discovery=discovery), atlas, client

    return on_virtual_time(main)


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
