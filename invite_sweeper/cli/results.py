"""What a run shows: its progress, then its result on stdout and its error on stderr."""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import orjson

from invite_sweeper.cli.exits import explain
from invite_sweeper.cli.options import Output
from invite_sweeper.cli.order import RunOptions
from invite_sweeper.job import View
from invite_sweeper.report.progress import LineView, Log
from invite_sweeper.totals import RunResult

if TYPE_CHECKING:
    from rich.console import Console

    from invite_sweeper.report.kept import KeptNames

_PLAIN_WIDTH = 120
_JSON = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z


class ClosableView(View, Protocol):
    """What a person sees, and can be taken away."""

    def close(self) -> None:
        """Take it away before the result is shown."""
        ...


def view_for(options: RunOptions, log: Log) -> ClosableView:
    """Choose how the progress is shown: a bar for a person, lines for a log."""
    if sys.stderr.isatty() and not (options.quiet or options.quiet_progress):
        from rich.console import Console

        from invite_sweeper.report.bar import BarView

        return BarView(log, Console(stderr=True))
    return LineView(log, time.monotonic)


def tell(
    options: RunOptions, ended: RunResult, path: Path, start: int, kept: "KeptNames | None" = None
) -> int:
    """Write the result to stdout where there is one, and the error to stderr.

    Args:
        start: The byte offset at which the run begins in the log.
        kept: The kept invitations by name, where they are to be told.

    Returns:
        The exit code.
    """
    if ended.reached_atlas:
        if options.output is Output.JSON:
            write_json(ended.summary.to_json())
        elif not options.quiet:
            from invite_sweeper.cli.tables import show_run

            show_run(stdout_console(), options, ended.summary, path, start, kept)
    if ended.error is not None:
        explain(ended.error)
    return ended.summary.exit_code


def stdout_console() -> "Console":
    """The console of the result: as wide as the terminal, or wide enough for a file."""
    from rich.console import Console

    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stdout.isatty():
        return Console()
    width = int(os.environ.get("COLUMNS", "0")) if os.environ.get("COLUMNS", "").isdecimal() else 0
    return Console(width=width or _PLAIN_WIDTH)


def write_json(result: Mapping[str, object]) -> None:
    """Write a result to stdout, as one line."""
    sys.stdout.buffer.write(orjson.dumps(result, option=_JSON))
    sys.stdout.buffer.flush()
