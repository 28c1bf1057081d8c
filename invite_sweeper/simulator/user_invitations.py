"""Operations that invite to an organization, and the older list of such invitations."""

from typing import Final
from urllib.parse import parse_qs

from invite_sweeper.simulator.answers import Answer, error, resource_not_found
from invite_sweeper.simulator.calls import Call
from invite_sweeper.simulator.heads import Retirement
from invite_sweeper.simulator.ids import atlas_time
from invite_sweeper.simulator.invites import no_such_invitation
from invite_sweeper.simulator.json_types import Json, load_object
from invite_sweeper.simulator.people import OPEN, by_name
from invite_sweeper.simulator.records import Status, User
from invite_sweeper.simulator.user_documents import group_document, org_document
from invite_sweeper.simulator.users import in_group, organization

RETIREMENT: Final = Retirement("Wed, 19 Feb 2025 00:00:00 GMT", "Thu, 1 Jul 2027 00:00:00 GMT")
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
