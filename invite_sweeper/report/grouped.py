"""The plan as a table grouped by project: one line an invitation where there is room, else two."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from invite_sweeper.report import wording
from invite_sweeper.report.rows import Group, Row

OUTCOME_STYLES = {
    "deleted": "green",
    "already_gone": "cyan",
    "accepted_before": "cyan",
    "accepted_during": "bold red",
    "failed": "bold red",
    "unknown": "bold red",
    "skipped": "yellow",
}
_GAP = 2
_DOT = " · "
_INDENT = 2
_HEADS = ("AGE", "INVITED", "RULE", "ROLE", "INVITED BY", "OUTCOME")
_WIDEST = (9, 64, 24, 24, 32, 16)
"""Cells a column asks for at most; what is longer goes on in the next line."""
_INVITED = 1
_LEAST_INVITED = 30
"""Below this an address breaks too often: then an invitation takes two lines."""


def grouped(groups: Sequence[Group], width: int) -> Iterator[RenderableType]:
    """Give the projects with their invitations, all columns in line.

    Args:
        width: Cells of the terminal.
    """
    if not groups:
        return
    cells = [[_cells(row) for row in group.rows] for group in groups]
    outcomes = any(row.outcome for group in groups for row in group.rows)
    widths = _widths([row for rows in cells for row in rows], width, outcomes=outcomes)
    if widths:
        yield _indented(_line_each(widths, [[Text(head, style="dim") for head in _HEADS]]))
    for group, rows in zip(groups, cells, strict=True):
        yield _heading(group)
        yield _indented(
            _line_each(widths, rows) if widths else _two_lines(rows, width, outcomes=outcomes)
        )
        if group.hidden:
            yield _indented(Text(f"… {group.hidden:,} more, none of them older", style="dim"))
        yield Text("")


def _heading(group: Group) -> Text:
    return Text.assemble((group.project or "(no name)", "bold"), (f"  {group.count:,}", "dim"))


def _indented(part: RenderableType) -> Padding:
    return Padding(part, (0, 0, 0, _INDENT))


def _cells(row: Row) -> tuple[Text, ...]:
    """Give the cells in the order of `_HEADS`."""
    return (
        Text(wording.age(row.age_days)),
        _invited(row),
        Text(row.rule),
        wording.roles(row.roles),
        Text(row.inviter),
        Text("\n").join(map(_outcome, (row, *row.doors))),
    )


def _invited(row: Row) -> Text:
    """Give the address; a person with several doors is told which lists they are in."""
    address = Text(row.username or "(no address)")
    if not row.doors:
        return address
    lists = ", ".join(each.source for each in (row, *row.doors))
    doors = Text(f"{len(row.doors) + 1} doors: {lists}", style="dim")
    return Text("\n").join((address, doors))


def _outcome(row: Row) -> Text:
    outcome = row.outcome or "skipped"
    return Text(outcome.replace("_", " "), style=OUTCOME_STYLES.get(outcome, ""))


def _widths(rows: Sequence[Sequence[Text]], width: int, *, outcomes: bool) -> tuple[int, ...]:
    """Give each column what it asks for and INVITED the rest; nothing where that is too little."""
    count = len(_HEADS) if outcomes else len(_HEADS) - 1
    asked = [
        min(_WIDEST[column], max(len(_HEADS[column]), *(_longest(row[column]) for row in rows)))
        for column in range(count)
    ]
    room = width - _INDENT - sum(asked) - _GAP * (count - 1)
    if room < 0:
        asked[_INVITED] += room
        if asked[_INVITED] < _LEAST_INVITED:
            return ()
    return tuple(asked)


def _longest(cell: Text) -> int:
    return max((line.cell_len for line in cell.split()), default=0)


def _line_each(widths: Sequence[int], rows: Sequence[Sequence[Text]]) -> Table:
    table = Table.grid(padding=(0, _GAP, 0, 0))
    for number, width in enumerate(widths):
        table.add_column(width=width, justify="left" if number else "right", overflow="fold")
    for row in rows:
        table.add_row(*row[: len(widths)])
    return table


def _two_lines(rows: Sequence[Sequence[Text]], width: int, *, outcomes: bool) -> Table:
    """The address in a line of its own, all else below it."""
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    room = width - _INDENT - _GAP - max(row[0].cell_len for row in rows)
    for age, invited, rule, roles, inviter, outcome in rows:
        said = list(outcome.split()) if outcomes else []
        said += [Text(str(rule), style="dim"), *roles.split()]
        said += [Text(f"by {inviter}", style="dim")] if inviter else []
        table.add_row(age, Text("\n").join((invited, *_filled(said, room))))
    return table


def _filled(parts: Sequence[Text], room: int) -> Iterator[Text]:
    """Put as many parts into each line as it holds; only a part too long for one is broken."""
    line = Text()
    for part in parts:
        if line and line.cell_len + len(_DOT) + part.cell_len > room:
            yield line
            line = Text()
        if line:
            line.append(_DOT, style="dim")
        line.append_text(part)
    yield line
