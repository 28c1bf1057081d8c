"""Show a document on a terminal of any width, or whole in a pipe or a file.

A table is rich's own, and each row is one line. Names from Atlas can neither move the cursor nor
start a new line: they are `Text`, never markup, and documents hold escaped text.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table as Grid
from rich.text import Text
from typing_extensions import override

from invite_sweeper.endings import Style
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.document import Document, Fact, Section
from invite_sweeper.report.table import Cell, Column, Table
from invite_sweeper.text import escape_unprintable, fill_lines

_PLAIN_WIDTH: Final = 120
_LABEL_WIDTH: Final = 9
"""Of a document, at least: the facts of a dry run begin where those of a sweep do."""
_GAP: Final = 2
"""Blanks between columns."""
_LEAST_WIDTH: Final = 12
"""Of a column whose cells are cut, before others fall away."""
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
    is_terminal = sys.stdout.isatty()
    width = None if is_terminal or "COLUMNS" in os.environ else _PLAIN_WIDTH
    # In a pipe nothing is cut, also where FORCE_COLOR makes rich believe in a terminal.
    return RedactingConsole(width=width, force_terminal=is_terminal)


def show_document(console: Console, document: Document, *, with_ids: bool = False) -> None:
    """Print the sections, the headline with the facts, what needs attention, and what is copied.

    Args:
        with_ids: Whether tables have the ids of invitations, projects and organizations.
    """
    for section in document.sections:
        _show_section(console, section, with_ids=with_ids)
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


def _show_section(console: Console, section: Section, *, with_ids: bool) -> None:
    """Print a table, facts and sentences below a heading, and how to list the others."""
    if section.heading:
        heading = Text(section.heading, f"bold {_STYLES[section.style]}")
        console.print(heading, soft_wrap=True)
    if section.table is not None:
        _show_table(console, section.table, with_ids=with_ids)
    facts = (*section.facts, *(Fact("", sentence) for sentence in section.sentences))
    indent = _INDENT if section.heading and section.table is None else 0
    _show_facts(console, facts, _label_width(facts), indent=indent)
    _print_rest(console, section.total - section.shown, section.command)
    if section.heading or section.table is not None:
        console.print()


def _print_rest(console: Console, count: int, command: str) -> None:
    """Print the command that shows the rows that are not shown."""
    if count > 0:
        _print_beside(console, Text(f"{count:,} more: ", "dim"), command, is_whole=True)


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


def _show_table(console: Console, table: Table, *, with_ids: bool) -> None:
    """Print a table, a line each row: on a terminal it fits, elsewhere it is whole."""
    columns = [column for column in table.columns if with_ids or column.fit != "id"]
    naturals = dict(zip(table.columns, _natural_widths(table), strict=True))
    if not console.is_terminal:
        is_shown = [column in columns for column in table.columns]
        rows = [tuple(compress(row, is_shown)) for row in table.rows]
        lines = _whole_lines(columns, [naturals[column] for column in columns], rows)
        console.out("\n".join(lines), highlight=False)
        return
    left_out: list[str] = []
    falling = [column for column in columns if column.fit != "cut"]
    while falling and _least_width(columns, naturals) > console.width:
        left_out.insert(0, falling[-1].heading.upper())
        columns.remove(falling.pop())
    is_shown = [column in columns for column in table.columns]
    grid = _grid(columns, naturals, console.width)
    for row in table.rows:
        grid.add_row(*(_cell_text(cell) for cell in compress(row, is_shown)))
    for segments in console.render_lines(grid, pad=False):
        line = Text.assemble(*((segment.text, segment.style or "") for segment in segments))
        line.rstrip()
        console.print(line, soft_wrap=True)
    if left_out:
        note = f"Not shown: {', '.join(left_out)}. A wider terminal or -o json shows them."
        _print_beside(console, Text(), note, _STYLES["note"])


def _whole_lines(
    columns: Sequence[Column[Any]], widths: Sequence[int], rows: Iterable[Sequence[Cell]]
) -> Iterator[str]:
    """Yield the lines of a pipe; rich's table would take half a minute for 25,000 people."""
    headings = [Cell(column.heading.upper()) for column in columns]
    for row in (headings, *rows):
        line = ""
        for column, width, (text, _) in zip(columns, widths, row, strict=True):
            blanks = " " * (width - cell_len(text or "-"))
            text = text or "-"  # noqa: PLW2901 - so that no column is skipped
            line += blanks + text if column.kind == "number" else text + blanks
            line += " " * _GAP
        yield line.rstrip()


def _grid(columns: Iterable[Column[Any]], naturals: Mapping[Column[Any], int], width: int) -> Grid:
    """Return rich's table without a border, which cuts a person last and an id never."""
    grid = Grid(box=None, padding=(0, _GAP, 0, 0), pad_edge=False)
    least = _least_width(columns, naturals)
    for column in columns:
        header = Text(column.heading.upper(), "dim", no_wrap=True, overflow="ellipsis")
        is_person = column.kind == "person"
        longest = max(width // 2, width - least + naturals[column]) if is_person else None
        grid.add_column(
            header,
            justify="right" if column.kind == "number" else "left",
            overflow="ellipsis",
            no_wrap=is_person or column.kind == "code",
            max_width=longest,
        )
    return grid


def _natural_widths(table: Table) -> Iterator[int]:
    """Yield the width of each column whose cells are whole."""
    for number, column in enumerate(table.columns):
        cells = (cell_len(row[number].text) for row in table.rows)
        yield max(len(column.heading), *cells)


def _least_width(columns: Iterable[Column[Any]], naturals: Mapping[Column[Any], int]) -> int:
    """Return the width in which persons and ids are whole, and others are cut to a few letters."""
    whole = ("person", "code")
    widths = [
        naturals[column] if column.kind in whole else min(naturals[column], _LEAST_WIDTH)
        for column in columns
    ]
    return sum(widths) + _GAP * (len(widths) - 1)


def _cell_text(cell: Cell) -> Text:
    """Return a cell on one line; an empty one has a mark, so that no column is skipped."""
    style = _STYLES[cell.style]
    return Text(cell.text or "-", style, no_wrap=True, overflow="ellipsis")
