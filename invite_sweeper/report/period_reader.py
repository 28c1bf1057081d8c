"""What the runs of a period did, and to whom, from one pass over their files.

1. A night is a day in UTC; a run began at the `now` of its first line.
2. Without `--since` and `--until`, a report is about the 30 nights up to the newest run.
3. A run whose instant cannot be read, or cannot be true, belongs to every period.
4. A request of a run that was killed counts once, in its night, with the outcome that a later run
   recorded, be it after the period.
5. What is pending is what the newest sweep or dry run left that read its lists.

Memory holds the run that is read, the newest one and that of what is pending, and beyond them the
counts of each run, as many rows as a table shows, and a row for each invitation that a keep entry
kept, for any number of nights.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, date, datetime, time, timedelta
from difflib import unified_diff
from itertools import groupby
from typing import Final, NamedTuple

from invite_sweeper.audit import RunFile, RunRecord, Verification
from invite_sweeper.audit.events import Kept, RunStarted
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.reader import add_lines
from invite_sweeper.audit.record import Fold
from invite_sweeper.errors import RunError, UsageError
from invite_sweeper.models import InvitationKey
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.document import MAX_TABLE_ROWS
from invite_sweeper.report.nights import (
    DEFAULT_NIGHTS,
    EARLIEST,
    LATEST,
    NIGHT,
    NightRun,
    began_at,
    night_run,
)
from invite_sweeper.report.rows import (
    Row,
    announced_rows,
    kept_rows,
    rows_of,
    sorted_rows,
)
from invite_sweeper.text import describe_span, escape_unprintable

_INSTANT: Final = timedelta(microseconds=1)


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


def find_period(
    instants: Sequence[datetime | None], since: datetime | None, until: datetime | None
) -> Period:
    """Return the period of a report: by default the 30 nights up to the newest run.

    Args:
        instants: Of the runs, oldest first; None where one is not known.
        since: The first instant; None for the default.
        until: The instant after the last one; None for the end of the night of the newest run, and
            of that of `since` if no run is later.

    Raises:
        UsageError: It ends before it begins.
    """
    if since is not None and until is not None and since >= until:
        raise UsageError(
            "The period ends before it begins.",
            hint="Name the earlier time with --since, and the later one with --until.",
        )
    if until is None:
        newest = next(filter(None, reversed(instants)), EARLIEST)
        last = max(newest, since or EARLIEST)
        until = _midnight(min(last, LATEST).date()) + NIGHT
    period = Period(since or EARLIEST, max(until, EARLIEST))
    if since is None:
        since = _midnight(period.last) - (DEFAULT_NIGHTS - 1) * NIGHT
    return period._replace(since=max(since, EARLIEST))


def _midnight(night: date) -> datetime:
    return datetime.combine(night, time(), UTC)


def first_instant(file: RunFile) -> datetime | None:
    """Return the instant of a run whose file was not read yet."""
    chain = FileChain(file)
    with closing(chain), suppress(RunError):
        line = next(iter(chain), None)
        first = chain.decode(line) if line is not None else None
        if isinstance(first, RunStarted):
            return began_at(first)
    return None


def is_of_keep_entry(reason: str) -> bool:
    """Return whether a key of `kept_by_reason` is that of a keep entry."""
    return reason.startswith("keep:")


class KeepEntry(NamedTuple):
    """An entry of `keep`, and the runs in which it kept an invitation.

    Attributes:
        reason: Its key in `kept_by_reason`.
    """

    reason: str
    runs: Sequence[NightRun]

    @property
    def counts(self) -> Sequence[int]:
        """How many it kept in each of the runs."""
        return [run.kept_by_reason[self.reason] for run in self.runs]


class NewestRows:
    """The newest rows of a table, those that failed before all others.

    Attributes:
        total: How many there were.
    """

    def __init__(self) -> None:
        self.total = 0
        self._failed: deque[Row] = deque(maxlen=MAX_TABLE_ROWS)
        self._others: deque[Row] = deque(maxlen=MAX_TABLE_ROWS)

    def add(self, row: Row) -> None:
        """Add a row of the newest run so far."""
        self.total += 1
        newest = self._failed if row.has_failed else self._others
        newest.append(row)

    def rows(self) -> list[Row]:
        """Return the rows: what failed, then the newest run first."""
        rows = sorted_rows((*self._failed, *self._others))
        # Sorting is stable: rows of one run stay in their order.
        rows.sort(key=lambda row: (not row.has_failed, -row.run))
        return rows


class PolicyInForce(NamedTuple):
    """A policy, and the runs one after the other that worked under it.

    Attributes:
        sha256: Of its bytes.
        text: Safe to show; None where an earlier version wrote the files.
        change: Against the policy before, as `diff -u` has it; empty for the first.
    """

    sha256: str
    runs: Sequence[NightRun]
    text: str | None
    change: str

    @property
    def numbers(self) -> str:
        """The numbers of the runs, such as `11 to 20`."""
        numbers = [str(run.number or "") for run in self.runs]
        return describe_span(numbers[0], numbers[-1])

    @property
    def nights(self) -> str:
        """The nights of the runs, the first and the last."""
        return describe_span(self.runs[0].day, self.runs[-1].day)


class SweptAccount(NamedTuple):
    """With which account an organization was read and swept.

    Attributes:
        org_id: Of the organization.
        name: The client id or public key; `token` of a ready one.
        runs: The runs with this account, one after the other.
    """

    org_id: str
    name: str
    runs: Sequence[NightRun]


def printable_lines(policy: str) -> str:
    """Return the text of a policy as it is safe to show, without secrets."""
    return "\n".join(map(escape_unprintable, SECRETS.redact(policy).splitlines()))


def describe_change(before: str, after: str) -> str:
    """Return what was changed in a text, as `diff -u` has it; empty where nothing was."""
    lines = unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm="")
    return "\n".join(lines)


class PeriodReader:
    """Reads the runs of a period, oldest first.

    Attributes:
        runs: The runs of the period, oldest first.
        newest: The newest of them; None before one was read.
        scan: The newest sweep or dry run whose lists were read: what is pending is from it.
        organization: As below.
        deletions: What became of each deletion that was due to be sent.
        announced: What sweeps announced for a later deletion.
        restored: What became of each invitation of a restore.
        kept: What a keep entry kept, the last time that it did, by invitation and entry.

    Args:
        verification: Of the files.
        fold: Of their runs, by the verification.
        organization: The id of the one that is asked for; None for all.
    """

    def __init__(
        self,
        period: Period,
        verification: Verification,
        fold: Fold,
        organization: str | None = None,
    ) -> None:
        self.runs: list[NightRun] = []
        self.newest: RunRecord | None = None
        self.scan: RunRecord | None = None
        self.deletions = NewestRows()
        self.announced = NewestRows()
        self.restored = NewestRows()
        self.kept: dict[tuple[InvitationKey, str], Row] = {}
        self._policies: dict[str | None, str] = {}  # the texts, by their hashes
        self._period = period
        self.organization = organization
        # Of a damaged log it is not known what later runs recorded.
        self._recovered = fold.runs if verification.damage is None else {}

    def read(self, files: Iterable[RunFile], instants: Iterable[datetime | None]) -> None:
        """Read the files; of a damaged one, which the verification names, what comes before."""
        for file, began in zip(files, instants, strict=True):
            if began is None or self._period.since <= began < self._period.until:
                self._read_run(file)

    def _read_run(self, file: RunFile) -> None:
        run = RunRecord(file)
        with suppress(RunError):  # the verification names the file
            add_lines(run, FileChain(file), Fold(), with_kept=True)
        known = self._recovered.get(run.run_id)
        if known is not None:
            run.recover_as(known)
        if self.organization is not None:
            if self.organization not in run.start.organizations:
                return
            run = run.of_organization(self.organization)
        night = night_run(run)
        self.runs.append(night)
        self.newest = run
        if night.pending is not None:
            self.scan = run
        if run.policy is not None:
            self._policies[night.policy_sha256] = printable_lines(run.policy)
        if run.mode != "dry-run":  # it did nothing to a person
            self._add_people(run, night)

    def _add_people(self, run: RunRecord, night: NightRun) -> None:
        """Add what a run did to whom, and whom a keep entry kept."""
        requests = self.restored if run.mode == "restore" else self.deletions
        for row in _dated(rows_of(run), night):
            if row.outcome:  # what is planned, and was not sent, has none
                requests.add(row)
        for row in _dated(announced_rows(run), night):
            self.announced.add(row)
        for row in _dated(kept_rows(run)[::-1], night):
            if isinstance(row.event, Kept) and is_of_keep_entry(row.event.reason):
                about = row.event.key, row.detail
                self.kept.pop(about, None)
                self.kept[about] = row  # the last one in the order of insertion

    def entries(self) -> Iterator[KeepEntry]:
        """Yield each keep entry that kept something, in the order in which they first did."""
        reasons = dict.fromkeys(reason for run in self.runs for reason in run.kept_by_reason)
        for reason in filter(is_of_keep_entry, reasons):
            yield KeepEntry(reason, [run for run in self.runs if reason in run.kept_by_reason])

    def accounts(self) -> Iterator[SweptAccount]:
        """Yield the accounts of each organization, in the order in which they were used."""
        for org_id in dict.fromkeys(org_id for run in self.runs for org_id in run.actors):
            runs = [run for run in self.runs if org_id in run.actors]
            for name, group in groupby(runs, key=lambda run: run.actors[org_id]):
                yield SweptAccount(org_id, name, tuple(group))

    def policies(self) -> Iterator[PolicyInForce]:
        """Yield the policies of the runs, in the order in which they came into force."""
        before: str | None = None
        runs = (run for run in self.runs if run.policy_sha256 is not None)
        for sha256, group in groupby(runs, key=lambda run: run.policy_sha256 or ""):
            text = self._policies.get(sha256)
            change = "" if before is None or text is None else describe_change(before, text)
            yield PolicyInForce(sha256, tuple(group), text, change)
            before = text


def _dated(rows: Iterable[Row], run: NightRun) -> Iterator[Row]:
    """Yield the rows of a run with its number and its night."""
    for row in rows:
        row.run = run.number
        row.night = run.night
        yield row
