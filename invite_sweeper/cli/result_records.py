"""What the commands write with `--output json`: the one description that the schemas come from.

The summary of `sweep` and `plan` is `RunSummary` with `PlannedFields`; `validate` describes its
result itself. Tests compare the results of real commands with the schemas.
"""

from datetime import datetime
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from invite_sweeper.errors import ErrorParts, Reason
from invite_sweeper.models import OrganizationName, Source


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


class RestoredRecord(InvitationRecord):
    """A deleted invitation, and what a restore made of it.

    Attributes:
        outcome: As in the audit log; `would_restore` in a dry run.
    """

    deleted_by_run: str
    outcome: str
    http_status: int | None
    error_code: str | None
    reason: str | None


class UncertainRecord(InvitationRecord):
    """A deletion that Atlas did not confirm.

    Attributes:
        known: What is known about it.
    """

    deleted_by_run: str
    known: str


class RestoreRecord(TypedDict):
    """The result of `restore`.

    Attributes:
        now: The one instant of the run.
        deleted_by_run: The run whose deletions are restored; None without deletions.
        wanted: Deletions that were selected.
        to_restore: Those of users that are still missing.
        uncertain: Deletions in doubt that are not restored.
        restored: Invited, and pending again.
        active: Added by Atlas as members at once, without an acceptance.
        already_there: Invited or members without this restore.
        failed: Rejected or given up.
        unknown: Without a response or a proof.
        skipped: A signal, the deadline or an error came first.
        error: What stopped the restore; None when it completed.
    """

    run_id: str
    mode: Literal["restore"]
    now: datetime
    audit_log: str
    base_url: str
    organizations: list[OrganizationName]
    deleted_by_run: str | None
    dry_run: bool
    wanted: int
    to_restore: int
    uncertain: int
    restored: int
    active: int
    already_there: int
    failed: int
    unknown: int
    skipped: int
    requests: int
    retries: int
    rate_limited: int
    duration_s: float
    exit_code: int
    reasons: list[Reason]
    error: ErrorParts | None
    warnings: list[str]
    invitations: list[RestoredRecord]
    uncertain_invitations: list[UncertainRecord]


class KeyRecord(TypedDict):
    """One key of a rule or keep entry, compared with an invitation.

    Attributes:
        unknown: Why it cannot be evaluated; None if it can.
    """

    key: str
    expected: str
    actual: str
    matched: bool
    unknown: str | None


class EntryRecord(TypedDict):
    """A rule or keep entry, compared with an invitation.

    Attributes:
        unknown: Why it cannot be evaluated; None if it can.
        ended: A keep entry that no longer applies.
        note: The reason of a keep entry, or when it ended.
    """

    name: str
    matched: bool
    unknown: str | None
    ended: bool
    note: str | None
    keys: list[KeyRecord]


class DecisionRecord(TypedDict):
    """Whether a sweep would delete an invitation.

    Attributes:
        rule: The first rule that matches; None for a kept invitation.
        kept: Why it is kept, a key of `kept_by_reason`; None for a stale one.
        bounced: How often it was deleted before and came back.
    """

    stale: bool
    rule: str | None
    kept: str | None
    bounced: int
    description: str


class ExplanationRecord(InvitationRecord):
    """An invitation, and why it is stale or kept.

    Attributes:
        by_policy: The decision of the policy alone.
        decision: The decision of a run, in which earlier deletions and a plan may keep more.
    """

    keep: list[EntryRecord]
    rules: list[EntryRecord]
    by_policy: DecisionRecord
    decision: DecisionRecord


class UnreadableRecord(TypedDict):
    """A list that could not be read.

    Attributes:
        project_id: The organization's id for a list of an organization.
        rows: Rows that Atlas sent before.
    """

    project_id: str
    project_name: str
    reason: str
    http_status: int | None
    error_code: str | None
    source: Source
    org_id: str | None
    rows: int


class SearchRecord(TypedDict):
    """The result of `explain`.

    Attributes:
        term: What was searched for.
        projects: Number of projects that were read.
        invitations: Number of invitations that were read.
        out_of_scope: Projects that the policy excludes.
        unreadable: Lists that may contain more invitations.
        found: The invitations that match the term.
    """

    term: str
    now: datetime
    policy_sha256: str
    sources: list[Source]
    projects: int
    invitations: int
    organizations: list[OrganizationName]
    out_of_scope: list[str]
    unreadable: list[UnreadableRecord]
    found: list[ExplanationRecord]
    exit_code: int


class AuditLineRecord(TypedDict):
    """A line of `audit show`: one record of the audit log, whose event decides the other fields.

    Attributes:
        seq: From 1 in each run.
        prev: SHA-256 of the line before.
        line_sha256: SHA-256 of the line itself.
    """

    ts: str
    run_id: str
    seq: int
    event: str
    prev: str
    line_sha256: str
