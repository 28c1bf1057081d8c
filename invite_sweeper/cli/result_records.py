"""What the commands write with `--output json`: the one description that the schemas come from.

The summary of `sweep` and `plan` is `RunSummary` with `PlannedFields`; `validate` describes its
result itself. Tests compare the results of real commands with the schemas.
"""

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from invite_sweeper.endings import Reason
from invite_sweeper.errors import ErrorParts
from invite_sweeper.models import Source


class ErrorRecord(TypedDict):
    """What a command writes where it has no result.

    Attributes:
        reasons: Why the command has no result, as words for programs.
    """

    exit_code: int
    reasons: list[Reason]
    error: ErrorParts


class InvitationRecord(TypedDict):
    """An invitation, with the fields of the audit log.

    Attributes:
        project_id: None for an invitation to an organization.
        project_name: None for an invitation to an organization.
        username: The invited address; None where Atlas returned none.
        inviter: An address, or the public key of an API key.
        created_at: RFC 3339; as Atlas wrote it, if that is not a date.
        expires_at: Likewise.
        age_days: Rounded down to one decimal; None without a readable date.
        source: The list that contains the invitation.
        status: Only if it is not PENDING.
        team_ids: Only if there are any.
        project_roles: The project roles of an organization invitation, as pairs of id and role.
        linked_projects: What an organization invitation gives access to, as pairs of id and name.
    """

    invitation_id: str
    project_id: str | None
    project_name: str | None
    org_id: str
    username: str | None
    roles: list[str]
    inviter: str | None
    created_at: str | None
    expires_at: str | None
    age_days: float | None
    source: Source
    status: NotRequired[str | None]
    team_ids: NotRequired[list[str]]
    project_roles: NotRequired[list[tuple[str, str]]]
    linked_projects: NotRequired[list[tuple[str, str]]]


class PlannedRecord(InvitationRecord):
    """A planned invitation.

    Attributes:
        rule: The first rule that makes it stale.
        new: Not planned in the run that this one is compared with; only if it was not.
        bounced: How often it was deleted before and came back; only if it was.
        outcome: What became of it; only after a sweep.
    """

    rule: str
    new: NotRequired[Literal[True]]
    bounced: NotRequired[int]
    outcome: NotRequired[str]


class PlannedFields(TypedDict):
    """What the summary of a command has beside its counts.

    Attributes:
        invitations: The planned invitations, at most 10,000.
        truncated: There are more, or the audit log could not be read; it has all.
    """

    invitations: list[PlannedRecord]
    truncated: NotRequired[Literal[True]]
