"""Path -> operation; auth, version, limits."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple
from urllib.parse import unquote

from invite_sweeper.simulator import invitations, projects, users
from invite_sweeper.simulator.auth import REVOKE_PATH, TOKEN_PATH, Access, Account
from invite_sweeper.simulator.data import ID_FORM
from invite_sweeper.simulator.operations import Call, Handler, Operation
from invite_sweeper.simulator.responses import (
    Answer,
    Rate,
    Retirement,
    error,
    group_not_found,
    lacks_role,
    method_not_allowed,
    resource_not_found,
    unauthorized,
)
from invite_sweeper.simulator.state import SimulatedAtlas
from invite_sweeper.simulator.throttling import (
    ORGANIZATION,
    ORGANIZATION_USERS,
    ORGANIZATIONS,
    PROJECT,
    PROJECT_USERS,
    PROJECTS,
    RATE_LIMITS,
    ROOT,
    EndpointSet,
)

# Which operation a method and a path mean. A path is taken apart by hand: it is quick.


PREFIX: Final = "/api/atlas/v2"
_DEEPEST: Final = 4


class Route(NamedTuple):
    """A path taken apart: its template and the ids in it."""

    template: str
    scope_id: str
    item_id: str


def route(path: str) -> Route | None:
    """Take a path (without its query) apart; None where nothing lives.

    An empty last part is no part: `/groups/` is `/groups`.
    Source: recordings of `GET /groups/` and `DELETE /groups/`.
    """
    if not path.startswith(PREFIX):
        return None
    parts = path[len(PREFIX) :].split("/")
    if parts[-1] == "":
        parts.pop()
    if parts and parts[0]:
        return None
    if len(parts) <= 1:
        return Route("", "", "")
    if len(parts) > _DEEPEST + 1:
        return None
    _, collection, scope_id, below, item_id = (*parts, "", "", "")[: _DEEPEST + 1]
    template = collection + ("/{}" if scope_id else "")
    if below:
        template += f"/{below}" + ("/{}" if item_id else "")
    return Route(template, unquote(scope_id), unquote(item_id))


def allowed(template: str) -> str:
    """The `Allow` header of a 405. Source: the one of `/groups` is recorded."""
    if template == "groups":
        return "POST,GET,OPTIONS"
    return ",".join((*OPERATIONS[template], "OPTIONS"))


# Source: recordings for groups, invites and users' lists; the rest is assumed.
_RESOURCES: Final = {
    "root": "ApiAtlasRootResource",
    "groups": "ApiAtlasGroupsResource",
    "orgs": "ApiOrganizationsResource",
    "invites": "ApiGroupInvitationResource",
    "org_invites": "ApiOrganizationInvitationResource",
    "users": "ApiGroupUsersResource",
    "org_users": "ApiOrganizationUsersResource",
    "rate_limits": "ApiRateLimitsResource",
}
_READ, _OWNER = Access.READ, Access.OWNER


def _plain(
    handler: Handler, family: str, method: str, where: EndpointSet, needs: Access = Access.NONE
) -> Operation:
    java = f"{_RESOURCES[family]}::{method}"
    return Operation(handler, family, java, where, needs, ("2023-01-01",), {})


def _invites(handler: Handler, method: str) -> Operation:
    told = {"2023-01-01": invitations.GROUP_INVITES_RETIREMENT}
    return replace(_plain(handler, "invites", method, PROJECT, _OWNER), retirements=told)


def _org_invites(handler: Handler, method: str) -> Operation:
    told = {"2023-01-01": invitations.ORG_INVITES_RETIREMENT}
    return replace(_plain(handler, "org_invites", method, ORGANIZATION, _OWNER), retirements=told)


def _users(handler: Handler, method: str, needs: Access, *versions: str) -> dict[str, Operation]:
    """The same in a project and in an organization."""
    return {
        family: replace(
            _plain(handler, family, method.format(word), where, needs),
            versions=versions or (users.OLD, users.NEW),
            retirements=users.RETIREMENTS,
        )
        for family, word, where in (
            ("users", "Group", PROJECT_USERS),
            ("org_users", "Organization", ORGANIZATION_USERS),
        )
    }


def _rates(handler: Handler, method: str) -> Operation:
    return replace(_plain(handler, "rate_limits", method, RATE_LIMITS), versions=("2025-03-12",))


_LIST_USERS = _users(users.list_users, "get{}Users", _READ)
_ADD_USER = _users(invitations.create_user, "add{}User", _OWNER, users.NEW)
_GET_USER = _users(users.get_user, "get{}User", _READ, users.NEW)
_DELETE_USER = _users(users.delete_user, "remove{}User", _OWNER)

OPERATIONS: Final[dict[str, dict[str, Operation]]] = {
    "": {"GET": _plain(projects.system_status, "root", "getSystemStatus", ROOT)},
    "groups": {"GET": _plain(projects.list_groups, "groups", "getAllGroups", PROJECTS)},
    "groups/{}": {"GET": _plain(projects.get_group, "groups", "getGroup", PROJECT, _READ)},
    "groups/{}/invites": {
        "GET": _invites(invitations.list_invites, "getInvitations"),
        "POST": _invites(invitations.create_invite, "createInvitations"),
    },
    "groups/{}/invites/{}": {
        "GET": _invites(invitations.get_invite, "getInvitationByInvitationId"),
        "DELETE": _invites(invitations.delete_invite, "deleteInvitations"),
    },
    "groups/{}/users": {"GET": _LIST_USERS["users"], "POST": _ADD_USER["users"]},
    "groups/{}/users/{}": {"GET": _GET_USER["users"], "DELETE": _DELETE_USER["users"]},
    "orgs": {"GET": _plain(projects.list_orgs, "orgs", "getAllOrgs", ORGANIZATIONS)},
    "orgs/{}": {"GET": _plain(projects.get_org, "orgs", "getOrg", ORGANIZATION, _READ)},
    "orgs/{}/groups": {
        "GET": _plain(projects.list_org_groups, "orgs", "getGroups", ORGANIZATION, _READ),
    },
    "orgs/{}/invites": {
        "GET": _org_invites(invitations.list_org_invites, "getInvitations"),
        "POST": _org_invites(invitations.create_org_invite, "createInvitations"),
    },
    "orgs/{}/invites/{}": {
        "GET": _org_invites(invitations.get_org_invite, "getInvitationByInvitationId"),
        "DELETE": _org_invites(invitations.delete_org_invite, "deleteInvitations"),
    },
    "orgs/{}/users": {"GET": _LIST_USERS["org_users"], "POST": _ADD_USER["org_users"]},
    "orgs/{}/users/{}": {"GET": _GET_USER["org_users"], "DELETE": _DELETE_USER["org_users"]},
    "rateLimits": {"GET": _rates(projects.list_rate_limits, "getRateLimits")},
    "rateLimits/{}": {"GET": _rates(projects.get_rate_limit, "getRateLimit")},
}


# From a request to its answer, step by step, without input or output.


class Asking(NamedTuple):
    """A request as it came off the wire.

    Attributes:
        target: Path and query as they were sent.
        headers: Looked up whatever their case.
    """

    method: str
    target: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    client_ip: str


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer and what its head says besides."""

    answer: Answer
    java_method: str = ""
    retirement: Retirement | None = None
    rate: Rate | None = None


def reply(sim: SimulatedAtlas, asking: Asking, place: Route | None, base_url: str) -> Reply:
    """Carry a request out.

    The order is that of the recordings where they show one: a 401 and a 404 of a project
    take no token of a bucket; a 404 of something in a project does.
    """
    if asking.method == "POST" and asking.path in {TOKEN_PATH, REVOKE_PATH}:
        return Reply(_oauth(sim, asking))
    account = _sender(sim, asking)
    if isinstance(account, Answer):
        return Reply(account)
    if place is None or place.template not in OPERATIONS:
        return Reply(resource_not_found(asking.path))
    operation = OPERATIONS[place.template].get(asking.method)
    if operation is None:
        return Reply(method_not_allowed(allowed(place.template)))
    return _carry_out(sim, asking, place, account, operation, base_url)


def _oauth(sim: SimulatedAtlas, asking: Asking) -> Answer:
    header = asking.headers.get("Authorization", "")
    if asking.path == TOKEN_PATH:
        return sim.oauth.token(header, asking.body, asking.client_ip)
    return sim.oauth.revoke(header, asking.body)


def _sender(sim: SimulatedAtlas, asking: Asking) -> Account | Answer:
    sim.oauth.expire_due()
    header = asking.headers.get("Authorization", "")
    account = sim.accounts.sender(header, asking.method, asking.target)
    if account is None:
        return unauthorized(sim.digest.challenge())
    if account.access_list is not None and asking.client_ip not in account.access_list:
        # Source: quoted in the fact sheet, section 5.
        detail = f"IP address {asking.client_ip} is not allowed to access this resource."
        return error(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST", detail, asking.client_ip)
    return account


def _carry_out(
    sim: SimulatedAtlas,
    asking: Asking,
    place: Route,
    account: Account,
    operation: Operation,
    base_url: str,
) -> Reply:
    java = operation.java_method
    version, refusal = sim.versions.resolve(
        asking.headers.get("Accept", ""), operation.versions, operation.family, asking.path
    )
    retirement = _retirement(sim, operation, version)
    refusal = refusal or _scope(sim, place.scope_id, account, operation)
    if refusal is not None:
        return Reply(refusal, java, retirement)
    endpoint_set = operation.endpoint_set
    drawn_by = account.name if endpoint_set.scope == "USER" else place.scope_id
    passes, rate = sim.throttling.take(endpoint_set, drawn_by)
    if not passes:
        now = sim.clock() + sim.date_offset
        full = sim.throttling.refusal(endpoint_set, drawn_by, asking.path, now)
        return Reply(full, java, retirement, rate)
    call = Call(
        sim,
        account,
        asking.path,
        asking.query,
        asking.body,
        place.scope_id,
        place.item_id,
        version,
        base_url,
        asking.client_ip,
    )
    return Reply(operation.handler(call), java, retirement, rate)


def _retirement(sim: SimulatedAtlas, operation: Operation, version: str) -> Retirement | None:
    told = operation.retirements.get(version)
    moved = sim.versions.sunsets.get(operation.family) if sim.versions.sunsets else None
    return told._replace(sunset=moved) if told is not None and moved is not None else told


def _scope(
    sim: SimulatedAtlas, scope_id: str, account: Account, operation: Operation
) -> Answer | None:
    """Why the project or organization in the path may not be touched; None where it may."""
    scope = operation.endpoint_set.scope
    if scope == "USER":
        return None
    if scope == "GROUP":
        group = sim.groups.get(scope_id)
        if group is None:
            return _no_group(scope_id)
        org_id = group.org_id
    elif scope_id not in sim.organizations:
        return error(404, "ORG_NOT_FOUND", f"No organization with ID {scope_id} exists.", scope_id)
    else:
        org_id = scope_id
    access = sim.may(account, org_id, scope_id)
    if access >= operation.needs:
        return None
    return lacks_role("NOT_IN_GROUP" if access is Access.NONE else "USER_UNAUTHORIZED")


def _no_group(group_id: str) -> Answer:
    if ID_FORM.fullmatch(group_id):
        return group_not_found(group_id)
    detail = f"An invalid group ID {group_id} was specified."
    return error(404, "INVALID_GROUP_ID", detail, group_id)
