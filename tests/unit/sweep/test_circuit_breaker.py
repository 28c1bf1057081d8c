"""The circuit breaker: the canary, and the shares within the window."""

from fractions import Fraction

import pytest
from builders import policy
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.outcomes import Outcome
from invite_sweeper.sweep.executor import CircuitBreaker

OUTCOMES = {
    "d": Outcome.DELETED,
    "f": Outcome.FAILED,
    "g": Outcome.ALREADY_GONE,
    "u": Outcome.UNKNOWN,
    "m": Outcome.ACCEPTED_BEFORE,
}
"""The outcomes of a sweep are a text: `2 * "f" + "d"` are two that failed and a third one."""


def opens_after(outcomes, **limits):
    """Return the number of outcomes after which the breaker opens, and the reason."""
    limits = {"canary": 0, "breaker_window": 10, **limits}
    breaker = CircuitBreaker(policy(limits=limits).limits)
    for number, outcome in enumerate(outcomes, start=1):
        if breaker.opens_at(OUTCOMES[outcome]):
            return number, breaker.reason
    return None, ""


NEVER = (None, "")
SHARE = "max_failure_share: 0.2"
WIDE = {"breaker_window": 1, "max_failure_share": 1.0}


@pytest.mark.parametrize(
    ("outcomes", "limits", "opened"),
    [
        ("fdfdf", {"canary": 5}, (5, "3 of the first 5 deletions (the canary) failed.")),
        ("ffdd", {"canary": 4}, NEVER),  # half of them
        ("fffd", {"canary": 4, **WIDE}, (4, "3 of")),
        ("uuu", {"canary": 3}, (3, "3 of the first 3")),
        (50 * "m", {"canary": 3}, NEVER),
        (
            4 * "g" + 6 * "d",
            {"max_already_gone_share": 0.3},
            (10, "4 of the last 10 deletions were"),
        ),
        ("ff" + 10 * "d" + "fff", {}, (15, f"3 of the last 10 deletions failed, over {SHARE}.")),
        (29 * "f" + 71 * "d", {"breaker_window": 100, "max_failure_share": 0.29}, NEVER),
    ],
)
def test_breaker_opens_only_over_a_limit(outcomes, limits, opened):
    number, reason = opens_after(outcomes, **limits)
    assert number == opened[0]
    assert reason.startswith(opened[1])


@given(st.text("dfg", max_size=60), st.integers(1, 12), st.sampled_from([0.0, 0.1, 0.29, 0.5, 1.0]))
def test_breaker_opens_once_the_last_in_a_full_window_are_over_a_share(outcomes, window, share):
    def exceeds_limit(number):
        last = outcomes[max(0, number - window) : number]
        allowed = Fraction(str(share)) * window
        most = max(last.count("f"), last.count("g"))
        return len(last) == window and most > allowed

    first = next((n for n in range(1, len(outcomes) + 1) if exceeds_limit(n)), None)
    limits = dict.fromkeys(("max_failure_share", "max_already_gone_share"), share)
    assert opens_after(outcomes, breaker_window=window, **limits)[0] == first


def test_breaker_keeps_the_first_reason_and_stays_open():
    breaker = CircuitBreaker(policy(limits={"canary": 1, "breaker_window": 50}).limits)
    assert (breaker.reason, breaker.canary_left) == (None, 1)
    assert breaker.opens_at(Outcome.FAILED)
    assert not breaker.opens_at(Outcome.FAILED)
    assert breaker.reason == "1 of the first 1 deletions (the canary) failed."
    assert breaker.canary_left == 0
