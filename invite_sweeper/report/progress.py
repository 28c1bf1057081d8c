"""Progress of a run: a bar on a terminal, log lines elsewhere."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text
from structlog.typing import FilteringBoundLogger
from typing_extensions import override

from invite_sweeper.models import Outcome
from invite_sweeper.report import formatting
from invite_sweeper.text import escape_unprintable

_LINE_INTERVAL_S = 30.0


class _LoggingView(ABC):
    """A view whose messages go to the program's log."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log

    def list_done(self) -> None:
        """Count one project as read or unreadable."""
        self._advance()

    def remark(self, message: str) -> None:
        """Log a remark, below the level that `-q` shows."""
        self._log.info(message)

    def warning(self, message: str) -> None:
        """Log a warning; the run continues."""
        self._log.warning(message)

    def error(self, message: str) -> None:
        """Log an error that needs action; the run continues."""
        self._log.error(message)

    @abstractmethod
    def _advance(self) -> None:
        """Count one step."""


class LogProgressView(_LoggingView):
    """Progress as one log line every 30 seconds, for runs without a terminal."""

    def __init__(self, log: FilteringBoundLogger, clock: Callable[[], float]) -> None:
        super().__init__(log)
        self._clock = clock
        self._activity = ""
        self._where = ""
        self._total = 0
        self._done = 0
        self._outcomes: Counter[Outcome] = Counter()
        self._started_s = self._logged_s = clock()

    def listing_started(self, projects: int, where: str) -> None:
        """Start the listing of this number of projects of the named organizations."""
        self._start("reading projects", projects, where)

    def deleting_started(self, deletions: int, where: str) -> None:
        """Start this number of deletions there."""
        self._start("deleting invitations", deletions, where)

    def deletion_done(self, outcome: Outcome) -> None:
        """Count one completed deletion."""
        self._outcomes[outcome] += 1
        self._advance()

    def close(self) -> None:
        """End the progress; log lines need no cleanup."""

    def _start(self, activity: str, total: int, where: str) -> None:
        self._activity, self._total, self._done = activity, total, 0
        self._where = where
        self._started_s = self._logged_s = self._clock()
        self._log.info(activity, organization=where, total=total)

    @override
    def _advance(self) -> None:
        self._done += 1
        now_s = self._clock()
        if now_s - self._logged_s < _LINE_INTERVAL_S:
            return
        self._logged_s = now_s
        elapsed_s = now_s - self._started_s
        rate = self._done / elapsed_s
        self._log.info(
            self._activity,
            organization=self._where,
            done=self._done,
            total=self._total,
            per_second=round(rate, 1),
            remaining_s=round((self._total - self._done) / rate),
            **{outcome.value: count for outcome, count in self._outcomes.items()},
        )


_BAR_MIN_WIDTH = 70
"""Terminal cells; a narrower terminal shows the numbers only."""
_COUNTS_WIDTH = 60
"""What the description leaves to the bar, the counts and the times."""
_FAILED_OUTCOMES = (Outcome.FAILED, Outcome.UNKNOWN)


def _no_wrap_column() -> Column:
    return Column(no_wrap=True)


class _RateColumn(ProgressColumn):
    """The rate and the remaining time."""

    @override
    def render(self, task: Task) -> Text:
        if not task.speed:
            return Text()
        parts = [f"{task.speed:,.0f}/s"]
        if left := (task.total or 0) - task.completed:
            parts.append(f"{formatting.format_countdown(left / task.speed)} left")
        return Text(" · ".join(parts), style="dim")


class _FailuresColumn(ProgressColumn):
    """The number of failed deletions; empty if it is zero."""

    @override
    def render(self, task: Task) -> Text:
        count = task.fields["failures"]
        return Text(f"{count:,} failed" if count else "", style="bold red")


class BarProgressView(_LoggingView):
    """A progress bar on stderr, with rate and remaining time."""

    def __init__(self, log: FilteringBoundLogger, console: Console) -> None:
        super().__init__(log)
        self._free_width = console.width - _COUNTS_WIDTH
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

    def listing_started(self, projects: int, where: str) -> None:
        """Start the listing of this number of projects of the named organizations."""
        self._start(f"Reading{self._place(where)}", projects)

    def deleting_started(self, deletions: int, where: str) -> None:
        """Start this number of deletions there."""
        self._start(f"Deleting{self._place(where)}", deletions)

    def deletion_done(self, outcome: Outcome) -> None:
        """Count one completed deletion."""
        self._failures += outcome in _FAILED_OUTCOMES
        self._advance()

    def close(self) -> None:
        """Remove the bar."""
        self._progress.stop()

    def _place(self, where: str) -> str:
        """Return the organization, cut to the room that there is; nothing without room."""
        name = escape_unprintable(where)
        if self._free_width <= 0:
            return ""
        return f" · {name if len(name) <= self._free_width else name[: self._free_width - 1] + '…'}"

    def _start(self, activity: str, total: int) -> None:
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        if total:
            self._progress.add_task(activity, total=total, failures=0)
            self._progress.start()

    @override
    def _advance(self) -> None:
        """Count one step; the last one removes the bar, so that a prompt has a clean screen."""
        for task in self._progress.task_ids:
            self._progress.update(task, advance=1, failures=self._failures)
        if self._progress.finished:
            self.close()
