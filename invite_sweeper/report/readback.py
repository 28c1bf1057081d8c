"""Read the invitations in the file of a run back, once for all outputs."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, NamedTuple, Self

from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.events import (
    Announced,
    Event,
    Intent,
    Kept,
    OutcomeLine,
    Planned,
    WouldBeAnnounced,
)
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.fold import Fold
from invite_sweeper.audit.totals import RunFinished
from invite_sweeper.errors import RunError
from invite_sweeper.models import Invitation, InvitationKey, ListUnreadable, SourceRetired
from invite_sweeper.outcomes import Outcome
from invite_sweeper.report.document import Fact
from invite_sweeper.report.rows import NO_OUTCOME, Row, label_of, place_name, sorted_rows
from invite_sweeper.text import escape_unprintable, truncate


@dataclass(slots=True)
class RunRows:
    """The invitations in the file of a run, in the order of its lines.

    Attributes:
        labels: The organizations' names with their ids, by id; the last line of the file has them.
        invitations: The planned deletions with their outcomes; of a restore, who was invited again.
        announced: For a later deletion, or would be; the next to be deleted is first.
        unreadable: The lists that could not be read.
        is_whole: False if the file could not be read to its end.
        organization: The id of the one that it is about; None for all.
    """

    labels: dict[str, str] = field(default_factory=dict)
    invitations: dict[InvitationKey, Row] = field(default_factory=dict)
    announced: list[Row] = field(default_factory=list)
    unreadable: list[ListUnreadable] = field(default_factory=list)
    is_whole: bool = False
    organization: str | None = None

    def is_about(self, org_id: str | None) -> bool:
        """Return whether what is of an organization belongs here."""
        return self.organization is None or org_id == self.organization

    def add(self, event: Event | None) -> None:
        """Add a line; None of a later version."""
        match event:
            case Invitation() | ListUnreadable() if not self.is_about(event.org_id):
                pass
            case Planned():
                self.invitations[event.key] = self.row(event)
            case Intent():
                self._known_row(event).outcome = NO_OUTCOME
            case OutcomeLine(recovers=None):
                self._known_row(event).set_outcome(event)
            case OutcomeLine():  # of another run, which planned it
                pass
            case Announced() | WouldBeAnnounced():
                self.announced.append(self.row(event))
            case SourceRetired():  # a line of the story, not a list that could not be read
                pass
            case ListUnreadable():
                self.unreadable.append(event)
            case RunFinished():
                self.name_organizations(event)
            case _:
                pass

    def recover(self, line: OutcomeLine) -> None:
        """Set the outcome that a later run recorded of a request that has none."""
        self._known_row(line).set_outcome(line)

    def name_organizations(self, end: RunFinished) -> None:
        """Set the names of the organizations, also for the rows that there are."""
        for organization in end.organizations:
            if self.is_about(organization.id):
                self.labels[organization.id] = organization.label

    def sort(self) -> None:
        """Sort what is announced, once all lines are added."""
        self.announced = sorted_rows(self.announced)
        # Sorting is stable: what is due at the same instant stays in the order of rows.
        self.announced.sort(key=lambda row: row.due)

    def _known_row(self, event: Invitation) -> Row:
        """Return the row of an invitation; a restore has no lines that plan them."""
        return self.invitations.setdefault(event.key, self.row(event))

    def row(self, event: Invitation) -> Row:
        """Return the row of an event."""
        return Row.of_line(event, self.labels)

    def unread_lines(self, max_lines: int) -> list[Fact]:
        """Return the place of each of the first lists that could not be read, and why."""
        lines = []
        for unreadable in self.unreadable[:max_lines]:
            organization = label_of(unreadable.org_id or "", self.labels)
            place = place_name(unreadable, organization, full=True)
            reason = escape_unprintable(truncate(unreadable.reason))
            lines.append(Fact(place, reason))
        return lines

    @property
    def is_of_several(self) -> bool:
        """Whether the run was about several organizations, which each place then names."""
        return len(self.labels) > 1

    def place(self, row: Row) -> str:
        """Return the place of a row, with its organization where the run is about several."""
        return place_name(row.event, row.organization, full=self.is_of_several)

    def outcomes(self) -> Counter[str]:
        """Return how many invitations have each outcome."""
        return Counter(row.outcome for row in self.invitations.values())

    def without_done(self) -> "RunRows":
        """Return a copy without the planned deletions that took place as planned."""
        done = {Outcome.DELETED, Outcome.RESTORED}
        rows = {key: row for key, row in self.invitations.items() if row.outcome not in done}
        return replace(self, invitations=rows)

    def without_sent(self) -> "RunRows":
        """Return a copy with the planned deletions for which no request was sent."""
        rows = {key: row for key, row in self.invitations.items() if not row.outcome}
        return replace(self, invitations=rows)

    def first(self, max_rows: int) -> list[Row]:
        """Return the first rows in their order: what failed, then of each organization as many."""
        ordered = sorted_rows(self.invitations.values())
        rows_of_organization = Counter[str]()
        rank: dict[InvitationKey, int] = {}  # of a row in its organization
        for row in ordered:
            rank[row.event.key] = rows_of_organization[row.event.org_id]
            rows_of_organization[row.event.org_id] += 1
        # The first row of each organization, then the second ones: a large one hides no small one.
        ordered.sort(key=lambda row: (not row.has_failed, rank[row.event.key]))
        return sorted_rows(ordered[:max_rows])


def read_rows(record: RunRecord) -> RunRows:
    """Return what is known of a run; of a file that cannot be read, what comes before."""
    run_rows = RunRows()
    if record.end is not None:  # before the question, the file has no last line
        run_rows.name_organizations(record.end)
    with suppress(RunError):  # the verification names the file, and the totals are known
        for _, event in FileChain(record.file).events():
            run_rows.add(event)
        run_rows.is_whole = True
    for planned in record.unwritten:
        run_rows.add(planned)
    run_rows.sort()
    return run_rows


class RecordedRun:
    """A run, and the invitations in its file: read once, when the first output needs them.

    Many runs need no output that names people: a quiet one that succeeded reads nothing.
    """

    def __init__(self, record: RunRecord) -> None:
        self.record = record

    @cached_property
    def rows(self) -> RunRows:
        """The invitations in the file; outputs share them, and none changes them."""
        return read_rows(self.record)

    @classmethod
    def read(cls, record: RunRecord, fold: Fold, organization: str | None = None) -> Self:
        """Return an earlier run with its invitations, and set the fields of its record.

        Of a file that cannot be read, what comes before is known.

        Args:
            fold: Of the runs before it.
            organization: The id of the one that is asked for; None for all.
        """
        run_rows = RunRows(organization=organization)
        with suppress(RunError):  # as above
            for _, event in fold.follow(record, FileChain(record.file)):
                run_rows.add(event)
            run_rows.is_whole = True
        run_rows.sort()
        if organization is not None:
            record = record.of_organization(organization, run_rows.outcomes())
        run = cls(record)
        run.rows = run_rows
        return run


class WholeRun(NamedTuple):
    """A run with every invitation that its file has.

    Attributes:
        kept: What it kept, where it recorded that: the policy has `audit.record: all`.
        sha256: Of the file before it was compressed.
    """

    record: RunRecord
    rows: RunRows
    kept: list[Row]
    sha256: str


def read_whole(chain: FileChain) -> WholeRun:
    """Return a run with all that its file has, which is read once, and to its end.

    Args:
        chain: Of the file; it computes the SHA-256.

    Raises:
        DamagedLog: The file is damaged.
    """
    record = RunRecord(chain.file)
    run_rows = RunRows()
    kept: list[Row] = []
    for _, event in Fold().follow(record, chain):
        if isinstance(event, Kept):
            kept.append(run_rows.row(event))
        else:
            run_rows.add(event)
    run_rows.is_whole = True
    run_rows.sort()
    return WholeRun(record, run_rows, kept, chain.sha256)


class AnnouncedAs(NamedTuple):
    """What the announced invitations of a run are, and the event that records them."""

    caption: str
    event: str


def announced_as(record: RunRecord) -> AnnouncedAs:
    """Return what the announced invitations of a run are."""
    if record.mode == "dry-run":
        return AnnouncedAs("Would be announced", WouldBeAnnounced.event)
    return AnnouncedAs("Announced for a later deletion", Announced.event)


KEPT_CAPTION: Final = "Kept invitations"
UNREAD_CAPTION: Final = "Lists not read; nothing is deleted there"
MAX_TABLE_ROWS: Final = 500
"""Rows of a table of the report; the audit log has all."""


_KEEP_ENTRY: Final = "keep:"
"""How the reason of an invitation begins that a keep entry kept."""


def kept_rows(record: RunRecord, run_rows: RunRows) -> Iterator[Row]:
    """Yield the kept invitations, of a run that recorded them."""
    for kept in kept_lines(record):
        if run_rows.is_about(kept.org_id):
            yield run_rows.row(kept)


def kept_by_entry(record: RunRecord, run_rows: RunRows) -> Iterator[Row]:
    """Yield the invitations that a keep entry kept, of a run that recorded them."""
    # Of a year of nights most kept lines are of other reasons: they are not decoded.
    for kept in kept_lines(record, f'"reason":"{_KEEP_ENTRY}'.encode()):
        if kept.reason.startswith(_KEEP_ENTRY) and run_rows.is_about(kept.org_id):
            yield run_rows.row(kept)


def kept_lines(record: RunRecord, part: bytes = b"") -> Iterator[Kept]:
    """Yield the lines about kept invitations, as far as the file can be read.

    They are read anew each time, and not held in memory: a run may keep far more invitations than
    it deletes.

    Args:
        part: Bytes that a line must contain.
    """
    chain = FileChain(record.file)
    with suppress(RunError):  # the verification names the file
        for line in chain:
            if line.header.event != Kept.event or part not in line.raw:
                continue
            kept = chain.decode(line)
            if isinstance(kept, Kept):
                yield kept
