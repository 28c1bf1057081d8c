"""The content of the report of an audit directory; `page.py` and `markdown.py` render it.

It is about a period: what was done night by night and to whom, what is pending, the policies. What
it has of the newest run is its story; the page adds the verification of the files, and an earlier
sweep that still needs attention.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from invite_sweeper.advice import Advisor
from invite_sweeper.audit import RunFile, RunRecord, Verdict, Verification
from invite_sweeper.endings import Status, status_of
from invite_sweeper.errors import UsageError
from invite_sweeper.report.charts import Chart, nights_chart
from invite_sweeper.report.document import Attention, Document, Fact, Table, describe_instant
from invite_sweeper.report.nights import (
    CHECK_SCHEDULE,
    NIGHT,
    Night,
    describe_counts,
    describe_endings,
    last_night_over,
    nights_of,
    nights_since_newest,
    were_all_done,
)
from invite_sweeper.report.period_reader import PeriodReader, find_period
from invite_sweeper.report.policies import PolicyInForce
from invite_sweeper.report.rows import label_of, organization_labels_of
from invite_sweeper.report.story import story_of
from invite_sweeper.report.tables import (
    nights_table,
    pending_tables,
    period_tables,
    unread_table,
)
from invite_sweeper.report.verification import document_of_verification
from invite_sweeper.text import Hint, pluralize, upper_first

DOUBT: Final = "The log is damaged: what follows comes from it and may be wrong."
_TITLES: Final = {"restore": "Invitation restore", "dry-run": "Invitation sweep, dry run"}
_START: Final = re.compile(rb"(# |<!doctype html>.*?<title>)Invitation (sweep|restore)", re.DOTALL)
"""How a report begins, in Markdown and in HTML: with one of its titles."""
_FEWEST_NIGHTS_OF_PICTURE: Final = 2
_TILES: Final = 31
"""Nights with a tile; the table has all."""


def is_report(start: bytes) -> bool:
    """Return whether a file that starts so is a report."""
    return _START.match(start) is not None


class Picture(NamedTuple):
    """A picture and the table with its numbers."""

    chart: Chart
    table: Table


class Page(NamedTuple):
    """The content of a report.

    Attributes:
        log: The result of the verification.
        story: Of the newest run of the period.
        attention: Of the verification, of that run, and of the last sweep if it is another one.
        verdict: What the period comes to; of a single run the headline of its story; that of the
            verification if the log is damaged.
        is_damaged: Everything that follows comes from a damaged log.
        figures: What the period comes to, a label and a text each.
        nights: Those of the period, the oldest first; empty for a single run.
        picture: Of the nights; None for a single run, and for a single night.
        tables: What is pending, and what was done to whom.
        policies: Under which the runs worked, the newest first.
    """

    title: str
    verdict: Fact
    log: Document
    is_damaged: bool
    story: Document
    attention: tuple[Attention, ...]
    figures: tuple[Fact, ...]
    nights: tuple[Night, ...]
    picture: Picture | None
    tables: tuple[Table, ...]
    policies: tuple[PolicyInForce, ...]

    @property
    def tiles(self) -> tuple[Night, ...]:
        """The nights that have a tile, the newest ones."""
        return self.nights[-_TILES:]

    @property
    def nights_title(self) -> str:
        """The heading of the nights; empty for a single run."""
        if not self.nights:
            return ""
        first = self.nights[0].day
        last = self.nights[-1].day
        if first == last:
            return f"The night of {first}"
        return f"The nights from {first} to {last}"


def read_page(
    files: Sequence[RunFile],
    verification: Verification,
    advisor: Advisor,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    now: datetime | None = None,
    begun: datetime | None = None,
    organization: str | None = None,
) -> Page:
    """Return the report of a period.

    Memory holds three runs at most, and beyond them counts of each run and 500 rows of each table.

    Args:
        files: The files of the runs, oldest first; at least one.
        verification: Of the files.
        since: The first instant; None for 30 nights.
        until: The instant after the last one; None for the night of the newest run.
        now: The nights without a run count up to it, or to `until`; None for the newest run alone,
            as of files that are copies.
        begun: As in `nights_of`.
        organization: The id of the one that the report is about; None for all.

    Raises:
        UsageError: The period ends before it begins, or no run began in it.
    """
    folder = files[0].path.parent
    period = find_period(files, since, until)
    reader = PeriodReader(period, verification, organization)
    reader.read(files)
    newest = reader.newest
    if newest is None:
        about = f" that is about organization {organization}" if organization is not None else ""
        raise UsageError(
            f"No run of {folder}{about} began from {period.first} to {period.last}.",
            hint="Name another period with --since and --until; list the runs:",
            command=advisor.list_runs(),
        )
    log = document_of_verification(verification, folder)
    story = story_of(newest, advisor)
    is_damaged = verification.verdict is Verdict.DAMAGED
    nights: tuple[Night, ...] = ()
    if len(reader.runs) > 1:
        last = None if now is None else last_night_over(now)
        if last is not None and until is not None:
            last = min(last, period.last)
        first = None if reader.first is None else max(period.first, reader.first)
        nights = tuple(nights_of(reader.runs, first=first, last=last, begun=begun))
    attention = (
        *_attention(reader, newest, story, log, verification, advisor),
        *_silence(nights, advisor),
    )
    verdict = _verdict(story, nights, attention, reader)
    if is_damaged:
        verdict = log.headline._replace(label=Status.DAMAGED.label)
    return Page(
        title=_title(reader, nights) + _about(newest, organization),
        verdict=verdict,
        log=log,
        is_damaged=is_damaged,
        story=story,
        attention=attention,
        figures=tuple(_figures(reader, nights)),
        nights=nights,
        picture=_picture(nights, advisor),
        tables=tuple(_tables(newest, reader, advisor)),
        policies=tuple(reversed(reader.policies)),
    )


def _attention(
    reader: PeriodReader,
    newest: RunRecord,
    story: Document,
    log: Document,
    verification: Verification,
    advisor: Advisor,
) -> Iterator[Attention]:
    """Yield what needs attention: the log, the newest run, and the last sweep if that is earlier.

    Args:
        newest: The newest run, and `story` its story.
        log: The verification `verification` as a story.
    """
    # A killed run is in its own story: the verification adds only earlier ones.
    is_earlier_run_open = any(run.file != newest.file.name for run in verification.unfinished)
    if verification.verdict is Verdict.DAMAGED or is_earlier_run_open:
        yield from log.attention
    if _is_read(reader):
        yield from story.attention
    yield from _last_sweep(reader, advisor)


def _silence(nights: Sequence[Night], advisor: Advisor) -> Iterator[Attention]:
    """Yield that a nightly job has not run since an earlier night."""
    missed = nights_since_newest(nights)
    if missed:
        text = f"{pluralize(len(missed), 'night')} without a run since, up to {missed[-1].day}."
        title = f"The newest run is of {missed[0].day - NIGHT}"
        yield Attention(title, (text,), Hint(CHECK_SCHEDULE, advisor.check()))


def _is_read(reader: PeriodReader) -> bool:
    """Return whether the file of the newest run could be read to its end."""
    return reader.runs[-1].status is not Status.DAMAGED


def _title(reader: PeriodReader, nights: Sequence[Night]) -> str:
    if len(nights) > 1:
        return f"Invitation sweeps from {nights[0].day} to {nights[-1].day}"
    newest = reader.runs[-1]
    name = "Invitation sweeps"
    if len(reader.runs) == 1:
        name = _TITLES.get(newest.mode, "Invitation sweep")
    night = newest.night
    return f"{name}, {night}" if night is not None else name


def _about(newest: RunRecord, organization: str | None) -> str:
    """Return which organization a report is about; empty for all."""
    if organization is None:
        return ""
    return f", {label_of(organization, organization_labels_of(newest))}"


def _verdict(
    story: Document, nights: Sequence[Night], attention: Sequence[Attention], reader: PeriodReader
) -> Fact:
    """Return what a period comes to; of a single run the headline of its story."""
    if not nights:
        return story.headline
    label = "Nothing needs attention"
    style = Status.DONE.style
    if not were_all_done(nights):
        label = "Not every night was done"
        style = Status.PARTLY_DONE.style
    if attention:
        is_bad = story.headline.style == "bad"
        label = "Needs attention"
        style = "bad" if is_bad else Status.PARTLY_DONE.style
    number = pluralize(len(reader.runs), "run")
    done = upper_first(describe_counts(nights))
    return Fact(label, f"{describe_endings(nights)} {done} by {number}.", style)


def _figures(reader: PeriodReader, nights: Sequence[Night]) -> Iterator[Fact]:
    """Yield what a period comes to; of a single run, what its story does not have."""
    if nights:
        yield Fact("Done", describe_counts(nights))
    if reader.scan is not None and reader.scan_pending is not None:
        scan = reader.scan
        run = f"{_run_name(scan)} of {describe_instant(scan.start.now)}"
        yield Fact("Pending", f"{reader.scan_pending:,} after {run}")


def _run_name(run: RunRecord) -> str:
    mode = "dry run" if run.mode == "dry-run" else run.mode
    return f"{mode} {run.file.number or run.run_id}"


def _picture(nights: Sequence[Night], advisor: Advisor) -> Picture | None:
    if len(nights) < _FEWEST_NIGHTS_OF_PICTURE:
        return None
    return Picture(nights_chart(nights), nights_table(nights, advisor))


def _tables(newest: RunRecord, reader: PeriodReader, advisor: Advisor) -> Iterator[Table]:
    if _is_read(reader):
        yield from unread_table(newest, advisor)
    if reader.scan is not None:
        as_of = ""
        if reader.scan is not newest:  # such as before a restore
            as_of = f", as of {_run_name(reader.scan)}"
        several = len(reader.organizations) > 1
        yield from pending_tables(
            reader.scan,
            advisor,
            organization=reader.organization,
            as_of=as_of,
            with_organization=several,
        )
    yield from period_tables(reader, advisor)


def _last_sweep(reader: PeriodReader, advisor: Advisor) -> Iterator[Attention]:
    """Yield the last sweep if it needs attention, and a dry run or a restore is the newest run.

    A damaged file and a killed sweep are left to the verification.
    """
    last = reader.last_sweep
    is_newest = reader.newest is not None and last is reader.newest
    if last is None or is_newest or last.end is None:
        return
    if status_of(last.exit_code) is Status.DONE:
        return
    story = story_of(last, advisor)
    messages = [f"{story.headline.label}: {story.headline.text}"]
    hint = Hint()
    for attention in story.attention:
        messages += attention.messages
        hint = hint if hint.text else attention.hint
    title = f"The last sweep, run {last.file.number or last.run_id}"
    yield Attention(title, tuple(messages), hint)
