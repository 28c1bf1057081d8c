"""Requests that are refused: another API version, or a list of users without statuses."""

from dataclasses import FrozenInstanceError, replace
from itertools import product

import pytest

from invite_sweeper.atlas import endpoints
from invite_sweeper.atlas.endpoints import (
    ENDPOINTS,
    InvalidRequest,
    build_path,
)
from invite_sweeper.models import DeletionProgress

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


def modified_endpoints():
    """Yield endpoints with another API version, or without the statuses."""
    yield from (
        replace(endpoint, media_type=media) for endpoint, media in product(USERS, MEDIA_TYPES)
    )
    yield from (replace(endpoint, query=query) for endpoint, query in product(LISTINGS, QUERIES))


@pytest.mark.parametrize("modified", list(modified_endpoints()))
async def test_modified_endpoint_is_refused_by_every_public_function(online, sim, modified):
    ids, page = ids_of(modified), page_of(modified)
    with pytest.raises(InvalidRequest):
        build_path(modified, *ids, page=page)
    async with online() as atlas:
        with pytest.raises(InvalidRequest):
            atlas.client.request(modified, *ids, page=page)
        with pytest.raises(InvalidRequest):
            await atlas.client.call(modified, *ids, page=page)
        with pytest.raises(InvalidRequest):
            await atlas.client.call_once(modified, *ids, progress=DeletionProgress(), body=b"")
    assert not sim.requests


@pytest.mark.parametrize("wrong", ["", "x" * 24, ID.upper(), f"{ID}/", f"{ID}?x=1", f"{ID}\n", "*"])
@pytest.mark.parametrize("endpoint", [each for each in ALL_ENDPOINTS if "{}" in each.template])
async def test_call_with_a_malformed_id_is_not_sent(online, sim, endpoint, wrong):
    ids = [*ids_of(endpoint)[1:], wrong]
    async with online() as atlas:
        with pytest.raises(InvalidRequest):
            await atlas.client.call(endpoint, *ids, page=page_of(endpoint))
    assert not sim.requests


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
