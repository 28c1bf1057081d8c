"""Invitations as rows of tables: what a run's file has of each, their order, columns and cells."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Final, Self

import msgspec

from invite_sweeper.atlas.responses import is_permission_error
from invite_sweeper.audit.events import (
    Announced,
    Intent,
    Kept,
    OutcomeLine,
    Planned,
    WouldBeAnnounced,
    describe_answer,
)
from invite_sweeper.audit.record import RunRecord
from invite_sweeper.endings import Style
from invite_sweeper.explain import PendingInvitation
from invite_sweeper.models import Invitation, ListUnreadable, SourceRetired
from invite_sweeper.report.document import (
    Cell,
    CellsOf,
    Column,
    Line,
    Table,
    describe_instant,
    display_text,
)
from invite_sweeper.sweep.selection import describe_keep_reason
from invite_sweeper.text import escape_unprintable, pluralize, truncate

NO_OUTCOME: Final = "no_outcome"
"""Of a request that was sent, or may have been, and whose result is not in the file."""
FAILED_OUTCOMES: Final = frozenset({"failed", "unknown"})
"""Outcomes that need the operator's attention."""


class Row(msgspec.Struct):
    """One invitation, and what became of it.

    What only some lines have, such as the rule of a planned invitation or the day of an announced
    one, is empty for the others.

    Attributes:
        event: The line that describes it.
        labels: The names of the organizations of its run with their ids, by id.
        outcome: `NO_OUTCOME` after an intent alone; empty if nothing was sent yet.
        detail: Of an outcome that needs attention; why an invitation is kept; of a pending one,
            the decision about it.
        due: When a later sweep may delete an announced or pending invitation.
        run: The number of its run, in a table over many; `night` is that on which it began.
    """

    event: Invitation
    labels: Mapping[str, str]
    outcome: str = ""
    detail: str = ""
    rule: str = ""
    due: str = ""
    run: int = 0
    night: date | None = None

    @classmethod
    def of_line(cls, event: Invitation, labels: Mapping[str, str]) -> Self:
        """Return the row of a line."""
        match event:
            case OutcomeLine():
                return cls(event, labels, event.outcome, _detail(event), event.rule)
            case Planned() | Intent():
                outcome = NO_OUTCOME if isinstance(event, Intent) else ""
                return cls(event, labels, outcome, rule=event.rule)
            case Announced() | WouldBeAnnounced():
                return cls(event, labels, rule=event.rule, due=event.deletable_from)
            case Kept():
                return cls(event, labels, detail=why_kept(event))
            case PendingInvitation():
                decision = f"kept: {why_kept(event)}"
                if event.rule is not None:
                    decision = f"stale: {event.rule}"
                return cls(event, labels, detail=decision, due=event.goes_at or "")
            case _:
                return cls(event, labels)

    @property
    def organization(self) -> str:
        """The organization's name with its id, or the id alone."""
        return label_of(self.event.org_id, self.labels)

    @property
    def user(self) -> str:
        """The invited address."""
        return display_text(self.event.username) or "(no address)"

    @property
    def place(self) -> str:
        """The project's name, or the organization's with its id."""
        return place_name(self.event, self.organization)

    @property
    def place_in_text(self) -> str:
        """The place, with its organization where the run was about several."""
        return place_name(self.event, self.organization, full=self.is_of_several)

    @property
    def person_in_place(self) -> str:
        """Who is invited where."""
        return f"{self.user} in {self.place_in_text}"

    @property
    def is_of_several(self) -> bool:
        """Whether its run was about several organizations, which each place then names."""
        return len(self.labels) > 1

    @property
    def is_owner(self) -> bool:
        """Whether any role is that of an owner; Atlas may add some."""
        return any("OWNER" in role for role in self.event.all_roles)

    @property
    def has_failed(self) -> bool:
        """Whether its outcome needs the operator's attention."""
        return self.outcome in FAILED_OUTCOMES


def why_kept(event: Kept | PendingInvitation) -> str:
    """Return why an invitation is kept."""
    return describe_keep_reason(event.reason or "", event.unread or event.outside)


def label_of(org_id: str, labels: Mapping[str, str]) -> str:
    """Return the name of an organization with its id, or the id alone."""
    return escape_unprintable(labels.get(org_id, org_id))


def place_name(event: Invitation | ListUnreadable, organization: str, *, full: bool = False) -> str:
    """Return the project's name, or the organization's with its id for a list of its own.

    Args:
        organization: Its name with its id; empty if neither is known.
        full: Whether the organization follows the name of a project.
    """
    organization_name = f"organization {organization}".rstrip()
    is_of_organization = event.project_id is None and event.project_name is None
    if is_of_organization:
        return organization_name
    project = display_text(event.project_name) or "(no name)"
    return f"{project} of {organization_name}" if full and organization else project


def place_of_list(unreadable: ListUnreadable, labels: Mapping[str, str]) -> str:
    """Return the place of a list that could not be read, with its organization."""
    organization = label_of(unreadable.org_id or "", labels)
    return place_name(unreadable, organization, full=True)


def row_order(row: Row) -> tuple[object, ...]:
    """Return what rows are sorted by: failures, owners, the oldest, then by project and user."""
    event = row.event
    oldest_first = float("inf") if event.age_days is None else -event.age_days
    return (
        not row.has_failed,
        not row.is_owner,
        oldest_first,
        event.created_at or "",
        event.project_name or "",
        event.username or "",
        # No two rows are equal: the order does not depend on that of Atlas's answers.
        event.source.value,
        event.invitation_id,
    )


def sorted_rows(rows: Iterable[Row]) -> list[Row]:
    """Return rows in their order, that of `row_order`."""
    return sorted(rows, key=row_order)


# The rows of a run, made of its lines when they are asked for.


def organization_labels_of(run: RunRecord) -> dict[str, str]:
    """Return the organizations' names with their ids, by id; the last line of a file has them."""
    labels = {org_id: org_id for org_id in run.start.organizations}
    if run.end is not None:  # before the question, the file has no last line
        labels |= {organization.id: organization.label for organization in run.end.organizations}
    return labels


def rows_of(run: RunRecord) -> list[Row]:
    """Return the planned deletions with their outcomes; of a restore, who was invited again."""
    labels = organization_labels_of(run)
    rows: list[Row] = []
    for line in run.lines.values():
        request = run.request_of(line)
        if request is None:
            continue
        row = Row.of_line(request, labels)
        recovered = run.recovered_requests.get(request.key)
        if recovered is not None:
            details = row.detail, f"recovered by run {recovered.by}"
            row.detail = "; ".join(filter(None, details))
        rows.append(row)
    return rows


def planned_rows(run: RunRecord) -> list[Row]:
    """Return the planned deletions with their outcomes; none of a restore, which plans nothing."""
    return rows_of(run) if run.mode != "restore" else []


def announced_rows(run: RunRecord) -> list[Row]:
    """Return what is announced for a later deletion, or would be: the next to be deleted first."""
    rows = sorted_rows(_rows_of_events(run, (Announced, WouldBeAnnounced)))
    # Sorting is stable: what is due at the same instant stays in the order of rows.
    return sorted(rows, key=lambda row: row.due)


def kept_rows(run: RunRecord) -> list[Row]:
    """Return what a run kept whose lines were all read, if the policy has `audit.record: all`."""
    return sorted_rows(_rows_of_events(run, (Kept,)))


def _rows_of_events(run: RunRecord, kinds: tuple[type[Invitation], ...]) -> Iterator[Row]:
    labels = organization_labels_of(run)
    for line in run.lines.values():
        if isinstance(line.event, kinds):
            yield Row.of_line(line.event, labels)


def unread_lines(run: RunRecord) -> list[str]:
    """Return the place of each list that could not be read, and why."""
    labels = organization_labels_of(run)
    unread = [line.event for line in run.lines.values() if isinstance(line.event, ListUnreadable)]
    return [
        f"{place_of_list(each, labels)}: {escape_unprintable(truncate(each.reason))}"
        for each in unread
        if not isinstance(each, SourceRetired)  # a line of the story
    ]


ANNOUNCED_CAPTION: Final = "Announced for a later deletion"
WOULD_BE_ANNOUNCED_CAPTION: Final = "Would be announced"
KEPT_CAPTION: Final = "Kept invitations"
UNREAD_CAPTION: Final = "Lists not read; nothing is deleted there"


def _detail(event: OutcomeLine) -> str:
    """Return why an outcome needs attention; empty for any other."""
    if event.outcome not in FAILED_OUTCOMES:
        return ""
    status = event.http_status
    code = event.error_code
    reason = event.reason or describe_answer(status, code)
    text = display_text(reason)
    if is_permission_error(status, code):
        text += f"; deleting requires the role {event.source.roles.deleting}"
    return text


_MAX_ROLES: Final = 20


def text_cell(text: str | None) -> Cell:
    """Return the cell of a text, as `display_text` shows it; of no text, an empty one."""
    return (Line(display_text(text)),) if text else ()


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
    "failed": "bad",
    "unknown": "bad",
    NO_OUTCOME: "bad",
}


def age_cell(row: Row) -> Cell:
    """Return the age in days."""
    age_days = row.event.age_days
    return text_cell("?" if age_days is None else f"{age_days:,.1f} d")


def invited_cell(row: Row) -> Cell:
    """Return the address, and the lists if several show the invitation."""
    lines = [Line(row.user)]
    if row.event.entries:
        lines.append(Line(f"in {', '.join(_lists_of(row.event))}", "note"))
    return tuple(lines)


def _lists_of(event: Invitation) -> Iterator[str]:
    """Yield the lists that show an invitation, those of projects with their number."""
    sources = [event.source, *(entry.source for entry in event.entries)]
    for source, count in Counter(sources).items():
        of_projects = "" if source.is_organization_level else f" of {pluralize(count, 'project')}"
        yield f"{source.value}{of_projects}"


def _outcome_cell(row: Row) -> Cell:
    if not row.outcome:  # nothing was sent
        return ()
    outcome = display_text(row.outcome)
    state = Line(outcome.replace("_", " "), _OUTCOME_STYLES.get(outcome, "plain"))
    return (state, Line(row.detail, "strong")) if row.detail else (state,)


def list_cell(row: Row) -> Cell:
    """Return the list that shows the invitation, and its id there: it means nothing elsewhere."""
    invitation_id = Line(display_text(row.event.invitation_id), "note")
    return (Line(row.event.source), invitation_id)


def place_cell(row: Row) -> Cell:
    """Return the place; below a project its organization, where the run was about several."""
    place = Line(row.place)
    if row.event.project_id is None or not row.is_of_several:
        return (place,)
    return (place, Line(row.organization, "note"))


def detail_cell(row: Row) -> Cell:
    """Return why an invitation is kept, or the decision about a pending one."""
    return text_cell(row.detail)


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
ROLES_AND_INVITER: Final[CellsOf[Row]] = {
    _ROLES: roles_cell,
    _INVITER: lambda row: text_cell(row.event.inviter_label),
}


INVITATIONS: Final[CellsOf[Row]] = {
    AGE: age_cell,
    INVITED: invited_cell,
    PLACE: place_cell,
    _FROM: lambda row: text_cell(row.due and describe_instant(row.due)),
    BECAUSE: lambda row: () if row.outcome else detail_cell(row),
    _RULE: lambda row: text_cell(row.rule),
    **ROLES_AND_INVITER,
    _OUTCOME: _outcome_cell,
}
"""The columns of a table of invitations; of a kept one, the detail is why it is kept."""


def table_by_place(rows: Sequence[Row], all_rows: Iterable[Row]) -> Table:
    """Return the table of invitations below their places, by organization.

    Args:
        rows: Those that are shown.
        all_rows: The headings count them.
    """
    totals = Counter(row.place_in_text for row in all_rows)
    places = dict.fromkeys(row.place_in_text for row in rows)
    rank = {place: number for number, place in enumerate(places)}
    # The places of one organization are in the order of their first rows.
    ordered = sorted(rows, key=lambda row: (row.organization, rank[row.place_in_text]))
    columns = {**INVITATIONS, PLACE: lambda row: (Line(row.place_in_text),)}
    table = Table.of("plan", columns, ordered)
    return table._replace(grouped_by=table.columns.index(PLACE), group_totals=totals)
