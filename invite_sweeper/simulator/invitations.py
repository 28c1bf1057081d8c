"""The two invitation lists."""

from typing import Final
from urllib.parse import parse_qs

from invite_sweeper.simulator.data import OPEN, Invite, Status, User, atlas_time, by_name
from invite_sweeper.simulator.operations import Call
from invite_sweeper.simulator.responses import (
    Answer,
    Json,
    Retirement,
    error,
    load_object,
    resource_not_found,
)
from invite_sweeper.simulator.users import group_document, in_group, org_document, organization

# Operations on project invitations of the old kind, `/groups/{groupId}/invites`.


GROUP_INVITES_RETIREMENT: Final = Retirement(
    "Wed, 4 Oct 2023 00:00:00 GMT", "Thu, 1 Jul 2027 00:00:00 GMT"
)
"""Source: recordings of 2026-08-10; the day has no leading zero."""


def list_invites(call: Call) -> Answer:
    """`GET …/invites`: one bare array, never paged, by username."""
    invites = sorted(call.sim.groups[call.scope_id].invites.values(), key=_username)
    wanted = parse_qs(call.query).get("username", [""])[0].lower()
    # Source: an empty `username=` lists all, as the official command line sends it.
    shown = (each.document for each in invites if wanted in ("", each.username.lower()))
    return call.raw(b"[%b]" % b",".join(shown))


def get_invite(call: Call) -> Answer:
    """`GET …/invites/{invitationId}`."""
    invite = call.sim.groups[call.scope_id].invites.get(call.item_id)
    return resource_not_found(call.path) if invite is None else call.raw(invite.document)


def delete_invite(call: Call) -> Answer:
    """`DELETE …/invites/{invitationId}`: 204 with a JSON media type and no body."""
    sim = call.sim
    if sim.groups[call.scope_id].invites.pop(call.item_id, None) is None:
        return no_such_invitation(call)
    sim.journal.deleted.append(call.item_id)
    return call.raw(b"", 204)


def create_invite(call: Call) -> Answer:
    """`POST …/invites`: 200, not 201, and no `Location`."""
    asked = load_object(call.body) or {}
    username, roles = asked.get("username"), asked.get("roles")
    if not isinstance(username, str) or not isinstance(roles, list) or not roles:
        return error(400, "MISSING_ATTRIBUTE", "The required attributes were not specified.")
    refusal = call.sim.mailroom.refuse(call.client_ip)
    if refusal is not None:
        return refusal
    invites = call.sim.groups[call.scope_id].invites
    if any(each.username.lower() == username.lower() for each in invites.values()):
        detail = f"User {username} has already been invited to this project."
        return error(409, "USER_ALREADY_INVITED", detail, username)
    roles = [str(role) for role in roles]
    key = call.sim.invite(call.scope_id, username, roles=roles, inviter=call.account.name)
    return call.raw(invites[key].document)


def no_such_invitation(call: Call) -> Answer:
    """What a DELETE of an unknown invitation answers; which of the two is set on the simulator."""
    if call.sim.gone_status == 404:  # noqa: PLR2004 - Not Found
        return resource_not_found(call.path)
    detail = f"The invitation with ID {call.item_id} does not exist or was already accepted."
    return error(400, "INVALID_INVITATION_ID", detail, call.item_id)


def _username(invite: Invite) -> str:
    return invite.username


# Operations that invite to an organization, and the older list of such invitations.


ORG_INVITES_RETIREMENT: Final = Retirement(
    "Wed, 19 Feb 2025 00:00:00 GMT", "Thu, 1 Jul 2027 00:00:00 GMT"
)
"""Of `/orgs/{orgId}/invites`. Source: recordings of 2026-08-10."""


def list_org_invites(call: Call) -> Answer:
    """`GET /orgs/{orgId}/invites`: one bare array, never paged, by username."""
    wanted = parse_qs(call.query).get("username", [""])[0].lower()
    pending = [user for user in _pending(call) if wanted in ("", user.username.lower())]
    pending.sort(key=lambda user: user.username)
    return call.json([_document(call, user) for user in pending])


def get_org_invite(call: Call) -> Answer:
    """`GET /orgs/{orgId}/invites/{invitationId}`."""
    user = _find(call)
    return resource_not_found(call.path) if user is None else call.json(_document(call, user))


def delete_org_invite(call: Call) -> Answer:
    """`DELETE /orgs/{orgId}/invites/{invitationId}`: the pending user goes with it."""
    user = _find(call)
    if user is None:
        return no_such_invitation(call)
    del organization(call).users[user.id]
    call.sim.journal.deleted.append(user.invitation_id)
    return call.raw(b"", 204)


def create_org_invite(call: Call) -> Answer:
    """`POST /orgs/{orgId}/invites`: 200, not 201."""
    asked = load_object(call.body) or {}
    groups = {
        str(each["groupId"]): _strings(each.get("roles"))
        for each in _objects(asked.get("groupRoleAssignments"))
        if "groupId" in each
    }
    user = _invited(call, asked, _strings(asked.get("roles")), groups)
    return user if isinstance(user, Answer) else call.json(_document(call, user))


def create_user(call: Call) -> Answer:
    """`POST …/users`: 201. A colleague joins a project at once, an outsider is invited.

    Expired and declined invitations of the same person are replaced; pending and active
    ones are in the way. Source: descriptions in the OpenAPI document.
    """
    asked = load_object(call.body) or {}
    if in_group(call):
        return _join(call, asked)
    roles = asked.get("roles")
    told = {str(key): value for key, value in roles.items()} if isinstance(roles, dict) else {}
    groups = {
        str(each["groupId"]): _strings(each.get("groupRoles"))
        for each in _objects(told.get("groupRoleAssignments"))
        if "groupId" in each
    }
    user = _invited(call, asked, _strings(told.get("orgRoles")), groups)
    return user if isinstance(user, Answer) else call.json(org_document(user), 201)


def _join(call: Call, asked: dict[str, object]) -> Answer:
    roles, name = _strings(asked.get("roles")), asked.get("username")
    document = group_document(call.scope_id)
    user = by_name(organization(call), name) if isinstance(name, str) and roles else None
    if user is not None and user.status in OPEN:
        if call.scope_id in user.group_roles:
            return _in_the_way(user)
        user.group_roles[call.scope_id] = roles
        return call.json(document(user), 201)
    made = _invited(call, asked, ("ORG_MEMBER",) if roles else (), {call.scope_id: roles})
    return made if isinstance(made, Answer) else call.json(document(made), 201)


def _invited(
    call: Call,
    asked: dict[str, object],
    org_roles: tuple[str, ...],
    group_roles: dict[str, tuple[str, ...]],
) -> User | Answer:
    """A new pending user, or why there is none."""
    name, here = asked.get("username"), organization(call)
    if not isinstance(name, str) or not org_roles:
        return error(400, "MISSING_ATTRIBUTE", "The required attributes were not specified.")
    before = by_name(here, name)
    if before is not None and before.status in OPEN:
        return _in_the_way(before)
    refusal = call.sim.mailroom.refuse(call.client_ip)
    if refusal is not None:
        return refusal
    if before is not None:
        del here.users[before.id]
    teams = _strings(asked.get("teamIds"))
    made = call.sim.add_user(
        name,
        here.id,
        org_roles=org_roles,
        group_roles=group_roles,
        team_ids=teams,
        inviter=call.account.name,
    )
    return here.users[made]


def _in_the_way(user: User) -> Answer:
    """409. Its code is assumed."""
    detail = f"The user {user.username} is already in the organization or invited to it."
    return error(409, "USER_ALREADY_EXISTS", detail, user.username)


def _pending(call: Call) -> list[User]:
    users = organization(call).users.values()
    return [user for user in users if user.status is Status.PENDING]


def _find(call: Call) -> User | None:
    return next((user for user in _pending(call) if user.invitation_id == call.item_id), None)


def _document(call: Call, user: User) -> Json:
    """Exactly the ten keys of the recordings."""
    return {
        "createdAt": atlas_time(user.since),
        "expiresAt": None if user.expires is None else atlas_time(user.expires),
        "groupRoleAssignments": [
            {"groupId": group_id, "groupRole": role}
            for group_id, roles in user.group_roles.items()
            for role in roles
        ],
        "id": user.invitation_id,
        "inviterUsername": user.inviter,
        "orgId": call.scope_id,
        "orgName": organization(call).name,
        "roles": user.org_roles,
        "teamIds": user.team_ids,
        "username": user.username,
    }


def _strings(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _objects(value: object) -> list[dict[object, object]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
