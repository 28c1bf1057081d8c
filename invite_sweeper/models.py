"""Project, Invitation, Source, ListRef, Outcome, DeletionResult, RequestState."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum, auto
from typing import Final, NamedTuple, Protocol, TypeAlias

from invite_sweeper.errors import RunError


class Logger(Protocol):
    """What the views need of the program's log."""

    def info(self, event: str, **fields: object) -> object:
        """Say something."""
        ...

    def warning(self, event: str, **fields: object) -> object:
        """Say something that deserves a look."""
        ...

    def error(self, event: str, **fields: object) -> object:
        """Say something that has to be seen to."""
        ...


# What Atlas holds: projects, invitations, and what could not be read of them.


class Source(StrEnum):
    """The lists in which Atlas keeps pending people; the policy's `sources`."""

    INVITES = "invites"
    USERS = "users"
    ORG_USERS = "org_users"
    ORG_INVITES = "org_invites"

    @property
    def is_organization_level(self) -> bool:
        """Whether the list belongs to an organization and not to a project."""
        return self in _ORGANIZATION_LEVEL

    @property
    def replacement(self) -> str:
        """The sources to write once Atlas has retired this one; "" where none takes its place.

        Source: the descriptions of the deprecated operations in Atlas's OpenAPI document.
        """
        return {Source.INVITES: "users and org_users", Source.ORG_INVITES: "org_users"}.get(
            self, ""
        )

    @property
    def replacement_hint(self) -> str:
        """What to do once Atlas has retired the list."""
        if self.replacement:
            return f"Under sources, write {self.replacement} instead of {self}."
        return "Upgrade this program: it speaks a version of the list that Atlas drops."


_ORGANIZATION_LEVEL: Final = frozenset({Source.ORG_USERS, Source.ORG_INVITES})

SOURCES_OF_USERS: Final = frozenset({Source.USERS, Source.ORG_USERS})
"""Lists of people with a status, whose removal hits an accepted membership as well."""


class MembershipStatus(StrEnum):
    """The statuses of a user in a list of users, as Atlas writes them; others may come.

    Source: `orgMembershipStatus` of `GroupUserResponse`, Atlas Administration API, version
    2025-02-19.
    """

    ACTIVE = "ACTIVE"
    """A member."""
    PENDING = "PENDING"
    INVITATION_EXPIRED = "INVITATION_EXPIRED"
    INVITATION_REJECTED = "INVITATION_REJECTED"
    GONE = "gone"
    """Ours: recorded in place of a status where Atlas says that there is no such user."""


INVITED_STATUSES: Final = (
    MembershipStatus.PENDING,
    MembershipStatus.INVITATION_EXPIRED,
    MembershipStatus.INVITATION_REJECTED,
)
"""The statuses of an invitation: a user with one of them is not a member yet."""


@dataclass(frozen=True, slots=True)
class UnreadableDate:
    """A date that Atlas sent and nobody can read; it is never guessed at.

    Attributes:
        raw: What Atlas sent, as text.
    """

    raw: str


Timestamp: TypeAlias = datetime | UnreadableDate | None
"""Aware UTC, or what was sent instead of a date, or None where nothing was sent."""


@dataclass(frozen=True, slots=True)
class Project:
    """A project (a "group" in the API's paths) that the credentials can see.

    Attributes:
        id: 24 lower-case hex digits; the reader checked it.
        name: As Atlas wrote it; may hold spaces.
        org_id: The organization that owns it.
        tags: Key and value, in Atlas's order; empty when there are none.
    """

    id: str
    name: str
    org_id: str
    tags: tuple[tuple[str, str], ...] = ()


class ListRef(NamedTuple):
    """One list to read: whose, and which.

    Attributes:
        project: For a list of an organization it stands for that: its id twice, and no name.
    """

    project: Project
    source: Source


def organization_list_ref(org_id: str, source: Source) -> ListRef:
    """Give the place of an organization's list."""
    return ListRef(Project(org_id, "", org_id), source)


class Invitation(NamedTuple):
    """One pending invitation, as Atlas described it. A named tuple: a run makes many.

    Attributes:
        id: As Atlas sent it; "" when it sent none. Selection keeps one whose form is wrong.
            In the lists of users it is the user's id.
        project_id: The project that was asked, not what the answer says of itself; the
            organization's id for a list of an organization. It is what stands in the paths.
        username: The invited person's address; None when Atlas left it out.
        roles: An open set; empty when Atlas sent none.
        inviter: An e-mail address, or the public key of an API key; None when left out.
        created_at: When Atlas sent the invitation.
        expires_at: When it ends by itself (30 days later in every recording).
        status: A `MembershipStatus`, or another text; an open set.
        team_ids: Teams that come with it; the organization's lists alone have them.
        project_roles: What only the source's own calls need (to invite again): ordered pairs.
        linked_projects: Projects that come with an organization's invitation, id and name; the name
            is "" until the survey gave it. Always empty in the lists of projects.
        links_out_of_scope: One of those is not in the policy's scope, or nobody has seen it.
    """

    id: str
    project_id: str
    project_name: str
    org_id: str
    username: str | None
    roles: tuple[str, ...]
    inviter: str | None
    created_at: Timestamp
    expires_at: Timestamp
    source: Source = Source.INVITES
    status: str | None = MembershipStatus.PENDING
    team_ids: tuple[str, ...] = ()
    project_roles: tuple[tuple[str, str], ...] = ()
    linked_projects: tuple[tuple[str, str], ...] = ()
    links_out_of_scope: bool = False


@dataclass(frozen=True, slots=True)
class ListUnreadable:
    """A list that is not known to be complete; what it may hold is left alone.

    Attributes:
        project_id: The organization's id for a list of an organization.
        reason: One sentence for a person.
        http_status: The last answer's; None when there was none.
        error_code: Atlas's `errorCode`; None when there was none.
    """

    project_id: str
    project_name: str
    reason: str
    http_status: int | None = None
    error_code: str | None = None
    source: Source = Source.INVITES


@dataclass(frozen=True, slots=True)
class SourceRetired(ListUnreadable):
    """A list that Atlas serves no longer (410), whatever project is asked for."""


@dataclass(frozen=True, slots=True)
class ProjectGone:
    """A project that no longer exists (404 with `GROUP_NOT_FOUND`). Not a failure."""

    project_id: str
    project_name: str


def user_key(invitation: Invitation) -> tuple[str, str] | None:
    """Give what two doors of one person share; None where nobody knows whose door it is."""
    if invitation.username is None:
        return None
    return invitation.org_id, invitation.username.casefold()


# What became of one planned deletion. Only what Atlas said is claimed.


class Outcome(StrEnum):
    """The `outcome` of an audit line."""

    DELETED = "deleted"
    """Atlas said so: 204, or a 200 or 202 with a JSON object that names no error."""
    ALREADY_GONE = "already_gone"
    """404, or 400 with `INVALID_INVITATION_ID` or `ALREADY_EXPIRED`."""
    FAILED = "failed"
    """Refused or given up; the invitation may still be there."""
    UNKNOWN = "unknown"
    """No answer and no proof; only after an interruption."""
    SKIPPED = "skipped"
    """A breaker, the deadline or a signal came before anything was sent."""
    ACCEPTED_BEFORE = "accepted_before"
    """The person is an active member by now; the membership was left alone."""
    ACCEPTED_DURING = "accepted_during"
    """The person became an active member while the DELETE was on its way, and was removed."""


class UserStatus(NamedTuple):
    """What Atlas shows of an invited user, once a deletion was sent or may have been.

    Attributes:
        status: As Atlas sent it, or `MembershipStatus.GONE`; None where the organization may
            not be asked.
        there: Whether the membership that the invitation was to is still there; None where
            nobody tells.
    """

    status: str | None
    still_member: bool | None


class PlannedDeletion(NamedTuple):
    """One planned deletion. A named tuple: a run makes many.

    Attributes:
        rule: The name of the rule that makes it stale.
    """

    invitation: Invitation
    rule: str


@dataclass(slots=True, eq=False)
class DeletionProgress:
    """What one deletion has been through so far; the deleter writes, the sweep reads.

    It is mutable on purpose: a deletion that is cut off returns nothing, and the audit
    must still tell what was sent and what Atlas had answered by then.

    Attributes:
        attempts: Tries that were sent, also those that a 429 answered, which the policy's
            `attempts` leaves out; an unsigned request that a sign-in needs is part of its try.
        awaiting: One of them has no answer yet.
        http_status: The last answer's; None where there was none.
        error_code: Atlas's `errorCode` of the last answer.
        called_off: The sweep sets it when nothing more may be sent: a deleter looks at it
            before each request and, where it is set, ends with `cut_off()` instead.
        seen_before: The status that Atlas told just before the DELETE; None where not asked.
        seen_after: The one that it told afterwards, or `gone`.
        cut_short: It would have gone on, had more been allowed to be sent.
        settled: What is known already, should nothing more be learnt.
        rests: The deleter calls it when it begins to wait between two tries.
    """

    attempts: int = 0
    response_pending: bool = False
    http_status: int | None = None
    error_code: str | None = None
    cancelled: bool = False
    retries_cut_short: bool = False
    seen_before: str | None = None
    seen_after: str | None = None
    known_outcome: Outcome | None = None
    on_backoff: Callable[[], None] | None = None

    def result_if_interrupted(self) -> "DeletionResult":
        """Give the end of a deletion that an interruption cut off here."""
        if self.known_outcome is not None:
            return self.result(self.known_outcome)
        if self.attempts == 0:
            return DeletionResult(Outcome.SKIPPED, 0, seen_before=self.seen_before)
        is_unknown = self.response_pending or self.http_status is None
        result = self.result(Outcome.UNKNOWN if is_unknown else Outcome.FAILED)
        return result._replace(retries_cut_short=True)

    def result(self, outcome: Outcome, fatal_error: RunError | None = None) -> "DeletionResult":
        """Give the end of the deletion, with all that it has been through."""
        return DeletionResult(
            outcome,
            self.attempts,
            self.http_status,
            self.error_code,
            fatal_error,
            self.seen_before,
            self.seen_after,
            retries_cut_short=self.retries_cut_short,
        )


class DeletionResult(NamedTuple):
    """The end of one planned deletion. A named tuple: a run makes many.

    Attributes:
        ends_run: Set when the answer was about the run and not about this invitation
            (credentials refused, version gone): nothing more may be sent.
        seen_before: As in `Trail`.
        seen_after: As in `Trail`.
        cut_short: As in `Trail`.
    """

    outcome: Outcome
    attempts: int
    http_status: int | None = None
    error_code: str | None = None
    fatal_error: RunError | None = None
    seen_before: str | None = None
    seen_after: str | None = None
    retries_cut_short: bool = False


# What Atlas said to an invitation that was to be sent again.


class InviteStatus(Enum):
    """What one POST came to."""

    CREATED = auto()
    """Atlas said so."""
    ALREADY_PRESENT = auto()
    """Atlas says that the person is invited or a member already (409)."""
    RETRY_LATER = auto()
    """Atlas has surely not acted on it, and may another time: a limit, no connection."""
    UNKNOWN = auto()
    """Nobody knows whether Atlas acted on it: it must be looked for before it is sent again."""
    REJECTED = auto()
    """Atlas refuses it, or it cannot be sent at all."""


@dataclass(frozen=True, slots=True)
class InviteResult:
    """The end of one POST.

    Attributes:
        http_status: None where no answer came.
        error_code: Atlas's `errorCode`; None where it gave none.
        ends_run: Set when the answer was about the run and not about this invitation.
    """

    status: InviteStatus
    http_status: int | None = None
    error_code: str | None = None
    fatal_error: RunError | None = None
