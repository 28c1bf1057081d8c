"""Render a report of audit logs as one HTML page, as Markdown or as JSON, and write it."""

import base64
import hashlib
import re
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import cache
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from invite_sweeper.errors import UsageError
from invite_sweeper.files import regular_file_target, replace_file
from invite_sweeper.json_text import format_json
from invite_sweeper.report.html.attention import attention
from invite_sweeper.report.html.chain import ChainResult
from invite_sweeper.report.html.model import Report, ReportRecord
from invite_sweeper.report.html.overview import (
    chain_mark,
    chain_sentences,
    facts,
    legend,
    notes,
    strip,
    target,
    tiles,
    title,
)
from invite_sweeper.report.html.reading import read_report
from invite_sweeper.report.html.sections import organizations_table, sections
from invite_sweeper.report.html.verdict import verdict
from invite_sweeper.text import escape_unprintable

_SAFE_TEXT = re.compile(r"[A-Za-z0-9 ,;:'()%/.+-]*")
_LINKS = re.compile(r"://|www\.", re.IGNORECASE)
_RUNS = re.compile(r"`+")


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
    longest = max((len(run) for run in _RUNS.findall(value)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if value[0] in "` " or value[-1] in "` " else ""
    span = f"{fence}{pad}{value}{pad}{fence}"
    return span.replace("|", "\\|") if in_table else span


def markdown_sentence(value: str) -> str:
    """Return a sentence as it is if it cannot become markup or a link, else as a code span."""
    plain = _SAFE_TEXT.fullmatch(value) and not _LINKS.search(value)
    return value if plain else code_span(value)


MARKDOWN_ROWS = 50
"""Maximum rows of a Markdown table; a pull request accepts 65,536 characters."""


SHOWN_MESSAGES = 3
"""Messages of one item that are not folded."""


def render_html(report: Report) -> str:
    """Return one self-contained page that makes no network requests.

    Its Content-Security-Policy allows only its own style sheet and script, by hash, so that
    even injected markup could not run.
    """
    style, script = _asset("report.css"), _asset("report.js")
    return (
        _environment(autoescape=True)
        .get_template("report.html.j2")
        .render(
            **_parts(report),
            shown_messages=SHOWN_MESSAGES,
            style=style,
            script=script,
            style_hash=_hash(style),
            script_hash=_hash(script),
        )
    )


def render_markdown(report: Report) -> str:
    """Return the report as Markdown, values as code spans."""
    return (
        _environment(autoescape=False)
        .get_template("report.md.j2")
        .render(**_parts(report), shown_rows=MARKDOWN_ROWS)
    )


def render_json(report: Report) -> str:
    """Return the report as one JSON object: the verdict, what needs attention, the content."""
    return format_json(ReportRecord(verdict(report), attention(report), report)).decode()


def _parts(report: Report) -> dict[str, object]:
    marks = strip(report)
    return {
        "title": title(report),
        "verdict": verdict(report),
        "attention": attention(report),
        "target": target(report),
        "chain": chain_mark(report.chain),
        "chain_sentences": chain_sentences(report),
        "strip": marks,
        "legend": legend(marks),
        "nights": report.nights,
        "organizations": organizations_table(report),
        "notes": notes(report),
        "tiles": tiles(report),
        "facts": facts(report),
        "sections": sections(report),
    }


@cache
def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("invite_sweeper.report.html"),
        autoescape=autoescape,  # noqa: S701 - off only for Markdown, which has its own filters
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["escape_unprintable"] = escape_unprintable
    environment.filters["code_span"] = code_span
    environment.filters["breakable"] = breakable
    environment.filters["markdown_sentence"] = lambda text: markdown_sentence(
        escape_unprintable(text)
    )
    return environment


_AFTER_SIGN = re.compile(r"(?<=[@.+/:-])(?=\w)")
_LONG_WORD = re.compile(r"[^\s\0]{40}(?=[^\s\0])")


def breakable(value: str) -> Markup:
    """Return a text with the places where a line may break: after a sign, not inside a word.

    A word of over 40 characters breaks, too.
    """
    marked = _LONG_WORD.sub("\\g<0>\0", _AFTER_SIGN.sub("\0", value))
    return Markup("<wbr>").join(marked.split("\0"))


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


class Format(StrEnum):
    """The format of a report."""

    HTML = "html"
    MARKDOWN = "md"
    JSON = "json"


def write_report(
    paths: Sequence[Path],
    out: Path | None,
    fmt: Format,
    chain: ChainResult | None,
    run_id: str = "",
) -> None:
    """Write a report of audit logs to a file or to stdout.

    The file is replaced atomically and readable only by its owner: it contains names.

    Raises:
        UsageError: A log cannot be read, or `out` cannot be written; an existing file is
            unchanged.
    """
    text = render(read_report(paths, chain, run_id), fmt)
    if out is None:
        sys.stdout.write(text)
        return
    try:
        if regular_file_target(out) is None:
            out.write_text(text, encoding="utf-8")
        else:
            replace_file(out, [text.encode()])
    except OSError as error:
        raise UsageError(
            f"The report cannot be written to {out}: {error.strerror}.",
            hint="Choose a file in a folder that you can write to.",
        ) from error


def render(report: Report, fmt: Format) -> str:
    """Return the report as text."""
    return _RENDERERS[fmt](report)


_RENDERERS: dict[Format, Callable[[Report], str]] = {
    Format.HTML: render_html,
    Format.MARKDOWN: render_markdown,
    Format.JSON: render_json,
}
