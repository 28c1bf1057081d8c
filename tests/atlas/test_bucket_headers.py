"""What a bucket believes of what the headers say, and of what they leave out."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.atlas.rate_limits import Limit
from invite_sweeper.atlas.token_bucket import Bucket, Level

LIMIT = Limit(60, 60, 2)


def bucket_at(now_s=0.0, *, reserve=0.1, limit=LIMIT):
    return Bucket(limit, reserve, now_s)


def answer(bucket, now_s, remaining, *, limit=60, sent_s=None):
    bucket.answered(now_s, limit=limit, remaining=remaining, sent_s=sent_s)


def drained(bucket, now_s):
    """Take what there is, each request answered at once without a header."""
    sent = 0
    while bucket.try_take(now_s) == 0.0:
        answer(bucket, now_s, None, limit=None, sent_s=now_s)
        sent += 1
    return sent


@pytest.mark.parametrize(("reserve", "usable"), [(0.0, 60), (0.1, 54), (0.5, 30), (1.0, 1)])
def test_without_any_header_a_full_bucket_gives_its_capacity_less_the_reserve(reserve, usable):
    assert drained(bucket_at(reserve=reserve), 0.0) == usable


def test_without_any_header_a_period_after_the_first_answer_brings_a_refill():
    bucket = bucket_at()
    assert drained(bucket, 0.0) == 54
    assert drained(bucket, 1.999) == 0
    assert drained(bucket, 2.01) == 54
    assert drained(bucket, 2.02) == 0


def test_before_the_first_answer_10_go_out_and_no_more():
    bucket = bucket_at()
    for _ in range(10):
        assert bucket.try_take(0.0) == 0.0
    assert bucket.try_take(0.0) > 0.0
    answer(bucket, 0.1, 59, sent_s=0.0)
    assert bucket.try_take(0.1) == 0.0


@pytest.mark.parametrize(("remaining", "goes"), [(7, True), (6, False), (0, False), (-3, False)])
def test_a_remaining_header_is_believed_over_our_own_count(remaining, goes):
    bucket = bucket_at()
    assert bucket.try_take(0.0) == 0.0
    answer(bucket, 0.1, remaining, sent_s=0.0)
    bucket.expect(1)
    assert (bucket.try_take(0.2) == 0.0) == goes


def test_a_remaining_above_the_limit_is_taken_for_the_limit():
    level = Level(LIMIT, 0.0)
    level.hear(0.1, 10_000, 0.0)
    assert level.left == 60


@pytest.mark.parametrize("limit", [0, -1, math.nan, math.inf])
def test_a_limit_that_is_none_is_ignored(limit):
    bucket = bucket_at()
    assert bucket.try_take(0.0) == 0.0
    answer(bucket, 0.1, 59, limit=limit, sent_s=0.0)
    assert bucket.level.limit == LIMIT
    assert not bucket.unfamiliar


def test_a_limit_other_than_known_wins_and_makes_the_refill_a_guess_until_it_is_told():
    bucket = bucket_at(limit=Limit(1200, 500, 60))
    assert bucket.try_take(0.0) == 0.0
    answer(bucket, 0.1, 59, limit=60, sent_s=0.0)
    assert bucket.level.limit == Limit(60, 60, 60)
    assert bucket.unfamiliar
    bucket.relearn(Limit(60, 30, 2), 0.2)
    assert bucket.level.limit == Limit(60, 30, 2)
    assert not bucket.unfamiliar
    assert bucket.level.left == 59


def test_a_raised_limit_is_taken_to_have_its_refill_raised_as_well():
    bucket = bucket_at(limit=Limit(1200, 500, 60))
    assert bucket.try_take(0.0) == 0.0
    answer(bucket, 0.1, 2399, limit=2400, sent_s=0.0)
    assert bucket.level.limit == Limit(2400, 1000, 60)


def test_a_limit_without_a_remaining_says_nothing():
    bucket = bucket_at()
    assert bucket.try_take(0.0) == 0.0
    answer(bucket, 0.1, None, limit=10**9, sent_s=0.0)
    assert bucket.level.limit == LIMIT


def test_an_answer_that_comes_late_does_not_raise_the_level():
    level = Level(LIMIT, 0.0)
    level.hear(1.0, 10, 0.9)
    level.hear(60.0, 55, 0.1)
    assert level.left == 10


def test_an_answer_that_was_overtaken_does_not_raise_the_level():
    level = Level(LIMIT, 0.0)
    level.hear(0.10, 57, 0.02)
    level.hear(0.11, 59, 0.00)
    level.hear(0.12, 58, 0.01)
    assert level.left == 57


def test_a_jump_in_an_answer_to_a_request_sent_after_the_last_answer_is_a_tick():
    level = Level(LIMIT, 0.0)
    level.hear(0.1, 10, 0.0)
    level.hear(0.5, 59, 0.4)
    assert level.left == 59
    assert 2.0 <= level.ticks.earliest_s < level.ticks.latest_s <= 2.5


def test_an_answer_without_headers_among_others_counts_for_one():
    bucket = bucket_at()
    for number in range(3):
        assert bucket.try_take(number / 10) == 0.0
        answer(bucket, number / 10 + 0.05, 50 if number == 0 else None, sent_s=number / 10)
    assert bucket.level.left == 48


def test_a_request_that_is_never_settled_counts_as_spent_after_two_minutes():
    bucket = bucket_at(limit=Limit(60, 60, 1000))
    assert bucket.try_take(0.0) == 0.0
    bucket.wait_s(119.0)
    assert len(bucket.level.out) == 1
    bucket.wait_s(121.0)
    assert (len(bucket.level.out), bucket.level.left) == (0, 59)


def test_wait_of_over_two_minutes_is_told_in_parts_and_nothing_goes_before_its_end():
    bucket = bucket_at(limit=Limit(60, 60, 1000))
    assert drained(bucket, 0.0) == 54
    waits, now_s = [], 0.0
    while wait_s := bucket.try_take(now_s):
        waits.append(wait_s)
        now_s += wait_s
    assert waits[:8] == [120.0] * 8
    assert sum(waits[8:]) < 41.0
    assert 1000.0 <= now_s <= 1000.1


def test_a_tick_that_was_due_and_did_not_come_is_found_out_with_the_reserve():
    bucket = bucket_at()
    assert bucket.try_take(0.0) == 0.0
    answer(bucket, 0.01, 6, sent_s=0.0)
    sent = 0
    while bucket.try_take(2.1) == 0.0:
        sent += 1
    assert sent == 6
    for left in (5, 4, 3, 2, 1, 0):
        answer(bucket, 2.2, left, sent_s=2.1)
    assert bucket.try_take(2.3) > 0.0
    assert not bucket.level.ticks.sure


ANY_COUNT = st.one_of(st.none(), st.integers(-10, 2000), st.integers(-(10**18), 10**18))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["take", "answer", "refuse"]),
            st.floats(0.0, 30.0),
            ANY_COUNT,
            ANY_COUNT,
            st.one_of(st.none(), st.floats(0.0, 100.0)),
        ),
        max_size=60,
    )
)
def test_no_header_however_wrong_makes_it_wait_without_end_or_go_without_a_wait(steps):
    bucket, now_s = bucket_at(), 0.0
    for what, later_s, limit, remaining, ago_s in steps:
        now_s += later_s
        sent_s = None if ago_s is None else now_s - ago_s
        if what == "take":
            assert 0.0 <= bucket.try_take(now_s) <= 120.0
        elif what == "answer":
            answer(bucket, now_s, remaining, limit=limit, sent_s=sent_s)
        else:
            bucket.refused(now_s, limit, jitter=0.5, sent_s=sent_s)
        assert 0.0 <= bucket.level.left <= bucket.level.limit.capacity
        assert math.isfinite(bucket.estimate_s(now_s, 10))
    for _ in range(20_000):
        wait_s = bucket.try_take(now_s)
        if wait_s == 0.0:
            return
        assert wait_s >= 0.0005
        now_s += wait_s
    pytest.fail("no request ever went")
