"""Tables as data: one row of a table of invitations, the order of rows, columns and cells.

Terminal, page and Markdown lay them out. A row holds text that is safe to show: cut, with
unprintable characters escaped. Which fields a table has is decided here.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from invite_sweeper.audit.events import (
    Announced,
    Intent,
    InvitationFields,
    OutcomeLine,
    Planned,
    ProjectUnreadable,
    WouldBeAnnounced,
)
from invite_sweeper.models import Outcome, is_permission_error
from invite_sweeper.report.text import describe_instant, display_text
from invite_sweeper.text import escape_unprintable, pluralize

T = TypeVar("T")
Style: TypeAlias = Literal[
    "plain", "note", "strong", "privileged", "good", "info", "warning", "bad"
]
Kind: TypeAlias = Literal["text", "address", "prose", "number", "date", "state", "code"]
NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})
FAILED_OUTCOMES: Final = frozenset({"failed", "unknown", "accepted_during"})
"""Outcomes that need the operator's attention."""
_MAX_ROLES: Final = 20


class Line(NamedTuple):
    """One line of a cell."""

    text: str
    style: Style = "plain"


Cell: TypeAlias = tuple[Line, ...]


class Column(NamedTuple, Generic[T]):
    """A column of a table.

    Attributes:
        kind: Decides how it is aligned.
        max_width: Terminal cells; longer text wraps.
    """

    heading: str
    cell: Callable[[T], Cell]
    kind: Kind = "text"
    max_width: int = 24


def text_cell(text: str, style: Style = "plain") -> Cell:
    """Return the cell of a text; unprintable characters are escaped."""
    return (Line(escape_unprintable(text), style),) if text else ()


def format_age(age_days: float | None) -> str:
    """Return an age in days, or `?` if it is unknown."""
    return "?" if age_days is None else f"{age_days:,.1f} d"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an invitation leads to.

    Attributes:
        project_id: None for an invitation to the organization.
        project: The project's name; None for an invitation to the organization.
        organization: The organization's name with its id, or the id alone.
    """

    project_id: str | None
    project: str | None
    org_id: str
    organization: str

    @property
    def id(self) -> str:
        """The id of the project, or of the organization for an invitation to it."""
        return self.project_id or self.org_id

    @property
    def name(self) -> str:
        """The project's name, or the organization's name and id."""
        if self.project is None:
            return f"organization {self.organization}".rstrip()
        return self.project or "(no name)"

    @property
    def full_name(self) -> str:
        """The project with its organization."""
        known = self.project is not None and self.organization != self.org_id
        return f"{self.name} of organization {self.organization}" if known else self.name


@dataclass(frozen=True, slots=True)
class Role:
    """A role that the invitation grants.

    Attributes:
        name: As Atlas names it.
        projects: Names of the projects in which an organization user has it; empty for a role
            in the place itself.
    """

    name: str
    projects: tuple[str, ...] = ()

    @property
    def is_owner(self) -> bool:
        """Whether the role is that of an owner; Atlas may add some."""
        return _OWNER in self.name


@dataclass(frozen=True, slots=True)
class Row:
    """One invitation.

    Attributes:
        source: The list that contains it.
        roles: All of them, an organization user's roles in projects included.
        age_days: None without a readable date.
        bounced: How often this user's invitation to this place was deleted before.
        new: Whether the last plan of the same policy did not contain it.
        outcome: None if there is none yet, or in a dry run.
        detail: Details of a failed or unexpected outcome.
        deletable_from: When a later sweep may delete an announced invitation; empty otherwise.
        lists: The lists of its entries, the named one first; a list with several entries is
            named with their number.
    """

    username: str
    place: Place
    roles: tuple[Role, ...]
    age_days: float | None
    rule: str = ""
    inviter: str = ""
    source: str = ""
    invitation_id: str = ""
    bounced: int = 0
    new: bool = False
    outcome: str | None = None
    detail: str = ""
    deletable_from: str = ""
    lists: tuple[str, ...] = ()

    @property
    def user(self) -> str:
        """The invited address."""
        return self.username or "(no address)"

    @property
    def user_in_place(self) -> str:
        """The address and where it is invited to."""
        return f"{self.user} in {self.place.name}"

    @property
    def is_owner(self) -> bool:
        """Whether any role is that of an owner."""
        return any(role.is_owner for role in self.roles)

    @property
    def history(self) -> str:
        """How often the invitation was deleted before; empty if never."""
        return f"deleted {pluralize(self.bounced, 'time')} before" if self.bounced else ""


def row_of(event: InvitationFields, labels: Mapping[str, str] = NO_LABELS) -> Row:
    """Return the row of an event about an invitation.

    Args:
        labels: The organizations' names with their ids, by id.
    """
    row = Row(
        username=display_text(event.username),
        place=place_of(event, labels),
        roles=tuple(_roles(event)),
        age_days=event.age_days,
        inviter=display_text(event.inviter),
        source=event.source.value,
        invitation_id=display_text(event.invitation_id),
    )
    if isinstance(event, (Announced, WouldBeAnnounced)):
        due = describe_instant(event.deletable_from)
        return replace(row, rule=display_text(event.rule), deletable_from=due)
    if not isinstance(event, (Planned, Intent, OutcomeLine)):
        return row
    row = replace(row, rule=display_text(event.rule), lists=_lists(event))
    if isinstance(event, Planned):
        return replace(row, bounced=event.bounced, new=event.new)
    if isinstance(event, OutcomeLine):
        detail = _detail(event) if event.outcome in FAILED_OUTCOMES else ""
        return replace(row, outcome=display_text(event.outcome), detail=detail)
    return row


def _lists(event: Planned | Intent | OutcomeLine) -> tuple[str, ...]:
    entries = Counter(each.source.value for each in event.entries)
    entries[event.source.value] += 1
    names = dict.fromkeys((event.source.value, *entries))
    return tuple(f"{n} ({entries[n]})" if entries[n] > 1 else n for n in names)


def place_of(
    event: InvitationFields | ProjectUnreadable, labels: Mapping[str, str] = NO_LABELS
) -> Place:
    """Return the place of an event about an invitation or a list."""
    in_project = event.project_id is not None or event.project_name is not None
    org_id = display_text(event.org_id)
    return Place(
        display_text(event.project_id) or None,
        display_text(event.project_name) if in_project else None,
        org_id,
        escape_unprintable(labels.get(org_id, org_id)),
    )


def row_order(event: InvitationFields) -> tuple[object, ...]:
    """Return the sort key of a row: owners first, then the oldest, then by project and user."""
    roles = (*event.roles, *(role for _, role in event.project_roles))
    return (
        not any(_OWNER in role for role in roles),
        float("inf") if event.age_days is None else -event.age_days,
        event.created_at or "",
        event.project_name or "",
        event.username or "",
        event.source.value,
        event.invitation_id,
    )


def sorted_rows(
    events: Iterable[InvitationFields], labels: Mapping[str, str] = NO_LABELS
) -> tuple[Row, ...]:
    """Return the rows of events in their order."""
    return tuple(row_of(each, labels) for each in sorted(events, key=row_order))


_OWNER: Final = "OWNER"


def _roles(event: InvitationFields) -> Iterator[Role]:
    """Yield each role once, with the projects in which an organization user has it."""
    names = dict(event.linked_projects)
    in_projects: dict[str, list[str]] = {}
    for project_id, role in event.project_roles:
        name = display_text(names.get(project_id) or project_id)
        in_projects.setdefault(display_text(role), []).append(name)
    own = dict.fromkeys(map(display_text, event.roles))
    roles = (*map(Role, own), *(Role(role, tuple(names)) for role, names in in_projects.items()))
    yield from roles[:_MAX_ROLES]


def _detail(event: OutcomeLine) -> str:
    if event.outcome == Outcome.ACCEPTED_DURING:
        return "accepted meanwhile; the active member was removed"
    status, code = event.http_status, event.error_code
    parts = (str(status) if status is not None else "", display_text(code))
    text = " ".join(filter(None, parts)) or "no response"
    if is_permission_error(status, code):
        text += f"; deleting requires the role {event.source.roles[1]}"
    return text


_ORDINARY_ROLES: Final = {
    "GROUP_READ_ONLY": "read only",
    "GROUP_DATA_ACCESS_READ_ONLY": "data access read only",
    "GROUP_DATA_ACCESS_READ_WRITE": "data access read write",
    "GROUP_OBSERVABILITY_VIEWER": "observability viewer",
    "GROUP_SEARCH_INDEX_EDITOR": "search index editor",
    "ORG_MEMBER": "organization member",
    "ORG_READ_ONLY": "organization read only",
    "ORG_BILLING_READ_ONLY": "organization billing read only",
}
"""Roles without administrative rights. Source: Atlas documentation, "Atlas User Roles" (read
2026-11-25). The set is open: a role that is missing here is highlighted."""
_PRIVILEGED: Final = (_OWNER, "ADMIN")


def role_line(role: Role) -> Line:
    """Return a role as text.

    Ordinary roles are spelled out. Owner, administrator and unknown roles keep Atlas's
    capitals and are highlighted.
    """
    where = ""
    if role.projects:
        where = f" in {role.projects[0]}"
        if len(role.projects) > 1:
            where = f" in {pluralize(len(role.projects), 'project')}"
    if role.name in _ORDINARY_ROLES:
        return Line(f"{_ORDINARY_ROLES[role.name]}{where}")
    is_privileged = any(word in role.name for word in _PRIVILEGED)
    return Line(f"{role.name}{where}", "privileged" if is_privileged else "strong")


OUTCOME_STYLES: Final[Mapping[str, Style]] = {
    "deleted": "good",
    "restored": "good",
    "already_gone": "info",
    "changed": "info",
    "accepted_before": "info",
    "skipped": "warning",
    "failed": "bad",
    "unknown": "bad",
    "accepted_during": "bad",
    "active": "bad",
    "no_outcome": "bad",
}


def outcome_line(outcome: str | None) -> Line:
    """Return an outcome as text; a deletion without one was not sent."""
    found = outcome or "skipped"
    return Line(found.replace("_", " "), OUTCOME_STYLES.get(found, "plain"))


def _invited_cell(row: Row) -> Cell:
    """Return the address, the history, and the lists if several show the invitation."""
    lines = [Line(f"{row.user} (new)" if row.new else row.user)]
    if row.history:
        lines.append(Line(row.history, "warning"))
    if len(row.lists) > 1:
        lines.append(Line(f"in {len(row.lists)} lists: {', '.join(row.lists)}", "note"))
    return tuple(lines)


def _place_cell(row: Row) -> Cell:
    organization = (Line(row.place.organization, "note"),) if row.place.project is not None else ()
    return (Line(row.place.name), *organization)


def _outcome_cell(row: Row) -> Cell:
    return (outcome_line(row.outcome), *((Line(row.detail, "strong"),) if row.detail else ()))


AGE: Final = Column[Row]("Age", lambda row: text_cell(format_age(row.age_days)), "number", 9)
INVITED: Final = Column[Row]("Invited", _invited_cell, "address", 64)
PLACE: Final = Column[Row]("To", lambda row: text_cell(row.place.name), max_width=40)
PLACE_WITH_ORGANIZATION: Final = Column[Row]("To", _place_cell, max_width=40)
RULE: Final = Column[Row]("Rule", lambda row: text_cell(row.rule))
ROLES: Final = Column[Row]("Role", lambda row: tuple(map(role_line, row.roles)))
INVITER: Final = Column[Row]("Invited by", lambda row: text_cell(row.inviter), max_width=32)
OUTCOME: Final = Column[Row]("Outcome", _outcome_cell, "state", 40)
FROM: Final = Column[Row]("Deletable from", lambda row: text_cell(row.deletable_from), "date")
LIST: Final = Column[Row]("List", lambda row: text_cell(row.source))
ID: Final = Column[Row]("Id", lambda row: text_cell(row.invitation_id), "code")


def invitation_columns(rows: Iterable[Row], *, grouped: bool = False) -> tuple[Column[Row], ...]:
    """Return the columns of a table of invitations.

    Args:
        grouped: The place is a heading above its rows, not a column.
    """
    rows = tuple(rows)
    several = len({row.place.org_id for row in rows}) > 1
    place = (PLACE_WITH_ORGANIZATION if several else PLACE,) if not grouped else ()
    due = (FROM,) if any(row.deletable_from for row in rows) else ()
    outcome = (OUTCOME,) if any(row.outcome for row in rows) else ()
    return (AGE, INVITED, *place, *due, RULE, ROLES, INVITER, *outcome)
