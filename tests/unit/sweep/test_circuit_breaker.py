"""The circuit breaker: the canary, and the shares within the window."""

from fractions import Fraction

import pytest
from builders import policy
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.models import Outcome
from invite_sweeper.sweep.guards import CircuitBreaker

DELETED, FAILED, GONE = Outcome.DELETED, Outcome.FAILED, Outcome.ALREADY_GONE


def opens_after(outcomes, **limits):
    """Return the number of outcomes after which the breaker opens, and the reason."""
    breaker = CircuitBreaker(policy(limits=limits).limits)
    for number, outcome in enumerate(outcomes, start=1):
        reason = breaker.record(outcome)
        if reason is not None:
            return number, reason
    return None


def test_canary_with_more_than_half_failing_stops_the_sweep():
    number, reason = opens_after([FAILED, DELETED, FAILED, DELETED, FAILED], canary=5)
    assert (number, reason) == (5, "3 of the first 5 deletions (the canary) failed.")


def test_canary_with_half_failing_continues():
    assert opens_after([FAILED, FAILED, DELETED, DELETED], canary=4) is None


def test_canary_of_zero_is_not_checked():
    assert opens_after([FAILED] * 9, canary=0, breaker_window=10) is None


def test_canary_counts_all_its_outcomes_even_with_a_shorter_window():
    assert (
        opens_after(
            [FAILED, FAILED, FAILED, DELETED], canary=4, breaker_window=1, max_failure_share=1.0
        )
        is not None
    )


@pytest.mark.parametrize(
    ("outcome", "key"), [(FAILED, "max_failure_share"), (GONE, "max_already_gone_share")]
)
def test_share_limit_is_inclusive(outcome, key):
    limits = {"canary": 0, "breaker_window": 10, key: 0.3}
    assert opens_after([outcome] * 3 + [DELETED] * 7, **limits) is None
    number, reason = opens_after([outcome] * 4 + [DELETED] * 6, **limits)
    assert number == 10
    assert f"over {key}: 0.3" in reason
    assert reason.startswith("4 of the last 10 deletions")


def test_shares_are_checked_only_with_a_full_window():
    assert opens_after([FAILED] * 9, canary=0, breaker_window=10) is None
    assert opens_after([FAILED] * 10, canary=0, breaker_window=10)[0] == 10


def test_outcomes_before_the_window_do_not_count():
    old_failures = [FAILED] * 2 + [DELETED] * 20
    assert opens_after(old_failures, canary=0, breaker_window=10, max_failure_share=0.2) is None


def test_failures_are_subtracted_once_when_they_leave_the_window():
    limits = {"canary": 0, "breaker_window": 10, "max_failure_share": 0.2}
    start = [FAILED] * 2 + [DELETED] * 10
    assert opens_after([*start, FAILED, FAILED], **limits) is None
    assert opens_after([*start, FAILED, FAILED, FAILED], **limits) == (
        15,
        "3 of the last 10 deletions failed, over max_failure_share: 0.2.",
    )


def test_share_is_exact_where_floats_are_not():
    outcomes = [FAILED] * 29 + [DELETED] * 71
    assert opens_after(outcomes, canary=0, breaker_window=100, max_failure_share=0.29) is None


@given(
    st.lists(st.sampled_from([DELETED, FAILED, GONE]), max_size=60),
    st.integers(1, 12),
    st.sampled_from([0.0, 0.1, 0.29, 0.5, 1.0]),
)
def test_running_counts_equal_a_recount_of_the_window(outcomes, window, share):
    def exceeds_limit(number):
        last = outcomes[max(0, number - window) : number]
        allowed = Fraction(str(share)) * window
        return len(last) == window and max(last.count(FAILED), last.count(GONE)) > allowed

    first = next((n for n in range(1, len(outcomes) + 1) if exceeds_limit(n)), None)
    opened = opens_after(
        outcomes,
        canary=0,
        breaker_window=window,
        max_failure_share=share,
        max_already_gone_share=share,
    )
    assert (opened and opened[0]) == first


def test_breaker_keeps_the_first_reason_and_stays_open():
    breaker = CircuitBreaker(policy(limits={"canary": 1, "breaker_window": 50}).limits)
    assert breaker.reason is None
    assert breaker.canary_left == 1
    reason = breaker.record(Outcome.FAILED)
    assert breaker.record(Outcome.DELETED) is None
    assert breaker.reason == reason == "1 of the first 1 deletions (the canary) failed."
    assert breaker.canary_left == 0
