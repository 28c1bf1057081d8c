"""Render and write the page."""

import base64
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal, TypeAlias

from jinja2 import Environment, PackageLoader, StrictUndefined

from invite_sweeper.errors import UsageError
from invite_sweeper.files import regular_file_target
from invite_sweeper.report.html.charts import HEIGHT, WIDTH, Chart, layout
from invite_sweeper.report.html.model import ChainResult, ReportModel, ReportStatus, chain_result
from invite_sweeper.report.html.sections import facts, sections, tiles, title
from invite_sweeper.report.html.status import build_report_model
from invite_sweeper.text import escape_unprintable

__all__ = [
    "ChainResult",
    "Format",
    "ReportModel",
    "build_report_model",
    "chain_result",
    "render",
    "write_report",
]


# Text for Markdown: no value of a log can become markup, a link or a mention there.


_SAFE_TEXT = re.compile(r"[A-Za-z0-9 ,;:'()%/.+-]*")
_LINKS = re.compile(r"://|www\.", re.IGNORECASE)
_RUNS = re.compile(r"`+")


def code_span(value: str, *, in_table: bool = False) -> str:
    """The text as a code span, which no reader of Markdown looks into; empty stays empty.

    Args:
        written: Visible already: no line ends, no controls.
        in_table: A table is cut at each `|` before code spans are looked for.

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
    """A sentence of ours: plain where it holds letters and stops alone, else a code span."""
    plain = _SAFE_TEXT.fullmatch(value) and not _LINKS.search(value)
    return value if plain else code_span(value)


# The model as one self-contained page, or as Markdown for a ticket.


STATUS_CLASSES = {
    ReportStatus.CLEAN: "good",
    ReportStatus.EMPTY: "plain",
    ReportStatus.PARTIAL: "warning",
    ReportStatus.INTERRUPTED: "warning",
    ReportStatus.REFUSED: "warning",
    ReportStatus.UNFINISHED: "bad",
    ReportStatus.FAILED: "bad",
    ReportStatus.DAMAGED: "bad",
}
"""The colour of the verdict; the word stands beside it, so nothing hangs on colour."""


MARKDOWN_ROWS = 50
"""Rows of a table in Markdown; a pull request takes 65,536 characters in all."""


def render_html(model: ReportModel) -> str:
    """One page that asks nothing of any network and runs no script but its own.

    Its Content-Security-Policy names the hashes of its style sheet and its script, and
    forbids everything else, so that even markup that slipped through could do nothing.
    """
    style, script = _asset("report.css"), _asset("report.js")
    return (
        _environment(autoescape=True)
        .get_template("report.html.j2")
        .render(
            **_parts(model),
            mood=STATUS_CLASSES[model.status],
            style=style,
            script=script,
            style_hash=_hash(style),
            script_hash=_hash(script),
            svg=svg,
        )
    )


def render_markdown(model: ReportModel) -> str:
    """The same in Markdown: tables for charts, values as code spans."""
    return (
        _environment(autoescape=False)
        .get_template("report.md.j2")
        .render(**_parts(model), shown_rows=MARKDOWN_ROWS)
    )


def svg(chart: Chart) -> str:
    """Draw a chart; `<rect data-value>` is a bar, in the order of series, then labels."""
    template = _environment(autoescape=True).get_template("chart.svg.j2")
    return template.render(chart=chart, at=layout(chart), width=WIDTH, height=HEIGHT)


def _parts(model: ReportModel) -> dict[str, object]:
    return {
        "title": title(model),
        "verdict": model.status.value,
        "sentence": model.status_message,
        "notes": model.notes,
        "tiles": tiles(model),
        "facts": facts(model),
        "sections": sections(model),
    }


@cache
def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("invite_sweeper.report.html"),
        autoescape=autoescape,  # noqa: S701 - off for Markdown alone, which has rules of its own
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["escape_unprintable"] = escape_unprintable
    environment.filters["code_span"] = code_span
    environment.filters["markdown_sentence"] = lambda text: markdown_sentence(
        escape_unprintable(text)
    )
    return environment


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


# A report of audit logs: one page, or Markdown.


Format: TypeAlias = Literal["html", "md"]


def write_report(
    paths: Sequence[Path], out: Path | None, fmt: Format, chain: ChainResult | None
) -> None:
    """Make a report of audit logs and put it where it was asked for.

    The file is there whole or not at all, and for its owner alone: it names people.

    Args:
        paths: Audit logs, in any order.
        out: None for stdout.
        fmt: A page, or Markdown.
        chain: The result of `audit.verify` for the same files; None if it was not asked for.

    Raises:
        UsageFault: A log cannot be read, or `out` cannot be written;
            what stood there before stands there still.
    """
    text = render(build_report_model(paths, chain), fmt)
    if out is None:
        sys.stdout.write(text)
        return
    try:
        _write(out, text)
    except OSError as error:
        raise UsageError(
            f"The report cannot be written to {out}: {error.strerror}.",
            hint="Name a file in a folder that you may write to.",
        ) from error


def _write(out: Path, text: str) -> None:
    target = regular_file_target(out)
    if target is None:
        out.write_text(text, encoding="utf-8")
        return
    descriptor, made = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(made).replace(target)
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise


def render(model: ReportModel, fmt: Format) -> str:
    """Return the report as text."""
    return render_html(model) if fmt == "html" else render_markdown(model)
