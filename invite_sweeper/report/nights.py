"""The nights of a report: how each ended, and what its runs did.

1. A night is a day in UTC; a run belongs to the night in which it began.
2. The worst sweep of a night decides how it ended; without a sweep its worst dry run does, and
   without that its worst restore.
3. What a dry run would do counts for nothing; what is pending is what the newest sweep or dry run
   of the night left.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.totals import RunFinished
from invite_sweeper.endings import ExitCode, Status
from invite_sweeper.outcomes import Outcome
from invite_sweeper.report.period import NIGHT, Period
from invite_sweeper.text import shorten_list

COUNTED: Final = ("deleted", "announced", "restored", "failed")
"""What a night counts, in the order in which it is shown."""
_MAX_RUNS: Final = 10
"""Runs that the sentence about a single night names."""
_DECIDING_MODES: Final = ("sweep", "dry-run", "restore")
"""Of the modes of a night, the first decides how it ended."""


class NightRun(NamedTuple):
    """What is kept of a run: how it ended, and its counts.

    Attributes:
        began: Its instant; None if it is not known.
        status: DAMAGED if its file could not be read to its end. RECOVERED if it was killed, and
            a later run has recorded each outcome.
        exit_code: None if it has no last line.
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
        announced: Its lines about announcements.
    """
    end = record.end
    is_sweep = record.mode == "sweep"
    is_restore = record.mode == "restore"
    if end is not None:
        deleted = end.deleted
        restored = end.restored
        failed = end.failed
        announced = end.announced
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


class Night(NamedTuple):
    """One day (UTC), with the counts of all its runs.

    Attributes:
        status: Of the run that decides how the night ended; EMPTY of a day without a run.
        mark: The exit code of that run where it is not 0; `!` without one, `-` without a run.
        meaning: What the exit code means.
        runs: Each with its mode and number.
        text: The night in words, for screen readers and as a tooltip.
        pending: What the newest sweep or dry run of the day left; None where it is not known.
        is_whole: Whether that run had read every list in scope.
    """

    day: date
    status: Status
    mark: str
    meaning: str
    runs: tuple[str, ...] = ()
    text: str = ""
    deleted: int = 0
    announced: int = 0
    restored: int = 0
    failed: int = 0
    pending: int | None = None
    is_whole: bool = True


def nights_of(runs: Sequence[NightRun], period: Period, first: date | None) -> Iterator[Night]:
    """Yield the nights of a period, up to the newest run.

    Args:
        first: Of the first run that is known; a night before it is left out.
    """
    runs_by_night: dict[date, list[NightRun]] = {}
    for run in runs:
        if run.night is not None:
            runs_by_night.setdefault(run.night, []).append(run)
    if not runs_by_night:
        return
    night = max(period.first, first or min(runs_by_night))
    last = max(runs_by_night)
    while night <= last:
        yield _night(night, runs_by_night.get(night, ()))
        night += NIGHT


def _night(day: date, runs: Sequence[NightRun]) -> Night:
    if not runs:
        return Night(day, Status.EMPTY, "-", "no run in these files", text=f"{day}: no run")
    deciding = _deciding_run(runs)
    scans = [run for run in runs if run.pending is not None]
    newest_scan = scans[-1] if scans else None
    night = Night(
        day=day,
        status=deciding.status,
        mark=_mark(deciding),
        meaning=_meaning(deciding),
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


def describe_endings(nights: Sequence[Night]) -> Iterator[str]:
    """Yield how the nights ended, a sentence each."""
    if len(nights) == 1:
        (night,) = nights  # it has runs: a period without any is an error
        runs = shorten_list(night.runs, _MAX_RUNS)
        yield f"Its runs were {runs}. The night was {night.status}."
        return
    with_runs = [night for night in nights if night.status is not Status.EMPTY]
    first = with_runs[0].day
    last = with_runs[-1].day
    numbers = Counter(night.status for night in with_runs)
    done = numbers.pop(Status.DONE, 0)
    sentence = f"From {first} to {last}, {done} of {len(with_runs)} nights were done"
    for status, number in numbers.items():
        sentence += f", {number} {status}"
    yield f"{sentence}."
    missing = len(nights) - len(with_runs)
    if missing:
        yield f"Days of that period without a run in these files: {missing}."


def describe_counts(nights: Sequence[Night]) -> str:
    """Return what was done in some nights, in a few words."""
    parts = []
    for name in COUNTED:
        count = sum(getattr(night, name) for night in nights)
        if count:
            parts.append(f"{count:,} {name}")
    return ", ".join(parts) or "nothing was deleted"
