"""What a person sees while a run goes on: a bar on a terminal, a log line elsewhere."""

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

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


class LineView:
    """One log line now and then: where nobody watches, a bar is noise."""

    def __init__(self, log: Log, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._doing = ""
        self._total = 0
        self._done = 0
        self._outcomes: Counter[str] = Counter()
        self._began_s = self._said_s = clock()

    def walking(self, projects: int) -> None:
        """So many projects are about to be read."""
        self._begin("reading projects", projects)

    def walked(self) -> None:
        """One project has been read, or could not be."""
        self._step()

    def sweeping(self, deletions: int) -> None:
        """So many deletions are about to begin."""
        self._begin("deleting invitations", deletions)

    def swept(self, outcome: Outcome) -> None:
        """One deletion has ended."""
        self._outcomes[outcome.value] += 1
        self._step()

    def warn(self, sentence: str) -> None:
        """Something deserves a look, and does not stop the run."""
        self._log.warning(sentence)

    def close(self) -> None:
        """The run has ended; nothing is left to take away."""

    def _begin(self, doing: str, total: int) -> None:
        self._doing, self._total, self._done = doing, total, 0
        self._began_s = self._said_s = self._clock()
        self._log.info(doing, total=total)

    def _step(self) -> None:
        self._done += 1
        now_s = self._clock()
        if now_s - self._said_s < _LINE_EVERY_S:
            return
        self._said_s = now_s
        rate = self._done / (now_s - self._began_s)
        self._log.info(
            self._doing,
            done=self._done,
            total=self._total,
            a_second=round(rate, 1),
            remaining_s=round((self._total - self._done) / rate),
            **self._outcomes,
        )


class BarView:
    """A progress bar on stderr, with rate and remaining time."""

    def __init__(self, log: Log, console: Console) -> None:
        self._log = log
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None

    def walking(self, projects: int) -> None:
        """So many projects are about to be read."""
        self._begin("Reading projects", projects)

    def walked(self) -> None:
        """One project has been read, or could not be."""
        self._step()
        if self._progress.finished:
            self.close()

    def sweeping(self, deletions: int) -> None:
        """So many deletions are about to begin."""
        self._begin("Deleting invitations", deletions)

    def swept(self, outcome: Outcome) -> None:  # noqa: ARG002 - the bar shows how many, not which
        """One deletion has ended."""
        self._step()

    def warn(self, sentence: str) -> None:
        """Something deserves a look, and does not stop the run."""
        self._log.warning(sentence)

    def close(self) -> None:
        """Take the bar away; what follows is the result."""
        self._progress.stop()

    def _begin(self, doing: str, total: int) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(doing, total=total, rate="")
        self._progress.start()

    def _step(self) -> None:
        if self._task is not None:
            speed = self._progress.tasks[0].speed
            rate = f"{speed:.0f}/s" if speed else ""
            self._progress.update(self._task, advance=1, rate=rate)
