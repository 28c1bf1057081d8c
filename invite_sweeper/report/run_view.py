"""Read a run back for display."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import TypeAlias

import orjson

from invite_sweeper.sweep.selection import Decision
from invite_sweeper.text import escape_unprintable, to_datetime, to_float, to_int, to_text


def parse_log_line(raw: bytes) -> Mapping[str, object] | None:
    """One audit line as an object, or None where it is none.

    A line that orjson refuses (a lone surrogate, bytes that are no UTF-8) is read by the
    lenient parser of the standard library: showing it beats hiding it.
    """
    try:
        found: object = orjson.loads(raw)
    except orjson.JSONDecodeError:
        try:
            found = json.loads(raw.decode("utf-8", "backslashreplace"))
        except (ValueError, RecursionError):
            return None
    return found if isinstance(found, dict) else None


# What a terminal shows of one run, as values that are fit to be shown.


_MAX_NAME_LENGTH = 120
_MAX_ROLES = 20
FAILED_OUTCOMES = frozenset({"failed", "unknown", "accepted_during"})
"""Outcomes that somebody has to look at."""


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """One invitation as a terminal shows it; every text is visible already.

    Attributes:
        age_days: None where there is no readable date.
        outcome: None while nothing has been done about it (a dry run).
        detail: What there is to know of an outcome that is not as planned.
        bounced: How often a run deleted this person's invitation to this project before.
        source: The list that it is in.
        project_id: None of an organization's own list.
        doors: The person's further invitations, in other lists; shown with this one.
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
    source: str = ""
    org_id: str = ""
    project_id: str | None = None
    duplicates: tuple["InvitationRow", ...] = ()


@dataclass(frozen=True, slots=True)
class UnreadableProject:
    """A project that could not be read."""

    project: str
    reason: str


@dataclass(frozen=True, slots=True)
class ProjectRows:
    """The planned deletions of one project.

    Attributes:
        rows: The oldest of them, oldest first; at least one.
        count: All of them.
        merged: How many are shown in the row of another, as a further door of one person.
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
        """How many have no row."""
        return self.count - len(self.rows) - self.merged


@dataclass(frozen=True, slots=True)
class RunView:
    """What a terminal shows of a run, cut to a length that a person reads.

    Attributes:
        groups: The first projects of the plan, by name.
        projects: All projects of the plan.
        planned: All deletions of the plan.
        most_in_project: In the project that has most of them.
        organizations: Whose they are; sorted.
        oldest: Of the whole plan; None where it is empty.
        newest: Of the whole plan.
        astray: Deletions that did not go as planned; the first of them.
        returned: Planned ones that came back after an earlier deletion; the first of them.
        returned_count: All of those.
        lost: Projects that could not be read; the first of them.
        swept_s: From the first call to the last answer; None where none was sent.
    """

    groups: tuple[ProjectRows, ...] = ()
    projects: int = 0
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
    """Give a name for the terminal: cut where it is long, and nothing in it without a shape."""
    return escape_unprintable(to_text(value, _MAX_NAME_LENGTH))


def parse_row(line: Mapping[str, object]) -> InvitationRow:
    """Give what a `planned` or `outcome` line tells."""
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
        source=display_text(line.get("source")),
        org_id=display_text(line.get("org_id")),
        project_id=display_text(line.get("project_id")) or None,
    )


def parse_unreadable(line: Mapping[str, object]) -> UnreadableProject:
    """Give what a `project_unreadable` line tells."""
    return UnreadableProject(_project_name(line), escape_unprintable(to_text(line.get("reason"))))


def _project_name(line: Mapping[str, object]) -> str:
    """The project's name; an organization's own list has none."""
    if line.get("project_name") is None and line.get("project_id") is None:
        return f"organization {display_text(line.get('org_id'))}".rstrip()
    return display_text(line.get("project_name"))


def _detail(line: Mapping[str, object]) -> str:
    if line.get("outcome") == "accepted_during":
        return "an active member by then, and removed as one"
    status, code = display_text(line.get("http_status")), display_text(line.get("error_code"))
    return " ".join(part for part in (status, code) if part) or "no answer"


# Reads one run back from its audit log for people to look at; memory holds what is shown.


_Line: TypeAlias = Mapping[str, object]
_AgedLine: TypeAlias = tuple[float, _Line]
"""A line with its age in days; one without a readable date counts as just sent."""
_Key: TypeAlias = tuple[str, str, str]

_HEADER_BYTES = 160
"""`ts`, `run_id`, `seq` and `event` stand in these."""
_INTENT_MARK = b'"event":"intent"'
_PROJECT_ROWS_DIVISOR = 5
"""Where not all can be shown, one project takes at most a fifth of the rows."""


def load_run_view(path: Path, run_id: str, *, start: int, max_rows: int, planned: int) -> RunView:
    """Read what a terminal shows of a run.

    Args:
        start: The byte offset at which the run begins in the log.
        most: Rows at most, and as many failures, unreadable projects and returned ones.
        planned: How many deletions the run planned; where they are more than `most`, no
            project takes all the rows.

    Raises:
        OSError: The log cannot be read.
    """
    reader = _RunReader(
        max_rows, max_rows if planned <= max_rows else max(1, max_rows // _PROJECT_ROWS_DIVISOR)
    )
    for raw in _raw_lines(path, start):
        if reader.started_at is not None and _INTENT_MARK in raw[:_HEADER_BYTES]:
            continue
        line = parse_log_line(raw)
        if line is not None and line.get("run_id") == run_id:
            reader.add(line)
    return reader.view()


def _raw_lines(path: Path, start: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        yield from file


class _RunReader:
    """Takes a run's lines in their order: planned ones project by project, then the outcomes."""

    def __init__(self, max_rows: int, max_rows_per_project: int) -> None:
        self._max_rows = max_rows
        self._plan = _PlannedRows(max_rows, max_rows_per_project)
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


@dataclass(slots=True)
class _ProjectLines:
    """A project's planned deletions while they stream by: the oldest of them, and their number."""

    id: str
    max_lines: int
    count: int = 0
    lines: list[_AgedLine] = field(default_factory=list)

    def add(self, aged: _AgedLine) -> None:
        self.count += 1
        self.lines.append(aged)
        if len(self.lines) > 2 * self.max_lines:
            self.truncate(self.max_lines)

    def truncate(self, max_lines: int) -> None:
        self.lines.sort(key=itemgetter(0), reverse=True)
        del self.lines[max_lines:]


class _PlannedRows:
    """The planned lines of a run, cut to the rows that are shown; one count a project besides."""

    def __init__(self, max_rows: int, max_rows_per_project: int) -> None:
        self._max_rows = max_rows
        self._max_rows_per_project = max_rows_per_project
        self._current: _ProjectLines | None = None
        self._counts: Counter[str] = Counter()
        self._groups: dict[str, list[_Key]] = {}
        self._rows: dict[_Key, InvitationRow] = {}
        self._organizations: set[str] = set()
        self._bounced: list[InvitationRow] = []
        self._bounced_count = 0
        self._oldest: _AgedLine | None = None
        self._newest: _AgedLine | None = None

    def add(self, line: _Line) -> None:
        project_id = to_text(line.get("project_id") or line.get("org_id"))
        if self._current is None or self._current.id != project_id:
            self._finish_project()
            self._current = _ProjectLines(project_id, self._max_rows_per_project)
        aged = (to_float(line.get("age_days")) or 0.0, line)
        self._current.add(aged)
        self._organizations.add(to_text(line.get("org_id")))
        if line.get("bounced"):
            self._bounced_count += 1
            self._bounced.extend([parse_row(line)] * (len(self._bounced) < self._max_rows))
        if self._oldest is None or aged[0] > self._oldest[0]:
            self._oldest = aged
        if self._newest is None or aged[0] < self._newest[0]:
            self._newest = aged

    def add_outcome(self, line: _Line) -> None:
        self._finish_project()
        key = _key(line)
        planned = self._rows.get(key)
        if planned is not None:
            outcome_row = parse_row(line)
            self._rows[key] = replace(
                planned, outcome=outcome_row.outcome, detail=outcome_row.detail
            )

    def view(self) -> RunView:
        self._finish_project()
        return RunView(
            groups=tuple(
                ProjectRows(tuple(self._rows[key] for key in keys), self._counts[project_id])
                for project_id, keys in sorted(self._groups.items(), key=self._sort_key)
            ),
            projects=len(self._counts),
            planned=self._counts.total(),
            max_in_project=max(self._counts.values(), default=0),
            organizations=tuple(sorted(self._organizations)),
            oldest=parse_row(self._oldest[1]) if self._oldest is not None else None,
            newest=parse_row(self._newest[1]) if self._newest is not None else None,
            bounced=tuple(self._bounced),
            bounced_count=self._bounced_count,
        )

    def _sort_key(self, group: tuple[str, list[_Key]]) -> tuple[str, str]:
        """By name: the order of the log is that in which the answers came."""
        project_id, keys = group
        return self._rows[keys[0]].project.casefold(), project_id

    def _finish_project(self) -> None:
        """Keep what of the project is shown: its oldest, as far as there is room for rows."""
        project, self._current = self._current, None
        if project is None:
            return
        self._counts[project.id] += project.count
        known = self._groups.get(project.id, [])
        project.truncate(
            min(self._max_rows_per_project - len(known), self._max_rows - len(self._rows))
        )
        if project.lines:
            rows = {_key(line): parse_row(line) for _, line in project.lines}
            self._groups[project.id] = [*known, *rows]
            self._rows.update(rows)


def _key(line: _Line) -> _Key:
    return (
        to_text(line.get("source")),
        to_text(line.get("project_id")),
        to_text(line.get("invitation_id")),
    )


# Kept invitations by name, for `-v`: the audit log holds their number alone.


_MAX_KEPT = 1_000
_TENTH_OF_A_DAY = timedelta(seconds=8640)


class KeptInvitations:
    """Notes the first kept invitations, by reason; the rest is only counted elsewhere.

    Args:
        now: The run's instant, by which ages are told.
        most: Names in memory.

    Attributes:
        rows: The names by the reason for which each was kept.
    """

    def __init__(self, now: datetime, max_rows: int = _MAX_KEPT) -> None:
        self._now = now
        self._rows_left = max_rows
        self.rows: Mapping[str, list[InvitationRow]] = defaultdict(list)

    def record(self, decision: Decision) -> Decision:
        """Note a decision, if there is room and it keeps something; it stays as it is."""
        if decision.keep_reason is not None and self._rows_left:
            self._rows_left -= 1
            self.rows[decision.keep_reason].append(self._row(decision))
        return decision

    def _row(self, decision: Decision) -> InvitationRow:
        invitation = decision.invitation
        created_at = invitation.created_at
        age_days = None
        if isinstance(created_at, datetime):
            # As the log does it: 13.99 days are no 14 to a rule, and must not look like them.
            age_days = ((self._now - created_at) // _TENTH_OF_A_DAY) / 10
        return InvitationRow(
            project=display_text(invitation.project_name)
            or f"organization {display_text(invitation.org_id)}",
            username=display_text(invitation.username),
            age_days=age_days,
            rule="",
            roles=tuple(map(display_text, invitation.roles)),
            inviter=display_text(invitation.inviter),
            bounced=decision.bounced,
        )


# One person who is pending in two lists is one person with two doors, and is shown once.


def merge_rows_by_user(groups: Sequence[ProjectRows]) -> tuple[ProjectRows, ...]:
    """Put the further doors of each person into the first row that the person has.

    Doors belong together where they lead to the same project by different lists, or where one
    of them is the organization's own. Two projects are two invitations, and stay two rows.
    A group whose rows have all moved is left out; `count` stays the number of deletions.
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
    """Take a row down; True where it is a further door of one that stands already."""
    if not row.username or not row.source:
        return False
    known = first.setdefault((row.org_id, row.username.casefold()), [])
    for other in known:
        lists = {other.source, *(door.source for door in duplicates.get(id(other), ()))}
        same_project = row.project_id == other.project_id or not (
            row.project_id and other.project_id
        )
        if same_project and row.source not in lists:
            duplicates.setdefault(id(other), []).append(row)
            return True
    known.append(row)
    return False
