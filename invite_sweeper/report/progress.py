"""Progress of a run: a bar on a terminal, a log line every 30 seconds elsewhere."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bar,
)
from structlog.typing import FilteringBoundLogger

from invite_sweeper.audit.events import RunFinished, RunWarning
from invite_sweeper.endings import WarningCode, WarningLevel
from invite_sweeper.models import Outcome
from invite_sweeper.text import escape_unprintable

_LINE_INTERVAL_S: Final = 30.0
_FAILED: Final = (Outcome.FAILED, Outcome.UNKNOWN)


class Progress:
    """What the operator sees while a run reads and deletes; messages go to the program's log.

    Args:
        console: A terminal for the bar; None for log lines.
    """

    def __init__(
        self,
        log: FilteringBoundLogger,
        console: Console | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._clock = clock
        self._activity = ""
        self._total = self._done = 0
        self._outcomes: Counter[str] = Counter()
        self._logged_s = clock()
        self._bar: Bar | None = None
        if console is not None:
            self._bar = Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[failures]}", style="bold red"),
                console=console,
                transient=True,
            )

    def lists_found(self, count: int, where: str) -> None:
        """Show that this number of lists will be read, too."""
        self._log.debug("reading lists", organization=where, lists=count)
        self._start("Reading lists", count)

    def list_done(self) -> None:
        """Show that one list was read, or could not be."""
        self._advance()

    def deleting_started(self, deletions: int, where: str) -> None:
        """Show that this number of deletions begins."""
        self._log.debug("deleting invitations", organization=where, total=deletions)
        self._start("Deleting invitations", deletions)

    def deletion_done(self, outcome: Outcome) -> None:
        """Show that one deletion ended."""
        self._outcomes[outcome.value] += 1
        self._advance()

    def warn(self, warning: RunWarning) -> None:
        """Log a warning or remark; the run continues. What is announced is a line of its story."""
        match warning.level:
            case _ if warning.code == WarningCode.NOTICE:
                pass
            case WarningLevel.REMARK:
                self._log.info(warning.message)
            case WarningLevel.URGENT:
                self._log.error(warning.message)
            case _:
                self._log.warning(warning.message)

    async def confirms(self, result: RunFinished) -> bool:
        """Return whether to go on with the plan: no question is asked."""
        del result
        return True

    def close(self) -> None:
        """Remove the bar; closing twice is allowed."""
        if self._bar is not None:
            self._bar.stop()

    def _start(self, activity: str, count: int) -> None:
        if activity != self._activity:
            self._activity, self._total, self._done = activity, 0, 0
            self._logged_s = self._clock()
        self._total += count
        if self._bar is None or not self._total:
            return
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
        name = escape_unprintable(activity)
        self._bar.add_task(name, total=self._total, completed=self._done, failures="")
        self._bar.start()

    def _advance(self) -> None:
        self._done += 1
        if self._bar is not None:
            failed = sum(self._outcomes[each.value] for each in _FAILED)
            for task in self._bar.task_ids:
                failures = f"{failed:,} failed" if failed else ""
                self._bar.update(task, advance=1, failures=failures)
            if self._bar.finished:
                self.close()  # so that a question has a clean screen
            return
        now_s = self._clock()
        if now_s - self._logged_s >= _LINE_INTERVAL_S:
            self._logged_s = now_s
            activity = self._activity.lower()
            self._log.info(activity, done=self._done, total=self._total, **self._outcomes)
