"""Organizations, projects, invitations and users, changed without HTTP."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import count
from typing import Final, Literal, NamedTuple

import msgspec

from invite_sweeper.simulator.responses import Json, Missing, parse_object, render_document

# The middle of an object id identifies the machine; any value works.
_MACHINE_PART: Final = "51aa7a5e1d"


def utc_now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


def format_atlas_time(timestamp: datetime) -> str:
    """Format a timestamp as `2026-08-10T03:04:53Z`: whole seconds, always `Z`.

    Source: all 4,342 timestamps in the recordings.
    """
    return timestamp.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class IdGenerator:
    """Generates unique object ids, which start with a timestamp of four bytes.

    The same calls return the same ids, so that a seeded organization is reproducible.
    """

    def __init__(self) -> None:
        self._numbers = count(1)

    def generate(self, timestamp: datetime) -> str:
        """Return a new id of 24 lower-case hex digits.

        Source: the first 4 bytes of an invitation's id equal its `createdAt` in all recordings.
        """
        seconds = int(timestamp.timestamp()) & 0xFFFFFFFF
        return f"{seconds:08x}{_MACHINE_PART}{next(self._numbers) & 0xFFFFFF:06x}"


class OrgMembershipStatus(StrEnum):
    """A user's `orgMembershipStatus` in an organization."""

    ACTIVE = "ACTIVE"
    PENDING = "PENDING"
    INVITATION_EXPIRED = "INVITATION_EXPIRED"
    INVITATION_REJECTED = "INVITATION_REJECTED"


@dataclass(slots=True)
class GroupInvite:
    """One invitation of `/groups/{id}/invites`.

    Attributes:
        username: Sort key of the list; empty if the document has no username.
        document: The JSON object that is sent; rendered once, since it never changes.
    """

    username: str
    document: bytes


@dataclass(slots=True)
class User:
    """A user of an organization, active or invited by the users API or the web interface.

    Attributes:
        invitation_id: Its id in `/orgs/{id}/invites` while it is pending; never the user's id.
        by_web_interface: Invited in the web interface: `/orgs/{id}/invites` does not list it.
        created_at: When it was invited; for an active user, when the account was created.
        expires_at: None for a rejected invitation.
        group_roles: Roles by project id.
    """

    id: str
    invitation_id: str
    username: str
    status: OrgMembershipStatus
    created_at: datetime
    expires_at: datetime | None
    inviter: str
    org_roles: tuple[str, ...]
    group_roles: dict[str, tuple[str, ...]]
    team_ids: tuple[str, ...] = ()
    by_web_interface: bool = False


class Event(NamedTuple):
    """One event of an organization's feed: a user was invited, or joined.

    Attributes:
        username: Who was invited or joined.
        actor: An address, or an API key's public key.
    """

    created_at: datetime
    type: Literal["INVITED_TO_ORG", "JOINED_ORG"]
    username: str
    actor: str


@dataclass(slots=True)
class Organization:
    """An organization and its users. Its projects refer to it by id.

    Attributes:
        federated: New users become active members at once, without an acceptance.
        events: Oldest first.
    """

    id: str
    name: str
    users: dict[str, User] = field(default_factory=dict)
    federated: bool = False
    events: list[Event] = field(default_factory=list)


class RemovedUser(NamedTuple):
    """A user removed over HTTP, with its status at that time."""

    scope_id: str
    user_id: str
    username: str
    status: OrgMembershipStatus


@dataclass(slots=True)
class Group:
    """A project.

    Attributes:
        teams: Roles of the teams with access, by team id.
    """

    id: str
    name: str
    org_id: str
    created_at: datetime
    tags: tuple[tuple[str, str], ...] = ()
    cluster_count: int = 0
    invites: dict[str, GroupInvite] = field(default_factory=dict)
    teams: dict[str, tuple[str, ...]] = field(default_factory=dict)


INVITATION_LIFETIME: Final = timedelta(days=30)
"""From invitation to expiry. Source: all 2,225 invitations in the recordings."""
DEFAULT_INVITER: Final = "wkzjqvtb"
"""An API key's public key. Source: `inviterUsername` in every recording of a project."""


DEFAULT_STATUSES: Final = frozenset({OrgMembershipStatus.PENDING, OrgMembershipStatus.ACTIVE})
"""Statuses that the user lists return by default. Source: the OpenAPI document."""


class Data:
    """Organizations with their users, and projects with their invitations.

    Attributes:
        date_offset: How far Atlas's clock is ahead of the one of this machine.
        organizations: By id, in creation order.
        groups: Projects by id, in creation order.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self.date_offset = timedelta(0)
        self.organizations: dict[str, Organization] = {}
        self.groups: dict[str, Group] = {}
        self.ids = IdGenerator()

    def clock(self) -> datetime:
        """Return the current time of Atlas."""
        return self._clock() + self.date_offset

    def add_organization(self, org_id: str, name: str) -> Organization:
        """Add an organization without projects or users."""
        self.organizations[org_id] = Organization(org_id, name)
        return self.organizations[org_id]

    def add_project(
        self,
        name: str,
        org_id: str | None = None,
        *,
        project_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        created: datetime | None = None,
    ) -> str:
        """Add a project to an organization (default: the first) and return its id."""
        owner = org_id or next(iter(self.organizations))
        created_at = created or self.clock()
        # Source: the id's timestamp is 1 to 8 s before `created` in the recordings.
        new_id = project_id or self.ids.generate(created_at - timedelta(seconds=2))
        pairs = tuple((tags or {}).items())
        self.groups[new_id] = Group(new_id, name, owner, created_at, pairs)
        return new_id

    def add_team(self, *project_ids: str, roles: Sequence[str] = ("GROUP_READ_ONLY",)) -> str:
        """Add a team with access to these projects and return its id."""
        team_id = self.ids.generate(self.clock())
        for project_id in project_ids:
            self.groups[project_id].teams[team_id] = tuple(roles)
        return team_id

    def rename_project(self, project_id: str, name: str) -> None:
        """Rename a project, also in its invitations."""
        group = self.groups[project_id]
        group.name = name
        for invite in group.invites.values():
            document = {**parse_object(invite.document), "groupName": name}
            invite.document = msgspec.json.encode(document)

    def remove_project(self, project_id: str) -> None:
        """Remove a project with its invitations and the roles of users in it."""
        group = self.groups.pop(project_id)
        for user in self.organizations[group.org_id].users.values():
            user.group_roles.pop(project_id, None)

    def invite(
        self,
        project_id: str,
        username: str | Missing,
        *,
        age: timedelta = timedelta(0),
        roles: Sequence[str] = ("GROUP_READ_ONLY",),
        inviter: str = DEFAULT_INVITER,
        **overrides: Json | Missing,
    ) -> str:
        """Add an invitation of the `invites` list, created `age` ago, and return its id.

        `overrides` replace fields of the document by Atlas's names: `createdAt="soon"`,
        `expiresAt=None`, `id="../x"`, `groupId=MISSING`. An overridden `id` also changes the
        path of the invitation.
        """
        group = self.groups[project_id]
        created = self.clock() - age
        fields: dict[str, Json | Missing] = {
            "createdAt": format_atlas_time(created),
            "expiresAt": format_atlas_time(created + INVITATION_LIFETIME),
            "groupId": project_id,
            "groupName": group.name,
            "id": self.ids.generate(created),
            "inviterUsername": inviter,
            "roles": tuple(roles),
            "username": username,
        }
        fields |= overrides
        sent_id = fields["id"]
        key = sent_id if isinstance(sent_id, str) else f"#{len(group.invites)}"
        name = username if isinstance(username, str) else ""
        group.invites[key] = GroupInvite(name, render_document(fields))
        self.organizations[group.org_id].events.append(
            Event(created, "INVITED_TO_ORG", name, inviter)
        )
        return key

    def invitations(self, project_id: str) -> tuple[str, ...]:
        """Return the ids of a project's invitations, in creation order."""
        return tuple(self.groups[project_id].invites)

    def invitation_count(self) -> int:
        """Return the number of project invitations in all projects."""
        return sum(len(group.invites) for group in self.groups.values())

    def add_user(
        self,
        username: str,
        org_id: str | None = None,
        *,
        status: str = "PENDING",
        age: timedelta = timedelta(0),
        org_roles: Sequence[str] = ("ORG_MEMBER",),
        group_roles: Mapping[str, Sequence[str]] | None = None,
        team_ids: Sequence[str] = (),
        inviter: str = DEFAULT_INVITER,
        by_web_interface: bool = False,
    ) -> str:
        """Add a user invited `age` ago and return the user id.

        While pending, it is also an invitation in `/orgs/{id}/invites`, under another id
        (`user(user_id).invitation_id`), unless it was invited in the web interface.
        `group_roles` are roles by project id.
        """
        organization = self.organizations[org_id or next(iter(self.organizations))]
        created_at = self.clock() - age
        user_id = self.ids.generate(created_at)
        membership_status = OrgMembershipStatus(status)
        organization.users[user_id] = User(
            id=user_id,
            # Source: the two ids differ in all 633 recorded pairs, often by one.
            invitation_id=self.ids.generate(created_at),
            username=username,
            status=membership_status,
            created_at=created_at,
            expires_at=None
            if membership_status is OrgMembershipStatus.INVITATION_REJECTED
            else created_at + INVITATION_LIFETIME,
            inviter=inviter,
            org_roles=tuple(org_roles),
            group_roles={key: tuple(roles) for key, roles in (group_roles or {}).items()},
            team_ids=tuple(team_ids),
            by_web_interface=by_web_interface,
        )
        organization.events.append(Event(created_at, "INVITED_TO_ORG", username, inviter))
        if membership_status is OrgMembershipStatus.ACTIVE:
            organization.events.append(Event(created_at, "JOINED_ORG", username, username))
        return user_id

    def invited_user_count(self) -> int:
        """Return the number of users in all organizations who are not active."""
        users = (u for each in self.organizations.values() for u in each.users.values())
        return sum(user.status is not OrgMembershipStatus.ACTIVE for user in users)

    def expire_invitations(self) -> None:
        """Let the users expire whose invitation has ended by now."""
        for organization in self.organizations.values():
            for user in organization.users.values():
                ended = user.expires_at is not None and user.expires_at <= self.clock()
                if ended and user.status is OrgMembershipStatus.PENDING:
                    user.status = OrgMembershipStatus.INVITATION_EXPIRED

    def user(self, user_id: str) -> User:
        """Return a user of any organization."""
        for organization in self.organizations.values():
            if user_id in organization.users:
                return organization.users[user_id]
        raise KeyError(user_id)

    def users(self, org_id: str | None = None) -> tuple[str, ...]:
        """Return the user ids of an organization (default: the first), in creation order."""
        return tuple(self.organizations[org_id or next(iter(self.organizations))].users)

    def set_status(self, user_id: str, status: str) -> None:
        """Set a user's status, as when an invitation is accepted, declined or expires.

        Does nothing if the user does not exist; it may have been removed.
        """
        for organization in self.organizations.values():
            user = organization.users.get(user_id)
            if user is not None:
                user.status = OrgMembershipStatus(status)
                if user.status is OrgMembershipStatus.ACTIVE:
                    organization.events.append(
                        Event(self.clock(), "JOINED_ORG", user.username, user.username)
                    )
                if user.status is OrgMembershipStatus.INVITATION_REJECTED:
                    user.expires_at = None

    def accept(self, project_id: str, invitation_id: str) -> None:
        """Turn an invitation of the `invites` list into an active user of the project.

        A user whose invitation to the organization is pending becomes active in it, too: members
        of a project are members of its organization. Does nothing if the invitation does not
        exist; it may have been deleted.
        """
        group = self.groups[project_id]
        invite = group.invites.pop(invitation_id, None)
        if invite is None:
            return
        sent_roles = parse_object(invite.document).get("roles")
        roles = tuple(map(str, sent_roles)) if isinstance(sent_roles, list) else ()
        user = find_user(self.organizations[group.org_id], invite.username)
        if user is None:
            member = self.add_user(invite.username, group.org_id, status="ACTIVE")
            user = self.user(member)
        elif user.status is not OrgMembershipStatus.ACTIVE:
            self.set_status(user.id, "ACTIVE")
        user.group_roles[project_id] = roles


def find_user(organization: Organization, username: str) -> User | None:
    """Return the user with that name, ignoring case, or None."""
    folded = username.lower()
    return next((u for u in organization.users.values() if u.username.lower() == folded), None)
