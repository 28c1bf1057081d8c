"""Operations on projects, organizations, the root resource and `/rateLimits`."""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

from invite_sweeper.simulator.auth import Access
from invite_sweeper.simulator.data import Group, Organization, format_atlas_time
from invite_sweeper.simulator.operations import Call, parse_page_query, render_page
from invite_sweeper.simulator.responses import (
    Json,
    SimulatedResponse,
    group_not_found,
    missing_role,
    resource_not_found,
    to_json,
)
from invite_sweeper.simulator.throttling import ENDPOINT_SETS, EndpointSet

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
    own_url = _href(call, "groups", group.id)
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
    if isinstance(page_query, SimulatedResponse):
        return page_query
    teams = tuple(call.sim.groups[call.scope_id].teams.items())
    return render_page(
        call,
        teams,
        lambda team: to_json({"links": [], "roleNames": team[1], "teamId": team[0]}),
        page_query,
        call.sim.team_paging,
    )


def list_orgs(call: Call) -> SimulatedResponse:
    """Handle `GET /orgs`; `name` filters by prefix, ignoring case."""
    page_query = parse_page_query(call.query)
    if isinstance(page_query, SimulatedResponse):
        return page_query
    name = page_query.other_parameters.get("name", [""])[0]
    visible = [call.sim.organizations[each] for each in call.account.org_ids]
    found = [each for each in visible if each.name.lower().startswith(name.lower())]
    found.sort(key=lambda organization: organization.name.encode())
    extra_query = f"name={quote(name)}&"
    return render_page(
        call,
        found,
        lambda each: to_json(_organization(call, each)),
        page_query,
        extra_query=extra_query,
    )


def get_org(call: Call) -> SimulatedResponse:
    """Handle `GET /orgs/{orgId}`."""
    return call.json_response(_organization(call, call.sim.organizations[call.scope_id]))


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
    if isinstance(page_query, SimulatedResponse):
        return page_query
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
    return to_json(_group(group, [{"href": _href(call, "groups", group.id), "rel": "self"}]))


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


def _organization(call: Call, organization: Organization) -> Json:
    return {
        "id": organization.id,
        "isDeleted": False,
        "links": [{"href": _href(call, "orgs", organization.id), "rel": "self"}],
        "name": organization.name,
        "skipDefaultAlertsSettings": False,
    }


def _href(call: Call, collection: str, own_id: str) -> str:
    host = call.sim.paging.link_host or call.base_url
    return f"{host}/api/atlas/v2/{collection}/{own_id}"


# `/rateLimits`


_SCOPE_PARAMETERS: Final = {"groupId": "GROUP", "orgId": "ORGANIZATION", "userId": "USER"}


def list_rate_limits(call: Call) -> SimulatedResponse:
    """Handle `GET /rateLimits`: all endpoint sets, or those of one scope with its limits.

    Source: the OpenAPI document; not recorded.
    """
    if not call.sim.rate_limits_served:
        return resource_not_found(call.path)
    page_query = parse_page_query(call.query)
    if isinstance(page_query, SimulatedResponse):
        return page_query
    access_error = _access_error(call, page_query.other_parameters)
    if access_error is not None:
        return access_error
    scope, scope_id = _requested_scope(page_query.other_parameters)
    shown = [each for each in ENDPOINT_SETS.values() if scope in ("", each.scope)]
    names, paths = (
        page_query.other_parameters.get("name", []),
        page_query.other_parameters.get("endpointPath", []),
    )
    found = [
        each
        for each in shown
        if (not names or each.name in names)
        and (not paths or any(path in paths for _, path in each.endpoints))
    ]
    return render_page(
        call, found, lambda each: to_json(_document(call, each, scope_id)), page_query
    )


def get_rate_limit(call: Call) -> SimulatedResponse:
    """Handle `GET /rateLimits/{endpointSetId}`."""
    endpoint_set = ENDPOINT_SETS.get(call.scope_id)
    if endpoint_set is None or not call.sim.rate_limits_served:
        return resource_not_found(call.path)
    page_query = parse_page_query(call.query)
    if isinstance(page_query, SimulatedResponse):
        return page_query
    access_error = _access_error(call, page_query.other_parameters)
    if access_error is not None:
        return access_error
    scope, scope_id = _requested_scope(page_query.other_parameters)
    return call.json_response(
        _document(call, endpoint_set, scope_id if scope == endpoint_set.scope else "")
    )


def _requested_scope(query: Mapping[str, list[str]]) -> tuple[str, str]:
    """Return the requested scope and its id; empty if the request has none."""
    named = (name for name in _SCOPE_PARAMETERS if name in query)
    name = next(named, "")
    return (_SCOPE_PARAMETERS[name], query[name][0]) if name else ("", "")


def _access_error(call: Call, query: Mapping[str, list[str]]) -> SimulatedResponse | None:
    """Return an error unless the account can read the scope or is itself the scope."""
    scope, scope_id = _requested_scope(query)
    sim = call.sim
    if scope == "USER" and scope_id != call.account.name:
        return missing_role()
    if scope == "GROUP":
        group = sim.groups.get(scope_id)
        if group is None:
            return group_not_found(scope_id)
        if sim.access_to(call.account, group.org_id, scope_id) < Access.READ:
            return missing_role()
    if scope == "ORGANIZATION" and sim.access_to(call.account, scope_id, scope_id) < Access.READ:
        return missing_role()
    return None


def _document(call: Call, endpoint_set: EndpointSet, scope_id: str) -> Json:
    limit = call.sim.throttling.limit_for(endpoint_set, scope_id)
    endpoints: Json = [{"method": method, "path": path} for method, path in endpoint_set.endpoints]
    return {
        "capacity": _limit_value(limit.capacity, endpoint_set.capacity),
        "endpointSetId": endpoint_set.id,
        "endpointSetName": endpoint_set.name,
        "endpoints": endpoints,
        "refillDurationSeconds": _limit_value(round(limit.period_s), endpoint_set.period_s),
        "refillRate": _limit_value(limit.refill, endpoint_set.refill),
        "scope": endpoint_set.scope,
    }


def _limit_value(value: int, default: int) -> Json:
    """Return a limit; `defaultValue` is present only if the value differs from it."""
    return {"value": value} if value == default else {"defaultValue": default, "value": value}
