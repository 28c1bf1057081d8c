"""The table of endpoints, and how a request finds its one and is handled."""
# ruff: noqa: E501 - one line an endpoint

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple, TypeAlias

from invite_sweeper.simulator import handlers
from invite_sweeper.simulator.auth import REVOKE_PATH, TOKEN_PATH, Access, Account
from invite_sweeper.simulator.calls import Call
from invite_sweeper.simulator.responses import (
    Rejected,
    SimulatedResponse,
    api_error,
    group_not_found,
    missing_role,
    resource_not_found,
    unauthorized,
)
from invite_sweeper.simulator.throttling import (
    ORGANIZATION,
    ORGANIZATION_USERS,
    ORGANIZATIONS,
    PROJECT,
    PROJECT_TEAMS,
    PROJECT_USERS,
    PROJECTS,
    EndpointSet,
)

V2023: Final = "2023-01-01"
V2024_SERVICE_ACCOUNTS: Final = "2024-08-05"
V2025_USERS: Final = "2025-02-19"
_NONE, _READ, _OWNER = Access.NONE, Access.READ, Access.OWNER

Handler: TypeAlias = Callable[[Call], SimulatedResponse]


class Family(NamedTuple):
    """Endpoints of one resource of Atlas, with the token buckets that they share.

    Attributes:
        name: Its name in the settings of `Versions`.
        version: The one that the program uses; a later date is resolved down to it.
    """

    name: str
    endpoint_set: EndpointSet
    version: str = V2023


class Endpoint(NamedTuple):
    """One method of one path.

    Attributes:
        template: The path below `/api/atlas/v2`, with its parameters in braces.
        access: The least access to the project or organization in the path.
    """

    method: str
    template: str
    access: Access
    handler: Handler
    family: Family


_GROUPS = Family("groups", PROJECTS)
_INVITES = Family("invites", PROJECT)
_USERS = Family("users", PROJECT_USERS, V2025_USERS)
_TEAMS = Family("teams", PROJECT_TEAMS)
_ORGS = Family("orgs", ORGANIZATIONS)
_ORG = Family("orgs", ORGANIZATION)
_ORG_INVITES = Family("org_invites", ORGANIZATION)
_ORG_USERS = Family("org_users", ORGANIZATION_USERS, V2025_USERS)
_SERVICE_ACCOUNTS = Family("service_accounts", ORGANIZATION, V2024_SERVICE_ACCOUNTS)

# fmt: off
ENDPOINTS: Final = (
    Endpoint("GET", "/groups", _NONE, handlers.list_groups, _GROUPS),
    Endpoint("GET", "/groups/{groupId}/invites", _OWNER, handlers.list_invites, _INVITES),
    Endpoint("POST", "/groups/{groupId}/invites", _OWNER, handlers.create_invite, _INVITES),
    Endpoint("DELETE", "/groups/{groupId}/invites/{invitationId}", _OWNER, handlers.delete_invite, _INVITES),
    Endpoint("GET", "/groups/{groupId}/teams", _READ, handlers.list_group_teams, _TEAMS),
    Endpoint("GET", "/groups/{groupId}/users", _READ, handlers.list_users, _USERS),
    Endpoint("POST", "/groups/{groupId}/users", _OWNER, handlers.create_user, _USERS),
    Endpoint("GET", "/groups/{groupId}/users/{userId}", _READ, handlers.get_user, _USERS),
    Endpoint("DELETE", "/groups/{groupId}/users/{userId}", _OWNER, handlers.delete_user, _USERS),
    Endpoint("GET", "/orgs", _NONE, handlers.list_orgs, _ORGS),
    Endpoint("GET", "/orgs/{orgId}/invites", _OWNER, handlers.list_invites, _ORG_INVITES),
    Endpoint("DELETE", "/orgs/{orgId}/invites/{invitationId}", _OWNER, handlers.delete_invite, _ORG_INVITES),
    Endpoint("GET", "/orgs/{orgId}/users", _READ, handlers.list_users, _ORG_USERS),
    Endpoint("POST", "/orgs/{orgId}/users", _OWNER, handlers.create_user, _ORG_USERS),
    Endpoint("GET", "/orgs/{orgId}/users/{userId}", _READ, handlers.get_user, _ORG_USERS),
    Endpoint("DELETE", "/orgs/{orgId}/users/{userId}", _OWNER, handlers.delete_user, _ORG_USERS),
    Endpoint("GET", "/orgs/{orgId}/events", _READ, handlers.list_events, _ORG),
    Endpoint("GET", "/orgs/{orgId}/serviceAccounts/{clientId}", _READ, handlers.get_service_account, _SERVICE_ACCOUNTS),
)
# fmt: on

_BY_TEMPLATE: Final[dict[str, dict[str, Endpoint]]] = {}
for _each in ENDPOINTS:
    _BY_TEMPLATE.setdefault(re.sub(r"\{\w+\}", "{}", _each.template), {})[_each.method] = _each


def handle(call: Call) -> SimulatedResponse:
    """Execute a request and return its response.

    The order of checks is that of the recordings: a 401 and the 404 of a project take no token
    from a bucket; the 404 of a resource in a project does.
    """
    authorization = call.headers.get("Authorization", "")
    if (call.method, call.path) == ("POST", TOKEN_PATH):
        return call.sim.oauth.issue_token(authorization, call.body)
    if (call.method, call.path) == ("POST", REVOKE_PATH):
        return call.sim.oauth.revoke_token(authorization, call.body)
    try:
        call.account = _authenticate(call, authorization)
        return _execute(call)
    except Rejected as rejected:
        return rejected.response


def _authenticate(call: Call, authorization: str) -> Account:
    sim = call.sim
    sim.oauth.expire_due()
    account = sim.accounts.authenticate(authorization, call.method, call.target)
    if account is None:
        raise Rejected(unauthorized(sim.digest.challenge()))
    if account.access_list is not None and call.client_ip not in account.access_list:
        # Source: quoted in the fact sheet, section 5.
        detail = f"IP address {call.client_ip} is not allowed to access this resource."
        raise Rejected(api_error(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST", detail, call.client_ip))
    return account


def _execute(call: Call) -> SimulatedResponse:
    sim, methods = call.sim, _BY_TEMPLATE.get(call.template)
    if methods is None:
        return resource_not_found(call.path)
    endpoint = methods.get(call.method)
    if endpoint is None:
        # Source: `DELETE /groups/` in the recordings of 2025-04-15.
        return SimulatedResponse(405)
    family, endpoint_set = endpoint.family, endpoint.family.endpoint_set
    call.version = family.version
    _check_version(call, family)
    _check_access(call, endpoint)
    scope_id = call.account.name if endpoint_set.scope == "USER" else call.scope_id
    bucket = sim.throttling.bucket(endpoint_set, scope_id)
    if sim.throttling.is_exceeded(bucket):
        response = sim.throttling.rate_limited_response(bucket, call.path)
    else:
        try:
            response = endpoint.handler(call)
        except Rejected as rejected:
            response = rejected.response
    headers = [("RateLimit-Limit", str(bucket.limit.capacity))]
    headers += [("RateLimit-Remaining", str(bucket.tokens))]
    if sunset := sim.versions.sunsets.get(family.name):
        headers += [("Sunset", sunset)]
    return replace(response, headers=(*response.headers, *headers))


def _check_version(call: Call, family: Family) -> None:
    """Raise Rejected with a 406 or 410 if the version is not served.

    Source: fact sheet, section 2. Clients may send dates between versions.
    """
    accept = call.headers.get("Accept", "")
    requested = re.search(r"application/vnd\.atlas\.(\d{4}-\d{2}-\d{2})\+json", accept)
    if requested is None or requested[1] < family.version:
        detail = "Invalid accept header or version date."
        raise Rejected(api_error(406, "INVALID_VERSION_DATE", detail))
    retired = call.sim.versions.retired
    if not retired.isdisjoint(((family.name, family.version), (family.name, "*"))):
        resource = call.path.lstrip("/")
        detail = f"Version {family.version} of {resource} is no longer available."
        raise Rejected(api_error(410, "VERSION_GONE", detail, family.version, resource))


def _check_access(call: Call, endpoint: Endpoint) -> None:
    """Raise Rejected if the account has no access to the project or organization in the path."""
    sim, scope_id, org_id = call.sim, call.scope_id, call.scope_id
    scope = endpoint.family.endpoint_set.scope
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
    access = sim.access_to(call.account, org_id, scope_id)
    if access < endpoint.access:
        raise Rejected(missing_role("NOT_IN_GROUP" if access is _NONE else "USER_UNAUTHORIZED"))


def _group_id_error(group_id: str) -> SimulatedResponse:
    if re.fullmatch("[a-f0-9]{24}", group_id):
        return group_not_found(group_id)
    detail = f"An invalid group ID {group_id} was specified."
    return api_error(404, "INVALID_GROUP_ID", detail, group_id)
