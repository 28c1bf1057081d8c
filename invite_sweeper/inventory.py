"""What Atlas holds: projects, invitations, and what could not be read of them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias


class Source(StrEnum):
    """The lists in which Atlas keeps pending people; the policy's `sources`."""

    INVITES = "invites"
    USERS = "users"
    ORG_USERS = "org_users"
    ORG_INVITES = "org_invites"

    @property
    def of_organization(self) -> bool:
        """Whether the list belongs to an organization and not to a project."""
        return self in _OF_ORGANIZATIONS

    @property
    def successors(self) -> str:
        """The sources to write once Atlas has retired this one; "" where none takes its place.

        Source: the descriptions of the deprecated operations in Atlas's OpenAPI document.
        """
        return {Source.INVITES: "users and org_users", Source.ORG_INVITES: "org_users"}.get(
            self, ""
        )

    @property
    def replacement_hint(self) -> str:
        """What to do once Atlas has retired the list."""
        if self.successors:
            return f"Under sources, write {self.successors} instead of {self}."
        return "Upgrade this program: it speaks a version of the list that Atlas drops."


_OF_ORGANIZATIONS: Final = frozenset({Source.ORG_USERS, Source.ORG_INVITES})

USER_LISTS: Final = frozenset({Source.USERS, Source.ORG_USERS})
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


Moment: TypeAlias = datetime | UnreadableDate | None
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


class Place(NamedTuple):
    """One list to read: whose, and which.

    Attributes:
        project: For a list of an organization it stands for that: its id twice, and no name.
    """

    project: Project
    source: Source


def organization_place(org_id: str, source: Source) -> Place:
    """Give the place of an organization's list."""
    return Place(Project(org_id, "", org_id), source)


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
        origin: What only the source's own calls need (to invite again): ordered pairs.
        reaches: Projects that come with an organization's invitation, id and name; the name
            is "" until the survey gave it. Always empty in the lists of projects.
        reaches_outside: One of those is not in the policy's scope, or nobody has seen it.
    """

    id: str
    project_id: str
    project_name: str
    org_id: str
    username: str | None
    roles: tuple[str, ...]
    inviter: str | None
    created_at: Moment
    expires_at: Moment
    source: Source = Source.INVITES
    status: str | None = MembershipStatus.PENDING
    team_ids: tuple[str, ...] = ()
    origin: tuple[tuple[str, str], ...] = ()
    reaches: tuple[tuple[str, str], ...] = ()
    reaches_outside: bool = False


@dataclass(frozen=True, slots=True)
class Unreadable:
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
class Retired(Unreadable):
    """A list that Atlas serves no longer (410), whatever project is asked for."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A project that no longer exists (404 with `GROUP_NOT_FOUND`). Not a failure."""

    project_id: str
    project_name: str


def same_person_key(invitation: Invitation) -> tuple[str, str] | None:
    """Give what two doors of one person share; None where nobody knows whose door it is."""
    if invitation.username is None:
        return None
    return invitation.org_id, invitation.username.casefold()
