"""Endpoints of projects and the root resource."""

from collections.abc import Sequence

from invite_sweeper.simulator.auth import Access
from invite_sweeper.simulator.calls import Call, parse_page_query, render_page
from invite_sweeper.simulator.data import Group, format_atlas_time
from invite_sweeper.simulator.responses import Json, SimulatedResponse, to_json

# Source: the links of a project in the recordings, in order; the last has its old name.
_SUBRESOURCES = ("containers", "clusters", "databaseUsers", "peers", "processes", "whitelist")
_BUILD = "203ac0360368239eed8f27b82e06b1be8429648c"


def list_groups(call: Call) -> SimulatedResponse:
    """Handle `GET /groups`: the projects that the account can see, in byte order of the name."""
    return _group_page(call, tuple(call.sim.groups.values()))


def list_org_groups(call: Call) -> SimulatedResponse:
    """Handle `GET /orgs/{orgId}/groups`."""
    org_groups = (group for group in call.sim.groups.values() if group.org_id == call.scope_id)
    return _group_page(call, tuple(org_groups))


def get_group(call: Call) -> SimulatedResponse:
    """Handle `GET /groups/{groupId}`."""
    group = call.sim.groups[call.scope_id]
    own_url = call.resource_url("groups", group.id)
    links: list[Json] = [{"href": own_url, "rel": "self"}]
    links += [
        {"href": f"{own_url}/{name}", "rel": f"https://cloud.mongodb.com/{name}"}
        for name in _SUBRESOURCES
    ]
    return call.json_response(_group(group, links))


def list_group_teams(call: Call) -> SimulatedResponse:
    """Handle `GET /groups/{groupId}/teams`: the teams with access to a project.

    Source: `PaginatedTeamRole` of the OpenAPI document; not recorded.
    """
    page_query = parse_page_query(call.query)
    teams = tuple(call.sim.groups[call.scope_id].teams.items())
    return render_page(
        call,
        teams,
        lambda team: to_json({"links": [], "roleNames": team[1], "teamId": team[0]}),
        page_query,
        call.sim.team_paging,
    )


def system_status(call: Call) -> SimulatedResponse:
    """Handle `GET /`: the build and the caller. `apiKey` is null unless an API key is used."""
    account = call.account
    key: Json = None
    if account.kind == "API key":
        roles = [{"orgId": org_id, "roleName": "ORG_OWNER"} for org_id in account.org_ids]
        own_id = f"{int.from_bytes(account.name.encode()):024x}"[-24:]
        key = {"accessList": [], "id": own_id, "publicKey": account.name, "roles": roles}
    return call.json_response(
        {
            "apiKey": key,
            "appName": "MongoDB Atlas",
            "build": _BUILD,
            "links": [{"href": call.url(), "rel": "self"}],
            "throttling": False,
        }
    )


def _group_page(call: Call, groups: Sequence[Group]) -> SimulatedResponse:
    page_query = parse_page_query(call.query)
    sim, account = call.sim, call.account
    visible = [
        each for each in groups if sim.access_to(account, each.org_id, each.id) > Access.NONE
    ]
    if not sim.paging.unsorted:
        visible.sort(key=lambda group: group.name.encode())
    return render_page(call, visible, lambda each: _group_item(call, each), page_query, sim.paging)


def _group_item(call: Call, group: Group) -> bytes | None:
    if group.hidden:
        return None
    return to_json(_group(group, [{"href": call.resource_url("groups", group.id), "rel": "self"}]))


def _group(group: Group, links: Json) -> dict[str, Json]:
    return {
        "clusterCount": group.cluster_count,
        "created": format_atlas_time(group.created_at),
        "id": group.id,
        "links": links,
        "name": group.name,
        "orgId": group.org_id,
        "tags": [{"key": key, "value": value} for key, value in group.tags],
        "withDefaultAlertsSettings": True,
    }
