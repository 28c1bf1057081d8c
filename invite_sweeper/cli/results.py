"""What a run shows: its progress, then its result on stdout and its error on stderr."""

import os
import sys
import time
from pathlib import Path
from typing import Protocol

from rich.console import Console

from invite_sweeper.audit import AuditLog
from invite_sweeper.cli.exits import explain
from invite_sweeper.cli.options import Output
from invite_sweeper.cli.order import Order
from invite_sweeper.job import View
from invite_sweeper.report.progress import BarView, LineView, Log
from invite_sweeper.report.rows import read_shown
from invite_sweeper.report.summary import Summary
from invite_sweeper.report.table import plan_only, show
from invite_sweeper.totals import Ended

_ROWS = 50
_ROWS_VERBOSE = 1_000_000
_PLAIN_WIDTH = 120


class ClosableView(View, Protocol):
    """What a person sees, and can be taken away."""

    def close(self) -> None:
        """Take it away before the result is shown."""
        ...


def view_for(order: Order, log: Log) -> ClosableView:
    """Choose how the progress is shown: a bar for a person, lines for a log."""
    if sys.stderr.isatty() and not (order.quiet or order.calm):
        return BarView(log, Console(stderr=True))
    return LineView(log, time.monotonic)


def show_plan(order: Order, audit: AuditLog, start: int, summary: Summary) -> None:
    """Show the plan on stderr, before the question; it is on disk by then."""
    shown = read_shown(audit.path, summary.run_id, start=start, most=_rows(order))
    plan_only(Console(stderr=True), summary, shown)


def tell(order: Order, ended: Ended, path: Path, start: int) -> int:
    """Write the result to stdout where there is one, and the error to stderr.

    Returns:
        The exit code.
    """
    if ended.begun:
        if order.output is Output.JSON:
            sys.stdout.buffer.write(ended.summary.to_json())
            sys.stdout.buffer.flush()
        elif not order.quiet:
            shown = read_shown(path, ended.summary.run_id, start=start, most=_rows(order))
            show(stdout_console(), ended.summary, shown)
    if ended.error is not None:
        explain(ended.error)
    return ended.summary.exit_code


def stdout_console() -> Console:
    """The console of the result: as wide as the terminal, or wide enough for a file."""
    if sys.stdout.isatty():
        return Console()
    width = int(os.environ.get("COLUMNS", "0")) if os.environ.get("COLUMNS", "").isdecimal() else 0
    return Console(width=width or _PLAIN_WIDTH)


def _rows(order: Order) -> int:
    return _ROWS_VERBOSE if order.verbose else _ROWS
