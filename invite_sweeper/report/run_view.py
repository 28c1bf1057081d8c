"""Read the runs of one command back from their audit log, for the terminal and for JSON.

The log is read line by line; memory holds only what is shown.
"""

import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple, TypeAlias

from invite_sweeper.atlas.responses import is_permission_error
from invite_sweeper.atlas.sources import SOURCES
from invite_sweeper.json_text import parse_json
from invite_sweeper.models import Source
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.text import escape_unprintable, to_datetime, to_float, to_int, to_text


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


_MAX_NAME_LENGTH = 120
_MAX_ROLES = 20
FAILED_OUTCOMES = frozenset({"failed", "unknown", "accepted_during"})
"""Outcomes that need the operator's attention."""


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """One invitation for the terminal; unprintable characters are already escaped.

    Attributes:
        age_days: None without a readable date.
        outcome: None if there is none yet, or in a dry run.
        detail: Details of a failed or unexpected outcome.
        bounced: Number of earlier deletions of this user's invitation to this project.
        new: Whether the last plan of the same policy did not contain it.
        source: The list that contains it.
        project_id: None for an invitation to the organization.
        duplicates: Invitations of the same user in other lists, shown in this row.
    """

    project: str
    username: str
    age_days: float | None
    rule: str
    roles: tuple[str, ...]
    inviter: str
    outcome: str | None = None
    detail: str = ""
    bounced: int = 0
    new: bool = False
    source: str = ""
    org_id: str = ""
    project_id: str | None = None
    duplicates: tuple["InvitationRow", ...] = ()


@dataclass(frozen=True, slots=True)
class UnreadableProject:
    """A project, or an organization's own list, that could not be read.

    Attributes:
        org_id: Empty where it is not known.
    """

    project: str
    reason: str
    org_id: str = ""
    is_organization: bool = False


@dataclass(frozen=True, slots=True)
class ProjectRows:
    """The planned deletions of one project.

    Attributes:
        rows: The oldest ones, oldest first; at least one.
        count: Number of planned deletions, shown or not.
        merged: Number of deletions shown in another row, as duplicates.
    """

    rows: tuple[InvitationRow, ...]
    count: int
    merged: int = 0

    @property
    def project(self) -> str:
        """The project's name."""
        return self.rows[0].project

    @property
    def hidden(self) -> int:
        """Number of deletions that are not shown."""
        return self.count - len(self.rows) - self.merged


@dataclass(frozen=True, slots=True)
class RunView:
    """What a terminal shows of a run; all lists are truncated.

    Attributes:
        groups: The projects of the rows: owners first, then the oldest.
        projects: Number of projects in the plan.
        organization_lists: Number of organizations whose own lists are in the plan.
        planned: Number of deletions in the plan.
        max_in_project: Most deletions planned in one project.
        organizations: Sorted ids.
        oldest: Oldest invitation of the whole plan; None if the plan is empty.
        newest: Newest invitation of the whole plan; None if the plan is empty.
        failed: The first deletions that did not go as planned.
        bounced: The first planned invitations that were deleted before.
        bounced_count: Number of planned invitations that were deleted before.
        unreadable: The first projects that could not be read.
        deleting_s: Seconds from the first request to the last response; None if none was sent.
    """

    groups: tuple[ProjectRows, ...] = ()
    projects: int = 0
    organization_lists: int = 0
    planned: int = 0
    max_in_project: int = 0
    organizations: tuple[str, ...] = ()
    oldest: InvitationRow | None = None
    newest: InvitationRow | None = None
    failed: tuple[InvitationRow, ...] = ()
    bounced: tuple[InvitationRow, ...] = ()
    bounced_count: int = 0
    unreadable: tuple[UnreadableProject, ...] = ()
    deleting_s: float | None = None


def display_text(value: object) -> str:
    """Return a name for the terminal: truncated, unprintable characters escaped."""
    return escape_unprintable(to_text(value, _MAX_NAME_LENGTH))


def parse_row(line: Mapping[str, object]) -> InvitationRow:
    """Parse a `planned` or `outcome` line."""
    roles = line.get("roles")
    outcome = display_text(line.get("outcome"))
    return InvitationRow(
        project=_project_name(line),
        username=display_text(line.get("username")),
        age_days=to_float(line.get("age_days")),
        rule=display_text(line.get("rule")),
        roles=tuple(map(display_text, roles[:_MAX_ROLES])) if isinstance(roles, list) else (),
        inviter=display_text(line.get("inviter")),
        outcome=outcome or None,
        detail=_detail(line) if outcome in FAILED_OUTCOMES else "",
        bounced=to_int(line.get("bounced")) or 0,
        new=line.get("new") is True,
        source=display_text(line.get("source")),
        org_id=display_text(line.get("org_id")),
        project_id=display_text(line.get("project_id")) or None,
    )


def parse_unreadable(line: Mapping[str, object]) -> UnreadableProject:
    """Parse a `project_unreadable` line."""
    return UnreadableProject(
        _project_name(line),
        escape_unprintable(to_text(line.get("reason"))),
        display_text(line.get("org_id")),
        is_organization=_is_organization(line) and bool(line.get("org_id")),
    )


def _is_organization(line: Mapping[str, object]) -> bool:
    return line.get("project_name") is None and line.get("project_id") is None


def _project_name(line: Mapping[str, object]) -> str:
    """Return the project's name, or the organization's for an organization invitation."""
    if _is_organization(line):
        return f"organization {display_text(line.get('org_id'))}".rstrip()
    return display_text(line.get("project_name"))


def _detail(line: Mapping[str, object]) -> str:
    if line.get("outcome") == "accepted_during":
        return "accepted meanwhile; the active member was removed"
    status, code = display_text(line.get("http_status")), display_text(line.get("error_code"))
    text = " ".join(part for part in (status, code) if part) or "no response"
    source = line.get("source")
    is_known = isinstance(source, str) and source in SOURCES
    if is_known and is_permission_error(line.get("http_status"), code or None):
        text += f"; deleting requires the role {SOURCES[Source(str(source))].roles[1]}"
    return text


_Line: TypeAlias = Mapping[str, object]
_AgedLine: TypeAlias = tuple[float, _Line]
"""A line with its age in days; 0 without a readable date."""
_Key: TypeAlias = tuple[str, str, str, str]

_HEADER_BYTES = 160
"""`ts`, `run_id`, `seq` and `event` are within these first bytes of a line."""
_INTENT_MARK = b'"event":"intent"'
_PLAN_MARKS = (b'"event":"planned"', b'"event":"outcome"')


def load_run_view(path: Path, run_ids: Collection[str], *, start: int, max_rows: int) -> RunView:
    """Read what a terminal shows of the runs of one command.

    Args:
        path: The audit log.
        run_ids: The runs; lines of other runs are skipped.
        start: Byte offset of their first line in the log.
        max_rows: Maximum number of rows, of failures, of unreadable projects and of bounced
            invitations.

    Raises:
        OSError: The log cannot be read.
    """
    reader = _RunReader(max_rows)
    for raw in _raw_lines(path, start):
        if reader.started_at is not None and _INTENT_MARK in raw[:_HEADER_BYTES]:
            continue
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
    """Collects a run's lines in log order."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._plan = _PlannedRows(max_rows)
        self._failed: list[InvitationRow] = []
        self._unreadable: list[UnreadableProject] = []
        self._ended_at: datetime | None = None
        self.started_at: datetime | None = None

    def add(self, line: _Line) -> None:
        match line.get("event"):
            case "planned":
                self._plan.add(line)
            case "intent":
                self.started_at = self.started_at or to_datetime(line.get("ts"))
            case "outcome":
                self._add_outcome(line)
            case "project_unreadable" if len(self._unreadable) < self._max_rows:
                self._unreadable.append(parse_unreadable(line))

    def view(self) -> RunView:
        duration = self._ended_at - self.started_at if self._ended_at and self.started_at else None
        return replace(
            self._plan.view(),
            failed=tuple(self._failed),
            unreadable=tuple(self._unreadable),
            deleting_s=duration.total_seconds() if duration is not None else None,
        )

    def _add_outcome(self, line: _Line) -> None:
        if line.get("outcome") != "skipped":
            self._ended_at = to_datetime(line.get("ts")) or self._ended_at
        self._plan.add_outcome(line)
        if line.get("outcome") in FAILED_OUTCOMES and len(self._failed) < self._max_rows:
            self._failed.append(parse_row(line))


_OWNER_ROLES = frozenset({"GROUP_OWNER", "ORG_OWNER"})


class _Planned(NamedTuple):
    """A planned line; the first fields order them: owners, then the oldest, then as in the log."""

    is_owner: bool
    age_days: float
    order: int
    key: _Key
    line: _Line


class _PlannedRows:
    """The planned lines of a run: those to be shown, and a count per project."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._counts: Counter[str] = Counter()
        self._shown: list[_Planned] = []  # a heap; the last in order is its first element
        self._outcomes: dict[_Key, InvitationRow | None] = {}  # None before the outcome
        self._organizations: set[str] = set()
        self._organization_lists: set[str] = set()
        self._bounced: list[InvitationRow] = []
        self._bounced_count = 0
        self._oldest: _AgedLine | None = None
        self._newest: _AgedLine | None = None

    def add(self, line: _Line) -> None:
        self._counts[_project_key(line)] += 1
        self._organizations.add(to_text(line.get("org_id")))
        if not line.get("project_id"):
            self._organization_lists.add(_project_key(line))
        if line.get("bounced"):
            self._bounced_count += 1
            self._bounced.extend([parse_row(line)] * (len(self._bounced) < self._max_rows))
        aged = (to_float(line.get("age_days")) or 0.0, line)
        if self._oldest is None or aged[0] > self._oldest[0]:
            self._oldest = aged
        if self._newest is None or aged[0] < self._newest[0]:
            self._newest = aged
        self._show(_Planned(_is_owner(line), aged[0], -self._counts.total(), _key(line), line))

    def _show(self, planned: _Planned) -> None:
        self._outcomes[planned.key] = None
        heapq.heappush(self._shown, planned)
        if len(self._shown) > self._max_rows:
            self._outcomes.pop(heapq.heappop(self._shown).key, None)

    def add_outcome(self, line: _Line) -> None:
        key = _key(line)
        if key in self._outcomes:
            self._outcomes[key] = parse_row(line)

    def view(self) -> RunView:
        groups: dict[str, list[InvitationRow]] = {}
        for planned in sorted(self._shown, reverse=True):
            row, outcome = parse_row(planned.line), self._outcomes.get(planned.key)
            if outcome is not None:
                row = replace(row, outcome=outcome.outcome, detail=outcome.detail)
            groups.setdefault(_project_key(planned.line), []).append(row)
        return RunView(
            groups=tuple(
                ProjectRows(tuple(rows), self._counts[key]) for key, rows in groups.items()
            ),
            projects=len(self._counts) - len(self._organization_lists),
            organization_lists=len(self._organization_lists),
            planned=self._counts.total(),
            max_in_project=max(self._counts.values(), default=0),
            organizations=tuple(sorted(self._organizations)),
            oldest=parse_row(self._oldest[1]) if self._oldest is not None else None,
            newest=parse_row(self._newest[1]) if self._newest is not None else None,
            bounced=tuple(self._bounced),
            bounced_count=self._bounced_count,
        )


def _project_key(line: _Line) -> str:
    return to_text(line.get("project_id") or line.get("org_id"))


def _is_owner(line: _Line) -> bool:
    roles = line.get("roles")
    return isinstance(roles, list) and any(to_text(role) in _OWNER_ROLES for role in roles)


def _key(line: _Line) -> _Key:
    return (
        to_text(line.get("source")),
        to_text(line.get("org_id")),  # a user has the same id in two organizations
        to_text(line.get("project_id")),
        to_text(line.get("invitation_id")),
    )


_MAX_KEPT = 1_000
_TENTH_OF_A_DAY = timedelta(seconds=8640)


class KeptInvitations:
    """The first kept invitations, by reason, for `-v`: the audit log has only their number.

    Args:
        now: Start of the run; ages refer to it.
        max_rows: Maximum number of invitations in memory.

    Attributes:
        rows: Kept invitations by reason.
    """

    def __init__(self, now: datetime, max_rows: int = _MAX_KEPT) -> None:
        self._now = now
        self._rows_left = max_rows
        self.rows: Mapping[str, list[InvitationRow]] = defaultdict(list)

    def record(self, decision: Decision) -> Decision:
        """Record a decision to keep, up to the limit; return the decision unchanged."""
        if decision.keep_reason is not None and self._rows_left:
            self._rows_left -= 1
            self.rows[decision.keep_reason].append(self._row(decision))
        return decision

    def _row(self, decision: Decision) -> InvitationRow:
        invitation = decision.invitation
        created_at = invitation.created_at
        age_days = None
        if isinstance(created_at, datetime):
            # Rounded down as in the log: 13.99 days do not match a 14-day rule.
            age_days = ((self._now - created_at) // _TENTH_OF_A_DAY) / 10
        return InvitationRow(
            project=display_text(invitation.project_name)
            or f"organization {display_text(invitation.org_id)}",
            username=display_text(invitation.username),
            age_days=age_days,
            org_id=display_text(invitation.org_id),
            project_id=display_text(invitation.project_id) or None,
            rule="",
            roles=tuple(map(display_text, invitation.roles)),
            inviter=display_text(invitation.inviter),
            bounced=decision.bounced,
        )


def merge_rows_by_user(groups: Sequence[ProjectRows]) -> tuple[ProjectRows, ...]:
    """Merge duplicate invitations of a user into the user's first row.

    Invitations are duplicates if different lists contain them for the same project, or if one
    of them is an organization invitation. Invitations to two projects stay two rows. A group
    without remaining rows is dropped; `count` remains the number of deletions.
    """
    first: dict[tuple[str, str], list[InvitationRow]] = {}
    duplicates: dict[int, list[InvitationRow]] = {}
    merged = [
        replace(
            group, rows=tuple(row for row in group.rows if not _is_merged(row, first, duplicates))
        )
        for group in groups
    ]
    return tuple(
        replace(
            group,
            rows=tuple(
                replace(row, duplicates=tuple(duplicates.get(id(row), ()))) for row in group.rows
            ),
            merged=group.merged + len(before.rows) - len(group.rows),
        )
        for group, before in zip(merged, groups, strict=True)
        if group.rows
    )


def _is_merged(
    row: InvitationRow,
    first: dict[tuple[str, str], list[InvitationRow]],
    duplicates: dict[int, list[InvitationRow]],
) -> bool:
    """Record a row; return True if it duplicates an earlier one."""
    if not row.username or not row.source:
        return False
    known = first.setdefault((row.org_id, row.username.casefold()), [])
    for other in known:
        lists = {other.source, *(each.source for each in duplicates.get(id(other), ()))}
        same_project = row.project_id == other.project_id or not (
            row.project_id and other.project_id
        )
        if same_project and row.source not in lists:
            duplicates.setdefault(id(other), []).append(row)
            return True
    known.append(row)
    return False
