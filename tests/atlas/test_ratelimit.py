"""The limiter: queues, the ceiling, what it learns and what it forgets."""

import asyncio
import math

import pytest
from bucket_world import START_S, Client, Server, run
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.atlas import rate_limits
from invite_sweeper.atlas.rate_limiter import FORGET_ABOVE, RateLimiter
from invite_sweeper.atlas.rate_limits import (
    PROJECTS_GROUP,
    PROJECTS_USER,
    BucketKey,
    Limit,
    RateLimit,
)

KEY = BucketKey(PROJECTS_GROUP, "a" * 24)
OTHER = BucketKey(PROJECTS_GROUP, "b" * 24)
SMALL = (RateLimit("Projects", "GROUP", Limit(10, 10, 60)),)


class Clock:
    def __init__(self):
        self.now_s = START_S

    def __call__(self):
        return self.now_s


def limiter_at(clock=None, **options):
    options.setdefault("random", lambda: 0.0)
    return RateLimiter(clock or Clock(), asyncio.sleep, **options)


def exchange(limiter, key=KEY, *, limit=None, remaining=None):
    assert limiter.reserve(key) == 0.0
    limiter.learn(key, limit=limit, remaining=remaining)


def usable(limiter, key):
    """How many requests go at once, each answered without a header."""
    sent = 0
    while limiter.reserve(key) == 0.0:
        limiter.learn(key, limit=None, remaining=None)
        sent += 1
    return sent


# --- what it knows ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint_set", "capacity"),
    [
        (rate_limits.PROJECTS_GROUP, 1200),
        (rate_limits.PROJECTS_USER, 1200),
        (rate_limits.ORGANIZATIONS_ORG, 500),
        (rate_limits.ORGANIZATIONS_USER, 300),
        (rate_limits.CLOUD_USERS_GROUP, 1200),
        (rate_limits.CLOUD_USERS_ORG, 500),
        (rate_limits.RATE_LIMITS_USER, 300),
        ("never_heard_of", 300),
    ],
)
def test_untold_a_bucket_holds_what_is_documented(endpoint_set, capacity):
    assert usable(limiter_at(reserve=0.0), BucketKey(endpoint_set, "x")) == capacity


@pytest.mark.parametrize(
    ("name", "scope", "ours"),
    [
        ("Projects", "GROUP", rate_limits.PROJECTS_GROUP),
        ("projects_group", "GROUP", rate_limits.PROJECTS_GROUP),
        ("projects_user", "USER", rate_limits.PROJECTS_USER),
        ("Organizations", "ORGANIZATION", rate_limits.ORGANIZATIONS_ORG),
        ("organizations_organization", "ORGANIZATION", rate_limits.ORGANIZATIONS_ORG),
        ("organizations", "user", rate_limits.ORGANIZATIONS_USER),
        ("MongoDB Cloud Users", "GROUP", rate_limits.CLOUD_USERS_GROUP),
        ("mongoDBCloudUsers_organization", "ORGANIZATION", rate_limits.CLOUD_USERS_ORG),
        ("Rate Limits Inspection", "USER", rate_limits.RATE_LIMITS_USER),
        ("rateLimitsInspection_group", "GROUP", None),
        ("MongoDB Cloud Users", "USER", None),
        ("Clusters", "GROUP", None),
        ("Projects", "IP", None),
        ("", "", None),
    ],
)
def test_the_entries_of_rate_limits_are_matched_by_id_or_name_and_scope(name, scope, ours):
    assert rate_limits.ours(RateLimit(name, scope, Limit(10, 5, 60))) == ours


def test_what_rate_limits_says_holds_for_buckets_in_use_and_for_new_ones():
    limiter = limiter_at(reserve=0.0)
    exchange(limiter)
    limiter.seed([RateLimit("Projects", "GROUP", Limit(20, 10, 60))])
    assert usable(limiter, KEY) == 19
    assert usable(limiter, OTHER) == 20
    assert usable(limiter, BucketKey(PROJECTS_USER, "x")) == 1200


@pytest.mark.parametrize(
    "limit", [Limit(0, 5, 60), Limit(10, 0, 60), Limit(10, 5, 0), Limit(math.nan, 5, 60)]
)
def test_figures_that_nobody_can_wait_by_are_ignored(limit):
    limiter = limiter_at(reserve=0.0)
    limiter.seed([RateLimit("Projects", "GROUP", limit)])
    limiter.learn_refill(KEY, limit.capacity, limit.refill, limit.period_s)
    assert usable(limiter, KEY) == 1200
    assert limiter.blind


def test_it_is_blind_until_a_header_or_rate_limits_tells_something():
    limiter = limiter_at()
    exchange(limiter)
    limiter.throttled(KEY, 1.0)
    assert limiter.blind
    told, heard = limiter_at(), limiter_at()
    told.seed(SMALL)
    exchange(heard, limit=1200, remaining=1199)
    assert not told.blind
    assert not heard.blind


def test_a_bucket_of_a_size_nobody_told_of_is_unfamiliar_until_its_refill_is_learnt():
    limiter = limiter_at()
    assert not limiter.unfamiliar(KEY)
    exchange(limiter, limit=60, remaining=59)
    assert limiter.unfamiliar(KEY)
    limiter.learn_refill(KEY, 60, 60, 2.0)
    assert not limiter.unfamiliar(KEY)
    assert limiter.estimate_s({KEY: 53 + 54 * 10}) == pytest.approx(19.0, abs=1.1)


@pytest.mark.parametrize(
    ("endpoint_set", "share"),
    [(PROJECTS_GROUP, 1), (PROJECTS_USER, 4), (rate_limits.ORGANIZATIONS_ORG, 4)],
)
def test_shards_divide_the_buckets_of_users_and_organizations_and_no_project_s(endpoint_set, share):
    limiter, key = limiter_at(reserve=0.0, shared_by=4), BucketKey(endpoint_set, "x")
    capacity = rate_limits.limit_of(endpoint_set).capacity
    assert usable(limiter, key) == capacity / share
    told = limiter_at(reserve=0.0, shared_by=4)
    exchange(told, key, limit=int(capacity), remaining=100)
    told.expect({key: 1})
    sent = 0
    while told.reserve(key) == 0.0:
        told.expect({key: 1})
        sent += 1
    assert sent == 100 / share


# --- estimate --------------------------------------------------------------------------------


def test_the_estimate_is_that_of_the_slowest_bucket_or_of_the_ceiling():
    limiter = limiter_at(max_requests_per_second=10)
    limiter.seed([RateLimit("Projects", "GROUP", Limit(60, 60, 2))])
    assert limiter.estimate_s({KEY: 50}) == pytest.approx(5.0)
    assert limiter.estimate_s({KEY: 540}) == pytest.approx(54.0)
    slow = limiter_at()
    slow.seed([RateLimit("Projects", "GROUP", Limit(60, 60, 2))])
    assert slow.estimate_s({}) == slow.estimate_s({KEY: 54}) == 0.0
    assert slow.estimate_s({KEY: 540, OTHER: 10}) == pytest.approx(17.0)


def test_the_estimate_counts_the_wait_after_a_429():
    limiter = limiter_at()
    exchange(limiter)
    limiter.throttled(KEY, 30.0)
    assert limiter.estimate_s({KEY: 1}) >= 30.0


def test_asking_for_an_estimate_opens_no_bucket():
    limiter = limiter_at()
    limiter.estimate_s({BucketKey(PROJECTS_GROUP, str(n)): 3 for n in range(100)})
    limiter.expect({BucketKey(PROJECTS_GROUP, str(n)): 3 for n in range(100)})
    assert len(limiter._buckets) == 0


# --- only that bucket ------------------------------------------------------------------------


def test_a_429_holds_up_its_own_bucket_and_no_other():
    limiter = limiter_at()
    exchange(limiter)
    limiter.throttled(KEY, 30.0)
    assert limiter.reserve(KEY) == pytest.approx(30.0)
    assert limiter.reserve(OTHER) == 0.0


def test_20000_projects_that_are_listed_once_leave_a_bounded_number_of_buckets():
    clock = Clock()
    limiter = limiter_at(clock)
    for number in range(20_000):
        exchange(limiter, BucketKey(PROJECTS_GROUP, str(number)), limit=1200, remaining=1199)
        clock.now_s += 0.003
        assert len(limiter._buckets) <= FORGET_ABOVE


def test_a_bucket_that_is_short_waits_or_has_a_request_out_is_not_forgotten():
    clock = Clock()
    limiter = limiter_at(clock)
    short, waits, out = (BucketKey(PROJECTS_GROUP, name) for name in ("short", "waits", "out"))
    exchange(limiter, short, limit=1200, remaining=700)
    exchange(limiter, waits)
    limiter.throttled(waits, 100.0)
    assert limiter.reserve(out) == 0.0
    for number in range(3 * FORGET_ABOVE):
        exchange(limiter, BucketKey(PROJECTS_GROUP, str(number)), limit=1200, remaining=1199)
    assert None not in map(limiter._buckets.get, (short, waits, out))


# --- queues ----------------------------------------------------------------------------------


def queued(main, **options):
    """Run `main(limiter, loop)` on virtual time, with a bucket of 10 that is dry."""

    async def start(loop):
        limiter = RateLimiter(loop.time, asyncio.sleep, reserve=0.0, **options)
        limiter.seed(SMALL)
        usable(limiter, KEY)
        return await main(limiter, loop)

    return run(start)


def test_who_waits_for_a_bucket_is_served_in_the_order_of_coming():
    async def main(limiter, loop):
        served = []

        async def one(number):
            await limiter.acquire(KEY)
            served.append((number, loop.time() - START_S))
            limiter.learn(KEY, limit=None, remaining=None)

        await asyncio.gather(*(one(number) for number in range(25)))
        return served

    served = queued(main)
    assert [number for number, _ in served] == list(range(25))
    assert [at_s for _, at_s in served[:10]] == pytest.approx([60.0] * 10, abs=0.1)
    assert [at_s for _, at_s in served[20:]] == pytest.approx([180.0] * 5, abs=0.1)


@pytest.mark.parametrize("cancelled", [[0], [1], [0, 1], [9], [2, 4, 6, 8]])
def test_who_is_cancelled_while_waiting_takes_no_token_and_holds_up_nobody(cancelled):
    async def main(limiter, loop):
        tasks = [asyncio.ensure_future(limiter.acquire(KEY)) for _ in range(10 + len(cancelled))]
        await asyncio.sleep(1.0)
        for number in cancelled:
            tasks[number].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        return done, loop.time() - START_S, dict(limiter._turns._queues)

    done, took_s, queues = queued(main)
    assert [n for n, what in enumerate(done) if what is not None] == cancelled
    assert took_s == pytest.approx(60.0, abs=0.1)
    assert queues == {}


def test_cancelled_at_the_very_moment_of_its_turn_it_loses_no_token():
    async def main(limiter, loop):
        first = asyncio.ensure_future(limiter.acquire(KEY))
        rest = [asyncio.ensure_future(limiter.acquire(KEY)) for _ in range(10)]
        loop.call_at(START_S + 60.002, first.cancel)
        await asyncio.gather(*rest)
        return first.cancelled(), loop.time() - START_S

    cancelled, took_s = queued(main)
    assert took_s == pytest.approx(60.0 if cancelled else 120.0, abs=0.1)


def test_a_wait_ends_early_when_an_answer_tells_of_tokens():
    async def main(limiter, loop):
        limiter.reserve(OTHER)
        limiter.learn(OTHER, limit=10, remaining=0, sent_s=loop.time())
        waiting = asyncio.ensure_future(limiter.acquire(OTHER))
        await asyncio.sleep(5.0)
        limiter.learn(OTHER, limit=10, remaining=9, sent_s=loop.time())
        await waiting
        return loop.time() - START_S

    assert queued(main) == pytest.approx(5.0, abs=0.1)


def test_a_dry_bucket_holds_up_no_other():
    async def main(limiter, loop):
        waiting = asyncio.ensure_future(limiter.acquire(KEY))
        await asyncio.sleep(0)
        await limiter.acquire(OTHER)
        at_s = loop.time() - START_S
        waiting.cancel()
        return at_s

    assert queued(main) == 0.0


def test_while_it_waits_it_does_not_look_at_the_clock_all_the_time():
    async def main(loop):
        looks = []

        def clock():
            looks.append(loop.time())
            return loop.time()

        limiter = RateLimiter(clock, asyncio.sleep)
        limiter.seed([RateLimit("Projects", "GROUP", Limit(60, 60, 60))])
        server = Server(loop.time, 60, 60, 60.0, anchor_s=START_S + 20)
        await Client(loop, limiter, server, KEY).walk(301)
        return len(looks)

    assert run(main) < 301 * 12


def test_a_sleep_that_fails_is_not_kept_to_itself():
    async def broken(_wait_s):
        raise OSError("no timer")

    async def main(loop):
        limiter = RateLimiter(loop.time, broken)
        limiter.seed(SMALL)
        usable(limiter, KEY)
        with pytest.raises(OSError, match="no timer"):
            await limiter.acquire(KEY)

    run(main)


# --- the ceiling -----------------------------------------------------------------------------


@pytest.mark.parametrize("per_s", [0.5, 3, 50])
def test_under_the_ceiling_requests_are_spaced_evenly(per_s):
    async def main(loop):
        limiter = RateLimiter(loop.time, asyncio.sleep, max_requests_per_second=per_s)
        at_s = []

        async def one():
            await limiter.ceiling()
            at_s.append(loop.time() - START_S)

        await asyncio.gather(*(one() for _ in range(100)))
        return at_s

    at_s = run(main)
    assert at_s == pytest.approx([number / per_s for number in range(100)], abs=1e-6)


def test_a_pause_is_not_made_up_for_by_a_burst():
    async def main(loop):
        limiter = RateLimiter(loop.time, asyncio.sleep, max_requests_per_second=100)
        await limiter.ceiling()
        await asyncio.sleep(30.0)
        began_s = loop.time()
        for _ in range(100):
            await limiter.ceiling()
        return loop.time() - began_s

    assert run(main) == pytest.approx(0.9, abs=0.02)


def test_without_a_ceiling_nobody_waits():
    async def main(loop):
        limiter = RateLimiter(loop.time, asyncio.sleep)
        for _ in range(1000):
            await limiter.ceiling()
        return loop.time() - START_S

    assert run(main) == 0.0


def test_who_is_cancelled_under_the_ceiling_costs_the_others_no_turn():
    async def main(loop):
        limiter = RateLimiter(loop.time, asyncio.sleep, max_requests_per_second=1)
        tasks = [asyncio.ensure_future(limiter.ceiling()) for _ in range(6)]
        await asyncio.sleep(0.5)
        for task in tasks[1:4]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return loop.time() - START_S

    assert run(main) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("share", "usable_now"), [(0.0, 1200), (0.1, 1080), (0.5, 600), (0.9, 120), (0.999, 1)]
)
def test_whatever_share_is_reserved_of_a_documented_bucket_is_left_to_others(share, usable_now):
    limiter = limiter_at(reserve=share)
    limiter.expect({KEY: usable_now})  # or the last ones are spent one by one
    assert usable(limiter, KEY) == usable_now


@pytest.mark.parametrize(
    ("limit", "reserve"),
    [
        (Limit(100, 1, 60), 10.0),
        (Limit(100, 0.9, 60), 9.0),
        (Limit(2000, 1, 60), 10.0),
        (Limit(2000, 100, 60), 200.0),
        (Limit(1, 1, 60), 0.0),
        (Limit(0.5, 1, 60), 0.0),
    ],
)
def test_reserve_is_the_share_but_no_more_than_ten_refills_and_leaves_one(limit, reserve):
    assert limit.reserve(0.1) == pytest.approx(reserve)


# --- what is taken in later ------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["reserve", "reserve", "reserve", "learn", "learn", "throttled", "estimate"]
        ),
        st.sampled_from([KEY, OTHER]),
        st.floats(0.0, 20.0),  # seconds that pass before
        st.one_of(st.none(), st.integers(0, 60)),  # what the header says is left
    ),
    max_size=80,
)


def ask(limiter, clock, what, key, left):
    if what == "reserve":
        return limiter.reserve(key)
    if what == "learn":
        return limiter.learn(key, limit=60, remaining=left, sent_s=clock.now_s - 0.01)
    if what == "throttled":
        return limiter.throttled(key, left)
    return limiter.estimate_s({key: 100}), limiter.unfamiliar(key), limiter.blind


@given(STEPS)
def test_answers_that_are_taken_in_together_tell_the_same_as_each_at_its_time(steps):
    clock = Clock()
    at_once, together = limiter_at(clock), limiter_at(clock)
    for what, key, passed_s, left in steps:
        clock.now_s += passed_s
        told = ask(at_once, clock, what, key, left)
        at_once._take_in()
        assert ask(together, clock, what, key, left) == told


def test_no_more_than_so_many_answers_wait_to_be_taken_in():
    limiter = limiter_at()
    for _ in range(1000):
        limiter.learn(KEY, limit=None, remaining=None)
        assert len(limiter._heard) < 256
