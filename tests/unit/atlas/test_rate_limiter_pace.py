"""Speed and number of 429s of a client against a bucket as Atlas implements it."""

import asyncio
import random
from itertools import pairwise

import pytest
from atlas.virtual_bucket import KEY, Client, Server, run
from hypothesis import given, settings
from hypothesis import strategies as st

from invite_sweeper.atlas.endpoints import BucketLimit
from invite_sweeper.atlas.limits import RateLimiter
from invite_sweeper.simulator.throttling import BucketSize

PHASES = (0.02, 0.5)
"""The time of the refills within a period, as a share of it."""
BUSY = BucketSize(60, 60, 2.0)
DOCUMENTED = BucketSize(1200, 500)


def limiter_for(loop, advertised):
    limiter = RateLimiter(loop.time, asyncio.sleep)
    if advertised is not None:
        limiter.bucket(*KEY).limit = BucketLimit(*advertised)
        limiter.bucket(*KEY).level = advertised[0]
    return limiter


def send_all(
    count,
    *,
    phase=0.35,
    actual=BUSY,
    advertised=BUSY,
    others=None,
    discovery=False,
    headers=True,
    **client_options,
):
    """Send `count` requests; return (seconds, server, client)."""

    async def main(loop):
        atlas = Server(loop.time, BucketSize(*actual), phase, headers)
        client = Client(loop, limiter_for(loop, advertised), atlas, **client_options)
        other_client = asyncio.ensure_future(others(loop, atlas)) if others else None
        took_s = await client.send_all(count, discovery=discovery)
        if other_client:
            other_client.cancel()
        return took_s, atlas, client

    return run(main)


async def steadily(loop, atlas):
    while True:
        await asyncio.sleep(1 / 8)
        atlas.spend()


async def at_each_refill(loop, atlas):
    next_s = atlas.first_refill_s + 0.001
    while True:
        await asyncio.sleep(next_s - loop.time())
        atlas.spend(30)
        next_s += atlas.size.period_s


SCENARIOS = {
    # The requests; how soon they are sent: how often the minimum that the bucket allows without
    # what other programs take, and seconds beside that; the share of 429s; the tokens that other
    # programs take in each period; options of `send_all`.
    "the documented bucket": (
        *(2500, 1.05, 0.0, 0.0, 0),
        {"actual": DOCUMENTED, "advertised": None},
    ),
    # Of a small bucket the reserve is less than what is sent to see the refill.
    "a small bucket": (301, 1.05, 0.0, 0.01, 0, {}),
    "slower than advertised": (301, 1.1, 0.0, 0.01, 0, {"actual": BucketSize(60, 20, 2.0)}),
    "a size known only from headers": (301, 1.1, 0.0, 0.0, 0, {"advertised": None}),
    "no headers": (301, 1.0, 2.1, 0.05, 0, {"headers": False}),
    "a second client that spends half": (301, 1.15, 0.0, 0.03, 36, {"others": at_each_refill}),
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_takes_little_more_than_the_minimum_with_few_429s(name, phase):
    count, factor, more_s, rejected, others, options = SCENARIOS[name]
    took_s, atlas, client = send_all(count, phase=phase, **options)
    assert atlas.rejected <= rejected * atlas.responses
    assert took_s <= factor * client.bound_s(count, others=others) + more_s


@pytest.mark.parametrize("seed", range(2))
def test_two_sweeps_on_one_bucket_share_it_with_at_most_2_percent_429(seed):
    async def main(loop):
        atlas = Server(loop.time, DOCUMENTED, phase=0.3)
        clients = [
            Client(loop, limiter_for(loop, None), atlas, rng=random.Random(seed + n))
            for n in range(2)
        ]
        took_s = await asyncio.gather(*(client.send_all(1500) for client in clients))
        return took_s, atlas

    took_s, atlas = run(main)
    assert atlas.rejected <= 0.02 * atlas.responses
    assert max(took_s) <= 1.5 * atlas.bound_s(3000)


@pytest.mark.parametrize("headers", [True, False], ids=["headers", "no headers"])
@pytest.mark.parametrize("phase", PHASES)
def test_second_client_that_spends_nearly_all_causes_no_gap_above_10_s(phase, headers):
    took_s, atlas, _ = send_all(
        300,
        phase=phase,
        actual=(60, 25, 3.0),
        advertised=(60, 25, 3.0),
        others=steadily,
        headers=headers,
    )
    gaps_s = [later - earlier for earlier, later in pairwise(atlas.allowed_at)]
    assert max(gaps_s) <= 10.0
    assert atlas.rejected <= (0.07 if headers else 0.12) * atlas.responses
    assert took_s <= 110.0, "240 more tokens are needed; the second client spends 8 a second"


@settings(max_examples=15, deadline=None)
@given(
    actual=st.sampled_from([(1200, 500, 60.0), (500, 250, 60.0), (300, 100, 60.0)]),
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
    worst_s = client.bound_s(count + min(16, capacity // 3) + client.concurrency)
    # The last tokens are spread over one period.
    assert took_s <= 1.05 * worst_s + period_s + 10 * client.latency_s * (1 + client.jitter)
