"""Operations that tell the figures of the buckets: `/rateLimits`."""

from collections.abc import Mapping
from typing import Final

from invite_sweeper.simulator.accounts import Access
from invite_sweeper.simulator.answers import Answer, group_not_found, lacks_role, resource_not_found
from invite_sweeper.simulator.calls import Call
from invite_sweeper.simulator.endpoint_sets import ENDPOINT_SETS, EndpointSet
from invite_sweeper.simulator.json_types import Json, dump
from invite_sweeper.simulator.paging import page, page_query

_SCOPES: Final = {"groupId": "GROUP", "orgId": "ORGANIZATION", "userId": "USER"}


def list_rate_limits(call: Call) -> Answer:
    """`GET /rateLimits`: all sets, or those of one scope with what holds there.

    Source: the OpenAPI document; no recording.
    """
    if not call.sim.rate_limits_served:
        return resource_not_found(call.path)
    asked = page_query(call.query)
    if isinstance(asked, Answer):
        return asked
    refusal = _refusal(call, asked.rest)
    if refusal is not None:
        return refusal
    scope, scope_id = _scope(asked.rest)
    shown = [each for each in ENDPOINT_SETS.values() if scope in ("", each.scope)]
    names, paths = asked.rest.get("name", []), asked.rest.get("endpointPath", [])
    found = [
        each
        for each in shown
        if (not names or each.name in names)
        and (not paths or any(path in paths for _, path in each.endpoints))
    ]
    return page(call, found, lambda each: dump(_document(call, each, scope_id)), asked)


def get_rate_limit(call: Call) -> Answer:
    """`GET /rateLimits/{endpointSetId}`."""
    endpoint_set = ENDPOINT_SETS.get(call.scope_id)
    if endpoint_set is None or not call.sim.rate_limits_served:
        return resource_not_found(call.path)
    asked = page_query(call.query)
    if isinstance(asked, Answer):
        return asked
    refusal = _refusal(call, asked.rest)
    if refusal is not None:
        return refusal
    scope, scope_id = _scope(asked.rest)
    return call.json(_document(call, endpoint_set, scope_id if scope == endpoint_set.scope else ""))


def _scope(query: Mapping[str, list[str]]) -> tuple[str, str]:
    """The one scope asked for, and its id; empty for none."""
    named = (name for name in _SCOPES if name in query)
    name = next(named, "")
    return (_SCOPES[name], query[name][0]) if name else ("", "")


def _refusal(call: Call, query: Mapping[str, list[str]]) -> Answer | None:
    """Why a scope may not be looked at: Read Only there, or oneself."""
    scope, scope_id = _scope(query)
    sim = call.sim
    if scope == "USER" and scope_id != call.account.name:
        return lacks_role()
    if scope == "GROUP":
        group = sim.groups.get(scope_id)
        if group is None:
            return group_not_found(scope_id)
        if sim.may(call.account, group.org_id, scope_id) < Access.READ:
            return lacks_role()
    if scope == "ORGANIZATION" and sim.may(call.account, scope_id, scope_id) < Access.READ:
        return lacks_role()
    return None


def _document(call: Call, endpoint_set: EndpointSet, scope_id: str) -> Json:
    holds = call.sim.throttling.limits(endpoint_set, scope_id)
    endpoints: Json = [{"method": method, "path": path} for method, path in endpoint_set.endpoints]
    return {
        "capacity": _figure(holds.capacity, endpoint_set.capacity),
        "endpointSetId": endpoint_set.id,
        "endpointSetName": endpoint_set.name,
        "endpoints": endpoints,
        "refillDurationSeconds": _figure(round(holds.period_s), endpoint_set.period_s),
        "refillRate": _figure(holds.refill, endpoint_set.refill),
        "scope": endpoint_set.scope,
    }


def _figure(value: int, default: int) -> Json:
    """The default is told only where another value holds."""
    return {"value": value} if value == default else {"defaultValue": default, "value": value}
