"""The question before a deletion: whose invitations, how many, within which limits, how old."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from invite_sweeper.plural import counted
from invite_sweeper.policy import Limits
from invite_sweeper.report import wording
from invite_sweeper.report.rows import Row, Shown
from invite_sweeper.report.trimmed import Trimmed
from invite_sweeper.totals import RunSummary


def question(summary: RunSummary, shown: Shown, limits: Limits) -> RenderableType:
    """Give the question, without the words that ask for the answer."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for word, said in _facts(summary, shown, limits):
        table.add_row(Text(f"  {word}", style="dim"), said)
    planned = counted(shown.planned, "invitation")
    title = Text(f"Delete {planned}?", style="bold")
    return Trimmed(Group(title, table, Text("There is no undo.")))


def _facts(summary: RunSummary, shown: Shown, limits: Limits) -> Iterator[tuple[str, Text]]:
    organizations = ", ".join(shown.organizations)
    yield "organization" if len(shown.organizations) == 1 else "organizations", Text(organizations)
    yield "count", Text(_count(summary, shown))
    yield "limits", Text(_limits(summary, shown, limits))
    if shown.oldest is not None and shown.newest is not None:
        yield "oldest", _one(shown.oldest)
        yield "newest", _one(shown.newest)
    if summary.estimate_s is not None:
        yield "time", Text(wording.limits(summary.estimate_s))


def _count(summary: RunSummary, shown: Shown) -> str:
    projects = counted(shown.projects, "project")
    trimmed = f"; {wording.left_over(summary.trimmed)}" if summary.trimmed else ""
    return (
        f"{shown.planned:,} of the {summary.invitations_seen:,} seen, in {projects}, "
        f"at most {shown.most_in_project:,} in one{trimmed}"
    )


def _limits(summary: RunSummary, shown: Shown, limits: Limits) -> str:
    share = shown.planned / summary.invitations_seen if summary.invitations_seen else 0.0
    return (
        f"{limits.max_deletions:,} a run, {limits.max_deletions_per_project:,} a project, "
        f"{limits.max_share:.0%} of those seen (this is {share:.0%})"
    )


def _one(row: Row) -> Text:
    said = Text(f"{wording.age(row.age_days)}  {row.username or '(no address)'}")
    said.append(f" in {row.project or '(no name)'}, ")
    return said.append_text(Text(", ").join(wording.roles(row.roles).split()))
