"""Rows of invitations: what a run's file has of each, where it is, and in which order they are.

`columns.py` decides which of it is shown, and how.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from invite_sweeper.atlas.responses import is_permission_error
from invite_sweeper.audit.events import OutcomeLine, describe_answer
from invite_sweeper.models import Invitation, ListUnreadable
from invite_sweeper.outcomes import Outcome
from invite_sweeper.report.wording import display_text
from invite_sweeper.sweep.selection import describe_keep_reason
from invite_sweeper.text import escape_unprintable

NO_OUTCOME: Final = "no_outcome"
"""Of a request that was sent, or may have been, and whose result is not in the file."""
FAILED_OUTCOMES: Final = frozenset({"failed", "unknown"})
"""Outcomes that need the operator's attention."""


@dataclass(slots=True)
class Row:
    """One invitation, and what became of it.

    What only some lines have, such as the rule of a planned invitation or the day of an announced
    one, is empty for the others.

    Attributes:
        event: The line that describes it.
        labels: The names of organizations with their ids, by id.
        outcome: `NO_OUTCOME` after an intent alone; empty if nothing was sent yet.
        detail: Of an outcome that needs attention; why an invitation is kept.
    """

    event: Invitation
    labels: Mapping[str, str]
    outcome: str = ""
    detail: str = ""

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
    def due(self) -> str:
        """When a later sweep may delete an announced invitation; empty for any other."""
        return getattr(self.event, "deletable_from", "")

    @property
    def goes(self) -> str:
        """From which day on a sweep may end a listed invitation; empty where no date does."""
        return getattr(self.event, "goes_at", None) or ""

    @property
    def is_stale(self) -> bool:
        """Whether a rule makes it stale and nothing keeps it."""
        return getattr(self.event, "rule", None) is not None

    @property
    def decision(self) -> str:
        """What a sweep decides about a listed invitation, in a few words."""
        if self.is_stale:
            return f"stale: {getattr(self.event, 'rule', '')}"
        reason = getattr(self.event, "reason", "")
        return f"kept: {describe_keep_reason(reason, getattr(self.event, 'unread', ()))}"

    @property
    def is_owner(self) -> bool:
        """Whether any role is that of an owner; Atlas may add some."""
        return any("OWNER" in role for role in self.event.all_roles)

    @property
    def has_failed(self) -> bool:
        """Whether its outcome needs the operator's attention."""
        return self.outcome in FAILED_OUTCOMES

    @property
    def is_gone(self) -> bool:
        """Whether it is not there any more, by its outcome."""
        return self.outcome in {Outcome.DELETED, Outcome.ALREADY_GONE}

    def set_outcome(self, line: OutcomeLine) -> None:
        """Set the outcome, with its detail where it needs attention."""
        self.outcome = line.outcome
        self.detail = _detail(line) if self.has_failed else ""


RowT = TypeVar("RowT", bound=Row)


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


def sorted_rows(rows: Iterable[RowT]) -> list[RowT]:
    """Return rows in their order, that of `row_order`."""
    return sorted(rows, key=row_order)


def _detail(event: OutcomeLine) -> str:
    status = event.http_status
    code = event.error_code
    reason = event.reason or describe_answer(status, code)
    text = display_text(reason)
    if is_permission_error(status, code):
        text += f"; deleting requires the role {event.source.roles.deleting}"
    return text
