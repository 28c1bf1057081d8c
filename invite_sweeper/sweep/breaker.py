"""The circuit breaker: a sweep stops when its deletions turn out badly.

It opens if more than half of the canary, the first deletions, failed; after that if, of the last
`breaker_window` outcomes, more than `max_failure_share` failed or more than
`max_already_gone_share` were already gone. Then the rest of the plan is `skipped`.
"""

from collections import Counter, deque
from fractions import Fraction
from typing import Final, NamedTuple

from invite_sweeper.outcomes import Outcome
from invite_sweeper.policy import Limits

_JUDGED: Final = (
    (Outcome.FAILED, "failed", "max_failure_share"),
    (Outcome.ALREADY_GONE, "were already gone", "max_already_gone_share"),
)
"""The outcomes that are judged, each with its words and the limit of its share."""


class _ShareLimit(NamedTuple):
    """How many outcomes of a full window may be of one kind.

    Attributes:
        did: What the deletions with this outcome did, for the operator.
        key: Of the policy.
        share: Its value.
        allowed: That share of the window in whole outcomes.
    """

    outcome: Outcome
    did: str
    key: str
    share: float
    allowed: int


def _share_limits(limits: Limits) -> tuple[_ShareLimit, ...]:
    """Return the limits of a window; exact, as floating-point multiplication is not."""
    share_limits: list[_ShareLimit] = []
    for outcome, did, key in _JUDGED:
        share: float = getattr(limits, key)
        allowed = int(Fraction(str(share)) * limits.breaker_window)
        share_limits.append(_ShareLimit(outcome, did, key, share, allowed))
    return tuple(share_limits)


class CircuitBreaker:
    """Decides from the last outcomes whether a sweep must stop.

    One command has one breaker. When it opens in one organization, nothing more is deleted in
    any: what was decided about the others came from the same program, policy and Atlas.

    Attributes:
        reason: Why it opened; None while it is closed.
    """

    def __init__(self, limits: Limits) -> None:
        self.reason: str | None = None
        self._limits = limits
        self._share_limits = _share_limits(limits)
        self._seen = 0
        self._failed = 0
        self._window: deque[Outcome] = deque()
        self._in_window = Counter[Outcome]()

    @property
    def canary_left(self) -> int:
        """How many of the first deletions must still end before any other is sent."""
        return max(0, self._limits.canary - self._seen)

    def opens_at(self, outcome: Outcome) -> bool:
        """Record one outcome; return whether the sweep must stop from now on.

        A deletion without an answer counts as a failure.
        """
        if self.reason is not None:
            return False
        if outcome is Outcome.UNKNOWN:
            outcome = Outcome.FAILED
        self._window.append(outcome)
        self._in_window[outcome] += 1
        if len(self._window) > self._limits.breaker_window:
            oldest = self._window.popleft()
            self._in_window[oldest] -= 1
        self._seen += 1
        self._failed += outcome is Outcome.FAILED
        self.reason = self._why_open()
        return self.reason is not None

    def _why_open(self) -> str | None:
        """Return why the outcomes so far are too bad to go on; None where they are not."""
        limits = self._limits
        # The canary is judged once, by its last outcome.
        if self._seen == limits.canary:
            if self._failed * 2 <= self._seen:
                return None
            return f"{self._failed} of the first {self._seen} deletions (the canary) failed."
        # Of a few outcomes, one is a large share: nothing is judged before the window is full.
        if len(self._window) != limits.breaker_window:
            return None
        for limit in self._share_limits:
            count = self._in_window[limit.outcome]
            if count > limit.allowed:
                counted = f"{count} of the last {limits.breaker_window} deletions {limit.did}"
                return f"{counted}, over {limit.key}: {limit.share}."
        return None
