"""Results of a run: output on stdout, exit code, metrics and notifications."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import orjson
from rich.console import Console

from invite_sweeper.audit import AuditLog
from invite_sweeper.cli.confirm import render_question
from invite_sweeper.cli.console import stdout_console
from invite_sweeper.cli.options import Output, RunOptions
from invite_sweeper.cli.streams import print_error as explain
from invite_sweeper.errors import AuditLogError, ExitCode, RunError
from invite_sweeper.files import replace_file
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


class RunReport(NamedTuple):
    """The result of one run and where its records are.

    Attributes:
        result: None if the run could not start; `error` has the reason.
        log_file: Its audit log, in which it starts at byte `log_offset`.
        kept_invitations: The invitations to list as kept; None without `--verbose`.
    """

    result: RunResult | None
    error: RunError | None
    log_file: Path = Path()
    log_offset: int = 0
    kept_invitations: KeptInvitations | None = None


_JSON = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z


class ClosableProgressView(ProgressView, Protocol):
    """A progress view that can be removed."""

    def close(self) -> None:
        """Remove the view before the result is shown."""
        ...


def progress_view(options: RunOptions, log: Logger) -> ClosableProgressView:
    """Return a progress bar on a terminal, log lines elsewhere."""
    if sys.stderr.isatty() and not (options.quiet or options.quiet_progress):
        return BarProgressView(log, Console(stderr=True))
    return LogProgressView(log, time.monotonic)


def report_run(
    options: RunOptions,
    result: RunResult,
    log_file: Path,
    log_offset: int,
    kept_invitations: KeptInvitations | None = None,
) -> int:
    """Write the result to stdout and the error to stderr, and return the exit code.

    Args:
        log_offset: The byte at which the run starts in the log.
        kept_invitations: The invitations to list as kept, if any.
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
    """Write a result to stdout as one line of JSON."""
    sys.stdout.buffer.write(orjson.dumps(result, option=_JSON))
    sys.stdout.buffer.flush()


_PRIORITY_CODES = (ExitCode.INTERRUPTED, ExitCode.AUDIT)


def combined_exit_code(reports: Sequence[RunReport]) -> int:
    """Return the exit code of one or more runs.

    If they differ: 8 or 7 if a run ended so, 10 if all succeeded, otherwise 4 (partly done).
    """
    codes = [_exit_code(each) for each in reports]
    if len(set(codes)) == 1:
        return codes[0]
    for code in _PRIORITY_CODES:
        if code in codes:
            return int(code)
    all_succeeded = all(ExitCode(code).succeeded for code in codes)
    return int(ExitCode.STALE if all_succeeded else ExitCode.PARTIAL)


def report_all(options: RunOptions, reports: Sequence[RunReport]) -> int:
    """Write each result to stdout and each error to stderr, and return the exit code.

    `--output json` writes one object: the totals of all runs, and each run under `runs`.
    """
    code = combined_exit_code(reports)
    if len(reports) == 1 or options.output is Output.TEXT:
        for each in reports:
            _report_one(options, each)
        return code
    results = [each.result for each in reports if each.result is not None]
    runs = [each.summary.to_json() for each in results if each.reached_atlas]
    if runs:
        total = merge_summaries([each.summary for each in results], code)
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


MAX_NAMED: Final = 10
"""Failures of each kind named in the log: it may be mailed by cron; the audit log has all."""


def failure_messages(options: RunOptions, reports: Sequence[RunReport]) -> Iterator[str]:
    """Yield a message for each unreadable project and each failed or unknown deletion.

    The result's table shows them already, so this is for runs without one. The audit log is
    only read if there are failures.
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
    # Users who accepted during the run are among these rows; they were reported at once.
    max_rows = MAX_NAMED + summary.accepted_during
    try:
        view = load_run_view(
            report.log_file, summary.run_id, start=report.log_offset, max_rows=max_rows, planned=0
        )
    except OSError as error:
        yield f"Could not read the audit log {report.log_file}: {error.strerror}."
        return
    unreadable = view.unreadable[:MAX_NAMED]
    for project in unreadable:
        yield f"{project.project or '(no name)'} was not read: {project.reason}"
    yield from _more_message(
        summary.projects_unreadable - len(unreadable), "project", summary.audit_log
    )
    unfinished = [row for row in view.failed if row.outcome in {"failed", "unknown"}][:MAX_NAMED]
    for row in unfinished:
        user = f"{row.username or '(no address)'} in {row.project or '(no name)'}"
        yield f"{user} may still be invited: {row.outcome}, {row.detail}"
    yield from _more_message(
        _unfinished_count(summary) - len(unfinished), "deletion", summary.audit_log
    )


def _more_message(count: int, noun: str, audit_log: str) -> Iterator[str]:
    if count > 0:
        yield f"And {pluralize(count, f'more {noun}')}; see the audit log {audit_log}."


_MAX_ROWS = 50
_MAX_ROWS_VERBOSE = 1_000


def plan_presenter(
    options: RunOptions, audit: AuditLog, limits: Limits
) -> Callable[[Console, RunSummary], None]:
    """Return a function that shows the plan, read from the audit log, and the question.

    The run starts at the current end of the log.
    """
    load_view = partial(_load_view, options, audit.path, audit.offset)

    def present(console: Console, summary: RunSummary) -> None:
        view = load_view(summary)
        if view.planned != summary.stale - summary.trimmed:
            raise AuditLogError("The plan in the audit log is incomplete.")
        show_plan(console, summary, view)
        console.print(render_question(summary, view, limits), end="")

    return present


def show_run(
    console: Console,
    options: RunOptions,
    summary: RunSummary,
    log_file: Path,
    log_offset: int,
    kept_invitations: KeptInvitations | None,
) -> None:
    """Write the result of a run as tables."""
    show(
        console,
        summary,
        _load_view(options, log_file, log_offset, summary),
        kept_invitations=kept_invitations,
    )


def _load_view(
    options: RunOptions, log_file: Path, log_offset: int, summary: RunSummary
) -> RunView:
    """Return the run as recorded; an empty view if the log cannot be read, as totals suffice."""
    max_rows = _MAX_ROWS_VERBOSE if options.verbose else _MAX_ROWS
    planned = summary.stale - summary.trimmed
    try:
        return load_run_view(
            log_file, summary.run_id, start=log_offset, max_rows=max_rows, planned=planned
        )
    except OSError:
        return RunView()


def write_checkpoint(path: Path | None, reports: Sequence[RunReport]) -> tuple[str, ...]:
    """Write the last run's checkpoint, which covers the earlier runs; return error messages."""
    notes = [each.result.summary.checkpoint for each in reports if each.result is not None]
    note = next((each for each in reversed(notes) if each is not None), None)
    if path is None:
        return ()
    if note is None:
        return (f"The checkpoint {path} was not written: no run was signed.",)
    try:
        replace_file(path, note.encode())
    except OSError as error:
        return (f"The checkpoint {path} was not written: {error.strerror or error}.",)
    return ()


async def notify_start(
    notifications: tuple[Notification, ...], environment: Mapping[str, str]
) -> tuple[str, ...]:
    """Send the notifications of a started run; return messages about failures."""
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
    """Write metrics and send the notifications of an ended run; return failures, never raise."""
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
