"""Results of a command: output on stdout, exit code, metrics and notifications."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from rich.console import Console
from rich.text import Text
from structlog.typing import FilteringBoundLogger

from invite_sweeper.audit import AuditLog
from invite_sweeper.audit.events import Announced
from invite_sweeper.audit.reader import read_events
from invite_sweeper.cli.confirm import render_question
from invite_sweeper.cli.console import stdout_console
from invite_sweeper.cli.json_output import write_json
from invite_sweeper.cli.options import DEFAULT_BASE_URL, Output, RunOptions
from invite_sweeper.cli.streams import print_error as explain
from invite_sweeper.errors import AuditLogError, Cancelled, RunError
from invite_sweeper.policy import Limits, Notification
from invite_sweeper.program import command
from invite_sweeper.report.formatting import (
    describe_organizations,
    describe_outcomes,
    describe_status,
    hints,
)
from invite_sweeper.report.metrics import push, write_textfile
from invite_sweeper.report.notification import Users, select_users
from invite_sweeper.report.progress import BarProgressView, LogProgressView
from invite_sweeper.report.run_result import show, show_plan
from invite_sweeper.report.run_view import (
    KeptInvitations,
    PlannedResult,
    RunView,
    load_planned,
    load_run_view,
)
from invite_sweeper.report.webhooks import send_end
from invite_sweeper.sweep.run_state import RunResult
from invite_sweeper.sweep.summary import RunSummary
from invite_sweeper.text import escape_unprintable, pluralize


class CommandReport(NamedTuple):
    """The result of the runs of one command and where their records are.

    Attributes:
        summary: Of all runs together.
        runs: Each run, with the error that stopped it.
        log_file: Their audit log, in which they start at byte `log_offset`.
        kept_invitations: The invitations to list as kept; None without `--verbose`.
        plan_saved: The plan was saved to the file of `--out`.
    """

    summary: RunSummary
    runs: Sequence[RunResult]
    log_file: Path
    log_offset: int
    kept_invitations: KeptInvitations | None = None
    plan_saved: bool = False

    @property
    def run_ids(self) -> frozenset[str]:
        """The ids of the runs."""
        return frozenset(each.summary.run_id for each in self.runs)

    @property
    def errors(self) -> Sequence[RunError]:
        """The errors that stopped runs, each once."""
        found = (each.error for each in self.runs if each.error is not None)
        return tuple({str(error): error for error in found}.values())


class PlannedInvitations(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the result of `sweep` and `plan` has beside the summary.

    Attributes:
        invitations: The planned invitations, at most 10,000.
        truncated: There are more, or the audit log could not be read; it has all.
    """

    invitations: list[PlannedResult]
    truncated: bool = False


def progress_view(
    options: RunOptions, log: FilteringBoundLogger
) -> BarProgressView | LogProgressView:
    """Return a progress bar on a terminal, log lines elsewhere."""
    if sys.stderr.isatty() and not (options.quiet or options.quiet_progress):
        return BarProgressView(log, Console(stderr=True))
    return LogProgressView(log, time.monotonic)


def report_command(options: RunOptions, report: CommandReport) -> None:
    """Write the result to stdout and each error to stderr.

    Without confirmation nothing is shown: the question has shown the plan already.
    """
    cancelled = any(isinstance(error, Cancelled) for error in report.errors)
    if options.output is Output.JSON:
        write_json(_to_json(report))
    elif not (options.quiet or cancelled) and any(each.reached_atlas for each in report.runs):
        show_command(stdout_console(), options, report)
    for error in report.errors:
        explain(error)


def _to_json(report: CommandReport) -> dict[str, object]:
    """Return the summary with the planned invitations, which are read back from the log."""
    planned = PlannedInvitations([])
    if report.runs:
        try:
            planned = PlannedInvitations(
                *load_planned(report.log_file, report.run_ids, start=report.log_offset)
            )
        except OSError:
            planned = PlannedInvitations([], truncated=True)
    return {**report.summary.to_json(), **msgspec.to_builtins(planned)}


MAX_NAMED: Final = 10
"""Failures of each kind named in the log: it may be mailed by cron; the audit log has all."""


def failure_messages(options: RunOptions, report: CommandReport) -> Iterator[str]:
    """Yield how the command ended, each unreadable project and each failed or unknown deletion.

    The result's table shows them already, so this is for runs without one. The audit log is
    only read if there are failures.
    """
    if not options.quiet and options.output is Output.TEXT:
        return
    summary = report.summary
    if not (report.errors or summary.succeeded):
        status = describe_status(summary)
        where = describe_organizations(summary)
        yield f"{status}: {describe_outcomes(summary)} in {where} (exit code {summary.exit_code})."
    for each in report.runs:
        if each.summary.projects_unreadable or _unfinished_count(each.summary):
            yield from _run_failures(report, each.summary)
    if not report.errors:  # each is shown with its hint
        yield from (f"What to do: {hint}" for hint in hints(summary))


def _unfinished_count(summary: RunSummary) -> int:
    return summary.failed + summary.unknown


def _run_failures(report: CommandReport, summary: RunSummary) -> Iterator[str]:
    # Users who accepted during the run are among these rows; they were reported at once.
    max_rows = MAX_NAMED + summary.accepted_during
    try:
        view = load_run_view(
            report.log_file,
            frozenset({summary.run_id}),
            start=report.log_offset,
            max_rows=max_rows,
            labels=summary.organization_labels,
        )
    except OSError as error:
        yield f"Could not read the audit log {report.log_file}: {error.strerror}."
        return
    unreadable = view.unreadable[:MAX_NAMED]
    for project in unreadable:
        yield f"{project.place.full_name} was not read: {project.reason}"
    yield from _more_message(
        summary.projects_unreadable - len(unreadable), "project", summary.audit_log
    )
    unfinished = [row for row in view.failed if row.outcome in {"failed", "unknown"}][:MAX_NAMED]
    for row in unfinished:
        user = f"{row.user} in {row.place.full_name}"
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

    The runs start at the current end of the log.
    """
    path, start = audit.path, audit.offset

    def present(console: Console, summary: RunSummary) -> None:
        view = _load_view(options, path, start, summary)
        if view.planned != summary.stale - summary.trimmed:
            raise AuditLogError("The plan in the audit log is incomplete.")
        show_plan(console, summary, view)
        console.print(render_question(summary, view, limits), end="")

    return present


def show_command(console: Console, options: RunOptions, report: CommandReport) -> None:
    """Write the result of a command as tables."""
    show(
        console,
        report.summary,
        _load_view(options, report.log_file, report.log_offset, report.summary),
        kept_invitations=report.kept_invitations,
    )


def _load_view(options: RunOptions, log_file: Path, start: int, summary: RunSummary) -> RunView:
    """Return the runs as recorded; an empty view if the log cannot be read: totals suffice."""
    max_rows = _MAX_ROWS_VERBOSE if options.verbose else _MAX_ROWS
    run_ids = frozenset(each.run_id for each in summary.organizations)
    labels = summary.organization_labels
    try:
        return load_run_view(log_file, run_ids, start=start, max_rows=max_rows, labels=labels)
    except OSError:
        return RunView()


def report_saved_plan(options: RunOptions, plan: Path, log: FilteringBoundLogger) -> None:
    """Write where the plan is and the next commands; a sweep has deleted what it lists."""
    show = command("plan", "show", str(plan))
    apply = _sweep_command(options, "--plan", str(plan))
    if options.output is Output.JSON:
        log.info("plan saved", file=str(plan), show=show, apply=apply)
    elif not options.quiet:
        lines = [f"Plan saved to {plan}.", f"  Show it: {show}"]
        lines += [f"  Delete what it lists: {apply}"] if options.dry_run else []
        _print_lines(lines)


def _sweep_command(options: RunOptions, *words: str) -> str:
    """Return the command of a sweep with the target of this run, and further words."""
    target = ["--base-url", options.base_url] if options.base_url != DEFAULT_BASE_URL else []
    target += ["--audit-log", options.audit_log] if options.audit_log is not None else []
    target += ["--shard", options.shard] if options.shard is not None else []
    policy = str(options.policy)
    return command("sweep", "--policy", policy, *words, *target)


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        stdout_console().print(Text(escape_unprintable(line)), soft_wrap=True)


def users_to_name(notifications: Sequence[Notification], report: CommandReport) -> Users:
    """Return what channels with `details` name: planned invitations, then all announced ones.

    Empty if no channel has it.
    """
    if not any(each.details for each in notifications):
        return ()
    try:
        invitations, _ = load_planned(report.log_file, report.run_ids, start=report.log_offset)
        announced = _announcements(report) if report.summary.announced else []
    except OSError:
        return ()
    return [*select_users(invitations), *announced]


_MAX_ANNOUNCEMENTS: Final = 1000


def _announcements(report: CommandReport) -> list[Announced]:
    """Return what the runs announced, by inviter."""
    lines = (line for line in read_events([report.log_file]) if line.run_id in report.run_ids)
    found = [line.event for line in lines if isinstance(line.event, Announced)]
    found.sort(key=lambda each: (each.inviter or "", each.username or ""))
    return found[:_MAX_ANNOUNCEMENTS]


async def notify_end(
    notifications: Sequence[Notification],
    environment: Mapping[str, str],
    summary: RunSummary,
    *,
    users: Users = (),
    metrics_file: Path | None,
    pushgateway: str | None,
    limit_s: float,
) -> tuple[str, ...]:
    """Write metrics and send the notifications of an ended run; return failures, never raise.

    Args:
        users: Whom to name in channels with `details`.
        limit_s: For all messages, which are sent at the same time.
    """
    summary = replace(summary, finished_at=datetime.now(UTC))
    sending = [send_end(notifications, environment, summary, users=users, limit_s=limit_s)]
    if pushgateway is not None:
        sending.append(push(pushgateway, summary, limit_s=limit_s))
    messages = [message for found in await asyncio.gather(*sending) for message in found]
    if metrics_file is not None:
        messages += write_textfile(metrics_file, summary)
    return tuple(messages)
