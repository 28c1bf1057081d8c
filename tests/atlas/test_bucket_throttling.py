"""After a 429: how long a bucket waits, who goes first, and what counts as a second one."""

import math

import pytest

from invite_sweeper.atlas.rate_limits import Limit
from invite_sweeper.atlas.token_bucket import Bucket


def bucket_at(now_s=0.0):
    return Bucket(Limit(60, 60, 2), 0.1, now_s)


def send(bucket, now_s):
    assert bucket.try_take(now_s) == 0.0
    return now_s


def refuse(bucket, now_s, retry_after_s=None, *, sent_s=None, jitter=0.0):
    bucket.refused(now_s, retry_after_s, jitter=jitter, sent_s=sent_s)


def answer(bucket, now_s, remaining=50, *, sent_s=None):
    bucket.answered(now_s, limit=60, remaining=remaining, sent_s=sent_s)


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
def test_retry_after_is_followed_from_1_to_120_seconds(retry_after_s, wait_s):
    bucket = bucket_at()
    send(bucket, 0.0)
    refuse(bucket, 0.1, retry_after_s)
    assert bucket.try_take(0.1) == pytest.approx(wait_s)


@pytest.mark.parametrize("jitter", [0.0, 0.999])
def test_refused_again_without_a_success_between_it_waits_10_20_40_and_40_seconds(jitter):
    bucket = bucket_at()
    now_s = send(bucket, 0.0)
    waits = []
    for _ in range(5):
        refuse(bucket, now_s, 0.0, jitter=jitter)
        wait_s = bucket.try_take(now_s)
        waits.append(wait_s)
        now_s = send(bucket, now_s + wait_s)
    more = 1 + jitter / 4
    assert waits == pytest.approx([1.0, 10 * more, 20 * more, 40 * more, 40 * more])


def test_a_success_between_makes_the_next_one_a_first_one():
    bucket = bucket_at()
    send(bucket, 0.0)
    refuse(bucket, 0.1)
    send(bucket, 1.1)
    answer(bucket, 1.2)
    send(bucket, 1.3)
    refuse(bucket, 1.4)
    assert bucket.try_take(1.4) == pytest.approx(1.0)


def test_requests_in_flight_that_are_refused_too_are_the_same_event():
    bucket = bucket_at()
    for _ in range(5):
        send(bucket, 0.0)
    for number in range(5):
        refuse(bucket, 0.1 + number / 100, sent_s=0.0)
    assert bucket.try_take(0.14) <= 1.0


def test_an_answer_to_a_request_from_before_the_429_does_not_end_the_wait():
    bucket = bucket_at()
    send(bucket, 0.0)
    send(bucket, 0.0)
    refuse(bucket, 0.1, 5.0, sent_s=0.0)
    answer(bucket, 0.2, sent_s=0.0)
    assert bucket.try_take(0.2) == pytest.approx(4.9)


def test_when_the_wait_is_over_one_goes_first_and_the_rest_on_its_success():
    bucket = bucket_at()
    send(bucket, 0.0)
    refuse(bucket, 0.1)
    send(bucket, 1.1)
    assert 0.0 < bucket.try_take(1.2) <= 1.0
    answer(bucket, 1.3, sent_s=1.1)
    send(bucket, 1.3)


def test_a_probe_that_is_never_settled_holds_up_the_bucket_for_two_minutes_at_most():
    bucket = bucket_at()
    send(bucket, 0.0)
    refuse(bucket, 0.1)
    send(bucket, 1.1)
    assert bucket.try_take(120.0) > 0.0
    send(bucket, 121.2)


def test_without_headers_a_success_after_a_429_proves_a_refill():
    bucket = Bucket(Limit(60, 20, 60), 0.1, 0.0)
    send(bucket, 0.0)
    refuse(bucket, 0.1)
    send(bucket, 1.1)
    bucket.answered(1.2, limit=None, remaining=None, sent_s=1.1)
    sent = 0
    while bucket.try_take(1.3) == 0.0:
        bucket.answered(1.3, limit=None, remaining=None, sent_s=1.3)
        sent += 1
    assert sent == 20 - 1 - 6
