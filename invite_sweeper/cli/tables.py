"""The plan and the result as tables for a person; a run that is told in JSON loads none of it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console

from invite_sweeper.audit import AuditLog
from invite_sweeper.cli.order import RunOptions
from invite_sweeper.errors import AuditUnwritable
from invite_sweeper.policy import Limits
from invite_sweeper.report.kept import KeptNames
from invite_sweeper.report.question import question
from invite_sweeper.report.readback import read_shown
from invite_sweeper.report.rows import Shown
from invite_sweeper.report.table import plan_only, show
from invite_sweeper.totals import RunSummary

_ROWS = 50
_ROWS_VERBOSE = 1_000


def presentation(
    options: RunOptions, audit: AuditLog, limits: Limits
) -> Callable[[Console, RunSummary], None]:
    """Give what shows the plan and the question; the plan is on disk by then.

    The run begins in the log where the log ends now.
    """
    read = partial(_read, options, audit.path, audit.position)

    def present(console: Console, summary: RunSummary) -> None:
        shown = read(summary)
        if shown.planned != summary.stale - summary.trimmed:
            raise AuditUnwritable("The plan cannot be read back from the audit log.")
        plan_only(console, summary, shown)
        console.print(question(summary, shown, limits), end="")

    return present


def show_run(
    console: Console,
    options: RunOptions,
    summary: RunSummary,
    path: Path,
    start: int,
    kept: KeptNames | None,
) -> None:
    """Write what came of a run.

    Args:
        start: The byte offset at which the run begins in the log.
        kept: The kept invitations by name, where they are to be told.
    """
    show(console, summary, _read(options, path, start, summary), kept=kept)


def _read(options: RunOptions, path: Path, start: int, summary: RunSummary) -> Shown:
    """Read the run back; where the log cannot be read the totals are told all the same."""
    most = _ROWS_VERBOSE if options.verbose else _ROWS
    planned = summary.stale - summary.trimmed
    try:
        return read_shown(path, summary.run_id, start=start, most=most, planned=planned)
    except OSError:
        return Shown()
