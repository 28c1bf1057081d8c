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
from invite_sweeper.text import instant, number, text, visible, whole


def parse_line(raw: bytes) -> Mapping[str, object] | None:
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


_LONGEST = 120
_MOST_ROLES = 20
ASTRAY = frozenset({"failed", "unknown", "accepted_during"})
"""Outcomes that somebody has to look at."""


@dataclass(frozen=True, slots=True)
class Row:
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
    doors: tuple["Row", ...] = ()


@dataclass(frozen=True, slots=True)
class Lost:
    """A project that could not be read."""

    project: str
    reason: str


@dataclass(frozen=True, slots=True)
class Group:
    """The planned deletions of one project.

    Attributes:
        rows: The oldest of them, oldest first; at least one.
        count: All of them.
        merged: How many are shown in the row of another, as a further door of one person.
    """

    rows: tuple[Row, ...]
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
class Shown:
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

    groups: tuple[Group, ...] = ()
    projects: int = 0
    planned: int = 0
    most_in_project: int = 0
    organizations: tuple[str, ...] = ()
    oldest: Row | None = None
    newest: Row | None = None
    astray: tuple[Row, ...] = ()
    returned: tuple[Row, ...] = ()
    returned_count: int = 0
    lost: tuple[Lost, ...] = ()
    swept_s: float | None = None


def name(value: object) -> str:
    """Give a name for the terminal: cut where it is long, and nothing in it without a shape."""
    return visible(text(value, _LONGEST))


def row(line: Mapping[str, object]) -> Row:
    """Give what a `planned` or `outcome` line tells."""
    roles = line.get("roles")
    outcome = name(line.get("outcome"))
    return Row(
        project=_whose(line),
        username=name(line.get("username")),
        age_days=number(line.get("age_days")),
        rule=name(line.get("rule")),
        roles=tuple(map(name, roles[:_MOST_ROLES])) if isinstance(roles, list) else (),
        inviter=name(line.get("inviter")),
        outcome=outcome or None,
        detail=_detail(line) if outcome in ASTRAY else "",
        bounced=whole(line.get("bounced")) or 0,
        source=name(line.get("source")),
        org_id=name(line.get("org_id")),
        project_id=name(line.get("project_id")) or None,
    )


def lost(line: Mapping[str, object]) -> Lost:
    """Give what a `project_unreadable` line tells."""
    return Lost(_whose(line), visible(text(line.get("reason"))))


def _whose(line: Mapping[str, object]) -> str:
    """The project's name; an organization's own list has none."""
    if line.get("project_name") is None and line.get("project_id") is None:
        return f"organization {name(line.get('org_id'))}".rstrip()
    return name(line.get("project_name"))


def _detail(line: Mapping[str, object]) -> str:
    if line.get("outcome") == "accepted_during":
        return "an active member by then, and removed as one"
    status, code = name(line.get("http_status")), name(line.get("error_code"))
    return " ".join(part for part in (status, code) if part) or "no answer"


# Reads one run back from its audit log for people to look at; memory holds what is shown.


_Line: TypeAlias = Mapping[str, object]
_Aged: TypeAlias = tuple[float, _Line]
"""A line with its age in days; one without a readable date counts as just sent."""
_Key: TypeAlias = tuple[str, str, str]

_HEAD_BYTES = 160
"""`ts`, `run_id`, `seq` and `event` stand in these."""
_INTENT = b'"event":"intent"'
_SHARE_OF_ONE = 5
"""Where not all can be shown, one project takes at most a fifth of the rows."""


def read_shown(path: Path, run_id: str, *, start: int, most: int, planned: int) -> Shown:
    """Read what a terminal shows of a run.

    Args:
        start: The byte offset at which the run begins in the log.
        most: Rows at most, and as many failures, unreadable projects and returned ones.
        planned: How many deletions the run planned; where they are more than `most`, no
            project takes all the rows.

    Raises:
        OSError: The log cannot be read.
    """
    reading = _Reading(most, most if planned <= most else max(1, most // _SHARE_OF_ONE))
    for raw in _raw_lines(path, start):
        if reading.began is not None and _INTENT in raw[:_HEAD_BYTES]:
            continue
        line = parse_line(raw)
        if line is not None and line.get("run_id") == run_id:
            reading.take(line)
    return reading.shown()


def _raw_lines(path: Path, start: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        yield from file


class _Reading:
    """Takes a run's lines in their order: planned ones project by project, then the outcomes."""

    def __init__(self, most: int, most_a_project: int) -> None:
        self._most = most
        self._plan = _Plan(most, most_a_project)
        self._astray: list[Row] = []
        self._lost: list[Lost] = []
        self._ended: datetime | None = None
        self.began: datetime | None = None

    def take(self, line: _Line) -> None:
        match line.get("event"):
            case "planned":
                self._plan.take(line)
            case "intent":
                self.began = self.began or instant(line.get("ts"))
            case "outcome":
                self._outcome(line)
            case "project_unreadable" if len(self._lost) < self._most:
                self._lost.append(lost(line))

    def shown(self) -> Shown:
        took = self._ended - self.began if self._ended and self.began else None
        return replace(
            self._plan.shown(),
            astray=tuple(self._astray),
            lost=tuple(self._lost),
            swept_s=took.total_seconds() if took is not None else None,
        )

    def _outcome(self, line: _Line) -> None:
        if line.get("outcome") != "skipped":
            self._ended = instant(line.get("ts")) or self._ended
        self._plan.note_outcome(line)
        if line.get("outcome") in ASTRAY and len(self._astray) < self._most:
            self._astray.append(row(line))


@dataclass(slots=True)
class _OneProject:
    """A project's planned deletions while they stream by: the oldest of them, and their number."""

    id: str
    most: int
    count: int = 0
    lines: list[_Aged] = field(default_factory=list)

    def take(self, aged: _Aged) -> None:
        self.count += 1
        self.lines.append(aged)
        if len(self.lines) > 2 * self.most:
            self.cut(self.most)

    def cut(self, most: int) -> None:
        self.lines.sort(key=itemgetter(0), reverse=True)
        del self.lines[most:]


class _Plan:
    """The planned lines of a run, cut to the rows that are shown; one count a project besides."""

    def __init__(self, most: int, most_a_project: int) -> None:
        self._most = most
        self._most_a_project = most_a_project
        self._open: _OneProject | None = None
        self._counts: Counter[str] = Counter()
        self._groups: dict[str, list[_Key]] = {}
        self._rows: dict[_Key, Row] = {}
        self._organizations: set[str] = set()
        self._returned: list[Row] = []
        self._returned_count = 0
        self._oldest: _Aged | None = None
        self._newest: _Aged | None = None

    def take(self, line: _Line) -> None:
        project_id = text(line.get("project_id") or line.get("org_id"))
        if self._open is None or self._open.id != project_id:
            self._close_project()
            self._open = _OneProject(project_id, self._most_a_project)
        aged = (number(line.get("age_days")) or 0.0, line)
        self._open.take(aged)
        self._organizations.add(text(line.get("org_id")))
        if line.get("bounced"):
            self._returned_count += 1
            self._returned.extend([row(line)] * (len(self._returned) < self._most))
        if self._oldest is None or aged[0] > self._oldest[0]:
            self._oldest = aged
        if self._newest is None or aged[0] < self._newest[0]:
            self._newest = aged

    def note_outcome(self, line: _Line) -> None:
        self._close_project()
        key = _key(line)
        planned = self._rows.get(key)
        if planned is not None:
            ended = row(line)
            self._rows[key] = replace(planned, outcome=ended.outcome, detail=ended.detail)

    def shown(self) -> Shown:
        self._close_project()
        return Shown(
            groups=tuple(
                Group(tuple(self._rows[key] for key in keys), self._counts[project_id])
                for project_id, keys in sorted(self._groups.items(), key=self._name)
            ),
            projects=len(self._counts),
            planned=self._counts.total(),
            most_in_project=max(self._counts.values(), default=0),
            organizations=tuple(sorted(self._organizations)),
            oldest=row(self._oldest[1]) if self._oldest is not None else None,
            newest=row(self._newest[1]) if self._newest is not None else None,
            returned=tuple(self._returned),
            returned_count=self._returned_count,
        )

    def _name(self, group: tuple[str, list[_Key]]) -> tuple[str, str]:
        """By name: the order of the log is that in which the answers came."""
        project_id, keys = group
        return self._rows[keys[0]].project.casefold(), project_id

    def _close_project(self) -> None:
        """Keep what of the project is shown: its oldest, as far as there is room for rows."""
        one, self._open = self._open, None
        if one is None:
            return
        self._counts[one.id] += one.count
        known = self._groups.get(one.id, [])
        one.cut(min(self._most_a_project - len(known), self._most - len(self._rows)))
        if one.lines:
            found = {_key(line): row(line) for _, line in one.lines}
            self._groups[one.id] = [*known, *found]
            self._rows.update(found)


def _key(line: _Line) -> _Key:
    return (
        text(line.get("source")),
        text(line.get("project_id")),
        text(line.get("invitation_id")),
    )


# Kept invitations by name, for `-v`: the audit log holds their number alone.


_MOST = 1_000
_TENTH_OF_A_DAY = timedelta(seconds=8640)


class KeptNames:
    """Notes the first kept invitations, by reason; the rest is only counted elsewhere.

    Args:
        now: The run's instant, by which ages are told.
        most: Names in memory.

    Attributes:
        rows: The names by the reason for which each was kept.
    """

    def __init__(self, now: datetime, most: int = _MOST) -> None:
        self._now = now
        self._room = most
        self.rows: Mapping[str, list[Row]] = defaultdict(list)

    def note(self, decision: Decision) -> Decision:
        """Note a decision, if there is room and it keeps something; it stays as it is."""
        if decision.kept is not None and self._room:
            self._room -= 1
            self.rows[decision.kept].append(self._row(decision))
        return decision

    def _row(self, decision: Decision) -> Row:
        invitation = decision.invitation
        created_at = invitation.created_at
        age_days = None
        if isinstance(created_at, datetime):
            # As the log does it: 13.99 days are no 14 to a rule, and must not look like them.
            age_days = ((self._now - created_at) // _TENTH_OF_A_DAY) / 10
        return Row(
            project=name(invitation.project_name) or f"organization {name(invitation.org_id)}",
            username=name(invitation.username),
            age_days=age_days,
            rule="",
            roles=tuple(map(name, invitation.roles)),
            inviter=name(invitation.inviter),
            bounced=decision.bounced,
        )


# One person who is pending in two lists is one person with two doors, and is shown once.


def one_row_a_person(groups: Sequence[Group]) -> tuple[Group, ...]:
    """Put the further doors of each person into the first row that the person has.

    Doors belong together where they lead to the same project by different lists, or where one
    of them is the organization's own. Two projects are two invitations, and stay two rows.
    A group whose rows have all moved is left out; `count` stays the number of deletions.
    """
    first: dict[tuple[str, str], list[Row]] = {}
    doors: dict[int, list[Row]] = {}
    merged = [
        replace(group, rows=tuple(row for row in group.rows if not _joins(row, first, doors)))
        for group in groups
    ]
    return tuple(
        replace(
            group,
            rows=tuple(replace(row, doors=tuple(doors.get(id(row), ()))) for row in group.rows),
            merged=group.merged + len(before.rows) - len(group.rows),
        )
        for group, before in zip(merged, groups, strict=True)
        if group.rows
    )


def _joins(row: Row, first: dict[tuple[str, str], list[Row]], doors: dict[int, list[Row]]) -> bool:
    """Take a row down; True where it is a further door of one that stands already."""
    if not row.username or not row.source:
        return False
    known = first.setdefault((row.org_id, row.username.casefold()), [])
    for other in known:
        lists = {other.source, *(door.source for door in doors.get(id(other), ()))}
        same_place = row.project_id == other.project_id or not (row.project_id and other.project_id)
        if same_place and row.source not in lists:
            doors.setdefault(id(other), []).append(row)
            return True
    known.append(row)
    return False
