"""Endpoints of `/rateLimits`. Source: the OpenAPI document; not recorded."""

from collections.abc import Mapping
from typing import Final

from invite_sweeper.simulator.auth import Access
from invite_sweeper.simulator.calls import Call, parse_page_query, render_page
from invite_sweeper.simulator.responses import (
    Json,
    Rejected,
    SimulatedResponse,
    group_not_found,
    missing_role,
    resource_not_found,
    to_json,
)
from invite_sweeper.simulator.throttling import ENDPOINT_SETS, EndpointSet

_SCOPE_PARAMETERS: Final = {"groupId": "GROUP", "orgId": "ORGANIZATION", "userId": "USER"}


def list_rate_limits(call: Call) -> SimulatedResponse:
    """Handle `GET /rateLimits`: all endpoint sets, or those of one scope with its limits."""
    if not call.sim.rate_limits_served:
        return resource_not_found(call.path)
    page_query = parse_page_query(call.query)
    scope, scope_id = _requested_scope(call, page_query.other_parameters)
    shown = [each for each in ENDPOINT_SETS.values() if scope in ("", each.scope)]
    names, paths = (
        page_query.other_parameters.get("name", []),
        page_query.other_parameters.get("endpointPath", []),
    )
    found = [
        each
        for each in shown
        if (not names or each.name in names)
        and (not paths or any(path in paths for _, path in _paths(call, each)))
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
    scope, scope_id = _requested_scope(call, page_query.other_parameters)
    return call.json_response(
        _document(call, endpoint_set, scope_id if scope == endpoint_set.scope else "")
    )


def _requested_scope(call: Call, query: Mapping[str, list[str]]) -> tuple[str, str]:
    """Return the requested scope and its id, both empty if the request has none.

    Raises:
        Rejected: The account can neither read the scope nor is it the scope.
    """
    name = next((name for name in _SCOPE_PARAMETERS if name in query), None)
    if name is None:
        return "", ""
    scope, scope_id = _SCOPE_PARAMETERS[name], query[name][0]
    sim, org_id = call.sim, scope_id
    if scope == "GROUP":
        group = sim.groups.get(scope_id)
        if group is None:
            raise Rejected(group_not_found(scope_id))
        org_id = group.org_id
    is_own = scope == "USER" and scope_id == call.account.name
    if not is_own and sim.access_to(call.account, org_id, scope_id) < Access.READ:
        raise Rejected(missing_role())
    return scope, scope_id


def _document(call: Call, endpoint_set: EndpointSet, scope_id: str) -> Json:
    limit = call.sim.throttling.limit_for(endpoint_set, scope_id)
    endpoints: Json = [
        {"method": method, "path": path} for method, path in _paths(call, endpoint_set)
    ]
    return {
        "capacity": _limit_value(limit.capacity, endpoint_set.capacity),
        "endpointSetId": endpoint_set.id,
        "endpointSetName": endpoint_set.name,
        "endpoints": endpoints,
        "refillDurationSeconds": _limit_value(round(limit.period_s), endpoint_set.period_s),
        "refillRate": _limit_value(limit.refill, endpoint_set.refill),
        "scope": endpoint_set.scope,
    }


def _paths(call: Call, endpoint_set: EndpointSet) -> list[tuple[str, str]]:
    """Return method and path template of the endpoints of a set."""
    return [
        (each.method, f"/api/atlas/v2{each.template}")
        for each in call.endpoints
        if each.family.endpoint_set is endpoint_set
    ]


def _limit_value(value: int, default: int) -> Json:
    """Return a limit; `defaultValue` is present only if the value differs from it."""
    return {"value": value} if value == default else {"defaultValue": default, "value": value}
