"""Render the report as one self-contained HTML page, or as Markdown."""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from importlib import resources
from itertools import groupby
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from invite_sweeper.report.page import Page, Table
from invite_sweeper.text import escape_unprintable

_SHOWN_MESSAGES: Final = 3
"""Messages of one item that are not folded on the page."""
_MARKDOWN_ROWS: Final = 50
"""Rows of a Markdown table; a pull request accepts 65,536 characters."""
DOUBT: Final = "The log is damaged: what follows comes from it and may be wrong."


def render_html(page: Page) -> str:
    """Return one self-contained page that makes no network requests.

    Its Content-Security-Policy allows only its own style sheet, by hash, and no script.
    """
    templates = resources.files(__package__).joinpath("templates")
    style = templates.joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = Environment(
        loader=PackageLoader("invite_sweeper.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = breakable
    template = environment.get_template("page.html.j2")
    return template.render(
        page=page,
        legend=_legend(page),
        shown_messages=_SHOWN_MESSAGES,
        doubt=DOUBT,
        style=style,
        style_hash=f"sha256-{digest}",
    )


_LONG_WORD: Final = re.compile(r"(?<!\S)(?!\(?[0-9a-f]{24}\)?(?!\S))\S{17,}")
"""Other than an id of Atlas."""
_PIECE: Final = re.compile(r"[^@.+/:_-]{0,16}[@.+/:_-]{0,16}")


def breakable(value: str) -> Markup:
    """Return a text with the places where a line may break in its long words.

    That is after a sign, and after 16 characters without one: nine columns fit on a laptop's
    screen, whatever the names are.
    """
    marked = _LONG_WORD.sub(
        lambda word: "\0".join(filter(None, _PIECE.findall(word[0]))), escape_unprintable(value)
    )
    return Markup("<wbr>").join(marked.split("\0"))


def _legend(page: Page) -> tuple[tuple[str, str, str], ...]:
    """Return each mark of the nights with its meaning and colour."""
    return tuple(sorted({(n.mark, n.meaning, str(n.status.colour)) for n in page.nights}))


# Markdown -----------------------------------------------------------------------------------------

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
    """Return a sentence in which words that could become markup or a link are code spans."""
    words = escape_unprintable(value).split()
    parts = []
    for is_safe, group in groupby(enumerate(words), lambda each: _is_safe(*each)):
        text = " ".join(word for _, word in group)
        if not is_safe:
            core = text.rstrip(".,;:")
            text = code_span(core) + text[len(core) :]
        parts.append(text)
    return " ".join(parts)


def _is_safe(position: int, word: str) -> bool:
    if _SAFE_WORD.fullmatch(word) is None or _LINK.search(word):
        return False
    return position > 0 or _LIST_ITEM.fullmatch(word) is None


def render_markdown(page: Page) -> str:
    """Return the whole report as Markdown; what comes from Atlas is in code spans."""
    return "\n".join(_markdown(page)) + "\n"


def _markdown(page: Page) -> Iterator[str]:
    yield f"# {page.title}: {markdown_text(page.verdict.label)}"
    yield from ("", markdown_text(page.verdict.text), "")
    if page.is_damaged:
        yield DOUBT
    else:
        log = page.log.headline
        yield f"Audit log: {log.label.lower()}. {markdown_text(log.text)}"
    if page.attention:
        yield from ("", "## Needs attention")
    for item in page.attention:
        yield from ("", f"**{markdown_text(item.title)}**", "")
        yield from (f"- {markdown_text(each)}" for each in item.messages[:_MARKDOWN_ROWS])
        if item.advice:
            yield f"- What to do: {markdown_text(item.advice)}"
    yield from ("", "## Figures", "")
    for label, text, _ in (*page.story.lines, *page.story.organizations, *page.log.lines):
        yield f"- {markdown_text(label)}: {markdown_text(text)}"
    if page.nights:
        yield from ("", f"## The nights from {page.nights[0].day} to {page.nights[-1].day}", "")
        yield from (" ".join(page.period), "", f"`{' '.join(n.mark for n in page.nights)}`", "")
        yield from (f"- `{mark}`: {markdown_text(meaning)}" for mark, meaning, _ in _legend(page))
    for table in page.tables:
        yield from _fold(table.caption, max(table.total, len(table.rows)), _markdown_table(table))
    if page.story.remarks:
        remarks = [f"- {markdown_text(each)}" for each in page.story.remarks]
        yield from _fold("Remarks", len(remarks), remarks)
    about = [f"- {name}: {code_span(value)}" for name, value in page.about]
    yield from _fold("About this run", None, about)


def _fold(summary: str, count: int | None, lines: Iterable[str]) -> Iterator[str]:
    number = "" if count is None else f" ({count:,})"
    yield from ("", "<details>", f"<summary>{summary}{number}</summary>", "")
    yield from lines
    yield from ("", "</details>")


def _markdown_table(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(column.heading for column in table.columns)} |"
    yield f"| {' | '.join('--:' if c.kind == 'number' else '---' for c in table.columns)} |"
    for row in table.rows[:_MARKDOWN_ROWS]:
        cells = (escape_unprintable(column.cell(row).text) for column in table.columns)
        yield f"| {' | '.join(code_span(cell, in_table=True) for cell in cells)} |"
    shown = min(len(table.rows), _MARKDOWN_ROWS)
    if shown < table.total:
        command = f" Show all: {code_span(escape_unprintable(table.command))}"
        yield from ("", f"{shown:,} of {table.total:,} rows are shown.{command}")
