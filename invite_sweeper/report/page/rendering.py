"""The model as one self-contained page, or as Markdown for a ticket."""

import base64
import hashlib
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined

from invite_sweeper.report.page.charts import HEIGHT, WIDTH, Chart, layout
from invite_sweeper.report.page.masthead import facts, tiles, title
from invite_sweeper.report.page.model import ReportModel
from invite_sweeper.report.page.rows import Verdict
from invite_sweeper.report.page.sections import sections
from invite_sweeper.report.page.text import literal, sentence
from invite_sweeper.report.values import visible

MOODS = {
    Verdict.CLEAN: "good",
    Verdict.EMPTY: "plain",
    Verdict.PARTIAL: "warning",
    Verdict.STOPPED: "warning",
    Verdict.REFUSED: "warning",
    Verdict.UNFINISHED: "bad",
    Verdict.FAILED: "bad",
    Verdict.DAMAGED: "bad",
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
            mood=MOODS[model.verdict],
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
        "verdict": model.verdict.value,
        "sentence": model.sentence,
        "notes": model.notes,
        "tiles": tiles(model),
        "facts": facts(model),
        "sections": sections(model),
    }


@cache
def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("invite_sweeper.report.page"),
        autoescape=autoescape,  # noqa: S701 - off for Markdown alone, which has rules of its own
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    environment.filters["literal"] = literal
    environment.filters["sentence"] = lambda text: sentence(visible(text))
    return environment


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
