"""Columns as data: what the tables of the terminal, the page and Markdown show, in which order.

They lay out cells; which fields a table has is decided here.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from invite_sweeper.report.rows import OWNER, Role, Row
from invite_sweeper.text import escape_unprintable, pluralize

T = TypeVar("T")


Style: TypeAlias = Literal[
    "plain", "note", "strong", "privileged", "good", "info", "warning", "bad"
]
Kind: TypeAlias = Literal["text", "address", "prose", "number", "date", "state", "code"]


class Line(NamedTuple):
    """One line of a cell."""

    text: str
    style: Style = "plain"


class Cell(NamedTuple):
    """One value of a table.

    Attributes:
        rank: Sort key if the text is a number or a date.
    """

    lines: tuple[Line, ...]
    rank: str = ""

    @property
    def text(self) -> str:
        """The lines as one text."""
        return ", ".join(line.text for line in self.lines)


class Column(NamedTuple, Generic[T]):
    """A column of a table.

    Attributes:
        kind: Decides how it is aligned and sorted.
        max_width: Terminal cells; longer text wraps.
    """

    heading: str
    cell: Callable[[T], Cell]
    kind: Kind = "text"
    max_width: int = 24


def text_cell(text: str, style: Style = "plain") -> Cell:
    """Return the cell of a text; unprintable characters are escaped."""
    return Cell((Line(escape_unprintable(text), style),) if text else ())


def count_cell(number: int | None) -> Cell:
    """Return the cell of a count; empty if unknown."""
    return Cell(()) if number is None else Cell((Line(f"{number:,}"),), str(number))


def age_cell(days: float | None) -> Cell:
    """Return the cell of an age in days; `?` if it is unknown."""
    return Cell((Line(format_age(days)),), "" if days is None else repr(days))


def time_cell(when: datetime | None) -> Cell:
    """Return the cell of a time in UTC, to the minute."""
    return Cell((Line(f"{when:%Y-%m-%d %H:%M}"),), when.isoformat()) if when else Cell(())


def format_age(age_days: float | None) -> str:
    """Return an age in days, or `?` if it is unknown."""
    return "?" if age_days is None else f"{age_days:,.1f} d"


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
_PRIVILEGED: Final = (OWNER, "ADMIN")


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
    """Return the address, the history, and with duplicates the lists that contain the user."""
    lines = [Line(f"{row.user} (new)" if row.new else row.user)]
    if row.history:
        lines.append(Line(row.history, "warning"))
    if row.others:
        lists = ", ".join((row.source, *(other.source for other in row.others)))
        lines.append(Line(f"in {len(row.others) + 1} lists: {lists}", "note"))
    return Cell(tuple(lines))


def _place_cell(row: Row) -> Cell:
    return Cell((Line(row.place.name),))


def _full_place_cell(row: Row) -> Cell:
    lines = (Line(row.place.name), Line(row.place.organization, "note"))
    return Cell(lines[: 1 if row.place.project is None else 2])


AGE: Final = Column[Row]("Age", lambda row: age_cell(row.age_days), "number", 9)
INVITED: Final = Column[Row]("Invited", _invited_cell, "address", 64)
PLACE: Final = Column[Row]("To", _place_cell, max_width=40)
PLACE_WITH_ORGANIZATION: Final = Column[Row]("To", _full_place_cell, max_width=40)
RULE: Final = Column[Row]("Rule", lambda row: text_cell(row.rule))
ROLES: Final = Column[Row]("Role", lambda row: Cell(tuple(map(role_line, row.roles))))
INVITER: Final = Column[Row]("Invited by", lambda row: text_cell(row.inviter), max_width=32)
OUTCOME: Final = Column[Row](
    "Outcome",
    lambda row: Cell(tuple(map(outcome_line, (row.outcome, *(o.outcome for o in row.others))))),
    "state",
    16,
)
LIST: Final = Column[Row]("List", lambda row: text_cell(row.source))
RESULT: Final = Column[Row](
    "Outcome",
    lambda row: Cell((outcome_line(row.outcome), *((Line(row.detail),) if row.detail else ()))),
    "state",
)
"""The outcome with its details, in a table without a section for what failed."""


def invitation_columns(rows: Iterable[Row], *, grouped: bool = False) -> tuple[Column[Row], ...]:
    """Return the columns of a table of invitations.

    Args:
        grouped: The place is a heading above its rows, not a column.
    """
    rows = tuple(rows)
    several = len({row.place.org_id for row in rows}) > 1
    place = (PLACE_WITH_ORGANIZATION if several else PLACE,) if not grouped else ()
    outcome = (OUTCOME,) if any(row.outcome for row in rows) else ()
    return (AGE, INVITED, *place, RULE, ROLES, INVITER, *outcome)
