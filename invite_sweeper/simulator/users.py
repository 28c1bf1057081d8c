"""Endpoints of users: `/groups/{groupId}/users` and `/orgs/{orgId}/users`.

Version 2023-01-01 silently ignores all users but active ones.
Source: recordings of both lists; descriptions in the OpenAPI document.
"""

from collections.abc import Callable
from urllib.parse import parse_qs

from invite_sweeper.simulator.calls import Call, invalid_parameter, parse_page_query, render_page
from invite_sweeper.simulator.data import (
    DEFAULT_STATUSES,
    Organization,
    OrgMembershipStatus,
    RemovedUser,
    User,
    format_atlas_time,
)
from invite_sweeper.simulator.responses import Json, SimulatedResponse, api_error, to_json
from invite_sweeper.simulator.versions import V2023, V2025_USERS


def org_document(user: User) -> Json:
    """Return a user of an organization: roles as an object, and teams."""
    assignments: Json = [
        {"groupId": group_id, "groupRoles": roles} for group_id, roles in user.group_roles.items()
    ]
    roles: Json = {"groupRoleAssignments": assignments, "orgRoles": user.org_roles}
    return {**_common(user), "roles": roles, "teamIds": user.team_ids}


def group_document(project_id: str) -> Callable[[User], Json]:
    """Return a function for users of a project: its roles there as an array."""

    def document(user: User) -> Json:
        return {**_common(user), "roles": user.group_roles.get(project_id, ())}

    return document


def legacy_document(user: User) -> Json:
    """Return an active user in version 2023-01-01: all roles in one array."""
    roles: list[Json] = [{"roleName": role} for role in user.org_roles]
    roles += [
        {"groupId": group_id, "roleName": role}
        for group_id, group_roles in user.group_roles.items()
        for role in group_roles
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
        account: dict[str, Json] = {"country": "US", "createdAt": since, "lastAuth": since}
        names = {"firstName": first.title(), "lastName": last.title(), "mobileNumber": None}
        return fields | account | names
    return fields | {
        "invitationCreatedAt": since,
        "invitationExpiresAt": None
        if user.expires_at is None
        else format_atlas_time(user.expires_at),
        "inviterUsername": user.inviter,
    }


def list_users(call: Call) -> SimulatedResponse:
    """Handle `GET …/users`: active and pending users, others only on request."""
    page_query = parse_page_query(call.query)
    statuses = _statuses(call, page_query.other_parameters)
    name = (
        page_query.other_parameters.get("username", [""])[0].lower()
        if call.version == V2025_USERS
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
    """Handle `GET …/users/{userId}`: 404 for a user with a status that was not requested."""
    statuses = _statuses(call, parse_qs(call.query))
    user = _find(call)
    if user is None or user.status not in statuses:
        return user_not_found(call)
    return call.json_response(_document(call)(user))


def delete_user(call: Call) -> SimulatedResponse:
    """Handle `DELETE …/users/{userId}`, which removes a user with any status."""
    user = _find(call)
    if user is None or (call.version == V2023 and user.status is not OrgMembershipStatus.ACTIVE):
        return user_not_found(call)
    if is_project_call(call):
        del user.group_roles[call.scope_id]
    else:
        del organization_of(call).users[user.id]
    request_log = call.sim.request_log
    request_log.deleted.append(user.id)
    request_log.removed.append(RemovedUser(call.scope_id, user.id, user.username, user.status))
    return call.raw_response(b"", 204)


def is_project_call(call: Call) -> bool:
    """Return whether the path contains a project id, not an organization id."""
    return call.scope_id in call.sim.groups


def organization_of(call: Call) -> Organization:
    """Return the organization in the path, or that of the project in the path."""
    group = call.sim.groups.get(call.scope_id)
    return call.sim.organizations[call.scope_id if group is None else group.org_id]


def user_not_found(call: Call) -> SimulatedResponse:
    """Return a 404. Source: codes from the list of errors; the details are assumed."""
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
    if call.version == V2023:
        return legacy_document
    return group_document(call.scope_id) if is_project_call(call) else org_document


def _statuses(call: Call, query: dict[str, list[str]]) -> frozenset[OrgMembershipStatus]:
    """Return the requested statuses. The old version ignores the parameters."""
    if call.version == V2023:
        return frozenset({OrgMembershipStatus.ACTIVE})
    many, one = query.get("orgMembershipStatuses", []), query.get("orgMembershipStatus", [])
    if many and one:
        raise invalid_parameter("orgMembershipStatus")
    try:
        return frozenset(map(OrgMembershipStatus, many or one)) or DEFAULT_STATUSES
    except ValueError:
        name = "orgMembershipStatuses" if many else "orgMembershipStatus"
        raise invalid_parameter(name) from None
