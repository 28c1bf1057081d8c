"""How rows, labels and texts are laid out on a terminal of any width.

A table is a table where each of its lines fits; else each row is a short block, in which no value
is broken. Names from Atlas can neither move the cursor nor start a new line: they are `Text`,
never markup, and cells hold escaped text.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.console import Console, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from invite_sweeper.endings import Style
from invite_sweeper.report.columns import (
    AGE,
    FROM,
    INVITED,
    INVITER,
    OUTCOME,
    Cell,
    Column,
    invitation_columns,
)
from invite_sweeper.report.rows import Row
from invite_sweeper.report.story_lines import StoryLine

GAP: Final = 2
"""Blanks between columns."""
INDENT: Final = 2
"""Blanks before what stands below a heading."""
_PREFIXES: Final = {INVITER: "by ", FROM: "from "}
"""Columns whose values need a word without their heading."""
_STYLES: Final[Mapping[Style, str]] = {
    "plain": "",
    "note": "dim",
    "strong": "bold",
    "privileged": "bold magenta",
    "good": "green",
    "info": "cyan",
    "warning": "yellow",
    "bad": "bold red",
}


# Parts of a page ---------------------------------------------------------------------------------


def print_parts(console: Console, parts: Iterable[RenderableType]) -> None:
    """Print parts one below the other."""
    for part in parts:
        # What is copied, such as a command, stays on one line, which the terminal wraps.
        if isinstance(part, Text) and part.no_wrap:
            console.print(part, soft_wrap=True)
        else:
            print_trimmed(console, part)


def print_trimmed(console: Console, part: RenderableType) -> None:
    """Print a renderable without trailing blanks."""
    for segments in console.render_lines(part, pad=False):
        text = Text()
        for segment in segments:
            text.append(segment.text, segment.style)
        text.rstrip()
        console.print(text, soft_wrap=True)


def indented(part: RenderableType) -> Padding:
    """Return a part as it stands below a heading."""
    return Padding(part, (0, 0, 0, INDENT))


def heading(title: str, shown: int, total: int, style: str = "bold") -> Text:
    """Return a title with how many rows follow, and of how many."""
    count = f"{total:,}" if shown == total else f"{shown:,} of {total:,}"
    return Text.assemble((title, style), (f"  {count}", "dim"))


def label_text(line: StoryLine) -> Text:
    """Return the label of a line in its colour."""
    return Text(line.label, f"bold {_STYLES[line.style]}")


def labelled(lines: Iterable[StoryLine], label_width: int | None = None) -> Grid:
    """Return lines as labels with their texts beside them."""
    rows = [(label_text(line), Text(line.text)) for line in lines]
    return two_columns(rows, width=label_width)


def two_columns(
    rows: Iterable[tuple[RenderableType, RenderableType]],
    *,
    justify: JustifyMethod = "left",
    width: int | None = None,
) -> Grid:
    """Return a short value beside a longer one, which wraps."""
    grid = Grid.grid(padding=(0, GAP, 0, 0))
    grid.add_column(no_wrap=True, justify=justify, width=width)
    grid.add_column(overflow="fold")
    for row in rows:
        grid.add_row(*row)
    return grid


def entries(
    rows: Sequence[tuple[Text, Text]], width: int, *, label_width: int = 0
) -> Iterator[RenderableType]:
    """Yield texts beside their labels; below them where that leaves less than half of the width.

    Args:
        label_width: That labels take at least, so that other texts begin in the same column.
    """
    widest_label = max(label.cell_len for label, _ in rows)
    if widest_label < width // 2:
        yield two_columns(rows, width=max(widest_label, label_width))
        return
    for label, text in rows:
        yield label
        yield indented(text)


# Tables of invitations ---------------------------------------------------------------------------


class RowGroup(NamedTuple):
    """Rows below a heading."""

    title: Text
    rows: Sequence[Row]


def single_group(
    group: RowGroup, width: int, *, with_organization: bool
) -> Iterator[RenderableType]:
    """Yield invitations of which each names its place.

    Args:
        width: Terminal width in cells.
        with_organization: See `invitation_columns`.
    """
    columns = invitation_columns(group.rows, with_organization=with_organization)
    yield from _groups([group], columns, width)


def invitation_groups(groups: Sequence[RowGroup], width: int) -> Iterator[RenderableType]:
    """Yield invitations below their places, with columns aligned across the groups.

    Args:
        groups: With a row each, at least.
        width: Terminal width in cells.
    """
    if not groups:
        return
    columns = invitation_columns(_rows_of(groups), grouped=True)
    yield from _groups(groups, columns, width)


def _groups(
    groups: Sequence[RowGroup], columns: Sequence[Column[Row]], width: int
) -> Iterator[RenderableType]:
    widths = _column_widths(columns, _rows_of(groups), width)
    if widths:
        yield indented(_grid(widths, [_headings(columns)]))
    for group in groups:
        yield group.title
        if widths:
            cells = [_cells(columns, row) for row in group.rows]
            yield indented(_grid(widths, cells))
        else:
            yield indented(narrow_rows(columns, group.rows, width - INDENT, label=AGE))
        yield Text("")


def _rows_of(groups: Iterable[RowGroup]) -> list[Row]:
    rows: list[Row] = []
    for group in groups:
        rows += group.rows
    return rows


def wide_table(columns: Sequence[Column[Row]], rows: Sequence[Row], width: int) -> Grid | None:
    """Return a table with headings; None if the terminal is too narrow for whole lines."""
    widths = _column_widths(columns, rows, width)
    if not widths:
        return None
    cells = [_cells(columns, row) for row in rows]
    return _grid(widths, [_headings(columns), *cells])


def narrow_rows(
    columns: Sequence[Column[Row]], rows: Iterable[Row], width: int, *, label: Column[Row]
) -> Grid:
    """Return rows with the address on the first line and the other values, each whole, below it.

    Args:
        label: What stands before the address.
    """
    below = [column for column in columns if column not in {label, INVITED}]
    below.sort(key=lambda column: column is not OUTCOME)  # the outcome is the first
    blocks: list[tuple[Text, Text]] = []
    for row in rows:
        row_label = _cell_text(label.cell(row))
        values: list[Text] = []
        for column in below:
            values += _values(column, row)
        lines = [_cell_text(INVITED.cell(row))]
        lines += _joined(values, width - row_label.cell_len - GAP)
        blocks.append((row_label, Text("\n").join(lines)))
    return two_columns(blocks, justify="right")


def _values(column: Column[Row], row: Row) -> list[Text]:
    """Return the lines of a cell as they read without a heading."""
    prefix = _PREFIXES.get(column, "")
    return [Text.assemble(prefix, _cell_text((line,))) for line in column.cell(row)]


def _joined(values: Iterable[Text], width: int) -> list[Text]:
    """Return lines with as many values as fit; one that is wider has a line of its own."""
    line = Text()
    lines = [line]
    for value in values:
        longer = Text.assemble(line, " · ", value) if line else value
        if longer.cell_len <= width or not line:
            line = longer
            lines[-1] = line
        else:
            line = value
            lines.append(line)
    return lines


def _column_widths(
    columns: Sequence[Column[Row]], rows: Sequence[Row], width: int
) -> tuple[int, ...]:
    """Return the column widths; empty if the terminal is too narrow for whole lines.

    Args:
        width: Of the terminal.
    """
    widths = tuple(_column_width(column, rows) for column in columns)
    gaps = GAP * (len(widths) - 1)
    table_width = INDENT + sum(widths) + gaps
    return widths if table_width <= width else ()


def _column_width(column: Column[Row], rows: Iterable[Row]) -> int:
    """Return the width of the longest line of a column."""
    width = len(column.heading)
    for row in rows:
        for line in column.cell(row):
            width = max(width, cell_len(line.text))
    return width


def _grid(widths: Sequence[int], rows: Iterable[Sequence[Text]]) -> Grid:
    grid = Grid.grid(padding=(0, GAP, 0, 0))
    for number, width in enumerate(widths):
        is_first = number == 0  # the age or the day
        grid.add_column(width=width, justify="right" if is_first else "left")
    for row in rows:
        grid.add_row(*row)
    return grid


def _cells(columns: Iterable[Column[Row]], row: Row) -> list[Text]:
    return [_cell_text(column.cell(row)) for column in columns]


def _headings(columns: Iterable[Column[Row]]) -> list[Text]:
    return [Text(column.heading.upper(), style="dim") for column in columns]


def _cell_text(cell: Cell) -> Text:
    lines = [Text(line.text, style=_STYLES[line.style]) for line in cell]
    return Text("\n").join(lines)
