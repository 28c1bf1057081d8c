"""Read the invitations in the file of a run back, once for all outputs."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
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
class RecordedRun:
    """A run, and the invitations in its file, in the order of its lines.

    Attributes:
        labels: The organizations' names with their ids, by id; the last line of the file has them.
        invitations: The planned deletions with their outcomes; of a restore, who was invited again.
        announced: For a later deletion, or would be; the next to be deleted is first.
        unreadable: The lists that could not be read.
        kept: What it kept, where it recorded that: the policy has `audit.record: all`.
        is_whole: False if the file could not be read to its end.
        organization: The id of the one that it is about; None for all.
    """

    record: RunRecord
    labels: dict[str, str] = field(default_factory=dict)
    invitations: dict[InvitationKey, Row] = field(default_factory=dict)
    announced: list[Row] = field(default_factory=list)
    unreadable: list[ListUnreadable] = field(default_factory=list)
    kept: list[Row] = field(default_factory=list)
    is_whole: bool = False
    organization: str | None = None

    def is_about(self, org_id: str | None) -> bool:
        """Return whether what is of an organization belongs here."""
        return self.organization is None or org_id == self.organization

    @classmethod
    def of(cls, record: RunRecord) -> Self:
        """Return what is known of a run; of a file that cannot be read, what comes before."""
        run = cls(record)
        if record.end is not None:  # before the question, the file has no last line
            run.name_organizations(record.end)
        with suppress(RunError):  # the verification names the file, and the totals are known
            for _, event in FileChain(record.file).events():
                run.add(event)
            run.is_whole = True
        for planned in record.unwritten:
            run.add(planned)
        run.sort()
        return run

    @classmethod
    def whole(cls, chain: FileChain) -> Self:
        """Return a run with all that its file has.

        Raises:
            DamagedLog: The file is damaged.
        """
        run = cls(RunRecord(chain.file))
        run.read(chain, Fold(), with_kept=True)
        return run

    def read(self, chain: FileChain, fold: Fold, *, with_kept: bool = False) -> None:
        """Read the file of the run, and set the fields of its record.

        Args:
            fold: Of the runs before it.

        Raises:
            DamagedLog: The file is damaged; what comes before is known.
        """
        try:
            for _, event in fold.follow(self.record, chain):
                if not isinstance(event, Kept):
                    self.add(event)
                elif with_kept:
                    self.kept.append(self.row(event))
            self.is_whole = True
        finally:
            self.sort()
            if self.organization is not None:
                self.record = self.record.of_organization(self.organization, self.outcomes())

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

    def recover(self, known: RunRecord) -> None:
        """Set what later runs recorded, as the fold of all runs has it."""
        self.record.is_last = known.is_last
        for line, by in known.recovered_requests:
            if self.is_about(line.org_id):
                self.record.recover(line, by)
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
        """Return how many requests have each outcome."""
        outcomes = Counter(row.outcome for row in self.invitations.values())
        del outcomes[""], outcomes[NO_OUTCOME]
        return outcomes

    def without_done(self) -> Self:
        """Return a copy without the planned deletions that took place as planned."""
        done = {Outcome.DELETED, Outcome.RESTORED}
        rows = {key: row for key, row in self.invitations.items() if row.outcome not in done}
        return replace(self, invitations=rows)

    def without_sent(self) -> Self:
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


def kept_rows(run: RecordedRun) -> Iterator[Row]:
    """Yield the kept invitations, of a run that recorded them."""
    for kept in kept_lines(run.record):
        if run.is_about(kept.org_id):
            yield run.row(kept)


def kept_by_entry(run: RecordedRun) -> Iterator[Row]:
    """Yield the invitations that a keep entry kept, of a run that recorded them."""
    # Of a year of nights most kept lines are of other reasons: they are not decoded.
    for kept in kept_lines(run.record, f'"reason":"{_KEEP_ENTRY}'.encode()):
        if kept.reason.startswith(_KEEP_ENTRY) and run.is_about(kept.org_id):
            yield run.row(kept)


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
