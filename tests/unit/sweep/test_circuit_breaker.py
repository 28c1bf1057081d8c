"""The circuit breaker: the canary, and the shares within the window."""

from fractions import Fraction

import pytest
from builders import policy
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.outcomes import Outcome
from invite_sweeper.sweep.executor import CircuitBreaker

# The outcomes of a sweep are a tuple: 2 * FAILED + DELETED are two that failed and a third one.
DELETED = (Outcome.DELETED,)
FAILED = (Outcome.FAILED,)
GONE = (Outcome.ALREADY_GONE,)
UNANSWERED = (Outcome.UNKNOWN,)
ALREADY_MEMBER = (Outcome.ACCEPTED_BEFORE,)


def opens_after(outcomes, **limits):
    """Return the number of outcomes after which the breaker opens, and the reason."""
    limits = {"canary": 0, "breaker_window": 10, **limits}
    breaker = CircuitBreaker(policy(limits=limits).limits)
    for number, outcome in enumerate(outcomes, start=1):
        if breaker.opens_at(outcome):
            return number, breaker.reason
    return None


@pytest.mark.parametrize(
    ("outcomes", "limits", "opened"),
    [
        (
            FAILED + DELETED + FAILED + DELETED + FAILED,
            {"canary": 5},
            (5, "3 of the first 5 deletions (the canary) failed."),
        ),
        (2 * FAILED + 2 * DELETED, {"canary": 4}, None),  # half of them
        (
            3 * FAILED + DELETED,
            {"canary": 4, "breaker_window": 1, "max_failure_share": 1.0},
            (4, "3 of"),
        ),
        (3 * UNANSWERED, {"canary": 3}, (3, "3 of the first 3")),
        (50 * ALREADY_MEMBER, {"canary": 3}, None),
        (9 * FAILED, {}, None),  # the window is not full
        (10 * FAILED, {}, (10, "10 of the last 10 deletions failed")),
        (3 * FAILED + 7 * DELETED, {"max_failure_share": 0.3}, None),
        (3 * GONE + 7 * DELETED, {"max_already_gone_share": 0.3}, None),
        (4 * FAILED + 6 * DELETED, {"max_failure_share": 0.3}, (10, "4 of the last 10")),
        (
            4 * GONE + 6 * DELETED,
            {"max_already_gone_share": 0.3},
            (10, "4 of the last 10 deletions were"),
        ),
        (2 * FAILED + 20 * DELETED, {}, None),  # they have left the window
        (2 * FAILED + 10 * DELETED + 2 * FAILED, {}, None),
        (
            2 * FAILED + 10 * DELETED + 3 * FAILED,
            {},
            (15, "3 of the last 10 deletions failed, over max_failure_share: 0.2."),
        ),
        (29 * FAILED + 71 * DELETED, {"breaker_window": 100, "max_failure_share": 0.29}, None),
    ],
)
def test_breaker_opens_only_over_a_limit(outcomes, limits, opened):
    found = opens_after(outcomes, **limits)
    assert (found and found[0]) == (opened and opened[0])
    assert opened is None or found[1].startswith(opened[1])


@given(
    st.lists(st.sampled_from(DELETED + FAILED + GONE), max_size=60),
    st.integers(1, 12),
    st.sampled_from([0.0, 0.1, 0.29, 0.5, 1.0]),
)
def test_running_counts_equal_a_recount_of_the_window(outcomes, window, share):
    def exceeds_limit(number):
        last = outcomes[max(0, number - window) : number]
        allowed = Fraction(str(share)) * window
        most = max(last.count(Outcome.FAILED), last.count(Outcome.ALREADY_GONE))
        return len(last) == window and most > allowed

    first = next((n for n in range(1, len(outcomes) + 1) if exceeds_limit(n)), None)
    limits = dict.fromkeys(("max_failure_share", "max_already_gone_share"), share)
    opened = opens_after(outcomes, breaker_window=window, **limits)
    assert (opened and opened[0]) == first


def test_breaker_keeps_the_first_reason_and_stays_open():
    breaker = CircuitBreaker(policy(limits={"canary": 1, "breaker_window": 50}).limits)
    assert (breaker.reason, breaker.canary_left) == (None, 1)
    assert breaker.opens_at(Outcome.FAILED)
    assert not breaker.opens_at(Outcome.FAILED)
    assert breaker.reason == "1 of the first 1 deletions (the canary) failed."
    assert breaker.canary_left == 0


def test_no_deletion_is_left_of_a_canary_that_is_over():
    breaker = CircuitBreaker(policy(limits={"canary": 2}).limits)
    left = [breaker.canary_left]
    for _ in range(3):
        breaker.opens_at(Outcome.DELETED)
        left.append(breaker.canary_left)
    assert left == [2, 1, 0, 0]
