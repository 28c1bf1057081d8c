"""What a person sees while a run goes on: a bar."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
)
from rich.table import Column
from rich.text import Text
from typing_extensions import override

from invite_sweeper.outcome import Outcome
from invite_sweeper.report import wording
from invite_sweeper.report.progress import Log, remaining_s

_BAR_FROM_WIDTH = 70
"""Below it the numbers alone fit."""
_TROUBLE = (Outcome.FAILED, Outcome.UNKNOWN)


def _one_line() -> Column:
    return Column(no_wrap=True)


class _Pace(ProgressColumn):
    """The rate, and the time that is still to come."""

    @override
    def render(self, task: Task) -> Text:
        left = int((task.total or 0) - task.completed)
        left_s = remaining_s(left, task.speed, task.elapsed or 0.0, task.fields["estimate_s"])
        told = [f"{task.speed:,.0f}/s"] if task.speed else []
        told += [f"{wording.clock(left_s)} left"] if left_s else []
        return Text(" · ".join(told), style="dim")


class _Trouble(ProgressColumn):
    """How many deletions did not go well; nothing while all do."""

    @override
    def render(self, task: Task) -> Text:
        count = task.fields["trouble"]
        return Text(f"{count:,} failed" if count else "", style="bold red")


class BarView:
    """A progress bar on stderr, with rate and remaining time."""

    def __init__(self, log: Log, console: Console) -> None:
        self._log = log
        wide = console.width >= _BAR_FROM_WIDTH
        bar = BarColumn(
            bar_width=None,
            complete_style="cyan",
            finished_style="green",
            table_column=Column(ratio=1),
        )
        self._progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=_one_line()),
            *([bar] if wide else []),
            MofNCompleteColumn(table_column=_one_line()),
            _Pace(_one_line()),
            _Trouble(_one_line()),
            console=console,
            transient=True,
            expand=True,
        )
        self._trouble = 0

    def walking(self, projects: int) -> None:
        """So many projects are about to be read."""
        self._begin("Reading", projects)

    def walked(self) -> None:
        """One project has been read, or could not be."""
        self._step()

    def sweeping(self, deletions: int, estimate_s: float) -> None:
        """So many deletions are about to begin, and should take so long."""
        self._begin("Deleting", deletions, estimate_s)

    def swept(self, outcome: Outcome) -> None:
        """One deletion has ended."""
        self._trouble += outcome in _TROUBLE
        self._step()

    def warn(self, sentence: str) -> None:
        """Something deserves a look, and does not stop the run."""
        self._log.warning(sentence)

    def alarm(self, sentence: str) -> None:
        """Something has to be seen to, though the run goes on."""
        self._log.error(sentence)

    def close(self) -> None:
        """Take the bar away; what follows is the result."""
        self._progress.stop()

    def _begin(self, doing: str, total: int, estimate_s: float = 0.0) -> None:
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        if total:
            self._progress.add_task(doing, total=total, estimate_s=estimate_s, trouble=0)
            self._progress.start()

    def _step(self) -> None:
        """Move on; the last step takes the bar away, so that a question finds a clean screen."""
        for task in self._progress.task_ids:
            self._progress.update(task, advance=1, trouble=self._trouble)
        if self._progress.finished:
            self.close()
