"""The people of an organization: how they come, accept, decline and go, without HTTP."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from invite_sweeper.simulator.holdings import INVITER, LIFETIME, Holdings
from invite_sweeper.simulator.json_types import load_object
from invite_sweeper.simulator.records import Organization, Status, User

OPEN: Final = frozenset({Status.PENDING, Status.ACTIVE})
"""What the lists of users show unless asked for more. Source: the OpenAPI document."""


class People(Holdings):
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
        inviter: str = INVITER,
    ) -> str:
        """A person invited `age` ago by the web interface or the newer calls; gives the user id.

        While pending, it is an invitation of `/orgs/{id}/invites` too, under another id
        (`user(user_id).invitation_id`). `group_roles` says which projects it comes with.
        """
        organization = self.organizations[org_id or next(iter(self.organizations))]
        since = self.clock() - age
        user_id = self.ids.at(since)
        standing = Status(status)
        organization.users[user_id] = User(
            id=user_id,
            # Source: the two ids differ in all 633 recorded pairs, often by one.
            invitation_id=self.ids.at(since),
            username=username,
            status=standing,
            since=since,
            expires=None if standing is Status.INVITATION_REJECTED else since + LIFETIME,
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
                user.status = Status(status)
                if user.status is Status.INVITATION_REJECTED:
                    user.expires = None

    def accept(self, project_id: str, invitation_id: str) -> None:
        """The invited person accepts an older project invitation and is a member from then on.

        No error where there is no such invitation: it may have been deleted before.
        """
        group = self.groups[project_id]
        invite = group.invites.pop(invitation_id, None)
        if invite is None:
            return
        told = (load_object(invite.document) or {}).get("roles")
        roles = tuple(map(str, told)) if isinstance(told, list) else ()
        user = by_name(self.organizations[group.org_id], invite.username)
        if user is None:
            member = self.add_user(invite.username, group.org_id, status="ACTIVE")
            user = self.user(member)
        user.group_roles[project_id] = roles


def by_name(organization: Organization, username: str) -> User | None:
    """The user of that name, whatever its case; None where there is none."""
    wanted = username.lower()
    return next((u for u in organization.users.values() if u.username.lower() == wanted), None)
