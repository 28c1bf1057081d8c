"""The events of the audit log: one struct for each, written and read.

A struct has the fields of its event. `chain.HashChain` puts those before them that give a line
its place in the log. Plan files and results are made of the same structs.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, NamedTuple, Self, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from invite_sweeper.counts import Counts
from invite_sweeper.endings import RunWarning
from invite_sweeper.errors import ErrorParts
from invite_sweeper.json_text import to_json
from invite_sweeper.models import (
    Invitation,
    InvitationKey,
    Population,
    Source,
    Timestamp,
    UnreadableDate,
    UserKey,
)
from invite_sweeper.text import casefold_visible


class EventFields(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The fields of one event. Those with a default are written only if they differ from it.

    Attributes:
        event: The name of the event in the log.
    """

    event: ClassVar[str]


class RunStarted(EventFields, frozen=True, kw_only=True):
    """The first line of a run.

    Attributes:
        mode: `dry-run`, `sweep` or `restore`.
        actor: A client id or public key, or `token`.
        now: The instant of the run, RFC 3339.
        organizations: Ids.
        group_id: Shared by the runs of one command.
        scope_sha256: The hash of what the run reads, see `scope.scope_sha256`.
        quarantine: Whether the policy sets `quarantine`.
        credentials: The name of the set of credentials; None for the plain variables.
        signing_key_env: The variable of the key that signs the log.
        plan_sha256: The digest of the saved plan that is applied.
        plan_approved_by: The fingerprint of the key that approved it.
        dry_run: Only of a restore.
        files: The logs that a restore reads.
        log: The name of the log.
        new_log: The log was started anew with `--new-log`.
    """

    event: ClassVar[str] = "run_started"

    mode: str
    tool_version: str
    policy_sha256: str | None
    policy_path: str | None
    base_url: str
    actor: str
    now: str
    shard: str | None
    organizations: tuple[str, ...]
    group_id: str | None = None
    scope_sha256: str | None = None
    quarantine: bool | None = None
    credentials: str | None = None
    signing_key_env: str | None = None
    plan_sha256: str | None = None
    plan_approved_by: str | None = None
    dry_run: bool | None = None
    files: tuple[str, ...] = ()
    log: str | None = None
    new_log: bool = False


class SourceRetired(EventFields, frozen=True, kw_only=True):
    """Atlas no longer serves a list for any project."""

    event: ClassVar[str] = "source_retired"

    source: Source
    reason: str
    http_status: int | None
    error_code: str | None


class ProjectUnreadable(EventFields, frozen=True, kw_only=True):
    """A list that could not be read; that of an organization has no project."""

    event: ClassVar[str] = "project_unreadable"

    project_id: str | None
    project_name: str | None
    reason: str
    http_status: int | None
    error_code: str | None
    source: Source
    org_id: str | None


_PENDING: Final = "PENDING"
"""The status that is not written; a default is recognized by its identity."""


class InvitationFields(EventFields, frozen=True, kw_only=True):
    """The fields that describe an invitation.

    Attributes:
        project_id: None for an organization's invitation, as `project_name`.
        created_at: RFC 3339 in UTC; as Atlas sent it if that is not a date.
        age_days: Floored to one decimal; None without a readable date.
        status: As Atlas sent it; only lists of users have another one than PENDING.
        team_ids: Teams that the user joins.
        project_roles: Pairs of project id and role, of an organization's invitation.
        linked_projects: Pairs of project id and name that an organization's invitation gives
            access to.
    """

    invitation_id: str
    project_id: str | None
    project_name: str | None
    org_id: str
    username: str | None
    roles: tuple[str, ...]
    inviter: str | None
    created_at: str | None
    expires_at: str | None
    age_days: float | None
    source: Source
    status: str | None = _PENDING
    team_ids: tuple[str, ...] = ()
    project_roles: tuple[tuple[str, str], ...] = ()
    linked_projects: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_invitation(
        cls,
        invitation: Invitation,
        now: datetime,
        **more: Any,  # noqa: ANN401  the fields of the event
    ) -> Self:
        """Return the fields of an invitation at an instant, with those that an event adds."""
        of_organization = invitation.source.is_organization_level
        return cls(
            invitation_id=invitation.id,
            project_id=None if of_organization else invitation.project_id,
            project_name=None if of_organization else invitation.project_name,
            org_id=invitation.org_id,
            username=invitation.username,
            roles=invitation.roles,
            inviter=invitation.inviter,
            created_at=_date(invitation.created_at),
            expires_at=_date(invitation.expires_at),
            age_days=_age_days(invitation.created_at, now),
            source=invitation.source,
            status=_PENDING if invitation.status == _PENDING else invitation.status,
            team_ids=invitation.team_ids,
            project_roles=invitation.project_roles,
            linked_projects=invitation.linked_projects,
            **more,
        )

    def invitation(self) -> Invitation:
        """Return the invitation that these fields describe.

        Raises:
            ValueError: A project's invitation has no project.
        """
        of_organization = self.source.is_organization_level
        if not of_organization and (self.project_id is None or self.project_name is None):
            raise ValueError("a project's invitation has no project")
        return Invitation(
            id=self.invitation_id,
            project_id=self.scope_id,
            project_name="" if of_organization else self.project_name or "",
            org_id=self.org_id,
            username=self.username,
            roles=self.roles,
            inviter=self.inviter,
            created_at=parse_timestamp(self.created_at),
            expires_at=parse_timestamp(self.expires_at),
            source=self.source,
            status=self.status,
            team_ids=self.team_ids,
            project_roles=self.project_roles,
            linked_projects=self.linked_projects,
        )

    @property
    def scope_id(self) -> str:
        """The id of the project; for an organization's invitation, of the organization."""
        return self.org_id if self.source.is_organization_level else self.project_id or ""

    @property
    def key(self) -> InvitationKey:
        """As `Invitation.key`."""
        return self.source.value, self.org_id, self.scope_id, self.invitation_id

    @property
    def user_key(self) -> UserKey:
        """As `Invitation.user_key`."""
        user = casefold_visible(self.username) if self.username else f"#{self.invitation_id}"
        return self.org_id, user


class Planned(InvitationFields, frozen=True, kw_only=True):
    """A deletion that the run intends.

    Attributes:
        rule: The name of the rule that makes the invitation stale.
        bounced: How often the user's invitation was deleted before.
        new: The last plan of the same policy did not contain it.
        inviter_gone: No active member of the organization has the inviter's address.
        members_read: The active members that were compared.
    """

    event: ClassVar[str] = "planned"

    rule: str
    bounced: int = 0
    new: bool = False
    inviter_gone: bool = False
    members_read: int = 0


class Announced(InvitationFields, frozen=True, kw_only=True):
    """A stale invitation that may be deleted from a later instant on."""

    event: ClassVar[str] = "announced"

    rule: str
    deletable_from: str


class AnnouncementEnded(InvitationFields, frozen=True, kw_only=True):
    """A sweep read the list of an announced invitation, which is not stale any more.

    Attributes:
        reason: Why it is kept, a key of `kept_by_reason`.
    """

    event: ClassVar[str] = "announcement_ended"

    reason: str


AnnouncementKey: TypeAlias = tuple[str, str, str, str, str | None]


def announcement_key(invitation: Invitation) -> AnnouncementKey:
    """Return what is announced: the list and the id of an invitation, and its date."""
    return *invitation.key, _date(invitation.created_at)


class Intent(InvitationFields, frozen=True, kw_only=True):
    """A request is about to be sent: a DELETE; in a restore, a POST.

    Attributes:
        restores: The run whose deletion a restore undoes.
    """

    event: ClassVar[str] = "intent"

    rule: str
    restores: str | None = None


class OutcomeLine(InvitationFields, frozen=True, kw_only=True):
    """What became of a planned deletion, or of an invitation that a restore sends.

    Attributes:
        outcome: One of the contract's values.
        attempts: Requests sent.
        http_status: Of the last response.
        error_code: Atlas's `errorCode` in the last response.
        duration_ms: None if this run sent no request.
        seen_before: The user's status before the DELETE; not in a restore, as `seen_after`.
        recovered: The intent is of an interrupted run.
        recovers: The id of that run.
    """

    event: ClassVar[str] = "outcome"

    rule: str
    restores: str | None = None
    outcome: str
    attempts: int
    http_status: int | None
    error_code: str | None
    duration_ms: float | None
    seen_before: str | UnsetType | None = UNSET
    seen_after: str | UnsetType | None = UNSET
    recovered: bool = False
    recovers: str | None = None


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """The earlier run whose plan is compared.

    Attributes:
        now: The instant of the run, RFC 3339.
        refused: Whether a guard refused it: then it had a plan and deleted nothing.
    """

    run_id: str
    mode: str
    now: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class PlanChanges:
    """The stale invitations of a run, compared with the plan of an earlier one.

    `new`, `still_stale` and `not_read_then` add up to the invitations that are stale now, the
    others and `still_stale` to those that were planned then.

    Attributes:
        runs: The earlier runs, one for each credential.
        new: Stale now, and not planned then.
        still_stale: Planned then, and stale now.
        deleted: Planned then, and deleted by a run since.
        kept: Planned then, and kept now.
        gone: Planned then, and not in the lists now: accepted, revoked or expired.
        not_read: Planned then in a list that was not read now.
        not_read_then: Stale now in a list that was not read then.
    """

    runs: tuple[ComparedRun, ...]
    new: int = 0
    still_stale: int = 0
    deleted: int = 0
    kept: int = 0
    gone: int = 0
    not_read: int = 0
    not_read_then: int = 0


@dataclass(frozen=True, slots=True)
class PolicyDifference:
    """What a policy that is not accepted changes, on the invitations of this run.

    Attributes:
        policy_sha256: The hash to accept.
        accepted_sha256: Of the policy of the last sweep; None before the first one.
        compared: Whether the last accepted policy could be read.
        added: Stale only under the new policy; all that are stale if it was not compared.
        removed: Stale only under the accepted one.
        sentences: The changed settings, and the first invitations that are added or removed.
    """

    policy_sha256: str
    accepted_sha256: str | None
    compared: bool
    added: int
    removed: int
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnreadList:
    """A kind of list of an organization that the policy does not read, and who is only there.

    The numbers are None where they are not known.

    Attributes:
        org_id: The organization; None for its projects' lists of all organizations.
        people: Whom no list of the policy shows, in any status.
        pending: Those of them who can accept; `expired` and `rejected` ones cannot.
        reason: Why it is not known; None where it is.
    """

    org_id: str | None
    source: Source
    people: int | None = None
    pending: int | None = None
    expired: int | None = None
    rejected: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Unseen:
    """Whom the policy does not see: people only in lists that it does not read.

    Attributes:
        lists: Each list that the policy does not read and that Atlas still serves.
        people: Those in these lists and in none of the policy's; once each in an organization.
        after: The day on which the last of the policy's lists ends that have an announced end;
            None without one.
        seen_after: Of `everyone`, those whom the policy would see after that day.
        everyone: Whom any list shows that was read.
        all_end: Whether each list that the policy reads has an announced end.
    """

    lists: tuple[UnreadList, ...]
    people: int
    after: str | None
    seen_after: int
    everyone: int
    all_end: bool

    def __add__(self, other: "Unseen") -> "Unseen":
        """Return whom the policy does not see in the organizations of both."""
        return Unseen(
            tuple(dict.fromkeys((*self.lists, *other.lists))),
            self.people + other.people,
            max(filter(None, (self.after, other.after)), default=None),
            self.seen_after + other.seen_after,
            self.everyone + other.everyone,
            self.all_end and other.all_end,
        )


def total_unseen(parts: Iterable[Unseen | None]) -> Unseen | None:
    """Return whom the policy does not see in all parts; None if no part knows of such a list."""
    known = [each for each in parts if each is not None]
    return sum(known[1:], known[0]) if known else None


class KeepEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A keep entry of the policy, and how many invitations it kept."""

    name: str
    reason: str | None
    until: str | None
    matched: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Counts):
    """The last line of a sweep or a dry run.

    Attributes:
        plan_made: Whether the plan is complete: all lists that could be read are in it.
        plan_complete: Whether every list in scope was read; None in lines of earlier versions.
        reasons: Codes of `endings.Reason`.
        error: What stopped the run, with `consequence` and `hint`; None when it completed.
        warnings: Only sentences in lines of earlier versions.
        unseen: None where the policy reads each list, or the plan was not made.
        keep_entries: None before a plan was made.
        remaining: What the run leaves, for the comparison of a later run; likewise.
        sunsets: The announced end of each list that has one, by source.
        population_sha256: Of the population file, where one was written.
        members: Active members by organization, where a rule has `inviter_gone`.
        population_manifest_sha256: Of the manifest beside it.
    """

    event: ClassVar[str] = "run_finished"

    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    duration_s: float = 0.0
    plan_made: bool = False
    sunset: str | None = None
    sources_retired: tuple[str, ...] = ()
    oldest_pending_days: float | None = None
    organizations: tuple[str, ...] = ()
    plan_complete: bool | None = None
    reasons: tuple[str, ...] = ()
    error: str | None = None
    warnings: tuple[RunWarning | str, ...] = ()
    changes: PlanChanges | None = None
    policy_change: PolicyDifference | None = None
    unseen: Unseen | None = None
    organization_names: Mapping[str, str] = field(default_factory=dict)
    consequence: str | None = None
    hint: str | None = None
    exit_code: int
    keep_entries: tuple[KeepEntry, ...] | None = None
    remaining: Population | None = None
    sunsets: Mapping[str, str] | UnsetType = UNSET
    population_sha256: str | UnsetType = UNSET
    members: Mapping[str, int] | UnsetType = UNSET
    population_manifest_sha256: str | UnsetType = UNSET


class RestoreCounts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a restore did, in its last line and in its result.

    Attributes:
        wanted: Selected deletions of the run to undo.
        to_restore: Those of users that were still missing.
        uncertain: Deletions in doubt that were not restored.
        restored: Invited, and pending again.
        active: Added by Atlas as members at once, without an acceptance.
        already_there: Invited or members without this restore.
        failed: Rejected or given up.
        unknown: Without a response or a proof.
        skipped: A signal, the deadline or an error came first.
    """

    dry_run: bool = False
    wanted: int
    to_restore: int = 0
    uncertain: int = 0
    restored: int = 0
    active: int = 0
    already_there: int = 0
    failed: int = 0
    unknown: int = 0
    skipped: int = 0
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    duration_s: float = 0.0


class RestoreFinished(RestoreCounts, frozen=True, kw_only=True, gc=False):
    """The last line of a restore, a `run_finished` with other counts."""

    event: ClassVar[str] = "run_finished"

    organization_names: Mapping[str, str] = {}
    reasons: tuple[str, ...] = ()
    error: str | None = None
    consequence: str | None = None
    hint: str | None = None
    exit_code: int


class CheckpointLine(EventFields, frozen=True, kw_only=True):
    """A C2SP signed note over the end of the run before it."""

    event: ClassVar[str] = "checkpoint"

    note: str


Event: TypeAlias = (
    RunStarted
    | SourceRetired
    | ProjectUnreadable
    | Announced
    | AnnouncementEnded
    | Planned
    | Intent
    | OutcomeLine
    | RunFinished
    | RestoreFinished
    | CheckpointLine
)


class LineHeader(msgspec.Struct, frozen=True, gc=False):
    """The fields of each line that the log writes itself.

    Attributes:
        run_id: The run that wrote it.
        seq: From 1 in each run.
        prev: SHA-256 of the line before.
        ts: When it was written, RFC 3339.
        wanted: Only in the end of a restore.
    """

    run_id: str
    seq: int
    event: str
    prev: str
    ts: str = ""
    wanted: int | None = None

    @staticmethod
    def parse(line: bytes) -> "LineHeader | None":
        """Parse a line without its newline; None if it is not a line of an audit log."""
        try:
            return _HEADER.decode(line)
        except (ValueError, RecursionError):
            return None


class Line(NamedTuple):
    """One line of a log.

    Attributes:
        ts: When it was written, RFC 3339.
        prev: SHA-256 of the line before.
    """

    ts: str
    run_id: str
    event: Event
    prev: str


def decode(line: bytes) -> Line | None:
    """Parse a line without its newline; None for an event of a later version.

    Raises:
        ValueError: It is not a line of an audit log, or a field is missing or has another type.
    """
    try:
        header = _HEADER.decode(line)
        decoder = _DECODERS.get(header.event)
        if decoder is None:
            return None
        if header.wanted is not None and header.event == RestoreFinished.event:
            decoder = _RESTORE_FINISHED
        if b'"origin":' in line or b'"reaches":' in line:
            line = _with_present_names(line)
        return Line(header.ts, header.run_id, decoder.decode(line), header.prev)
    except RecursionError:
        raise ValueError("the line is nested too deeply") from None


def error_fields(error: ErrorParts | None) -> dict[str, Any]:
    """Return the fields of a `run_finished` line that say what stopped the run.

    Args:
        error: The three parts of the error; None for a run that completed.
    """
    if error is None:
        return {"error": None, "consequence": None, "hint": None}
    return {
        "error": error["message"],
        "consequence": error["consequence"] or None,
        "hint": error["hint"] or None,
    }


def format_timestamp(moment: datetime) -> str:
    """Return RFC 3339 in UTC, always with microseconds: `2026-11-25T01:02:03.000000Z`."""
    text = _rfc3339(moment)
    return text if moment.microsecond else f"{text[:-1]}.000000Z"


def parse_timestamp(text: str | None) -> Timestamp:
    """Return the date of an invitation's field."""
    if text is None:
        return None
    if _TIMESTAMP.fullmatch(text) is None:
        return UnreadableDate(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return UnreadableDate(text)


_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?Z")
_TENTH_OF_A_DAY_S: Final = 8640


def _date(moment: Timestamp) -> str | None:
    """Return RFC 3339 in UTC, with microseconds only if they are not zero."""
    if isinstance(moment, datetime):
        return _rfc3339(moment)
    return None if moment is None else moment.raw


def _rfc3339(moment: datetime) -> str:
    in_utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return to_json(in_utc)[1:-1].decode()  # a tenth of the time of `isoformat`


def _age_days(created_at: Timestamp, now: datetime) -> float | None:
    if not isinstance(created_at, datetime):
        return None
    age = now - created_at  # for a date in the future, only `days` is negative
    return (age.days * 10 + age.seconds // _TENTH_OF_A_DAY_S) / 10


_EARLIER_NAMES: Final = {"origin": "project_roles", "reaches": "linked_projects"}


def _with_present_names(line: bytes) -> bytes:
    """Return a line of an earlier version with the present names of its fields."""
    fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    return msgspec.json.encode(
        {_EARLIER_NAMES.get(name, name): value for name, value in fields.items()}
    )


_HEADER: Final = msgspec.json.Decoder(LineHeader)
EVENTS: Final[tuple[type[Event], ...]] = (
    RunStarted,
    SourceRetired,
    ProjectUnreadable,
    Announced,
    AnnouncementEnded,
    Planned,
    Intent,
    OutcomeLine,
    RunFinished,
    RestoreFinished,
    CheckpointLine,
)
_RESTORE_FINISHED: Final[msgspec.json.Decoder[Event]] = msgspec.json.Decoder(RestoreFinished)
_DECODERS: Final[Mapping[str, msgspec.json.Decoder[Event]]] = {
    each.event: msgspec.json.Decoder(each) for each in EVENTS if each is not RestoreFinished
}
