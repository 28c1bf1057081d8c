"""The last lines of a run on the terminal: how it ended, what it took, where it is written."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from invite_sweeper.errors import ExitCode, RunStatus
from invite_sweeper.plural import counted
from invite_sweeper.report import wording
from invite_sweeper.report.rows import Shown
from invite_sweeper.report.values import visible
from invite_sweeper.totals import SUNSET_WARNING_DAYS, RunSummary

_STYLES: Final = {
    RunStatus.DONE: "bold green",
    RunStatus.PARTLY_DONE: "bold yellow",
    RunStatus.STOPPED: "bold yellow",
    RunStatus.REFUSED: "bold red",
    RunStatus.FAILED: "bold red",
}
_GAP: Final = 2


def closing(summary: RunSummary, shown: Shown) -> Iterator[RenderableType]:
    """Give the totals, a line each after a word of their own.

    The log and its last hash are there to be copied: they stay in one line.
    """
    lines = tuple(_lines(summary, shown))
    words = max(len("Last hash"), *(len(word) for word, _, _ in lines))
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(no_wrap=True, width=words)
    table.add_column(overflow="fold")
    for word, style, said in lines:
        table.add_row(Text(word, style=style), Text(said))
    yield table
    audit = "Audit".ljust(words + _GAP)
    yield Text.assemble((audit, "bold"), visible(summary.audit_log), no_wrap=True)
    if summary.audit_last_hash:
        last = "Last hash".ljust(words + _GAP)
        yield Text.assemble((last, "bold"), (summary.audit_last_hash, "dim"), no_wrap=True)


def _lines(summary: RunSummary, shown: Shown) -> Iterator[tuple[str, str, str]]:
    yield *_verdict(summary), _done(summary)
    yield "Seen", "bold", _seen(summary)
    yield "Stale", "bold", _stale(summary, shown)
    if summary.recovered:
        settled = counted(summary.recovered, "deletion")
        yield "Settled", "bold", f"{settled} that an earlier run had left open"
    yield "Time", "bold", _time(summary, shown)
    if summary.sources_retired:
        lists = ", ".join(map(visible, summary.sources_retired))
        yield "Retired", "bold red", f"Atlas no longer serves these lists: {lists}"
    if _sunset_is_near(summary):
        yield "Sunset", "bold yellow", f"Atlas stops serving what this run used on {summary.sunset}"


def _verdict(summary: RunSummary) -> tuple[str, str]:
    status = ExitCode(summary.exit_code).status
    done_nothing = status is RunStatus.DONE and summary.mode == "dry-run"
    return ("Dry run" if done_nothing else status.capitalize()), _STYLES[status]


def _done(summary: RunSummary) -> str:
    counts = (
        ("deleted", summary.deleted),
        ("already gone", summary.already_gone),
        ("accepted before", summary.accepted_before),
        ("accepted during", summary.accepted_during),
        ("failed", summary.failed),
        ("unknown", summary.unknown),
        ("skipped", summary.skipped),
    )
    told = ", ".join(f"{count:,} {name}" for name, count in counts if count)
    return told or "nothing was deleted"


def _seen(summary: RunSummary) -> str:
    invitations = counted(summary.invitations_seen, "invitation")
    projects = counted(summary.projects_seen, "project")
    lost = f", {summary.projects_unreadable:,} of them not read"
    return f"{invitations} in {projects}{lost if summary.projects_unreadable else ''}"


def _stale(summary: RunSummary, shown: Shown) -> str:
    if not summary.stale:
        return "none"
    where = f" in {counted(shown.projects, 'project')}" if shown.projects else ""
    trimmed = f", {wording.left_over(summary.trimmed)}" if summary.trimmed else ""
    return f"{summary.stale - summary.trimmed:,}{where}{trimmed}"


def _time(summary: RunSummary, shown: Shown) -> str:
    told = f"{wording.duration(summary.duration_s)}, {counted(summary.requests, 'request')}"
    if summary.retries:
        told += f", {counted(summary.retries, 'retry', 'retries')}"
    if summary.rate_limited:
        told += f", {counted(summary.rate_limited, 'answer')} 429"
    return told + _against_estimate(summary, shown)


def _against_estimate(summary: RunSummary, shown: Shown) -> str:
    """Hold the time of the deletions against what Atlas's limits ask for."""
    if summary.estimate_s is None or not summary.stale:
        return ""
    limits = wording.limits(summary.estimate_s)
    if shown.swept_s is None:
        return f"; {counted(shown.planned, 'deletion')}: {limits}"
    return f"; the deletions {wording.duration(shown.swept_s)}, {limits}"


def _sunset_is_near(summary: RunSummary) -> bool:
    if summary.sunset is None:
        return False
    today = datetime.fromisoformat(summary.now).date()
    return (date.fromisoformat(summary.sunset) - today).days <= SUNSET_WARNING_DAYS
