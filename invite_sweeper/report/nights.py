"""The nights of a period: how each ended, what its runs did, and what they come to.

1. A night is a day in UTC; a run belongs to the night in which it began.
2. The best sweep of a night decides how it ended; without a sweep its best dry run does, and
   without that its best restore. The others that were not done are counted beside it: a second cron
   line that was refused undoes nothing.
3. What a dry run would do counts for nothing; what is pending is what the newest sweep or dry run
   of the night left.
4. The nights end with the last one that is over, or with that of the newest run: a job that does
   not start any more leaves nights without a run.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Final, NamedTuple

from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.events import RunStarted
from invite_sweeper.endings import CUT_OFF_CAUSE, ExitCode, Status, Style, known_reasons
from invite_sweeper.errors import Advisor
from invite_sweeper.json_text import parse_timestamp
from invite_sweeper.report.document import Attention, Bar, Document, Fact, Picture
from invite_sweeper.text import Hint, describe_span, pluralize, shorten_list, upper_first

COUNTED: Final = ("deleted", "announced", "restored", "failed")
"""What a night counts, in the order in which it is shown."""
NIGHT: Final = timedelta(days=1)
DEFAULT_NIGHTS: Final = 30
EARLIEST: Final = datetime(2016, 6, 1, tzinfo=UTC)
"""Atlas has existed since that month: no run is older."""
LATEST: Final = datetime(9999, 12, 30, tzinfo=UTC)
"""The calendar ends with the night after this one; a run with such a `now` is forged."""
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
        night: On which it began, in UTC; None if it is not known.
        status: DAMAGED if its file could not be read to its end. Of a run without a last line
            CUT_OFF if it left no request open, RECOVERED if a later run has recorded each outcome.
        exit_code: None if it has no last line.
        ending: What its exit code means; without one, or of a later version, its status.
        cause: Why it was not done: its first reason, else its ending; empty if it is not known.
        counts: What it did, by the names of COUNTED.
        pending: What it left pending where it read; None where it did not read all that it
            planned by, and of a restore.
        is_whole: Whether every list in scope was read.
        reason: The text of `--reason`.
        kept_by_reason: How many invitations it kept.
        policy_sha256: Of the bytes of its policy; None of a restore before 0.3.
        policy_path: As it was named.
        actors: The accounts of the credentials, by the id of the organization.
    """

    number: int
    mode: str
    night: date | None
    status: Status
    exit_code: int | None
    ending: str
    cause: str = ""
    counts: Mapping[str, int] = {}
    pending: int | None = None
    is_whole: bool = True
    reason: str | None = None
    kept_by_reason: Mapping[str, int] = {}
    policy_sha256: str | None = None
    policy_path: str = ""
    actors: Mapping[str, str] = {}

    @property
    def label(self) -> str:
        """Its mode and number."""
        return f"{self.mode or 'run'} {self.number or ''}".rstrip()

    @property
    def day(self) -> str:
        """Its night in words."""
        return str(self.night or "unknown")

    @property
    def mark(self) -> str:
        """Its exit code where that is not 0."""
        if self.status is Status.EMPTY:
            return "no run"
        if self.exit_code is None:
            return "!"
        return "" if self.exit_code == ExitCode.DONE else f"exit {self.exit_code}"

    @property
    def text(self) -> str:
        """Its ending, after an exit code that is not 0."""
        return f"exit {self.exit_code}: {self.ending}" if self.exit_code else self.ending


_NO_RUN: Final = NightRun(0, "", None, Status.EMPTY, None, "no run in these files")
"""What a night without a run has in the place of one."""


def began_at(start: RunStarted) -> datetime | None:
    """Return the instant of a run from its first line; None where it is not known or possible."""
    began = parse_timestamp(start.now)
    return began if began is not None and EARLIEST <= began < LATEST else None


def night_run(record: RunRecord) -> NightRun:
    """Return what is kept of a run, with what later runs recorded of its requests."""
    end = record.end
    began = began_at(record.start)
    status = record.status if record.is_whole else Status.DAMAGED
    ending = str(status)
    cause = CUT_OFF_CAUSE if status is Status.CUT_OFF else ""
    if end is not None:
        with suppress(ValueError):  # of a later version
            ending = ExitCode(end.exit_code).label
        first = end.reasons[:1]
        labels = [reason.label or reason.exit_code.label for reason in known_reasons(first)]
        cause = "".join(labels or first) or ending  # of a later version, its name
    return NightRun(
        number=record.file.number,
        mode=record.mode,
        night=began.date() if began is not None else None,
        status=status,
        exit_code=record.exit_code,
        ending=ending,
        cause=cause,
        counts={**record.outcomes, "announced": record.announced},
        pending=pending_after(record),
        is_whole=end is not None and end.plan_complete,
        reason=record.start.reason,
        kept_by_reason=end.kept_by_reason if end is not None else {},
        policy_sha256=record.start.policy_sha256,
        policy_path=record.start.policy_path or "",
        actors=record.start.actors,
    )


def pending_after(record: RunRecord) -> int | None:
    """Return how many a sweep or a dry run left pending of those that it saw.

    None where it made no plan, and of a restore.
    """
    end = record.end
    if end is None or not end.plan_made or record.mode == "restore":
        return None
    gone = end.deleted + end.already_gone + end.accepted_before
    return end.invitations_seen - gone


class Night(NamedTuple):
    """One day (UTC) with its runs."""

    day: date
    runs: tuple[NightRun, ...] = ()

    @property
    def deciding(self) -> Sequence[NightRun]:
        """The runs of the first mode that the night has, the best first; of unknown modes, all."""
        of_modes = ([run for run in self.runs if run.mode == mode] for mode in _DECIDING_MODES)
        runs = next(filter(None, of_modes), self.runs)
        if not runs:
            return [_NO_RUN]
        worst_first = tuple(Status)
        return sorted(runs, key=lambda run: worst_first.index(run.status), reverse=True)

    @property
    def status(self) -> Status:
        """How it ended; EMPTY without a run."""
        return self.deciding[0].status

    @property
    def others(self) -> tuple[str, ...]:
        """How many of the other deciding runs were not done, by how they ended."""
        numbers = Counter(run.status for run in self.deciding[1:])
        del numbers[Status.DONE]
        return tuple(f"{pluralize(number, 'other')} {status}" for status, number in numbers.items())

    @property
    def scan(self) -> NightRun | None:
        """The newest run that knows what it left pending."""
        return next((run for run in reversed(self.runs) if run.pending is not None), None)

    @property
    def labels(self) -> tuple[str, ...]:
        """Each run with its mode and number."""
        return tuple(run.label for run in self.runs)

    def number(self, name: str) -> int:
        """Return how many its runs did of what COUNTED names."""
        return sum(run.counts.get(name, 0) for run in self.runs)

    @property
    def text(self) -> str:
        """How it ended; the table has its numbers."""
        return f"{self.day}: {'; '.join((self.deciding[0].text, *self.others))}"


def picture_of(nights: Sequence[Night]) -> Picture:
    """Return the picture of some nights: what was done in each, and what was pending after it."""
    return Picture(
        names=COUNTED,
        line="pending after the night",
        remark="Each night shows how many invitations were deleted, its exit code where it is not "
        "0 (the best of its sweeps), and the day of the month, in UTC.",
        bars=tuple(
            Bar(
                label=str(night.day.day),
                number=f"{night.number('deleted'):,}" if night.runs else "–",  # noqa: RUF001 - a dash
                mark=night.deciding[0].mark,
                meaning=night.deciding[0].ending,
                style=night.status.style,
                text=night.text,
                parts=tuple(map(night.number, COUNTED)),
                level=night.scan.pending if night.scan is not None else None,
            )
            for night in nights
        ),
    )


def last_night_over(now: datetime) -> date:
    """Return the last night that is over: the one at work may still have its run."""
    return now.astimezone(UTC).date() - NIGHT


def nights_of(
    runs: Iterable[NightRun],
    *,
    first: date | None,
    last: date | None,
) -> Iterator[Night]:
    """Yield the nights of some runs, those without a run between them and after them, too.

    Args:
        first: The first one; None for that of the first run.
        last: The last one, if the newest run is before it; None for that of the newest run.
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
        yield Night(night, tuple(runs_by_night.get(night, ())))
        night += NIGHT


def recent_nights(runs: Sequence[NightRun], now: datetime) -> tuple[Night, ...]:
    """Return the 30 nights up to the newest run, and those since; none without a run."""
    known = [run.night for run in runs if run.night is not None]
    if not known:
        return ()
    first = max(min(known), max(known) - (DEFAULT_NIGHTS - 1) * NIGHT)
    return tuple(nights_of(runs, first=first, last=last_night_over(now)))


def describe_endings(nights: Sequence[Night]) -> str:
    """Return how the nights ended, as a sentence: the verdict of a period.

    "Of the 30 nights from 2026-11-03 to 2026-12-02: 27 done, 2 failed (2026-11-16 to 2026-11-17:
    Atlas is not reachable), 1 without a run (2026-11-20)." A single night names its runs.
    """
    if len(nights) == 1:
        (night,) = nights  # it has runs: a period without any is an error
        runs = shorten_list(night.labels, _MAX_RUNS)
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
    groups = groupby(nights, key=lambda night: (night.status, night.deciding[0].cause))
    for (ended, cause), group in groups:
        if ended is not status:
            continue
        days = [str(night.day) for night in group]
        when = describe_span(days[0], days[-1])
        yield f"{when}: {cause}" if cause else when


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
    counts = ((sum(night.number(name) for night in nights), name) for name in COUNTED)
    done = [f"{count:,} {name}" for count, name in counts if count]
    return ", ".join(done) or "nothing was deleted"


def silence_after(nights: Sequence[Night], advisor: Advisor) -> Iterator[Attention]:
    """Yield that a nightly job has not run since an earlier night."""
    missed = nights_since_newest(nights)
    if missed:
        text = f"{pluralize(len(missed), 'night')} without a run since, up to {missed[-1].day}."
        title = f"The newest run is of {missed[0].day - NIGHT}"
        yield Attention(title, (text,), Hint(CHECK_SCHEDULE, advisor.check()))


def verdict_of(nights: Sequence[Night], newest: Document, attention: Sequence[Attention]) -> Fact:
    """Return the verdict of a period: in a few words, how its nights ended, and what was done.

    Args:
        newest: The story of its newest run.
        attention: What needs attention.
    """
    label = "Nothing needs attention"
    style: Style = "good"
    if not were_all_done(nights):
        label = "Not every night was done"
        style = "warning"
    if attention:
        label = "Needs attention"
        style = "bad" if newest.headline.style == "bad" else "warning"
    runs = pluralize(sum(len(night.runs) for night in nights), "run")
    done = upper_first(describe_counts(nights))
    return Fact(label, f"{describe_endings(nights)} {done} by {runs}.", style)
