"""Speed and number of 429s of a client against a bucket as Atlas implements it."""

import asyncio
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_bucket import START_S, Client, Server, run

from invite_sweeper.atlas.limiter import RateLimiter
from invite_sweeper.atlas.limits import PROJECTS_GROUP, BucketKey, BucketLimit

KEY = BucketKey(PROJECTS_GROUP, "5efda682a3f2ed2e7dd6cde4")
PHASES = (0.02, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95)
"""The time of the refills within a period, as a share of it."""


def limiter_for(loop, advertised, seed=0):
    limiter = RateLimiter(loop.time, asyncio.sleep, random=random.Random(seed).random)
    if advertised is not None:
        limiter.set_limit(KEY, BucketLimit(*advertised))
    return limiter


def send_all(
    count,
    *,
    phase=0.35,
    actual=(60, 60, 2.0),
    advertised=(60, 60, 2.0),
    others=None,
    discovery=False,
    server=None,
    **client_options,
):
    """Send `count` requests; return (seconds, server, client)."""

    async def main(loop):
        anchor_s = START_S + phase * actual[2]
        atlas = Server(loop.time, *actual, anchor_s=anchor_s, **(server or {}))
        limiter = limiter_for(loop, advertised)
        client = Client(loop, limiter, atlas, KEY, **client_options)
        other_client = asyncio.ensure_future(others(loop, atlas)) if others else None
        took_s = await (client.list_all(count) if discovery else client.sweep(count))
        if other_client:
            other_client.cancel()
        return took_s, atlas, client

    return run(main)


def bound_s(count, atlas, client, **others):
    """Return the minimum seconds at the pace of the client, with the last response."""
    last_s = client.latency_s * (1 + client.jitter / 2)
    return atlas.bound_s(count, pace_per_s=client.pace_per_s, **others) + last_s


@pytest.mark.parametrize("discovery", [False, True])
@pytest.mark.parametrize("phase", PHASES)
def test_busy_project_takes_at_most_5_percent_above_the_minimum_without_a_429(phase, discovery):
    took_s, atlas, client = send_all(301, phase=phase, discovery=discovery)
    assert took_s <= 1.05 * bound_s(301, atlas, client)
    assert atlas.rejected == 0


@pytest.mark.parametrize("phase", PHASES)
def test_documented_project_bucket_takes_at_most_5_percent_above_the_minimum(phase):
    actual = (1200, 500, 60.0)
    took_s, atlas, client = send_all(3000, phase=phase, actual=actual, advertised=None)
    assert took_s <= 1.05 * bound_s(3000, atlas, client)
    assert atlas.rejected == 0


@pytest.mark.parametrize("phase", PHASES)
def test_reserve_is_left_to_other_programs(phase):
    _, atlas, _ = send_all(301, phase=phase)
    assert min(atlas.lows) >= 5  # 10 % of 60, less one request that may check for a refill


@pytest.mark.parametrize("latency_s", [0.002, 0.02, 0.1])
def test_responses_out_of_order_cause_no_429_and_at_most_5_percent_more_time(latency_s):
    actual = (300, 300, 10.0)
    took_s, atlas, client = send_all(
        1501, actual=actual, advertised=actual, latency_s=latency_s, jitter=3
    )
    assert took_s <= 1.05 * bound_s(1501, atlas, client) + 4 * latency_s
    assert atlas.rejected == 0


@pytest.mark.parametrize("actual", [(60, 60, 4.0), (60, 20, 2.0), (600, 60, 2.0), (60, 60, 1.0)])
def test_wrong_advertised_limit_causes_at_most_one_429_in_100(actual):
    _, atlas, _ = send_all(301, advertised=actual)
    assert atlas.rejected <= 0.01 * atlas.responses
    assert len(atlas.allowed_at) == 301


def test_bucket_slower_than_advertised_takes_at_most_10_percent_above_the_minimum():
    took_s, atlas, client = send_all(301, actual=(60, 20, 2.0))
    assert took_s <= 1.1 * bound_s(301, atlas, client)
    assert atlas.rejected <= 0.01 * atlas.responses


@pytest.mark.parametrize("phase", PHASES)
def test_bucket_of_a_size_known_only_from_headers_causes_no_429(phase):
    took_s, atlas, client = send_all(301, phase=phase, advertised=None)
    assert atlas.rejected == 0
    assert took_s <= 1.35 * bound_s(301, atlas, client)  # the documented period is 60 s


def test_continuous_refill_takes_at_most_5_percent_above_the_minimum():
    took_s, atlas, _ = send_all(400, server={"continuous": True})
    assert took_s <= 1.05 * (400 - 54) / 30
    assert atlas.rejected <= 0.01 * atlas.responses


@pytest.mark.parametrize("phase", PHASES)
def test_without_headers_it_takes_at_most_one_period_more_and_causes_no_429(phase):
    took_s, atlas, client = send_all(301, phase=phase, server={"headers": False})
    assert took_s <= bound_s(301, atlas, client) + 2.1
    assert atlas.rejected == 0


def test_without_headers_or_a_known_limit_all_requests_succeed_by_backoff():
    took_s, atlas, _ = send_all(
        200, advertised=None, server={"headers": False}, limit_in_429=False, concurrency=5
    )
    assert len(atlas.allowed_at) == 200
    assert took_s < 60.0


async def steadily(loop, atlas):
    while True:
        await asyncio.sleep(1 / 15)
        atlas.spend()


async def at_random(loop, atlas):
    rng = random.Random(7)
    while True:
        await asyncio.sleep(rng.expovariate(15))
        atlas.spend()


async def at_each_refill(loop, atlas):
    next_s = atlas.anchor_s + 0.001
    while True:
        await asyncio.sleep(next_s - loop.time())
        atlas.spend(30)
        next_s += atlas.period_s


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("others", [steadily, at_random])
def test_second_client_that_spends_half_causes_at_most_2_percent_429(others, phase):
    took_s, atlas, client = send_all(301, phase=phase, others=others)
    assert atlas.rejected <= 0.02 * atlas.responses
    assert took_s <= 1.15 * bound_s(301, atlas, client, others=30)


@pytest.mark.parametrize("phase", PHASES)
def test_second_client_that_spends_half_at_each_refill_causes_at_most_2_percent_429(phase):
    took_s, atlas, client = send_all(301, phase=phase, others=at_each_refill)
    assert atlas.rejected <= 0.02 * atlas.responses
    assert took_s <= 1.15 * bound_s(301, atlas, client, others=30 + 6)


@pytest.mark.parametrize("seed", range(4))
def test_two_sweeps_on_one_bucket_share_it_with_at_most_2_percent_429(seed):
    async def main(loop):
        atlas = Server(loop.time, anchor_s=START_S + 0.6)
        clients = [
            Client(
                loop, limiter_for(loop, (60, 60, 2.0), n), atlas, KEY, rng=random.Random(seed + n)
            )
            for n in range(2)
        ]
        took_s = await asyncio.gather(*(client.sweep(200) for client in clients))
        return took_s, atlas

    took_s, atlas = run(main)
    assert atlas.rejected <= 0.02 * atlas.responses
    assert max(took_s) <= 1.5 * atlas.bound_s(400)


@settings(max_examples=60, deadline=None)
@given(
    actual=st.builds(
        lambda capacity, share, period_s: (capacity, int(capacity * share), period_s),
        st.sampled_from([20, 60, 100, 300, 1200]),
        st.sampled_from([1.0, 0.5, 0.3]),
        st.sampled_from([1.0, 2.0, 5.0, 60.0]),
    ),
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
    actual, phase, fills, client_options
):
    capacity, _, period_s = actual
    count = max(1, int(fills * capacity))
    took_s, atlas, client = send_all(
        count, phase=phase, actual=actual, advertised=actual, **client_options
    )
    assert len(atlas.allowed_at) == count
    assert atlas.rejected <= 0.01 * atlas.responses
    # A refill before the last tokens are spent is lost.
    worst_s = bound_s(count + min(16, capacity // 3) + client.concurrency, atlas, client)
    # The last tokens are spread over one period.
    assert took_s <= 1.05 * worst_s + period_s + 10 * client.latency_s * (1 + client.jitter)


def test_slowly_refilled_bucket_with_a_far_faster_advertised_limit_is_still_used():
    took_s, atlas, _ = send_all(60, phase=0.0, actual=(34, 2, 2.0), advertised=(10, 2000, 3.0))
    assert len(atlas.allowed_at) == 60
    assert took_s < 120.0


def test_spent_reserve_is_not_waited_for_if_the_advertised_refill_is_far_smaller():
    took_s, atlas, _ = send_all(
        60, phase=0.0, actual=(10, 100, 7.0), advertised=(1999, 1, 60.0), server={"headers": False}
    )
    assert len(atlas.allowed_at) == 60
    assert took_s < 60 * 60 + 120.0, "one token a minute, as advertised, and none for the reserve"


@settings(max_examples=40, deadline=None)
@given(
    advertised=st.tuples(
        st.integers(1, 2000), st.integers(1, 2000), st.sampled_from([1.0, 3.0, 10.0, 60.0])
    ),
    actual=st.tuples(st.integers(5, 200), st.integers(2, 200), st.sampled_from([1.0, 2.0, 7.0])),
    headers=st.booleans(),
    continuous=st.booleans(),
    in_429=st.booleans(),
    phase=st.floats(0.0, 0.999),
)
def test_every_request_is_sent_with_any_advertised_and_any_actual_limit(
    advertised, actual, headers, continuous, in_429, phase
):
    took_s, atlas, _ = send_all(
        60,
        actual=actual,
        advertised=advertised,
        phase=phase,
        limit_in_429=in_429,
        server={"headers": headers, "continuous": continuous},
    )
    assert len(atlas.allowed_at) == 60
    slowest_s = 60 / min(*advertised[:2], *actual[:2]) * max(advertised[2], actual[2])
    assert took_s <= 600 + 3 * slowest_s


async def eight_a_second(loop, atlas):
    while True:
        await asyncio.sleep(1 / 8)
        atlas.spend()


@pytest.mark.parametrize("headers", [True, False], ids=["headers", "no headers"])
@pytest.mark.parametrize("phase", PHASES)
def test_second_client_that_spends_nearly_all_causes_no_gap_above_10_s(phase, headers):
    actual = (60, 25, 3.0)
    took_s, atlas, _ = send_all(
        300,
        phase=phase,
        actual=actual,
        advertised=actual,
        others=eight_a_second,
        server={"headers": headers},
    )
    gaps_s = [later - earlier for earlier, later in pairwise(atlas.allowed_at)]
    assert max(gaps_s) <= 10.0
    assert atlas.rejected <= (0.02 if headers else 0.06) * atlas.responses
    assert took_s <= 90.0, "240 more tokens are needed; the second client spends at most 8 a second"
