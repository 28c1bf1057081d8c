"""Show a document on a terminal of any width.

A table is a table where each of its lines fits; else each row is a short block, in which no value
is broken. Names from Atlas can neither move the cursor nor start a new line: they are `Text`,
never markup, and documents hold escaped text.
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
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.document import Attention, Cell, Column, Document, Fact, Section, Table
from invite_sweeper.text import escape_unprintable, fill_lines

_LABEL_WIDTH: Final = 9
"""Of a document: the facts of a dry run begin where those of a sweep do."""
GAP: Final = 2
"""Blanks between columns."""
INDENT: Final = 2
"""Blanks before what stands below a heading."""
STYLES: Final[Mapping[Style, str]] = {
    "plain": "",
    "note": "dim",
    "strong": "bold",
    "privileged": "bold magenta",
    "good": "green",
    "info": "cyan",
    "warning": "yellow",
    "bad": "bold red",
}


def show_document(console: Console, document: Document) -> None:
    """Print the sections, the headline with the facts, and what needs attention."""
    width = console.width
    for section in document.sections:
        show_section(console, section)
    label_width = max((len(fact.label) for fact in document.facts), default=_LABEL_WIDTH)
    label_width = max(label_width, _LABEL_WIDTH)
    # The label of a headline may be longer: it does not move the texts below it.
    headline = (label_text(document.headline), Text(document.headline.text))
    print_parts(console, entries([headline], width, label_width=label_width))
    _show_facts(console, document.facts, label_width)
    for attention in document.attention:
        print_parts(console, _attention(attention))
    show_copied(console, document.closing)


def show_copied(console: Console, facts: Sequence[Fact]) -> None:
    """Print facts below an empty line, each on one line so that it can be copied."""
    if facts:
        console.print()
        label_width = max(len(fact.label) for fact in facts)
        print_parts(console, (_whole(fact, label_width) for fact in facts))


def show_question(console: Console, document: Document) -> None:
    """Print the sections and the facts, and below them the question with its remark."""
    for section in document.sections:
        show_section(console, section)
    _show_facts(console, document.facts, max(len(fact.label) for fact in document.facts))
    print_parts(console, (Text(document.headline.label, "bold"), Text(document.headline.text)))


def show_section(console: Console, section: Section) -> None:
    """Print a table, or facts and sentences below a heading, and how to list the others."""
    print_parts(console, _section(section, console.width))


def show_lines(console: Console, document: Document) -> None:
    """Print a document that is read line by line, and searched with `grep`: a check, a fact each.

    A terminal breaks no word; elsewhere no line is broken, but those of tables.
    """
    for section in document.sections:
        if section.table is not None:
            print_parts(console, table_parts(section.table, console.width))
        if section.heading:
            console.print(Text(section.heading, "bold"), soft_wrap=True)
        show_facts(console, section.facts)
    headline = document.headline
    end = f": {headline.text}" if headline.text else "."
    text = Text(_lines_beside(console, f"{headline.label}{end}"))
    text.stylize(f"bold {STYLES[headline.style]}", 0, len(headline.label) + 1)
    console.print(text, soft_wrap=True)
    show_facts(console, document.facts)
    for remark in document.remarks:
        console.print(Text(_lines_beside(console, remark)), soft_wrap=True)
    for attention in document.attention:
        for text in _attention(attention):
            text.no_wrap = text.no_wrap or not console.is_terminal
            print_parts(console, [text])


def show_facts(console: Console, facts: Iterable[Fact]) -> None:
    """Print facts, a line each: the text beside the label, or below a label of half a terminal."""
    for fact in facts:
        style = STYLES[fact.style]
        # A style is that of the label, or of the state or the sentence where there is one.
        label = Text(fact.label, "" if fact.state else style)
        indent = len(label) + GAP
        if console.is_terminal and indent > console.width // 2:
            label.rstrip()
            console.print(label, soft_wrap=True)
            label = Text()
            indent = INDENT
        text = f"{fact.state}  {fact.text}" if fact.state else fact.text
        lines = _lines_beside(console, text, indent, is_whole=fact.is_whole)
        line = Text.assemble(label, lines[len(label) :])
        if fact.state:
            line.stylize(f"bold {style}", indent, indent + len(fact.state))
        elif not fact.label.strip():
            line.stylize(style)
        line.rstrip()
        console.print(line, soft_wrap=True)


def _lines_beside(console: Console, text: str, indent: int = 0, *, is_whole: bool = False) -> str:
    """Return the lines of a text behind blanks; on a terminal as long as it is wide."""
    beside = " " * indent
    lines = SECRETS.redact(text).split("\n")
    if console.is_terminal and not is_whole:
        filled = (fill_lines(line, console.width, first=beside, others=beside) for line in lines)
    else:
        filled = (f"{beside}{line}" for line in lines)
    return "\n".join(filled)


def _show_facts(console: Console, facts: Sequence[Fact], label_width: int) -> None:
    """Print labels with their texts beside them."""
    for is_whole, group in groupby(facts, key=lambda fact: fact.is_whole):
        if is_whole:
            print_parts(console, (_whole(fact, label_width) for fact in group))
        else:
            rows = [(label_text(fact), Text(fact.text)) for fact in group]
            print_parts(console, [two_columns(rows, width=label_width)])


def _whole(fact: Fact, label_width: int) -> Text:
    """Return a fact on one line, so that its text can be copied."""
    label = fact.label.ljust(label_width + GAP)
    return Text.assemble(
        (label, "bold"), (escape_unprintable(fact.text), STYLES[fact.style]), no_wrap=True
    )


def _section(section: Section, width: int) -> Iterator[RenderableType]:
    table = section.table
    if table is not None:
        yield from table_parts(table, width)
        yield from _rest(table.total - len(table.rows), table.command)
    shown = len(section.facts) + len(section.sentences)
    total = section.total or shown
    if section.heading:
        yield heading(section.heading, shown, total, f"bold {STYLES[section.style]}")
    indent = INDENT if section.heading else 0
    if section.facts:
        rows = [(Text(fact.label), Text(fact.text)) for fact in section.facts]
        for part in entries(rows, width - indent):
            yield indented(part, indent)
    for sentence in section.sentences:
        yield indented(Text(sentence), indent)
    if section.heading:
        yield Text("")
    yield from _rest(total - shown, section.command)


def _rest(count: int, command: str) -> Iterator[RenderableType]:
    """Yield the command that shows the rows that are not shown."""
    if count > 0:
        yield Text.assemble((f"{count:,} more: ", "dim"), command, no_wrap=True)
        yield Text("")


def _attention(attention: Attention) -> Iterator[Text]:
    """Yield what needs attention, its title highlighted, and what to do."""
    title_end = len(attention.title) + 1  # with the colon or full stop
    text = Text(attention.text)
    text.stylize("bold yellow", 0, title_end)
    yield text
    if attention.hint.text:
        hint = escape_unprintable(attention.hint.sentence)
        yield Text.assemble(("What to do: ", "bold"), hint, no_wrap=True)


# Parts of a page ---------------------------------------------------------------------------------


def print_parts(console: Console, parts: Iterable[RenderableType]) -> None:
    """Print parts one below the other."""
    for part in parts:
        # What is copied, such as a command, stays on one line, which the terminal wraps.
        if isinstance(part, Text) and part.no_wrap:
            part.rstrip()
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
    return Text(line.label, f"bold {STYLES[line.style]}")


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
    """Return the lines of a cell as they read without a heading, which the first one needs."""
    values = [_cell_text((line,)) for line in cell]
    if values and column.prefix:
        values[0] = Text.assemble(f"{column.prefix} ", values[0])
    return values


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
    lines = [Text(line.text, style=STYLES[line.style]) for line in cell]
    return Text("\n").join(lines)
