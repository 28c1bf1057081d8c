"""What a log tells while a run goes on, and how long it has still to go."""

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from invite_sweeper.outcome import Outcome

_LINE_EVERY_S = 30.0


class Log(Protocol):
    """What the views need of the program's log."""

    def info(self, event: str, **fields: object) -> object:
        """Say something."""
        ...

    def warning(self, event: str, **fields: object) -> object:
        """Say something that deserves a look."""
        ...

    def error(self, event: str, **fields: object) -> object:
        """Say something that has to be seen to."""
        ...


def remaining_s(left: int, rate: float | None, elapsed_s: float, estimate_s: float) -> float | None:
    """Give the seconds that are still to come; None while nobody can know.

    Atlas's buckets are full at first, so the first calls are fast and say little of the rest:
    it is never less than what the estimate has left.

    Args:
        left: Steps to come.
        rate: Steps a second so far; None before the first.
        estimate_s: For all steps together; 0.0 where there is none.
    """
    if not left:
        return 0.0
    by_estimate = max(0.0, estimate_s - elapsed_s)
    if rate:
        return max(left / rate, by_estimate)
    return by_estimate or None


class LineView:
    """One log line now and then: where nobody watches, a bar is noise."""

    def __init__(self, log: Log, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._doing = ""
        self._total = 0
        self._done = 0
        self._estimate_s = 0.0
        self._outcomes: Counter[Outcome] = Counter()
        self._began_s = self._said_s = clock()

    def walking(self, projects: int) -> None:
        """So many projects are about to be read."""
        self._begin("reading projects", projects)

    def walked(self) -> None:
        """One project has been read, or could not be."""
        self._step()

    def sweeping(self, deletions: int, estimate_s: float) -> None:
        """So many deletions are about to begin, and should take so long."""
        self._begin("deleting invitations", deletions, estimate_s)

    def swept(self, outcome: Outcome) -> None:
        """One deletion has ended."""
        self._outcomes[outcome] += 1
        self._step()

    def warn(self, sentence: str) -> None:
        """Something deserves a look, and does not stop the run."""
        self._log.warning(sentence)

    def alarm(self, sentence: str) -> None:
        """Something has to be seen to, though the run goes on."""
        self._log.error(sentence)

    def close(self) -> None:
        """The run has ended; nothing is left to take away."""

    def _begin(self, doing: str, total: int, estimate_s: float = 0.0) -> None:
        self._doing, self._total, self._done = doing, total, 0
        self._estimate_s = estimate_s
        self._began_s = self._said_s = self._clock()
        estimate = {"estimate_s": round(estimate_s, 1)} if estimate_s else {}
        self._log.info(doing, total=total, **estimate)

    def _step(self) -> None:
        self._done += 1
        now_s = self._clock()
        if now_s - self._said_s < _LINE_EVERY_S:
            return
        self._said_s = now_s
        elapsed_s = now_s - self._began_s
        rate = self._done / elapsed_s
        left_s = remaining_s(self._total - self._done, rate, elapsed_s, self._estimate_s)
        self._log.info(
            self._doing,
            done=self._done,
            total=self._total,
            a_second=round(rate, 1),
            remaining_s=round(left_s or 0.0),
            **{outcome.value: count for outcome, count in self._outcomes.items()},
        )
