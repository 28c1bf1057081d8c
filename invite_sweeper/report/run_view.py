"""Read the runs of one command back from their audit log, for the terminal and for JSON.

The log is read line by line; memory holds only what is shown.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from invite_sweeper.audit import invitation_fields
from invite_sweeper.json_text import parse_json
from invite_sweeper.report.rows import (
    FAILED_OUTCOMES,
    NO_LABELS,
    Place,
    Row,
    merge_rows_by_user,
    place_of_fields,
    row_of_fields,
    row_order,
)
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.text import escape_unprintable, to_datetime, to_float, to_text


def parse_log_line(raw: bytes) -> Mapping[str, object] | None:
    """Return an audit line as an object; None if it is not a JSON object.

    The standard library's lenient parser also reads what `parse_json` rejects (a lone surrogate,
    bytes that are not UTF-8), so that they are shown rather than hidden.
    """
    try:
        found: object = parse_json(raw)
    except ValueError:
        try:
            found = json.loads(raw.decode("utf-8", "backslashreplace"))
        except (ValueError, RecursionError):
            return None
    return found if isinstance(found, dict) else None


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
        count: Number of planned deletions, shown or not.
        hidden: Number of deletions that are not shown.
    """

    rows: tuple[Row, ...]
    count: int
    hidden: int

    @property
    def place(self) -> Place:
        """The project or organization."""
        return self.rows[0].place


@dataclass(frozen=True, slots=True)
class RunView:
    """What is shown of the runs of a command; all lists are truncated.

    Attributes:
        rows: The first planned deletions: owners first, then the oldest.
        counts: Number of planned deletions by the id of their project or organization.
        organization_lists: Number of organizations whose own lists are in the plan.
        organizations: Labels of the plan's organizations, sorted.
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
    organization_lists: int = 0
    organizations: tuple[str, ...] = ()
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
    def projects(self) -> int:
        """Number of projects in the plan."""
        return len(self.counts) - self.organization_lists

    @property
    def max_in_project(self) -> int:
        """Most deletions planned in one project."""
        return max(self.counts.values(), default=0)

    def by_place(self) -> tuple[ProjectRows, ...]:
        """Return the rows by project, in the order of each project's first row.

        Duplicate invitations of a user are one row.
        """
        rows_by_place: dict[str, list[Row]] = {}
        shown: Counter[str] = Counter()
        for row in merge_rows_by_user(self.rows):
            rows_by_place.setdefault(row.place.id, []).append(row)
            shown.update(each.place.id for each in (row, *row.duplicates))
        return tuple(
            ProjectRows(tuple(rows), self.counts[id_], self.counts[id_] - shown[id_])
            for id_, rows in rows_by_place.items()
        )


_Line: TypeAlias = Mapping[str, object]
_Key: TypeAlias = tuple[str, str, str, str]

_HEADER_BYTES = 160
"""`ts`, `run_id`, `seq` and `event` are within these first bytes of a line."""
_PLAN_MARKS = (b'"event":"planned"', b'"event":"outcome"')


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
    for raw in raw_lines:
        line = parse_log_line(raw)
        if line is not None and line.get("run_id") in run_ids:
            reader.add(line)
    return reader.view()


MAX_PLANNED = 10_000
"""Planned invitations that the JSON result contains; the audit log has all."""
_HEADER_FIELDS = frozenset({"ts", "run_id", "seq", "event", "prev"})


def load_planned(
    path: Path, run_ids: Collection[str], *, start: int, max_rows: int = MAX_PLANNED
) -> tuple[list[dict[str, object]], bool]:
    """Read the planned invitations of the runs of one command, with their outcomes.

    Args:
        path: The audit log.
        run_ids: The runs; lines of other runs are skipped.
        start: Byte offset of their first line in the log.
        max_rows: Maximum number of invitations.

    Returns:
        The fields of each invitation, in the order of the log, and whether there are more.

    Raises:
        OSError: The log cannot be read.
    """
    planned: dict[_Key, dict[str, object]] = {}
    truncated = False
    for raw in _raw_lines(path, start):
        if not any(mark in raw[:_HEADER_BYTES] for mark in _PLAN_MARKS):
            continue
        line = parse_log_line(raw)
        if line is None or line.get("run_id") not in run_ids:
            continue
        key = _key(line)
        if line.get("event") == "outcome":
            if key in planned and "recovers" not in line:
                planned[key]["outcome"] = line.get("outcome")
        elif len(planned) < max_rows:
            planned[key] = {k: v for k, v in line.items() if k not in _HEADER_FIELDS}
        else:
            truncated = True
    return list(planned.values()), truncated


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
        self._first: list[tuple[tuple[object, ...], _Line]] = []
        self._shown: set[_Key] | None = None  # of `_first`; None while there is no outcome
        self._outcomes: dict[_Key, _Line] = {}
        self._places: dict[str, Place] = {}
        self._owners = 0
        self._bounced = 0
        self._oldest: tuple[float, _Line] | None = None
        self._newest: tuple[float, _Line] | None = None
        self._failed: list[_Line] = []
        self._announced: list[_Line] = []
        self._unreadable: list[UnreadableProject] = []
        self._open: dict[_Key, str] = {}  # requests without a result, with their organization
        self._by_organization: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._restored: set[_Key] | None = None  # in a restore, which has no plan
        self._started_at: datetime | None = None
        self._ended_at: datetime | None = None

    def add(self, line: _Line) -> None:
        match line.get("event"):
            case "run_started":
                self._restored = set() if line.get("mode") == "restore" else None
            case "planned":
                self._add_planned(line)
            case "intent":
                self._started_at = self._started_at or to_datetime(line.get("ts"))
                self._open[_key(line)] = to_text(line.get("org_id"))
                self._add_restored(line)
            case "outcome":
                self._add_outcome(line)
            case "announced" if len(self._announced) < self._max_rows:
                self._announced.append(line)
            case "project_unreadable" if len(self._unreadable) < self._max_rows:
                place = place_of_fields(line, self._labels)
                reason = escape_unprintable(to_text(line.get("reason")))
                self._unreadable.append(UnreadableProject(place, reason))

    def _add_planned(self, line: _Line) -> None:
        project_id, org_id = line.get("project_id"), line.get("org_id")
        key = to_text(project_id or org_id)
        if key not in self._counts:
            self._places[key] = place_of_fields(line, self._labels)
        self._counts[key] += 1
        self._by_organization[to_text(org_id)]["planned"] += 1
        self._bounced += bool(line.get("bounced"))
        aged = (to_float(line.get("age_days")) or 0.0, line)
        if self._oldest is None or aged[0] > self._oldest[0]:
            self._oldest = aged
        if self._newest is None or aged[0] < self._newest[0]:
            self._newest = aged
        self._shown = None
        order = row_order(line)
        self._owners += not order[0]
        self._first.append((order, line))
        if len(self._first) > 2 * self._max_rows:
            self._cut()

    def _add_restored(self, line: _Line) -> None:
        if self._restored is not None and (key := _key(line)) not in self._restored:
            self._restored.add(key)
            self._add_planned(line)

    def _cut(self) -> None:
        """Leave the first rows in order, so that memory is bounded."""
        self._first.sort(key=lambda each: each[0])
        del self._first[self._max_rows :]

    def _add_outcome(self, line: _Line) -> None:
        self._open.pop(_key(line), None)
        if "recovers" in line:
            return  # of another run, which planned it
        self._by_organization[to_text(line.get("org_id"))][to_text(line.get("outcome"))] += 1
        self._add_restored(line)
        if self._shown is None:
            self._cut()
            self._shown = {_key(planned) for _, planned in self._first}
        if line.get("outcome") != "skipped":
            self._ended_at = to_datetime(line.get("ts")) or self._ended_at
        if (key := _key(line)) in self._shown:
            self._outcomes[key] = line
        if line.get("outcome") in FAILED_OUTCOMES and len(self._failed) < self._max_rows:
            self._failed.append(line)

    def view(self) -> RunView:
        self._cut()
        for org_id in self._open.values():
            self._by_organization[org_id]["no_outcome"] += 1
        ended, started = self._ended_at, self._started_at
        duration = ended - started if ended and started else None
        places = self._places.values()
        return RunView(
            rows=tuple(self._row(line) for _, line in self._first),
            counts=dict(self._counts),
            organization_lists=sum(place.project_id is None for place in places),
            organizations=tuple(sorted({place.organization for place in places})),
            oldest=self._row(self._oldest[1]) if self._oldest is not None else None,
            newest=self._row(self._newest[1]) if self._newest is not None else None,
            failed=self._rows(self._failed),
            owners=self._owners,
            bounced=self._bounced,
            announced=self._rows(self._announced),
            unreadable=tuple(self._unreadable),
            by_organization=dict(self._by_organization),
            deleting_s=duration.total_seconds() if duration is not None else None,
        )

    def _rows(self, lines: Iterable[_Line]) -> tuple[Row, ...]:
        return tuple(row_of_fields(line, self._labels) for line in sorted(lines, key=row_order))

    def _row(self, planned: _Line) -> Row:
        row, key = row_of_fields(planned, self._labels), _key(planned)
        if key in self._open:
            return replace(row, outcome="no_outcome")
        ended = self._outcomes.get(key)
        if ended is None:
            return row
        outcome = row_of_fields(ended, self._labels)
        return replace(row, outcome=outcome.outcome, detail=outcome.detail)


def _key(line: _Line) -> _Key:
    return (
        to_text(line.get("source")),
        to_text(line.get("org_id")),  # a user has the same id in two organizations
        to_text(line.get("project_id")),
        to_text(line.get("invitation_id")),
    )


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
        self._lines: dict[str, list[_Line]] = defaultdict(list)

    def record(self, decision: Decision) -> Decision:
        """Record a decision to keep, up to the limit; return the decision unchanged."""
        if decision.keep_reason is not None and self._rows_left:
            self._rows_left -= 1
            fields = invitation_fields(decision.invitation, self._now)
            self._lines[decision.keep_reason].append({**fields, "bounced": decision.bounced})
        return decision

    def rows(self, reason: str, labels: Mapping[str, str] = NO_LABELS) -> tuple[Row, ...]:
        """Return the rows of the invitations that were kept for a reason."""
        lines = sorted(self._lines.get(reason, ()), key=row_order)
        return tuple(row_of_fields(line, labels) for line in lines)
