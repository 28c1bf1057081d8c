import pytest
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.atlas.endpoints import (
    DELETE_GROUP_INVITE,
    ENDPOINTS,
    GET_SERVICE_ACCOUNT,
    LIST_GROUP_INVITES,
    LIST_GROUPS,
    Endpoint,
    InvalidRequest,
    build_path,
)
from invite_sweeper.atlas.http import is_loopback, parse_base_url
from invite_sweeper.errors import UsageError

PROJECT, INVITATION = "6a793fd0c0eb9e7a177181d4", "6a793fd52c88faeba59bd5d0"


def test_paths_of_the_endpoints_are_exactly_these():
    assert build_path(LIST_GROUPS, page=2) == (
        "/api/atlas/v2/groups?itemsPerPage=500&includeCount=false&pageNum=2"
    )
    assert build_path(LIST_GROUP_INVITES, PROJECT) == f"/api/atlas/v2/groups/{PROJECT}/invites"
    assert build_path(DELETE_GROUP_INVITE, PROJECT, INVITATION) == (
        f"/api/atlas/v2/groups/{PROJECT}/invites/{INVITATION}"
    )


@pytest.mark.parametrize(
    "malformed_id",
    [
        "",
        " ",
        ".",
        "..",
        "/",
        "*",
        PROJECT.upper(),
        PROJECT[:-1],
        PROJECT + "0",
        PROJECT + "\n",
        "\n" + PROJECT,
        PROJECT[:-1] + "/",
        PROJECT[:-1] + "g",
        PROJECT[:-1] + "\u0661",
        "%36" + PROJECT[3:],
    ],
)
def test_malformed_id_is_refused(malformed_id):
    with pytest.raises(InvalidRequest):
        build_path(LIST_GROUP_INVITES, malformed_id)
    with pytest.raises(InvalidRequest):
        build_path(DELETE_GROUP_INVITE, malformed_id, INVITATION)
    with pytest.raises(InvalidRequest):
        build_path(DELETE_GROUP_INVITE, PROJECT, malformed_id)


@given(st.text())
def test_path_is_built_only_for_an_id_of_24_lower_case_hex_digits(text):
    try:
        path = build_path(DELETE_GROUP_INVITE, PROJECT, text)
    except InvalidRequest:
        return
    assert len(text) == 24
    assert set(text) <= set("0123456789abcdef")
    assert path == f"/api/atlas/v2/groups/{PROJECT}/invites/{text}"


@pytest.mark.parametrize(
    ("endpoint", "ids", "page"),
    [
        (DELETE_GROUP_INVITE, (PROJECT,), None),
        (DELETE_GROUP_INVITE, (PROJECT, INVITATION, INVITATION), None),
        (LIST_GROUP_INVITES, (), None),
        (LIST_GROUP_INVITES, (PROJECT,), 1),
        (LIST_GROUPS, (), None),
        (LIST_GROUPS, (), 0),
        (LIST_GROUPS, (PROJECT,), 1),
    ],
)
def test_wrong_number_of_ids_or_wrong_page_is_refused(endpoint, ids, page):
    with pytest.raises(InvalidRequest):
        build_path(endpoint, *ids, page=page)


def test_endpoint_that_is_not_registered_is_refused():
    unregistered = Endpoint("DELETE", "/api/atlas/v2/groups/{}", LIST_GROUPS.media_type, "any")

    with pytest.raises(InvalidRequest):
        build_path(unregistered, PROJECT)


def test_only_deletions_are_those_of_the_four_lists():
    assert sorted(o.template for o in ENDPOINTS if o.method == "DELETE") == [
        "/api/atlas/v2/groups/{}/invites/{}",
        "/api/atlas/v2/groups/{}/users/{}",
        "/api/atlas/v2/orgs/{}/invites/{}",
        "/api/atlas/v2/orgs/{}/users/{}",
    ]


def test_versions_are_pinned_and_users_endpoints_use_only_2025_02_19():
    users = {o for o in ENDPOINTS if "/users" in o.template}
    assert len(users) >= 6
    assert {o.media_type for o in users} == {"application/vnd.atlas.2025-02-19+json"}
    assert GET_SERVICE_ACCOUNT.media_type == "application/vnd.atlas.2024-08-05+json"
    assert {o.media_type for o in ENDPOINTS - users - {GET_SERVICE_ACCOUNT}} == {
        "application/vnd.atlas.2023-01-01+json"
    }


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("https://cloud.mongodb.com", "https://cloud.mongodb.com"),
        ("https://cloud.mongodb.com/", "https://cloud.mongodb.com"),
        (" https://cloud.mongodbgov.com// ", "https://cloud.mongodbgov.com"),
        ("https://gateway.example.com:8443/atlas/", "https://gateway.example.com:8443/atlas"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://localhost:1/", "http://localhost:1"),
        ("https://localhost", "https://localhost"),
    ],
)
def test_https_base_url_is_accepted_without_trailing_slashes(text, base):
    assert str(parse_base_url(text)) == base


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cloud.mongodb.com",
        "/api",
        "https://",
        "https:///api",
        "ftp://cloud.mongodb.com",
        "file:///etc/passwd",
        "http://cloud.mongodb.com",
        "http://localhost.example.com",
        "http://0.0.0.0",
        "http://127.0.0.1.example.com",
        "https://cloud.mongodb.com?x=1",
        "https://cloud.mongodb.com?",
        "https://cloud.mongodb.com#top",
        "https://cloud.mongodb.com:0",
        "https://cloud.mongodb.com:99999",
        "https://[::1",
    ],
)
def test_base_url_without_https_or_with_other_parts_is_refused(text):
    with pytest.raises(UsageError):
        parse_base_url(text)


@pytest.mark.parametrize("text", ["https://ada:secret@example.com", "https://secret@example.com"])
def test_user_name_in_the_base_url_is_refused_and_not_shown(text):
    with pytest.raises(UsageError) as caught:
        parse_base_url(text)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost.", False),
        ("10.0.0.1", False),
        ("::2", False),
    ],
)
def test_loopback_is_an_exact_host_name(host, expected):
    assert is_loopback(host) is expected
