"""How rows, labels and texts are laid out on a terminal of any width.

A table is a table where each of its lines fits; else each row is a short block, in which no value
is broken. Names from Atlas can neither move the cursor nor start a new line: they are `Text`,
never markup, and cells hold escaped text.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from rich.cells import cell_len
from rich.console import Console, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from invite_sweeper.endings import Style
from invite_sweeper.report.document import Cell, Column, Fact, Table

GAP: Final = 2
"""Blanks between columns."""
INDENT: Final = 2
"""Blanks before what stands below a heading."""
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


def indented(part: RenderableType, indent: int = INDENT) -> Padding:
    """Return a part as it stands below a heading."""
    return Padding(part, (0, 0, 0, indent))


def heading(title: str, shown: int, total: int, style: str = "bold") -> Text:
    """Return a title with how many rows follow, and of how many."""
    count = f"{total:,}" if shown == total else f"{shown:,} of {total:,}"
    return Text.assemble((title, style), (f"  {count}", "dim"))


def label_text(line: Fact) -> Text:
    """Return the label of a line in its colour."""
    return Text(line.label, f"bold {_STYLES[line.style]}")


def labelled(lines: Iterable[Fact], label_width: int | None = None) -> Grid:
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


# Tables ------------------------------------------------------------------------------------------


def table_parts(table: Table, width: int) -> Iterator[RenderableType]:
    """Yield a table: with its columns side by side where each line fits, else a block each row.

    Args:
        table: With a row, at least.
        width: Of the terminal, in cells.
    """
    indent = INDENT if table.caption or table.grouped_by is not None else 0
    numbers = [number for number in range(len(table.columns)) if number != table.grouped_by]
    columns = [table.columns[number] for number in numbers]
    widths = _column_widths(columns, numbers, table.rows, width - indent)
    if widths:
        headings = [Text(column.heading.upper(), style="dim") for column in columns]
        yield indented(_grid(widths, [headings]), indent)
    for title, rows in _groups(table):
        cells = [[row[number] for number in numbers] for row in rows]
        if indent:
            yield title
        if widths:
            yield indented(_grid(widths, [map(_cell_text, row) for row in cells]), indent)
        else:
            yield indented(_blocks(columns, cells, width - indent, stands_alone=indent > 0), indent)
        if indent:
            yield Text("")


def _groups(table: Table) -> Iterator[tuple[Text, Sequence[Sequence[Cell]]]]:
    """Yield the rows below a heading each: the caption, or the column that groups them."""
    number = table.grouped_by
    if number is None:
        yield heading(table.caption, len(table.rows), table.total), table.rows
        return
    for cell, group in groupby(table.rows, key=lambda row: row[number]):
        rows = tuple(group)
        name = cell[0].text
        yield heading(name, len(rows), table.group_totals[name]), rows


def _blocks(
    columns: Sequence[Column], rows: Iterable[Sequence[Cell]], width: int, *, stands_alone: bool
) -> Grid:
    """Return rows with the person first and then the other values, of which each is whole.

    Args:
        stands_alone: The person has a line of its own.
    """
    blocks: list[tuple[Text, Text]] = []
    for first, *cells in rows:
        label = _cell_text(first)
        lines: list[Text] = []
        values: list[Text] = []
        for column, cell in zip(columns[1:], cells, strict=True):
            if column.kind == "person" and stands_alone:
                lines.append(_cell_text(cell))
            elif column.kind == "state":
                values = [*_values(column, cell), *values]
            else:
                values += _values(column, cell)
        lines += _joined(values, width - label.cell_len - GAP)
        blocks.append((label, Text("\n").join(lines)))
    return two_columns(blocks, justify="right")


def _values(column: Column, cell: Cell) -> list[Text]:
    """Return the lines of a cell as they read without a heading."""
    prefix = f"{column.prefix} " if column.prefix else ""
    return [Text.assemble(prefix, _cell_text((line,))) for line in cell]


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
    columns: Sequence[Column],
    numbers: Sequence[int],
    rows: Sequence[Sequence[Cell]],
    width: int,
) -> tuple[int, ...]:
    """Return the widths of the longest lines; empty if the terminal is too narrow for them.

    Args:
        numbers: Of the columns in each row.
    """
    widths: list[int] = []
    for column, number in zip(columns, numbers, strict=True):
        lines = [cell_len(line.text) for row in rows for line in row[number]]
        widths.append(max(len(column.heading), *lines, 0))
    gaps = GAP * (len(widths) - 1)
    return tuple(widths) if sum(widths) + gaps <= width else ()


def _grid(widths: Sequence[int], rows: Iterable[Iterable[Text]]) -> Grid:
    grid = Grid.grid(padding=(0, GAP, 0, 0))
    for number, width in enumerate(widths):
        is_first = number == 0  # the age or the day
        grid.add_column(width=width, justify="right" if is_first else "left")
    for row in rows:
        grid.add_row(*row)
    return grid


def _cell_text(cell: Cell) -> Text:
    lines = [Text(line.text, style=_STYLES[line.style]) for line in cell]
    return Text("\n").join(lines)
