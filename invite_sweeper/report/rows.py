"""Invitations as rows of tables: what a run's file has of each, their order, and the columns."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
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
from invite_sweeper.models import Invitation, ListUnreadable, Source, SourceRetired
from invite_sweeper.report.document import Fact, describe_instant
from invite_sweeper.report.table import Cell, Column, display_text
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
        names: Of the organizations of its run, by id; the id where Atlas did not return one.
        outcome: `NO_OUTCOME` after an intent alone; empty if nothing was sent yet.
        detail: Of an outcome that needs attention; of a recovered one the run that did it.
        reason: The rule that makes it stale, or why it is kept.
        due: When a later sweep may delete an announced or pending invitation.
        run: The number of its run, in a table over many; `night` is that on which it began.
        when: When the line was written, in a history; `by` is the run that wrote it.
    """

    event: Invitation
    names: Mapping[str, str]
    outcome: str = ""
    detail: str = ""
    reason: str = ""
    due: str = ""
    run: int = 0
    night: date | None = None
    when: str = ""
    by: str = ""

    @classmethod
    def of_line(cls, event: Invitation, names: Mapping[str, str]) -> Self:
        """Return the row of a line."""
        match event:
            case OutcomeLine():
                return cls(event, names, event.outcome, _detail(event), event.rule)
            case Planned() | Intent():
                outcome = NO_OUTCOME if isinstance(event, Intent) else ""
                return cls(event, names, outcome, reason=event.rule)
            case Announced() | WouldBeAnnounced():
                return cls(event, names, reason=event.rule, due=event.deletable_from)
            case Kept():
                return cls(event, names, reason=why_kept(event))
            case PendingInvitation():
                reason = why_kept(event) if event.rule is None else event.rule
                return cls(event, names, event.decision, reason=reason, due=event.goes_at or "")
            case _:
                return cls(event, names)

    @property
    def organization(self) -> str:
        """The organization's name, or its id."""
        return name_of(self.event.org_id, self.names)

    @property
    def user(self) -> str:
        """The invited address; the id of an invitation without one."""
        event = self.event
        if event.username or not event.invitation_id:
            return event.username or ""
        return f"id {event.invitation_id}"

    @property
    def place(self) -> str:
        """The project with its organization, or the organization alone for a list of its own."""
        return place_name(self.event, self.organization)

    @property
    def person_in_place(self) -> str:
        """Who is invited where."""
        return f"{display_text(self.user)} in {self.place}"

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


def name_of(org_id: str, names: Mapping[str, str]) -> str:
    """Return the name of an organization, or its id."""
    return escape_unprintable(names.get(org_id, org_id))


def place_name(event: Invitation | ListUnreadable, organization: str) -> str:
    """Return `project · organization`, or the organization alone for a list of its own.

    Args:
        organization: Its name; empty if it is not known.
    """
    if event.project_id is None and event.project_name is None:
        return organization
    project = display_text(event.project_name) or "(no name)"
    return " · ".join(filter(None, (project, organization)))


def place_of_list(unreadable: ListUnreadable, names: Mapping[str, str]) -> str:
    """Return the place of a list that could not be read."""
    return place_name(unreadable, name_of(unreadable.org_id or "", names))


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


def organization_names_of(run: RunRecord) -> dict[str, str]:
    """Return the organizations' names by id, or the id where Atlas did not return one."""
    names = {org_id: org_id for org_id in run.start.organizations}
    if run.end is not None:
        names |= {one.id: one.name for one in run.end.organizations if one.name}
    return names


def rows_of(run: RunRecord) -> list[Row]:
    """Return the planned deletions with their outcomes; of a restore, who was invited again."""
    names = organization_names_of(run)
    rows: list[Row] = []
    for line in run.lines.values():
        request = run.request_of(line)
        if request is None:
            continue
        row = Row.of_line(request, names)
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
    names = organization_names_of(run)
    for line in run.lines.values():
        if isinstance(line.event, kinds):
            yield Row.of_line(line.event, names)


class UnreadList(msgspec.Struct, frozen=True):
    """A list that could not be read."""

    list: ListUnreadable
    where: str

    @property
    def answer(self) -> str:
        """What Atlas answered, in a word."""
        return describe_answer(self.list.http_status, self.list.error_code)

    @property
    def sentence(self) -> str:
        """Its place, and why it was not read."""
        return f"{self.where}: {escape_unprintable(truncate(self.list.reason))}"


def unread_lists(run: RunRecord) -> list[UnreadList]:
    """Return the lists that could not be read."""
    names = organization_names_of(run)
    unread = [line.event for line in run.lines.values() if isinstance(line.event, ListUnreadable)]
    return [
        UnreadList(each, place_of_list(each, names))
        for each in unread
        if not isinstance(each, SourceRetired)  # a line of the story
    ]


UNREAD: Final[tuple[Column[UnreadList], ...]] = (
    Column("Where", lambda each: each.where),
    Column("Outcome", lambda each: Cell(f"not read: {each.answer}", "warning"), "state"),
    Column("List", lambda each: each.list.source, fit="falls"),
)


def meanings_of_unread(lists: Iterable[UnreadList]) -> tuple[Fact, ...]:
    """Return what the answers in the rows mean, each once."""
    meanings = dict.fromkeys((each.answer, each.list.reason) for each in lists)
    return tuple(
        Fact(display_text(answer), escape_unprintable(truncate(reason)))
        for answer, reason in meanings
    )


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
    told = [_ORDINARY_ROLES.get(role, display_text(role)) for role in roles]
    for role, projects in _projects_by_role(row.event).items():
        where = display_text(projects[0])
        if len(projects) > 1:
            where = pluralize(len(projects), "project")
        told.append(f"{_ORDINARY_ROLES.get(role, display_text(role))} in {where}")
    styles = {_role_style(role) for role in row.event.all_roles}
    strongest: tuple[Style, ...] = ("privileged", "strong", "plain")
    return Cell(", ".join(told), next((style for style in strongest if style in styles), "plain"))


def _projects_by_role(event: Invitation) -> Mapping[str, list[str]]:
    """Return the projects in which an organization user has a role: their names, else their ids."""
    names = dict(event.linked_projects)
    projects_by_role: dict[str, list[str]] = {}
    for project_id, role in event.project_roles:
        project = names.get(project_id) or project_id
        projects_by_role.setdefault(role, []).append(project)
    return projects_by_role


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
    "stale": "bad",
    "kept": "good",
}


def _age(row: Row) -> str | None:
    """Return the age in days."""
    age_days = row.event.age_days
    if age_days is None:
        return "?" if row.event.invitation_id else None
    return f"{age_days:,.1f} d"


def _lists(row: Row) -> str:
    """Return the lists that show an invitation, those of projects with their number."""
    event = row.event
    sources = [event.source, *(entry.source for entry in event.entries)]
    return ", ".join(_of_projects(source, count) for source, count in Counter(sources).items())


def _of_projects(source: Source, count: int) -> str:
    """Return the name of a list, with its number if there are several."""
    return source.value if count == 1 else f"{source.value} of {pluralize(count, 'project')}"


def _outcome(row: Row) -> Cell | None:
    """Return what became of it, as a word; one that needs attention has the answer of Atlas."""
    if not row.outcome:  # nothing was sent
        return None
    outcome = display_text(row.outcome)
    words = outcome.replace("_", " ")
    if isinstance(row.event, OutcomeLine) and row.has_failed:
        words = f"{words}: {describe_answer(row.event.http_status, row.event.error_code)}"
    elif row.detail:
        words = f"{words}, {row.detail}"
    return Cell(words, _OUTCOME_STYLES.get(outcome, "plain"))


def meanings_of(rows: Iterable[Row]) -> tuple[Fact, ...]:
    """Return what the outcomes in the rows mean that need attention, each once."""
    failed = [(_outcome(row), row.detail) for row in rows if row.has_failed and row.detail]
    words = dict.fromkeys((cell.text, detail) for cell, detail in failed if cell is not None)
    return tuple(Fact(display_text(word), detail, "strong") for word, detail in words)


def _goes(row: Row) -> str:
    """Return the day or the instant from which a sweep may delete it."""
    is_day = isinstance(row.event, PendingInvitation) or not row.due
    return row.due if is_day else describe_instant(row.due)


def _status(row: Row) -> str | None:
    """Return the status of a pending invitation, as Atlas names it."""
    event = row.event
    if not isinstance(event, PendingInvitation):
        return None
    return (event.status or "no status").lower().replace("_", " ")


PEOPLE: Final[tuple[Column[Row], ...]] = (
    Column("When", lambda row: row.when, "date"),
    Column("Night", lambda row: str(row.night) if row.night else None, "date"),
    Column("Run", lambda row: row.by or (str(row.run) if row.run else None)),
    Column("Goes", _goes, "date"),
    Column("Age", _age, "number"),
    Column("Person", lambda row: row.user, "person"),
    Column("Where", lambda row: row.place),
    Column("Roles", roles_cell),
    Column("Inviter", lambda row: row.event.inviter_label, fit="falls"),
    Column("Reason", lambda row: row.reason),
    Column("Status", _status, fit="falls"),
    Column("Outcome", _outcome, "state"),
    Column("List", _lists, fit="falls"),
)
"""The columns of every table of people: when, who, where, roles, inviter, why, what became of it.

A reason is the name of a rule, or why an invitation is kept.
"""
PEOPLE_AND_IDS: Final[tuple[Column[Row], ...]] = (
    *PEOPLE,
    Column("Id", lambda row: row.event.invitation_id, "code", "id"),
    Column("Project id", lambda row: row.event.project_id, "code", "id"),
    Column("Organization id", lambda row: row.event.org_id, "code", "id"),
)
"""The columns where `-v` asks for ids."""
