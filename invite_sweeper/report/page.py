"""The report of an audit directory as one HTML page; `markdown.py` has it for a pull request.

It is about a period: what was done night by night and to whom, what is pending, the policies. What
it says of the newest run is its story; the page adds the verification of the files, and an earlier
sweep that still needs attention.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from invite_sweeper.audit import RunFile, RunRecord, Verdict, Verification
from invite_sweeper.endings import Advisor, Status, status_of
from invite_sweeper.errors import UsageError
from invite_sweeper.report.charts import Ages, Chart, nights_chart, read_ages
from invite_sweeper.report.period import (
    COUNTED,
    Night,
    PeriodReader,
    find_period,
    nights_of,
    tell_counts,
    tell_nights,
)
from invite_sweeper.report.story import (
    Attention,
    Story,
    StoryLine,
    describe_instant,
    display_text,
    tell,
    tell_verification,
)
from invite_sweeper.report.tables import (
    Table,
    ages_table,
    nights_table,
    pending_tables,
    period_tables,
    unread_table,
)
from invite_sweeper.text import ATLAS_ID, escape_unprintable, pluralize, split_command

DOUBT: Final = "The log is damaged: what follows comes from it and may be wrong."
_TITLES: Final = {"restore": "Invitation restore", "dry-run": "Invitation sweep, dry run"}
_TILES: Final = 31
"""Nights with a tile; the table has all."""


class Picture(NamedTuple):
    """A picture and the table with its numbers.

    Attributes:
        note: What the numbers leave out; empty for nothing.
    """

    chart: Chart
    table: Table
    note: str = ""


class Page(NamedTuple):
    """The content of a report.

    Attributes:
        log: The result of the verification.
        story: Of the newest run of the period.
        attention: Of the verification, of that run, and of the last sweep if it is another one.
        verdict: What the period comes to; of a single run the headline of its story; that of the
            verification if the log is damaged.
        is_damaged: Everything that follows comes from a damaged log.
        figures: What the period comes to, a label and a text each; empty for a single run.
        nights: Those of the period up to the newest run, the oldest first; empty for a single run.
        period: How the nights ended, a sentence each.
        nights_picture: None for a single run.
        ages_picture: Of what is pending; None where no line says an age.
        tables: What is pending, and what was done to whom.
        about: What else is known of the newest run.
    """

    title: str
    verdict: StoryLine
    log: Story
    is_damaged: bool
    story: Story
    attention: tuple[Attention, ...]
    figures: tuple[StoryLine, ...]
    nights: tuple[Night, ...]
    period: tuple[str, ...]
    nights_picture: Picture | None
    ages_picture: Picture | None
    tables: tuple[Table, ...]
    about: tuple[StoryLine, ...]

    @property
    def tiles(self) -> tuple[Night, ...]:
        """The nights that have a tile, the newest ones."""
        return self.nights[-_TILES:]


def read_page(
    files: Sequence[RunFile],
    found: Verification,
    advisor: Advisor,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Page:
    """Return the report of a period.

    Memory holds one run at a time, and beyond it the counts of each run and 500 rows of each table.

    Args:
        files: The files of the runs, oldest first; at least one.
        found: Their verification.
        since: The first instant; None for 30 nights.
        until: The instant after the last one; None for the night of the newest run.

    Raises:
        UsageError: The period ends before it begins, or no run began in it.
    """
    period = find_period(files, since, until)
    runs = PeriodReader(period, files[0].path.parent, found)
    runs.read(files)
    newest = runs.newest
    if newest is None:
        raise UsageError(
            f"No run of {files[0].path.parent} began from {period.first} to {period.last}.",
            hint=f"Name another period with --since and --until; list the runs: "
            f"{advisor.list_runs()}",
        )
    log = tell_verification(found, files[0].path.parent)
    story = tell(newest, advisor)
    is_damaged = found.verdict is Verdict.DAMAGED
    is_read = runs.runs[-1].status is not Status.DAMAGED
    is_of_others = any(each.file != newest.file.name for each in found.unfinished)
    nights = tuple(nights_of(runs.runs, period, runs.first)) if len(runs.runs) > 1 else ()
    attention = (
        *(log.attention if is_damaged or is_of_others else ()),
        *(story.attention if is_read else ()),
        *_last_sweep(runs, advisor),
    )
    verdict = _verdict(story, nights, attention, runs)
    if is_damaged:
        verdict = log.headline._replace(label=Status.DAMAGED.label)
    return Page(
        title=_title(runs, nights),
        verdict=verdict,
        log=log,
        is_damaged=is_damaged,
        story=story,
        attention=attention,
        figures=tuple(_figures(runs, nights)) if nights else (),
        nights=nights,
        period=tuple(tell_nights(nights)) if nights else (),
        nights_picture=(
            Picture(nights_chart(nights), nights_table(nights, advisor)) if nights else None
        ),
        ages_picture=_ages_picture(runs, advisor),
        tables=tuple(_tables(runs, advisor, is_read=is_read)),
        about=tuple(StoryLine(k, display_text(text)) for k, text in _about(newest) if text),
    )


def _title(runs: PeriodReader, nights: Sequence[Night]) -> str:
    if len(nights) > 1:
        return f"Invitation sweeps from {nights[0].day} to {nights[-1].day}"
    mode = runs.runs[-1].mode if len(runs.runs) == 1 else ""
    name = _TITLES.get(mode, "Invitation sweep")
    night = runs.runs[-1].night
    return f"{name}, {night}" if night is not None else name


def _verdict(
    story: Story, nights: Sequence[Night], attention: Sequence[Attention], runs: PeriodReader
) -> StoryLine:
    """Return what a period comes to; of a single run the headline of its story."""
    if not nights:
        return story.headline
    label = "Nothing needs attention"
    style = Status.DONE.style
    if attention:
        is_bad = story.headline.style == "bad"
        label = "Needs attention"
        style = "bad" if is_bad else Status.PARTLY_DONE.style
    during = pluralize(len(runs.runs), "run")
    return StoryLine(label, f"{tell_counts(nights)} by {during}", style)


def _figures(runs: PeriodReader, nights: Sequence[Night]) -> Iterator[StoryLine]:
    """Yield what a period comes to."""
    yield StoryLine("Done", tell_counts(nights))
    if runs.scan is not None and runs.scan_pending is not None:
        mode = "dry run" if runs.scan.mode == "dry-run" else runs.scan.mode
        scan = f"{mode} {runs.scan.file.number or runs.scan.run_id}"
        at = describe_instant(runs.scan.start.now)
        yield StoryLine("Pending", f"{runs.scan_pending:,} after {scan} of {at}")
    if runs.waits.text:
        yield StoryLine("Due to deleted", runs.waits.text)


def _ages_picture(runs: PeriodReader, advisor: Advisor) -> Picture | None:
    """Return the ages of what is pending, and how many of them are known."""
    if runs.scan is None or runs.scan_pending is None:
        return None
    ages = read_ages(runs.scan, runs.policies.policy_of(runs.scan))
    if ages is None:
        return None
    command = advisor.list_runs()
    return Picture(ages.chart, ages_table(ages.groups, command), _ages_note(ages, runs))


def _ages_note(ages: Ages, runs: PeriodReader) -> str:
    parts = []
    if runs.scan_pending is not None and ages.known < runs.scan_pending:
        parts.append(
            f"The ages of {ages.known:,} of {runs.scan_pending:,} are in the log: it has the "
            "others with audit.record: all, and with a date."
        )
    if not ages.chart.marks:
        parts.append("No copy of the policy says from which age on a rule matches.")
    return " ".join(parts)


def _tables(runs: PeriodReader, advisor: Advisor, *, is_read: bool) -> Iterator[Table]:
    if runs.newest is not None and is_read:
        yield from unread_table(runs.newest, advisor)
    if runs.scan is not None:
        yield from pending_tables(runs.scan, advisor)
    yield from period_tables(runs, advisor)


def _last_sweep(runs: PeriodReader, advisor: Advisor) -> Iterator[Attention]:
    """Yield the last sweep if it needs attention, and a dry run or a restore is the newest run.

    A damaged file and a killed sweep are left to the verification.
    """
    last = runs.last_sweep
    if last is None or last is runs.newest or last.end is None:
        return
    if status_of(last.exit_code) is Status.DONE:
        return
    story = tell(last, advisor)
    headline = f"{story.headline.label}: {story.headline.text}"
    messages = (message for item in story.attention for message in item.messages)
    advice = next((item.advice for item in story.attention if item.advice), "")
    title = f"The last sweep, run {last.file.number or last.run_id}"
    yield Attention(title, (headline, *messages), advice)


def _about(record: RunRecord) -> Iterator[tuple[str, str]]:
    start = record.start
    end = record.end
    yield "Mode", start.mode
    yield "Atlas", start.base_url
    yield "Credentials", ", ".join(dict.fromkeys(start.actors.values()))
    yield "Policy", start.policy_path or ""
    yield "Policy SHA-256", start.policy_sha256 or ""
    yield "Shard", start.shard or ""
    yield "Version", start.tool_version
    if end is not None:
        yield "Exit code", str(end.exit_code)
        yield "Lists end", end.sunset or ""
    yield "File", record.file.path.name


# HTML --------------------------------------------------------------------------------------------


def render_html(page: Page) -> str:
    """Return one self-contained page that makes no network requests.

    Its Content-Security-Policy allows only its own style sheet, by hash, and no script.
    """
    loader = PackageLoader("invite_sweeper.report")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = breakable
    environment.filters["split_command"] = split_command
    style, *_ = loader.get_source(environment, "page.css")
    style_hash = f"sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}"
    return environment.get_template("page.html.j2").render(
        page=page,
        legend=_legend(page),
        counted=COUNTED,
        doubt=DOUBT,
        style=style,
        style_hash=style_hash,
    )


_LONG_WORD: Final = re.compile(rf"(?<!\S)(?!\(?{ATLAS_ID}\)?(?!\S))\S{{17,}}")
"""Other than an id of Atlas."""
_OPTION: Final = re.compile(r"(?<!\S)--[a-z][a-z-]{1,24}(?!\S)")
"""Of a command that can be copied: a browser would break it after its hyphens."""
_PIECE: Final = re.compile(r"[^@.+/:_-]{0,16}[@.+/:_-]{0,16}")


def breakable(value: str) -> Markup:
    """Return a text with the places where a line may break in its long words.

    That is after a sign, and after 16 characters without one: nine columns fit on a laptop's
    screen, whatever the names are.
    """
    marked = _LONG_WORD.sub(
        lambda word: "\0".join(filter(None, _PIECE.findall(word[0]))), escape_unprintable(value)
    )
    broken = Markup("<wbr>").join(marked.split("\0"))
    return Markup(_OPTION.sub(r'<span class="whole">\g<0></span>', str(broken)))  # noqa: S704 - escaped


def _legend(page: Page) -> tuple[tuple[str, str, str], ...]:
    """Return each mark of the nights with its meaning and style; a night that was done has none."""
    marked = (night for night in page.nights if night.mark)
    return tuple(sorted({(n.mark, n.meaning, n.status.style) for n in marked}))
