"""The runs of an audit directory as a document, a line each."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from invite_sweeper.advice import Advisor
from invite_sweeper.audit import RunRecord
from invite_sweeper.endings import Style
from invite_sweeper.report.document import Fact, Section, describe_instant
from invite_sweeper.report.nights import (
    NightRun,
    describe_endings,
    night_of_record,
    recent_nights,
    were_all_done,
)
from invite_sweeper.report.story import story_of
from invite_sweeper.text import escape_unprintable, truncate


def list_of_runs(records: Iterable[RunRecord], now: datetime, begun: datetime | None) -> Section:
    """Return a line for each run, and how the last nights ended.

    Args:
        begun: As in `nights_of`.
    """
    # Which killed run was recovered is known once all files are read: its row is made anew then.
    # Of a year of nights, memory holds the rows, and the records of the killed runs alone.
    rows: list[Fact] = []
    runs: list[NightRun] = []
    killed: dict[int, RunRecord] = {}
    for record in records:
        if record.end is None:
            killed[len(rows)] = record
        rows.append(_row_of_run(record))
        runs.append(night_of_record(record))
    for index, record in killed.items():
        rows[index] = _row_of_run(record)
        runs[index] = night_of_record(record)
    nights = recent_nights(runs, now, begun)
    if len(nights) > 1:
        style: Style = "good" if were_all_done(nights) else "warning"
        rows.append(Fact("Nights", describe_endings(nights), style))
    return Section(facts=tuple(rows))


def _row_of_run(record: RunRecord) -> Fact:
    """Return the number, instant and mode of a run, and how it ended."""
    began = describe_instant(record.start.now)
    mode = record.mode or "run"  # one that was killed before its first line
    headline = story_of(record, Advisor()).headline
    text = headline.text
    if record.end is not None and record.end.error is not None:
        message = record.end.error["message"].split("\n")[0]
        text += f" · {escape_unprintable(truncate(message, _MAX_REASON_LENGTH))}"
    if record.start.reason is not None:
        reason = truncate(record.start.reason, _MAX_REASON_LENGTH)
        text += f" · reason: {escape_unprintable(reason)}"
    label = f"{record.file.number}  {began}  {mode}"
    return Fact(label, text, headline.style, state=headline.label)


_MAX_REASON_LENGTH: Final = 80
"""Of a line in the list of runs; each run by itself shows the whole reason."""
