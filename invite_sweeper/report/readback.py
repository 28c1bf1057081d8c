"""Read a run back from its file, for the terminal, for JSON and as tables for the report.

The log is read line by line; memory holds only what is shown.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from msgspec import structs

from invite_sweeper.audit import LineFilter, RunRecord, filter_lines
from invite_sweeper.audit.events import (
    Announced,
    Intent,
    InvitationFields,
    KeepEntry,
    Kept,
    Line,
    OutcomeLine,
    Planned,
    ProjectUnreadable,
    RunFinished,
    RunStarted,
    WouldBeAnnounced,
)
from invite_sweeper.audit.reader import read_events
from invite_sweeper.errors import RunError
from invite_sweeper.report.rows import (
    AGE,
    FAILED_OUTCOMES,
    ID,
    INVITED,
    INVITER,
    LIST,
    NO_LABELS,
    PLACE_WITH_ORGANIZATION,
    ROLES,
    Column,
    Place,
    Row,
    invitation_columns,
    place_of,
    row_of,
    row_order,
    sorted_rows,
    text_cell,
)
from invite_sweeper.report.story import Facts, advisor_of
from invite_sweeper.report.text import describe_keep_reason, display_text
from invite_sweeper.text import escape_unprintable, truncate


@dataclass(frozen=True, slots=True)
class UnreadableProject:
    """A project, or an organization's own list, that could not be read."""

    place: Place
    reason: str


@dataclass(frozen=True, slots=True)
class ProjectRows:
    """The planned deletions of one project, or of an organization's own lists.

    Attributes:
        rows: The first ones; at least one.
        hidden: Number of deletions that are not shown.
    """

    rows: tuple[Row, ...]
    hidden: int

    @property
    def place(self) -> Place:
        """The project or organization."""
        return self.rows[0].place

    @property
    def count(self) -> int:
        """Number of rows, shown or not."""
        return len(self.rows) + self.hidden


@dataclass(frozen=True, slots=True)
class RunView:
    """What is shown of a run; all lists are truncated.

    Attributes:
        rows: The first planned deletions: what did not go as planned, then of each organization
            owners first, then the oldest.
        counts: Number of planned deletions by the id of their project or organization.
        places: The projects and organizations of the plan, by id.
        oldest: Oldest invitation of the whole plan; None if the plan is empty.
        newest: Newest invitation of the whole plan; None if the plan is empty.
        failed: The first deletions that did not go as planned.
        owners: Number of planned invitations of owners.
        bounced: Number of planned invitations that were deleted before.
        announced: The first invitations that were announced for a later deletion, or would be.
        unreadable: The first projects that could not be read.
    """

    rows: tuple[Row, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    oldest: Row | None = None
    newest: Row | None = None
    failed: tuple[Row, ...] = ()
    owners: int = 0
    bounced: int = 0
    announced: tuple[Row, ...] = ()
    unreadable: tuple[UnreadableProject, ...] = ()

    @property
    def planned(self) -> int:
        """Number of deletions in the plan."""
        return sum(self.counts.values())

    @property
    def organizations(self) -> tuple[str, ...]:
        """Labels of the plan's organizations, sorted."""
        return tuple(sorted({place.organization for place in self.places.values()}))

    @property
    def max_in_project(self) -> int:
        """Most deletions planned in one project."""
        return max(self.counts.values(), default=0)

    def by_place(self) -> tuple[ProjectRows, ...]:
        """Return the rows by organization and project, each in the order of its first row.

        An organization's own lists come before its projects.
        """
        rows_by_place: dict[str, list[Row]] = {}
        for row in self.rows:
            rows_by_place.setdefault(row.place.id, []).append(row)
        shown = Counter(row.place.id for row in self.rows)
        groups = [
            ProjectRows(tuple(rows), self.counts[id_] - shown[id_])
            for id_, rows in rows_by_place.items()
        ]
        organizations = list(dict.fromkeys(each.place.org_id for each in groups))
        groups.sort(
            key=lambda each: (
                organizations.index(each.place.org_id),
                each.place.project_id is not None,
            )
        )
        return tuple(groups)


def read_view(path: Path, *, max_rows: int, labels: Mapping[str, str] = NO_LABELS) -> RunView:
    """Return what is shown of a run; an empty view if its file cannot be read: totals suffice.

    Args:
        path: The file of the run.
        max_rows: Maximum number of rows, of failures and of unreadable projects.
        labels: The organizations' names with their ids, by id.
    """
    reader = _RunReader(max_rows, labels)
    with suppress(RunError):
        for line in read_events(path):
            reader.add(line)
    return reader.view()


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
    planned, truncated = load_planned(record.file.path) if record.file.number else ((), False)
    fields = structs.asdict(record.start) | structs.asdict(record.end)
    return RunResult(
        **fields,
        run_id=record.run_id,
        audit_file=str(record.file.path),
        audit_last_hash=record.last_hash,
        invitations=planned,
        truncated=truncated,
    )


def load_planned(
    path: Path, *, max_rows: int = MAX_PLANNED
) -> tuple[tuple[PlannedResult, ...], bool]:
    """Read the planned invitations of a run, with their outcomes.

    Returns:
        The invitations, in the order of the file, and whether there are more.
    """
    planned: dict[Hashable, Planned] = {}
    outcomes: dict[Hashable, str] = {}
    truncated = False
    try:
        for line in read_events(path):
            event = line.event
            if isinstance(event, OutcomeLine):
                if event.key in planned and event.recovers is None:
                    outcomes[event.key] = event.outcome
            elif isinstance(event, Planned):
                if len(planned) < max_rows:
                    planned[event.key] = event
                else:
                    truncated = True
    except RunError:
        truncated = True
    rows = (
        PlannedResult(**structs.asdict(each), outcome=outcomes.get(key))
        for key, each in planned.items()
    )
    return tuple(rows), truncated


_Order: TypeAlias = tuple[object, ...]
_Ordered: TypeAlias = tuple[_Order, InvitationFields]


class _FirstRows:
    """The first events in the order of rows, whatever the order in which they arrive."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._events: list[_Ordered] = []

    def add(self, event: InvitationFields) -> _Order:
        """Add an event; return its place in the order."""
        order = row_order(event)
        self._events.append((order, event))
        if len(self._events) > 2 * self._max_rows:
            self._cut()
        return order

    def events(self) -> Iterator[InvitationFields]:
        """Return the first events in their order."""
        self._cut()
        return (event for _, event in self._events)

    def _cut(self) -> None:
        self._events.sort(key=itemgetter(0))
        del self._events[self._max_rows :]


class _RunReader:
    """Collects the lines of runs in log order."""

    def __init__(self, max_rows: int, labels: Mapping[str, str]) -> None:
        self._max_rows = max_rows
        self._labels = labels
        self._counts: Counter[str] = Counter()
        self._first = defaultdict[str, _FirstRows](lambda: _FirstRows(max_rows))  # by organization
        self._shown: set[Hashable] | None = None  # keys of `_first`; None before an outcome
        self._outcomes: dict[Hashable, OutcomeLine] = {}
        self._places: dict[str, Place] = {}
        self._owners = 0
        self._bounced = 0
        self._oldest: _Ordered | None = None
        self._newest: _Ordered | None = None
        self._failed = _FirstRows(max_rows)
        self._announced = _FirstRows(max_rows)
        self._unreadable: list[UnreadableProject] = []
        self._open: set[Hashable] = set()  # requests without a result
        self._restored: set[Hashable] | None = None  # in a restore, which has no plan

    def add(self, line: Line) -> None:
        match line.event:
            case RunStarted() as start:
                self._restored = set() if start.mode == "restore" else None
            case Planned() as planned:
                self.add_planned(planned)
            case Intent() as intent:
                self._open.add(intent.key)
                self._add_restored(intent)
            case OutcomeLine() as outcome:
                self._add_outcome(outcome)
            case Announced() | WouldBeAnnounced() as announced:
                self._announced.add(announced)
            case ProjectUnreadable() as each if len(self._unreadable) < self._max_rows:
                reason = escape_unprintable(truncate(each.reason))
                self._unreadable.append(UnreadableProject(place_of(each, self._labels), reason))
            case _:
                pass

    def add_planned(self, planned: InvitationFields) -> None:
        """Add a planned invitation, or one that a restore invited again."""
        id_ = planned.scope_id
        if id_ not in self._counts:
            self._places[id_] = place_of(planned, self._labels)
        self._counts[id_] += 1
        self._bounced += isinstance(planned, Planned) and bool(planned.bounced)
        self._shown = None
        order = self._first[planned.org_id].add(planned)
        self._owners += not order[0]
        aged = ((planned.age_days or 0.0, *order[2:]), planned)
        self._oldest = max(self._oldest or aged, aged, key=itemgetter(0))
        self._newest = min(self._newest or aged, aged, key=itemgetter(0))

    def _add_restored(self, event: InvitationFields) -> None:
        if self._restored is not None and event.key not in self._restored:
            self._restored.add(event.key)
            self.add_planned(event)

    def _select(self) -> list[InvitationFields]:
        """Return the rows to show: the first of each organization, at least one, in their order."""
        ranked = [
            (rank, row_order(event), event)
            for rows in self._first.values()
            for rank, event in enumerate(rows.events())
        ]
        ranked.sort(key=itemgetter(0, 1))
        first = (event for *_, event in ranked[: max(self._max_rows, len(self._first))])
        return sorted(first, key=row_order)

    def _add_outcome(self, line: OutcomeLine) -> None:
        self._open.discard(line.key)
        if line.recovers is not None:
            return  # of another run, which planned it
        self._add_restored(line)
        if self._shown is None:
            self._shown = {planned.key for planned in self._select()}
        if line.key in self._shown:
            self._outcomes[line.key] = line
        if line.outcome in FAILED_OUTCOMES:
            self._failed.add(line)

    def view(self) -> RunView:
        events = tuple(self._failed.events())
        failed, keys = sorted_rows(events, self._labels), {each.key for each in events}
        return RunView(
            rows=(*failed, *(self._row(each) for each in self._select() if each.key not in keys)),
            counts=dict(self._counts),
            places=self._places,
            oldest=row_of(self._oldest[1], self._labels) if self._oldest else None,
            newest=row_of(self._newest[1], self._labels) if self._newest else None,
            failed=failed,
            owners=self._owners,
            bounced=self._bounced,
            announced=sorted_rows(self._announced.events(), self._labels),
            unreadable=tuple(self._unreadable),
        )

    def _row(self, planned: InvitationFields) -> Row:
        row = row_of(planned, self._labels)
        if planned.key in self._open:
            return replace(row, outcome="no_outcome")
        ended = self._outcomes.get(planned.key)
        if ended is None:
            return row
        outcome = row_of(ended, self._labels)
        return replace(row, outcome=outcome.outcome, detail=outcome.detail)


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
    total: int = 0
    command: str = ""


_KEPT: Final = (
    *(AGE, INVITED, PLACE_WITH_ORGANIZATION),
    Column[Row]("Kept because", lambda row: text_cell(row.detail), "prose"),
    *(ROLES, INVITER, LIST, ID),
)
_UNREADABLE: Final = (
    Column[UnreadableProject]("Project", lambda each: text_cell(each.place.full_name)),
    Column[UnreadableProject]("Reason", lambda each: text_cell(each.reason), "prose"),
)
_KEEP_ENTRIES: Final = (
    Column[KeepEntry]("Name", lambda entry: text_cell(display_text(entry.name))),
    Column[KeepEntry]("Reason", lambda entry: text_cell(display_text(entry.reason)), "prose"),
    Column[KeepEntry]("Until", lambda entry: text_cell(display_text(entry.until)), "date"),
    Column[KeepEntry]("Kept", lambda entry: text_cell(f"{entry.matched:,}"), "number"),
)


def tables_of(record: RunRecord, facts: Facts) -> Iterator[Table]:
    """Yield the people of a run, and the lists that were not read; tables that are not empty."""
    end = record.end or RunFinished(exit_code=0)
    labels = {each.id: each.label for each in end.organizations}
    view = read_view(record.file.path, max_rows=_MAX_TABLE_ROWS, labels=labels)
    announced = sorted(view.announced, key=lambda row: row.deletable_from)
    show, is_dry = advisor_of(record, facts).show, record.mode == "dry-run"
    tables = (
        Table(
            "unreadable",
            "Lists not read; nothing is deleted there",
            _UNREADABLE,
            view.unreadable,
            end.projects_unreadable,
            show("--event", "project_unreadable"),
        ),
        Table(
            "invitations",
            _PLAN_CAPTIONS.get(record.mode or "", "Planned deletions and what became of them"),
            (*invitation_columns(view.rows), LIST, ID),
            view.rows,
            view.planned,
            show(),
        ),
        Table(
            "announced",
            "Would be announced" if is_dry else "Announced for a later deletion",
            (*invitation_columns(announced), LIST, ID),
            announced,
            end.announced,
            show("--event", "would_be_announced" if is_dry else "announced"),
        ),
        Table(
            "kept",
            "Kept invitations",
            _KEPT,
            tuple(islice(_kept(record, labels), _MAX_TABLE_ROWS)),
            end.kept,
            show("--event", "kept"),
        ),
        Table(
            "keep-entries",
            "Keep entries of the policy",
            _KEEP_ENTRIES,
            end.keep_entries,
        ),
    )
    yield from (table for table in tables if table.rows)


def _kept(record: RunRecord, labels: Mapping[str, str]) -> Iterator[Row]:
    """Yield the kept invitations, of a run that recorded them."""
    with suppress(RunError, msgspec.ValidationError):  # the verification names the file
        for fields, _ in filter_lines(record.file.path, LineFilter(event=Kept.event)):
            kept = msgspec.convert(fields, Kept)
            yield replace(row_of(kept, labels), detail=describe_keep_reason(kept.reason))
