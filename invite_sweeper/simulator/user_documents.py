"""A user as each list writes it.

Source: recordings of both lists, described in the notes on the recordings, section 4.
"""

from collections.abc import Callable

from invite_sweeper.simulator.ids import atlas_time
from invite_sweeper.simulator.json_types import Json
from invite_sweeper.simulator.records import Status, User


def org_document(user: User) -> Json:
    """In an organization: roles as an object, and teams."""
    assignments: Json = [
        {"groupId": group_id, "groupRoles": roles} for group_id, roles in user.group_roles.items()
    ]
    roles: Json = {"groupRoleAssignments": assignments, "orgRoles": user.org_roles}
    return {**_common(user), "roles": roles, "teamIds": user.team_ids}


def group_document(project_id: str) -> Callable[[User], Json]:
    """In a project: its roles there, as a flat array."""

    def document(user: User) -> Json:
        return {**_common(user), "roles": user.group_roles.get(project_id, ())}

    return document


def old_document(user: User) -> Json:
    """In version 2023-01-01: active users, with roles of all kinds in one array."""
    roles: list[Json] = [{"roleName": role} for role in user.org_roles]
    roles += [
        {"groupId": group_id, "roleName": role}
        for group_id, held in user.group_roles.items()
        for role in held
    ]
    common = {key: value for key, value in _common(user).items() if key != "orgMembershipStatus"}
    return {
        **common,
        "emailAddress": user.username,
        "links": [],
        "roles": roles,
        "teamIds": user.team_ids,
    }


def _common(user: User) -> dict[str, Json]:
    fields: dict[str, Json] = {
        "id": user.id,
        "orgMembershipStatus": user.status.value,
        "username": user.username,
    }
    since = atlas_time(user.since)
    if user.status is Status.ACTIVE:
        first, _, last = user.username.partition("@")[0].partition(".")
        person: dict[str, Json] = {"country": "US", "createdAt": since, "lastAuth": since}
        names = {"firstName": first.title(), "lastName": last.title(), "mobileNumber": None}
        return fields | person | names
    return fields | {
        "invitationCreatedAt": since,
        "invitationExpiresAt": None if user.expires is None else atlas_time(user.expires),
        "inviterUsername": user.inviter,
    }
