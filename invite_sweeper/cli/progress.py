"""What the operator sees of a run: its progress, the question before it deletes, its result.

Progress is a bar on a terminal, a log line every 30 seconds elsewhere. The result is on stdout;
what needs attention, and each error once, on stderr.
"""

import asyncio
import os
import sys
import termios
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from structlog.typing import FilteringBoundLogger
from typing_extensions import override

from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.events import RunWarning
from invite_sweeper.audit.reader import read_back
from invite_sweeper.cli.options import DEFAULT_PLAN_MAX_AGE
from invite_sweeper.cli.session import Session
from invite_sweeper.cli.streams import OUTPUTS, print_error, print_error_parts
from invite_sweeper.endings import Reason, WarningCode, WarningLevel
from invite_sweeper.errors import Advisor, Cancelled, GuardRefused
from invite_sweeper.json_text import json_line
from invite_sweeper.outcomes import Outcome
from invite_sweeper.policy import format_duration, parse_duration
from invite_sweeper.report import terminal
from invite_sweeper.report.document import Document, Fact
from invite_sweeper.report.run import (
    PlanToApply,
    lines_to_pass_on,
    question_about,
    result_json,
    result_of,
    what_needs_attention,
)
from invite_sweeper.report.story import errors_of
from invite_sweeper.report.terminal import RedactingConsole, stdout_console
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.command import Command

_LINE_INTERVAL_S: Final = 30.0
_MAX_LINE_BYTES = 1024


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
        self._outcomes: Counter[str] = Counter()
        self._logged_s = clock()
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failures]}", style="bold red"),
            console=console,
            transient=True,
            disable=console is None,
        )
        self._bar.add_task("", total=0, failures="")
        (self._task,) = self._bar.tasks

    def started(self, activity: str, count: int, where: str) -> None:
        """Show that `count` steps of an activity begin in an organization."""
        self._log.debug(activity.lower(), organization=where, count=count)
        task = self._task
        if activity != task.description:
            self._logged_s = self._clock()
            self._bar.reset(task.id, total=0, description=activity)
        # Organizations are read at the same time, and share one bar.
        self._bar.update(task.id, total=(task.total or 0) + count)
        if task.total:
            self._bar.start()

    def done(self, outcome: Outcome | None = None) -> None:
        """Show that one step ended; that of a deletion has an outcome."""
        if outcome is not None:
            self._outcomes[outcome.value] += 1
        task = self._task
        failed = self._outcomes["failed"] + self._outcomes["unknown"]
        self._bar.update(task.id, advance=1, failures=f"{failed:,} failed" if failed else "")
        if self._bar.finished:
            self.close()  # so that a question has a clean screen
        now_s = self._clock()
        if self._bar.disable and now_s - self._logged_s >= _LINE_INTERVAL_S:
            self._logged_s = now_s
            counts = {"done": round(task.completed), "total": round(task.total or 0)}
            self._log.info(task.description.lower(), **counts, **self._outcomes)

    def warn(self, warning: RunWarning) -> None:
        """Log a warning or remark; the run continues. What is announced is a line of its story."""
        if warning.code == WarningCode.NOTICE:
            return
        if warning.level == WarningLevel.URGENT:
            self._log.error(warning.message)
        elif warning.level == WarningLevel.REMARK:
            self._log.info(warning.message)
        else:
            self._log.warning(warning.message)

    async def confirms(self, record: RunRecord, until: datetime) -> bool:
        """Return False: where no question is asked, nothing is deleted."""
        del record, until
        return False

    def close(self) -> None:
        """Remove the bar; closing twice is allowed."""
        self._bar.stop()


async def confirm(stop: StopRequest, question: Document) -> bool:
    """Ask on the terminal; return whether the user confirmed, which end of input does not.

    Args:
        question: What would be done, and the question.

    Raises:
        GuardRefused: stderr is not a terminal, which would show the question.
        Interrupted: A signal or the deadline came first.
    """
    if not sys.stderr.isatty():
        raise GuardRefused(
            "Cannot ask for confirmation: stderr is not a terminal.",
            hint="Do not redirect stderr, or use --yes.",
            reasons=(Reason.NOT_CONFIRMED,),
        )
    terminal.show_document(RedactingConsole(stderr=True), question)
    # Discard input typed before the question was shown: it does not answer it.
    termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    sys.stderr.write("Type yes or no: ")
    sys.stderr.flush()
    OUTPUTS.is_asking = True
    answer = b""
    try:
        answer = await stop.run_unless_stopped(_read_line())
    finally:
        OUTPUTS.is_asking = OUTPUTS.is_asking and not answer.endswith(b"\n")
        OUTPUTS.end_question()
    if stop.reason is not None:
        raise stop.as_error()
    word = answer.strip().lower()
    if word == b"y":
        sys.stderr.write("Only the whole word yes confirms.\n")
    is_sent = answer.endswith(b"\n")  # end of input after the word confirms nothing
    return is_sent and word == b"yes"


async def _read_line() -> bytes:
    """Return a line, or what came before the end of input."""
    descriptor = sys.stdin.fileno()
    received = bytearray()
    loop = asyncio.get_running_loop()
    line: asyncio.Future[bytes] = loop.create_future()

    def read() -> None:  # what is there: waiting for a whole line would delay signals
        chunk = b""
        with suppress(OSError):  # the terminal is gone
            chunk = os.read(descriptor, _MAX_LINE_BYTES)
        received.extend(chunk)
        is_whole = not chunk or chunk.endswith(b"\n") or len(received) > _MAX_LINE_BYTES
        if is_whole and not line.done():
            line.set_result(bytes(received))

    loop.add_reader(descriptor, read)
    try:
        return await line
    finally:
        loop.remove_reader(descriptor)


class TerminalView(Progress):
    """What the operator sees during a sweep, and the question before it deletes.

    Attributes:
        has_shown_plan: The question was shown, with the whole plan above it.
        has_agreed: The answer to it was yes.
    """

    def __init__(self, session: Session, advisor: Advisor) -> None:
        super().__init__(session.log, session.terminal)
        self._session = session
        self._advisor = advisor
        self.has_shown_plan = False
        self.has_agreed = False

    @override
    def warn(self, warning: RunWarning) -> None:
        """Log a warning or remark; that a new log begins, also with `-q`.

        After a move without `--audit-dir`, limits and announcements begin anew without an error.
        """
        begins_log = (warning.code, warning.level) == (WarningCode.AUDIT_LOG, WarningLevel.REMARK)
        if begins_log and not self._session.is_demo:
            self._log.warning(warning.message)
        else:
            super().warn(warning)

    @override
    async def confirms(self, record: RunRecord, until: datetime) -> bool:
        """Show the plan as it is on disk, and return whether the operator agrees to it."""
        self.close()
        if not self._session.asks:
            return True
        question = question_about(read_back(record), self._advisor, until)
        self.has_shown_plan = sys.stderr.isatty()
        self.has_agreed = await confirm(self._session.stop, question)
        return self.has_agreed


def print_result(
    command: Command,
    session: Session,
    run: RunRecord,
    *,
    plan: PlanToApply | None = None,
    has_shown_plan: bool = False,
) -> None:
    """Write the result to stdout; what needs attention, and each error once, to stderr.

    Args:
        plan: Of a dry run, if a sweep can apply it.
        has_shown_plan: A question has shown the plan on this terminal.
    """
    advisor = command.advisor
    if session.prints_json:
        OUTPUTS.write(json_line(result_json(run, plan)))
    elif not session.quiet:
        console = stdout_console()
        lines_of_plan: tuple[Fact, ...] = ()
        if plan is not None:
            deciding = _deciding_options(command)
            lines_of_plan = tuple(lines_to_pass_on(plan, run, advisor, *deciding))
        result = result_of(
            run,
            advisor,
            plan=lines_of_plan,
            # The question was on stderr: stdout may be a file, which has all of the plan.
            differing_only=has_shown_plan and console.is_terminal,
            shown_above={"error", "warning"} if console.is_terminal else {"error"},
        )
        terminal.show_document(console, result, with_ids=session.shows_ids)
    if session.prints_json or session.quiet:
        for line in what_needs_attention(run, advisor).brief():
            advice = {"command": line.command} if line.command else {}
            session.log.warning(line.text, **advice)
    _print_errors(run)


def print_end_at_question(run: RunRecord, *, as_json: bool) -> None:
    """Print why a run ended at its question, below which nothing has changed: no, or a stop."""
    if as_json:
        OUTPUTS.write(json_line(result_json(run)))
    end = run.end
    if end is not None and Reason.NOT_CONFIRMED in end.reasons:
        print_error(Cancelled("Cancelled."))
    else:
        _print_errors(run)


def _print_errors(run: RunRecord) -> None:
    """Print each error of a run and of its organizations once."""
    if run.end is not None:
        for parts in errors_of(run.end):
            print_error_parts(parts)


def _deciding_options(command: Command) -> Sequence[str]:
    """Return the options that decided about a plan: the sweep that applies it needs them, too."""
    words: list[str] = []
    if command.shard is not None:
        words += ["--shard", str(command.shard)]
    if command.plan_max_age != parse_duration(DEFAULT_PLAN_MAX_AGE):
        words += ["--plan-max-age", format_duration(command.plan_max_age)]
    return words
