"""What the runs of a period did, night by night, and to whom.

1. A night is a day in UTC; a run belongs to the night in which it began.
2. A request of a run that was killed counts once, in its night, with the outcome that a later run
   recorded.
3. What is pending is what the newest sweep or dry run left that read its lists.

Memory holds one run at a time, and beyond it the counts of each run and the newest rows.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final, NamedTuple, Self

from invite_sweeper.audit import RunFile, RunRecord, Verification
from invite_sweeper.audit.events import Announced, OutcomeLine, RunFinished, RunStarted
from invite_sweeper.audit.intents import IntentLedger
from invite_sweeper.audit.reader import FileChain
from invite_sweeper.audit.record import fill_run
from invite_sweeper.endings import ExitCode, Status, status_of
from invite_sweeper.errors import RunError, UsageError
from invite_sweeper.models import InvitationKey, parse_timestamp
from invite_sweeper.outcomes import Outcome
from invite_sweeper.report.policies import PoliciesInForce
from invite_sweeper.report.readback import MAX_TABLE_ROWS, RunRows, kept_by_entry, read_rows
from invite_sweeper.report.rows import NO_OUTCOME, Row, sorted_rows
from invite_sweeper.report.waits import DueDates, Waits, dates_of

DEFAULT_NIGHTS: Final = 30
_LONGEST_NOTICE: Final = timedelta(days=100)
"""An announcement is at most so old when its invitation is deleted: `validate` refuses a longer
`notice.wait` than 90 days."""
GONE: Final = frozenset({Outcome.DELETED, Outcome.ALREADY_GONE})


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
        return (self.until - timedelta(microseconds=1)).date()


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
            f"The period from {_written(since)} to {_written(until, end=True)} ends before it "
            "begins.",
            hint="Name the earlier time with --since, and the later one with --until.",
        )
    if until is None:
        began = (_began_at(file) for file in reversed(files))
        newest = next((at for at in began if at is not None), None) or since or _EARLIEST
        until = _midnight(min(max(newest, since or newest), _LATEST).date()) + _NIGHT
    if since is None:
        last_night = _midnight((max(until, _EARLIEST) - _INSTANT).date())
        since = last_night - (DEFAULT_NIGHTS - 1) * _NIGHT
    return Period(max(since, _EARLIEST), until)


_NIGHT: Final = timedelta(days=1)
_INSTANT: Final = timedelta(microseconds=1)
_EARLIEST: Final = datetime(2016, 6, 1, tzinfo=UTC)
"""Atlas has existed since that month: no run is older."""
_LATEST: Final = datetime(9999, 12, 30, tzinfo=UTC)
"""The calendar ends with the night after this one; a run with such a `now` is forged."""


def _midnight(night: date) -> datetime:
    return datetime.combine(night, time(), UTC)


def _written(moment: datetime, *, end: bool = False) -> str:
    """Return an instant as it was typed: at midnight a date, of an end the night before it."""
    if moment.time() != time():
        return moment.isoformat().replace("+00:00", "Z")
    return str((max(moment, _EARLIEST) - _INSTANT).date() if end else moment.date())


def _began_at(file: RunFile) -> datetime | None:
    """Return the instant of a run from its first line; None where it cannot be read or be true."""
    chain = FileChain(file)
    with closing(chain), suppress(RunError):
        line = next(iter(chain), None)
        first = chain.decode(line) if line is not None else None
        at = parse_timestamp(first.now) if isinstance(first, RunStarted) else None
        return at if at is not None and _EARLIEST <= at < _LATEST else None
    return None


class NightRun(NamedTuple):
    """What is kept of a run: how it ended, and its counts.

    Attributes:
        night: On which it began, in UTC; None if it is not known.
        status: DAMAGED if its file could not be read to its end. RECOVERED if it was killed, and
            a later run has recorded each outcome.
        exit_code: None if it has no last line.
        pending: What it left pending where it read; None where it did not read all that it
            planned by, and of a restore.
        is_whole: Whether every list in scope was read.
        reason: What `--reason` said.
    """

    number: int
    mode: str
    night: date | None
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
    def label(self) -> str:
        """Its mode and number."""
        return f"{self.mode or 'run'} {self.number or ''}".rstrip()


@dataclass(slots=True)
class NightRow(Row):
    """A row of a table over many runs.

    Attributes:
        run: The number of its run.
        night: On which that run began.
    """

    run: int = 0
    night: date | None = None

    @classmethod
    def of(cls, row: Row, run: NightRun) -> Self:
        """Return the row of a run."""
        return cls(row.event, row.organization, row.outcome, row.detail, run.number, run.night)


class NewestRows:
    """The newest rows of a table, those that failed before all others, and how many there were."""

    def __init__(self) -> None:
        self.total = 0
        self._failed = deque[NightRow](maxlen=MAX_TABLE_ROWS)
        self._others = deque[NightRow](maxlen=MAX_TABLE_ROWS)

    def add(self, row: NightRow) -> None:
        """Add a row of the newest run so far."""
        self.total += 1
        (self._failed if row.has_failed else self._others).append(row)

    def rows(self) -> list[NightRow]:
        """Return the rows: what failed, then the newest run first."""
        rows = sorted_rows([*self._failed, *self._others])
        rows.sort(key=lambda row: (not row.has_failed, -row.run))
        return rows[:MAX_TABLE_ROWS]


class KeptRows:
    """Whom a keep entry kept, once for each entry, as of the last run that recorded it."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._newest: dict[int, NightRow] = {}

    @property
    def total(self) -> int:
        """How many there were."""
        return len(self._known)

    def add(self, row: NightRow) -> None:
        """Add whom a keep entry kept in the newest run so far."""
        key = hash((row.event.key, row.detail))
        self._known.add(key)
        self._newest.pop(key, None)
        self._newest[key] = row
        if len(self._newest) > MAX_TABLE_ROWS:
            del self._newest[next(iter(self._newest))]

    def rows(self) -> list[NightRow]:
        """Return the rows, the newest run first."""
        return sorted(sorted_rows(self._newest.values()), key=lambda row: -row.run)


class _OpenRequest(NamedTuple):
    """A request of a killed run whose outcome a later run may record.

    Attributes:
        is_deletion: Of a sweep, and not of a restore.
        wait: How long the invitation had been due; None where that is not known.
    """

    row: NightRow
    is_deletion: bool = False
    wait: timedelta | None = None


class PeriodReader:
    """Reads the runs of a period, oldest first.

    Attributes:
        runs: The runs of the period, oldest first.
        newest: The newest of them; None before one was read.
        last_sweep: The newest sweep.
        scan: The newest sweep or dry run whose lists were read: it says what is pending.
        scan_pending: What it left pending.
        first: The night of the first run of all files; None if it is not known.
        deletions: What became of each deletion that was due to be sent.
        announced: Whom sweeps announced for a later deletion.
        restored: What became of each invitation of a restore.
        kept: Whom a keep entry kept, the last time that it did.
        waits: How long due invitations waited until they were deleted.
        policies: Under which the runs worked.

    Args:
        found: The verification of the files.
    """

    def __init__(self, period: Period, folder: Path, found: Verification) -> None:
        self.runs: list[NightRun] = []
        self.newest: RunRecord | None = None
        self.last_sweep: RunRecord | None = None
        self.scan: RunRecord | None = None
        self.scan_pending: int | None = None
        self.first: date | None = None
        self.deletions = NewestRows()
        self.announced = NewestRows()
        self.restored = NewestRows()
        self.kept = KeptRows()
        self.waits = Waits()
        self.policies = PoliciesInForce(folder)
        self._period = period
        self._is_damaged = found.damage is not None
        self._left_open = {each.file for each in found.unfinished}
        self._recovered = {each.file: each for each in found.recovered}
        self._due_dates = DueDates()
        self._open: dict[tuple[str, InvitationKey], _OpenRequest] = {}

    def read(self, files: Iterable[RunFile]) -> None:
        """Read the files; of a damaged one, which the verification names, what comes before."""
        notices_since = f"{self._period.since - _LONGEST_NOTICE:%Y%m%dT%H%M%SZ}"
        for file in files:
            began = _began_at(file)
            if began is not None and self.first is None:
                self.first = began.date()
            if began is not None and began < self._period.since:
                if not file.is_before(notices_since):
                    self._read_announcements(file)
            elif began is None or began < self._period.until:
                self._read_run(file, began)
            elif self._open:
                self._settle(read_rows(RunRecord(file)).recovering, file.number)

    def _read_announcements(self, file: RunFile) -> None:
        """Read whom a run before the period announced."""
        chain = FileChain(file)
        with suppress(RunError):
            for line in chain:
                if line.header.event == Announced.event:
                    event = chain.decode(line)
                    if isinstance(event, Announced):
                        self._due_dates.announce(event)

    def _read_run(self, file: RunFile, began: datetime | None) -> None:
        record = RunRecord(file, recovered=self._recovered.get(file.name))
        status = Status.DAMAGED
        with suppress(RunError):
            fill_run(record, FileChain(file), IntentLedger())
            status = status_of(record.exit_code)
        is_open = file.name in self._left_open or self._is_damaged
        if status is Status.UNFINISHED and not is_open:
            status = Status.RECOVERED
        found = read_rows(record)
        run = _night_run(record, began, status, len(found.announced))
        self.runs.append(run)
        self.newest = record
        if record.mode == "sweep":
            self.last_sweep = record
        if run.pending is not None:
            self.scan = record
            self.scan_pending = run.pending
        if run.night is not None:
            self.policies.add(record, run.night)
        self._settle(found.recovering, file.number)
        self._add_people(record, run, found, began)

    def _add_people(
        self, record: RunRecord, run: NightRun, found: RunRows, began: datetime | None
    ) -> None:
        """Add what became of people in a run; a dry run does nothing to anybody."""
        if record.mode == "sweep":
            self._add_deletions(record, run, found, began)
            for row in found.announced:
                self.announced.add(NightRow.of(row, run))
                if isinstance(row.event, Announced):
                    self._due_dates.announce(row.event)
            for row in kept_by_entry(record, found):
                self.kept.add(NightRow.of(row, run))
        elif record.mode == "restore":
            for key, row in found.rows.items():
                invited = NightRow.of(row, run)
                self.restored.add(invited)
                if row.outcome == NO_OUTCOME:
                    self._open[record.run_id, key] = _OpenRequest(invited)

    def _add_deletions(
        self, record: RunRecord, run: NightRun, found: RunRows, began: datetime | None
    ) -> None:
        """Add each request of a sweep, and how long its invitation had been due."""
        organizations = record.end.organizations if record.end is not None else ()
        names = {each.id: each.name for each in organizations if each.name is not None}
        policy = self.policies.policy_of(record)
        dates = None
        if policy is not None and began is not None:
            dates = dates_of(policy, began, names)
        for key, row in found.rows.items():
            if not row.outcome:
                continue
            deletion = NightRow.of(row, run)
            self.deletions.add(deletion)
            if row.outcome not in {Outcome.DELETED, NO_OUTCOME}:
                continue
            due = self._due_dates.due(row.event, dates)
            wait = began - due if began is not None and due is not None else None
            if row.outcome == NO_OUTCOME:
                self._open[record.run_id, key] = _OpenRequest(deletion, is_deletion=True, wait=wait)
            else:
                self.waits.add(wait)

    def _settle(self, recovering: Iterable[OutcomeLine], run: int) -> None:
        """Take over what a run found out about the open requests of one that was killed."""
        for line in recovering:
            request = self._open.pop((line.recovers or "", line.key), None)
            if request is None:
                continue
            row = request.row
            row.take(line)
            settled = f"recovered by run {run}"
            row.detail = f"{row.detail}; {settled}" if row.detail else settled
            if request.is_deletion and line.outcome in GONE:
                self.waits.add(request.wait)


def _night_run(
    record: RunRecord, began: datetime | None, status: Status, announced: int
) -> NightRun:
    """Return what is kept of a run; of a killed one its counts are those of its lines."""
    end = record.end
    outcomes = record.outcomes
    mode = record.mode
    is_sweep = mode == "sweep"
    is_restore = mode == "restore"
    if end is not None:
        deleted = end.deleted
        restored = end.restored
        failed = end.failed
        announced = end.announced
    else:
        deleted = outcomes[Outcome.DELETED]
        deleted += record.recovered.deleted if record.recovered is not None else 0
        restored = outcomes[Outcome.RESTORED]
        failed = outcomes[Outcome.FAILED]
    return NightRun(
        number=record.file.number,
        mode=mode,
        night=began.date() if began is not None else None,
        status=status,
        exit_code=record.exit_code,
        deleted=deleted if is_sweep else 0,
        announced=announced if is_sweep else 0,
        restored=restored if is_restore else 0,
        failed=failed,
        pending=None if end is None or is_restore or not end.plan_made else _left(end),
        is_whole=end is not None and end.plan_complete,
        reason=record.start.reason,
    )


def _left(end: RunFinished) -> int:
    """Return how many invitations a sweep or a dry run left pending of those that it saw."""
    gone = end.deleted + end.already_gone + end.accepted_before + end.accepted_during
    return end.invitations_seen - gone


# The nights --------------------------------------------------------------------------------------

_NIGHT_MODES: Final = ("sweep", "dry-run", "restore")
"""How a day ended is told by its sweeps; without one, by its dry runs, then by its restores."""


class Night(NamedTuple):
    """One day (UTC), with the counts of all its runs.

    Attributes:
        status: The worst of its sweeps, or of its other runs if it had no sweep; EMPTY of a day
            without a run.
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
    by_day: dict[date, list[NightRun]] = {}
    for run in runs:
        if run.night is not None:
            by_day.setdefault(run.night, []).append(run)
    if not by_day:
        return
    day = max(period.first, first or min(by_day))
    last = max(by_day)
    while day <= last:
        yield _night(day, by_day.get(day, ()))
        day += _NIGHT


def _night(day: date, runs: Sequence[NightRun]) -> Night:
    if not runs:
        return Night(day, Status.EMPTY, "-", "no run in these files", text=f"{day}: no run")
    modes = {run.mode for run in runs}
    mode = next((each for each in _NIGHT_MODES if each in modes), None)
    deciding = [run for run in runs if run.mode == mode] or runs
    worst = min(deciding, key=lambda run: tuple(Status).index(run.status))
    code = worst.exit_code
    meaning = next((each.label for each in ExitCode if each == code), str(worst.status))
    exit_text = "no last line" if code is None else f"exit code {code}"
    scans = [run for run in runs if run.pending is not None]
    night = Night(
        day=day,
        status=worst.status,
        mark="!" if code is None else str(code or ""),
        meaning=meaning,
        runs=tuple(run.label for run in runs),
        deleted=sum(run.deleted for run in runs),
        announced=sum(run.announced for run in runs),
        restored=sum(run.restored for run in runs),
        failed=sum(run.failed for run in runs),
        pending=scans[-1].pending if scans else None,
        is_whole=not scans or scans[-1].is_whole,
    )
    counts = [f"{getattr(night, name):,} {name}" for name in COUNTED if getattr(night, name)]
    if night.pending is not None:
        counts.append(f"{night.pending:,} pending")
    parts = (f"{day}: {worst.status}, {exit_text}, {meaning}", ", ".join(night.runs), *counts)
    return night._replace(text="; ".join(parts))


COUNTED: Final = ("deleted", "announced", "restored", "failed")
"""What a night counts, in the order in which it is shown."""


def tell_nights(nights: Sequence[Night]) -> Iterator[str]:
    """Yield how the nights ended, a sentence each."""
    ran = [night for night in nights if night.status is not Status.EMPTY]
    by_status = Counter(night.status for night in ran)
    done = by_status.pop(Status.DONE, 0)
    counts = "".join(f", {number} {status}" for status, number in by_status.items())
    yield f"From {ran[0].day} to {ran[-1].day}, {done} of {len(ran)} nights were done{counts}."
    if missing := len(nights) - len(ran):
        yield f"Days of that period without a run in these files: {missing}."


def tell_counts(nights: Sequence[Night]) -> str:
    """Return what was done in a period, in a few words."""
    counts = ((sum(getattr(night, name) for night in nights), name) for name in COUNTED)
    done = ", ".join(f"{count:,} {name}" for count, name in counts if count)
    return done or "nothing was deleted"
