"""What a run shows: its progress, then its result on stdout and its error on stderr."""

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from rich.console import Console

from invite_sweeper.audit import AuditLog
from invite_sweeper.cli.exits import explain
from invite_sweeper.cli.options import Output
from invite_sweeper.cli.order import Order
from invite_sweeper.errors import AuditUnwritable
from invite_sweeper.job import View
from invite_sweeper.policy import Limits
from invite_sweeper.report.kept import KeptNames
from invite_sweeper.report.progress import LineView, Log
from invite_sweeper.report.question import question
from invite_sweeper.report.readback import read_shown
from invite_sweeper.report.rows import Shown
from invite_sweeper.report.summary import Summary
from invite_sweeper.report.table import plan_only, show
from invite_sweeper.totals import Ended

_ROWS = 50
_ROWS_VERBOSE = 1_000
_PLAIN_WIDTH = 120


class ClosableView(View, Protocol):
    """What a person sees, and can be taken away."""

    def close(self) -> None:
        """Take it away before the result is shown."""
        ...


def view_for(order: Order, log: Log) -> ClosableView:
    """Choose how the progress is shown: a bar for a person, lines for a log."""
    if sys.stderr.isatty() and not (order.quiet or order.calm):
        from invite_sweeper.report.bar import BarView

        return BarView(log, Console(stderr=True))
    return LineView(log, time.monotonic)


def presentation(
    order: Order, audit: AuditLog, limits: Limits
) -> Callable[[Console, Summary], None]:
    """Give what shows the plan and the question; the plan is on disk by then.

    The run begins in the log where the log ends now.
    """
    read = partial(_read, order, audit.path, audit.position)

    def present(console: Console, summary: Summary) -> None:
        shown = read(summary)
        if shown.planned != summary.stale - summary.trimmed:
            raise AuditUnwritable("The plan cannot be read back from the audit log.")
        plan_only(console, summary, shown)
        console.print(question(summary, shown, limits), end="")

    return present


def tell(order: Order, ended: Ended, path: Path, start: int, kept: KeptNames | None = None) -> int:
    """Write the result to stdout where there is one, and the error to stderr.

    Args:
        start: The byte offset at which the run begins in the log.
        kept: The kept invitations by name, where they are to be told.

    Returns:
        The exit code.
    """
    if ended.begun:
        if order.output is Output.JSON:
            write_bytes(ended.summary.to_json())
        elif not order.quiet:
            shown = _read(order, path, start, ended.summary)
            show(stdout_console(), ended.summary, shown, kept=kept)
    if ended.error is not None:
        explain(ended.error)
    return ended.summary.exit_code


def stdout_console() -> Console:
    """The console of the result: as wide as the terminal, or wide enough for a file."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stdout.isatty():
        return Console()
    width = int(os.environ.get("COLUMNS", "0")) if os.environ.get("COLUMNS", "").isdecimal() else 0
    return Console(width=width or _PLAIN_WIDTH)


def _read(order: Order, path: Path, start: int, summary: Summary) -> Shown:
    """Read the run back; where the log cannot be read the totals are told all the same."""
    most = _ROWS_VERBOSE if order.verbose else _ROWS
    planned = summary.stale - summary.trimmed
    try:
        return read_shown(path, summary.run_id, start=start, most=most, planned=planned)
    except OSError:
        return Shown()


def write_bytes(data: bytes) -> None:
    """Write a result to stdout."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
