"""The report of an audit directory as Markdown, for a pull request.

What comes from Atlas or an operator is in code spans, which cannot become markup, a link or a
mention. A command is one code span, so that it can be pasted into a shell as it is.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from invite_sweeper.report.page import DOUBT, Page
from invite_sweeper.report.story_lines import StoryLine
from invite_sweeper.report.tables import Table
from invite_sweeper.text import escape_unprintable, split_command

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
    yield f"# {page.title}: {markdown_text(page.verdict.label)}"
    yield from ("", markdown_text(page.verdict.text), "")
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
        remarks = [f"- {markdown_text(each)}" for each in page.story.remarks]
        yield from _fold(f"Remarks ({len(remarks):,})", remarks)
    about = [f"- {each.label}: {code_span(each.text)}" for each in page.about]
    yield from _fold("About this run", about)


def _attention(page: Page, max_rows: int) -> Iterator[str]:
    if page.attention:
        yield from ("", "## Needs attention")
    for item in page.attention:
        yield from ("", f"**{markdown_text(item.title)}**", "")
        yield from (f"- {markdown_text(each)}" for each in item.messages[:max_rows])
        if item.advice:
            yield f"- {markdown_text(f'What to do: {item.advice}')}"


def _figures(page: Page, max_rows: int) -> Iterator[str]:
    """Yield what the period comes to, its newest run, and the numbers of the two pictures."""
    if page.nights:
        yield from ("", f"## {page.nights_title}", "")
        yield from (" ".join(page.period), "")
        yield from _lines(page.figures)
        yield from ("", "## The newest run", "")
        yield from _lines([page.story.headline])
    else:
        yield from ("", "## Figures", "")
    yield from _lines((*page.story.lines, *page.story.organizations, *page.log.lines))
    for picture in (page.nights_picture, page.ages_picture):
        if picture is not None:
            sentences = [mark.text for mark in picture.chart.marks]
            sentences += [picture.note] if picture.note else []
            lines = ["", *(f"- {markdown_text(each)}" for each in sentences)] if sentences else []
            numbers = picture.table
            rows = [*_markdown_table(numbers, max_rows), *lines]
            yield from _fold(numbers.caption, rows)


def _lines(lines: Iterable[StoryLine]) -> Iterator[str]:
    for label, text, _ in lines:
        yield f"- {markdown_name(label)}: {markdown_text(text)}"


def _fold(summary: str, lines: Iterable[str]) -> Iterator[str]:
    yield from ("", "<details>", f"<summary>{summary}</summary>", "")
    yield from lines
    yield from ("", "</details>")


def _markdown_table(table: Table, max_rows: int) -> Iterator[str]:
    yield f"| {' | '.join(column.heading for column in table.columns)} |"
    yield f"| {' | '.join('--:' if c.kind == 'number' else '---' for c in table.columns)} |"
    for row in table.rows[:max_rows]:
        cells = (
            escape_unprintable(", ".join(line.text for line in column.cell(row)))
            for column in table.columns
        )
        yield f"| {' | '.join(code_span(cell, in_table=True) for cell in cells)} |"
    count = min(len(table.rows), max_rows)
    if count < table.total:
        command = f" Show all: {code_span(escape_unprintable(table.command))}"
        yield from ("", f"{count:,} of {table.total:,} rows are shown.{command}")


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
    longest = max((len(fence) for fence in _FENCES.findall(value)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if value[0] in "` " or value[-1] in "` " else ""
    span = f"{fence}{pad}{value}{pad}{fence}"
    return span.replace("|", "\\|") if in_table else span


def markdown_text(value: str) -> str:
    """Return a sentence in which words that could become markup or a link are code spans.

    The command at its end is one code span, and so is a name of several words in quotation marks:
    a value that stands in code of its own would be a command substitution in a shell.
    """
    sentence, command = split_command(escape_unprintable(value))
    parts = []
    for is_safe, group in groupby(enumerate(_WORD.findall(sentence)), lambda each: _is_safe(*each)):
        text = " ".join(word for _, word in group)
        if not is_safe:
            core = text.rstrip(".,;:")
            text = code_span(core) + text[len(core) :]
        parts.append(text)
    return " ".join([*parts, code_span(command)] if command else parts)


def markdown_name(value: str) -> str:
    """Return a name: one code span where any of its words could become markup or a link."""
    text = " ".join(escape_unprintable(value).split())
    return text if markdown_text(text) == text else code_span(text)


_WORD: Final = re.compile(r"""(?:'[^']*'|"[^"]*")(?=[\s.,;:)]|$)[.,;:)]*|\S+""")
"""A word, or a name in quotation marks."""


def _is_safe(position: int, word: str) -> bool:
    if not all(_SAFE_WORD.fullmatch(part) and not _LINK.search(part) for part in word.split()):
        return False
    return position > 0 or _LIST_ITEM.fullmatch(word) is None
