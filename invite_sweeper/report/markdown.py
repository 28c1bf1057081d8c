"""A document as Markdown, for a pull request: headings, tables and lists.

A word that could be markup, a link or a mention stands in a code span: it reads as it is, both
where the text is rendered and where it is not.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from invite_sweeper.report.document import Attention, Document, Fact, Section
from invite_sweeper.report.table import Table
from invite_sweeper.text import escape_unprintable

_MAX_BYTES: Final = 48_000
"""GitHub refuses a comment of more than 65,536 characters, and has more to say in it."""
_ROWS: Final = (50, 20, 5)
"""Rows of a table: the first number with which the whole is short enough."""
_TICKS: Final = re.compile("`+")
_PLAIN_WORD: Final = re.compile(
    r"""
    [("']*
    (?: [^\W\d_]+(?:['_-][^\W\d_]+)*  # a word, such as dry-run
      | \d+(?:[.,:-]\d+)* )          # a number or a date
    [,;:!?)'"]*\.?
    | [·…–=-]
    """,  # noqa: RUF001 - a dash
    re.VERBOSE,
)
"""A word that is no markup, no address and no reference, wherever it stands in a line."""
_BAR: Final = r"\|"
_LIST_ITEM: Final = re.compile(r"(?:\d+[.)]|[=-])(?= |$)")
"""How a line begins that Markdown takes for an item of a list or for a heading."""


def render_markdown(document: Document) -> str:
    """Return a document as Markdown, its longest tables cut."""
    text = ""
    for max_rows in _ROWS:
        text = "\n\n".join(_parts(document, max_rows)) + "\n"
        if len(text.encode()) <= _MAX_BYTES:
            break
    return text


def _parts(document: Document, max_rows: int) -> Iterator[str]:
    """Yield the verdict with what needs attention, then each section below its name."""
    yield f"# {escaped(f'{document.title}: {document.headline.label}')}"
    if document.headline.text:
        yield escaped(document.headline.text)
    if document.facts:
        yield _list_of(document.facts)
    if document.attention:
        yield "## Needs attention"
        yield "\n".join(_items(document.attention, max_rows))
    for section in document.sections:
        yield from _section(section, max_rows)


def _items(attention: Iterable[Attention], max_rows: int) -> Iterator[str]:
    """Yield what needs attention, an item each, and what to do below it."""
    for each in attention:
        yield f"- **{escaped(each.title)}**"
        for message in each.messages[:max_rows]:
            yield from (f"  - {escaped(line)}" for line in message.split("\n"))
        if each.hint.text:
            command = f" {code(each.hint.command)}" if each.hint.command else ""
            yield f"  - What to do: {escaped(each.hint.text)}{command}"


def _section(section: Section, max_rows: int) -> Iterator[str]:
    heading = escaped(section.heading)
    yield f"## {heading} ({section.total:,})" if section.table is not None else f"## {heading}"
    shown = section.shown
    if section.table is not None:
        shown = min(shown, max_rows)
        yield "\n".join(_table(section.table, max_rows))
    facts = (*section.facts, *(Fact("", sentence) for sentence in section.sentences))
    if facts:
        yield _list_of(facts[:max_rows])
    if shown < section.total:
        yield f"{section.total - shown:,} more: {code(section.command)}"


def _list_of(facts: Iterable[Fact]) -> str:
    return "\n".join(f"- {escaped(' '.join(_line(fact).split()))}" for fact in facts)


def _line(fact: Fact) -> str:
    return f"{fact.label}: {fact.text}" if fact.label.strip() else fact.text


def _table(table: Table, max_rows: int) -> Iterator[str]:
    """Yield the lines of a table; numbers stand to the right."""
    yield _row([column.heading for column in table.columns])
    yield _row(["--:" if column.kind == "number" else "---" for column in table.columns])
    for row in table.rows[:max_rows]:
        yield _row([escaped(cell.text) for cell in row])


def _row(cells: Sequence[str]) -> str:
    """Return a line of a table, in which only its own pipes end a cell."""
    return f"| {' | '.join(cell.replace('|', _BAR) for cell in cells)} |"


def escaped(text: str) -> str:
    """Return one line of text that Markdown shows as it is, whatever a name is made of."""
    words = escape_unprintable(text).split(" ")
    parts = []
    for is_plain, group in groupby(enumerate(words), lambda word: _is_plain(*word)):
        joined = " ".join(word for _, word in group)
        parts.append(joined if is_plain else code(joined))
    return " ".join(parts)


def _is_plain(position: int, word: str) -> bool:
    """Return whether a word of a line needs no code span."""
    if position == 0 and _LIST_ITEM.match(word):
        return False
    return not word or _PLAIN_WORD.fullmatch(word) is not None


def code(text: str) -> str:
    """Return a text as a code span, whose fence is longer than any in it."""
    text = escape_unprintable(text)
    fence = "`" * (1 + max(map(len, ("", *_TICKS.findall(text)))))
    blank = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{blank}{text}{blank}{fence}"
