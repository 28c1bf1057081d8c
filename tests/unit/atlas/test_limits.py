"""Token buckets: headers, waits after a 429, that every wait ends; queues; spacing."""

import asyncio
import math
from itertools import pairwise

import pytest
from atlas.virtual_bucket import KEY, START_S, run
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.atlas import endpoints
from invite_sweeper.atlas.endpoints import BucketLimit
from invite_sweeper.atlas.limits import MAX_RETRY_DELAY_S, MAX_UNCONFIRMED, RateLimiter, TokenBucket

LIMIT = BucketLimit(60, 60, 2)
PROJECT = BucketLimit(1200, 500, 60)


def new_bucket(*, reserve=0.1, limit=LIMIT):
    return TokenBucket(limit, reserve, 0.0)


def try_acquire(bucket, now_s, count=1):
    wait_s = bucket.wait_s(now_s, count)
    if wait_s == 0.0:
        for _ in range(count):
            bucket.acquire(now_s)
    return wait_s


def send(bucket, now_s):
    assert try_acquire(bucket, now_s) == 0.0
    return now_s


def respond(bucket, now_s, remaining, *, limit=60, sent_s=None):
    sent_s = now_s if sent_s is None else sent_s
    bucket.on_response(now_s, sent_s, limit=limit, remaining=remaining)


def reject(bucket, now_s, retry_after_s=0.0, *, sent_s=None, jitter=0.0, limit=None):
    sent_s = now_s if sent_s is None else sent_s
    bucket.on_429(now_s, sent_s, retry_after_s, jitter=jitter, limit=limit)


def spend(bucket, start_s, end_s):
    """Send as many requests as possible, with immediate responses without headers."""
    now_s = start_s
    sent = 0
    while now_s < end_s:
        wait_s = try_acquire(bucket, now_s)
        if wait_s == 0.0:
            respond(bucket, now_s, None, limit=None)
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
    assert bucket.level == capacity
    assert spend(bucket, 0.0, 59.0) == 0.9 * capacity


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


# --- headers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("reserve", "usable"), [(0.0, 60), (0.1, 54), (0.5, 30), (0.9, 6)])
def test_without_headers_a_refill_is_assumed_one_period_after_the_first_response(reserve, usable):
    bucket = new_bucket(reserve=reserve)
    assert spend(bucket, 0.0, 1.999) == usable
    assert spend(bucket, 1.999, 3.99) == usable


def test_at_most_8_requests_are_sent_before_the_first_response_with_a_header():
    bucket = new_bucket(limit=PROJECT)
    send(bucket, 0.0)
    respond(bucket, 0.0, None, limit=None)
    for _ in range(MAX_UNCONFIRMED):
        send(bucket, 0.0)
    assert try_acquire(bucket, 0.0) > 0.0
    respond(bucket, 0.1, 1199, limit=1200, sent_s=0.0)
    send(bucket, 0.1)


@pytest.mark.parametrize(("remaining", "is_sent"), [(7, True), (3, False), (0, False), (-3, False)])
def test_remaining_header_has_precedence_over_the_local_count(remaining, is_sent):
    bucket = new_bucket()
    send(bucket, 0.0)
    respond(bucket, 0.1, remaining, sent_s=0.0)
    assert (spend(bucket, 0.1, 0.9) > 0) == is_sent


LEVELS = {
    "above the limit": ([(0.1, 10_000, 0.0)], 60),
    "a late response": ([(1.0, 10, 0.9), (60.0, 55, 0.1)], 10),
    "responses out of order": ([(0.10, 57, 0.02), (0.11, 59, 0.00), (0.12, 58, 0.01)], 57),
    "a higher level in the response to a later request": ([(0.1, 10, 0.0), (0.5, 59, 0.4)], 59),
    "no headers": ([(0.05, 50, 0.0), (0.15, None, 0.1), (0.25, None, 0.2)], 48),
}
"""Responses: when they arrive, their `RateLimit-Remaining`, when they were sent; the level."""


@pytest.mark.parametrize("name", LEVELS)
def test_level_is_that_of_the_latest_request_and_rises_only_by_a_refill(name):
    responses, level = LEVELS[name]
    bucket = new_bucket()
    for now_s, remaining, sent_s in responses:
        respond(bucket, now_s, remaining, sent_s=sent_s)
    assert bucket.level == level


@pytest.mark.parametrize(
    ("known", "header", "remaining", "limit"),
    [
        (LIMIT, 0, 59, LIMIT),
        (LIMIT, 10**9, None, LIMIT),
        (PROJECT, 60, 59, BucketLimit(60, 60, 60)),
        (PROJECT, 2400, 2399, BucketLimit(2400, 1000, 60)),  # raised in proportion
    ],
)
def test_limit_header_replaces_the_capacity_and_a_429_that_names_the_limit_all(
    known, header, remaining, limit
):
    bucket = new_bucket(limit=known)
    send(bucket, 0.0)
    respond(bucket, 0.1, remaining, limit=header, sent_s=0.0)
    assert bucket.limit == limit
    for named in (BucketLimit(60, 30, 2), None):
        reject(bucket, 0.2, limit=named)
    assert bucket.limit == BucketLimit(60, 30, 2)


def test_token_without_a_response_counts_as_spent_after_120_s():
    bucket = new_bucket(limit=BucketLimit(60, 60, 1000))
    send(bucket, 0.0)
    bucket.wait_s(119.0)
    assert len(bucket.in_flight) == 1
    bucket.wait_s(121.0)
    assert (len(bucket.in_flight), bucket.level) == (0, 59)


def test_two_tokens_are_acquired_together_or_not_at_all():
    bucket = new_bucket(reserve=0.0)
    send(bucket, 0.0)
    respond(bucket, 0.0, 1)
    assert bucket.wait_s(0.3, 1) == 0.0
    assert bucket.wait_s(0.3, 2) > 0.0


def test_bucket_that_a_deletion_needs_twice_has_both_tokens_or_neither_is_acquired():
    limiter = RateLimiter(lambda: 0.3, asyncio.sleep, reserve=0.0)
    bucket = limiter.bucket(*KEY)
    send(bucket, 0.0)
    respond(bucket, 0.0, 1, limit=1200)
    assert limiter.try_acquire(bucket, bucket) > 0.0
    assert not bucket.in_flight
    assert limiter.try_acquire(bucket) == 0.0


def test_at_most_half_the_reserve_is_used_to_check_for_a_refill_at_growing_intervals():
    bucket = new_bucket(limit=BucketLimit(1200, 500, 600))
    respond(bucket, 0.0, 120, limit=1200)
    level = 120
    now_s = 0.0
    asked_s = []
    while now_s < 500.0:
        wait_s = try_acquire(bucket, now_s)
        if wait_s == 0.0:
            asked_s.append(now_s)
            level -= 1
            respond(bucket, now_s, level, limit=1200)
        now_s += max(wait_s, 0.001)
    gaps_s = [round(later - earlier, 2) for earlier, later in pairwise(asked_s)]
    assert (len(gaps_s), level) == (59, 60)
    assert gaps_s == sorted(gaps_s)
    assert gaps_s[-1] == pytest.approx(9, abs=0.1)


# --- after a 429 -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry_after_s", "wait_s"), [(-5.0, 1.0), (0.0, 1.0), (7.0, 7.0), (121.0, 120.0)]
)
def test_retry_after_is_clamped_to_1_to_120_s(retry_after_s, wait_s):
    bucket = new_bucket()
    send(bucket, 0.0)
    reject(bucket, 0.1, retry_after_s)
    assert bucket.wait_s(0.1) == pytest.approx(wait_s)
    assert bucket.retry_wait_s(0.1, 0.1) == pytest.approx(wait_s)


@pytest.mark.parametrize("jitter", [0.0, 0.999])
@pytest.mark.parametrize("retry_after_s", [0.0, 1.0, 3.0])
def test_consecutive_429s_wait_10_20_40_and_40_s_or_a_retry_after_above_1_s(jitter, retry_after_s):
    bucket = new_bucket()
    now_s = send(bucket, 0.0)
    waits = []
    for _ in range(5):
        reject(bucket, now_s, retry_after_s, jitter=jitter)
        waits.append(bucket.wait_s(now_s))
        now_s = send(bucket, now_s + waits[-1])
    more = 1 + jitter / 4
    steps = [1.0, 10 * more, 20 * more, 40 * more, 40 * more]
    assert waits == pytest.approx([3.0] * 5 if retry_after_s == 3.0 else steps)


@pytest.mark.parametrize("has_header", [True, False])
def test_after_the_wait_one_request_is_sent_first_and_the_rest_after_its_success(has_header):
    """A connection reset, a 502 or a 503 has no `RateLimit` header."""
    bucket = new_bucket()
    send(bucket, 0.0)
    reject(bucket, 0.1)
    send(bucket, 1.1)
    assert 0.0 < bucket.wait_s(1.2) <= 1.0
    respond(bucket, 1.3, 50 if has_header else None, sent_s=1.1)
    assert bucket.retry_wait_s(1.3, 0.0) == 0.0
    send(bucket, 3.3)
    reject(bucket, 3.4)
    assert bucket.wait_s(3.4) == pytest.approx(1.0)  # the first one in a row again


def test_answer_without_a_header_does_not_end_a_row_of_429s_where_atlas_sends_headers():
    """It may be from a proxy, which knows nothing of the bucket."""
    bucket = new_bucket()
    send(bucket, 0.0)
    respond(bucket, 0.1, 50)
    send(bucket, 0.2)
    reject(bucket, 0.3)
    send(bucket, 1.3)
    respond(bucket, 1.4, None, limit=None)
    send(bucket, 1.5)
    reject(bucket, 1.6)
    assert bucket.wait_s(1.6) == pytest.approx(10.0)  # the second one in a row


def test_429s_of_requests_in_flight_count_as_one_that_an_earlier_request_does_not_end():
    bucket = new_bucket()
    for _ in range(6):
        send(bucket, 0.0)
    for number in range(5):
        reject(bucket, 0.1 + number / 100, sent_s=0.0)
    respond(bucket, 0.14, 50, sent_s=0.0)
    assert bucket.wait_s(0.14) == pytest.approx(1.0)


def test_first_request_without_a_response_delays_the_bucket_by_at_most_5_s():
    bucket = new_bucket()
    send(bucket, 0.0)
    reject(bucket, 0.1)
    send(bucket, 1.1)
    assert bucket.wait_s(6.0) > 0.0
    send(bucket, 6.2)


# --- properties ------------------------------------------------------------------------------

ANY_COUNT = st.one_of(st.none(), st.integers(-10, 2000), st.integers(-(10**18), 10**18))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["acquire", "respond", "reject"]),
            st.floats(0.0, 30.0),
            ANY_COUNT,
            ANY_COUNT,
            st.one_of(st.none(), st.floats(0.0, 100.0)),
        ),
        max_size=60,
    )
)
def test_any_headers_lead_to_finite_and_positive_waits_and_a_retry_waits_1_s_longer_at_most(steps):
    """A caller that retries may hold other tokens, so that a longer wait could be a deadlock."""
    bucket = new_bucket()
    now_s = 0.0
    for what, elapsed_s, limit, remaining, ago_s in steps:
        now_s += elapsed_s
        sent_s = None if ago_s is None else now_s - ago_s
        if what == "acquire":
            assert 0.0 <= try_acquire(bucket, now_s) <= 120.001
        elif what == "respond":
            respond(bucket, now_s, remaining, limit=limit, sent_s=sent_s)
        else:
            reject(bucket, now_s, limit or 0.0, jitter=0.5, sent_s=sent_s)
        assert 0.0 <= bucket.level <= bucket.limit.capacity
        for since_s in (now_s - 5.0, now_s - 0.5, now_s):
            until_s = max(since_s, bucket.blocked_until_s) + MAX_RETRY_DELAY_S
            assert 0.0 <= bucket.retry_wait_s(now_s, since_s) <= max(0.0, until_s - now_s)
    for _ in range(20_000):
        wait_s = try_acquire(bucket, now_s)
        if wait_s == 0.0:
            return
        assert wait_s >= 0.0005
        now_s += wait_s
    pytest.fail("no request was ever sent")


# --- queues ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cancelled", [[], [0], [1], [0, 1], [9], [2, 4, 6, 8]])
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

    served, took_s = run(main)
    assert served == [number for number in range(10) if number not in cancelled]
    assert took_s == pytest.approx(5.0, abs=0.1)


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
