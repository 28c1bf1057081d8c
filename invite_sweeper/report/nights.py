"""The nights of a period: how each ended, what its runs did, and what they come to.

1. A night is a day in UTC; a run belongs to the night in which it began.
2. The worst sweep of a night decides how it ended; without a sweep its worst dry run does, and
   without that its worst restore.
3. What a dry run would do counts for nothing; what is pending is what the newest sweep or dry run
   of the night left.
4. The nights end with the last one that is over, or with that of the newest run: a job that does
   not start any more leaves nights without a run.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Final, NamedTuple

from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.totals import RunFinished
from invite_sweeper.endings import CUT_OFF_CAUSE, ExitCode, Status, status_of
from invite_sweeper.models import parse_timestamp
from invite_sweeper.outcomes import Outcome
from invite_sweeper.text import shorten_list

COUNTED: Final = ("deleted", "announced", "restored", "failed")
"""What a night counts, in the order in which it is shown."""
NIGHT: Final = timedelta(days=1)
DEFAULT_NIGHTS: Final = 30
_FEWEST_NIGHTS_OF_JOB: Final = 3
"""With a run, as from a schedule and not by hand."""
CHECK_SCHEDULE: Final = (
    "Check the schedule and its own log, which shows whether the command began. What a sweep would "
    "do:"
)
_MAX_GROUPS: Final = 3
"""Of consecutive nights that the verdict names, of each end."""
_MAX_RUNS: Final = 10
"""Runs that the sentence about a single night names."""
_DECIDING_MODES: Final = ("sweep", "dry-run", "restore")
"""Of the modes of a night, the first decides how it ended."""


class NightRun(NamedTuple):
    """What is kept of a run: how it ended, and its counts.

    Attributes:
        began: Its instant; None if it is not known.
        status: DAMAGED if its file could not be read to its end. Of a run without a last line
            CUT_OFF if it left no request open, RECOVERED if a later run has recorded each outcome.
        exit_code: None if it has no last line.
        cause: Why it was refused, as one word; empty of any other.
        pending: What it left pending where it read; None where it did not read all that it
            planned by, and of a restore.
        is_whole: Whether every list in scope was read.
        reason: The text of `--reason`.
    """

    number: int
    mode: str
    began: datetime | None
    status: Status
    exit_code: int | None
    cause: str
    deleted: int
    announced: int
    restored: int
    failed: int
    pending: int | None
    is_whole: bool
    reason: str | None

    @property
    def night(self) -> date | None:
        """The night on which it began, in UTC; None if it is not known."""
        return self.began.date() if self.began is not None else None

    @property
    def label(self) -> str:
        """Its mode and number."""
        return f"{self.mode or 'run'} {self.number or ''}".rstrip()


def night_run(
    record: RunRecord, began: datetime | None, status: Status, announced: int
) -> NightRun:
    """Return what is kept of a run; of a killed one its counts are those of its lines.

    Args:
        announced: What it announced, and no run before it.
    """
    end = record.end
    is_sweep = record.mode == "sweep"
    is_restore = record.mode == "restore"
    if end is not None:
        deleted = end.deleted
        restored = end.restored
        failed = end.failed
    else:
        deleted = record.outcomes[Outcome.DELETED]
        restored = record.outcomes[Outcome.RESTORED]
        failed = record.outcomes[Outcome.FAILED]
    return NightRun(
        number=record.file.number,
        mode=record.mode,
        began=began,
        status=status,
        exit_code=record.exit_code,
        cause=end.reasons[0] if end is not None and end.reasons else "",
        deleted=deleted if is_sweep else 0,
        announced=announced if is_sweep else 0,
        restored=restored if is_restore else 0,
        failed=failed,
        pending=None if end is None or is_restore else _pending_after(end),
        is_whole=end is not None and end.plan_complete,
        reason=record.start.reason,
    )


def _pending_after(end: RunFinished) -> int | None:
    """Return how many a sweep or a dry run left pending of those that it saw.

    None where it made no plan.
    """
    if not end.plan_made:
        return None
    gone = end.deleted + end.already_gone + end.accepted_before
    return end.invitations_seen - gone


def night_of_record(record: RunRecord) -> NightRun:
    """Return what is kept of a run whose file is whole, and which later runs have recovered."""
    status = status_of(record.exit_code)
    if record.recovered is not None:
        status = record.ended_as
    return night_run(record, parse_timestamp(record.start.now), status, 0)


class Night(NamedTuple):
    """One day (UTC), with the counts of all its runs.

    Attributes:
        status: Of the run that decides how the night ended; EMPTY of a day without a run.
        mark: The exit code of that run where it is not 0; `!` without one, `-` without a run.
        meaning: What the exit code means.
        cause: The same, or of a refused night the reason.
        runs: Each with its mode and number.
        text: The night in words, for screen readers and as a tooltip.
        pending: What the newest sweep or dry run of the day left; None where it is not known.
        is_whole: Whether that run had read every list in scope.
    """

    day: date
    status: Status
    mark: str
    meaning: str
    cause: str = ""
    runs: tuple[str, ...] = ()
    text: str = ""
    deleted: int = 0
    announced: int = 0
    restored: int = 0
    failed: int = 0
    pending: int | None = None
    is_whole: bool = True


def last_night_over(now: datetime) -> date:
    """Return the last night that is over: the one at work may still have its run."""
    return now.astimezone(UTC).date() - NIGHT


def nights_of(
    runs: Iterable[NightRun],
    *,
    first: date | None = None,
    last: date | None = None,
    begun: datetime | None = None,
) -> Iterator[Night]:
    """Yield the nights of some runs, those without a run between them and after them, too.

    Args:
        first: The first one; None for that of the first run.
        last: The last one, if the newest run is before it; None for that of the newest run.
        begun: When a run began that ended before it had a file; None if none is known.
    """
    runs_by_night: dict[date, list[NightRun]] = {}
    for run in runs:
        if run.night is not None:
            runs_by_night.setdefault(run.night, []).append(run)
    if not runs_by_night:
        return
    night = first or min(runs_by_night)
    newest = max(runs_by_night)
    last = newest if last is None else max(last, newest)
    while night <= last:
        has_begun = begun is not None and begun.date() == night
        yield _night(night, runs_by_night.get(night, ()), has_begun=has_begun)
        night += NIGHT


def recent_nights(
    runs: Sequence[NightRun], now: datetime, begun: datetime | None = None
) -> tuple[Night, ...]:
    """Return the 30 nights up to the newest run, and those without a run since; none without one.

    Args:
        begun: As in `nights_of`.
    """
    known = [run.night for run in runs if run.night is not None]
    if not known:
        return ()
    first = max(min(known), max(known) - (DEFAULT_NIGHTS - 1) * NIGHT)
    recent = [run for run in runs if run.night is not None and run.night >= first]
    return tuple(nights_of(recent, first=first, last=last_night_over(now), begun=begun))


_NO_FILE: Final = "a run began, and ended before it had a file"


def _night(day: date, runs: Sequence[NightRun], *, has_begun: bool) -> Night:
    if not runs:
        if has_begun:
            return Night(day, Status.REFUSED, "!", _NO_FILE, _NO_FILE, text=f"{day}: {_NO_FILE}")
        return Night(day, Status.EMPTY, "-", "no run in these files", text=f"{day}: no run")
    deciding = _deciding_run(runs)
    scans = [run for run in runs if run.pending is not None]
    newest_scan = scans[-1] if scans else None
    night = Night(
        day=day,
        status=deciding.status,
        mark=_mark(deciding),
        meaning=_meaning(deciding),
        cause=_cause(deciding),
        runs=tuple(run.label for run in runs),
        deleted=sum(run.deleted for run in runs),
        announced=sum(run.announced for run in runs),
        restored=sum(run.restored for run in runs),
        failed=sum(run.failed for run in runs),
        pending=newest_scan.pending if newest_scan is not None else None,
        is_whole=newest_scan is None or newest_scan.is_whole,
    )
    return night._replace(text=_in_words(night, deciding.exit_code))


def _deciding_run(runs: Sequence[NightRun]) -> NightRun:
    """Return the worst run of the first mode that a night has; of unknown modes, of all."""
    candidates = runs
    for mode in _DECIDING_MODES:
        of_mode = [run for run in runs if run.mode == mode]
        if of_mode:
            candidates = of_mode
            break
    worst_first = tuple(Status)
    return min(candidates, key=lambda run: worst_first.index(run.status))


def _mark(run: NightRun) -> str:
    if run.exit_code is None:
        return "!"
    return "" if run.exit_code == ExitCode.DONE else str(run.exit_code)


def _meaning(run: NightRun) -> str:
    """Return what the exit code of a run means; without one, or of a later version, its status."""
    for code in ExitCode:
        if code == run.exit_code:
            return code.label
    return str(run.status)


def _cause(run: NightRun) -> str:
    """Return why a night was not done: the reason of a refused one, else what its end means."""
    if run.status is Status.REFUSED and run.cause:
        return run.cause
    if run.status is Status.CUT_OFF:
        return CUT_OFF_CAUSE
    return "" if run.exit_code is None else _meaning(run)


def _in_words(night: Night, exit_code: int | None) -> str:
    ended = "no last line" if exit_code is None else f"exit code {exit_code}"
    parts = [f"{night.day}: {night.status}, {ended}, {night.meaning}", ", ".join(night.runs)]
    for name in COUNTED:
        count = getattr(night, name)
        if count:
            parts.append(f"{count:,} {name}")
    if night.pending is not None:
        parts.append(f"{night.pending:,} pending")
    return "; ".join(parts)


def describe_endings(nights: Sequence[Night]) -> str:
    """Return how the nights ended, as a sentence: the verdict of a period.

    "Of the 30 nights from 2026-11-03 to 2026-12-02: 27 done, 2 failed (16 to 17 November: Atlas is
    not reachable), 1 without a run (20 November)." A single night names its runs.
    """
    if len(nights) == 1:
        (night,) = nights  # it has runs: a period without any is an error
        runs = shorten_list(night.runs, _MAX_RUNS)
        return f"Its runs were {runs}. The night was {night.status}."
    numbers = Counter(night.status for night in nights)
    parts = [f"{numbers[Status.DONE]} done"]
    for status in Status:  # the worst first
        if status is not Status.DONE and numbers[status]:
            word = "without a run" if status is Status.EMPTY else str(status)
            when = shorten_list(list(_groups(nights, status)), _MAX_GROUPS)
            parts.append(f"{numbers[status]} {word} ({when})")
    span = f"from {nights[0].day} to {nights[-1].day}"
    return f"Of the {len(nights)} nights {span}: {', '.join(parts)}."


def _groups(nights: Iterable[Night], status: Status) -> Iterator[str]:
    """Yield the days of consecutive nights that ended so, and why."""
    for (ended, cause), group in groupby(nights, key=lambda night: (night.status, night.cause)):
        if ended is status:
            days = [night.day for night in group]
            why = f": {cause}" if cause else ""
            yield f"{_describe_days(days[0], days[-1])}{why}"


def _describe_days(first: date, last: date) -> str:
    """Return days as in "16 to 17 November"; the year is that of the period beside it."""
    end = f"{last.day} {last:%B}"
    if first == last:
        return end
    is_same_month = first.replace(day=1) == last.replace(day=1)
    start = str(first.day) if is_same_month else f"{first.day} {first:%B}"
    return f"{start} to {end}"


def missed_nights(nights: Sequence[Night]) -> Sequence[Night]:
    """Return the nights without a run of a job that runs each night; none of any other.

    A job is nightly if most nights up to its newest run have one, and more than a few: who runs it
    by hand, or each week, misses none.
    """
    with_run = [number for number, night in enumerate(nights) if night.status is not Status.EMPTY]
    up_to_newest = with_run[-1] + 1 if with_run else 0
    is_nightly = len(with_run) >= _FEWEST_NIGHTS_OF_JOB and 2 * len(with_run) > up_to_newest
    return [night for night in nights if night.status is Status.EMPTY] if is_nightly else []


def were_all_done(nights: Sequence[Night]) -> bool:
    """Return whether each night with a run was done, and a nightly job missed none."""
    ends = {night.status for night in nights} - {Status.EMPTY}
    return ends == {Status.DONE} and not missed_nights(nights)


def nights_since_newest(nights: Sequence[Night]) -> Sequence[Night]:
    """Return the nights that a nightly job missed since its newest run."""
    missed = missed_nights(nights)
    newest = max((night.day for night in nights if night.runs), default=None)
    return [night for night in missed if newest is not None and night.day > newest]


def describe_counts(nights: Sequence[Night]) -> str:
    """Return what was done in some nights, in a few words."""
    parts = []
    for name in COUNTED:
        count = sum(getattr(night, name) for night in nights)
        if count:
            parts.append(f"{count:,} {name}")
    return ", ".join(parts) or "nothing was deleted"
