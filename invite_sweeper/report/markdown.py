"""The report of an audit directory as Markdown, for a pull request.

What comes from Atlas or an operator is in code spans, which cannot become markup, a link or a
mention. A command is one code span, so that it can be pasted into a shell as it is.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final, NamedTuple

from invite_sweeper.report.document import Cell, Column, Fact, Table
from invite_sweeper.report.period import DOUBT, Page
from invite_sweeper.text import escape_unprintable

_MAX_CHARACTERS: Final = 65_536
"""Of a comment of a pull request. Source: GitHub refuses a longer one."""
_ROWS: Final = (50, 20, 5)
"""Rows of a table: the first number with which the whole report is short enough."""


def render_markdown(page: Page) -> str:
    """Return the whole report as Markdown; what comes from Atlas is in code spans."""
    text = ""
    for max_rows in _ROWS:
        text = "\n".join(_markdown(page, max_rows)) + "\n"
        if len(text) <= _MAX_CHARACTERS:
            break
    return text


def _markdown(page: Page, max_rows: int) -> Iterator[str]:
    """Yield the lines of the report."""
    yield f"# {page.title}: {markdown_text(page.verdict.label)}"
    yield from _paragraph(markdown_text(page.verdict.text))
    if page.is_damaged:
        yield DOUBT
    else:
        log = page.log.headline
        yield f"Audit log: {log.label.lower()}. {markdown_text(log.text)}"
    yield from _attention(page, max_rows)
    yield from _figures(page, max_rows)
    for table in page.tables:
        yield from _fold(f"{table.caption} ({table.total:,})", _markdown_table(table, max_rows))
    if page.story.remarks:
        remarks = [f"- {markdown_text(remark)}" for remark in page.story.remarks]
        yield from _fold(f"Remarks ({len(remarks):,})", remarks)


def _attention(page: Page, max_rows: int) -> Iterator[str]:
    if page.attention:
        yield from ("", "## Needs attention")
    for attention in page.attention:
        yield from _paragraph(f"**{markdown_text(attention.title)}**")
        for message in attention.messages[:max_rows]:
            yield f"- {markdown_text(message)}"
        if attention.hint.text:
            hint = markdown_text(f"What to do: {attention.hint.text}")
            command = code_span(escape_unprintable(attention.hint.command))
            yield f"- {hint} {command}".rstrip()


def _figures(page: Page, max_rows: int) -> Iterator[str]:
    """Yield what the period comes to, its newest run, and the numbers of the picture."""
    if page.nights:
        yield from _paragraph(f"## {page.nights_title}")
        yield from _lines(page.figures)
        yield from _paragraph("## The newest run")
        yield from _lines([page.story.headline])
    else:
        yield from _paragraph("## Figures")
        yield from _lines(page.figures)
    facts = [*page.story.facts]
    for section in page.story.sections:
        facts += section.facts
    yield from _lines((*facts, *page.log.facts))
    if page.picture is not None:
        table = page.picture.table
        yield from _fold(table.caption, _markdown_table(table, max_rows))


def _lines(lines: Iterable[Fact]) -> Iterator[str]:
    for line in lines:
        yield f"- {markdown_name(line.label)}: {markdown_text(line.text)}"


def _paragraph(text: str) -> Iterator[str]:
    yield ""
    yield text
    yield ""


def _fold(summary: str, lines: Iterable[str]) -> Iterator[str]:
    yield from ("", "<details>", f"<summary>{summary}</summary>", "")
    yield from lines
    yield from ("", "</details>")


def _markdown_table(table: Table, max_rows: int) -> Iterator[str]:
    """Yield the lines of a table, and the command that lists the rows that do not fit."""
    columns = table.columns
    yield _table_line(column.heading for column in columns)
    yield _table_line(_alignment(column) for column in columns)
    rows = table.rows[:max_rows]
    for row in rows:
        yield _table_line(map(_markdown_cell, row))
    if len(rows) < table.total:
        command = code_span(escape_unprintable(table.command))
        yield from ("", f"{len(rows):,} of {table.total:,} rows are shown. Show all: {command}")


def _alignment(column: Column) -> str:
    """Return the line below a heading, which aligns numbers to the right."""
    return "--:" if column.kind == "number" else "---"


def _table_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(cell: Cell) -> str:
    """Return the lines of a cell on one line, as a code span."""
    text = ", ".join(line.text for line in cell)
    return code_span(escape_unprintable(text), in_table=True)


_SAFE_WORD: Final = re.compile(r"[A-Za-z0-9,;:'()%/.+·-]*")
_LINK: Final = re.compile(r"://|www\.|\.[A-Za-z]", re.IGNORECASE)
_LIST_ITEM: Final = re.compile(r"[-+]+|[0-9]+[.)]")
_FENCES: Final = re.compile(r"`+")


def code_span(value: str, *, in_table: bool = False) -> str:
    """Return the text as a code span, which cannot become markup; empty stays empty.

    Args:
        value: Escaped text, without line breaks or control characters.
        in_table: Escape `|`, because a table row is split before code spans are parsed.

    Source:
        GitHub Flavored Markdown, version 0.29, 6.3 "Code spans" and 4.10 "Tables".
    """
    if not value.strip():
        return ""
    fences = _FENCES.findall(value)
    longest = max(map(len, fences), default=0)
    fence = "`" * (longest + 1)
    # One blank at each end is taken away by the parser, and separates a value from the fence.
    needs_pad = value[0] in "` " or value[-1] in "` "
    pad = " " if needs_pad else ""
    span = f"{fence}{pad}{value}{pad}{fence}"
    return span.replace("|", "\\|") if in_table else span


def markdown_text(value: str) -> str:
    """Return a sentence in which words that could become markup or a link are code spans.

    A name of several words in quotation marks is one code span: a value that stands in code of its
    own would be a command substitution in a shell.
    """
    found = _WORD.findall(escape_unprintable(value))
    words = [_Word(text, position) for position, text in enumerate(found)]
    parts = []
    for is_safe, neighbours in groupby(words, key=_is_safe):
        text = " ".join(word.text for word in neighbours)
        parts.append(text if is_safe else _code_before_sign(text))
    return " ".join(parts)


def _code_before_sign(text: str) -> str:
    """Return a code span of some words; the sign that ends them stands behind it."""
    words = text.rstrip(".,;:")
    return code_span(words) + text[len(words) :]


def markdown_name(value: str) -> str:
    """Return a name: one code span where any of its words could become markup or a link."""
    text = " ".join(escape_unprintable(value).split())
    return text if markdown_text(text) == text else code_span(text)


_WORD: Final = re.compile(r"""(?:'[^']*'|"[^"]*")(?=[\s.,;:)]|$)[.,;:)]*|\S+""")
"""A word, or a name in quotation marks."""


class _Word(NamedTuple):
    """A word of a sentence, or a name in quotation marks; `position` counts from 0."""

    text: str
    position: int


def _is_safe(word: _Word) -> bool:
    """Return whether a word can become neither markup nor a link."""
    for part in word.text.split():
        if _SAFE_WORD.fullmatch(part) is None or _LINK.search(part) is not None:
            return False
    is_list_item = word.position == 0 and _LIST_ITEM.fullmatch(word.text) is not None
    return not is_list_item
