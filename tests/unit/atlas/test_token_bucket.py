"""One bucket: headers, waits after a 429, and that every wait ends."""

import math
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from invite_sweeper.atlas.limits import (
    MAX_POLL_INTERVAL_S,
    MAX_RETRY_DELAY_S,
    MAX_UNCONFIRMED,
    BucketLimit,
    TokenBucket,
)

LIMIT = BucketLimit(60, 60, 2)
PROJECT = BucketLimit(1200, 500, 60)


def bucket_at(now_s=0.0, *, reserve=0.1, limit=LIMIT):
    return TokenBucket(limit, reserve, now_s)


def try_acquire(bucket, now_s, count=1):
    wait_s = bucket.wait_s(now_s, count)
    if wait_s == 0.0:
        bucket.acquire(now_s, count)
    return wait_s


def send(bucket, now_s):
    assert try_acquire(bucket, now_s) == 0.0
    return now_s


def respond(bucket, now_s, remaining, *, limit=60, sent_s=None):
    bucket.on_response(now_s, limit=limit, remaining=remaining, sent_s=sent_s)


def reject(bucket, now_s, retry_after_s=None, *, sent_s=None, jitter=0.0):
    bucket.on_429(now_s, retry_after_s, jitter=jitter, sent_s=sent_s)


def spend(bucket, start_s, end_s):
    """Send as many requests as possible, with immediate responses without headers."""
    now_s, sent = start_s, 0
    while now_s < end_s:
        wait_s = try_acquire(bucket, now_s)
        if wait_s == 0.0:
            respond(bucket, now_s, None, limit=None, sent_s=now_s)
            sent += 1
        now_s += wait_s
    return sent


# --- headers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("reserve", "usable"), [(0.0, 60), (0.1, 54), (0.5, 30), (0.9, 6)])
def test_without_headers_a_full_bucket_has_its_capacity_minus_the_reserve(reserve, usable):
    assert spend(bucket_at(reserve=reserve), 0.0, 2.0) == usable


def test_without_headers_the_last_8_of_54_tokens_are_spread_over_the_period():
    assert spend(bucket_at(), 0.0, 0.1) == 46


def test_without_headers_a_refill_is_assumed_one_period_after_the_first_response():
    bucket = bucket_at()
    assert spend(bucket, 0.0, 1.999) == 54
    assert spend(bucket, 1.999, 3.99) == 54


def test_at_most_8_requests_are_sent_before_the_first_response():
    bucket = bucket_at()
    for _ in range(MAX_UNCONFIRMED):
        send(bucket, 0.0)
    assert try_acquire(bucket, 0.0) > 0.0
    respond(bucket, 0.1, 59, sent_s=0.0)
    send(bucket, 0.1)


def test_without_headers_at_most_8_requests_are_in_flight():
    bucket = bucket_at(limit=PROJECT)
    send(bucket, 0.0)
    respond(bucket, 0.0, None, limit=None)
    for _ in range(MAX_UNCONFIRMED):
        send(bucket, 0.1)
    assert try_acquire(bucket, 0.1) > 0.0


@pytest.mark.parametrize(("remaining", "is_sent"), [(7, True), (6, False), (0, False), (-3, False)])
def test_remaining_header_has_precedence_over_the_local_count(remaining, is_sent):
    bucket = bucket_at()
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
    bucket = bucket_at()
    for now_s, remaining, sent_s in responses:
        respond(bucket, now_s, remaining, sent_s=sent_s)
    assert bucket.level == level


@pytest.mark.parametrize(
    ("known", "header", "remaining", "limit"),
    [
        (LIMIT, 0, 59, LIMIT),
        (LIMIT, -1, 59, LIMIT),
        (LIMIT, math.nan, 59, LIMIT),
        (LIMIT, math.inf, 59, LIMIT),
        (LIMIT, 10**9, None, LIMIT),
        (PROJECT, 60, 59, BucketLimit(60, 60, 60)),
        (PROJECT, 2400, 2399, BucketLimit(2400, 1000, 60)),  # raised in proportion
    ],
)
def test_limit_header_replaces_the_capacity_and_the_refill_is_unknown_until_it_is_set(
    known, header, remaining, limit
):
    bucket = bucket_at(limit=known)
    send(bucket, 0.0)
    respond(bucket, 0.1, remaining, limit=header, sent_s=0.0)
    assert (bucket.limit, bucket.refill_unknown) == (limit, limit != known)
    bucket.set_limit(BucketLimit(60, 30, 2), 0.2)
    assert (bucket.limit, bucket.refill_unknown) == (BucketLimit(60, 30, 2), False)
    assert bucket.level == 59


def test_token_without_a_response_counts_as_spent_after_120_s():
    bucket = bucket_at(limit=BucketLimit(60, 60, 1000))
    send(bucket, 0.0)
    bucket.wait_s(119.0)
    assert len(bucket.in_flight) == 1
    bucket.wait_s(121.0)
    assert (len(bucket.in_flight), bucket.level) == (0, 59)


def test_released_tokens_are_available_again():
    bucket = bucket_at()
    assert try_acquire(bucket, 0.0, 3) == 0.0
    for _ in range(3):
        bucket.release()
    assert bucket.is_full(0.0)


def test_two_tokens_are_acquired_together_or_not_at_all():
    bucket = bucket_at(reserve=0.0)
    send(bucket, 0.0)
    respond(bucket, 0.0, 1, sent_s=0.0)
    assert bucket.wait_s(0.3, 1) == 0.0
    assert bucket.wait_s(0.3, 2) > 0.0


def test_at_most_half_the_reserve_is_used_to_check_for_a_refill():
    bucket = bucket_at(limit=BucketLimit(1200, 500, 600))
    respond(bucket, 0.0, 120, limit=1200, sent_s=0.0)
    level, now_s, sent = 120, 0.0, 0
    while now_s < 2000.0:
        wait_s = try_acquire(bucket, now_s)
        if wait_s == 0.0:
            sent += 1
            level -= 1
            respond(bucket, now_s, level, limit=1200, sent_s=now_s)
            assert bucket.wait_s(now_s) <= MAX_POLL_INTERVAL_S or level <= 60
        now_s += max(wait_s, 0.001)
    assert sent > 2000 / MAX_POLL_INTERVAL_S / 4


# --- after a 429 -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry_after_s", "wait_s"),
    [
        (None, 1.0),
        (0.0, 1.0),
        (-5.0, 1.0),
        (math.nan, 1.0),
        (1.0, 1.0),
        (7.0, 7.0),
        (120.0, 120.0),
        (121.0, 120.0),
        (1e9, 120.0),
        (math.inf, 120.0),
    ],
)
def test_retry_after_is_clamped_to_1_to_120_s(retry_after_s, wait_s):
    bucket = bucket_at()
    send(bucket, 0.0)
    reject(bucket, 0.1, retry_after_s)
    assert bucket.wait_s(0.1) == pytest.approx(wait_s)
    assert bucket.retry_wait_s(0.1, 0.1) == pytest.approx(wait_s)


@pytest.mark.parametrize("jitter", [0.0, 0.999])
@pytest.mark.parametrize("retry_after_s", [None, 0.0, 1.0, 3.0])
def test_consecutive_429s_wait_10_20_40_and_40_s_or_a_retry_after_above_1_s(jitter, retry_after_s):
    bucket = bucket_at()
    now_s = send(bucket, 0.0)
    waits = []
    for _ in range(5):
        reject(bucket, now_s, retry_after_s, jitter=jitter)
        waits.append(bucket.wait_s(now_s))
        now_s = send(bucket, now_s + waits[-1])
    more = 1 + jitter / 4
    steps = [1.0, 10 * more, 20 * more, 40 * more, 40 * more]
    assert waits == pytest.approx([3.0] * 5 if retry_after_s == 3.0 else steps)


def test_success_resets_the_consecutive_429s():
    bucket = bucket_at()
    send(bucket, 0.0)
    reject(bucket, 0.1)
    send(bucket, 1.1)
    respond(bucket, 1.2, 50)
    send(bucket, 1.3)
    reject(bucket, 1.4)
    assert bucket.wait_s(1.4) == pytest.approx(1.0)


def test_429s_of_requests_in_flight_count_as_one():
    bucket = bucket_at()
    for _ in range(5):
        send(bucket, 0.0)
    for number in range(5):
        reject(bucket, 0.1 + number / 100, sent_s=0.0)
    assert bucket.wait_s(0.14) <= 1.0


def test_response_to_a_request_sent_before_the_429_does_not_end_the_wait():
    bucket = bucket_at()
    send(bucket, 0.0)
    send(bucket, 0.0)
    reject(bucket, 0.1, 5.0, sent_s=0.0)
    respond(bucket, 0.2, 50, sent_s=0.0)
    assert bucket.wait_s(0.2) == pytest.approx(4.9)


def test_after_the_wait_one_request_is_sent_first_and_the_rest_after_its_success():
    bucket = bucket_at()
    send(bucket, 0.0)
    reject(bucket, 0.1)
    send(bucket, 1.1)
    assert 0.0 < bucket.wait_s(1.2) <= 1.0
    respond(bucket, 1.3, 50, sent_s=1.1)
    send(bucket, 1.3)


def test_first_request_without_a_response_delays_the_bucket_by_at_most_5_s():
    bucket = bucket_at()
    send(bucket, 0.0)
    reject(bucket, 0.1)
    send(bucket, 1.1)
    assert bucket.wait_s(6.0) > 0.0
    send(bucket, 6.2)


@pytest.mark.parametrize("has_header", [True, False])
def test_response_without_headers_after_a_429_does_not_block_the_bucket(has_header):
    """A connection reset, a 502 or a 503 has no `RateLimit` header."""
    bucket = bucket_at(limit=PROJECT)
    send(bucket, 0.0)
    respond(bucket, 0.1, 700 if has_header else None, limit=1200, sent_s=0.0)
    send(bucket, 0.2)
    reject(bucket, 0.3, 2.0, sent_s=0.2)
    send(bucket, 2.3)
    respond(bucket, 2.4, None, limit=None, sent_s=2.3)
    assert bucket.retry_wait_s(2.4, 2.4) == 0.0
    send(bucket, 2.4)


def test_without_headers_one_refill_is_assumed_at_the_end_of_retry_after():
    bucket = TokenBucket(BucketLimit(60, 20, 60), 0.1, 0.0)
    send(bucket, 0.0)
    reject(bucket, 0.1)
    assert spend(bucket, 1.1, 60.9) == 20 - 6


def test_bucket_is_full_without_requests_in_flight_and_429s():
    bucket = bucket_at()
    assert bucket.is_full(0.0)
    send(bucket, 0.0)
    assert not bucket.is_full(0.0)
    reject(bucket, 0.1)
    assert not bucket.is_full(10.0)


# --- properties ------------------------------------------------------------------------------

ANY_COUNT = st.one_of(st.none(), st.integers(-10, 2000), st.integers(-(10**18), 10**18))


@example(
    [
        ("acquire", 0.0, None, None, None),
        ("acquire", 0.0, None, None, None),
        ("reject", 1.9644931137510029, 67, None, None),
        ("acquire", 2.4357495697314793, None, None, None),
    ]
)
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
def test_any_headers_lead_to_finite_and_positive_waits(steps):
    bucket, now_s = bucket_at(), 0.0
    for what, elapsed_s, limit, remaining, ago_s in steps:
        now_s += elapsed_s
        sent_s = None if ago_s is None else now_s - ago_s
        if what == "acquire":
            assert 0.0 <= try_acquire(bucket, now_s) <= 120.001
        elif what == "respond":
            respond(bucket, now_s, remaining, limit=limit, sent_s=sent_s)
        else:
            reject(bucket, now_s, limit, jitter=0.5, sent_s=sent_s)
        assert 0.0 <= bucket.level <= bucket.limit.capacity
    for _ in range(20_000):
        wait_s = try_acquire(bucket, now_s)
        if wait_s == 0.0:
            return
        assert wait_s >= 0.0005
        now_s += wait_s
    pytest.fail("no request was ever sent")


class RetryMachine(RuleBasedStateMachine):
    """A retry is sent at the latest one second after `Retry-After`.

    Meanwhile other requests of the bucket acquire and hold tokens, as the removal of a user does
    for its later reads. Responses are late, without headers, 429s or missing.
    """

    def __init__(self):
        super().__init__()
        self.bucket = bucket_at(limit=BucketLimit(60, 25, 3))
        self.now_s = 0.0
        self.blocked_until_s = 0.0
        self.waiting_since_s = None
        self.held = 0

    @rule(seconds=st.floats(0.0, 20.0))
    def time_passes(self, seconds):
        end_s = self.now_s + seconds
        while self.waiting_since_s is not None and self.now_s < end_s:
            wait_s = self.try_retry()
            self.now_s = min(end_s, self.now_s + wait_s)
        self.now_s = end_s
        if self.waiting_since_s is not None:
            self.try_retry()

    @rule(count=st.integers(1, 3))
    def another_request_acquires_and_holds(self, count):
        if try_acquire(self.bucket, self.now_s, count) == 0.0:
            self.held += count

    @rule()
    def a_retry_begins(self):
        if self.waiting_since_s is None:
            self.waiting_since_s = self.now_s
            self.try_retry()

    def try_retry(self):
        wait_s = self.bucket.retry_wait_s(self.now_s, self.waiting_since_s)
        if wait_s == 0.0:
            self.bucket.acquire(self.now_s)
            self.waiting_since_s = None
            self.held += 1  # it may be held while the user is read again
        return wait_s

    @precondition(lambda self: self.held)
    @rule(
        remaining=st.one_of(st.none(), st.integers(0, 60)), ago_s=st.one_of(st.none(), st.just(0.1))
    )
    def a_response(self, remaining, ago_s):
        self.held -= 1
        sent_s = None if ago_s is None else self.now_s - ago_s
        respond(self.bucket, self.now_s, remaining, sent_s=sent_s)

    @precondition(lambda self: self.held)
    @rule(retry_after_s=st.one_of(st.none(), st.floats(0.0, 30.0)))
    def a_429(self, retry_after_s):
        self.held -= 1
        self.bucket.on_429(self.now_s, retry_after_s, jitter=0.5, sent_s=None)
        # Without a `Retry-After` above 1 s, the wait is one of the documented steps.
        requested_s = max(retry_after_s or 0.0, 1.0)
        allowed_s = 50.0 if requested_s == 1.0 else requested_s
        wait_s = self.bucket.wait_s(self.now_s)
        assert wait_s <= max(self.blocked_until_s - self.now_s, allowed_s) + 0.001
        self.blocked_until_s = max(self.blocked_until_s, self.now_s + wait_s)

    @invariant()
    def no_retry_waits_longer_than_allowed(self):
        if self.waiting_since_s is not None:
            until_s = max(self.waiting_since_s, self.blocked_until_s)
            assert self.now_s <= until_s + MAX_RETRY_DELAY_S + 0.01


RetryMachine.TestCase.settings = settings(max_examples=50, deadline=None)
TestRetryMachine = RetryMachine.TestCase


def test_refill_of_an_undocumented_bucket_is_asked_for_with_the_reserve_at_growing_intervals():
    bucket = bucket_at(limit=PROJECT)
    send(bucket, 0.0)
    respond(bucket, 0.1, 5, limit=60, sent_s=0.0)
    asked_s, now_s = [], 0.1
    while now_s < 20:
        wait_s = bucket.wait_s(now_s)
        if wait_s == 0.0:
            send(bucket, now_s)
            asked_s.append(now_s)
            respond(bucket, now_s, 4, sent_s=now_s)
        now_s += max(wait_s, 0.001)
    gaps_s = [round(later - earlier, 3) for earlier, later in pairwise(asked_s)]
    assert gaps_s == sorted(gaps_s)
    assert 5 < len(asked_s) < 25
