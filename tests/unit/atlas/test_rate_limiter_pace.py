"""Speed and number of 429s of a client against a bucket as Atlas implements it."""

import asyncio
import random
from itertools import pairwise

import pytest
from atlas.virtual_bucket import Client, Server, run
from hypothesis import given, settings
from hypothesis import strategies as st

from invite_sweeper.simulator.throttling import BucketSize

DOCUMENTED = BucketSize(1200, 500)


def send_all(count, size, *, phase, others=None, discovery=False, headers=True, **client_options):
    """Send `count` requests; return (seconds, server, client)."""

    async def main(loop):
        atlas = Server(loop.time, size, phase, headers)
        client = Client(loop, atlas, **client_options)
        other_client = asyncio.ensure_future(others(loop, atlas)) if others else None
        took_s = await client.send_all(count, discovery=discovery)
        if other_client:
            other_client.cancel()
        return took_s, atlas, client

    return run(main)


@pytest.mark.parametrize("phase", [0.02, 0.5])
def test_documented_bucket_is_used_as_fast_as_it_refills_without_a_429(phase):
    took_s, atlas, client = send_all(2500, DOCUMENTED, phase=phase)
    assert atlas.rejected == 0
    assert took_s <= 1.05 * client.bound_s(2500)


@pytest.mark.parametrize("seed", range(2))
def test_two_sweeps_on_one_bucket_share_it_with_at_most_2_percent_429(seed):
    async def main(loop):
        atlas = Server(loop.time, DOCUMENTED, phase=0.3)
        clients = [Client(loop, atlas, rng=random.Random(seed + n)) for n in range(2)]
        took_s = await asyncio.gather(*(client.send_all(1500) for client in clients))
        return took_s, atlas

    took_s, atlas = run(main)
    assert atlas.rejected <= 0.02 * atlas.responses
    assert max(took_s) <= 1.5 * atlas.bound_s(3000)


async def spend_8_a_second(loop, atlas):
    while True:
        await asyncio.sleep(1 / 8)
        atlas.bucket.take(loop.time())


@pytest.mark.parametrize(("headers", "rejected"), [(True, 0.07), (False, 0.12)])
@pytest.mark.parametrize("phase", [0.02, 0.5])
def test_second_client_that_spends_nearly_all_causes_no_gap_above_10_s(phase, headers, rejected):
    size = BucketSize(60, 25, 3.0)
    took_s, atlas, _ = send_all(300, size, phase=phase, others=spend_8_a_second, headers=headers)
    gaps_s = [later - earlier for earlier, later in pairwise(atlas.allowed_at)]
    assert max(gaps_s) <= 10.0
    assert atlas.rejected <= rejected * atlas.responses
    assert took_s <= 110.0, "240 more tokens are needed; the second client spends 8 a second"


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
    assert len(atlas.allowed_at) == count
    assert atlas.rejected <= 0.01 * atlas.responses
    # A refill before the last tokens are spent is lost.
    worst_s = client.bound_s(count + min(16, size.capacity // 3) + client.concurrency)
    # The last tokens are spread over one period.
    assert took_s <= 1.05 * worst_s + size.period_s + 10 * client.latency_s * (1 + client.jitter)
