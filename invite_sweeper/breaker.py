"""When a sweep had better stop by itself: what the last answers looked like. Pure."""

from collections import deque
from fractions import Fraction

from invite_sweeper.outcome import Outcome
from invite_sweeper.policy import Limits


class Breaker:
    """Counts the last outcomes and says when they are too bad to go on.

    Two questions are asked. After the canary (the first few deletions, which go out alone):
    did more than half of them fail? After that, once the window is full: is the share of
    failures, or of invitations that were gone already, among the last answers too high?
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._last: deque[Outcome] = deque(maxlen=limits.breaker_window)
        self._seen = 0
        self._failed = 0

    def record(self, outcome: Outcome) -> str | None:
        """Take one outcome into account; give a sentence when the sweep should stop."""
        self._last.append(outcome)
        self._seen += 1
        self._failed += outcome is Outcome.FAILED
        if self._seen == self._limits.canary:
            return self._canary()
        if len(self._last) < self._limits.breaker_window:
            return None
        return self._share(
            Outcome.FAILED, "failed", "max_failure_share", self._limits.max_failure_share
        ) or self._share(
            Outcome.ALREADY_GONE,
            "were gone already",
            "max_already_gone_share",
            self._limits.max_already_gone_share,
        )

    def _canary(self) -> str | None:
        if self._failed * 2 <= self._seen:
            return None
        return f"{self._failed} of the first {self._seen} deletions (the canary) failed."

    def _share(self, outcome: Outcome, words: str, key: str, limit: float) -> str | None:
        count = self._last.count(outcome)
        if count <= Fraction(str(limit)) * len(self._last):
            return None
        return f"{count} of the last {len(self._last)} deletions {words}, over {key}: {limit}."
