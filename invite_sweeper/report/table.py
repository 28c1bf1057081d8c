"""A run on the terminal: the plan by project, what was kept and why, the trouble, the totals."""

import shlex
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from invite_sweeper.plural import counted
from invite_sweeper.report import wording
from invite_sweeper.report.closing import closing
from invite_sweeper.report.doors import one_row_a_person
from invite_sweeper.report.grouped import OUTCOME_STYLES, grouped
from invite_sweeper.report.kept import KeptNames
from invite_sweeper.report.rows import Row, Shown
from invite_sweeper.report.trimmed import Trimmed
from invite_sweeper.report.values import visible
from invite_sweeper.totals import RunSummary


def show(
    console: Console, summary: RunSummary, shown: Shown, *, kept: KeptNames | None = None
) -> None:
    """Write a run to the console; names cannot move the cursor or fake a line.

    Args:
        kept: The kept invitations by name; None tells their number alone.
    """
    _write(console, _parts(console.width, summary, shown, kept))


def plan_only(console: Console, summary: RunSummary, shown: Shown) -> None:
    """Write the plan alone, before the question on a terminal."""
    _write(console, _plan(console.width, summary, shown))


def _write(console: Console, parts: Iterable[RenderableType]) -> None:
    for part in parts:
        if isinstance(part, Text) and part.no_wrap:
            console.print(part, soft_wrap=True)
        else:
            console.print(Trimmed(part), end="")


def _parts(
    width: int, summary: RunSummary, shown: Shown, kept: KeptNames | None
) -> Iterator[RenderableType]:
    yield from _plan(width, summary, shown)
    yield from _astray(summary, shown)
    yield from _returned(shown)
    yield from _lost(summary, shown)
    yield from _kept(summary, kept)
    yield from closing(summary, shown)


def _plan(width: int, summary: RunSummary, shown: Shown) -> Iterator[RenderableType]:
    yield from grouped(one_row_a_person(shown.groups), width)
    if hidden := shown.projects - len(shown.groups):
        count = shown.planned - sum(group.count for group in shown.groups)
        rest = f"… {count:,} more in {counted(hidden, 'other project')}"
        yield Text(rest, style="dim")
    if shown.planned > sum(len(group.rows) for group in shown.groups):
        yield _see_all(summary, "planned")
        yield Text("")


def _astray(summary: RunSummary, shown: Shown) -> Iterator[RenderableType]:
    count = summary.failed + summary.unknown + summary.accepted_during
    if not count:
        return
    yield _heading("Not as planned", count, "bold red")
    yield _list(
        (f"{row.username or '(no address)'} in {row.project or '(no name)'}", _why(row))
        for row in shown.astray
    )
    yield from _rest(count - len(shown.astray))
    yield Text("")


def _why(row: Row) -> Text:
    outcome = row.outcome or ""
    said = outcome.replace("_", " ")
    return Text.assemble((said, OUTCOME_STYLES.get(outcome, "")), f": {row.detail}")


def _returned(shown: Shown) -> Iterator[RenderableType]:
    if not shown.returned_count:
        return
    yield _heading("Back after an earlier deletion", shown.returned_count, "bold yellow")
    yield _list(
        (
            f"{row.username or '(no address)'} in {row.project or '(no name)'}",
            Text(f"deleted {counted(row.bounced, 'time')} before"),
        )
        for row in shown.returned
    )
    yield from _rest(shown.returned_count - len(shown.returned))
    yield Text("")


def _lost(summary: RunSummary, shown: Shown) -> Iterator[RenderableType]:
    count = summary.projects_unreadable
    if not count:
        return
    yield _heading("Projects not read; they lose nothing", count, "bold yellow")
    yield _list((lost.project or "(no name)", Text(lost.reason)) for lost in shown.lost)
    if count > len(shown.lost):
        yield from _rest(count - len(shown.lost))
        yield _see_all(summary, "project_unreadable")
    yield Text("")


def _kept(summary: RunSummary, names: KeptNames | None) -> Iterator[RenderableType]:
    if not summary.kept:
        return
    yield _heading("Kept", summary.kept, "bold")
    by_count = sorted(summary.kept_by_reason.items(), key=lambda item: (-item[1], item[0]))
    if names is None:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(justify="right", no_wrap=True)
        table.add_column(overflow="fold")
        for why, count in by_count:
            table.add_row(f"{count:,}", Text(wording.reason(why)))
        yield Padding(table, (0, 0, 0, 2))
    else:
        for why, count in by_count:
            yield Text.assemble(f"  {wording.reason(why)}", (f"  {count:,}", "dim"))
            yield from _kept_names(names.rows.get(why, ()), count)
    yield Text("")


def _kept_names(rows: Sequence[Row], count: int) -> Iterator[RenderableType]:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        who = f"{row.username or '(no address)'} in {row.project or '(no name)'}"
        table.add_row(wording.age(row.age_days), Text(who))
    if rows:
        yield Padding(table, (0, 0, 0, 4))
    yield from (Padding(part, (0, 0, 0, 2)) for part in _rest(count - len(rows)))


def _heading(title: str, count: int, style: str) -> Text:
    return Text.assemble((title, style), (f"  {count:,}", "dim"))


def _list(items: Iterable[tuple[str, Text]]) -> Padding:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for who, what in items:
        table.add_row(Text(who), what)
    return Padding(table, (0, 0, 0, 2))


def _rest(count: int) -> Iterator[Text]:
    if count > 0:
        yield Text(f"  … {count:,} more", style="dim")


def _see_all(summary: RunSummary, event: str) -> Text:
    """The command in one line, however narrow the terminal is: it is there to be copied."""
    log = shlex.quote(visible(summary.audit_log))
    command = f"invite-sweeper audit show {log} --run {visible(summary.run_id)} --event {event}"
    return Text.assemble(("All of them: ", "dim"), command, no_wrap=True)
