"""Lay out rows and columns on a terminal.

Names from Atlas can neither move the cursor nor start a new line.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from invite_sweeper.report.columns import Cell, Column, Line, Style
from invite_sweeper.report.rows import AGE, INVITED, INVITER, OUTCOME, Row, invitation_columns

_RICH_STYLES: Final[Mapping[Style, str]] = {
    "plain": "",
    "note": "dim",
    "strong": "bold",
    "privileged": "bold magenta",
    "good": "green",
    "info": "cyan",
    "warning": "yellow",
    "bad": "bold red",
}
_GAP: Final = 2
_INDENT: Final = 2
_SEPARATOR: Final = " · "


def line_text(line: Line) -> Text:
    """Return a line of a cell for the terminal."""
    return Text(line.text, style=_RICH_STYLES[line.style])


def cell_text(cell: Cell) -> Text:
    """Return a cell for the terminal."""
    return Text("\n").join(map(line_text, cell.lines))


class Group(NamedTuple):
    """Rows below a heading.

    Attributes:
        hidden: Number of rows that are not shown.
        above: A line above the heading, such as the organization of this and the next groups.
        below: A line below the rows, such as what else this organization has.
    """

    rows: Sequence[Row]
    heading: Text
    hidden: int = 0
    above: Text | None = None
    below: Text | None = None


def invitation_tables(groups: Sequence[Group], width: int) -> Iterator[RenderableType]:
    """Yield invitations, with columns aligned across the groups.

    Args:
        groups: Each with at least one row. With lines above them, all is indented below these.
        width: Terminal width in cells.
    """
    if not groups:
        return
    indent = _INDENT if any(group.above for group in groups) else 0
    rows = [row for group in groups for row in group.rows]
    columns = invitation_columns(rows, grouped=True)
    cells = {id(row): [cell_text(column.cell(row)) for column in columns] for row in rows}
    widths = _column_widths(columns, list(cells.values()), width - indent)
    if widths:
        headings = [Text(c.heading.upper(), style="dim") for c in columns]
        yield _indented(_table(widths, [headings]), indent)
    for group in groups:
        if group.above is not None:
            yield group.above
        yield Padding(group.heading, (0, 0, 0, indent))
        yield _indented(
            _table(widths, [cells[id(row)] for row in group.rows])
            if widths
            else _two_line_rows(columns, group.rows, width - indent),
            indent,
        )
        if group.hidden:
            yield _indented(Text(f"… {group.hidden:,} more", style="dim"), indent)
        yield Text("")
        if group.below is not None:
            yield Padding(group.below, (0, 0, 0, indent))
            if group is not groups[-1]:
                yield Text("")


def _indented(part: RenderableType, indent: int) -> Padding:
    return Padding(part, (0, 0, 0, indent + _INDENT))


def _column_widths(
    columns: Sequence[Column[Row]], rows: Sequence[Sequence[Text]], width: int
) -> tuple[int, ...]:
    """Return the column widths; empty if the terminal is too narrow to leave words whole."""
    widths, words = [], []
    for number, column in enumerate(columns):
        cells = [row[number] for row in rows]
        heading = len(column.heading)
        words.append(max([heading, *(cell_len(w) for cell in cells for w in cell.plain.split())]))
        longest = max([heading, *(line.cell_len for cell in cells for line in cell.split())])
        widths.append(min(longest, max(column.max_width, words[-1])))
    free_width = width - _INDENT - sum(widths) - _GAP * (len(columns) - 1)
    if free_width < 0:
        invited = columns.index(INVITED)
        widths[invited] += free_width
        if widths[invited] < words[invited]:
            return ()
    return tuple(widths)


def _table(widths: Sequence[int], rows: Iterable[Sequence[Text]]) -> Table:
    table = Table.grid(padding=(0, _GAP, 0, 0))
    for number, width in enumerate(widths):
        table.add_column(width=width, justify="left" if number else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _two_line_rows(columns: Sequence[Column[Row]], rows: Sequence[Row], width: int) -> Table:
    """Return rows with the address on the first line and the other values below it."""
    ages = [cell_text(AGE.cell(row)) for row in rows]
    free_width = width - _INDENT - _GAP - max(age.cell_len for age in ages)
    below = [column for column in columns if column not in {AGE, INVITED}]
    below.sort(key=lambda column: column is not OUTCOME)  # the outcome is the first
    lines = []
    for age, row in zip(ages, rows, strict=True):
        parts = [
            line_text(line._replace(text=f"by {line.text}") if column is INVITER else line)
            for column in below
            for line in column.cell(row).lines
        ]
        wrapped = wrap_parts(parts, free_width)
        lines.append((age, Text("\n").join((cell_text(INVITED.cell(row)), *wrapped))))
    return two_columns(lines, justify="right")


def wrap_parts(parts: Sequence[Text], max_width: int) -> Iterator[Text]:
    """Yield lines with as many parts as fit; a part that is too long has its own line."""
    line = Text()
    for part in parts:
        if line and line.cell_len + len(_SEPARATOR) + part.cell_len > max_width:
            yield line
            line = Text()
        if line:
            line.append(_SEPARATOR, style="dim")
        line.append_text(part)
    yield line


def two_columns(
    rows: Iterable[tuple[RenderableType, RenderableType]],
    *,
    justify: JustifyMethod = "left",
    width: int | None = None,
) -> Table:
    """Return a short value beside a longer one, which wraps."""
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(no_wrap=True, justify=justify, width=width)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def definition_table(items: Iterable[tuple[str, Text]]) -> Table:
    """Return labels with their values, which wrap."""
    return two_columns((Text(f"  {label}", style="dim"), content) for label, content in items)


class RightTrimmed:
    """A renderable without trailing blanks."""

    def __init__(self, part: RenderableType) -> None:
        self._part = part

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines, each with its newline."""
        for line in console.render_lines(self._part, options, pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                last = line.pop()
                line.append(Segment(last.text.rstrip(), last.style))
            yield from (*line, Segment.line())
