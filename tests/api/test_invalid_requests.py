"""Requests that are refused: another API version, or a list of users without statuses."""

from dataclasses import FrozenInstanceError, replace
from itertools import product

import pytest

from invite_sweeper.atlas import endpoints
from invite_sweeper.atlas.endpoints import (
    ENDPOINTS,
    InvalidRequest,
    Request,
    build_path,
    build_request,
    is_valid_path,
)
from invite_sweeper.atlas.rate_limits import BucketKey

ID = "6a793fd0c0eb9e7a177181d4"
ALL_ENDPOINTS = sorted(ENDPOINTS, key=lambda each: (each.template, each.method, each.query))
USERS = [each for each in ALL_ENDPOINTS if "/users" in each.template]
LISTINGS = [each for each in USERS if each.paged]
MEDIA_TYPES = (
    "application/vnd.atlas.2023-01-01+json",
    "application/vnd.atlas.2025-03-12+json",
    "application/json",
    "*/*",
    "",
)
QUERIES = (
    "",
    "itemsPerPage=500&includeCount=false",
    "orgMembershipStatus=PENDING&itemsPerPage=500",
    "orgMembershipStatuses=ACTIVE&itemsPerPage=500",
)


def ids_of(endpoint):
    return [ID] * endpoint.template.count("{}")


def page_of(endpoint):
    return 1 if endpoint.paged else None


def unchecked_request(endpoint, path):
    return Request(endpoint, path, BucketKey(endpoint.endpoint_set, ID))


def modified_endpoints():
    """Yield endpoints with another API version, or without the statuses."""
    yield from (
        replace(endpoint, media_type=media) for endpoint, media in product(USERS, MEDIA_TYPES)
    )
    yield from (replace(endpoint, query=query) for endpoint, query in product(LISTINGS, QUERIES))


@pytest.mark.parametrize("modified", list(modified_endpoints()))
async def test_modified_endpoint_is_refused_by_every_public_function(online, sim, modified):
    ids, page = ids_of(modified), page_of(modified)
    path = f"{modified.template.format(*ids)}?{modified.query}&pageNum=1"
    with pytest.raises(InvalidRequest):
        build_path(modified, *ids, page=page)
    with pytest.raises(InvalidRequest):
        build_request(modified, *ids, scope_id=ID, page=page)
    assert not is_valid_path(modified, path)
    async with online() as atlas:
        for send in (atlas._transport.send, atlas._transport.send_once):
            with pytest.raises(InvalidRequest):
                await send(unchecked_request(modified, path))
    assert not sim.requests


@pytest.mark.parametrize(
    ("endpoint", "query"),
    [
        (endpoint, query)
        for endpoint, query in product(USERS, [*QUERIES, "pageNum=1"])
        if query or endpoint.query  # the query of a DELETE is empty
    ],
)
async def test_endpoint_with_another_query_is_not_sent(online, sim, endpoint, query):
    without_query = endpoint.template.format(*ids_of(endpoint))
    path = f"{without_query}?{query}" if query else without_query
    async with online() as atlas:
        with pytest.raises(InvalidRequest):
            await atlas._transport.send(unchecked_request(endpoint, path))
        with pytest.raises(InvalidRequest):
            await atlas._transport.send(
                build_request(
                    endpoint, *ids_of(endpoint), scope_id=ID, page=page_of(endpoint)
                )._replace(path=path)
            )
    assert not sim.requests


@pytest.mark.parametrize("tail", ["\n", "#x", "&x=1", "/", "%0a", "?"])
@pytest.mark.parametrize("endpoint", USERS)
def test_path_with_anything_appended_is_refused(endpoint, tail):
    path = build_path(endpoint, *ids_of(endpoint), page=page_of(endpoint))
    assert is_valid_path(endpoint, path)
    assert not is_valid_path(endpoint, path + tail)


@pytest.mark.parametrize("endpoint", ALL_ENDPOINTS)
def test_endpoint_is_immutable(endpoint):
    with pytest.raises(FrozenInstanceError):
        endpoint.media_type = "application/json"


def test_lists_of_users_name_their_statuses_and_swept_lists_exclude_active_users():
    assert {each.query.count("orgMembershipStatuses=") for each in LISTINGS} == {1, 2, 3}
    for endpoint in (endpoints.LIST_GROUP_USERS, endpoints.LIST_ORG_USERS):
        statuses = [p for p in endpoint.query.split("&") if p.startswith("orgMembershipStatuses=")]
        assert statuses == [
            "orgMembershipStatuses=PENDING",
            "orgMembershipStatuses=INVITATION_EXPIRED",
            "orgMembershipStatuses=INVITATION_REJECTED",
        ]
