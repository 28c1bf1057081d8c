"""Which operation a method and a path mean. A path is taken apart by hand: it is quick."""

from dataclasses import replace
from typing import Final, NamedTuple
from urllib.parse import unquote

from invite_sweeper.simulator import invites, projects, rate_limits, user_invitations, users
from invite_sweeper.simulator.accounts import Access
from invite_sweeper.simulator.calls import Handler, Operation
from invite_sweeper.simulator.endpoint_sets import (
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
    told = {"2023-01-01": invites.RETIREMENT}
    return replace(_plain(handler, "invites", method, PROJECT, _OWNER), retirements=told)


def _org_invites(handler: Handler, method: str) -> Operation:
    told = {"2023-01-01": user_invitations.RETIREMENT}
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
_ADD_USER = _users(user_invitations.create_user, "add{}User", _OWNER, users.NEW)
_GET_USER = _users(users.get_user, "get{}User", _READ, users.NEW)
_DELETE_USER = _users(users.delete_user, "remove{}User", _OWNER)

OPERATIONS: Final[dict[str, dict[str, Operation]]] = {
    "": {"GET": _plain(projects.system_status, "root", "getSystemStatus", ROOT)},
    "groups": {"GET": _plain(projects.list_groups, "groups", "getAllGroups", PROJECTS)},
    "groups/{}": {"GET": _plain(projects.get_group, "groups", "getGroup", PROJECT, _READ)},
    "groups/{}/invites": {
        "GET": _invites(invites.list_invites, "getInvitations"),
        "POST": _invites(invites.create_invite, "createInvitations"),
    },
    "groups/{}/invites/{}": {
        "GET": _invites(invites.get_invite, "getInvitationByInvitationId"),
        "DELETE": _invites(invites.delete_invite, "deleteInvitations"),
    },
    "groups/{}/users": {"GET": _LIST_USERS["users"], "POST": _ADD_USER["users"]},
    "groups/{}/users/{}": {"GET": _GET_USER["users"], "DELETE": _DELETE_USER["users"]},
    "orgs": {"GET": _plain(projects.list_orgs, "orgs", "getAllOrgs", ORGANIZATIONS)},
    "orgs/{}": {"GET": _plain(projects.get_org, "orgs", "getOrg", ORGANIZATION, _READ)},
    "orgs/{}/groups": {
        "GET": _plain(projects.list_org_groups, "orgs", "getGroups", ORGANIZATION, _READ),
    },
    "orgs/{}/invites": {
        "GET": _org_invites(user_invitations.list_org_invites, "getInvitations"),
        "POST": _org_invites(user_invitations.create_org_invite, "createInvitations"),
    },
    "orgs/{}/invites/{}": {
        "GET": _org_invites(user_invitations.get_org_invite, "getInvitationByInvitationId"),
        "DELETE": _org_invites(user_invitations.delete_org_invite, "deleteInvitations"),
    },
    "orgs/{}/users": {"GET": _LIST_USERS["org_users"], "POST": _ADD_USER["org_users"]},
    "orgs/{}/users/{}": {"GET": _GET_USER["org_users"], "DELETE": _DELETE_USER["org_users"]},
    "rateLimits": {"GET": _rates(rate_limits.list_rate_limits, "getRateLimits")},
    "rateLimits/{}": {"GET": _rates(rate_limits.get_rate_limit, "getRateLimit")},
}
