"""The period of a report: which runs it is about.

1. A night is a day in UTC; a run began at the `now` of its first line.
2. Without `--since` and `--until`, a report is about the 30 nights up to the newest run.
3. A run whose instant cannot be read, or cannot be true, belongs to every period.
"""

from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple

from invite_sweeper.audit import RunFile
from invite_sweeper.audit.events import RunStarted
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.errors import RunError, UsageError
from invite_sweeper.models import parse_timestamp, rfc3339
from invite_sweeper.report.nights import DEFAULT_NIGHTS, NIGHT

_INSTANT: Final = timedelta(microseconds=1)
_EARLIEST: Final = datetime(2016, 6, 1, tzinfo=UTC)
"""Atlas has existed since that month: no run is older."""
_LATEST: Final = datetime(9999, 12, 30, tzinfo=UTC)
"""The calendar ends with the night after this one; a run with such a `now` is forged."""


class Period(NamedTuple):
    """The time that a report is about.

    Attributes:
        since: The first instant.
        until: The instant after the last one.
    """

    since: datetime
    until: datetime

    @property
    def first(self) -> date:
        """Its first night."""
        return self.since.date()

    @property
    def last(self) -> date:
        """Its last night."""
        return (self.until - _INSTANT).date()


def find_period(files: Sequence[RunFile], since: datetime | None, until: datetime | None) -> Period:
    """Return the period of a report: by default the 30 nights up to the newest run.

    Args:
        files: Oldest first; at least one.
        since: The first instant; None for the default.
        until: The instant after the last one; None for the end of the night of the newest run.

    Raises:
        UsageError: It ends before it begins.
    """
    if since is not None and until is not None and since >= until:
        raise UsageError(
            f"The period from {_as_typed(since)} to {_end_as_typed(until)} ends before it begins.",
            hint="Name the earlier time with --since, and the later one with --until.",
        )
    if until is None:
        until = _end_of_newest_night(files, since)
    if since is None:
        last_night = _midnight(_night_before(until))
        since = last_night - (DEFAULT_NIGHTS - 1) * NIGHT
    return Period(max(since, _EARLIEST), until)


def _end_of_newest_night(files: Sequence[RunFile], since: datetime | None) -> datetime:
    """Return the end of the night of the newest run whose instant is known.

    Where that is before `since`, or no instant is known, the period is the night of `since`.
    """
    newest = since or _EARLIEST
    for file in reversed(files):
        began = began_at(file)
        if began is not None:
            newest = max(began, newest)
            break
    return _midnight(min(newest, _LATEST).date()) + NIGHT


def _midnight(night: date) -> datetime:
    return datetime.combine(night, time(), UTC)


def _night_before(end: datetime) -> date:
    """Return the night of the last instant before an end, which may be the first of all."""
    return (max(end, _EARLIEST) - _INSTANT).date()


def _as_typed(instant: datetime) -> str:
    """Return an instant as it was typed: at midnight a date."""
    if instant.time() == time():
        return str(instant.date())
    return rfc3339(instant)


def _end_as_typed(end: datetime) -> str:
    """Return an end as it was typed: at midnight the date of the night before it."""
    if end.time() == time():
        return str(_night_before(end))
    return _as_typed(end)


def began_at(file: RunFile) -> datetime | None:
    """Return the instant of a run from its first line; None where it cannot be read or be true."""
    chain = FileChain(file)
    began: datetime | None = None
    with closing(chain), suppress(RunError):
        line = next(iter(chain), None)
        first = chain.decode(line) if line is not None else None
        if isinstance(first, RunStarted):
            began = parse_timestamp(first.now)
    is_possible = began is not None and _EARLIEST <= began < _LATEST
    return began if is_possible else None
