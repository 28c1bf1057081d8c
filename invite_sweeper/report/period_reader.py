"""What the runs of a period did, and to whom, from one pass over their files.

1. A night is a day in UTC; a run began at the `now` of its first line.
2. Without `--since` and `--until`, a report is about the 30 nights up to the newest run.
3. A run whose instant cannot be read, or cannot be true, belongs to every period.
4. A request of a run that was killed counts once, in its night, with the outcome that a later run
   recorded, be it after the period.
5. What is pending is what the newest sweep or dry run left that read its lists.

Memory holds the run that is read, the newest one and that of what is pending, and beyond them the
counts of each run and as many rows as a table shows, for any number of nights.
"""

from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from datetime import UTC, date, datetime, time, timedelta
from difflib import unified_diff
from typing import Final, NamedTuple

from invite_sweeper.audit import RunFile, RunRecord, Verification
from invite_sweeper.audit.events import Kept, RunFinished, RunStarted, announcement_key
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.reader import add_lines
from invite_sweeper.audit.record import Fold
from invite_sweeper.errors import RunError, UsageError
from invite_sweeper.redaction import SECRETS
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
    MAX_TABLE_ROWS,
    Row,
    announced_rows,
    kept_rows,
    rows_of,
    sorted_rows,
)
from invite_sweeper.text import escape_unprintable

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


class KeepEntry(NamedTuple):
    """What an entry of `keep` kept in the runs of a period, as each run counted it.

    Attributes:
        runs: Runs in which it kept an invitation.
        most: In one of them.
        newest: In the last of them.
        first: The night of the first of them, as `last` of the last.
    """

    name: str
    runs: int
    most: int
    newest: int
    first: date
    last: date


def add_kept(entries: dict[str, KeepEntry], end: RunFinished, night: date) -> None:
    """Add what the entries of `keep` kept in a run to that of the runs before it."""
    for reason, count in end.kept_by_reason.items():
        kind, _, name = reason.partition(":")
        if kind != "keep":
            continue
        before = entries.get(name, KeepEntry(name, 0, 0, 0, night, night))
        entries[name] = before._replace(
            runs=before.runs + 1, most=max(before.most, count), newest=count, last=night
        )


class NewestRows:
    """The newest rows of a table, those that failed before all others, and how many there were.

    What is the same as an earlier row, such as an invitation that an entry keeps each night, stands
    in its place: of such rows, memory holds a hash each.

    Attributes:
        total: How many there were.
    """

    def __init__(self) -> None:
        self.total = 0
        self._hashes: set[int] = set()
        self._failed: dict[int, Row] = {}
        self._others: dict[int, Row] = {}

    def add(self, row: Row, run: NightRun, *same: object) -> bool:
        """Add a row of the newest run so far, and return whether no earlier one is the same.

        Args:
            same: By what rows are the same; nothing where each comes once.
        """
        row.run = run.number
        row.night = run.night
        key = hash(same or self.total)
        is_new = key not in self._hashes
        self.total += is_new
        if same:
            self._hashes.add(key)
        newest = self._failed if row.has_failed else self._others
        newest.pop(key, None)
        newest[key] = row  # the last one in the order of insertion
        if len(newest) > MAX_TABLE_ROWS:
            oldest = next(iter(newest))
            del newest[oldest]
        return is_new

    def rows(self) -> list[Row]:
        """Return the rows: what failed, then the newest run first."""
        rows = sorted_rows([*self._failed.values(), *self._others.values()])
        # Sorting is stable: rows of one run stay in their order.
        rows.sort(key=lambda row: (not row.has_failed, -row.run))
        return rows


class PolicyInForce(NamedTuple):
    """A policy, and the runs one after the other that worked under it.

    Attributes:
        sha256: Of its bytes.
        path: As in the last of these runs.
        first_run: The number of the first of them, as `last_run` of the last; 0 where a file
            outside an audit directory has none.
        first: The night of the first of them, as `last` of the last.
        text: Safe to show; None where an earlier version wrote the files.
        change: Against the policy before, as `diff -u` has it; empty for the first.
    """

    sha256: str
    path: str
    first_run: int
    last_run: int
    first: date
    last: date
    text: str | None
    change: str

    @property
    def runs(self) -> str:
        """The numbers of the runs, such as `11 to 20`."""
        if self.first_run == self.last_run:
            return str(self.last_run or "")
        return f"{self.first_run} to {self.last_run}"


def add_policy(policies: list[PolicyInForce], run: RunRecord, night: date) -> None:
    """Add the policy of a run to those of the runs before it."""
    sha256 = run.start.policy_sha256
    if sha256 is None:  # a restore before 0.3
        return
    number = run.file.number
    path = run.start.policy_path or ""
    before = policies[-1] if policies else None
    if before is not None and before.sha256 == sha256:
        policies[-1] = before._replace(path=path, last_run=number, last=night)
        return
    text = printable_lines(run.policy) if run.policy is not None else None
    change = ""
    if before is not None and before.text is not None and text is not None:
        change = describe_change(before.text, text)
    policies.append(PolicyInForce(sha256, path, number, number, night, night, text, change))


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
        organizations: The ids of those that the runs were about.
        deletions: What became of each deletion that was due to be sent.
        announced: What sweeps announced for a later deletion.
        restored: What became of each invitation of a restore.
        entries: What each keep entry kept, by its name.
        kept: What a keep entry kept, the last time that it did.
        policies: Under which the runs worked, in the order in which they came into force.

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
        self.organizations: set[str] = set()
        self.deletions = NewestRows()
        self.announced = NewestRows()
        self.restored = NewestRows()
        self.entries: dict[str, KeepEntry] = {}
        self.kept = NewestRows()
        self.policies: list[PolicyInForce] = []
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
        if run.mode == "sweep":
            self._add_requests(run, night, self.deletions)
            for row in kept_rows(run):
                if isinstance(row.event, Kept) and row.event.reason.startswith("keep:"):
                    self.kept.add(row, night, row.event.key, row.detail)
            # An earlier run of the night may have announced it, as one whose file is lost.
            announced = sum(
                self.announced.add(row, night, night.night, announcement_key(row.event))
                for row in announced_rows(run)
            )
            night = night_run(run, announced)
        elif run.mode == "restore":  # a dry run did nothing to a person
            self._add_requests(run, night, self.restored)
        self._add_run(run, night)

    def _add_run(self, run: RunRecord, night: NightRun) -> None:
        self.runs.append(night)
        self.newest = run
        self.organizations.update(run.start.organizations)
        if night.pending is not None:
            self.scan = run
        if night.night is not None:
            add_policy(self.policies, run, night.night)
            if run.end is not None:
                add_kept(self.entries, run.end, night.night)

    def _add_requests(self, run: RunRecord, night: NightRun, newest: NewestRows) -> None:
        """Add what became of each request; what is planned, and was not sent, has no outcome."""
        for row in rows_of(run):
            if row.outcome:
                newest.add(row, night)
