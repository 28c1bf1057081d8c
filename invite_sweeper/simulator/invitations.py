"""Endpoints of invitations: `/groups/{groupId}/invites`, `/orgs/{orgId}/invites`, POST users."""

from urllib.parse import parse_qs

from invite_sweeper.simulator.calls import Call
from invite_sweeper.simulator.data import (
    DEFAULT_STATUSES,
    GroupInvite,
    OrgMembershipStatus,
    User,
    find_user,
    format_atlas_time,
)
from invite_sweeper.simulator.responses import (
    Json,
    Rejected,
    SimulatedResponse,
    api_error,
    parse_object,
    resource_not_found,
)
from invite_sweeper.simulator.users import (
    group_document,
    is_project_call,
    org_document,
    organization_of,
)


def list_invites(call: Call) -> SimulatedResponse:
    """Handle `GET …/invites`: an array sorted by username, never paged."""
    invites = sorted(call.sim.groups[call.scope_id].invites.values(), key=_username)
    username = parse_qs(call.query).get("username", [""])[0].lower()
    # Source: the official CLI sends an empty `username=`, which lists all.
    documents = (each.document for each in invites if username in ("", each.username.lower()))
    return call.raw_response(b"[%b]" % b",".join(documents))


def get_invite(call: Call) -> SimulatedResponse:
    """Handle `GET …/invites/{invitationId}`."""
    invite = call.sim.groups[call.scope_id].invites.get(call.item_id)
    return resource_not_found(call.path) if invite is None else call.raw_response(invite.document)


def delete_invite(call: Call) -> SimulatedResponse:
    """Handle `DELETE …/invites/{invitationId}`: 204 with a JSON media type and no body."""
    sim = call.sim
    if sim.groups[call.scope_id].invites.pop(call.item_id, None) is None:
        return invitation_not_found(call)
    sim.request_log.deleted.append(call.item_id)
    return call.raw_response(b"", 204)


def create_invite(call: Call) -> SimulatedResponse:
    """Handle `POST …/invites`: 200, not 201, without `Location`."""
    fields = parse_object(call.body) or {}
    username, roles = fields.get("username"), fields.get("roles")
    if not isinstance(username, str) or not isinstance(roles, list) or not roles:
        return _missing_attribute()
    call.sim.invite_rate_limit.count(call.client_ip)
    invites = call.sim.groups[call.scope_id].invites
    if any(each.username.lower() == username.lower() for each in invites.values()):
        detail = f"User {username} has already been invited to this project."
        return api_error(409, "USER_ALREADY_INVITED", detail, username)
    roles = [str(role) for role in roles]
    key = call.sim.invite(call.scope_id, username, roles=roles, inviter=call.account.name)
    return call.raw_response(invites[key].document)


def invitation_not_found(call: Call) -> SimulatedResponse:
    """Return the error for an unknown invitation: 404 or 400, by the simulator's `gone_status`."""
    if call.sim.gone_status == 404:  # noqa: PLR2004 - Not Found
        return resource_not_found(call.path)
    detail = f"The invitation with ID {call.item_id} does not exist or was already accepted."
    return api_error(400, "INVALID_INVITATION_ID", detail, call.item_id)


def _username(invite: GroupInvite) -> str:
    return invite.username


def list_org_invites(call: Call) -> SimulatedResponse:
    """Handle `GET /orgs/{orgId}/invites`: an array sorted by username, never paged."""
    username = parse_qs(call.query).get("username", [""])[0].lower()
    pending = [user for user in _pending(call) if username in ("", user.username.lower())]
    pending.sort(key=lambda user: user.username)
    return call.json_response([_document(call, user) for user in pending])


def get_org_invite(call: Call) -> SimulatedResponse:
    """Handle `GET /orgs/{orgId}/invites/{invitationId}`."""
    user = _find_pending(call)
    return (
        resource_not_found(call.path) if user is None else call.json_response(_document(call, user))
    )


def delete_org_invite(call: Call) -> SimulatedResponse:
    """Handle `DELETE /orgs/{orgId}/invites/{invitationId}`, which removes the pending user."""
    user = _find_pending(call)
    if user is None:
        return invitation_not_found(call)
    del organization_of(call).users[user.id]
    call.sim.request_log.deleted.append(user.invitation_id)
    return call.raw_response(b"", 204)


def create_org_invite(call: Call) -> SimulatedResponse:
    """Handle `POST /orgs/{orgId}/invites`: 200, not 201."""
    fields = parse_object(call.body) or {}
    groups = {
        str(each["groupId"]): _strings(each.get("roles"))
        for each in _objects(fields.get("groupRoleAssignments"))
        if "groupId" in each
    }
    user = _invite_user(call, fields, _strings(fields.get("roles")), groups)
    return call.json_response(_document(call, user))


def create_user(call: Call) -> SimulatedResponse:
    """Handle `POST …/users`: 201. A member joins a project at once; other users are invited.

    An expired or rejected invitation of the same user is replaced; a pending or active user is
    a 409. Source: descriptions in the OpenAPI document.
    """
    fields = parse_object(call.body) or {}
    if is_project_call(call):
        return _add_to_project(call, fields)
    roles = fields.get("roles")
    roles_fields = (
        {str(key): value for key, value in roles.items()} if isinstance(roles, dict) else {}
    )
    groups = {
        str(each["groupId"]): _strings(each.get("groupRoles"))
        for each in _objects(roles_fields.get("groupRoleAssignments"))
        if "groupId" in each
    }
    user = _invite_user(call, fields, _strings(roles_fields.get("orgRoles")), groups)
    return call.json_response(org_document(user), 201)


def _add_to_project(call: Call, fields: dict[str, object]) -> SimulatedResponse:
    roles, name = _strings(fields.get("roles")), fields.get("username")
    document = group_document(call.scope_id)
    user = find_user(organization_of(call), name) if isinstance(name, str) and roles else None
    if user is not None and user.status in DEFAULT_STATUSES:
        if call.scope_id in user.group_roles:
            raise _already_exists(user)
        user.group_roles[call.scope_id] = roles
        return call.json_response(document(user), 201)
    invited = _invite_user(call, fields, ("ORG_MEMBER",) if roles else (), {call.scope_id: roles})
    return call.json_response(document(invited), 201)


def _invite_user(
    call: Call,
    fields: dict[str, object],
    org_roles: tuple[str, ...],
    group_roles: dict[str, tuple[str, ...]],
) -> User:
    """Return a new pending user."""
    name, target_organization = fields.get("username"), organization_of(call)
    if not isinstance(name, str) or not org_roles:
        raise Rejected(_missing_attribute())
    existing = find_user(target_organization, name)
    if existing is not None and existing.status in DEFAULT_STATUSES:
        raise _already_exists(existing)
    call.sim.invite_rate_limit.count(call.client_ip)
    if existing is not None:
        del target_organization.users[existing.id]
    teams = _strings(fields.get("teamIds"))
    user_id = call.sim.add_user(
        name,
        target_organization.id,
        # Source: Atlas documentation, invitations (read 2026-11).
        status="ACTIVE" if target_organization.federated else "PENDING",
        org_roles=org_roles,
        group_roles=group_roles,
        team_ids=teams,
        inviter=call.account.name,
    )
    return target_organization.users[user_id]


def _missing_attribute() -> SimulatedResponse:
    return api_error(400, "MISSING_ATTRIBUTE", "The required attributes were not specified.")


def _already_exists(user: User) -> Rejected:
    """Return a 409. Its code is assumed."""
    detail = f"The user {user.username} is already in the organization or invited to it."
    return Rejected(api_error(409, "USER_ALREADY_EXISTS", detail, user.username))


def _pending(call: Call) -> list[User]:
    users = organization_of(call).users.values()
    return [
        user
        for user in users
        if user.status is OrgMembershipStatus.PENDING and not user.by_web_interface
    ]


def _find_pending(call: Call) -> User | None:
    return next((user for user in _pending(call) if user.invitation_id == call.item_id), None)


def _document(call: Call, user: User) -> Json:
    """Return the ten keys of the recordings."""
    return {
        "createdAt": format_atlas_time(user.created_at),
        "expiresAt": None if user.expires_at is None else format_atlas_time(user.expires_at),
        "groupRoleAssignments": [
            {"groupId": group_id, "groupRole": role}
            for group_id, roles in user.group_roles.items()
            for role in roles
        ],
        "id": user.invitation_id,
        "inviterUsername": user.inviter,
        "orgId": call.scope_id,
        "orgName": organization_of(call).name,
        "roles": user.org_roles,
        "teamIds": user.team_ids,
        "username": user.username,
    }


def _strings(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _objects(value: object) -> list[dict[object, object]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
