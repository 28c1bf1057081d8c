"""What the simulated Atlas holds: organizations, projects, invitations, users."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


class Status(StrEnum):
    """A user's place in an organization (`orgMembershipStatus`)."""

    ACTIVE = "ACTIVE"
    PENDING = "PENDING"
    INVITATION_EXPIRED = "INVITATION_EXPIRED"
    INVITATION_REJECTED = "INVITATION_REJECTED"


@dataclass(slots=True)
class Invite:
    """One invitation of `/groups/{id}/invites`.

    Attributes:
        key: The path part that finds it: its id, whatever form that has.
        username: What the list is sorted by; empty where the document has none.
        document: The JSON object that Atlas sends; rendered once, since it never changes.
    """

    key: str
    username: str
    document: bytes


@dataclass(slots=True)
class User:
    """A person in an organization, invited through the newer calls or the web interface.

    Attributes:
        invitation_id: Its id in `/orgs/{id}/invites` while it is pending; never the user's id.
        since: When invited, and for an active one when the account was made.
        expires: None for a rejected invitation.
        group_roles: Project id to the roles there.
    """

    id: str
    invitation_id: str
    username: str
    status: Status
    since: datetime
    expires: datetime | None
    inviter: str
    org_roles: tuple[str, ...]
    group_roles: dict[str, tuple[str, ...]]
    team_ids: tuple[str, ...] = ()


@dataclass(slots=True)
class Organization:
    """An organization and its people; its projects name it."""

    id: str
    name: str
    users: dict[str, User] = field(default_factory=dict)


class Removal(NamedTuple):
    """A user that was removed over HTTP, and what it was at that moment."""

    scope_id: str
    user_id: str
    username: str
    status: Status


@dataclass(slots=True)
class Group:
    """A project. `hidden` ones are counted by a list and hold a place in it, but are not shown."""

    id: str
    name: str
    org_id: str
    created: datetime
    tags: tuple[tuple[str, str], ...] = ()
    cluster_count: int = 0
    hidden: bool = False
    invites: dict[str, Invite] = field(default_factory=dict)
