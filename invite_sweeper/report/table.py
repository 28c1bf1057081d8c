"""A run on the terminal: the plan as a table by project, what was kept and why, the totals."""

from collections.abc import Iterator
from itertools import groupby

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from invite_sweeper.report.rows import Row, Shown
from invite_sweeper.report.summary import Summary
from invite_sweeper.report.values import visible

_OUTCOME_STYLES = {
    "deleted": "green",
    "already_gone": "cyan",
    "failed": "bold red",
    "unknown": "bold red",
    "skipped": "yellow",
}
_STRONG_ROLES = ("OWNER", "ADMIN")
_ROLES_FROM_WIDTH = 96
_INVITER_FROM_WIDTH = 124


def show(console: Console, summary: Summary, shown: Shown) -> None:
    """Write a run to the console; names cannot move the cursor or fake a line."""
    console.print(Group(*_parts(console.width, summary, shown)))


def plan_only(console: Console, summary: Summary, shown: Shown) -> None:
    """Write the plan alone, before the question on a terminal."""
    console.print(Group(*_plan(console.width, summary, shown)))


def _parts(width: int, summary: Summary, shown: Shown) -> Iterator[RenderableType]:
    yield from _plan(width, summary, shown)
    yield from _lost(summary, shown)
    if summary.kept:
        yield Text.assemble((f"Kept {summary.kept:,}: ", "bold"), _kept(summary))
    yield from _totals(summary)


def _plan(width: int, summary: Summary, shown: Shown) -> Iterator[RenderableType]:
    if not summary.stale:
        if summary.error is None:
            yield Text("No stale invitations.", style="green")
        return
    yield _table(width, shown.rows)
    planned = summary.stale - summary.trimmed
    if planned > len(shown.rows):
        rest = planned - len(shown.rows)
        yield Text(
            f"… and {rest:,} more; all of them: invite-sweeper audit show --run {summary.run_id}"
        )
    yield Text("")


def _table(width: int, rows: tuple[Row, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    outcomes = any(row.outcome for row in rows)
    table.add_column("AGE", justify="right", no_wrap=True)
    table.add_column("INVITED", overflow="fold", ratio=3)
    table.add_column("RULE", overflow="fold", ratio=2)
    if width >= _ROLES_FROM_WIDTH:
        table.add_column("ROLES", overflow="fold", ratio=2)
    if width >= _INVITER_FROM_WIDTH:
        table.add_column("INVITED BY", overflow="fold", ratio=2)
    if outcomes:
        table.add_column("OUTCOME", overflow="fold", ratio=2)
    table.expand = width < _ROLES_FROM_WIDTH
    for number, (project, group) in enumerate(groupby(rows, key=lambda row: row.project)):
        if number:
            table.add_row()
        table.add_row("", Text(visible(project) or "(no name)", style="bold"))
        for row in group:
            table.add_row(*_cells(row, width, outcomes=outcomes))
    return table


def _cells(row: Row, width: int, *, outcomes: bool) -> Iterator[Text]:
    yield Text(f"{row.age_days:.1f} d" if row.age_days is not None else "?")
    yield Text(visible(row.username) or "(no address)")
    yield Text(visible(row.rule))
    if width >= _ROLES_FROM_WIDTH:
        strong = any(word in row.roles for word in _STRONG_ROLES)
        yield Text(visible(row.roles), style="bold magenta" if strong else "")
    if width >= _INVITER_FROM_WIDTH:
        yield Text(visible(row.inviter))
    if outcomes:
        outcome = row.outcome or "skipped"
        said = f"{outcome.replace('_', ' ')} {row.detail}".strip()
        yield Text(visible(said), style=_OUTCOME_STYLES.get(outcome, ""))


def _lost(summary: Summary, shown: Shown) -> Iterator[RenderableType]:
    if not summary.projects_unreadable:
        return
    yield Text(f"{_count(summary.projects_unreadable, 'project')} not read:", style="bold yellow")
    for lost in shown.lost:
        yield Text(f"  {visible(lost.project) or '(no name)'}: {visible(lost.reason)}")
    if (rest := summary.projects_unreadable - len(shown.lost)) > 0:
        yield Text(f"  … and {rest:,} more")
    yield Text("")


def _kept(summary: Summary) -> str:
    by_count = sorted(summary.kept_by_reason.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {visible(why).replace('_', ' ')}" for why, count in by_count)


def _totals(summary: Summary) -> Iterator[RenderableType]:
    seen = (
        f"{_count(summary.invitations_seen, 'invitation')} in "
        f"{_count(summary.projects_seen, 'project')}, {summary.stale:,} stale"
    )
    trimmed = f" ({summary.trimmed:,} left for another night)" if summary.trimmed else ""
    yield Text.assemble(("Seen: ", "bold"), seen + trimmed)
    if summary.mode == "dry-run":
        yield Text.assemble(("Dry run: ", "bold"), "nothing was deleted")
    else:
        yield Text.assemble(("Done: ", "bold"), _done(summary))
    yield Text.assemble(("Cost: ", "bold"), _cost(summary))
    yield Text.assemble(("Audit: ", "bold"), visible(summary.audit_log))
    yield Text(f"       last line {summary.audit_last_hash}", style="dim")


def _done(summary: Summary) -> str:
    counts = (
        ("deleted", summary.deleted),
        ("already gone", summary.already_gone),
        ("failed", summary.failed),
        ("unknown", summary.unknown),
        ("skipped", summary.skipped),
    )
    told = ", ".join(f"{count:,} {name}" for name, count in counts if count)
    return told or "nothing was deleted"


def _cost(summary: Summary) -> str:
    cost = f"{_count(summary.requests, 'request')} in {summary.duration_s:.1f} s"
    if summary.retries:
        cost += f", {_count(summary.retries, 'retry', 'retries')}"
    if summary.rate_limited:
        cost += f", {summary.rate_limited:,} answers 429"
    if summary.estimate_s is not None and summary.stale:
        cost += f"; by Atlas's limits the deletions take {summary.estimate_s:.0f} s"
    return cost


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
