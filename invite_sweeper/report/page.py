"""The report of an audit directory as one HTML page; `markdown.py` has it for a pull request.

What it says of the newest run is its story; the page adds the verification of the files, the
nights before, earlier runs that still need attention, and the people.
"""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date, timedelta
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
from invite_sweeper.text import ATLAS_ID, escape_unprintable, pluralize

DOUBT: Final = "The log is damaged: what follows comes from it and may be wrong."
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
    style, *_ = loader.get_source(environment, "page.css")
    style_hash = f"sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}"
    return environment.get_template("page.html.j2").render(
        page=page, legend=legend(page), doubt=DOUBT, style=style, style_hash=style_hash
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


def legend(page: Page) -> tuple[tuple[str, str, str], ...]:
    """Return each mark of the nights with its meaning and style."""
    return tuple(sorted({(n.mark, n.meaning, n.status.style) for n in page.nights}))
