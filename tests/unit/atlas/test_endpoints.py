"""Paths of the client: only known endpoints, versions and queries, with well-formed ids."""

from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec import structs
from reviewed import assert_reviewed

from invite_sweeper.atlas import endpoints
from invite_sweeper.atlas.endpoints import (
    DELETE_GROUP_INVITE,
    ENDPOINTS,
    LIST_GROUP_INVITES,
    LIST_GROUPS,
    REMOVE_GROUP_USER,
    SOURCES,
    Endpoint,
    InvalidRequest,
    build_path,
)

PROJECT = "6a793fd0c0eb9e7a177181d4"
INVITATION = "6a793fd52c88faeba59bd5d0"
ALL = sorted(ENDPOINTS, key=lambda each: (each.template, each.method, each.query))


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


def described(endpoint):
    words = (endpoint.method, endpoint.template, endpoint.media_type, endpoint.query)
    return " ".join(words).rstrip()


def test_endpoints_are_those_that_were_reviewed():
    """Swept lists show no active users, and only the entries of the four lists are deleted."""
    lines = [described(each) for each in ALL]
    for source, api in SOURCES.items():
        lines += [f"== {source}", described(api.list), described(api.delete)]
    assert_reviewed("\n".join(lines), __file__, "endpoints.txt")
