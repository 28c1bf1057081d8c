"""What the runs of a period did, and to whom, from one pass over their files.

1. A request of a run that was killed counts once, in its night, with the outcome that a later run
   recorded, be it after the period.
2. What is pending is what the newest sweep or dry run left that read its lists.

Memory holds the run that is read, the newest one and that of what is pending, and beyond them the
counts of each run and the newest rows.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import date, datetime

from invite_sweeper.audit import RunFile, RunRecord, Verification
from invite_sweeper.audit.events import OutcomeLine, announcement_key
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.fold import Fold
from invite_sweeper.endings import Status, status_of
from invite_sweeper.errors import RunError
from invite_sweeper.models import InvitationKey
from invite_sweeper.outcomes import Outcome
from invite_sweeper.report.nights import NightRun, night_run
from invite_sweeper.report.period import Period, began_at
from invite_sweeper.report.period_rows import KeepEntry, KeptRows, NewestRows, NightRow, add_kept
from invite_sweeper.report.policies import PolicyInForce, add_policy
from invite_sweeper.report.readback import RecordedRun, RunRows, kept_by_entry
from invite_sweeper.report.rows import NO_OUTCOME, Row


class PeriodReader:
    """Reads the runs of a period, oldest first.

    Attributes:
        runs: The runs of the period, oldest first.
        newest: The newest of them; None before one was read.
        last_sweep: The newest sweep.
        scan: The newest sweep or dry run whose lists were read: what is pending is from it.
        scan_pending: What it left pending.
        first: The night of the first run of all files; None if it is not known, as of an
            organization, which may be newer.
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
        organization: The id of the one that is asked for; None for all.
    """

    def __init__(
        self, period: Period, verification: Verification, organization: str | None = None
    ) -> None:
        self.runs: list[NightRun] = []
        self.newest: RecordedRun | None = None
        self.last_sweep: RunRecord | None = None
        self.scan: RecordedRun | None = None
        self.scan_pending: int | None = None
        self.first: date | None = None
        self.organizations: set[str] = set()
        self.deletions = NewestRows()
        self.announced = NewestRows()
        self.restored = NewestRows()
        self.entries: dict[str, KeepEntry] = {}
        self.kept = KeptRows()
        self.policies: list[PolicyInForce] = []
        self._period = period
        self.organization = organization
        self._is_damaged = verification.damage is not None
        self._left_open = {unfinished.file for unfinished in verification.unfinished}
        self._fold = Fold()
        self._announcements: set[int] = set()
        self._killed: dict[int, RecordedRun] = {}  # by the index of the run
        self._open: dict[tuple[str, InvitationKey], NightRow] = {}

    def read(self, files: Iterable[RunFile]) -> None:
        """Read the files; of a damaged one, which the verification names, what comes before."""
        for file in files:
            began = began_at(file)
            if began is not None and self.first is None and self.organization is None:
                self.first = began.date()
            if began is not None and began < self._period.since:
                continue
            if began is not None and began >= self._period.until:
                if self._open:  # this run may have recovered a request of the period
                    self._read_later(file)
            else:
                self._read_run(file, began)
        self._recover()

    def _read_later(self, file: RunFile) -> None:
        """Read what a run after the period recovered."""
        outcomes = self._fold.follow(RunRecord(file), FileChain(file), {OutcomeLine.event})
        with suppress(RunError):  # the verification names the file
            for _ in outcomes:
                pass

    def _read_run(self, file: RunFile, began: datetime | None) -> None:
        whole = RunRecord(file)
        recorded = RecordedRun.read(whole, self._fold, self.organization)
        if self.organization not in {None, *whole.start.organizations}:
            return
        record = recorded.record
        run_rows = recorded.rows
        status = self._status(record) if run_rows.is_whole else Status.DAMAGED
        announced: list[Row] = []
        if record.mode == "sweep":
            night = began.date() if began is not None else None
            announced = self._new_announcements(run_rows, night)
        run = night_run(record, began, status, len(announced))
        self._add_run(recorded, run)
        if record.mode == "sweep":
            self._add_deletions(record, run, run_rows)
            for row in announced:
                self.announced.add(NightRow.of(row, run))
            for row in kept_by_entry(record, run_rows):
                self.kept.add(NightRow.of(row, run))
        elif record.mode == "restore":  # a dry run did nothing to a person
            self._add_restored(record, run, run_rows)

    def _status(self, record: RunRecord) -> Status:
        """Return how a run ended whose file is whole."""
        status = status_of(record.exit_code)
        # Of a damaged log it is not known what later runs recorded.
        is_open = record.file.name in self._left_open or self._is_damaged
        if status is Status.UNFINISHED and not is_open:
            return Status.RECOVERED
        return status

    def _add_run(self, recorded: RecordedRun, run: NightRun) -> None:
        record = recorded.record
        if record.end is None:
            self._killed[len(self.runs)] = recorded
        self.runs.append(run)
        self.newest = recorded
        self.organizations.update(record.start.organizations)
        if record.mode == "sweep":
            self.last_sweep = record
        if run.pending is not None:
            self.scan = recorded
            self.scan_pending = run.pending
        if run.night is not None:
            add_policy(self.policies, record, run.night)
            if record.end is not None:
                add_kept(self.entries, record.end, run.night)

    def _new_announcements(self, run_rows: RunRows, night: date | None) -> list[Row]:
        """Return what a run announced and no earlier one of its night, as one whose file is lost.

        Memory holds a hash of each.
        """
        announced: list[Row] = []
        for row in run_rows.announced:
            key = hash((night, announcement_key(row.event)))
            if key not in self._announcements:
                self._announcements.add(key)
                announced.append(row)
        return announced

    def _add_restored(self, record: RunRecord, run: NightRun, run_rows: RunRows) -> None:
        for key, row in run_rows.invitations.items():
            invited = NightRow.of(row, run)
            self.restored.add(invited)
            if row.outcome == NO_OUTCOME:
                self._open[record.run_id, key] = invited

    def _add_deletions(self, record: RunRecord, run: NightRun, run_rows: RunRows) -> None:
        """Add each request of a sweep."""
        for key, row in run_rows.invitations.items():
            if not row.outcome:  # planned, and nothing was sent
                continue
            deletion = NightRow.of(row, run)
            self.deletions.add(deletion)
            if row.outcome in {NO_OUTCOME, Outcome.UNKNOWN}:
                self._open[record.run_id, key] = deletion

    def _recover(self) -> None:
        """Set the outcomes that later runs recorded, once all files were read."""
        for index, killed in self._killed.items():
            run = self.runs[index]
            record = killed.record
            if self.organization is not None:
                for request in record.recovered_requests:
                    if killed.rows.is_about(request.line.org_id):
                        killed.rows.recover(request.line)
                record.outcomes = killed.rows.outcomes()
            self.runs[index] = night_run(record, run.began, run.status, run.announced)
        for run_id, record in self._fold.runs.items():
            for request in record.recovered_requests:
                row = self._open.get((run_id, request.line.key))
                if row is None:
                    continue
                row.set_outcome(request.line)
                recovered = f"recovered by run {request.by}"
                row.detail = f"{row.detail}; {recovered}" if row.detail else recovered
