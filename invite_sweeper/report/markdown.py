"""A document as Markdown, for a pull request: what a terminal shows, in fences.

Nothing in a fence becomes markup, a link or a mention, and a command can be copied as it is.
"""

import re
from collections.abc import Iterator
from html import escape
from io import StringIO
from typing import Final

from rich.console import Console

from invite_sweeper.report.document import Document
from invite_sweeper.report.terminal import show_document

_MAX_BYTES: Final = 48_000
"""GitHub refuses a comment of more than 65,536 characters, and has more to say in it."""
_ROWS: Final = (50, 20, 5)
"""Rows of a table: the first number with which the whole is short enough."""
_WIDTH: Final = 100
_TICKS: Final = re.compile(r"`+")


def render_markdown(document: Document) -> str:
    """Return a document as Markdown, its longest tables cut."""
    text = ""
    for max_rows in _ROWS:
        text = "\n".join(_parts(document, max_rows))
        if len(text.encode()) <= _MAX_BYTES:
            break
    return text


def _parts(document: Document, max_rows: int) -> Iterator[str]:
    """Yield the verdict with what needs attention, then each section behind its name."""
    yield f"# {document.title}: {document.headline.label}\n"
    attention = (each._replace(messages=each.messages[:max_rows]) for each in document.attention)
    yield _fenced(document._replace(sections=(), attention=tuple(attention)))
    for section in document.sections:
        table = section.table and section.table._replace(rows=section.table.rows[:max_rows])
        shown = _fenced(Document(sections=(section._replace(heading="", table=table),)))
        if table is None:
            yield f"## {section.heading}\n"
            yield shown
        else:
            yield f"<details>\n<summary>{escape(section.heading)} ({section.total:,})</summary>\n"
            yield f"{shown}\n</details>\n"


def _fenced(document: Document) -> str:
    """Return what a terminal shows, between fences that are longer than any in it."""
    console = Console(file=StringIO(), width=_WIDTH, color_system=None, force_terminal=True)
    with console.capture() as capture:
        show_document(console, document)
    text = capture.get().strip("\n")
    fence = "`" * max(map(len, ("``", *_TICKS.findall(text)))) + "`"
    return f"{fence}text\n{text}\n{fence}\n"
