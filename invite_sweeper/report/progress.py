"""Progress bar or log lines."""

from collections import Counter
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text
from typing_extensions import override

from invite_sweeper.models import Logger, Outcome
from invite_sweeper.report import formatting

# What a log tells while a run goes on, and how long it has still to go.


_LINE_INTERVAL_S = 30.0


def remaining_s(
    steps_left: int, rate: float | None, elapsed_s: float, estimate_s: float
) -> float | None:
    """Give the seconds that are still to come; None while nobody can know.

    Atlas's buckets are full at first, so the first calls are fast and say little of the rest:
    it is never less than what the estimate has left.

    Args:
        left: Steps to come.
        rate: Steps a second so far; None before the first.
        estimate_s: For all steps together; 0.0 where there is none.
    """
    if not steps_left:
        return 0.0
    by_estimate = max(0.0, estimate_s - elapsed_s)
    if rate:
        return max(steps_left / rate, by_estimate)
    return by_estimate or None


class LogProgressView:
    """One log line now and then: where nobody watches, a bar is noise."""

    def __init__(self, log: Logger, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._activity = ""
        self._total = 0
        self._done = 0
        self._estimate_s = 0.0
        self._outcomes: Counter[Outcome] = Counter()
        self._started_s = self._logged_s = clock()

    def listing_started(self, projects: int) -> None:
        """So many projects are about to be read."""
        self._start("reading projects", projects)

    def list_done(self) -> None:
        """One project has been read, or could not be."""
        self._advance()

    def deleting_started(self, deletions: int, estimate_s: float) -> None:
        """So many deletions are about to begin, and should take so long."""
        self._start("deleting invitations", deletions, estimate_s)

    def deletion_done(self, outcome: Outcome) -> None:
        """One deletion has ended."""
        self._outcomes[outcome] += 1
        self._advance()

    def warning(self, message: str) -> None:
        """Something deserves a look, and does not stop the run."""
        self._log.warning(message)

    def error(self, message: str) -> None:
        """Something has to be seen to, though the run goes on."""
        self._log.error(message)

    def close(self) -> None:
        """The run has ended; nothing is left to take away."""

    def _start(self, activity: str, total: int, estimate_s: float = 0.0) -> None:
        self._activity, self._total, self._done = activity, total, 0
        self._estimate_s = estimate_s
        self._started_s = self._logged_s = self._clock()
        estimate = {"estimate_s": round(estimate_s, 1)} if estimate_s else {}
        self._log.info(activity, total=total, **estimate)

    def _advance(self) -> None:
        self._done += 1
        now_s = self._clock()
        if now_s - self._logged_s < _LINE_INTERVAL_S:
            return
        self._logged_s = now_s
        elapsed_s = now_s - self._started_s
        rate = self._done / elapsed_s
        time_left_s = remaining_s(self._total - self._done, rate, elapsed_s, self._estimate_s)
        self._log.info(
            self._activity,
            done=self._done,
            total=self._total,
            a_second=round(rate, 1),
            remaining_s=round(time_left_s or 0.0),
            **{outcome.value: count for outcome, count in self._outcomes.items()},
        )


# What a person sees while a run goes on: a bar.


_BAR_MIN_WIDTH = 70
"""Below it the numbers alone fit."""
_FAILED_OUTCOMES = (Outcome.FAILED, Outcome.UNKNOWN)


def _no_wrap_column() -> Column:
    return Column(no_wrap=True)


class _RateColumn(ProgressColumn):
    """The rate, and the time that is still to come."""

    @override
    def render(self, task: Task) -> Text:
        steps_left = int((task.total or 0) - task.completed)
        time_left_s = remaining_s(
            steps_left, task.speed, task.elapsed or 0.0, task.fields["estimate_s"]
        )
        parts = [f"{task.speed:,.0f}/s"] if task.speed else []
        parts += [f"{formatting.format_countdown(time_left_s)} left"] if time_left_s else []
        return Text(" · ".join(parts), style="dim")


class _FailuresColumn(ProgressColumn):
    """How many deletions did not go well; nothing while all do."""

    @override
    def render(self, task: Task) -> Text:
        count = task.fields["trouble"]
        return Text(f"{count:,} failed" if count else "", style="bold red")


class BarProgressView:
    """A progress bar on stderr, with rate and remaining time."""

    def __init__(self, log: Logger, console: Console) -> None:
        self._log = log
        wide = console.width >= _BAR_MIN_WIDTH
        bar = BarColumn(
            bar_width=None,
            complete_style="cyan",
            finished_style="green",
            table_column=Column(ratio=1),
        )
        self._progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=_no_wrap_column()),
            *([bar] if wide else []),
            MofNCompleteColumn(table_column=_no_wrap_column()),
            _RateColumn(_no_wrap_column()),
            _FailuresColumn(_no_wrap_column()),
            console=console,
            transient=True,
            expand=True,
        )
        self._failures = 0

    def listing_started(self, projects: int) -> None:
        """So many projects are about to be read."""
        self._start("Reading", projects)

    def list_done(self) -> None:
        """One project has been read, or could not be."""
        self._advance()

    def deleting_started(self, deletions: int, estimate_s: float) -> None:
        """So many deletions are about to begin, and should take so long."""
        self._start("Deleting", deletions, estimate_s)

    def deletion_done(self, outcome: Outcome) -> None:
        """One deletion has ended."""
        self._failures += outcome in _FAILED_OUTCOMES
        self._advance()

    def warning(self, message: str) -> None:
        """Something deserves a look, and does not stop the run."""
        self._log.warning(message)

    def error(self, message: str) -> None:
        """Something has to be seen to, though the run goes on."""
        self._log.error(message)

    def close(self) -> None:
        """Take the bar away; what follows is the result."""
        self._progress.stop()

    def _start(self, activity: str, total: int, estimate_s: float = 0.0) -> None:
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        if total:
            self._progress.add_task(activity, total=total, estimate_s=estimate_s, trouble=0)
            self._progress.start()

    def _advance(self) -> None:
        """Move on; the last step takes the bar away, so that a question finds a clean screen."""
        for task in self._progress.task_ids:
            self._progress.update(task, advance=1, trouble=self._failures)
        if self._progress.finished:
            self.close()
