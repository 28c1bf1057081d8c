"""What went wrong in a run, by name, where no table is shown that tells it."""

from collections.abc import Iterator, Sequence
from typing import Final

from invite_sweeper.cli.one_run import Told
from invite_sweeper.cli.options import Output
from invite_sweeper.cli.order import RunOptions
from invite_sweeper.plural import counted
from invite_sweeper.totals import RunSummary

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
    from invite_sweeper.report.readback import read_shown

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
