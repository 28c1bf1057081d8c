"""A sweep stops by itself when its answers are too bad, and not before."""

from fractions import Fraction

import pytest
from builders import policy
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.models import Outcome
from invite_sweeper.sweep.guards import CircuitBreaker

DELETED, FAILED, GONE = Outcome.DELETED, Outcome.FAILED, Outcome.ALREADY_GONE


def told(outcomes, **limits):
    """What the breaker says after each outcome; the first sentence, and after how many."""
    breaker = CircuitBreaker(policy(limits=limits).limits)
    for number, outcome in enumerate(outcomes, start=1):
        sentence = breaker.record(outcome)
        if sentence is not None:
            return number, sentence
    return None


def test_canary_with_more_than_half_failing_stops_the_sweep():
    number, sentence = told([FAILED, DELETED, FAILED, DELETED, FAILED], canary=5)
    assert (number, sentence) == (5, "3 of the first 5 deletions (the canary) failed.")


def test_canary_with_half_failing_goes_on():
    assert told([FAILED, FAILED, DELETED, DELETED], canary=4) is None


def test_canary_of_zero_asks_nothing():
    assert told([FAILED] * 9, canary=0, breaker_window=10) is None


def test_canary_counts_all_of_its_outcomes_though_the_window_is_shorter():
    assert (
        told([FAILED, FAILED, FAILED, DELETED], canary=4, breaker_window=1, max_failure_share=1.0)
        is not None
    )


@pytest.mark.parametrize(
    ("outcome", "key"), [(FAILED, "max_failure_share"), (GONE, "max_already_gone_share")]
)
def test_share_is_reached_and_not_passed(outcome, key):
    limits = {"canary": 0, "breaker_window": 10, key: 0.3}
    assert told([outcome] * 3 + [DELETED] * 7, **limits) is None
    number, sentence = told([outcome] * 4 + [DELETED] * 6, **limits)
    assert number == 10
    assert f"over {key}: 0.3" in sentence
    assert sentence.startswith("4 of the last 10 deletions")


def test_window_must_be_full_before_the_shares_are_asked():
    assert told([FAILED] * 9, canary=0, breaker_window=10) is None
    assert told([FAILED] * 10, canary=0, breaker_window=10)[0] == 10


def test_only_the_last_answers_count():
    long_ago = [FAILED] * 2 + [DELETED] * 20
    assert told(long_ago, canary=0, breaker_window=10, max_failure_share=0.2) is None


def test_failures_that_left_the_window_are_counted_no_more_and_no_less_than_once():
    limits = {"canary": 0, "breaker_window": 10, "max_failure_share": 0.2}
    anew = [FAILED] * 2 + [DELETED] * 10
    assert told([*anew, FAILED, FAILED], **limits) is None
    assert told([*anew, FAILED, FAILED, FAILED], **limits) == (
        15,
        "3 of the last 10 deletions failed, over max_failure_share: 0.2.",
    )


def test_share_is_exact_where_floats_are_not():
    outcomes = [FAILED] * 29 + [DELETED] * 71
    assert told(outcomes, canary=0, breaker_window=100, max_failure_share=0.29) is None


@given(
    st.lists(st.sampled_from([DELETED, FAILED, GONE]), max_size=60),
    st.integers(1, 12),
    st.sampled_from([0.0, 0.1, 0.29, 0.5, 1.0]),
)
def test_running_counts_say_what_counting_the_window_anew_says(outcomes, window, share):
    def too_many_after(number):
        last = outcomes[max(0, number - window) : number]
        most = Fraction(str(share)) * window
        return len(last) == window and max(last.count(FAILED), last.count(GONE)) > most

    first = next((n for n in range(1, len(outcomes) + 1) if too_many_after(n)), None)
    found = told(
        outcomes,
        canary=0,
        breaker_window=window,
        max_failure_share=share,
        max_already_gone_share=share,
    )
    assert (found and found[0]) == first
