"""Paths of the client: only known endpoints, versions and queries, with well-formed ids."""

from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec import structs

from invite_sweeper.atlas import endpoints
from invite_sweeper.atlas.endpoints import (
    DELETE_GROUP_INVITE,
    ENDPOINTS,
    FETCH_TOKEN,
    GET_SERVICE_ACCOUNT,
    LIST_GROUP_INVITES,
    LIST_GROUPS,
    REMOVE_GROUP_USER,
    REVOKE_TOKEN,
    Endpoint,
    InvalidRequest,
    build_path,
)

PROJECT = "6a793fd0c0eb9e7a177181d4"
INVITATION = "6a793fd52c88faeba59bd5d0"
ALL = sorted(ENDPOINTS, key=lambda each: (each.template, each.method, each.query))
USERS = [each for each in ALL if "/users" in each.template]
LISTS_OF_USERS = [each for each in USERS if each.paged]


MALFORMED = (
    *("", " ", "..", "/", "*", PROJECT.upper(), PROJECT[:-1], PROJECT + "0", f"{PROJECT}?x=1"),
    *(PROJECT + "\n", "\n" + PROJECT, "%36" + PROJECT[3:]),
    *(PROJECT[:-1] + each for each in "/g\u0661"),
)


@pytest.mark.parametrize("malformed_id", MALFORMED)
def test_malformed_id_is_refused_at_every_place_of_every_endpoint(malformed_id):
    for endpoint in ALL:
        page = 1 if endpoint.paged else None
        ids = [PROJECT] * endpoint.template.count("{}")
        named = {"username": "ada@example.com"} if endpoint.by_username else {}
        assert build_path(endpoint, *ids, page=page, **named)
        for place in range(len(ids)):
            changed = (*ids[:place], malformed_id, *ids[place + 1 :])
            with pytest.raises(InvalidRequest):
                build_path(endpoint, *changed, page=page, **named)


@pytest.mark.parametrize(
    ("endpoint", "ids", "page"),
    [
        (DELETE_GROUP_INVITE, (PROJECT,), None),
        (DELETE_GROUP_INVITE, (PROJECT, INVITATION, INVITATION), None),
        (LIST_GROUP_INVITES, (PROJECT,), 1),
        (LIST_GROUPS, (), None),
        (LIST_GROUPS, (), 0),
        (Endpoint("DELETE", "/api/atlas/v2/groups/{}", "*/*", endpoints.TOKENS), (PROJECT,), None),
        (structs.replace(REMOVE_GROUP_USER, media_type=""), (PROJECT, INVITATION), None),
        (structs.replace(endpoints.LIST_ORG_USERS, query=""), (PROJECT,), 1),
    ],
)
def test_wrong_number_of_ids_wrong_page_or_unknown_endpoint_is_refused(endpoint, ids, page):
    with pytest.raises(InvalidRequest):
        build_path(endpoint, *ids, page=page)


@pytest.mark.parametrize("username", [None, ""])
def test_name_is_needed_where_an_endpoint_takes_one_and_refused_elsewhere(username):
    with pytest.raises(InvalidRequest):
        build_path(endpoints.FIND_ORG_ACTIVE_MEMBER, PROJECT, page=1, username=username)
    with pytest.raises(InvalidRequest):
        build_path(endpoints.LIST_ORG_USERS, PROJECT, page=1, username="ada@example.com")


def test_name_cannot_add_a_parameter():
    name = "a+b&orgMembershipStatuses=PENDING#@x.org/../"
    _, encoded = build_path(endpoints.FIND_ORG_ACTIVE_MEMBER, PROJECT, page=1, username=name)
    query = parse_qs(urlsplit(f"?{encoded}").query)
    assert (query["username"], query["orgMembershipStatuses"]) == ([name], ["ACTIVE"])


def test_only_deletions_are_those_of_the_four_lists():
    assert sorted(o.template for o in ENDPOINTS if o.method == "DELETE") == [
        "/api/atlas/v2/groups/{}/invites/{}",
        "/api/atlas/v2/groups/{}/users/{}",
        "/api/atlas/v2/orgs/{}/invites/{}",
        "/api/atlas/v2/orgs/{}/users/{}",
    ]


def test_versions_are_pinned_and_users_endpoints_use_only_2025_02_19():
    assert len(USERS) >= 6
    assert {o.media_type for o in USERS} == {"application/vnd.atlas.2025-02-19+json"}
    assert GET_SERVICE_ACCOUNT.media_type == "application/vnd.atlas.2024-08-05+json"
    others = ENDPOINTS - {*USERS, GET_SERVICE_ACCOUNT, FETCH_TOKEN, REVOKE_TOKEN}
    assert {o.media_type for o in others} == {"application/vnd.atlas.2023-01-01+json"}


def test_lists_of_users_name_their_statuses_and_swept_lists_exclude_active_users():
    assert {each.query.count("orgMembershipStatuses=") for each in LISTS_OF_USERS} == {1, 3, 4}
    for endpoint in (endpoints.LIST_GROUP_USERS, endpoints.LIST_ORG_USERS):
        assert parse_qs(endpoint.query)["orgMembershipStatuses"] == [
            *("PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED")
        ]
