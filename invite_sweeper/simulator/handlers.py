"""What each endpoint does: a function takes a request and returns the response.

A pending user of an organization is a row of its users, of its invitations and of the users of
each project with a role. An invitation of `/groups/{groupId}/invites` stands for itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from invite_sweeper.models import MembershipStatus
from invite_sweeper.simulator import throttling
from invite_sweeper.simulator.auth import Account
from invite_sweeper.simulator.responses import (
    LOCALHOST,
    Call,
    Json,
    Rejected,
    SimulatedResponse,
    api_error,
    format_atlas_time,
    render_json,
    resource_not_found,
)
from invite_sweeper.simulator.state import (
    DEFAULT_STATUSES,
    Group,
    GroupInvite,
    SimulatedAtlas,
    SimulatedOrganization,
    User,
)

_Item = TypeVar("_Item")


@dataclass(slots=True, eq=False)
class Operation:
    """What a handler is given.

    Attributes:
        account: Whose credentials the request has.
        version: The API version of the response.
        group: The project in the path; None if it has none.
        organization: That in the path, or of the project in the path. Not set for a list of what
            the account can see.
    """

    sim: SimulatedAtlas
    call: Call
    account: Account
    version: str
    group: Group | None = field(init=False, default=None)
    organization: SimulatedOrganization = field(init=False)

    def respond(self, document: Json | bytes, status: int = 200) -> SimulatedResponse:
        """Return a response with the version's media type; bytes are a rendered document.

        Source: the recordings; no space before `charset`.
        """
        body = document if isinstance(document, bytes) else render_json(document)
        media = f"application/vnd.atlas.{self.version}+json;charset=utf-8"
        return SimulatedResponse(status, body, media)

    def respond_with_page(
        self, items: Sequence[_Item], document: Callable[[_Item], Json]
    ) -> SimulatedResponse:
        """Return one page of `items`. Of its links, clients read whether there is a next page."""
        number = int(self.call.query.get("pageNum", ["1"])[0])
        size = int(self.call.query.get("itemsPerPage", ["100"])[0])
        end = number * size
        shown = items[end - size : end]
        results = [document(item) for item in shown]
        page: dict[str, Json] = {"results": results, "links": [], "totalCount": len(items)}
        if end < len(items):
            page["links"] = [{"href": f"{self.call.path}?pageNum={number + 1}", "rel": "next"}]
        return self.respond(page)


def list_groups(operation: Operation) -> SimulatedResponse:
    """Return the projects that the account can see, in byte order of the name."""
    org_ids = operation.account.org_ids
    visible = [group for group in operation.sim.groups.values() if group.org_id in org_ids]
    visible.sort(key=lambda group: group.name.encode())

    def document(group: Group) -> Json:
        return {
            "clusterCount": 0,
            "created": format_atlas_time(group.created_at),
            "id": group.id,
            "links": [],
            "name": group.name,
            "orgId": group.org_id,
            "tags": [{"key": key, "value": value} for key, value in group.tags],
            "withDefaultAlertsSettings": True,
        }

    return operation.respond_with_page(visible, document)


def list_teams(operation: Operation) -> SimulatedResponse:
    """Return the teams with access. Source: the OpenAPI document; not recorded."""

    def document(team: tuple[str, tuple[str, ...]]) -> Json:
        team_id, roles = team
        return {"links": [], "roleNames": roles, "teamId": team_id}

    teams = operation.group.teams if operation.group is not None else {}
    return operation.respond_with_page(tuple(teams.items()), document)


def list_orgs(operation: Operation) -> SimulatedResponse:
    """Return the organizations of the account, in byte order of the name."""
    visible = [operation.sim.organizations[org_id] for org_id in operation.account.org_ids]
    visible.sort(key=lambda organization: organization.name.encode())

    def document(organization: SimulatedOrganization) -> Json:
        return {
            "id": organization.id,
            "isDeleted": False,
            "links": [],
            "name": organization.name,
            "skipDefaultAlertsSettings": False,
        }

    return operation.respond_with_page(visible, document)


def list_api_keys(operation: Operation) -> SimulatedResponse:
    """Return the API keys with their descriptions. Source: the OpenAPI document; not recorded."""

    def document(key: tuple[str, str]) -> Json:
        public_key, description = key
        return {"desc": description, "links": [], "publicKey": public_key, "roles": []}

    keys = sorted(operation.organization.api_keys.items())
    return operation.respond_with_page(keys, document)


def get_service_account(operation: Operation) -> SimulatedResponse:
    """Return the ends of its secrets alone. Source: the OpenAPI document; not recorded."""
    account = operation.sim.accounts.get(operation.call.item_id)
    if account is None or operation.call.place_id not in account.org_ids:
        return resource_not_found(operation.call.path)
    secrets: list[Json] = [
        {"expiresAt": format_atlas_time(end)} for end in account.secrets_expire_at
    ]
    return operation.respond({"clientId": account.name, "secrets": secrets})


# Invitations ----------------------------------------------------------------------------------


_BodyT = TypeVar("_BodyT", bound=msgspec.Struct)


class _NewMember(msgspec.Struct):
    """The body of an invitation to a project."""

    username: str
    roles: list[str]


class _Assignment(msgspec.Struct, rename="camel"):
    group_id: str
    group_roles: list[str]


class _Roles(msgspec.Struct, rename="camel"):
    org_roles: list[str]
    group_role_assignments: list[_Assignment] = []


class _NewUser(msgspec.Struct, rename="camel"):
    """The body of an invitation to an organization."""

    username: str
    roles: _Roles
    team_ids: list[str] = []


def _parse_body(operation: Operation, kind: type[_BodyT]) -> _BodyT:
    """Return the body of a request; raise Rejected for any other."""
    try:
        return msgspec.json.decode(operation.call.body, type=kind)
    except (ValueError, RecursionError):
        detail = "The required attributes were not specified."
        raise Rejected(api_error(400, "MISSING_ATTRIBUTE", detail)) from None


def _invites(operation: Operation) -> dict[str, GroupInvite]:
    """Return the rows of a list of invitations by id; an organization's are pending users."""
    if operation.group is not None:
        return operation.group.invites
    invites: dict[str, GroupInvite] = {}
    for user in operation.organization.users.values():
        if user.status is MembershipStatus.PENDING and not user.by_web_interface:
            document = render_json(_invitation(user, operation))
            invites[user.invitation_id] = GroupInvite(user.username, document)
    return invites


def _invitation(user: User, operation: Operation) -> Json:
    """Return the ten keys of the recordings."""
    assignments: list[Json] = []
    for group_id, roles in user.group_roles.items():
        assignments += [{"groupId": group_id, "groupRole": role} for role in roles]
    return {
        "createdAt": format_atlas_time(user.created_at),
        "expiresAt": _expires_at(user),
        "groupRoleAssignments": assignments,
        "id": user.invitation_id,
        "inviterUsername": user.inviter,
        "orgId": operation.organization.id,
        "orgName": operation.organization.name,
        "roles": user.org_roles,
        "teamIds": user.team_ids,
        "username": user.username,
    }


def list_invites(operation: Operation) -> SimulatedResponse:
    """Return an array sorted by username, never paged."""
    invites = sorted(_invites(operation).values(), key=lambda invite: invite.username)
    rows = b",".join(invite.document for invite in invites)
    return operation.respond(b"[%b]" % rows)


def delete_invite(operation: Operation) -> SimulatedResponse:
    """Return 204 with a JSON media type and no body. An organization loses the pending user."""
    invites = _invites(operation)
    invite = invites.pop(operation.call.item_id, None)
    if invite is None:
        return resource_not_found(operation.call.path)
    organization = operation.organization
    if operation.group is None and (user := organization.find_user(invite.username)):
        del organization.users[user.id]
    return operation.respond(b"", 204)


def create_invite(operation: Operation) -> SimulatedResponse:
    """Return 200, not 201, without `Location`."""
    invited = _parse_body(operation, _NewMember)
    _count_invitation(operation)
    invites = _invites(operation)
    names = {invite.username.lower() for invite in invites.values()}
    if invited.username.lower() in names:
        detail = f"User {invited.username} has already been invited to this project."
        return api_error(409, "USER_ALREADY_INVITED", detail, invited.username)
    key = operation.sim.invite(
        operation.call.place_id,
        invited.username,
        roles=invited.roles,
        inviter=operation.account.name,
    )
    return operation.respond(invites[key].document)


def _count_invitation(operation: Operation) -> None:
    """Raise Rejected if this address has sent too many invitations; the status is not 429."""
    bucket = operation.sim.throttling.bucket(throttling.NEW_INVITATIONS, LOCALHOST)
    if not bucket.take(operation.sim.monotonic()):
        limit = bucket.limit.capacity
        detail = f"At most {limit} invitations a minute may be sent from one address."
        raise Rejected(api_error(400, "INVITATIONS_RATE_LIMITED_IP", detail, LOCALHOST))


# Users ----------------------------------------------------------------------------------------


def list_users(operation: Operation) -> SimulatedResponse:
    """Return active and pending users, others only on request."""
    statuses = _statuses(operation)
    username = operation.call.query.get("username", [""])[0].lower()
    shown: list[User] = []
    for user in operation.organization.users.values():
        has_name = not username or user.username.lower() == username
        if has_name and user.status in statuses and _is_in_scope(operation, user):
            shown.append(user)
    shown.sort(key=lambda user: user.username)
    return operation.respond_with_page(shown, lambda user: _user(operation, user))


def get_user(operation: Operation) -> SimulatedResponse:
    """Return a user; 404 for one with a status that was not requested."""
    user = _find_user(operation, _statuses(operation))
    return operation.respond(_user(operation, user))


def delete_user(operation: Operation) -> SimulatedResponse:
    """Remove a user with any status."""
    user = _find_user(operation, frozenset(MembershipStatus))
    if operation.group is not None:
        del user.group_roles[operation.group.id]
    else:
        del operation.organization.users[user.id]
    return operation.respond(b"", 204)


def create_user(operation: Operation) -> SimulatedResponse:
    """Return 201. A member joins a project at once; other users are invited.

    An expired or rejected invitation of the same user is replaced; a pending or active user is
    a 409. Source: descriptions in the OpenAPI document.
    """
    if operation.group is not None:
        member = _parse_body(operation, _NewMember)
        group_roles = {operation.group.id: tuple(member.roles)}
        body = _NewUser(member.username, _Roles(["ORG_MEMBER"]))
    else:
        body = _parse_body(operation, _NewUser)
        group_roles = {
            each.group_id: tuple(each.group_roles) for each in body.roles.group_role_assignments
        }
    organization = operation.organization
    user = organization.find_user(body.username)
    if user is not None and user.status in DEFAULT_STATUSES:
        if operation.group is None or operation.group.id in user.group_roles:
            # The code is assumed.
            detail = f"The user {user.username} is already in the organization or invited to it."
            return api_error(409, "USER_ALREADY_EXISTS", detail, user.username)
        user.group_roles |= group_roles
        return operation.respond(_user(operation, user), 201)
    _count_invitation(operation)
    if user is not None:
        del organization.users[user.id]
    user_id = operation.sim.add_user(
        body.username,
        organization.id,
        org_roles=body.roles.org_roles,
        group_roles=group_roles,
        team_ids=body.team_ids,
        inviter=operation.account.name,
    )
    return operation.respond(_user(operation, organization.users[user_id]), 201)


def _user(operation: Operation, user: User) -> Json:
    """Return a user: of a project its roles there; of an organization all roles, and teams."""
    fields: dict[str, Json] = {
        "id": user.id,
        "orgMembershipStatus": user.status.value,
        "username": user.username,
    }
    if operation.group is not None:
        fields["roles"] = user.group_roles.get(operation.group.id, ())
    else:
        assignments: Json = [
            {"groupId": group_id, "groupRoles": roles}
            for group_id, roles in user.group_roles.items()
        ]
        fields["roles"] = {"groupRoleAssignments": assignments, "orgRoles": user.org_roles}
        fields["teamIds"] = user.team_ids
    since = format_atlas_time(user.created_at)
    if user.status is MembershipStatus.ACTIVE:
        return fields | {"createdAt": since, "firstName": user.username, "lastName": ""}
    return fields | {
        "invitationCreatedAt": since,
        "invitationExpiresAt": _expires_at(user),
        "inviterUsername": user.inviter,
    }


def _expires_at(user: User) -> str | None:
    return None if user.expires_at is None else format_atlas_time(user.expires_at)


def _is_in_scope(operation: Operation, user: User) -> bool:
    """Return whether the project in the path has a user; an organization has all of its own."""
    return operation.group is None or operation.group.id in user.group_roles


def _statuses(operation: Operation) -> frozenset[str]:
    """Return the statuses that a request asks for; without any, the default ones."""
    requested = frozenset(operation.call.query.get("orgMembershipStatuses", []))
    return requested or DEFAULT_STATUSES


def _find_user(operation: Operation, statuses: frozenset[str]) -> User:
    """Return the user in the path.

    Raises:
        Rejected: It is not there with one of these statuses. Source: codes from the list of
            errors; the details are assumed.
    """
    user_id = operation.call.item_id
    user = operation.organization.users.get(user_id)
    if user is not None and user.status in statuses and _is_in_scope(operation, user):
        return user
    code = "ORG" if operation.group is None else "GROUP"
    detail = f"The user with ID {user_id} is not there."
    raise Rejected(api_error(404, f"USER_NOT_IN_{code}", detail, user_id))
