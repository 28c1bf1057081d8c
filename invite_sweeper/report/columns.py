"""The columns of the tables of invitations, and their cells; which a table has is decided here."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from invite_sweeper.endings import Style
from invite_sweeper.models import Invitation
from invite_sweeper.report.document import Cell, CellsOf, Column, Line
from invite_sweeper.report.rows import FAILED_OUTCOMES, NO_OUTCOME, Row
from invite_sweeper.report.wording import describe_instant, display_text
from invite_sweeper.text import pluralize

_MAX_ROLES: Final = 20


def text_cell(text: str | None) -> Cell:
    """Return the cell of a text, as `display_text` shows it; of no text, an empty one."""
    return line_cell(display_text(text)) if text else ()


def line_cell(text: str, style: Style = "plain") -> Cell:
    """Return the cell of one line that is safe to show."""
    return (Line(text, style),)


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
_PRIVILEGED: Final = ("OWNER", "ADMIN")


def roles_cell(row: Row) -> Cell:
    """Return each role once, with the projects in which an organization user has it.

    Ordinary roles are spelled out. Owner, administrator and unknown roles keep Atlas's
    capitals and are highlighted.
    """
    roles = dict.fromkeys(row.event.roles)  # a list may show one twice
    lines = [_role_line(role) for role in roles]
    for role, projects in _projects_by_role(row.event).items():
        where = display_text(projects[0])
        if len(projects) > 1:
            where = pluralize(len(projects), "project")
        lines.append(_role_line(role, f" in {where}"))
    return tuple(lines[:_MAX_ROLES])


def _projects_by_role(event: Invitation) -> Mapping[str, list[str]]:
    """Return the projects in which an organization user has a role: their names, else their ids."""
    names = dict(event.linked_projects)
    projects_by_role: dict[str, list[str]] = {}
    for project_id, role in event.project_roles:
        project = names.get(project_id) or project_id
        projects_by_role.setdefault(role, []).append(project)
    return projects_by_role


def _role_line(role: str, where: str = "") -> Line:
    name = _ORDINARY_ROLES.get(role, display_text(role))
    return Line(f"{name}{where}", _role_style(role))


def _role_style(role: str) -> Style:
    if role in _ORDINARY_ROLES:
        return "plain"
    return "privileged" if any(word in role for word in _PRIVILEGED) else "strong"


_OUTCOME_STYLES: Final[Mapping[str, Style]] = {
    "deleted": "good",
    "restored": "good",
    "already_gone": "info",
    "changed": "info",
    "accepted_before": "info",
    "skipped": "warning",
    "active": "bad",
    NO_OUTCOME: "bad",
}
"""Of the outcomes that have not failed."""


def _outcome_style(outcome: str) -> Style:
    if outcome in FAILED_OUTCOMES:
        return "bad"
    return _OUTCOME_STYLES.get(outcome, "plain")


def _age_cell(row: Row) -> Cell:
    age_days = row.event.age_days
    return line_cell("?" if age_days is None else f"{age_days:,.1f} d")


def invited_cell(row: Row) -> Cell:
    """Return the address, and the lists if several show the invitation."""
    lines = [Line(row.user)]
    lists = list(_lists_of(row.event))
    if len(lists) > 1:
        lines.append(Line(f"in {len(lists)} lists: {', '.join(lists)}", "note"))
    return tuple(lines)


def _lists_of(event: Invitation) -> Iterator[str]:
    """Yield the lists that show an invitation, each with how often where that is several times."""
    sources = [event.source, *(entry.source for entry in event.entries)]
    for source, count in Counter(sources).items():
        yield f"{source.value} ({count})" if count > 1 else source.value


def full_place_cell(row: Row) -> Cell:
    """Return the place; below a project, its organization, which any other place names itself."""
    place = Line(row.place)
    if row.event.project_id is None:
        return (place,)
    return (place, Line(row.organization, "note"))


def _outcome_cell(row: Row) -> Cell:
    outcome = display_text(row.outcome) or "skipped"  # a deletion without an outcome was not sent
    state = Line(outcome.replace("_", " "), _outcome_style(outcome))
    if not row.detail:
        return (state,)
    return (state, Line(row.detail, "strong"))


def _due_cell(row: Row) -> Cell:
    """Return when an announced invitation may be deleted; of any other, an empty cell."""
    return text_cell(describe_instant(row.due)) if row.due else ()


def list_cell(row: Row) -> Cell:
    """Return the list that shows the invitation, and its id there: it means nothing elsewhere."""
    invitation_id = Line(display_text(row.event.invitation_id), "note")
    return (Line(row.event.source), invitation_id)


def place_cell(row: Row) -> Cell:
    """Return the place alone."""
    return line_cell(row.place)


def why_kept_cell(row: Row) -> Cell:
    """Return why an invitation is kept."""
    return text_cell(row.detail)


def _rule_cell(row: Row) -> Cell:
    return text_cell(getattr(row.event, "rule", ""))


AGE: Final = Column("Age", "number")
INVITED: Final = Column("Invited", "person")
PLACE: Final = Column("To")
BECAUSE: Final = Column("Kept because")
_RULE: Final = Column("Rule")
_ROLES: Final = Column("Role")
_INVITER: Final = Column("Invited by", prefix="by")
_OUTCOME: Final = Column("Outcome", "state")
_FROM: Final = Column("Deletable from", "date", prefix="from")
LIST_AND_ID: Final = Column("List and id", "code")
_ROLES_AND_INVITER: Final[CellsOf[Row]] = {
    _ROLES: roles_cell,
    _INVITER: lambda row: text_cell(row.event.inviter_label),
}


def listed_columns(rows: Iterable[Row]) -> CellsOf[Row]:
    """Return the columns of `list`."""
    return {
        Column("Goes", "date"): lambda row: text_cell(row.goes or "-"),
        INVITED: invited_cell,
        Column("Decision"): lambda row: text_cell(row.decision),
        PLACE: _place_cell_of(rows),
        AGE: _age_cell,
        **_ROLES_AND_INVITER,
    }


def invitation_columns(
    rows: Iterable[Row], place: Callable[[Row], Cell] | None = None
) -> CellsOf[Row]:
    """Return the columns of a table of invitations.

    Args:
        place: Returns the cell of the place; None: with the organization where the rows are of
            several.
    """
    rows = tuple(rows)
    columns: dict[Column, Callable[[Row], Cell]] = {
        AGE: _age_cell,
        INVITED: invited_cell,
        PLACE: place or _place_cell_of(rows),
    }
    if any(row.due for row in rows):
        columns[_FROM] = _due_cell
    # The detail of a row without an outcome is why it is kept.
    if any(row.detail and not row.outcome for row in rows):
        columns[BECAUSE] = why_kept_cell
    else:
        columns[_RULE] = _rule_cell
    columns |= _ROLES_AND_INVITER
    if any(row.outcome for row in rows):
        columns[_OUTCOME] = _outcome_cell
    return columns


def _place_cell_of(rows: Iterable[Row]) -> Callable[[Row], Cell]:
    """Return what shows a place, with the organization where the rows are of several."""
    organizations = {row.event.org_id for row in rows}
    return full_place_cell if len(organizations) > 1 else place_cell
