"""Organizations, projects, people; what was asked."""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import count
from re import compile as pattern
from typing import Final, NamedTuple

from invite_sweeper.simulator.responses import Json, Missing, parse_object, render_document

# Object ids and instants in the form that Atlas writes them.


ID_PATTERN: Final = pattern(r"[a-f0-9]{24}")
# The middle of an object id tells the machine; one value is as good as another.
_MACHINE_PART: Final = "51aa7a5e1d"


def utc_now() -> datetime:
    """The machine's clock, aware UTC."""
    return datetime.now(UTC)


def format_atlas_time(timestamp: datetime) -> str:
    """`2026-08-10T03:04:53Z`: whole seconds, always `Z`.

    Source: all 4,342 instants in the recordings.
    """
    return timestamp.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class IdGenerator:
    """Makes ids whose first four bytes tell an instant, no two of them alike.

    The same calls give the same ids, so that a seeded organization is the same each time.
    """

    def __init__(self) -> None:
        self._numbers = count(1)

    def generate(self, timestamp: datetime) -> str:
        """24 lower-case hex digits.

        Source: the first 4 bytes of an invitation's id equal its `createdAt` in all recordings.
        """
        seconds = int(timestamp.timestamp()) & 0xFFFFFFFF
        return f"{seconds:08x}{_MACHINE_PART}{next(self._numbers) & 0xFFFFFF:06x}"


# What the simulated Atlas holds: organizations, projects, invitations, users.


class OrgMembershipStatus(StrEnum):
    """A user's place in an organization (`orgMembershipStatus`)."""

    ACTIVE = "ACTIVE"
    PENDING = "PENDING"
    INVITATION_EXPIRED = "INVITATION_EXPIRED"
    INVITATION_REJECTED = "INVITATION_REJECTED"


@dataclass(slots=True)
class GroupInvite:
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
    status: OrgMembershipStatus
    created_at: datetime
    expires_at: datetime | None
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


class RemovedUser(NamedTuple):
    """A user that was removed over HTTP, and what it was at that moment."""

    scope_id: str
    user_id: str
    username: str
    status: OrgMembershipStatus


@dataclass(slots=True)
class Group:
    """A project. `hidden` ones are counted by a list and hold a place in it, but are not shown."""

    id: str
    name: str
    org_id: str
    created_at: datetime
    tags: tuple[tuple[str, str], ...] = ()
    cluster_count: int = 0
    hidden: bool = False
    invites: dict[str, GroupInvite] = field(default_factory=dict)


# What the simulated Atlas holds, and how it gets there without HTTP.


INVITATION_LIFETIME: Final = timedelta(days=30)
"""From invitation to expiry. Source: all 2,225 invitations in the recordings."""
DEFAULT_INVITER: Final = "wkzjqvtb"
"""An API key's public part. Source: as `inviterUsername` is in every recording of a project."""


class Data:
    """Organizations, their projects, and the invitations of those.

    Attributes:
        clock: What is made is made now.
        organizations: By id, in the order of their making.
        groups: Projects, likewise.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.organizations: dict[str, Organization] = {}
        self.groups: dict[str, Group] = {}
        self.ids = IdGenerator()

    def add_organization(self, org_id: str, name: str) -> Organization:
        """An organization without projects or people."""
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
        hidden: bool = False,
    ) -> str:
        """A project of the organization given (or the first one); gives its id.

        A hidden one is counted by `/groups` and not shown, as new ones are for some seconds.
        """
        owner = org_id or next(iter(self.organizations))
        created_at = created or self.clock()
        # Source: the id's instant is 1 to 8 s before `created` in the recordings.
        new_id = project_id or self.ids.generate(created_at - timedelta(seconds=2))
        pairs = tuple((tags or {}).items())
        self.groups[new_id] = Group(new_id, name, owner, created_at, pairs, hidden=hidden)
        return new_id

    def remove_project(self, project_id: str) -> None:
        """The project and its invitations are gone."""
        del self.groups[project_id]

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
        """A project invitation of the old kind, sent `age` ago; gives its id.

        `overrides` are fields of the document, by Atlas's names, that differ from the
        ordinary: `createdAt="soon"`, `expiresAt=None`, `id="../x"`, `groupId=MISSING`. They
        change what is sent and, for `id`, what finds it.
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
        group.invites[key] = GroupInvite(key, name, render_document(fields))
        return key

    def invitations(self, project_id: str) -> tuple[str, ...]:
        """Ids of what the project holds now, in the order of their making."""
        return tuple(self.groups[project_id].invites)

    def invitation_count(self) -> int:
        """How many project invitations there are in all."""
        return sum(len(group.invites) for group in self.groups.values())


# The people of an organization: how they come, accept, decline and go, without HTTP.


DEFAULT_STATUSES: Final = frozenset({OrgMembershipStatus.PENDING, OrgMembershipStatus.ACTIVE})
"""What the lists of users show unless asked for more. Source: the OpenAPI document."""


class DataWithUsers(Data):
    """Users of organizations, on top of the projects and their older invitations."""

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
    ) -> str:
        """A person invited `age` ago by the web interface or the newer calls; gives the user id.

        While pending, it is an invitation of `/orgs/{id}/invites` too, under another id
        (`user(user_id).invitation_id`). `group_roles` says which projects it comes with.
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
        )
        return user_id

    def user(self, user_id: str) -> User:
        """The user, in whichever organization.

        Raises:
            KeyError: There is none; it may have been removed.
        """
        for organization in self.organizations.values():
            if user_id in organization.users:
                return organization.users[user_id]
        raise KeyError(user_id)

    def users(self, org_id: str | None = None) -> tuple[str, ...]:
        """User ids of an organization (or the first one), in the order of their making."""
        return tuple(self.organizations[org_id or next(iter(self.organizations))].users)

    def set_status(self, user_id: str, status: str) -> None:
        """The person accepts (`ACTIVE`) or declines, or the invitation expires.

        No error where there is no such user: it may have been removed before.
        """
        for organization in self.organizations.values():
            user = organization.users.get(user_id)
            if user is not None:
                user.status = OrgMembershipStatus(status)
                if user.status is OrgMembershipStatus.INVITATION_REJECTED:
                    user.expires_at = None

    def accept(self, project_id: str, invitation_id: str) -> None:
        """The invited person accepts an older project invitation and is a member from then on.

        No error where there is no such invitation: it may have been deleted before.
        """
        group = self.groups[project_id]
        invite = group.invites.pop(invitation_id, None)
        if invite is None:
            return
        sent_roles = (parse_object(invite.document) or {}).get("roles")
        roles = tuple(map(str, sent_roles)) if isinstance(sent_roles, list) else ()
        user = find_user(self.organizations[group.org_id], invite.username)
        if user is None:
            member = self.add_user(invite.username, group.org_id, status="ACTIVE")
            user = self.user(member)
        user.group_roles[project_id] = roles


def find_user(organization: Organization, username: str) -> User | None:
    """The user of that name, whatever its case; None where there is none."""
    wanted = username.lower()
    return next((u for u in organization.users.values() if u.username.lower() == wanted), None)


# What the simulated Atlas has been asked and what it did.


_MAX_REQUESTS: Final = 10_000


class RequestRecord(NamedTuple):
    """One request and its answer.

    Attributes:
        path: As it was sent, with its query.
        status: 0 where the connection was reset or nothing was answered.
        at_s: Monotonic time of its arrival.
    """

    method: str
    path: str
    status: int
    at_s: float


class RequestLog:
    """Requests, newest last, and counters.

    Attributes:
        enabled: Whether requests are kept; counters always are.
        requests: The last 10,000.
        statuses: How often each status was answered; 0 for no answer.
        received: How often each method arrived, whatever came of it.
        deleted: Ids of invitations and users in the order in which they were deleted.
        removed: The users among them, with what they were.
        confirmed: Ids whose deletion was answered with 204.
        deletes_after_confirmation: Ids that were asked to be deleted after that, once a time.
    """

    def __init__(self) -> None:
        self.enabled = True
        self.requests: deque[RequestRecord] = deque(maxlen=_MAX_REQUESTS)
        self.statuses: Counter[int] = Counter()
        self.received: Counter[str] = Counter()
        self.deleted: list[str] = []
        self.removed: list[RemovedUser] = []
        self.confirmed: set[str] = set()
        self.deletes_after_confirmation: list[str] = []

    def on_request(self, method: str, item_id: str) -> None:
        """A request has arrived; nothing is known of its answer."""
        self.received[method] += 1
        if method == "DELETE" and item_id in self.confirmed:
            self.deletes_after_confirmation.append(item_id)

    def on_response(self, record: RequestRecord, item_id: str) -> None:
        """A request was answered."""
        self.statuses[record.status] += 1
        if record.method == "DELETE" and record.status == 204:  # noqa: PLR2004 - No Content
            self.confirmed.add(item_id)
        if self.enabled:
            self.requests.append(record)


# What has been seen to be odd about the pages of Atlas's lists.


@dataclass(slots=True)
class PagingQuirks:
    """What is odd about the pages of a list; by default nothing is.

    Attributes:
        extra_count: Added to `totalCount`.
        page_size: A page holds at most so many, whatever was asked for, and has a `next` where
            there is more: short pages that are not the last. None for no such bound.
        repeats: The last so many of a page come again on the next one.
        loop: Every page is the first one, and has a `next`.
        unsorted: Projects come in the order of their making, not by name.
        link_host: Links name this host instead of the server's own.
    """

    extra_count: int = 0
    page_size: int | None = None
    repeated_items: int = 0
    endless: bool = False
    unsorted: bool = False
    link_host: str | None = None
