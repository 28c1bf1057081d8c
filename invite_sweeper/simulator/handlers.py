"""Handlers of the endpoints: organizations and their projects, and the four lists of people.

A pending user of an organization is a row of its users, of its invitations and of the users of
each project with a role. An invitation of `/groups/{groupId}/invites` stands for itself.
"""

from datetime import datetime
from urllib.parse import quote

from invite_sweeper.simulator.auth import Access
from invite_sweeper.simulator.calls import Call, invalid_parameter
from invite_sweeper.simulator.data import (
    DEFAULT_STATUSES,
    Event,
    Group,
    GroupInvite,
    Organization,
    OrgMembershipStatus,
    RemovedUser,
    User,
    find_user,
    format_atlas_time,
)
from invite_sweeper.simulator.responses import (
    Json,
    SimulatedResponse,
    api_error,
    parse_object,
    resource_not_found,
    to_json,
)


def list_groups(call: Call) -> SimulatedResponse:
    """Handle `GET /groups`: the projects that the account can see, in byte order of the name."""
    sim = call.sim
    visible = [
        each
        for each in sim.groups.values()
        if sim.access_to(call.account, each.org_id, each.id) > Access.NONE
    ]
    visible.sort(key=lambda group: group.name.encode())

    def document(group: Group) -> Json:
        return {
            "clusterCount": group.cluster_count,
            "created": format_atlas_time(group.created_at),
            "id": group.id,
            "links": call.self_links("groups", group.id),
            "name": group.name,
            "orgId": group.org_id,
            "tags": [{"key": key, "value": value} for key, value in group.tags],
            "withDefaultAlertsSettings": True,
        }

    return call.page_response(visible, document, sim.paging)


def list_group_teams(call: Call) -> SimulatedResponse:
    """Handle `GET /groups/{groupId}/teams`: the teams with access to a project.

    Source: `PaginatedTeamRole` of the OpenAPI document; not recorded.
    """

    def document(team: tuple[str, tuple[str, ...]]) -> Json:
        return {"links": [], "roleNames": team[1], "teamId": team[0]}

    teams = tuple(call.sim.groups[call.scope_id].teams.items())
    return call.page_response(teams, document, call.sim.team_paging)


def list_orgs(call: Call) -> SimulatedResponse:
    """Handle `GET /orgs`."""
    found = [call.sim.organizations[each] for each in call.account.org_ids]
    found.sort(key=lambda organization: organization.name.encode())

    def document(organization: Organization) -> Json:
        return {
            "id": organization.id,
            "isDeleted": False,
            "links": call.self_links("orgs", organization.id),
            "name": organization.name,
            "skipDefaultAlertsSettings": False,
        }

    return call.page_response(found, document, extra_query="name=&")


def list_events(call: Call) -> SimulatedResponse:
    """Handle `GET /orgs/{orgId}/events`, newest first: who was invited, and who joined.

    Deletions are not in the feed. Source: the recordings and the fact sheet, section 13.
    """
    types, since = (
        call.query.get("eventType", []),
        call.query.get("minDate", ["0001-01-01T00:00:00Z"])[0],
    )
    try:
        start = datetime.fromisoformat(since)
    except ValueError:
        raise invalid_parameter("minDate") from None
    found = [
        (number, event)
        for number, event in enumerate(call.sim.organizations[call.scope_id].events)
        if (not types or event.type in types) and start <= event.created_at
    ]
    found.sort(key=lambda each: (each[1].created_at, each[0]), reverse=True)
    query = "".join(f"eventType={each}&" for each in types) + f"minDate={quote(since)}&"
    return call.page_response(
        found, lambda each: _event(call, *each), extra_query=f"includeRaw=false&{query}"
    )


def _event(call: Call, number: int, event: Event) -> Json:
    own_id = f"{int(event.created_at.timestamp()):08x}{number:016x}"
    actor = "username" if "@" in event.actor else "publicKey"
    return {
        actor: event.actor,
        "created": format_atlas_time(event.created_at),
        "eventTypeName": event.type,
        "id": own_id,
        "isGlobalAdmin": False,
        # Source: the recordings, in which the link contains the word null.
        "links": call.self_links("groups", f"null/events/{own_id}"),
        "orgId": call.scope_id,
        "remoteAddress": "192.0.2.1",
        "targetUsername": event.username,
    }


def get_service_account(call: Call) -> SimulatedResponse:
    """Handle `GET /orgs/{orgId}/serviceAccounts/{clientId}`: the ends of its secrets alone.

    Source: the OpenAPI document; not recorded.
    """
    account = call.sim.accounts.find("service account", call.item_id)
    if account is None or call.scope_id not in account.org_ids:
        return resource_not_found(call.path)
    ends: list[Json] = [{"expiresAt": format_atlas_time(e)} for e in account.secrets_expire_at]
    return call.json_response({"clientId": account.name, "secrets": ends})


def list_invites(call: Call) -> SimulatedResponse:
    """Handle `GET …/invites`: an array sorted by username, never paged."""
    invites = sorted(_invites(call).values(), key=lambda each: each.username)
    return call.raw_response(b"[%b]" % b",".join(each.document for each in invites))


def delete_invite(call: Call) -> SimulatedResponse:
    """Handle `DELETE …/invites/{invitationId}`: 204 with a JSON media type and no body.

    In an organization it removes the pending user.
    """
    if call.item_id not in _invites(call):
        return _invitation_not_found(call)
    if _is_project_call(call):
        del call.sim.groups[call.scope_id].invites[call.item_id]
    else:
        users = _organization(call).users
        del users[next(each.id for each in users.values() if each.invitation_id == call.item_id)]
    call.sim.request_log.deleted.append(call.item_id)
    return call.raw_response(b"", 204)


def create_invite(call: Call) -> SimulatedResponse:
    """Handle `POST /groups/{groupId}/invites`: 200, not 201, without `Location`."""
    fields = parse_object(call.body)
    username, roles = _username(fields), _strings(fields.get("roles"))
    if not username or not roles:
        return _missing_attribute()
    call.sim.invite_rate_limit.count(call.client_ip)
    invites = call.sim.groups[call.scope_id].invites
    if any(each.username.lower() == username.lower() for each in invites.values()):
        detail = f"User {username} has already been invited to this project."
        return api_error(409, "USER_ALREADY_INVITED", detail, username)
    key = call.sim.invite(call.scope_id, username, roles=roles, inviter=call.account.name)
    return call.raw_response(invites[key].document)


def list_users(call: Call) -> SimulatedResponse:
    """Handle `GET …/users`: active and pending users, others only on request."""
    statuses = _statuses(call)
    shown = [
        user
        for user in _organization(call).users.values()
        if user.status in statuses and _is_in_scope(call, user)
    ]
    shown.sort(key=lambda user: user.username)
    return call.page_response(shown, lambda user: _user(call, user), call.sim.user_paging)


def get_user(call: Call) -> SimulatedResponse:
    """Handle `GET …/users/{userId}`: 404 for a user with a status that was not requested."""
    user = _find(call)
    if user is None or user.status not in _statuses(call):
        return _user_not_found(call)
    return call.json_response(_user(call, user))


def delete_user(call: Call) -> SimulatedResponse:
    """Handle `DELETE …/users/{userId}`, which removes a user with any status."""
    user = _find(call)
    if user is None:
        return _user_not_found(call)
    if _is_project_call(call):
        del user.group_roles[call.scope_id]
    else:
        del _organization(call).users[user.id]
    request_log = call.sim.request_log
    request_log.deleted.append(user.id)
    request_log.removed.append(RemovedUser(call.scope_id, user.id, user.username, user.status))
    return call.raw_response(b"", 204)


def create_user(call: Call) -> SimulatedResponse:
    """Handle `POST …/users`: 201. A member joins a project at once; other users are invited.

    An expired or rejected invitation of the same user is replaced; a pending or active user is
    a 409. Source: descriptions in the OpenAPI document.
    """
    fields = parse_object(call.body)
    roles, name = fields.get("roles"), _username(fields)
    org_roles, group_roles = _strings(roles), {call.scope_id: _strings(roles)}
    if not _is_project_call(call):
        named = roles if isinstance(roles, dict) else {}
        org_roles, group_roles = _strings(named.get("orgRoles")), _assignments(named)
    if not name or not org_roles:
        return _missing_attribute()
    organization = _organization(call)
    user = find_user(organization, name)
    if user is not None and user.status in DEFAULT_STATUSES:
        if not _is_project_call(call) or call.scope_id in user.group_roles:
            # The code is assumed.
            detail = f"The user {user.username} is already in the organization or invited to it."
            return api_error(409, "USER_ALREADY_EXISTS", detail, user.username)
        user.group_roles |= group_roles
        return call.json_response(_user(call, user), 201)
    call.sim.invite_rate_limit.count(call.client_ip)
    if user is not None:
        del organization.users[user.id]
    user_id = call.sim.add_user(
        name,
        organization.id,
        # Source: Atlas documentation, invitations (read 2026-11).
        status="ACTIVE" if organization.federated else "PENDING",
        org_roles=("ORG_MEMBER",) if _is_project_call(call) else org_roles,
        group_roles=group_roles,
        team_ids=_strings(fields.get("teamIds")),
        inviter=call.account.name,
    )
    return call.json_response(_user(call, organization.users[user_id]), 201)


def _invitation(user: User, organization: Organization) -> Json:
    """Return the ten keys of the recordings."""
    return {
        "createdAt": format_atlas_time(user.created_at),
        "expiresAt": _end(user),
        "groupRoleAssignments": [
            {"groupId": group_id, "groupRole": role}
            for group_id, roles in user.group_roles.items()
            for role in roles
        ],
        "id": user.invitation_id,
        "inviterUsername": user.inviter,
        "orgId": organization.id,
        "orgName": organization.name,
        "roles": user.org_roles,
        "teamIds": user.team_ids,
        "username": user.username,
    }


def _user(call: Call, user: User) -> Json:
    """Return a user: of a project its roles there; of an organization all roles, and teams."""
    fields: dict[str, Json] = {
        "id": user.id,
        "orgMembershipStatus": user.status.value,
        "username": user.username,
    }
    if _is_project_call(call):
        fields |= {"roles": user.group_roles.get(call.scope_id, ())}
    else:
        assignments: Json = [
            {"groupId": group_id, "groupRoles": roles}
            for group_id, roles in user.group_roles.items()
        ]
        roles: Json = {"groupRoleAssignments": assignments, "orgRoles": user.org_roles}
        fields |= {"roles": roles, "teamIds": user.team_ids}
    since = format_atlas_time(user.created_at)
    if user.status is OrgMembershipStatus.ACTIVE:
        first, _, last = user.username.partition("@")[0].partition(".")
        names: dict[str, Json] = {"firstName": first.title(), "lastName": last.title()}
        dates: dict[str, Json] = {"createdAt": since, "lastAuth": since}
        return fields | names | dates | {"country": "US", "mobileNumber": None}
    return fields | {
        "invitationCreatedAt": since,
        "invitationExpiresAt": _end(user),
        "inviterUsername": user.inviter,
    }


def _end(user: User) -> str | None:
    return None if user.expires_at is None else format_atlas_time(user.expires_at)


def _invites(call: Call) -> dict[str, GroupInvite]:
    """Return the rows of a list of invitations by id; an organization's are pending users."""
    if _is_project_call(call):
        return call.sim.groups[call.scope_id].invites
    organization = _organization(call)
    return {
        user.invitation_id: GroupInvite(user.username, to_json(_invitation(user, organization)))
        for user in organization.users.values()
        if user.status is OrgMembershipStatus.PENDING and not user.by_web_interface
    }


def _is_project_call(call: Call) -> bool:
    return call.scope_id in call.sim.groups


def _organization(call: Call) -> Organization:
    """Return the organization in the path, or that of the project in the path."""
    group = call.sim.groups.get(call.scope_id)
    return call.sim.organizations[call.scope_id if group is None else group.org_id]


def _is_in_scope(call: Call, user: User) -> bool:
    return not _is_project_call(call) or call.scope_id in user.group_roles


def _find(call: Call) -> User | None:
    user = _organization(call).users.get(call.item_id)
    return user if user is not None and _is_in_scope(call, user) else None


def _statuses(call: Call) -> frozenset[OrgMembershipStatus]:
    """Return the requested statuses."""
    asked = call.query.get("orgMembershipStatuses", [])
    try:
        return frozenset(map(OrgMembershipStatus, asked)) or DEFAULT_STATUSES
    except ValueError:
        raise invalid_parameter("orgMembershipStatuses") from None


def _user_not_found(call: Call) -> SimulatedResponse:
    """Return a 404. Source: codes from the list of errors; the details are assumed."""
    if _is_project_call(call):
        detail = f"The user with ID {call.item_id} is not in the group."
        return api_error(404, "USER_NOT_IN_GROUP", detail, call.item_id)
    detail = f"The user with ID {call.item_id} is not in the organization."
    return api_error(404, "USER_NOT_IN_ORG", detail, call.item_id)


def _invitation_not_found(call: Call) -> SimulatedResponse:
    """Return the error for an unknown invitation: 404 or 400, by the simulator's `gone_status`."""
    if call.sim.gone_status == 404:  # noqa: PLR2004 - Not Found
        return resource_not_found(call.path)
    detail = f"The invitation with ID {call.item_id} does not exist or was already accepted."
    return api_error(400, "INVALID_INVITATION_ID", detail, call.item_id)


def _missing_attribute() -> SimulatedResponse:
    return api_error(400, "MISSING_ATTRIBUTE", "The required attributes were not specified.")


def _username(fields: dict[str, object]) -> str:
    name = fields.get("username")
    return name if isinstance(name, str) else ""


def _assignments(roles: dict[object, object]) -> dict[str, tuple[str, ...]]:
    """Return roles by project id."""
    sent = roles.get("groupRoleAssignments")
    return {
        str(each["groupId"]): _strings(each.get("groupRoles"))
        for each in (sent if isinstance(sent, list) else ())
        if isinstance(each, dict) and "groupId" in each
    }


def _strings(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
