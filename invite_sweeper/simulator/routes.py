"""Handle a request: find its operation, check credentials, version, access and limits."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple
from urllib.parse import unquote

from invite_sweeper.simulator import invitations, projects, users
from invite_sweeper.simulator.auth import REVOKE_PATH, TOKEN_PATH, Access, Account
from invite_sweeper.simulator.data import ID_PATTERN
from invite_sweeper.simulator.operations import Call, Handler, Operation
from invite_sweeper.simulator.responses import (
    BucketState,
    Retirement,
    SimulatedResponse,
    api_error,
    group_not_found,
    method_not_allowed,
    missing_role,
    resource_not_found,
    unauthorized,
)
from invite_sweeper.simulator.state import SimulatedAtlas
from invite_sweeper.simulator.throttling import (
    ORGANIZATION,
    ORGANIZATION_USERS,
    ORGANIZATIONS,
    PROJECT,
    PROJECT_TEAMS,
    PROJECT_USERS,
    PROJECTS,
    RATE_LIMITS,
    ROOT,
    EndpointSet,
)

# Routing. Paths are split by hand because it is fast.


API_PREFIX: Final = "/api/atlas/v2"
_MAX_PATH_PARTS: Final = 4


class Route(NamedTuple):
    """A parsed path: its template and ids."""

    template: str
    scope_id: str
    item_id: str


def parse_route(path: str) -> Route | None:
    """Parse a path without its query; None if it cannot match an operation.

    A trailing slash is ignored: `/groups/` is `/groups`.
    Source: recordings of `GET /groups/` and `DELETE /groups/`.
    """
    if not path.startswith(API_PREFIX):
        return None
    parts = path[len(API_PREFIX) :].split("/")
    if parts[-1] == "":
        parts.pop()
    if parts and parts[0]:
        return None
    if len(parts) <= 1:
        return Route("", "", "")
    if len(parts) > _MAX_PATH_PARTS + 1:
        return None
    _, collection, scope_id, subresource, item_id = (*parts, "", "", "")[: _MAX_PATH_PARTS + 1]
    template = collection + ("/{}" if scope_id else "")
    if subresource:
        template += f"/{subresource}" + ("/{}" if item_id else "")
    return Route(template, unquote(scope_id), unquote(item_id))


def allow_header(template: str) -> str:
    """Return the `Allow` header of a 405. Source: the one of `/groups` is recorded."""
    if template == "groups":
        return "POST,GET,OPTIONS"
    return ",".join((*OPERATIONS[template], "OPTIONS"))


# Source: recordings for groups, invites and user lists; the rest is assumed.
_RESOURCES: Final = {
    "root": "ApiAtlasRootResource",
    "groups": "ApiAtlasGroupsResource",
    "orgs": "ApiOrganizationsResource",
    "invites": "ApiGroupInvitationResource",
    "org_invites": "ApiOrganizationInvitationResource",
    "teams": "ApiGroupTeamsResource",
    "users": "ApiGroupUsersResource",
    "org_users": "ApiOrganizationUsersResource",
    "rate_limits": "ApiRateLimitsResource",
}
_READ, _OWNER = Access.READ, Access.OWNER


def _operation(
    handler: Handler,
    family: str,
    method: str,
    endpoint_set: EndpointSet,
    required_access: Access = Access.NONE,
) -> Operation:
    java_method = f"{_RESOURCES[family]}::{method}"
    return Operation(
        handler, family, java_method, endpoint_set, required_access, ("2023-01-01",), {}
    )


def _invites_operation(handler: Handler, method: str) -> Operation:
    retirements = {"2023-01-01": invitations.GROUP_INVITES_RETIREMENT}
    return replace(_operation(handler, "invites", method, PROJECT, _OWNER), retirements=retirements)


def _org_invites_operation(handler: Handler, method: str) -> Operation:
    retirements = {"2023-01-01": invitations.ORG_INVITES_RETIREMENT}
    return replace(
        _operation(handler, "org_invites", method, ORGANIZATION, _OWNER), retirements=retirements
    )


def _users_operations(
    handler: Handler, method: str, required_access: Access, *versions: str
) -> dict[str, Operation]:
    """Return the operation for projects and for organizations, by family."""
    return {
        family: replace(
            _operation(handler, family, method.format(word), where, required_access),
            versions=versions or (users.OLD_VERSION, users.NEW_VERSION),
            retirements=users.RETIREMENTS,
        )
        for family, word, where in (
            ("users", "Group", PROJECT_USERS),
            ("org_users", "Organization", ORGANIZATION_USERS),
        )
    }


def _rate_limits_operation(handler: Handler, method: str) -> Operation:
    return replace(
        _operation(handler, "rate_limits", method, RATE_LIMITS), versions=("2025-03-12",)
    )


_LIST_USERS = _users_operations(users.list_users, "get{}Users", _READ)
_ADD_USER = _users_operations(invitations.create_user, "add{}User", _OWNER, users.NEW_VERSION)
_GET_USER = _users_operations(users.get_user, "get{}User", _READ, users.NEW_VERSION)
_DELETE_USER = _users_operations(users.delete_user, "remove{}User", _OWNER)

OPERATIONS: Final[dict[str, dict[str, Operation]]] = {
    "": {"GET": _operation(projects.system_status, "root", "getSystemStatus", ROOT)},
    "groups": {"GET": _operation(projects.list_groups, "groups", "getAllGroups", PROJECTS)},
    "groups/{}": {"GET": _operation(projects.get_group, "groups", "getGroup", PROJECT, _READ)},
    "groups/{}/invites": {
        "GET": _invites_operation(invitations.list_invites, "getInvitations"),
        "POST": _invites_operation(invitations.create_invite, "createInvitations"),
    },
    "groups/{}/invites/{}": {
        "GET": _invites_operation(invitations.get_invite, "getInvitationByInvitationId"),
        "DELETE": _invites_operation(invitations.delete_invite, "deleteInvitations"),
    },
    "groups/{}/teams": {
        "GET": _operation(projects.list_group_teams, "teams", "getTeams", PROJECT_TEAMS, _READ),
    },
    "groups/{}/users": {"GET": _LIST_USERS["users"], "POST": _ADD_USER["users"]},
    "groups/{}/users/{}": {"GET": _GET_USER["users"], "DELETE": _DELETE_USER["users"]},
    "orgs": {"GET": _operation(projects.list_orgs, "orgs", "getAllOrgs", ORGANIZATIONS)},
    "orgs/{}": {"GET": _operation(projects.get_org, "orgs", "getOrg", ORGANIZATION, _READ)},
    "orgs/{}/groups": {
        "GET": _operation(projects.list_org_groups, "orgs", "getGroups", ORGANIZATION, _READ),
    },
    "orgs/{}/invites": {
        "GET": _org_invites_operation(invitations.list_org_invites, "getInvitations"),
        "POST": _org_invites_operation(invitations.create_org_invite, "createInvitations"),
    },
    "orgs/{}/invites/{}": {
        "GET": _org_invites_operation(invitations.get_org_invite, "getInvitationByInvitationId"),
        "DELETE": _org_invites_operation(invitations.delete_org_invite, "deleteInvitations"),
    },
    "orgs/{}/users": {"GET": _LIST_USERS["org_users"], "POST": _ADD_USER["org_users"]},
    "orgs/{}/users/{}": {"GET": _GET_USER["org_users"], "DELETE": _DELETE_USER["org_users"]},
    "rateLimits": {"GET": _rate_limits_operation(projects.list_rate_limits, "getRateLimits")},
    "rateLimits/{}": {"GET": _rate_limits_operation(projects.get_rate_limit, "getRateLimit")},
}


# Handling, without input or output.


class IncomingRequest(NamedTuple):
    """A received request.

    Attributes:
        target: Path and query as sent.
        headers: A case-insensitive mapping.
    """

    method: str
    target: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    client_ip: str


@dataclass(frozen=True, slots=True)
class HandledResponse:
    """A response and the values of its operation's headers."""

    response: SimulatedResponse
    java_method: str = ""
    retirement: Retirement | None = None
    rate: BucketState | None = None


def handle(
    sim: SimulatedAtlas, request: IncomingRequest, route: Route | None, base_url: str
) -> HandledResponse:
    """Execute a request and return its response.

    The order of checks is that of the recordings: a 401 and the 404 of a project take no token
    from a bucket; the 404 of a resource in a project does.
    """
    if request.method == "POST" and request.path in {TOKEN_PATH, REVOKE_PATH}:
        return HandledResponse(_handle_oauth(sim, request))
    account = _authenticate(sim, request)
    if isinstance(account, SimulatedResponse):
        return HandledResponse(account)
    if route is None or route.template not in OPERATIONS:
        return HandledResponse(resource_not_found(request.path))
    operation = OPERATIONS[route.template].get(request.method)
    if operation is None:
        return HandledResponse(method_not_allowed(allow_header(route.template)))
    return _execute(sim, request, route, account, operation, base_url)


def _handle_oauth(sim: SimulatedAtlas, request: IncomingRequest) -> SimulatedResponse:
    header = request.headers.get("Authorization", "")
    if request.path == TOKEN_PATH:
        return sim.oauth.issue_token(header, request.body, request.client_ip)
    return sim.oauth.revoke_token(header, request.body)


def _authenticate(sim: SimulatedAtlas, request: IncomingRequest) -> Account | SimulatedResponse:
    sim.oauth.expire_due()
    header = request.headers.get("Authorization", "")
    account = sim.accounts.authenticate(header, request.method, request.target)
    if account is None:
        return unauthorized(sim.digest.challenge())
    if account.access_list is not None and request.client_ip not in account.access_list:
        # Source: quoted in the fact sheet, section 5.
        detail = f"IP address {request.client_ip} is not allowed to access this resource."
        return api_error(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST", detail, request.client_ip)
    return account


def _execute(
    sim: SimulatedAtlas,
    request: IncomingRequest,
    route: Route,
    account: Account,
    operation: Operation,
    base_url: str,
) -> HandledResponse:
    java_method = operation.java_method
    version, rejection = sim.versions.resolve(
        request.headers.get("Accept", ""), operation.versions, operation.family, request.path
    )
    retirement = _retirement(sim, operation, version)
    rejection = rejection or _access_error(sim, route.scope_id, account, operation)
    if rejection is not None:
        return HandledResponse(rejection, java_method, retirement)
    endpoint_set = operation.endpoint_set
    bucket_scope = account.name if endpoint_set.scope == "USER" else route.scope_id
    has_token, rate = sim.throttling.take_token(endpoint_set, bucket_scope)
    if not has_token:
        now = sim.clock() + sim.date_offset
        rate_limited = sim.throttling.rate_limited_response(
            endpoint_set, bucket_scope, request.path, now
        )
        return HandledResponse(rate_limited, java_method, retirement, rate)
    call = Call(
        sim,
        account,
        request.path,
        request.query,
        request.body,
        route.scope_id,
        route.item_id,
        version,
        base_url,
        request.client_ip,
    )
    return HandledResponse(operation.handler(call), java_method, retirement, rate)


def _retirement(sim: SimulatedAtlas, operation: Operation, version: str) -> Retirement | None:
    retirement = operation.retirements.get(version)
    sunset = sim.versions.sunsets.get(operation.family) if sim.versions.sunsets else None
    return (
        retirement._replace(sunset=sunset)
        if retirement is not None and sunset is not None
        else retirement
    )


def _access_error(
    sim: SimulatedAtlas, scope_id: str, account: Account, operation: Operation
) -> SimulatedResponse | None:
    """Return an error if the account has no access to the project or organization in the path."""
    scope = operation.endpoint_set.scope
    if scope == "USER":
        return None
    if scope == "GROUP":
        group = sim.groups.get(scope_id)
        if group is None:
            return _group_id_error(scope_id)
        org_id = group.org_id
    elif scope_id not in sim.organizations:
        return api_error(
            404, "ORG_NOT_FOUND", f"No organization with ID {scope_id} exists.", scope_id
        )
    else:
        org_id = scope_id
    access = sim.access_to(account, org_id, scope_id)
    if access >= operation.required_access:
        return None
    return missing_role("NOT_IN_GROUP" if access is Access.NONE else "USER_UNAUTHORIZED")


def _group_id_error(group_id: str) -> SimulatedResponse:
    if ID_PATTERN.fullmatch(group_id):
        return group_not_found(group_id)
    detail = f"An invalid group ID {group_id} was specified."
    return api_error(404, "INVALID_GROUP_ID", detail, group_id)
