"""The simulated Atlas: organizations, projects, people and accounts."""

import secrets
import time
from base64 import b64encode
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import count
from typing import Final, TypeVar

from invite_sweeper.models import INVITATION_LIFETIME, INVITED_STATUSES, MembershipStatus
from invite_sweeper.simulator.auth import SECRET_LIFETIME, Account, OAuthServer
from invite_sweeper.simulator.faults import FaultPlan
from invite_sweeper.simulator.responses import Call, format_atlas_time, render_json
from invite_sweeper.simulator.throttling import Throttling

AccountT = TypeVar("AccountT", bound=Account)
DEFAULT_INVITER: Final = "wkzjqvtb"
"""An API key's public key. Source: `inviterUsername` in every recording of a project."""
DEFAULT_STATUSES: Final = frozenset({MembershipStatus.PENDING, MembershipStatus.ACTIVE})
"""Statuses that the user lists return by default. Source: the OpenAPI document."""
_UNTIL_SUNSET: Final = timedelta(days=365)
"""No command warns of an end that is so far ahead."""
_REJECTED: Final = MembershipStatus.INVITATION_REJECTED
_MACHINE_PART: Final = "51aa7a5e1d"
"""The middle of an object id identifies the machine; any value works."""


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
    org_id: str
    invitation_id: str
    username: str
    status: MembershipStatus
    created_at: datetime
    expires_at: datetime | None
    inviter: str
    org_roles: tuple[str, ...]
    group_roles: dict[str, tuple[str, ...]]
    team_ids: tuple[str, ...] = ()
    by_web_interface: bool = False


@dataclass(slots=True)
class SimulatedOrganization:
    """An organization and its users. Its projects refer to it by id.

    Attributes:
        api_keys: The description of each API key, by public key.
    """

    id: str
    name: str
    users: dict[str, User] = field(default_factory=dict)
    api_keys: dict[str, str] = field(default_factory=dict)

    def find_user(self, username: str) -> User | None:
        """Return the user with that name, ignoring case, or None."""
        folded = username.lower()
        for user in self.users.values():
            if user.username.lower() == folded:
                return user
        return None


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
    invites: dict[str, GroupInvite] = field(default_factory=dict)
    teams: dict[str, tuple[str, ...]] = field(default_factory=dict)


class SimulatedAtlas:
    """An Atlas in memory. `serve` puts it on a socket.

    Attributes:
        date_offset: How far Atlas's clock is ahead of the one of this machine.
        organizations: By id, in creation order.
        groups: Projects by id, in creation order.
        accounts: Credentials by name.
        oauth: Access tokens.
        throttling: Token buckets.
        retired: Families of endpoints that return a 410.
        sunsets: The day of the `Sunset` header by family. It is the same time ahead on any day
            on which the simulated Atlas starts, so that its answers are the same, too.
        faults: Scheduled faults.
    """

    def __init__(
        self,
        clock: Callable[[], datetime] | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock or partial(datetime.now, UTC)
        self.monotonic = monotonic
        self.date_offset = timedelta(0)
        self.organizations: dict[str, SimulatedOrganization] = {}
        self.groups: dict[str, Group] = {}
        self.accounts: dict[str, Account] = {}
        self.oauth = OAuthServer(self.accounts, monotonic)
        self.throttling = Throttling(monotonic)
        self.retired: set[str] = set()
        sunset = (self.clock() + _UNTIL_SUNSET).date()
        self.sunsets: dict[str, date] = dict.fromkeys(("invites", "org_invites"), sunset)
        self.faults = FaultPlan()
        self._numbers = count(1)

    # Accounts ---------------------------------------------------------------------------------

    def add_service_account(self, *org_ids: str) -> Account:
        """Add a service account of the organizations (default: the first one)."""
        number = len(self.accounts)
        ends = (self.clock() + SECRET_LIFETIME,)
        name, secret = f"mdb_sa_id_{number:024x}", f"mdb_sa_sk_{number:040x}"
        return self.add_account(Account(name, secret, org_ids, ends))

    def add_account(self, account: AccountT) -> AccountT:
        """Add credentials; of the first organization, if they name none."""
        account.org_ids = account.org_ids or (next(iter(self.organizations)),)
        self.accounts[account.name] = account
        return account

    def authenticate(self, call: Call) -> Account | None:
        """Return the account of a request; None if its credentials are missing or wrong."""
        kind, _, token = call.headers.get("Authorization", "").partition(" ")
        return self.oauth.account_of(token) if kind == "Bearer" else None

    def challenge(self) -> str:
        """Return the `Www-Authenticate` of a 401, which a client with an API key answers.

        Source: the recordings, with a new nonce of 32 base64 characters in each.
        """
        nonce = b64encode(secrets.token_bytes(24)).decode()
        return (
            f'Digest realm="MMS Public API", domain="", nonce="{nonce}", '
            'algorithm=MD5, qop="auth", stale=false'
        )

    # Data -------------------------------------------------------------------------------------

    def clock(self) -> datetime:
        """Return the current time of Atlas."""
        return self._clock() + self.date_offset

    def new_id(self, timestamp: datetime) -> str:
        """Return a new id of 24 lower-case hex digits; the same calls return the same ids.

        Source: the first 4 bytes of an invitation's id equal its `createdAt` in all recordings.
        """
        seconds = int(timestamp.timestamp()) & 0xFFFFFFFF
        return f"{seconds:08x}{_MACHINE_PART}{next(self._numbers) & 0xFFFFFF:06x}"

    def add_organization(self, org_id: str, name: str) -> SimulatedOrganization:
        """Add an organization without projects or users."""
        self.organizations[org_id] = SimulatedOrganization(org_id, name)
        return self.organizations[org_id]

    def _organization(self, org_id: str | None) -> SimulatedOrganization:
        return self.organizations[org_id or next(iter(self.organizations))]

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
        created_at = created or self.clock()
        # Source: the id's timestamp is 1 to 8 s before `created` in the recordings.
        new_id = project_id or self.new_id(created_at - timedelta(seconds=2))
        owner = self._organization(org_id)
        pairs = tuple((tags or {}).items())
        self.groups[new_id] = Group(new_id, name, owner.id, created_at, pairs)
        return new_id

    def add_team(self, *project_ids: str, roles: Sequence[str] = ("GROUP_READ_ONLY",)) -> str:
        """Add a team with access to these projects and return its id."""
        team_id = self.new_id(self.clock())
        for project_id in project_ids:
            self.groups[project_id].teams[team_id] = tuple(roles)
        return team_id

    def invite(
        self,
        project_id: str,
        username: str,
        *,
        age: timedelta = timedelta(0),
        roles: Sequence[str] = ("GROUP_READ_ONLY",),
        inviter: str = DEFAULT_INVITER,
    ) -> str:
        """Add an invitation of the `invites` list, created `age` ago, and return its id."""
        group = self.groups[project_id]
        created_at = self.clock() - age
        invitation_id = self.new_id(created_at)
        document = {
            "createdAt": format_atlas_time(created_at),
            "expiresAt": format_atlas_time(created_at + INVITATION_LIFETIME),
            "groupId": project_id,
            "groupName": group.name,
            "id": invitation_id,
            "inviterUsername": inviter,
            "roles": tuple(roles),
            "username": username,
        }
        group.invites[invitation_id] = GroupInvite(username, render_json(document))
        return invitation_id

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
        organization = self._organization(org_id)
        created_at = self.clock() - age
        user_id = self.new_id(created_at)
        organization.users[user_id] = User(
            id=user_id,
            org_id=organization.id,
            # Source: the two ids differ in all 633 recorded pairs, often by one.
            invitation_id=self.new_id(created_at),
            username=username,
            status=MembershipStatus(status),
            created_at=created_at,
            expires_at=None if status == _REJECTED else created_at + INVITATION_LIFETIME,
            inviter=inviter,
            org_roles=tuple(org_roles),
            group_roles={key: tuple(roles) for key, roles in (group_roles or {}).items()},
            team_ids=tuple(team_ids),
            by_web_interface=by_web_interface,
        )
        return user_id

    def invited_users(self) -> Iterator[User]:
        """Return the users of all organizations who are not active."""
        people = ChainMap(*(each.users for each in self.organizations.values()))
        return (user for user in people.values() if user.status in INVITED_STATUSES)

    def expire_invitations(self) -> None:
        """Let the users expire whose invitation has ended by now."""
        for user in self.invited_users():
            if user.expires_at is not None and user.expires_at <= self.clock():
                user.status = MembershipStatus.INVITATION_EXPIRED
