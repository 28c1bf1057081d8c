"""Show a document on a terminal of any width.

A table is a table where each of its lines fits; else each row is a short block, in which no value
is broken. Names from Atlas can neither move the cursor nor start a new line: they are `Text`,
never markup, and documents hold escaped text.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, zip_longest
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text
from typing_extensions import override

from invite_sweeper.endings import Style
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.document import Cell, Column, Document, Fact, Section, Table
from invite_sweeper.text import escape_unprintable, fill_lines

_PLAIN_WIDTH: Final = 120
_LABEL_WIDTH: Final = 9
"""Of a document, at least: the facts of a dry run begin where those of a sweep do."""
_GAP: Final = 2
"""Blanks between columns."""
_INDENT: Final = 2
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


class RedactingConsole(Console):
    """A console that masks secrets in a text before it wraps it.

    Afterwards a part of a secret stands on each line, between the other columns of a table.
    """

    @override
    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        if isinstance(renderable, Text):
            plain = renderable.plain
            redacted = SECRETS.redact(plain)
            if redacted is not plain:
                renderable = Text(redacted, renderable.style, no_wrap=renderable.no_wrap)
        return super().render(renderable, options)


def stdout_console() -> Console:
    """Return the console for results: as wide as the terminal, or 120 columns in a file."""
    is_known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return RedactingConsole(width=None if is_known else _PLAIN_WIDTH)


def show_document(console: Console, document: Document) -> None:
    """Print the sections, the headline with the facts, what needs attention, and what is copied."""
    for section in document.sections:
        _show_section(console, section)
    headline = document.headline
    facts = document.facts
    label_width = max(_LABEL_WIDTH, _label_width(facts))
    if headline.label and not _label_width(facts):
        # Above facts without labels, or none, it is a sentence of its own.
        label = Text(f"{headline.label}{': ' if headline.text else '.'}")
        label.stylize(f"bold {_STYLES[headline.style]}")
        _print_beside(console, label, headline.text)
    elif headline.text:
        # Its label may be longer than the others: it does not move the texts below it.
        facts = (headline, *facts)
    _show_facts(console, facts, label_width, label_style="bold")
    for attention in document.attention:
        title = Text(f"{attention.title}{': ' if attention.messages else '.'}", "bold yellow")
        _print_beside(console, title, "\n".join(attention.messages))
        if attention.hint.text:
            label = Text("What to do: ", "bold")
            _print_beside(console, label, attention.hint.sentence, is_whole=True)
    if document.closing:
        console.print()
        copied = [fact._replace(is_whole=True) for fact in document.closing]
        _show_facts(console, copied, _label_width(copied), label_style="bold")


def _show_section(console: Console, section: Section) -> None:
    """Print a table, or facts and sentences, below a heading, and how to list the others."""
    heading = Text(section.heading, f"bold {_STYLES[section.style]}")
    if heading and section.total:
        heading = _with_count(heading, section.shown, section.total)
    if section.table is not None:
        _show_table(console, section.table, heading)
    else:
        facts = (*section.facts, *(Fact("", sentence) for sentence in section.sentences))
        if heading:
            console.print(heading, soft_wrap=True)
        _show_facts(console, facts, _label_width(facts), indent=_INDENT if heading else 0)
        if heading:
            console.print()
    _print_rest(console, section.total - section.shown, section.command)


def _print_rest(console: Console, count: int, command: str) -> None:
    """Print the command that shows the rows that are not shown."""
    if count > 0:
        _print_beside(console, Text(f"{count:,} more: ", "dim"), command, is_whole=True)
        console.print()


def _label_width(facts: Iterable[Fact]) -> int:
    """Return the width of the longest label; that of a sentence is blank."""
    return max((cell_len(fact.label) for fact in facts if fact.label.strip()), default=0)


def _show_facts(
    console: Console,
    facts: Iterable[Fact],
    label_width: int,
    *,
    indent: int = 0,
    label_style: str = "",
) -> None:
    """Print facts: the text beside the label, or below a label of half a terminal; sentences."""
    for fact in facts:
        label = Text(f"{' ' * indent}{fact.label}")
        style = _STYLES[fact.style]
        if fact.label.strip():
            label.stylize(f"{label_style} {style}")
            style = ""
            label.pad_right(max(0, label_width - cell_len(fact.label)) + _GAP)
        if console.is_terminal and label.cell_len > console.width // 2:
            label.rstrip()
            console.print(label, soft_wrap=True)
            label = Text(" " * (indent + _INDENT))
        width = label.cell_len
        _print_beside(console, label, fact.text, style, indent=width, is_whole=fact.is_whole)


def _print_beside(
    console: Console,
    label: Text,
    text: str,
    style: str = "",
    *,
    indent: int = 0,
    is_whole: bool = False,
) -> None:
    """Print a text behind a label.

    A terminal breaks its lines between words; elsewhere they can be searched as they are.

    Args:
        indent: Blanks before the lines that follow.
        is_whole: A terminal breaks no line, either, so that it can be copied.
    """
    first = " " * label.cell_len
    others = " " * indent
    lines: list[str] = []
    for line in SECRETS.redact(text).split("\n"):
        shown = escape_unprintable(line)
        beside = others if lines else first
        if console.is_terminal and not is_whole:
            lines.append(fill_lines(shown, console.width, first=beside, others=others))
        else:
            lines.append(f"{beside}{shown}")
    printed = label.append("\n".join(lines)[len(first) :], style)
    printed.rstrip()
    console.print(printed, soft_wrap=True)


# Tables ------------------------------------------------------------------------------------------


def _show_table(console: Console, table: Table, heading: Text) -> None:
    """Print a table: its columns side by side where each line fits, else a block each row.

    Args:
        table: With a row, at least.
    """
    indent = _INDENT if heading or table.grouped_by is not None else 0
    numbers = [number for number in range(len(table.columns)) if number != table.grouped_by]
    columns = [table.columns[number] for number in numbers]
    widths = _column_widths(columns, numbers, table.rows, console.width - indent)
    if widths:
        headings = [[Text(column.heading.upper(), style="dim")] for column in columns]
        _print_row(console, headings, widths, indent)
    for title, rows in _groups(table, heading):
        cells = [[_cell_lines(row[number]) for number in numbers] for row in rows]
        if indent:
            for line in title.wrap(console, console.width):
                line.rstrip()
                console.print(line, soft_wrap=True)
        if widths:
            for row in cells:
                _print_row(console, row, widths, indent)
        else:
            _show_blocks(console, columns, cells, indent)
        if indent:
            console.print()


def _print_row(
    console: Console, cells: Iterable[Sequence[Text]], widths: Sequence[int], indent: int
) -> None:
    """Print a row, its first column, the age or the day, to the right."""
    for parts in zip_longest(*cells, fillvalue=Text()):
        line = Text()
        start = indent + widths[0] - parts[0].cell_len
        end = indent
        for part, width in zip(parts, widths, strict=True):
            line.pad_right(start - line.cell_len)
            line.append_text(part)
            end += width + _GAP
            start = end
        line.rstrip()
        console.print(line, soft_wrap=True)


def _with_count(title: Text, shown: int, total: int) -> Text:
    """Return a heading with how many rows follow, and of how many."""
    count = f"{total:,}" if shown == total else f"{shown:,} of {total:,}"
    return Text.assemble(title, (f"  {count}", "dim"))


def _groups(table: Table, heading: Text) -> Iterator[tuple[Text, Sequence[Sequence[Cell]]]]:
    """Yield the rows below a heading each: that of all, or the text of the column that groups."""
    number = table.grouped_by
    if number is None:
        yield heading, table.rows
        return
    for cell, group in groupby(table.rows, key=lambda row: row[number]):
        rows = tuple(group)
        name = cell[0].text
        yield _with_count(Text(name, "bold"), len(rows), table.group_totals[name]), rows


def _show_blocks(
    console: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Sequence[Text]]],
    indent: int,
) -> None:
    """Print rows with the person first and then the other values, of which each is whole."""
    label_width = max(line.cell_len for first, *_ in rows for line in first or [Text()])
    width = max(1, console.width - indent - label_width - _GAP)
    for label, *cells in rows:
        lines: list[Text] = []
        values: list[Text] = []
        for column, cell in zip(columns[1:], cells, strict=True):
            if column.kind == "person" and indent:  # it has a line of its own
                lines += cell
            elif column.kind == "state":
                values = [*_values(column, cell), *values]
            else:
                values += _values(column, cell)
        lines += _joined(values, width)
        folded = [part for line in lines for part in line.wrap(console, width, overflow="fold")]
        _print_row(console, (label, folded), (label_width, width), indent)


def _values(column: Column, cell: Sequence[Text]) -> Sequence[Text]:
    """Return the lines of a cell as they read without a heading, which the first one needs."""
    if not cell or not column.prefix:
        return cell
    first, *others = cell
    return [Text.assemble(f"{column.prefix} ", first), *others]


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
    gaps = _GAP * (len(widths) - 1)
    return tuple(widths) if sum(widths) + gaps <= width else ()


def _cell_lines(cell: Cell) -> Sequence[Text]:
    return [Text(line.text, style=_STYLES[line.style]) for line in cell]
