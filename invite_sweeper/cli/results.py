"""What a run returns to its caller: stdout, exit code, metrics and notifications."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import orjson
from rich.console import Console

from invite_sweeper.audit import AuditLog
from invite_sweeper.cli.confirm import question
from invite_sweeper.cli.console import stdout_console
from invite_sweeper.cli.options import Output, RunOptions
from invite_sweeper.cli.streams import print_error as explain
from invite_sweeper.errors import AuditUnwritable, ExitCode, RunError
from invite_sweeper.models import Log
from invite_sweeper.policy import Limits, Notification
from invite_sweeper.report.metrics import push, write_textfile
from invite_sweeper.report.progress import BarView, LineView
from invite_sweeper.report.run_view import KeptNames, Shown, read_shown
from invite_sweeper.report.tables import plan_only, show
from invite_sweeper.report.webhooks import announce_end, announce_start
from invite_sweeper.sweep.run import View
from invite_sweeper.sweep.summary import RunResult, RunSummary, merge_summaries
from invite_sweeper.text import counted

if TYPE_CHECKING:
    from rich.console import Console

    from invite_sweeper.report.run_view import KeptNames


class Told(NamedTuple):
    """What there is to tell of one run.

    Attributes:
        ended: None where it did not come to a run; `error` then says why.
        path: Its audit log, in which it begins at byte `start`.
        kept: The kept invitations by name, where the result is to tell them.
    """

    ended: RunResult | None
    error: RunError | None
    path: Path = Path()
    start: int = 0
    kept: "KeptNames | None" = None


# What a run shows: its progress, then its result on stdout and its error on stderr.


_JSON = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z


class ClosableView(View, Protocol):
    """What a person sees, and can be taken away."""

    def close(self) -> None:
        """Take it away before the result is shown."""
        ...


def view_for(options: RunOptions, log: Log) -> ClosableView:
    """Choose how the progress is shown: a bar for a person, lines for a log."""
    if sys.stderr.isatty() and not (options.quiet or options.quiet_progress):
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
            show_run(stdout_console(), options, ended.summary, path, start, kept)
    if ended.error is not None:
        explain(ended.error)
    return ended.summary.exit_code


def write_json(result: Mapping[str, object]) -> None:
    """Write a result to stdout, as one line."""
    sys.stdout.buffer.write(orjson.dumps(result, option=_JSON))
    sys.stdout.buffer.flush()


# What a command ends with: the result of its one run, or of several put together.


_FIRST = (ExitCode.STOPPED, ExitCode.AUDIT)


def exit_code(told: Sequence[Told]) -> int:
    """Give the code of several runs: their own where they agree, else the plainest truth.

    A stop or a log that failed says more than what the other runs came to; 0 and 10 are both
    well, and anything else beside them is partly done.
    """
    codes = [_code(each) for each in told]
    if len(set(codes)) == 1:
        return codes[0]
    for code in _FIRST:
        if code in codes:
            return int(code)
    succeeded = all(ExitCode(code).succeeded for code in codes)
    return int(ExitCode.STALE if succeeded else ExitCode.PARTLY)


def tell_all(options: RunOptions, told: Sequence[Told]) -> int:
    """Write each result to stdout, and each error to stderr; gives the exit code.

    `--output json` stays one object: the totals of all runs, and each run under `runs`.
    """
    code = exit_code(told)
    if len(told) == 1 or options.output is Output.TEXT:
        for each in told:
            _tell(options, each)
        return code
    ended = [each.ended for each in told if each.ended is not None]
    runs = [each.summary.to_json() for each in ended if each.reached_atlas]
    if runs:
        total = merge_summaries([each.summary for each in ended], code)
        write_json({**total.to_json(), "runs": runs})
    for each in told:
        if each.error is not None:
            explain(each.error)
    return code


def _tell(options: RunOptions, told: Told) -> None:
    if told.ended is not None:
        tell(options, told.ended, told.path, told.start, told.kept)
    elif told.error is not None:
        explain(told.error)


def _code(told: Told) -> int:
    if told.ended is not None:
        return told.ended.summary.exit_code
    return int(told.error.exit_code if told.error is not None else ExitCode.DEFECT)


# What went wrong in a run, by name, where no table is shown that tells it.


NAMED: Final = 10
"""So many are named of each kind: a mail from cron is read, and the audit log has all."""


def by_name(options: RunOptions, told: Sequence[Told]) -> Iterator[str]:
    """Give a sentence for each project that was not read and each deletion that is not known done.

    The audit log tells it, so this costs nothing where all went well.
    """
    if not options.quiet and options.output is Output.TEXT:
        return
    for each in told:
        if each.ended is not None and _trouble(each.ended.summary):
            yield from _of(each, each.ended.summary)


def _trouble(summary: RunSummary) -> int:
    return summary.projects_unreadable + _undone(summary)


def _undone(summary: RunSummary) -> int:
    return summary.failed + summary.unknown


def _of(told: Told, summary: RunSummary) -> Iterator[str]:
    # Who became a member is among the same rows, and was told at once.
    most = NAMED + summary.accepted_during
    try:
        shown = read_shown(told.path, summary.run_id, start=told.start, most=most, planned=0)
    except OSError as error:
        yield f"The audit log {told.path} cannot be read back: {error.strerror}."
        return
    lost = shown.lost[:NAMED]
    for project in lost:
        yield f"{project.project or '(no name)'} was not read: {project.reason}"
    yield from _rest(summary.projects_unreadable - len(lost), "project", summary.audit_log)
    undone = [row for row in shown.astray if row.outcome in {"failed", "unknown"}][:NAMED]
    for row in undone:
        who = f"{row.username or '(no address)'} in {row.project or '(no name)'}"
        yield f"{who} may still be invited: {row.outcome}, {row.detail}"
    yield from _rest(_undone(summary) - len(undone), "deletion", summary.audit_log)


def _rest(count: int, noun: str, audit_log: str) -> Iterator[str]:
    if count > 0:
        yield f"And {counted(count, f'more {noun}')}; see the audit log {audit_log}."


# The plan and the result as tables for a person; a run that is told in JSON loads none of it.


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


# Who is told of a run: metrics and notifications; trouble with them is said and no more.


async def begin(
    notifications: tuple[Notification, ...], environment: Mapping[str, str]
) -> tuple[str, ...]:
    """Tell those who wait for a sign of life that a run begins; gives what went wrong."""
    if not notifications:
        return ()
    return await announce_start(notifications, environment)


async def end(
    notifications: tuple[Notification, ...],
    environment: Mapping[str, str],
    summary: RunSummary,
    *,
    metrics_file: Path | None,
    pushgateway: str | None,
) -> tuple[str, ...]:
    """Write metrics and tell people how a run ended; gives what went wrong, never raises."""
    if not notifications and metrics_file is None and pushgateway is None:
        return ()
    summary = replace(summary, finished_at=datetime.now(UTC))
    said: list[str] = []
    if metrics_file is not None or pushgateway is not None:
        said += await _metrics(summary, metrics_file, pushgateway)
    if notifications:
        said += await announce_end(notifications, environment, summary)
    return tuple(said)


async def _metrics(
    summary: RunSummary, metrics_file: Path | None, pushgateway: str | None
) -> tuple[str, ...]:
    said: tuple[str, ...] = ()
    if metrics_file is not None:
        said += write_textfile(metrics_file, summary)
    if pushgateway is not None:
        said += await asyncio.to_thread(push, pushgateway, summary)
    return said
