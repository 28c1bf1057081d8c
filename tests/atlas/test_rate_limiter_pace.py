"""A client against a bucket as Atlas keeps it: how fast it is, and how many answers are 429."""

import asyncio
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_bucket import START_S, Client, Server, run

from invite_sweeper.atlas.rate_limiter import RateLimiter
from invite_sweeper.atlas.rate_limits import (
    PROJECTS_GROUP,
    AdvertisedLimit,
    BucketKey,
    BucketLimit,
)

KEY = BucketKey(PROJECTS_GROUP, "5efda682a3f2ed2e7dd6cde4")
PHASES = (0.02, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95)
"""Where in a period the ticks fall, as a share of it."""


def limiter_for(loop, figures, seed=0):
    limiter = RateLimiter(loop.time, asyncio.sleep, random=random.Random(seed).random)
    if figures is not None:
        limiter.apply_advertised([AdvertisedLimit("Projects", "GROUP", BucketLimit(*figures))])
    return limiter


def outcome(
    count,
    *,
    phase=0.35,
    figures=(60, 60, 2.0),
    told=(60, 60, 2.0),
    others=None,
    walk=False,
    server=None,
    **client,
):
    """Send `count` requests; gives (seconds, estimate, server, client)."""

    async def main(loop):
        anchor_s = START_S + phase * figures[2]
        atlas = Server(loop.time, *figures, anchor_s=anchor_s, **(server or {}))
        limiter = limiter_for(loop, told)
        ours = Client(loop, limiter, atlas, KEY, **client)
        estimate_s = limiter.estimate_s({KEY: count})
        theirs = asyncio.ensure_future(others(loop, atlas)) if others else None
        took_s = await (ours.list_all(count) if walk else ours.sweep(count))
        if theirs:
            theirs.cancel()
        return took_s, estimate_s, atlas, ours

    return run(main)


def bound_s(count, atlas, ours, **left):
    """The least time, with the pace of the client and one answer waited for at the end."""
    last_s = ours.latency_s * (1 + ours.jitter / 2)
    return atlas.bound_s(count, pace_per_s=ours.pace_per_s, **left) + last_s


@pytest.mark.parametrize("walk", [False, True])
@pytest.mark.parametrize("phase", PHASES)
def test_the_hot_project_is_done_within_5_percent_of_the_bound_and_without_a_429(phase, walk):
    took_s, _, atlas, ours = outcome(301, phase=phase, walk=walk)
    assert took_s <= 1.05 * bound_s(301, atlas, ours)
    assert atlas.refusals == 0


@pytest.mark.parametrize("phase", PHASES)
def test_the_documented_project_bucket_is_used_within_5_percent_of_the_bound(phase):
    figures = (1200, 500, 60.0)
    took_s, _, atlas, ours = outcome(3000, phase=phase, figures=figures, told=None)
    assert took_s <= 1.05 * bound_s(3000, atlas, ours)
    assert atlas.refusals == 0


@pytest.mark.parametrize("phase", PHASES)
def test_the_reserve_is_left_to_other_programs(phase):
    _, _, atlas, _ = outcome(301, phase=phase)
    assert min(atlas.lows) >= 5  # 10 % of 60; one is spent where a look settles a doubt


@pytest.mark.parametrize("latency_s", [0.002, 0.02, 0.1])
def test_answers_that_overtake_each_other_cost_no_429_and_5_percent_at_most(latency_s):
    figures = (300, 300, 10.0)
    took_s, _, atlas, ours = outcome(
        1501, figures=figures, told=figures, latency_s=latency_s, jitter=3
    )
    assert took_s <= 1.05 * bound_s(1501, atlas, ours) + 4 * latency_s
    assert atlas.refusals == 0


@pytest.mark.parametrize("figures", [(60, 60, 4.0), (60, 20, 2.0), (600, 60, 2.0), (60, 60, 1.0)])
def test_figures_that_are_wrong_are_corrected_by_the_headers_at_a_429_in_100(figures):
    _, _, atlas, _ = outcome(301, told=figures)
    assert atlas.refusals <= 0.01 * atlas.answers
    assert len(atlas.allowed_at) == 301


def test_a_bucket_that_is_slower_than_advertised_is_used_at_its_own_pace():
    took_s, _, atlas, ours = outcome(301, figures=(60, 20, 2.0))
    assert took_s <= 1.1 * bound_s(301, atlas, ours)
    assert atlas.refusals <= 0.01 * atlas.answers


@pytest.mark.parametrize("phase", PHASES)
def test_a_bucket_whose_size_only_the_header_names_is_used_without_a_429(phase):
    took_s, _, atlas, ours = outcome(301, phase=phase, told=None)
    assert atlas.refusals == 0
    assert took_s <= 1.35 * bound_s(301, atlas, ours)  # a refill of 60 s was documented


def test_a_refill_that_drips_is_used_as_it_comes():
    took_s, _, atlas, _ = outcome(400, server={"drip": True})
    assert took_s <= 1.05 * (400 - 54) / 30
    assert atlas.refusals <= 0.01 * atlas.answers


@pytest.mark.parametrize("phase", PHASES)
def test_without_headers_it_counts_for_itself_and_needs_a_period_more_at_most(phase):
    took_s, _, atlas, ours = outcome(301, phase=phase, server={"headers": False})
    assert took_s <= bound_s(301, atlas, ours) + 2.1
    assert atlas.refusals == 0


def test_without_headers_and_figures_backoff_alone_gets_it_done():
    took_s, _, atlas, _ = outcome(
        200, told=None, server={"headers": False}, figures_in_429=False, concurrency=5
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


async def at_each_tick(loop, atlas):
    due_s = atlas.anchor_s + 0.001
    while True:
        await asyncio.sleep(due_s - loop.time())
        atlas.spend(30)
        due_s += atlas.period_s


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("others", [steadily, at_random])
def test_a_second_client_that_spends_half_costs_us_its_half_and_2_percent_429_at_most(
    others, phase
):
    took_s, _, atlas, ours = outcome(301, phase=phase, others=others)
    assert atlas.refusals <= 0.02 * atlas.answers
    assert took_s <= 1.15 * bound_s(301, atlas, ours, others=30)


@pytest.mark.parametrize("phase", PHASES)
def test_a_second_client_that_spends_half_at_each_tick_leaves_us_half_less_the_reserve(phase):
    took_s, _, atlas, ours = outcome(301, phase=phase, others=at_each_tick)
    assert atlas.refusals <= 0.02 * atlas.answers
    assert took_s <= 1.15 * bound_s(301, atlas, ours, others=30 + 6)


@pytest.mark.parametrize("seed", range(4))
def test_two_of_us_on_one_bucket_share_it_and_both_get_done(seed):
    async def main(loop):
        atlas = Server(loop.time, anchor_s=START_S + 0.6)
        both = [
            Client(
                loop, limiter_for(loop, (60, 60, 2.0), n), atlas, KEY, rng=random.Random(seed + n)
            )
            for n in range(2)
        ]
        took_s = await asyncio.gather(*(client.sweep(200) for client in both))
        return took_s, atlas

    took_s, atlas = run(main)
    assert atlas.refusals <= 0.02 * atlas.answers
    assert max(took_s) <= 1.5 * atlas.bound_s(400)


@pytest.mark.parametrize("phase", PHASES)
def test_the_estimate_is_within_10_percent_of_what_it_takes(phase):
    took_s, estimate_s, _, _ = outcome(1000, phase=phase)
    assert estimate_s == pytest.approx(took_s, rel=0.1)


@settings(max_examples=60, deadline=None)
@given(
    figures=st.builds(
        lambda capacity, share, period_s: (capacity, int(capacity * share), period_s),
        st.sampled_from([20, 60, 100, 300, 1200]),
        st.sampled_from([1.0, 0.5, 0.3]),
        st.sampled_from([1.0, 2.0, 5.0, 60.0]),
    ),
    phase=st.floats(0.0, 0.999),
    fills=st.floats(0.1, 4.0),
    client=st.fixed_dictionaries(
        {
            "latency_s": st.sampled_from([0.002, 0.02, 0.05]),
            "jitter": st.sampled_from([0.0, 0.5, 2.0]),
            "concurrency": st.sampled_from([1, 5, 20, 50]),
            "walk": st.booleans(),
        }
    ),
)
def test_alone_it_never_passes_the_bucket_and_is_late_by_what_it_takes_to_learn_the_tick(
    figures, phase, fills, client
):
    capacity, _, period_s = figures
    count = max(1, int(fills * capacity))
    took_s, _, atlas, ours = outcome(count, phase=phase, figures=figures, told=figures, **client)
    assert len(atlas.allowed_at) == count
    assert atlas.refusals <= 0.01 * atlas.answers
    # A full bucket gains nothing by a tick that comes before its last tokens are spent.
    unlucky = bound_s(count + min(16, capacity // 3) + ours.concurrency, atlas, ours)
    # The last tokens of one period are spread over it.
    assert took_s <= 1.05 * unlucky + period_s + 10 * ours.latency_s * (1 + ours.jitter)


def test_others_that_were_taken_for_fast_do_not_starve_a_bucket_that_is_refilled_slowly():
    took_s, _, atlas, _ = outcome(60, phase=0.0, figures=(34, 2, 2.0), told=(10, 2000, 3.0))
    assert len(atlas.allowed_at) == 60
    assert took_s < 120.0


def test_reserve_that_was_spent_is_not_waited_for_when_the_refill_is_far_smaller():
    took_s, _, atlas, _ = outcome(
        60, phase=0.0, figures=(10, 100, 7.0), told=(1999, 1, 60.0), server={"headers": False}
    )
    assert len(atlas.allowed_at) == 60
    assert took_s < 60 * 60 + 120.0, "a token a minute, as one is told, and none for the reserve"


@settings(max_examples=40, deadline=None)
@given(
    told=st.tuples(
        st.integers(1, 2000), st.integers(1, 2000), st.sampled_from([1.0, 3.0, 10.0, 60.0])
    ),
    figures=st.tuples(st.integers(5, 200), st.integers(2, 200), st.sampled_from([1.0, 2.0, 7.0])),
    headers=st.booleans(),
    drip=st.booleans(),
    tell=st.booleans(),
    phase=st.floats(0.0, 0.999),
)
def test_every_request_is_sent_with_any_advertised_and_any_real_figures(
    told, figures, headers, drip, tell, phase
):
    took_s, _, atlas, ours = outcome(
        60,
        figures=figures,
        told=told,
        phase=phase,
        figures_in_429=tell,
        server={"headers": headers, "drip": drip},
    )
    assert len(atlas.allowed_at) == 60
    slower_s = 60 / min(*told[:2], *figures[:2]) * max(told[2], figures[2])
    assert took_s <= 600 + 3 * slower_s
    assert ours.limiter.estimate_s({KEY: 1}) < 240.0


async def eight_a_second(loop, atlas):
    while True:
        await asyncio.sleep(1 / 8)
        atlas.spend()


@pytest.mark.parametrize("headers", [True, False], ids=["headers", "no headers"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_second_client_that_takes_nearly_all_never_silences_it_for_10_seconds(phase, headers):
    figures = (60, 25, 3.0)
    took_s, _, atlas, _ = outcome(
        300,
        phase=phase,
        figures=figures,
        told=figures,
        others=eight_a_second,
        server={"headers": headers},
    )
    gaps_s = [later - earlier for earlier, later in pairwise(atlas.allowed_at)]
    assert max(gaps_s) <= 10.0
    assert atlas.refusals <= (0.02 if headers else 0.06) * atlas.answers
    assert took_s <= 90.0, "240 tokens more, of which a second client takes 8 a second at most"
