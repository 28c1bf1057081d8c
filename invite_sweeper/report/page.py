"""The report of an audit directory: one HTML page, or Markdown for a pull request.

What it says of the newest run is its story; the page adds the verification of the files, the
nights before, earlier runs that still need attention, and the people.
"""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date, timedelta
from itertools import groupby
from typing import Final, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from invite_sweeper.audit import RunFile, RunRecord, Verdict, Verification
from invite_sweeper.audit.intents import IntentLedger
from invite_sweeper.audit.reader import FileChain
from invite_sweeper.audit.record import fill_run
from invite_sweeper.endings import Advisor, ExitCode, Status, status_of
from invite_sweeper.errors import RunError
from invite_sweeper.models import Outcome, parse_timestamp
from invite_sweeper.report.readback import Table, tables_of
from invite_sweeper.report.story import (
    Attention,
    Story,
    StoryLine,
    display_text,
    tell,
    tell_verification,
)
from invite_sweeper.text import escape_unprintable, pluralize

_MARKDOWN_ROWS: Final = 50
"""Rows of a Markdown table; a pull request accepts 65,536 characters."""
_DOUBT: Final = "The log is damaged: what follows comes from it and may be wrong."
_NIGHTS: Final = 30
_NIGHT_MODES: Final = ("sweep", "dry-run", "restore")
"""A day's sweeps count for its night; without one, its dry runs, then its restores."""
_TITLES: Final = {"restore": "Invitation restore", "dry-run": "Invitation sweep, dry run"}


class Night(NamedTuple):
    """One day (UTC): its sweeps, or its other runs if it had no sweep.

    Attributes:
        status: The worst; EMPTY of a day without a run.
        mark: The exit code of the worst run; `!` without one, `-` for a day without a run.
        meaning: What the mark means.
        text: The night in words, for screen readers and as a tooltip.
    """

    day: date
    status: Status
    mark: str
    meaning: str
    text: str
    deleted: int = 0


class Page(NamedTuple):
    """The content of a report.

    Attributes:
        log: The result of the verification.
        story: Of the newest run.
        attention: Of the verification, of that run, and of the last sweep if it is another one.
        verdict: The headline of the story, or that of the verification if the log is damaged.
        is_damaged: Everything that follows comes from a damaged log.
        nights: The last days up to that of the newest run, the oldest first.
        period: How the nights ended, a sentence each; empty for a single day.
        tables: Of the newest run.
        about: What else is known of the newest run.
    """

    title: str
    verdict: StoryLine
    log: Story
    is_damaged: bool
    story: Story
    attention: tuple[Attention, ...]
    nights: tuple[Night, ...]
    period: tuple[str, ...]
    tables: tuple[Table, ...]
    about: tuple[StoryLine, ...]


class _Run(NamedTuple):
    """A run and how it ended.

    Attributes:
        day: On which it started, in UTC; None if it is not known.
        status: DAMAGED if its file could not be read to its end: the record has what its lines
            say up to there. RECOVERED if it was killed, and a later run has recorded each outcome.
    """

    record: RunRecord
    day: date | None
    status: Status


def read_page(files: Sequence[RunFile], found: Verification, advisor: Advisor) -> Page:
    """Return the report of runs, about the newest of them.

    Memory holds one run at a time, and of each run its first and last line and its counts.

    Args:
        files: The files of the runs, oldest first; at least one.
        found: Their verification.
    """
    log = tell_verification(found, files[0].path.parent)
    is_damaged = found.verdict is Verdict.DAMAGED
    runs = tuple(_read_runs(files, found))
    newest, nights = runs[0], tuple(_nights(runs))
    story = tell(newest.record, advisor)
    earlier = tuple(_last_sweep(runs, advisor))
    is_of_others = any(each.file != newest.record.file.name for each in found.unfinished)
    verdict = story.headline
    if is_damaged:
        verdict = log.headline._replace(label=Status.DAMAGED.label)
    elif earlier and verdict.style == "good":
        verdict = verdict._replace(style="warning")
    is_read = newest.status is not Status.DAMAGED
    name = _TITLES.get(newest.record.mode, "Invitation sweep")
    several = len(nights) > 1
    return Page(
        title=f"{name}, {newest.day}" if newest.day is not None else name,
        verdict=verdict,
        log=log,
        is_damaged=is_damaged,
        story=story,
        attention=(
            *(log.attention if is_damaged or is_of_others else ()),
            *(story.attention if is_read else ()),
            *earlier,
        ),
        nights=nights if several else (),
        period=tuple(_period(nights)) if several else (),
        tables=tuple(tables_of(newest.record, advisor)) if is_read else (),
        about=tuple(StoryLine(k, display_text(text)) for k, text in _about(newest.record) if text),
    )


def _read_runs(files: Sequence[RunFile], found: Verification) -> Iterator[_Run]:
    """Yield the runs of the last nights, the newest first."""
    since, left_open = None, {each.file for each in found.unfinished}
    recovered = {each.file: each for each in found.recovered}
    for file in reversed(files):
        record, status = RunRecord(file, recovered=recovered.get(file.name)), Status.DAMAGED
        with suppress(RunError):  # the verification names it
            fill_run(record, FileChain(file), IntentLedger())
            status = status_of(record.exit_code)
        if status is Status.UNFINISHED and found.damage is None and file.name not in left_open:
            status = Status.RECOVERED
        started = parse_timestamp(record.start.now)
        day = started.date() if started is not None else None
        if file == files[-1] and day is not None:
            since = day - timedelta(days=_NIGHTS)
        if since is not None and day is not None and day <= since:
            return
        yield _Run(record, day, status)


# The nights, and the last sweep -----------------------------------------------------------------


def _nights(runs: Sequence[_Run]) -> Iterator[Night]:
    """Yield the last 30 days up to that of the newest run, from the first day with a run on."""
    days = {run.day for run in runs if run.day is not None}
    if not days:
        return
    first = max(min(days), max(days) - timedelta(days=_NIGHTS - 1))
    for number in range((max(days) - first).days + 1):
        day = first + timedelta(days=number)
        of_day = [run for run in reversed(runs) if run.day == day]
        modes = {run.record.mode for run in of_day}
        mode = next((each for each in _NIGHT_MODES if each in modes), None)
        yield _night(day, [run for run in of_day if run.record.mode == mode])


def _night(day: date, runs: Sequence[_Run]) -> Night:
    if not runs:
        return Night(day, Status.EMPTY, "-", "no run in these files", f"{day}: no run")
    worst = min(runs, key=lambda run: tuple(Status).index(run.status))
    status, mode, code = worst.status, worst.record.mode, worst.record.exit_code
    meaning = next((each.label for each in ExitCode if each == code), str(status))
    numbers = ", ".join(str(run.record.file.number) for run in runs)
    ended = "no last line" if code is None else f"exit code {code}"
    text = f"{day}: {status}, {ended}, {meaning}; {mode or 'run'} {numbers}"
    deleted = sum(_deleted(run.record) for run in runs)
    text += f"; {deleted:,} deleted" if mode == "sweep" else ""
    return Night(day, status, "!" if code is None else str(code), meaning, text, deleted)


def _deleted(run: RunRecord) -> int:
    """Return how many a run deleted; of a killed one, with what a later run found gone."""
    if run.end is not None:
        return run.end.deleted
    found_gone = run.recovered.deleted if run.recovered is not None else 0
    return run.outcomes[Outcome.DELETED] + found_gone


def _period(nights: Sequence[Night]) -> Iterator[str]:
    ran = [each for each in nights if each.status is not Status.EMPTY]
    ended = Counter(each.status for each in ran)
    done = ended.pop(Status.DONE, 0)
    counts = "".join(f", {number} {status}" for status, number in ended.items())
    yield f"From {ran[0].day} to {ran[-1].day}, {done} of {len(ran)} nights were done{counts}."
    if deleted := sum(each.deleted for each in ran):
        yield f"Deleted in that time: {pluralize(deleted, 'invitation')}."
    if missing := len(nights) - len(ran):
        yield f"Days of that period without a run in these files: {missing}."


def _last_sweep(runs: Sequence[_Run], advisor: Advisor) -> Iterator[Attention]:
    """Yield the last sweep if it needs attention, and a dry run or a restore is the newest run.

    A damaged file and a killed sweep are left to the verification.
    """
    last = next((run for run in runs if run.record.mode == "sweep"), runs[0])
    if last is runs[0] or last.record.end is None or last.status is Status.DONE:
        return
    story = tell(last.record, advisor)
    headline = f"{story.headline.label}: {story.headline.text}"
    messages = (message for item in story.attention for message in item.messages)
    advice = next((item.advice for item in story.attention if item.advice), "")
    title = f"The last sweep, run {last.record.file.number or last.record.run_id}"
    yield Attention(title, (headline, *messages), advice)


def _about(record: RunRecord) -> Iterator[tuple[str, str]]:
    start, end = record.start, record.end
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


# HTML and Markdown -------------------------------------------------------------------------------


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
    style, *_ = loader.get_source(environment, "page.css")
    style_hash = f"sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}"
    return environment.get_template("page.html.j2").render(
        page=page, legend=_legend(page), doubt=_DOUBT, style=style, style_hash=style_hash
    )


_LONG_WORD: Final = re.compile(r"(?<!\S)(?!\(?[0-9a-f]{24}\)?(?!\S))\S{17,}")
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
    """Return each mark of the nights with its meaning and style."""
    return tuple(sorted({(n.mark, n.meaning, n.status.style) for n in page.nights}))


def render_markdown(page: Page) -> str:
    """Return the whole report as Markdown; what comes from Atlas is in code spans."""
    return "\n".join(_markdown(page)) + "\n"


def _markdown(page: Page) -> Iterator[str]:
    yield f"# {page.title}: {markdown_text(page.verdict.label)}"
    yield from ("", markdown_text(page.verdict.text), "")
    if page.is_damaged:
        yield _DOUBT
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
        yield from _fold(table.caption, table.total, _markdown_table(table))
    if page.story.remarks:
        remarks = [f"- {markdown_text(each)}" for each in page.story.remarks]
        yield from _fold("Remarks", len(remarks), remarks)
    about = [f"- {each.label}: {code_span(each.text)}" for each in page.about]
    yield from _fold("About this run", len(about), about)


def _fold(summary: str, count: int, lines: Iterable[str]) -> Iterator[str]:
    yield from ("", "<details>", f"<summary>{summary} ({count:,})</summary>", "")
    yield from lines
    yield from ("", "</details>")


def _markdown_table(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(column.heading for column in table.columns)} |"
    yield f"| {' | '.join('--:' if c.kind == 'number' else '---' for c in table.columns)} |"
    for row in table.rows[:_MARKDOWN_ROWS]:
        cells = (
            escape_unprintable(", ".join(line.text for line in column.cell(row)))
            for column in table.columns
        )
        yield f"| {' | '.join(code_span(cell, in_table=True) for cell in cells)} |"
    count = min(len(table.rows), _MARKDOWN_ROWS)
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
