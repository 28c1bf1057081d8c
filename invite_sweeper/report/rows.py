"""What a terminal shows of one run, as values that are fit to be shown."""

from collections.abc import Mapping
from dataclasses import dataclass

from invite_sweeper.report.values import number, text, visible, whole

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
