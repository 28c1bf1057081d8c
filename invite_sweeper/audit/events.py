"""The lines of a run's file: one struct for each event, written and read.

A struct has the fields of its event. `chain.HashChain` puts before them those that fix the place of
a line in its file, and the `seal` after those of the last one. `--output json` prints the structs
of the first and the last line, and every output is made from them: each shows the same numbers.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Final, Literal, Self, TypeAlias, get_args

import msgspec
from msgspec import structs

from invite_sweeper.endings import WarningLevel
from invite_sweeper.errors import ErrorParts
from invite_sweeper.json_text import rfc3339
from invite_sweeper.models import (
    SOURCES_OF_USERS,
    Invitation,
    ListUnreadable,
    Source,
    SourceRetired,
    always_written,
)
from invite_sweeper.outcomes import Counts, Outcome, Sending
from invite_sweeper.text import describe_spans, organization_label, plural_form, shorten_list

_MAX_RUNS: Final = 10
"""That a sentence names."""

Mode: TypeAlias = Literal["dry-run", "sweep", "restore"]


class RunStarted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first line of a file.

    Attributes:
        policy_sha256: Of the policy's bytes, 64 hex digits; None of a restore before 0.3.
        organizations: Ids.
        actors: For each organization the client id or public key, or `token`.
        now: The instant of the run, RFC 3339.
        shard: `I/N`; None where the run is not one of several.
        shards_used: How many shards have an organization, where this one has none.
        projects: Names or ids to which the operator narrowed the policy's scope; none without.
        scope_sha256: The hash of what the run reads; runs with the same can be compared.
        plan_sha256: Of the plan that is applied; None without one.
        restores: The ids of the runs whose deletions a restore undoes, of one before 0.3 the id
            alone; None of any other run.
        restores_numbers: The numbers of these runs; none of a restore before 0.3.
        reason: The text of `--reason`, without secrets; None without it. It proves nothing.
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
    projects: tuple[str, ...] = ()
    scope_sha256: str | None = None
    plan_sha256: str | None = None
    restores: tuple[str, ...] | str | None = None
    restores_numbers: tuple[int, ...] = ()
    reason: str | None = always_written(None)
    number: int = 0

    @property
    def again(self) -> tuple[str, ...]:
        """The words of the command that goes on with the run, with what narrowed it.

        None of a restore, and of a sweep that applied a plan: the line does not have all of them,
        and a command without them would do more.
        """
        if self.mode not in {"sweep", "dry-run"} or self.plan_sha256 is not None:
            return ()
        words = ["plan" if self.mode == "dry-run" else "sweep"]
        if self.shard is not None:
            words += ["--shard", self.shard]
        for project in self.projects:
            words += ["--project", project]
        return tuple(words)

    @property
    def restored_runs(self) -> tuple[str, ...]:
        """The numbers of the runs whose deletions a restore undoes, else their ids."""
        if self.restores_numbers:
            return tuple(map(str, self.restores_numbers))
        restores = self.restores or ()
        return (restores,) if isinstance(restores, str) else restores


class Planned(Invitation, frozen=True, kw_only=True):
    """A deletion that the run intends; in a dry run, the result.

    Attributes:
        rule: The name of the rule that makes the invitation stale.
    """

    event: ClassVar[str] = "planned"

    rule: str


class Kept(Invitation, frozen=True, kw_only=True):
    """An invitation that stays, where the policy has `audit.record: all`.

    Attributes:
        status: As the list shows it; None where the list has none.
        reason: A key of `kept_by_reason`.
        unread: With the reason `list_unread`, the lists that were not read.
        outside: With the reason `reaches_out_of_scope`, the names of these projects, or teams.
    """

    event: ClassVar[str] = "kept"

    status: str | None = None
    reason: str
    unread: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        invitation: Invitation,
        reason: str,
        unread: tuple[str, ...] = (),
        outside: tuple[str, ...] = (),
    ) -> Self:
        """Return the line of an invitation, with the status of a list of users."""
        fields = {name: getattr(invitation, name) for name in Invitation.__struct_fields__}
        if invitation.source not in SOURCES_OF_USERS:
            fields["status"] = None
        return cls(**fields, reason=reason, unread=unread, outside=outside)


class PolicyText(msgspec.Struct, frozen=True):
    """The second line of a file: the policy of the run, as it was read.

    Attributes:
        text: Its bytes are the file's, whose SHA-256 the first line has.
    """

    event: ClassVar[str] = "policy"

    text: str


class MissingAccepted(msgspec.Struct, frozen=True):
    """Files of earlier runs are gone, and the operator said to go on without them.

    Attributes:
        numbers: Of these runs.
    """

    event: ClassVar[str] = "missing_accepted"

    numbers: tuple[int, ...]

    @property
    def text(self) -> str:
        """The same as a sentence without its full stop."""
        runs = shorten_list(list(describe_spans(self.numbers)), _MAX_RUNS)
        one = f"The file of run {runs} is lost"
        return plural_form(len(self.numbers), one, f"The files of runs {runs} are lost")


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
        seen_before: The user's status before the DELETE; None if it was not read.
        recovers: The earlier run, killed or without an answer, whose request this outcome
            recovers; None of an own one.
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
    recovers: str | None = None
    reason: str | None = None

    @classmethod
    def of(
        cls,
        planned: Planned | Intent | Self,
        outcome: str,
        sending: Sending | None = None,
        elapsed_s: float | None = None,
        *,
        recovers: str | None = None,
        reason: str | None = None,
    ) -> Self:
        """Return the outcome of a planned deletion; without `sending`, no request was sent."""
        sent = sending or Sending()
        if recovers is not None:
            reason = _WHY_RECOVERED.get(outcome)
        if reason is None and outcome not in _AS_WANTED:
            reason = _why(outcome, sent)
        if reason is not None:
            reason = reason.removesuffix(".")  # a phrase that others go on after
        return planned.as_event(
            cls,
            rule=planned.rule,
            outcome=outcome,
            attempts=sent.attempts,
            http_status=sent.http_status,
            error_code=sent.error_code,
            duration_ms=None if elapsed_s is None else round(elapsed_s * 1000, 1),
            seen_before=sent.seen_before,
            recovers=recovers,
            reason=reason,
        )


_AS_WANTED: Final = frozenset({Outcome.DELETED, Outcome.RESTORED})
_WHY: Final[Mapping[str, str]] = {
    Outcome.ALREADY_GONE: "not there any more: accepted, revoked or expired since",
    Outcome.SKIPPED: "the run stopped before it was sent",
    Outcome.CHANGED: "not what the plan lists: nothing was sent",
    Outcome.ACCEPTED_BEFORE: "an active member: nothing was sent",
    Outcome.ACTIVE: "Atlas added an active member at once",
    Outcome.ALREADY_THERE: "invited or a member already",
}
_WHY_RECOVERED: Final[Mapping[str, str]] = {
    Outcome.ALREADY_GONE: "not there any more: deleted by the earlier run, or gone since",
    Outcome.FAILED: "still there: the earlier run did not delete it",
    Outcome.ACTIVE: "an active member now: added by Atlas at once, or accepted since",
}


def _why(outcome: str, sent: Sending) -> str:
    """Return why an invitation is not deleted, or not restored."""
    # The most exact reason first: what the deleter found out, what the outcome means, the answer.
    if sent.reason:
        return sent.reason
    return _WHY.get(outcome) or describe_answer(sent.http_status, sent.error_code)


def describe_answer(http_status: int | None, error_code: str | None) -> str:
    """Return the last answer to a request, such as `400 CANNOT_REMOVE_INVITATION`."""
    return f"{http_status or ''} {error_code or ''}".strip() or "no response"


class RunWarning(msgspec.Struct, frozen=True):
    """A warning of a run; with `-q`, remarks are not shown.

    Attributes:
        message: For the operator, without the name of a person: messages to others have it.
    """

    code: str
    message: str
    level: str = WarningLevel.WARNING


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What a dry run knows of the days to come, if nothing changes.

    Attributes:
        stale_within_7d: Invitations that are not stale now, and will be by the policy's rules; the
            wait of `notice` is not counted.
        stale_within_30d: The same.
        nights: About how many nights the stale invitations take that the limits leave for later:
            what is left, divided by what one run may delete. None where none are left, or a limit
            will never let them go.
    """

    stale_within_7d: int = 0
    stale_within_30d: int = 0
    nights: int | None = None


class ListResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run read of one source in one organization.

    Attributes:
        complete: Whether each of its lists was read to its end.
        entries: The entries of all lists.
        unread: The ids of the projects whose list was not read; of the organization for its own.
    """

    org_id: str
    source: Source
    complete: bool
    entries: int
    unread: tuple[str, ...] = ()


class _RecordedCounts(Counts, frozen=True, kw_only=True):
    """Counts as a line has them; `due` and `waiting` of one by a run before 0.3 are worked out.

    Such a run counted what waits for its notice among what it kept.
    """

    def __post_init__(self) -> None:
        """Set the counts that an earlier line does not have."""
        kept_by_reason = dict(self.kept_by_reason)
        waiting = kept_by_reason.pop("notice_pending", 0)
        if not waiting and self.stale == self.due + self.trimmed + self.waiting:
            return
        structs.force_setattr(self, "due", self.stale - self.trimmed)
        structs.force_setattr(self, "waiting", waiting)
        structs.force_setattr(self, "stale", self.stale + waiting)
        structs.force_setattr(self, "kept", self.kept - waiting)
        structs.force_setattr(self, "kept_by_reason", kept_by_reason)


class OrganizationResult(_RecordedCounts, frozen=True, kw_only=True):
    """What a run saw and did in one organization; as `RunFinished`, for it alone.

    Attributes:
        name: None where Atlas did not return it.
        exit_code: What the run would have ended with without the other organizations.
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
    credentials_expire: str | None = None

    @property
    def label(self) -> str:
        """The name with the id, or the id alone."""
        return organization_label(self.id, self.name)


class RunFinished(_RecordedCounts, frozen=True, kw_only=True):
    """The last line of a file: the totals of the run, of a sweep as of a restore.

    All fields are written, so that `--output json` is this struct and that of the first line.

    Attributes:
        duration_s: From the start of the run, without the time that the question was open.
        error: What stopped the run, in three parts; None when it completed.
        reasons: Why it did not do everything; codes of `endings.Reason`.
        plan_made: Whether each list was read, or could not be, so that the number of stale
            invitations is known; and the plan is on disk.
        plan_complete: Whether every list in scope was read.
        forecast: Of a dry run with a whole plan.
        nights_left: As in the forecast, of a sweep as well.
        limited_by: The limit that binds, with the place of `max_deletions_per_project`.
        limit_used: How many deletions of it earlier runs used within `limits.period`.
        limit_most: How many it allows within `limits.period`.
        sources_retired: Sources that Atlas no longer serves.
        oldest_pending_days: Age of the oldest entry that is PENDING; None where no date was
            readable.
        sunset: The first day on which Atlas stops serving a list that the policy needs.
        sunsets: The announced end of each list that has one, by source.
        organizations: In the order of the policy.
        lists: Each source of each organization; without those that Atlas has retired.
    """

    event: ClassVar[str] = "run_finished"

    duration_s: float = 0.0
    exit_code: int
    error: ErrorParts | None = None
    reasons: tuple[str, ...] = ()
    warnings: tuple[RunWarning, ...] = ()
    plan_made: bool = False
    plan_complete: bool = False
    forecast: Forecast | None = None
    nights_left: int | None = None
    limited_by: str | None = None
    limit_used: int = 0
    limit_most: int = 0
    sources_retired: tuple[str, ...] = ()
    oldest_pending_days: float | None = None
    sunset: str | None = None
    sunsets: Mapping[str, str] = {}
    organizations: tuple[OrganizationResult, ...] = ()
    lists: tuple[ListResult, ...] = ()

    def of_organization(self, org_id: str) -> "RunFinished":
        """Return the totals of one organization; of one that the run does not have, none."""
        results = [result for result in self.organizations if result.id == org_id]
        result = results[0] if results else OrganizationResult(id=org_id, exit_code=self.exit_code)
        both = set(self.__struct_fields__) & set(result.__struct_fields__)
        return structs.replace(
            self,
            **{name: getattr(result, name) for name in both},
            forecast=None,
            nights_left=None,
            limited_by=None,
            organizations=(result,),
            lists=tuple(one for one in self.lists if one.org_id == org_id),
        )


Event: TypeAlias = (
    RunStarted
    | PolicyText
    | MissingAccepted
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
    return text if "." in text else f"{text[:-1]}.000000Z"


EVENTS: Final[tuple[type[Event], ...]] = get_args(Event)
DECODERS: Final[Mapping[str, msgspec.json.Decoder[Event]]] = {
    kind.event: msgspec.json.Decoder(kind) for kind in EVENTS
}
