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
from invite_sweeper.cli.confirm import render_question
from invite_sweeper.cli.console import stdout_console
from invite_sweeper.cli.options import Output, RunOptions
from invite_sweeper.cli.streams import print_error as explain
from invite_sweeper.errors import AuditLogError, ExitCode, RunError
from invite_sweeper.models import Logger
from invite_sweeper.policy import Limits, Notification
from invite_sweeper.report.metrics import push, write_textfile
from invite_sweeper.report.progress import BarProgressView, LogProgressView
from invite_sweeper.report.run_view import KeptInvitations, RunView, load_run_view
from invite_sweeper.report.tables import show, show_plan
from invite_sweeper.report.webhooks import send_end, send_start
from invite_sweeper.sweep.run import ProgressView
from invite_sweeper.sweep.summary import RunResult, RunSummary, merge_summaries
from invite_sweeper.text import pluralize

if TYPE_CHECKING:
    from rich.console import Console

    from invite_sweeper.report.run_view import KeptInvitations


class RunReport(NamedTuple):
    """What there is to tell of one run.

    Attributes:
        ended: None where it did not come to a run; `error` then says why.
        path: Its audit log, in which it begins at byte `start`.
        kept: The kept invitations by name, where the result is to tell them.
    """

    result: RunResult | None
    error: RunError | None
    log_file: Path = Path()
    log_offset: int = 0
    kept_invitations: "KeptInvitations | None" = None


# What a run shows: its progress, then its result on stdout and its error on stderr.


_JSON = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z


class ClosableProgressView(ProgressView, Protocol):
    """What a person sees, and can be taken away."""

    def close(self) -> None:
        """Take it away before the result is shown."""
        ...


def progress_view(options: RunOptions, log: Logger) -> ClosableProgressView:
    """Choose how the progress is shown: a bar for a person, lines for a log."""
    if sys.stderr.isatty() and not (options.quiet or options.quiet_progress):
        return BarProgressView(log, Console(stderr=True))
    return LogProgressView(log, time.monotonic)


def report_run(
    options: RunOptions,
    result: RunResult,
    log_file: Path,
    log_offset: int,
    kept_invitations: "KeptInvitations | None" = None,
) -> int:
    """Write the result to stdout where there is one, and the error to stderr.

    Args:
        start: The byte offset at which the run begins in the log.
        kept: The kept invitations by name, where they are to be told.

    Returns:
        The exit code.
    """
    if result.reached_atlas:
        if options.output is Output.JSON:
            write_json(result.summary.to_json())
        elif not options.quiet:
            show_run(
                stdout_console(), options, result.summary, log_file, log_offset, kept_invitations
            )
    if result.error is not None:
        explain(result.error)
    return result.summary.exit_code


def write_json(result: Mapping[str, object]) -> None:
    """Write a result to stdout, as one line."""
    sys.stdout.buffer.write(orjson.dumps(result, option=_JSON))
    sys.stdout.buffer.flush()


# What a command ends with: the result of its one run, or of several put together.


_PRIORITY_CODES = (ExitCode.INTERRUPTED, ExitCode.AUDIT)


def combined_exit_code(reports: Sequence[RunReport]) -> int:
    """Give the code of several runs: their own where they agree, else the plainest truth.

    A stop or a log that failed says more than what the other runs came to; 0 and 10 are both
    well, and anything else beside them is partly done.
    """
    codes = [_exit_code(each) for each in reports]
    if len(set(codes)) == 1:
        return codes[0]
    for code in _PRIORITY_CODES:
        if code in codes:
            return int(code)
    succeeded = all(ExitCode(code).succeeded for code in codes)
    return int(ExitCode.STALE if succeeded else ExitCode.PARTIAL)


def report_all(options: RunOptions, reports: Sequence[RunReport]) -> int:
    """Write each result to stdout, and each error to stderr; gives the exit code.

    `--output json` stays one object: the totals of all runs, and each run under `runs`.
    """
    code = combined_exit_code(reports)
    if len(reports) == 1 or options.output is Output.TEXT:
        for each in reports:
            _report_one(options, each)
        return code
    ended = [each.result for each in reports if each.result is not None]
    runs = [each.summary.to_json() for each in ended if each.reached_atlas]
    if runs:
        total = merge_summaries([each.summary for each in ended], code)
        write_json({**total.to_json(), "runs": runs})
    for each in reports:
        if each.error is not None:
            explain(each.error)
    return code


def _report_one(options: RunOptions, report: RunReport) -> None:
    if report.result is not None:
        report_run(
            options, report.result, report.log_file, report.log_offset, report.kept_invitations
        )
    elif report.error is not None:
        explain(report.error)


def _exit_code(report: RunReport) -> int:
    if report.result is not None:
        return report.result.summary.exit_code
    return int(report.error.exit_code if report.error is not None else ExitCode.DEFECT)


# What went wrong in a run, by name, where no table is shown that tells it.


MAX_NAMED: Final = 10
"""So many are named of each kind: a mail from cron is read, and the audit log has all."""


def failure_messages(options: RunOptions, reports: Sequence[RunReport]) -> Iterator[str]:
    """Give a sentence for each project that was not read and each deletion that is not known done.

    The audit log tells it, so this costs nothing where all went well.
    """
    if not options.quiet and options.output is Output.TEXT:
        return
    for each in reports:
        if each.result is not None and _failure_count(each.result.summary):
            yield from _run_failures(each, each.result.summary)


def _failure_count(summary: RunSummary) -> int:
    return summary.projects_unreadable + _unfinished_count(summary)


def _unfinished_count(summary: RunSummary) -> int:
    return summary.failed + summary.unknown


def _run_failures(report: RunReport, summary: RunSummary) -> Iterator[str]:
    # Who became a member is among the same rows, and was told at once.
    max_rows = MAX_NAMED + summary.accepted_during
    try:
        view = load_run_view(
            report.log_file, summary.run_id, start=report.log_offset, max_rows=max_rows, planned=0
        )
    except OSError as error:
        yield f"The audit log {report.log_file} cannot be read back: {error.strerror}."
        return
    unreadable = view.unreadable[:MAX_NAMED]
    for project in unreadable:
        yield f"{project.project or '(no name)'} was not read: {project.reason}"
    yield from _more_message(
        summary.projects_unreadable - len(unreadable), "project", summary.audit_log
    )
    unfinished = [row for row in view.failed if row.outcome in {"failed", "unknown"}][:MAX_NAMED]
    for row in unfinished:
        who = f"{row.username or '(no address)'} in {row.project or '(no name)'}"
        yield f"{who} may still be invited: {row.outcome}, {row.detail}"
    yield from _more_message(
        _unfinished_count(summary) - len(unfinished), "deletion", summary.audit_log
    )


def _more_message(count: int, noun: str, audit_log: str) -> Iterator[str]:
    if count > 0:
        yield f"And {pluralize(count, f'more {noun}')}; see the audit log {audit_log}."


# The plan and the result as tables for a person; a run that is told in JSON loads none of it.


_MAX_ROWS = 50
_MAX_ROWS_VERBOSE = 1_000


def plan_presenter(
    options: RunOptions, audit: AuditLog, limits: Limits
) -> Callable[[Console, RunSummary], None]:
    """Give what shows the plan and the question; the plan is on disk by then.

    The run begins in the log where the log ends now.
    """
    load_view = partial(_load_view, options, audit.path, audit.offset)

    def present(console: Console, summary: RunSummary) -> None:
        shown = load_view(summary)
        if shown.planned != summary.stale - summary.trimmed:
            raise AuditLogError("The plan cannot be read back from the audit log.")
        show_plan(console, summary, shown)
        console.print(render_question(summary, shown, limits), end="")

    return present


def show_run(
    console: Console,
    options: RunOptions,
    summary: RunSummary,
    log_file: Path,
    log_offset: int,
    kept_invitations: KeptInvitations | None,
) -> None:
    """Write what came of a run.

    Args:
        start: The byte offset at which the run begins in the log.
        kept: The kept invitations by name, where they are to be told.
    """
    show(
        console,
        summary,
        _load_view(options, log_file, log_offset, summary),
        kept_invitations=kept_invitations,
    )


def _load_view(
    options: RunOptions, log_file: Path, log_offset: int, summary: RunSummary
) -> RunView:
    """Read the run back; where the log cannot be read the totals are told all the same."""
    max_rows = _MAX_ROWS_VERBOSE if options.verbose else _MAX_ROWS
    planned = summary.stale - summary.trimmed
    try:
        return load_run_view(
            log_file, summary.run_id, start=log_offset, max_rows=max_rows, planned=planned
        )
    except OSError:
        return RunView()


# Who is told of a run: metrics and notifications; trouble with them is said and no more.


async def notify_start(
    notifications: tuple[Notification, ...], environment: Mapping[str, str]
) -> tuple[str, ...]:
    """Tell those who wait for a sign of life that a run begins; gives what went wrong."""
    if not notifications:
        return ()
    return await send_start(notifications, environment)


async def notify_end(
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
    messages: list[str] = []
    if metrics_file is not None or pushgateway is not None:
        messages += await _export_metrics(summary, metrics_file, pushgateway)
    if notifications:
        messages += await send_end(notifications, environment, summary)
    return tuple(messages)


async def _export_metrics(
    summary: RunSummary, metrics_file: Path | None, pushgateway: str | None
) -> tuple[str, ...]:
    messages: tuple[str, ...] = ()
    if metrics_file is not None:
        messages += write_textfile(metrics_file, summary)
    if pushgateway is not None:
        messages += await asyncio.to_thread(push, pushgateway, summary)
    return messages
