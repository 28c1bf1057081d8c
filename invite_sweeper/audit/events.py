"""The lines of a run's file: one struct for each event, written and read.

A struct has the fields of its event. `chain.HashChain` puts those before them that give a line its
place in the file, and the `seal` after those of the last one. `--output json` prints the structs of
the first and the last line.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import ClassVar, Final, Literal, Self, TypeAlias, get_args

import msgspec

from invite_sweeper.counts import Counts
from invite_sweeper.endings import WarningLevel
from invite_sweeper.errors import ErrorParts
from invite_sweeper.models import (
    SOURCES_OF_USERS,
    Invitation,
    ListUnreadable,
    Seats,
    Source,
    SourceRetired,
    rfc3339,
)
from invite_sweeper.outcomes import Outcome, Sending
from invite_sweeper.text import organization_label, shorten_list

Mode: TypeAlias = Literal["dry-run", "sweep", "restore"]
_MAX_NAMED: Final = 10


class RunWarning(msgspec.Struct, frozen=True):
    """A warning of a run; with `-q`, remarks are not shown.

    Attributes:
        message: For the operator, without the name of a person: messages to others have it.
        people: Who it is about; `text` names them.
    """

    code: str
    message: str
    level: str = WarningLevel.WARNING
    people: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The message with the people it is about, the first ten."""
        if not self.people:
            return self.message
        return f"{self.message.removesuffix('.')}: {shorten_list(self.people, _MAX_NAMED)}."


class RunStarted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first line of a file.

    Attributes:
        policy_sha256: Of the policy's bytes, 64 hex digits; None of a restore.
        organizations: Ids.
        actors: For each organization the client id or public key, or `token`.
        now: The instant of the run, RFC 3339.
        shard: `I/N`; None where the run is not one of several.
        shards_used: How many shards have an organization, where this one has none.
        scope_sha256: The hash of what the run reads; runs with the same can be compared.
        plan_sha256: Of the plan that is applied; None without one.
        restores: The ids of the runs whose deletions a restore undoes, of one before 0.3 the id
            alone; None of any other run.
        reason: What `--reason` says, without secrets; None without it. It proves nothing.
        number: Of the run in its audit directory, as a copy of its file has another name; 0 where
            an earlier version wrote the line.
    """

    event: ClassVar[str] = "run_started"

    mode: Mode
    tool_version: str
    policy_sha256: str | None
    policy_path: str | None
    organizations: tuple[str, ...]
    actors: Mapping[str, str]
    base_url: str
    now: str
    shard: str | None
    shards_used: int | None = None
    scope_sha256: str | None = None
    plan_sha256: str | None = None
    restores: tuple[str, ...] | str | None = None
    reason: str | None = None
    number: int = 0

    @property
    def restored_runs(self) -> tuple[str, ...]:
        """The ids of the runs whose deletions a restore undoes."""
        restores = self.restores or ()
        return (restores,) if isinstance(restores, str) else restores


class Planned(Invitation, frozen=True, kw_only=True):
    """A deletion that the run intends; in a dry run, the result.

    Attributes:
        rule: The name of the rule that makes the invitation stale.
        bounced: How often the user's invitation was deleted before.
        new: The last plan of the same policy did not contain it.
        inviter_gone: No active member of the organization has the inviter's address.
    """

    event: ClassVar[str] = "planned"

    rule: str
    bounced: int = 0
    new: bool = False
    inviter_gone: bool = False


class Kept(Invitation, frozen=True, kw_only=True):
    """An invitation that stays, where the policy has `audit.record: all`.

    Attributes:
        status: As the list shows it; None where the list has none.
        reason: A key of `kept_by_reason`.
    """

    event: ClassVar[str] = "kept"

    status: str | None = None
    reason: str

    @classmethod
    def of(cls, invitation: Invitation, reason: str) -> Self:
        """Return the line of an invitation, with the status of a list of users."""
        fields = {name: getattr(invitation, name) for name in Invitation.__struct_fields__}
        if invitation.source not in SOURCES_OF_USERS:
            fields["status"] = None
        return cls(**fields, reason=reason)


class Announced(Invitation, frozen=True, kw_only=True):
    """A stale invitation that may be deleted from a later instant on."""

    event: ClassVar[str] = "announced"

    rule: str
    deletable_from: str


class WouldBeAnnounced(Invitation, frozen=True, kw_only=True):
    """As `Announced`, in a dry run, which announces nothing."""

    event: ClassVar[str] = "would_be_announced"

    rule: str
    deletable_from: str


class AnnouncementEnded(Invitation, frozen=True, kw_only=True):
    """A sweep read the list of an announced invitation, which is not stale any more.

    Without this line, an invitation that becomes stale again would count as announced.

    Attributes:
        reason: A key of `kept_by_reason`.
    """

    event: ClassVar[str] = "announcement_ended"

    reason: str


AnnouncementKey: TypeAlias = tuple[str, str, str, str, str | None]


def announcement_key(invitation: Invitation) -> AnnouncementKey:
    """Return what is announced: the list and the id of an invitation, and its date."""
    return *invitation.key, invitation.created_at


class Intent(Invitation, frozen=True, kw_only=True):
    """A request is about to be sent: a DELETE; in a restore, a POST."""

    event: ClassVar[str] = "intent"

    rule: str


class OutcomeLine(Invitation, frozen=True, kw_only=True):
    """What became of a planned deletion, or of an invitation that a restore sends.

    Attributes:
        outcome: One of the contract's values.
        attempts: Requests sent by this run.
        http_status: Of the last response.
        error_code: Atlas's `errorCode` in the last response.
        duration_ms: None if this run sent no request.
        seen_before: The user's status before the DELETE; None if it was not read, as `seen_after`.
        recovers: The interrupted run whose intent this outcome resolves; None of an own one.
        replaces: The outcome that the answer to the DELETE claimed, where a list that was read
            again at the end of the run still shows the invitation; no request was sent then.
        reason: Why it is not `deleted` or `restored`, in words; None where it is.
    """

    event: ClassVar[str] = "outcome"

    rule: str
    outcome: str
    attempts: int
    http_status: int | None
    error_code: str | None
    duration_ms: float | None
    seen_before: str | None = None
    seen_after: str | None = None
    recovers: str | None = None
    replaces: str | None = None
    reason: str | None = None

    @classmethod
    def of(
        cls,
        planned: Planned | Intent,
        outcome: str,
        sending: Sending | None = None,
        elapsed_s: float | None = None,
        *,
        recovers: str | None = None,
        replaces: str | None = None,
        reason: str | None = None,
    ) -> Self:
        """Return the outcome of a planned deletion; without `sending`, no request was sent."""
        sent = sending or Sending()
        if recovers is not None:
            reason = _WHY_RECOVERED.get(outcome)
        reason = reason or _why(outcome, sent)
        return planned.as_event(
            cls,
            rule=planned.rule,
            outcome=outcome,
            attempts=sent.attempts,
            http_status=sent.http_status,
            error_code=sent.error_code,
            duration_ms=None if elapsed_s is None else round(elapsed_s * 1000, 1),
            seen_before=sent.seen_before,
            seen_after=sent.seen_after,
            recovers=recovers,
            replaces=replaces,
            reason=reason and reason.removesuffix("."),  # a phrase that others go on after
        )


_WHY: Final[Mapping[str, str]] = {
    Outcome.ALREADY_GONE: "not there any more: accepted, revoked or expired since",
    Outcome.SKIPPED: "the run stopped before it was sent",
    Outcome.CHANGED: "not what the plan lists: nothing was sent",
    Outcome.ACCEPTED_BEFORE: "an active member: nothing was sent",
    Outcome.ACCEPTED_DURING: "accepted meanwhile; the active member was removed",
    Outcome.ACTIVE: "Atlas added an active member at once",
    Outcome.ALREADY_THERE: "invited or a member already",
}
_WHY_RECOVERED: Final[Mapping[str, str]] = {
    Outcome.ALREADY_GONE: "not there any more: deleted by the interrupted run, or gone since",
    Outcome.FAILED: "still there: the interrupted run did not delete it",
}


def _why(outcome: str, sent: Sending) -> str | None:
    """Return why an invitation is not deleted, or not restored; None where it is."""
    if outcome in {Outcome.DELETED, Outcome.RESTORED}:
        return None
    answer = describe_answer(sent.http_status, sent.error_code)
    return sent.reason or _WHY.get(outcome) or answer


def describe_answer(http_status: int | None, error_code: str | None) -> str:
    """Return the last answer to a request, such as `400 CANNOT_REMOVE_INVITATION`."""
    return f"{http_status or ''} {error_code or ''}".strip() or "no response"


class PlanChanges(msgspec.Struct, frozen=True, kw_only=True):
    """The stale invitations of a run, compared with the last plan of the same policy.

    `new`, `still_stale` and those of `not_read` that are stale now add up to the invitations that
    are stale now; the others and `still_stale` to those that were planned then.

    Attributes:
        run_id: The run that is compared.
        now: Its instant, RFC 3339.
        new: Stale now, and not planned then.
        still_stale: Planned then, and stale now.
        deleted: Planned then, and deleted by a run since.
        no_longer_stale: Planned then, and now kept or not in its list.
        not_read: In a list that one of the two runs did not read.
    """

    run_id: str
    now: str
    new: int = 0
    still_stale: int = 0
    deleted: int = 0
    no_longer_stale: int = 0
    not_read: int = 0


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What a dry run knows of the days to come, if nothing changes.

    Attributes:
        stale_within_7d: Invitations that are not stale now, and will be by the policy's rules; the
            wait of `notice` is not counted.
        stale_within_30d: The same.
        nights: How many more sweeps the stale invitations take that the limits leave for later;
            None where none are left, or a limit will never let them go.
    """

    stale_within_7d: int = 0
    stale_within_30d: int = 0
    nights: int | None = None


class KeepEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A keep entry of the policy, and how many invitations it kept.

    Attributes:
        people: From 7 days before `until` to 7 days after it: the people whom it keeps, or would
            keep had it not ended.
        people_before: Where it has ended and `people` is 0: the most whom one of the earlier runs
            saw in these days; 0 without any.
    """

    name: str
    reason: str | None
    until: str | None
    matched: int
    people: int | None = None
    people_before: int = 0


class ListResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run read of one source in one organization.

    Attributes:
        complete: Whether each of its lists was read to its end.
        entries: The entries of all lists.
        by_project: The entries of each project that has some; empty for a list of the organization.
        expiring: How many entries of each list reach their `expires_at` on each day in UTC, the
            past ones included; by the id of the project, or of the organization for its own list.
        may_be_gone: How many entries of each list a run of the last day ended, or may have ended:
            lists lag behind deletions. By id and day as `expiring`; those without a readable
            `expires_at` under "never".
        unread: The ids of the projects whose list was not read; of the organization for its own.
    """

    org_id: str
    source: Source
    complete: bool
    entries: int
    by_project: Mapping[str, int] = {}
    expiring: Mapping[str, Mapping[str, int]] = {}
    may_be_gone: Mapping[str, Mapping[str, int]] = {}
    unread: tuple[str, ...] = ()


def expired_by(expiring: Mapping[str, int], today: date) -> int:
    """Return how many entries of a list have reached their `expires_at`, this day included.

    The day on which one passes is known, and not the hour: an entry that ends later today counts.
    "never" is after each day.
    """
    last = today.isoformat()
    return sum(count for day, count in expiring.items() if day <= last)


class OrganizationResult(Counts, frozen=True, kw_only=True):
    """What a run saw and did in one organization; as `RunFinished`, for it alone.

    Attributes:
        name: None where Atlas did not return it.
        exit_code: What the run would have ended with without the other organizations.
        people: Active and pending people, who count towards Atlas's limit; None if not known.
        people_pending: Those of them who are pending.
        credentials_expire: When the first secret of its service account ends, RFC 3339; None where
            Atlas did not return it.
    """

    id: str
    name: str | None = None
    exit_code: int = 0
    error: ErrorParts | None = None
    reasons: tuple[str, ...] = ()
    plan_made: bool = False
    plan_complete: bool = False
    people: int | None = None
    people_pending: int | None = None
    credentials_expire: str | None = None

    @property
    def seats(self) -> Seats | None:
        """How many people it has; None where that is not known."""
        if self.people is None or self.people_pending is None:
            return None
        return Seats(self.people, self.people_pending)

    @property
    def label(self) -> str:
        """The name with the id, or the id alone."""
        return organization_label(self.id, self.name)


class RunFinished(Counts, frozen=True, kw_only=True):
    """The last line of a file: the totals of the run, of a sweep as of a restore.

    All fields are written, so that `--output json` is this struct and that of the first line.

    Attributes:
        duration_s: From the start of the run, without the time that the question was open.
        history_s: Of that, seconds to read the files of earlier runs.
        peak_mib: The most memory that the process held so far, in MiB.
        error: What stopped the run, in three parts; None when it completed.
        reasons: Why it did not do everything; codes of `endings.Reason`.
        plan_made: Whether each list was read, or could not be, so that the number of stale
            invitations is known; and the plan is on disk.
        plan_complete: Whether every list in scope was read.
        changes: None without an earlier plan of the same policy.
        forecast: Of a dry run with a whole plan.
        nights_left: As in the forecast, of a sweep as well.
        deleted_before: What earlier runs deleted within `limits.period`; it counts for the limits.
        max_deletions: The limit for it and this run together.
        limit_free_at: Where something waits for the limits and `deleted_before` reduced one: the
            earliest instant at which one more invitation may go, RFC 3339.
        sources_retired: Sources that Atlas no longer serves.
        oldest_pending_days: Age of the oldest entry that is PENDING; None where no date was
            readable.
        sunset: The first day on which Atlas stops serving a list that the policy needs.
        sunsets: The announced end of each list that has one, by source.
        members: Active members by organization, where a rule has `inviter_gone`.
        removed_members: The usernames of active members whom the run removed, or whose removal
            by an interrupted run it found.
        keep_entries: In the order of the policy.
        organizations: In the order of the policy.
        lists: Each source of each organization; without those that Atlas has retired.
    """

    event: ClassVar[str] = "run_finished"

    duration_s: float = 0.0
    history_s: float = 0.0
    peak_mib: float = 0.0
    exit_code: int
    error: ErrorParts | None = None
    reasons: tuple[str, ...] = ()
    warnings: tuple[RunWarning, ...] = ()
    plan_made: bool = False
    plan_complete: bool = False
    changes: PlanChanges | None = None
    forecast: Forecast | None = None
    nights_left: int | None = None
    deleted_before: int = 0
    max_deletions: int = 0
    limit_free_at: str | None = None
    sources_retired: tuple[str, ...] = ()
    oldest_pending_days: float | None = None
    sunset: str | None = None
    sunsets: Mapping[str, str] = {}
    members: Mapping[str, int] = {}
    removed_members: tuple[str, ...] = ()
    keep_entries: tuple[KeepEntry, ...] = ()
    organizations: tuple[OrganizationResult, ...] = ()
    lists: tuple[ListResult, ...] = ()


Event: TypeAlias = (
    RunStarted
    | SourceRetired
    | ListUnreadable
    | Announced
    | WouldBeAnnounced
    | AnnouncementEnded
    | Planned
    | Kept
    | Intent
    | OutcomeLine
    | RunFinished
)


class LineHeader(msgspec.Struct, frozen=True, gc=False):
    """The fields of each line that the log writes itself.

    Attributes:
        ts: When it was written, RFC 3339.
        seq: From 1 in each run.
        prev: SHA-256 of the line before.
    """

    ts: str
    run_id: str
    seq: int
    event: str
    prev: str


def format_timestamp(moment: datetime) -> str:
    """Return RFC 3339 in UTC, always with microseconds: `2026-11-25T01:02:03.000000Z`."""
    text = rfc3339(moment)
    return text if moment.microsecond else f"{text[:-1]}.000000Z"


EVENTS: Final[tuple[type[Event], ...]] = get_args(Event)
DECODERS: Final[Mapping[str, msgspec.json.Decoder[Event]]] = {
    kind.event: msgspec.json.Decoder(kind) for kind in EVENTS
}
