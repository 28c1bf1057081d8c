"""Read the runs of one command back from their audit log, for the terminal and for JSON.

The log is read line by line; memory holds only what is shown.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from msgspec import structs

from invite_sweeper.audit.events import (
    Announced,
    Intent,
    InvitationFields,
    Line,
    OutcomeLine,
    Planned,
    ProjectUnreadable,
    RunStarted,
    decode,
)
from invite_sweeper.models import Outcome
from invite_sweeper.report.rows import (
    FAILED_OUTCOMES,
    NO_LABELS,
    Place,
    Row,
    merge_rows_by_user,
    place_of,
    row_of,
    row_order,
    sorted_rows,
)
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.text import escape_unprintable, to_datetime, to_text


def read_events(raw_lines: Iterable[bytes]) -> Iterator[Line]:
    """Yield the events of audit lines; what is not one, or of a later version, is skipped."""
    for raw in raw_lines:
        with suppress(ValueError):
            line = decode(raw)
            if line is not None:
                yield line


@dataclass(frozen=True, slots=True)
class UnreadableProject:
    """A project, or an organization's own list, that could not be read."""

    place: Place
    reason: str


@dataclass(frozen=True, slots=True)
class ProjectRows:
    """The planned deletions of one project, or of an organization's own lists.

    Attributes:
        rows: The first ones; at least one. Duplicates of a user are one row.
        hidden: Number of deletions that are not shown, here or in a row of another project.
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
    """What is shown of the runs of a command; all lists are truncated.

    Attributes:
        rows: The first planned deletions: owners first, then the oldest.
            A row that would be the only one not shown of its project is shown, too.
        counts: Number of planned deletions by the id of their project or organization.
        places: The projects and organizations of the plan, by id.
        oldest: Oldest invitation of the whole plan; None if the plan is empty.
        newest: Newest invitation of the whole plan; None if the plan is empty.
        failed: The first deletions that did not go as planned.
        owners: Number of planned invitations of owners.
        bounced: Number of planned invitations that were deleted before.
        announced: The first invitations that were announced for a later deletion.
        unreadable: The first projects that could not be read.
        by_organization: Number of invitations by organization id and outcome; `planned` for
            those in the plan, `no_outcome` for requests without a result.
        deleting_s: Seconds from the first request to the last response; None if none was sent.
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
    by_organization: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    deleting_s: float | None = None

    @property
    def planned(self) -> int:
        """Number of deletions in the plan."""
        return sum(self.counts.values())

    @property
    def organization_lists(self) -> int:
        """Number of organizations whose own lists are in the plan."""
        return sum(place.project_id is None for place in self.places.values())

    @property
    def organizations(self) -> tuple[str, ...]:
        """Labels of the plan's organizations, sorted."""
        return tuple(sorted({place.organization for place in self.places.values()}))

    @property
    def projects(self) -> int:
        """Number of projects in the plan."""
        return len(self.counts) - self.organization_lists

    @property
    def max_in_project(self) -> int:
        """Most deletions planned in one project."""
        return max(self.counts.values(), default=0)

    def by_place(self) -> tuple[ProjectRows, ...]:
        """Return the rows by organization and project, each in the order of its first row.

        An organization's own lists come before its projects. Duplicate invitations of a user
        are one row.
        """
        rows_by_place: dict[str, list[Row]] = {}
        for row in merge_rows_by_user(self.rows):
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

    def hidden_by_organization(self) -> Mapping[str, Sequence[int]]:
        """Return the number of deletions of each place of which none is shown."""
        shown = {row.place.id for row in self.rows}
        hidden: dict[str, list[int]] = {}
        for id_, count in self.counts.items():
            if id_ not in shown:
                hidden.setdefault(self.places[id_].organization, []).append(count)
        return hidden


def load_run_view(
    path: Path,
    run_ids: Collection[str],
    *,
    start: int,
    max_rows: int,
    labels: Mapping[str, str] = NO_LABELS,
) -> RunView:
    """Read what a terminal shows of the runs of one command.

    Args:
        path: The audit log.
        run_ids: The runs; lines of other runs are skipped.
        start: Byte offset of their first line in the log.
        max_rows: Maximum number of rows, of failures and of unreadable projects.
        labels: The organizations' names with their ids, by id.

    Raises:
        OSError: The log cannot be read.
    """
    return read_view(_raw_lines(path, start), run_ids, max_rows=max_rows, labels=labels)


def read_view(
    raw_lines: Iterable[bytes],
    run_ids: Collection[str],
    *,
    max_rows: int,
    labels: Mapping[str, str] = NO_LABELS,
) -> RunView:
    """Return what is shown of runs; see `load_run_view`."""
    reader = _RunReader(max_rows, labels)
    for line in read_events(raw_lines):
        if line.run_id in run_ids:
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


def load_planned(
    path: Path, run_ids: Collection[str], *, start: int, max_rows: int = MAX_PLANNED
) -> tuple[list[PlannedResult], bool]:
    """Read the planned invitations of the runs of one command, with their outcomes.

    Args:
        path: The audit log.
        run_ids: The runs; lines of other runs are skipped.
        start: Byte offset of their first line in the log.
        max_rows: Maximum number of invitations.

    Returns:
        The invitations, in the order of the log, and whether there are more.

    Raises:
        OSError: The log cannot be read.
    """
    planned: dict[Hashable, Planned] = {}
    outcomes: dict[Hashable, str] = {}
    truncated = False
    for line in read_events(_raw_lines(path, start)):
        event = line.event
        if line.run_id not in run_ids:
            continue
        if isinstance(event, OutcomeLine):
            if event.key in planned and event.recovers is None:
                outcomes[event.key] = event.outcome
        elif isinstance(event, Planned):
            if len(planned) < max_rows:
                planned[event.key] = event
            else:
                truncated = True
    rows = [
        PlannedResult(**structs.asdict(each), outcome=outcomes.get(key))
        for key, each in planned.items()
    ]
    return rows, truncated


def _raw_lines(path: Path, start: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        yield from file


class _RunReader:
    """Collects the lines of runs in log order."""

    def __init__(self, max_rows: int, labels: Mapping[str, str]) -> None:
        self._max_rows = max_rows
        self._labels = labels
        self._counts: Counter[str] = Counter()
        self._first: list[tuple[tuple[object, ...], InvitationFields]] = []
        self._shown: set[Hashable] | None = None  # keys of `_first`; None before an outcome
        self._outcomes: dict[Hashable, OutcomeLine] = {}
        self._places: dict[str, Place] = {}
        self._last: dict[str, tuple[tuple[object, ...], InvitationFields]] = {}  # by place
        self._owners = 0
        self._bounced = 0
        self._oldest: InvitationFields | None = None
        self._newest: InvitationFields | None = None
        self._failed: list[OutcomeLine] = []
        self._announced: list[Announced] = []
        self._unreadable: list[UnreadableProject] = []
        self._open: dict[Hashable, str] = {}  # requests without a result, with organization
        self._by_organization: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._restored: set[Hashable] | None = None  # in a restore, which has no plan
        self._started_at: datetime | None = None
        self._ended_at: datetime | None = None

    def add(self, line: Line) -> None:
        match line.event:
            case RunStarted() as start:
                self._restored = set() if start.mode == "restore" else None
            case Planned() as planned:
                self._add_planned(planned)
            case Intent() as intent:
                self._started_at = self._started_at or to_datetime(line.ts)
                self._open[intent.key] = intent.org_id
                self._add_restored(intent)
            case OutcomeLine() as outcome:
                self._add_outcome(outcome, line.ts)
            case Announced() as announced if len(self._announced) < self._max_rows:
                self._announced.append(announced)
            case ProjectUnreadable() as each if len(self._unreadable) < self._max_rows:
                reason = escape_unprintable(to_text(each.reason))
                self._unreadable.append(UnreadableProject(place_of(each, self._labels), reason))
            case _:
                pass

    def _add_planned(self, planned: InvitationFields) -> None:
        id_ = planned.scope_id
        if id_ not in self._counts:
            self._places[id_] = place_of(planned, self._labels)
        self._counts[id_] += 1
        self._by_organization[planned.org_id]["planned"] += 1
        self._bounced += isinstance(planned, Planned) and bool(planned.bounced)
        age = planned.age_days or 0.0
        if self._oldest is None or age > (self._oldest.age_days or 0.0):
            self._oldest = planned
        if self._newest is None or age < (self._newest.age_days or 0.0):
            self._newest = planned
        self._shown = None
        order = row_order(planned)
        self._owners += not order[0]
        self._first.append((order, planned))
        self._last[id_] = max(self._last.get(id_, (order, planned)), (order, planned), key=_order)
        if len(self._first) > 2 * self._max_rows:
            self._cut()

    def _add_restored(self, event: InvitationFields) -> None:
        if self._restored is not None and event.key not in self._restored:
            self._restored.add(event.key)
            self._add_planned(event)

    def _cut(self) -> None:
        """Leave the first rows in order, so that memory is bounded."""
        self._first.sort(key=_order)
        del self._first[self._max_rows :]

    def _select(self) -> None:
        """Leave the rows to show: the first, and any that would be the only one not shown."""
        self._cut()
        shown = Counter(planned.scope_id for _, planned in self._first)
        self._first += [
            self._last[id_] for id_, count in shown.items() if self._counts[id_] - count == 1
        ]

    def _add_outcome(self, line: OutcomeLine, ts: str) -> None:
        self._open.pop(line.key, None)
        if line.recovers is not None:
            return  # of another run, which planned it
        self._by_organization[line.org_id][line.outcome] += 1
        self._add_restored(line)
        if self._shown is None:
            self._select()
            self._shown = {planned.key for _, planned in self._first}
        if line.outcome != Outcome.SKIPPED:
            self._ended_at = to_datetime(ts) or self._ended_at
        if line.key in self._shown:
            self._outcomes[line.key] = line
        if line.outcome in FAILED_OUTCOMES and len(self._failed) < self._max_rows:
            self._failed.append(line)

    def view(self) -> RunView:
        if self._shown is None:
            self._select()
        for org_id in self._open.values():
            self._by_organization[org_id]["no_outcome"] += 1
        ended, started = self._ended_at, self._started_at
        duration = ended - started if ended and started else None
        return RunView(
            rows=tuple(self._row(planned) for _, planned in self._first),
            counts=dict(self._counts),
            places=self._places,
            oldest=row_of(self._oldest, self._labels) if self._oldest is not None else None,
            newest=row_of(self._newest, self._labels) if self._newest is not None else None,
            failed=sorted_rows(self._failed, self._labels),
            owners=self._owners,
            bounced=self._bounced,
            announced=sorted_rows(self._announced, self._labels),
            unreadable=tuple(self._unreadable),
            by_organization=dict(self._by_organization),
            deleting_s=duration.total_seconds() if duration is not None else None,
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


def _order(row: tuple[tuple[object, ...], InvitationFields]) -> tuple[object, ...]:
    return row[0]


_MAX_KEPT = 1_000


class KeptInvitations:
    """The first kept invitations, by reason, for `-v`: the audit log has only their number.

    Args:
        now: Start of the run; ages refer to it.
        max_rows: Maximum number of invitations in memory.
    """

    def __init__(self, now: datetime, max_rows: int = _MAX_KEPT) -> None:
        self._now = now
        self._rows_left = max_rows
        self._kept: dict[str, list[Planned]] = defaultdict(list)

    def record(self, decision: Decision) -> Decision:
        """Record a decision to keep, up to the limit; return the decision unchanged."""
        if decision.keep_reason is not None and self._rows_left:
            self._rows_left -= 1
            invitation, bounced = decision.invitation, decision.bounced
            kept = Planned.from_invitation(invitation, self._now, rule="", bounced=bounced)
            self._kept[decision.keep_reason].append(kept)
        return decision

    def rows(self, reason: str, labels: Mapping[str, str] = NO_LABELS) -> tuple[Row, ...]:
        """Return the rows of the invitations that were kept for a reason."""
        return sorted_rows(self._kept.get(reason, ()), labels)
