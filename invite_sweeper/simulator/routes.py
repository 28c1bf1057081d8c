"""Which operation a method and a path mean. A path is taken apart by hand: it is quick."""

from typing import Final, NamedTuple
from urllib.parse import unquote

from .accounts import Access
from .calls import Handler, Operation
from .endpoint_sets import (
    ORGANIZATION,
    ORGANIZATIONS,
    PROJECT,
    PROJECTS,
    ROOT,
    EndpointSet,
)
from .heads import Retirement
from .invites import RETIREMENT, create_invite, delete_invite, get_invite, list_invites
from .projects import get_group, get_org, list_groups, list_org_groups, list_orgs, system_status

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
    if len(parts) <= 1:
        return Route("", "", "")
    if parts[0] or len(parts) > _DEEPEST + 1:
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


def _operation(
    handler: Handler,
    family: str,
    java_method: str,
    endpoint_set: EndpointSet,
    needs: Access = Access.NONE,
    *,
    retirement: Retirement | None = None,
) -> Operation:
    java = f"{_RESOURCES[family]}::{java_method}"
    return Operation(handler, family, java, endpoint_set, needs, retirement=retirement)


_READ, _OWNER = Access.READ, Access.OWNER
# Source: the recordings, but for the two of the root and of rate limits, which are assumed.
_RESOURCES: Final = {
    "root": "ApiAtlasRootResource",
    "groups": "ApiAtlasGroupsResource",
    "orgs": "ApiOrganizationsResource",
    "invites": "ApiGroupInvitationResource",
}


def _invites(handler: Handler, java_method: str) -> Operation:
    return _operation(handler, "invites", java_method, PROJECT, _OWNER, retirement=RETIREMENT)


OPERATIONS: Final[dict[str, dict[str, Operation]]] = {
    "": {"GET": _operation(system_status, "root", "getSystemStatus", ROOT)},
    "groups": {"GET": _operation(list_groups, "groups", "getAllGroups", PROJECTS)},
    "groups/{}": {"GET": _operation(get_group, "groups", "getGroup", PROJECT, _READ)},
    "groups/{}/invites": {
        "GET": _invites(list_invites, "getInvitations"),
        "POST": _invites(create_invite, "createInvitations"),
    },
    "groups/{}/invites/{}": {
        "GET": _invites(get_invite, "getInvitationByInvitationId"),
        "DELETE": _invites(delete_invite, "deleteInvitations"),
    },
    "orgs": {"GET": _operation(list_orgs, "orgs", "getAllOrgs", ORGANIZATIONS)},
    "orgs/{}": {"GET": _operation(get_org, "orgs", "getOrg", ORGANIZATION, _READ)},
    "orgs/{}/groups": {
        "GET": _operation(list_org_groups, "orgs", "getGroups", ORGANIZATION, _READ)
    },
}
