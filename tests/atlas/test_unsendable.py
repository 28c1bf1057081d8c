"""No other media type for users, and no listing without statuses, by any public way."""

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
ALL = sorted(ENDPOINTS, key=lambda each: (each.template, each.method, each.query))
USERS = [each for each in ALL if "/users" in each.template]
LISTINGS = [each for each in USERS if each.paged]
MEDIA = (
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


def ids_of(operation):
    return [ID] * operation.template.count("{}")


def page_of(operation):
    return 1 if operation.paged else None


def by_hand(operation, path):
    return Request(operation, path, BucketKey(operation.endpoint_set, ID))


def forgeries():
    """Operations like ours that ask in another version, or without the statuses."""
    yield from (replace(one, media_type=media) for one, media in product(USERS, MEDIA))
    yield from (replace(one, query=query) for one, query in product(LISTINGS, QUERIES))


@pytest.mark.parametrize("forged", list(forgeries()))
async def test_forged_operation_cannot_be_sent_by_any_public_function(online, sim, forged):
    ids, page = ids_of(forged), page_of(forged)
    true_path = f"{forged.template.format(*ids)}?{forged.query}&pageNum=1"
    with pytest.raises(InvalidRequest):
        build_path(forged, *ids, page=page)
    with pytest.raises(InvalidRequest):
        build_request(forged, *ids, scope_id=ID, page=page)
    assert not is_valid_path(forged, true_path)
    async with online() as atlas:
        for send in (atlas._transport.send, atlas._transport.send_once):
            with pytest.raises(InvalidRequest):
                await send(by_hand(forged, true_path))
    assert not sim.requests


@pytest.mark.parametrize(
    ("operation", "query"),
    [
        (one, query)
        for one, query in product(USERS, [*QUERIES, "pageNum=1"])
        if query or one.query  # a deletion's own has none
    ],
)
async def test_true_operation_with_another_query_is_not_sent(online, sim, operation, query):
    bare = operation.template.format(*ids_of(operation))
    path = f"{bare}?{query}" if query else bare
    async with online() as atlas:
        with pytest.raises(InvalidRequest):
            await atlas._transport.send(by_hand(operation, path))
        with pytest.raises(InvalidRequest):
            await atlas._transport.send(
                build_request(
                    operation, *ids_of(operation), scope_id=ID, page=page_of(operation)
                )._replace(path=path)
            )
    assert not sim.requests


@pytest.mark.parametrize("tail", ["\n", "#x", "&x=1", "/", "%0a", "?"])
@pytest.mark.parametrize("operation", USERS)
def test_nothing_may_follow_what_is_pinned(operation, tail):
    path = build_path(operation, *ids_of(operation), page=page_of(operation))
    assert is_valid_path(operation, path)
    assert not is_valid_path(operation, path + tail)


@pytest.mark.parametrize("operation", ALL)
def test_an_operation_cannot_be_changed(operation):
    with pytest.raises(FrozenInstanceError):
        operation.media_type = "application/json"


def test_every_listing_of_users_names_its_statuses_and_those_that_are_swept_not_the_active():
    assert {each.query.count("orgMembershipStatuses=") for each in LISTINGS} == {2, 3}
    for one in (endpoints.LIST_GROUP_USERS, endpoints.LIST_ORG_USERS):
        told = [p for p in one.query.split("&") if p.startswith("orgMembershipStatuses=")]
        assert told == [
            "orgMembershipStatuses=PENDING",
            "orgMembershipStatuses=INVITATION_EXPIRED",
            "orgMembershipStatuses=INVITATION_REJECTED",
        ]
