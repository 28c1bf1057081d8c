"""Read a run back from its file, for the terminal, for JSON and as tables for the report."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count, islice
from typing import Any, Final, NamedTuple

from msgspec import structs

from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.events import (
    Announced,
    Event,
    Intent,
    KeepEntry,
    Kept,
    OutcomeLine,
    Planned,
    RunFinished,
    WouldBeAnnounced,
)
from invite_sweeper.audit.reader import FileChain, read_events
from invite_sweeper.endings import Advisor
from invite_sweeper.errors import RunError
from invite_sweeper.models import Invitation, InvitationKey, ListUnreadable, SourceRetired
from invite_sweeper.report.rows import (
    AGE,
    ID,
    INVITED,
    INVITER,
    LIST,
    NO_OUTCOME,
    PLACE_WITH_ORGANIZATION,
    ROLES,
    Column,
    Line,
    Row,
    full_place_name,
    invitation_columns,
    sorted_rows,
    text_cell,
)
from invite_sweeper.report.story import advisor_of
from invite_sweeper.sweep.selection import describe_keep_reason
from invite_sweeper.text import escape_unprintable, truncate


class Unread(NamedTuple):
    """A list that could not be read: the name of its project or organization, and why."""

    place: str
    reason: str


@dataclass(slots=True)
class RunRows:
    """What the file of a run says of invitations, in the order of its lines.

    Attributes:
        rows: The planned deletions with their outcomes; of a restore, who was invited again.
        announced: For a later deletion, or would be; the next to be deleted is first.
        is_whole: False if the file could not be read to its end.
    """

    rows: dict[InvitationKey, Row] = field(default_factory=dict)
    announced: list[Row] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    is_whole: bool = False

    def add(self, event: Event, labels: Mapping[str, str]) -> None:
        """Add a line.

        Args:
            labels: The organizations' names with their ids, by id.
        """
        match event:
            case Planned():
                self.rows[event.key] = row_of(event, labels)
            case Intent():
                self.rows.setdefault(event.key, row_of(event, labels)).outcome = NO_OUTCOME
            case OutcomeLine(recovers=None):  # else of another run, which planned it
                self.rows.setdefault(event.key, row_of(event, labels)).take(event)
            case Announced() | WouldBeAnnounced():
                self.announced.append(row_of(event, labels))
            case SourceRetired():
                pass
            case ListUnreadable():
                label = _label(event.org_id or "", labels)
                reason = escape_unprintable(truncate(event.reason))
                self.unread.append(Unread(full_place_name(event, label), reason))
            case _:
                pass

    def first(self, max_rows: int) -> list[Row]:
        """Return the first rows in their order: what failed, then of each organization as many."""
        turns = defaultdict[str, Iterator[int]](count)
        ordered = sorted_rows(self.rows.values())
        ordered.sort(key=lambda row: (not row.has_failed, next(turns[row.event.org_id])))
        return sorted_rows(ordered[:max_rows])


def read_rows(record: RunRecord) -> RunRows:
    """Return what is known of a run; of a file that cannot be read, what comes before."""
    found, labels = RunRows(), _labels(record)
    with suppress(RunError):  # the verification names the file, and the totals are known
        for line in read_events(record.file.path):
            found.add(line.event, labels)
        found.is_whole = True
    found.announced = sorted(sorted_rows(found.announced), key=lambda row: row.due)
    return found


def announced_as(record: RunRecord) -> tuple[str, str]:
    """Return what the announced invitations of a run are, and the event that records them."""
    if record.mode == "dry-run":
        return "Would be announced", WouldBeAnnounced.event
    return "Announced for a later deletion", Announced.event


UNREAD_CAPTION: Final = "Lists not read; nothing is deleted there"


def row_of(event: Invitation, labels: Mapping[str, str]) -> Row:
    """Return the row of an event."""
    return Row(event, _label(event.org_id, labels))


def _labels(record: RunRecord) -> dict[str, str]:
    organizations = record.end.organizations if record.end is not None else ()
    return {each.id: each.label for each in organizations}


def _label(org_id: str, labels: Mapping[str, str]) -> str:
    return escape_unprintable(labels.get(org_id, org_id))


MAX_PLANNED = 10_000
"""Planned invitations that the JSON result contains; the audit log has all."""


class PlannedResult(Planned, frozen=True, kw_only=True):
    """A planned invitation, and what became of it.

    Attributes:
        outcome: Only after a sweep.
    """

    outcome: str | None = None


class RunResult(RunFinished, frozen=True, kw_only=True):
    """What `--output json` prints: the first and the last line of a run, and its plan.

    Attributes:
        audit_file: The file of the run.
        audit_last_hash: SHA-256 of its last line, to be kept elsewhere.
        invitations: The planned invitations, at most 10,000.
        truncated: There are more, or the file could not be read; it has all.
    """

    run_id: str
    mode: str
    tool_version: str
    policy_sha256: str | None
    policy_path: str | None
    actors: Mapping[str, str]
    base_url: str
    now: str
    shard: str | None
    scope_sha256: str | None = None
    plan_sha256: str | None = None
    restores: str | None = None
    audit_file: str
    audit_last_hash: str
    invitations: tuple[PlannedResult, ...] = ()
    truncated: bool = False


def result_json(record: RunRecord) -> RunResult:
    """Return what `--output json` prints of a run that has ended."""
    assert record.start is not None  # noqa: S101 - a run that has ended began
    assert record.end is not None  # noqa: S101 - as above
    found = read_rows(record)
    fields = structs.asdict(record.start) | structs.asdict(record.end)
    planned = [row for row in found.rows.values() if isinstance(row.event, Planned)]
    return RunResult(
        **fields,
        run_id=record.run_id,
        audit_file=str(record.file.path),
        audit_last_hash=record.last_hash,
        invitations=tuple(map(planned_result, planned[:MAX_PLANNED])),
        truncated=len(planned) > MAX_PLANNED or (record.file.number > 0 and not found.is_whole),
    )


def planned_result(row: Row) -> PlannedResult:
    """Return a planned invitation, and what became of it."""
    outcome = None if row.outcome in {"", NO_OUTCOME} else row.outcome
    return PlannedResult(**structs.asdict(row.event), outcome=outcome)


# The tables of the report -------------------------------------------------------------------------

_MAX_TABLE_ROWS: Final = 500
_PLAN_CAPTIONS: Final = {
    "dry-run": "Invitations that would be deleted",
    "restore": "Deleted invitations and what became of them",
}


class Table(NamedTuple):
    """A table: rows, and the columns that return their cells.

    Attributes:
        key: Unique on the page; lower-case letters and hyphens.
        total: Number of rows, shown or not.
        command: Lists all rows.
    """

    key: str
    caption: str
    columns: tuple[Column[Any], ...]
    rows: Sequence[Any]
    total: int
    command: str = ""


_KEPT: Final = (
    AGE,
    INVITED,
    PLACE_WITH_ORGANIZATION,
    Column[Row]("Kept because", lambda row: text_cell(row.detail), "prose"),
    ROLES,
    INVITER,
    LIST,
    ID,
)
_UNREAD: Final = (
    Column[Unread]("Project", lambda each: (Line(each.place),)),
    Column[Unread]("Reason", lambda each: (Line(each.reason),), "prose"),
)
_KEEP_ENTRIES: Final = (
    Column[KeepEntry]("Name", lambda entry: text_cell(entry.name)),
    Column[KeepEntry]("Reason", lambda entry: text_cell(entry.reason), "prose"),
    Column[KeepEntry]("Until", lambda entry: text_cell(entry.until), "date"),
    Column[KeepEntry]("Kept", lambda entry: text_cell(f"{entry.matched:,}"), "number"),
)


def tables_of(record: RunRecord, advisor: Advisor) -> Iterator[Table]:
    """Yield the people of a run, and the lists that were not read; tables that are not empty."""
    end, found = record.end or RunFinished(exit_code=0), read_rows(record)
    show, most = advisor_of(record, advisor).show, _MAX_TABLE_ROWS
    rows, announced = found.first(most), found.announced[:most]
    caption = _PLAN_CAPTIONS.get(record.mode or "", "Planned deletions and what became of them")
    columns = [(*invitation_columns(each), LIST, ID) for each in (rows, announced)]
    due_caption, due_event = announced_as(record)
    tables = (
        Table(
            "unreadable",
            UNREAD_CAPTION,
            _UNREAD,
            found.unread[:most],
            end.projects_unreadable,
            show("--event", ListUnreadable.event),
        ),
        Table("invitations", caption, columns[0], rows, len(found.rows), show()),
        Table(
            "announced",
            due_caption,
            columns[1],
            announced,
            end.announced,
            show("--event", due_event),
        ),
        Table(
            "kept",
            "Kept invitations",
            _KEPT,
            tuple(islice(_kept(record), most)),
            end.kept,
            show("--event", Kept.event),
        ),
        Table(
            "keep-entries",
            "Keep entries of the policy",
            _KEEP_ENTRIES,
            end.keep_entries,
            len(end.keep_entries),
        ),
    )
    yield from (table for table in tables if table.rows)


def _kept(record: RunRecord) -> Iterator[Row]:
    """Yield the kept invitations, of a run that recorded them."""
    labels, chain = _labels(record), FileChain(record.file.path)
    with suppress(RunError):  # as above
        for line in chain:
            if line.header.event == Kept.event and isinstance(kept := chain.decode(line), Kept):
                yield replace(row_of(kept, labels), detail=describe_keep_reason(kept.reason))
