"""What each endpoint does: a function takes a request and returns the response.

A pending user of an organization is a row of its users, of its invitations and of the users of
each project with a role. An invitation of `/groups/{groupId}/invites` stands for itself.
"""

from datetime import datetime
from typing import NamedTuple

from invite_sweeper.models import MembershipStatus
from invite_sweeper.simulator import throttling
from invite_sweeper.simulator.auth import Access
from invite_sweeper.simulator.responses import (
    Call,
    Json,
    Rejected,
    SimulatedResponse,
    api_error,
    format_atlas_time,
    invalid_parameter,
    json_object,
    render_json,
    resource_not_found,
    strings,
)
from invite_sweeper.simulator.state import (
    DEFAULT_STATUSES,
    STATUSES,
    FeedEvent,
    Group,
    GroupInvite,
    SimulatedOrganization,
    User,
)


def list_groups(call: Call) -> SimulatedResponse:
    """Return the projects that the account can see, in byte order of the name."""
    sim = call.sim

    def is_visible(group: Group) -> bool:
        return sim.access_to(call.account, group.org_id, group.id) > Access.NONE

    visible = [group for group in sim.groups.values() if is_visible(group)]
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

    return call.respond_with_page(visible, document)


def list_teams(call: Call) -> SimulatedResponse:
    """Return the teams with access. Source: the OpenAPI document; not recorded."""

    def document(team: tuple[str, tuple[str, ...]]) -> Json:
        team_id, roles = team
        return {"links": [], "roleNames": roles, "teamId": team_id}

    teams = call.group.teams if call.group is not None else {}
    return call.respond_with_page(tuple(teams.items()), document)


def list_orgs(call: Call) -> SimulatedResponse:
    """Return the organizations of the account, in byte order of the name."""
    visible = [call.sim.organizations[org_id] for org_id in call.account.org_ids]
    visible.sort(key=lambda organization: organization.name.encode())

    def document(organization: SimulatedOrganization) -> Json:
        return {
            "id": organization.id,
            "isDeleted": False,
            "links": [],
            "name": organization.name,
            "skipDefaultAlertsSettings": False,
        }

    return call.respond_with_page(visible, document)


def list_events(call: Call) -> SimulatedResponse:
    """Return who was invited, and who joined, newest first.

    Deletions are not in the feed. Source: recorded listings: 359 invitations, no event for 195
    deletions.
    """
    types = call.query.get("eventType", [])
    since = call.query.get("minDate", ["0001-01-01T00:00:00Z"])[0]
    try:
        start = datetime.fromisoformat(since)
    except ValueError:
        raise invalid_parameter("minDate") from None
    selected: list[tuple[int, FeedEvent]] = []
    for number, event in enumerate(call.organization.events):
        has_type = not types or event.type in types
        if has_type and start <= event.created_at:
            selected.append((number, event))
    selected.sort(key=_age_order, reverse=True)

    def document(numbered: tuple[int, FeedEvent]) -> Json:
        number, event = numbered
        return {
            "username" if "@" in event.actor else "publicKey": event.actor,
            "created": format_atlas_time(event.created_at),
            "eventTypeName": event.type,
            "id": f"{int(event.created_at.timestamp()):08x}{number:016x}",
            "isGlobalAdmin": False,
            "links": [],
            "orgId": call.scope_id,
            "remoteAddress": "192.0.2.1",
            "targetUsername": event.username,
        }

    return call.respond_with_page(selected, document)


def _age_order(numbered: tuple[int, FeedEvent]) -> tuple[datetime, int]:
    """Return what puts the oldest event first; of one instant, the one that was added first."""
    number, event = numbered
    return event.created_at, number


def list_api_keys(call: Call) -> SimulatedResponse:
    """Return the API keys with their descriptions. Source: the OpenAPI document; not recorded."""

    def document(key: tuple[str, str]) -> Json:
        public_key, description = key
        return {"desc": description, "links": [], "publicKey": public_key, "roles": []}

    keys = sorted(call.organization.api_keys.items())
    return call.respond_with_page(keys, document)


def get_activity_feed(call: Call) -> SimulatedResponse:
    """Return a link as Atlas's. Source: the OpenAPI document; not recorded."""
    return call.respond({"link": f"https://cloud.mongodb.com/redirect/{call.scope_id}"})


def get_service_account(call: Call) -> SimulatedResponse:
    """Return the ends of its secrets alone. Source: the OpenAPI document; not recorded."""
    account = call.sim.find_account("service account", call.item_id)
    if account is None or call.scope_id not in account.org_ids:
        return resource_not_found(call.path)
    secrets: list[Json] = [
        {"expiresAt": format_atlas_time(end)} for end in account.secrets_expire_at
    ]
    return call.respond({"clientId": account.name, "secrets": secrets})


# Invitations ----------------------------------------------------------------------------------


def _invites(call: Call) -> dict[str, GroupInvite]:
    """Return the rows of a list of invitations by id; an organization's are pending users."""
    if call.group is not None:
        return call.group.invites
    invites: dict[str, GroupInvite] = {}
    for user in call.organization.users.values():
        if user.status is MembershipStatus.PENDING and not user.by_web_interface:
            document = render_json(_invitation(user, call))
            invites[user.invitation_id] = GroupInvite(user.username, document)
    return invites


def _invitation(user: User, call: Call) -> Json:
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
        "orgId": call.organization.id,
        "orgName": call.organization.name,
        "roles": user.org_roles,
        "teamIds": user.team_ids,
        "username": user.username,
    }


def list_invites(call: Call) -> SimulatedResponse:
    """Return an array sorted by username, never paged."""
    invites = sorted(_invites(call).values(), key=lambda invite: invite.username)
    rows = b",".join(invite.document for invite in invites)
    return call.respond(b"[%b]" % rows)


def delete_invite(call: Call) -> SimulatedResponse:
    """Return 204 with a JSON media type and no body. An organization loses the pending user."""
    if call.item_id not in _invites(call):
        return resource_not_found(call.path)
    if call.group is not None:
        del call.group.invites[call.item_id]
        return call.respond(b"", 204)
    users = call.organization.users
    for user in tuple(users.values()):
        if user.invitation_id == call.item_id:
            del users[user.id]
    return call.respond(b"", 204)


def create_invite(call: Call) -> SimulatedResponse:
    """Return 200, not 201, without `Location`."""
    fields = json_object(call.body)
    username = _username(fields)
    roles = strings(fields.get("roles"))
    if not username or not roles:
        return _missing_attribute()
    _count_invitation(call)
    invites = _invites(call)
    invited = {invite.username.lower() for invite in invites.values()}
    if username.lower() in invited:
        detail = f"User {username} has already been invited to this project."
        return api_error(409, "USER_ALREADY_INVITED", detail, username)
    key = call.sim.invite(call.scope_id, username, roles=roles, inviter=call.account.name)
    return call.respond(invites[key].document)


def _count_invitation(call: Call) -> None:
    """Raise Rejected if this address has sent too many invitations; the status is not 429."""
    bucket = call.sim.throttling.bucket(throttling.NEW_INVITATIONS, call.client_ip)
    if not bucket.take(call.sim.monotonic()):
        limit = bucket.limit.capacity
        detail = f"At most {limit} invitations a minute may be sent from one address."
        raise Rejected(api_error(400, "INVITATIONS_RATE_LIMITED_IP", detail, call.client_ip))


# Users ----------------------------------------------------------------------------------------


def list_users(call: Call) -> SimulatedResponse:
    """Return active and pending users, others only on request."""
    statuses = _statuses(call)
    username = call.query.get("username", [""])[0].lower()
    shown: list[User] = []
    for user in call.organization.users.values():
        has_name = not username or user.username.lower() == username
        if has_name and user.status in statuses and _is_in_scope(call, user):
            shown.append(user)
    shown.sort(key=lambda user: user.username)
    return call.respond_with_page(shown, lambda user: _user(call, user))


def get_user(call: Call) -> SimulatedResponse:
    """Return a user; 404 for one with a status that was not requested."""
    user = call.organization.users.get(call.item_id)
    if user is None or not _is_in_scope(call, user) or user.status not in _statuses(call):
        return _user_not_found(call)
    return call.respond(_user(call, user))


def delete_user(call: Call) -> SimulatedResponse:
    """Remove a user with any status."""
    user = call.organization.users.get(call.item_id)
    if user is None or not _is_in_scope(call, user):
        return _user_not_found(call)
    if call.group is not None:
        del user.group_roles[call.group.id]
    else:
        del call.organization.users[user.id]
    return call.respond(b"", 204)


def create_user(call: Call) -> SimulatedResponse:
    """Return 201. A member joins a project at once; other users are invited.

    An expired or rejected invitation of the same user is replaced; a pending or active user is
    a 409. Source: descriptions in the OpenAPI document.
    """
    fields = json_object(call.body)
    name = _username(fields)
    roles = _requested_roles(call, fields.get("roles"))
    if not name or roles is None:
        return _missing_attribute()
    organization = call.organization
    user = organization.find_user(name)
    if user is not None and user.status in DEFAULT_STATUSES:
        if call.group is None or call.group.id in user.group_roles:
            # The code is assumed.
            detail = f"The user {user.username} is already in the organization or invited to it."
            return api_error(409, "USER_ALREADY_EXISTS", detail, user.username)
        user.group_roles |= roles.in_groups
        return call.respond(_user(call, user), 201)
    _count_invitation(call)
    if user is not None:
        del organization.users[user.id]
    user_id = call.sim.add_user(
        name,
        organization.id,
        # Source: Atlas documentation, invitations (read 2026-11).
        status="ACTIVE" if organization.federated else "PENDING",
        org_roles=roles.in_organization,
        group_roles=roles.in_groups,
        team_ids=strings(fields.get("teamIds")),
        inviter=call.account.name,
    )
    return call.respond(_user(call, organization.users[user_id]), 201)


class _Roles(NamedTuple):
    """The roles of a new user: in the organization, and in projects by their id."""

    in_organization: tuple[str, ...]
    in_groups: dict[str, tuple[str, ...]]


def _requested_roles(call: Call, roles: object) -> _Roles | None:
    """Return the roles of a request; None if it names none for the place in its path.

    A project gets a list of roles, and its new users are members of the organization; an
    organization gets an object with its own roles and those in projects.
    """
    if call.group is not None:
        in_group = strings(roles)
        return _Roles(("ORG_MEMBER",), {call.group.id: in_group}) if in_group else None
    named = roles if isinstance(roles, dict) else {}
    in_organization = strings(named.get("orgRoles"))
    return _Roles(in_organization, _assignments(named)) if in_organization else None


def _user(call: Call, user: User) -> Json:
    """Return a user: of a project its roles there; of an organization all roles, and teams."""
    fields: dict[str, Json] = {
        "id": user.id,
        "orgMembershipStatus": user.status.value,
        "username": user.username,
    }
    if call.group is not None:
        fields["roles"] = user.group_roles.get(call.group.id, ())
    else:
        assignments: Json = [
            {"groupId": group_id, "groupRoles": roles}
            for group_id, roles in user.group_roles.items()
        ]
        fields["roles"] = {"groupRoleAssignments": assignments, "orgRoles": user.org_roles}
        fields["teamIds"] = user.team_ids
    since = format_atlas_time(user.created_at)
    if user.status is MembershipStatus.ACTIVE:
        local_part = user.username.partition("@")[0]
        first, _, last = local_part.partition(".")
        names: dict[str, Json] = {"firstName": first.title(), "lastName": last.title()}
        dates: dict[str, Json] = {"createdAt": since, "lastAuth": since}
        return fields | names | dates | {"country": "US", "mobileNumber": None}
    return fields | {
        "invitationCreatedAt": since,
        "invitationExpiresAt": _expires_at(user),
        "inviterUsername": user.inviter,
    }


def _expires_at(user: User) -> str | None:
    return None if user.expires_at is None else format_atlas_time(user.expires_at)


def _is_in_scope(call: Call, user: User) -> bool:
    """Return whether the project in the path has a user; an organization has all of its own."""
    return call.group is None or call.group.id in user.group_roles


def _statuses(call: Call) -> frozenset[str]:
    """Return the statuses that a request asks for; without any, the default ones."""
    requested = frozenset(call.query.get("orgMembershipStatuses", []))
    if not requested <= STATUSES:
        raise invalid_parameter("orgMembershipStatuses")
    return requested or DEFAULT_STATUSES


def _user_not_found(call: Call) -> SimulatedResponse:
    """Return a 404. Source: codes from the list of errors; the details are assumed."""
    place, code = ("organization", "ORG") if call.group is None else ("group", "GROUP")
    detail = f"The user with ID {call.item_id} is not in the {place}."
    return api_error(404, f"USER_NOT_IN_{code}", detail, call.item_id)


def _missing_attribute() -> SimulatedResponse:
    return api_error(400, "MISSING_ATTRIBUTE", "The required attributes were not specified.")


def _username(fields: dict[str, object]) -> str:
    name = fields.get("username")
    return name if isinstance(name, str) else ""


def _assignments(roles: dict[object, object]) -> dict[str, tuple[str, ...]]:
    """Return roles by project id."""
    assignments = roles.get("groupRoleAssignments")
    roles_by_id: dict[str, tuple[str, ...]] = {}
    if not isinstance(assignments, list):
        return roles_by_id
    for assignment in assignments:
        if isinstance(assignment, dict) and "groupId" in assignment:
            roles_by_id[str(assignment["groupId"])] = strings(assignment.get("groupRoles"))
    return roles_by_id
