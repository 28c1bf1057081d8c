"""The table of endpoints, and how a request finds its one and is handled."""
# ruff: noqa: E501 - one line an endpoint

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote

from invite_sweeper.simulator import invitations, organizations, projects, rate_limits, users
from invite_sweeper.simulator.auth import REVOKE_PATH, TOKEN_PATH, Access, Account
from invite_sweeper.simulator.calls import Call, Endpoint, Family
from invite_sweeper.simulator.data import ID_PATTERN
from invite_sweeper.simulator.responses import (
    HandledResponse,
    Rejected,
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
    FEDERATION,
    ORGANIZATION,
    ORGANIZATION_USERS,
    ORGANIZATIONS,
    PROJECT,
    PROJECT_TEAMS,
    PROJECT_USERS,
    PROJECTS,
    RATE_LIMITS,
    ROOT,
)
from invite_sweeper.simulator.versions import (
    V2023,
    V2024_SERVICE_ACCOUNTS,
    V2025_RATE_LIMITS,
    V2025_USERS,
)

API_PREFIX: Final = "/api/atlas/v2"
_NONE, _READ, _OWNER = Access.NONE, Access.READ, Access.OWNER

# Source: the names in Java are recorded for groups, invites, events and the lists of users.
_ROOT = Family("root", "ApiAtlasRootResource", ROOT)
_GROUPS = Family("groups", "ApiAtlasGroupsResource", PROJECTS)
_GROUP = Family("groups", "ApiAtlasGroupsResource", PROJECT)
_INVITES = Family("invites", "ApiGroupInvitationResource", PROJECT)
_TEAMS = Family("teams", "ApiGroupTeamsResource", PROJECT_TEAMS)
_USERS = Family("users", "ApiGroupUsersResource", PROJECT_USERS, (V2023, V2025_USERS))
_ORGS = Family("orgs", "ApiOrganizationsResource", ORGANIZATIONS)
_ORG = Family("orgs", "ApiOrganizationsResource", ORGANIZATION)
_ORG_INVITES = Family("org_invites", "ApiOrganizationInvitationResource", ORGANIZATION)
_ORG_USERS = Family(
    "org_users", "ApiOrganizationUsersResource", ORGANIZATION_USERS, (V2023, V2025_USERS)
)
_EVENTS = Family("events", "ApiOrgEventsResource", ORGANIZATION)
_SERVICE_ACCOUNTS = Family(
    "service_accounts", "ApiOrgServiceAccountsResource", ORGANIZATION, (V2024_SERVICE_ACCOUNTS,)
)
_FEDERATION = Family("federation", "ApiFederationSettingsResource", FEDERATION)
_RATE_LIMITS = Family("rate_limits", "ApiRateLimitsResource", RATE_LIMITS, (V2025_RATE_LIMITS,))
_NEW: Final = (V2025_USERS,)

# fmt: off
ENDPOINTS: Final = (
    Endpoint("GET", "", _NONE, projects.system_status, _ROOT, "getSystemStatus"),
    Endpoint("GET", "/groups", _NONE, projects.list_groups, _GROUPS, "getAllGroups"),
    Endpoint("GET", "/groups/{groupId}", _READ, projects.get_group, _GROUP, "getGroup"),
    Endpoint("GET", "/groups/{groupId}/invites", _OWNER, invitations.list_invites, _INVITES, "getInvitations"),
    Endpoint("POST", "/groups/{groupId}/invites", _OWNER, invitations.create_invite, _INVITES, "createInvitations"),
    Endpoint("GET", "/groups/{groupId}/invites/{invitationId}", _OWNER, invitations.get_invite, _INVITES, "getInvitationByInvitationId"),
    Endpoint("DELETE", "/groups/{groupId}/invites/{invitationId}", _OWNER, invitations.delete_invite, _INVITES, "deleteInvitations"),
    Endpoint("GET", "/groups/{groupId}/teams", _READ, projects.list_group_teams, _TEAMS, "getTeams"),
    Endpoint("GET", "/groups/{groupId}/users", _READ, users.list_users, _USERS, "getGroupUsers"),
    Endpoint("POST", "/groups/{groupId}/users", _OWNER, invitations.create_user, _USERS, "addGroupUser", _NEW),
    Endpoint("GET", "/groups/{groupId}/users/{userId}", _READ, users.get_user, _USERS, "getGroupUser", _NEW),
    Endpoint("DELETE", "/groups/{groupId}/users/{userId}", _OWNER, users.delete_user, _USERS, "removeGroupUser"),
    Endpoint("GET", "/orgs", _NONE, organizations.list_orgs, _ORGS, "getAllOrgs"),
    Endpoint("GET", "/orgs/{orgId}", _READ, organizations.get_org, _ORG, "getOrg"),
    Endpoint("GET", "/orgs/{orgId}/groups", _READ, projects.list_org_groups, _ORG, "getGroups"),
    Endpoint("GET", "/orgs/{orgId}/invites", _OWNER, invitations.list_org_invites, _ORG_INVITES, "getInvitations"),
    Endpoint("POST", "/orgs/{orgId}/invites", _OWNER, invitations.create_org_invite, _ORG_INVITES, "createInvitations"),
    Endpoint("GET", "/orgs/{orgId}/invites/{invitationId}", _OWNER, invitations.get_org_invite, _ORG_INVITES, "getInvitationByInvitationId"),
    Endpoint("DELETE", "/orgs/{orgId}/invites/{invitationId}", _OWNER, invitations.delete_org_invite, _ORG_INVITES, "deleteInvitations"),
    Endpoint("GET", "/orgs/{orgId}/users", _READ, users.list_users, _ORG_USERS, "getOrganizationUsers"),
    Endpoint("POST", "/orgs/{orgId}/users", _OWNER, invitations.create_user, _ORG_USERS, "addOrganizationUser", _NEW),
    Endpoint("GET", "/orgs/{orgId}/users/{userId}", _READ, users.get_user, _ORG_USERS, "getOrganizationUser", _NEW),
    Endpoint("DELETE", "/orgs/{orgId}/users/{userId}", _OWNER, users.delete_user, _ORG_USERS, "removeOrganizationUser"),
    Endpoint("GET", "/orgs/{orgId}/events", _READ, organizations.list_events, _EVENTS, "getAllEvents"),
    Endpoint("GET", "/orgs/{orgId}/serviceAccounts/{clientId}", _READ, organizations.get_service_account, _SERVICE_ACCOUNTS, "getServiceAccount"),
    Endpoint("GET", "/orgs/{orgId}/federationSettings", _OWNER, organizations.get_federation_settings, _ORG, "getFederationSettings"),
    Endpoint("GET", "/federationSettings/{federationSettingsId}/connectedOrgConfigs/{orgId}", _NONE, organizations.get_connected_organization, _FEDERATION, "getConnectedOrgConfig"),
    Endpoint("GET", "/rateLimits", _NONE, rate_limits.list_rate_limits, _RATE_LIMITS, "getRateLimits"),
    Endpoint("GET", "/rateLimits/{endpointSetId}", _NONE, rate_limits.get_rate_limit, _RATE_LIMITS, "getRateLimit"),
)
# fmt: on

_BY_TEMPLATE: Final[dict[str, dict[str, Endpoint]]] = {}
for _each in ENDPOINTS:
    _BY_TEMPLATE.setdefault(re.sub(r"\{\w+\}", "{}", _each.template), {})[_each.method] = _each
_MAX_PATH_PARTS: Final = 4


class Route(NamedTuple):
    """A parsed path: its template with `{}` for each id, and the ids."""

    template: str
    scope_id: str
    item_id: str


def parse_route(path: str) -> Route | None:
    """Parse a path without its query; None if it cannot match an endpoint.

    It is split by hand because that is fast.

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
    template = f"/{collection}" + ("/{}" if scope_id else "")
    if subresource:
        template += f"/{subresource}" + ("/{}" if item_id else "")
    return Route(template, unquote(scope_id), unquote(item_id))


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


def handle(
    sim: SimulatedAtlas, request: IncomingRequest, route: Route | None, base_url: str
) -> HandledResponse:
    """Execute a request and return its response.

    The order of checks is that of the recordings: a 401 and the 404 of a project take no token
    from a bucket; the 404 of a resource in a project does.
    """
    if request.method == "POST" and request.path in {TOKEN_PATH, REVOKE_PATH}:
        return HandledResponse(_handle_oauth(sim, request))
    try:
        account = _authenticate(sim, request)
    except Rejected as rejected:
        return HandledResponse(rejected.response)
    methods = _BY_TEMPLATE.get(route.template) if route is not None else None
    if route is None or methods is None:
        return HandledResponse(resource_not_found(request.path))
    endpoint = methods.get(request.method)
    if endpoint is None:
        # Source: the header of `/groups` is recorded.
        allowed = "POST,GET" if route.template == "/groups" else ",".join(methods)
        return HandledResponse(method_not_allowed(f"{allowed},OPTIONS"))
    return _execute(sim, request, route, account, endpoint, base_url)


def _handle_oauth(sim: SimulatedAtlas, request: IncomingRequest) -> SimulatedResponse:
    header = request.headers.get("Authorization", "")
    if request.path == TOKEN_PATH:
        return sim.oauth.issue_token(header, request.body, request.client_ip)
    return sim.oauth.revoke_token(header, request.body)


def _authenticate(sim: SimulatedAtlas, request: IncomingRequest) -> Account:
    sim.oauth.expire_due()
    header = request.headers.get("Authorization", "")
    account = sim.accounts.authenticate(header, request.method, request.target)
    if account is None:
        raise Rejected(unauthorized(sim.digest.challenge()))
    if account.access_list is not None and request.client_ip not in account.access_list:
        # Source: quoted in the fact sheet, section 5.
        detail = f"IP address {request.client_ip} is not allowed to access this resource."
        raise Rejected(api_error(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST", detail, request.client_ip))
    return account


def _execute(
    sim: SimulatedAtlas,
    request: IncomingRequest,
    route: Route,
    account: Account,
    endpoint: Endpoint,
    base_url: str,
) -> HandledResponse:
    family = endpoint.family
    java_method = f"{family.resource}::{endpoint.java_method}"
    accept, versions = request.headers.get("Accept", ""), endpoint.versions or family.versions
    retirement, rate = None, None
    try:
        version = sim.versions.resolve(accept, versions, family.name, request.path)
        retirement = sim.versions.retirement(family.name, version)
        _check_access(sim, route.scope_id, account, endpoint)
        endpoint_set = family.endpoint_set
        bucket_scope = account.name if endpoint_set.scope == "USER" else route.scope_id
        has_token, rate = sim.throttling.take_token(endpoint_set, bucket_scope)
        if has_token:
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
                ENDPOINTS,
            )
            response = endpoint.handler(call)
        else:
            now = sim.clock() + sim.date_offset
            response = sim.throttling.rate_limited_response(
                endpoint_set, bucket_scope, request.path, now
            )
    except Rejected as rejected:
        response = rejected.response
    return HandledResponse(response, java_method, retirement, rate)


def _check_access(sim: SimulatedAtlas, scope_id: str, account: Account, endpoint: Endpoint) -> None:
    """Raise Rejected if the account has no access to the project or organization in the path."""
    scope, org_id = endpoint.family.endpoint_set.scope, scope_id
    if scope == "USER":
        return
    if scope == "GROUP":
        group = sim.groups.get(scope_id)
        if group is None:
            raise Rejected(_group_id_error(scope_id))
        org_id = group.org_id
    elif scope_id not in sim.organizations:
        detail = f"No organization with ID {scope_id} exists."
        raise Rejected(api_error(404, "ORG_NOT_FOUND", detail, scope_id))
    access = sim.access_to(account, org_id, scope_id)
    if access < endpoint.access:
        code = "NOT_IN_GROUP" if access is Access.NONE else "USER_UNAUTHORIZED"
        raise Rejected(missing_role(code))


def _group_id_error(group_id: str) -> SimulatedResponse:
    if ID_PATTERN.fullmatch(group_id):
        return group_not_found(group_id)
    detail = f"An invalid group ID {group_id} was specified."
    return api_error(404, "INVALID_GROUP_ID", detail, group_id)
