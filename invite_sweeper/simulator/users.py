"""The two user lists."""

from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs

from invite_sweeper.simulator.data import (
    DEFAULT_STATUSES,
    Organization,
    OrgMembershipStatus,
    RemovedUser,
    User,
    format_atlas_time,
)
from invite_sweeper.simulator.operations import Call, parse_page_query, render_page
from invite_sweeper.simulator.responses import (
    Json,
    Retirement,
    SimulatedResponse,
    api_error,
    to_json,
)

# A user as each list writes it.
#
# Source: recordings of both lists, described in the notes on the recordings, section 4.


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


def legacy_document(user: User) -> Json:
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
    since = format_atlas_time(user.created_at)
    if user.status is OrgMembershipStatus.ACTIVE:
        first, _, last = user.username.partition("@")[0].partition(".")
        person: dict[str, Json] = {"country": "US", "createdAt": since, "lastAuth": since}
        names = {"firstName": first.title(), "lastName": last.title(), "mobileNumber": None}
        return fields | person | names
    return fields | {
        "invitationCreatedAt": since,
        "invitationExpiresAt": None
        if user.expires_at is None
        else format_atlas_time(user.expires_at),
        "inviterUsername": user.inviter,
    }


# Operations on users: `/groups/{groupId}/users` and `/orgs/{orgId}/users`.
#
# Version 2023-01-01 knows active users only, and says nothing of it.
# Source: descriptions in the OpenAPI document.


OLD_VERSION: Final = "2023-01-01"
NEW_VERSION: Final = "2025-02-19"
RETIREMENTS: Final = {
    OLD_VERSION: Retirement("Wed, 19 Feb 2025 00:00:00 GMT", "Thu, 1 Jul 2027 00:00:00 GMT")
}
"""Source: the older version's end is in the OpenAPI document; its headers are assumed."""


def list_users(call: Call) -> SimulatedResponse:
    """`GET …/users`: active and pending ones, others only when asked for."""
    page_query = parse_page_query(call.query)
    if isinstance(page_query, SimulatedResponse):
        return page_query
    statuses = _statuses(call, page_query.other_parameters)
    if isinstance(statuses, SimulatedResponse):
        return statuses
    name = (
        page_query.other_parameters.get("username", [""])[0].lower()
        if call.version == NEW_VERSION
        else ""
    )
    includes_org_users = page_query.other_parameters.get("includeOrgUsers", ["false"])[0] == "true"
    shown = [
        user
        for user in organization_of(call).users.values()
        if user.status in statuses
        and name in ("", user.username.lower())
        and (_is_in_scope(call, user) or (includes_org_users and _has_org_wide_access(user)))
    ]
    shown.sort(key=lambda user: user.username)
    document = _document(call)
    return render_page(
        call, shown, lambda user: to_json(document(user)), page_query, call.sim.user_paging
    )


def get_user(call: Call) -> SimulatedResponse:
    """`GET …/users/{userId}`; a status that was not asked for is as good as not there."""
    statuses = _statuses(call, parse_qs(call.query))
    if isinstance(statuses, SimulatedResponse):
        return statuses
    user = _find(call)
    if user is None or user.status not in statuses:
        return user_not_found(call)
    return call.json_response(_document(call)(user))


def delete_user(call: Call) -> SimulatedResponse:
    """`DELETE …/users/{userId}`: removes whoever it is, whatever the status."""
    user = _find(call)
    if user is None or (
        call.version == OLD_VERSION and user.status is not OrgMembershipStatus.ACTIVE
    ):
        return user_not_found(call)
    if is_project_call(call):
        del user.group_roles[call.scope_id]
    else:
        del organization_of(call).users[user.id]
    journal = call.sim.request_log
    journal.deleted.append(user.id)
    journal.removed.append(RemovedUser(call.scope_id, user.id, user.username, user.status))
    return call.raw_response(b"", 204)


def is_project_call(call: Call) -> bool:
    """Whether the path names a project; else it names an organization."""
    return call.scope_id in call.sim.groups


def organization_of(call: Call) -> Organization:
    """The organization in the path, or the one that has the project in it."""
    group = call.sim.groups.get(call.scope_id)
    return call.sim.organizations[call.scope_id if group is None else group.org_id]


def user_not_found(call: Call) -> SimulatedResponse:
    """404. Source: codes from the list of errors; the details are assumed."""
    if is_project_call(call):
        detail = f"The user with ID {call.item_id} is not in the group."
        return api_error(404, "USER_NOT_IN_GROUP", detail, call.item_id)
    detail = f"The user with ID {call.item_id} is not in the organization."
    return api_error(404, "USER_NOT_IN_ORG", detail, call.item_id)


def _find(call: Call) -> User | None:
    user = organization_of(call).users.get(call.item_id)
    return user if user is not None and _is_in_scope(call, user) else None


def _is_in_scope(call: Call, user: User) -> bool:
    return not is_project_call(call) or call.scope_id in user.group_roles


def _has_org_wide_access(user: User) -> bool:
    return not {"ORG_OWNER", "ORG_READ_ONLY"}.isdisjoint(user.org_roles)


def _document(call: Call) -> Callable[[User], Json]:
    if call.version == OLD_VERSION:
        return legacy_document
    return group_document(call.scope_id) if is_project_call(call) else org_document


def _statuses(
    call: Call, query: dict[str, list[str]]
) -> frozenset[OrgMembershipStatus] | SimulatedResponse:
    """Which statuses are asked for. An older version ignores the question."""
    if call.version == OLD_VERSION:
        return frozenset({OrgMembershipStatus.ACTIVE})
    many, one = query.get("orgMembershipStatuses", []), query.get("orgMembershipStatus", [])
    if many and one:
        name = "orgMembershipStatus"
    else:
        try:
            return frozenset(map(OrgMembershipStatus, many or one)) or DEFAULT_STATUSES
        except ValueError:
            name = "orgMembershipStatuses" if many else "orgMembershipStatus"
    detail = f"An invalid value was specified for the query parameter {name}."
    return api_error(400, "INVALID_QUERY_PARAMETER", detail, name)
