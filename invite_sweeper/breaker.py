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
    The removal of somebody who had just accepted counts as a failure.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._last: deque[Outcome] = deque()
        self._last_failed = 0
        self._last_gone = 0
        self._seen = 0
        self._failed = 0
        self._window = limits.breaker_window
        self._most_failed = self._most(limits.max_failure_share)
        self._most_gone = self._most(limits.max_already_gone_share)

    def record(self, outcome: Outcome) -> str | None:
        """Take one outcome into account; give a sentence when the sweep should stop."""
        outcome = Outcome.FAILED if outcome is Outcome.ACCEPTED_DURING else outcome
        last = self._last
        last.append(outcome)
        if outcome is not Outcome.DELETED:
            self._count(outcome, 1)
            self._failed += outcome is Outcome.FAILED
        if len(last) > self._window and (oldest := last.popleft()) is not Outcome.DELETED:
            self._count(oldest, -1)
        self._seen += 1
        if self._seen == self._limits.canary:
            return self._canary()
        return self._shares() if len(last) == self._window else None

    def _count(self, outcome: Outcome, by: int) -> None:
        if outcome is Outcome.FAILED:
            self._last_failed += by
        elif outcome is Outcome.ALREADY_GONE:
            self._last_gone += by

    def _most(self, share: float) -> int:
        """How many of a full window are just not too many; as the policy's digits say it."""
        return int(Fraction(str(share)) * self._limits.breaker_window)

    def _shares(self) -> str | None:
        limits = self._limits
        if self._last_failed > self._most_failed:
            return self._too_many(
                self._last_failed, f"failed, over max_failure_share: {limits.max_failure_share}"
            )
        if self._last_gone > self._most_gone:
            return self._too_many(
                self._last_gone,
                f"were gone already, over max_already_gone_share: {limits.max_already_gone_share}",
            )
        return None

    def _too_many(self, count: int, words: str) -> str:
        return f"{count} of the last {len(self._last)} deletions {words}."

    def _canary(self) -> str | None:
        if self._failed * 2 <= self._seen:
            return None
        return f"{self._failed} of the first {self._seen} deletions (the canary) failed."
