import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.atlas.endpoints import (
    DELETE_GROUP_INVITE,
    ENDPOINTS,
    LIST_GROUP_INVITES,
    LIST_GROUPS,
    LIST_RATE_LIMITS,
    Endpoint,
    InvalidRequest,
    build_path,
)
from invite_sweeper.atlas.http import is_loopback, parse_base_url
from invite_sweeper.errors import UsageError

PROJECT, INVITATION = "6a793fd0c0eb9e7a177181d4", "6a793fd52c88faeba59bd5d0"
SPEC = Path(__file__).parents[2].parent / "shared" / "atlas-openapi.json"


def test_the_paths_are_the_three_that_the_program_needs():
    assert build_path(LIST_GROUPS, page=2) == (
        "/api/atlas/v2/groups?itemsPerPage=500&includeCount=false&pageNum=2"
    )
    assert build_path(LIST_GROUP_INVITES, PROJECT) == f"/api/atlas/v2/groups/{PROJECT}/invites"
    assert build_path(DELETE_GROUP_INVITE, PROJECT, INVITATION) == (
        f"/api/atlas/v2/groups/{PROJECT}/invites/{INVITATION}"
    )


@pytest.mark.parametrize(
    "wrong",
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
def test_an_id_of_a_wrong_form_makes_no_path(wrong):
    with pytest.raises(InvalidRequest):
        build_path(LIST_GROUP_INVITES, wrong)
    with pytest.raises(InvalidRequest):
        build_path(DELETE_GROUP_INVITE, wrong, INVITATION)
    with pytest.raises(InvalidRequest):
        build_path(DELETE_GROUP_INVITE, PROJECT, wrong)


@given(st.text())
def test_no_text_but_an_id_ever_makes_a_path(text):
    try:
        path = build_path(DELETE_GROUP_INVITE, PROJECT, text)
    except InvalidRequest:
        return
    assert len(text) == 24
    assert set(text) <= set("0123456789abcdef")
    assert path == f"/api/atlas/v2/groups/{PROJECT}/invites/{text}"


@pytest.mark.parametrize(
    ("operation", "ids", "page"),
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
def test_too_few_or_too_many_parts_make_no_path(operation, ids, page):
    with pytest.raises(InvalidRequest):
        build_path(operation, *ids, page=page)


def test_an_operation_of_somebodys_own_making_cannot_be_sent():
    homemade = Endpoint("DELETE", "/api/atlas/v2/groups/{}", LIST_GROUPS.media_type, "any")

    with pytest.raises(InvalidRequest):
        build_path(homemade, PROJECT)


def test_the_only_deletions_are_those_of_the_four_lists():
    assert sorted(o.template for o in ENDPOINTS if o.method == "DELETE") == [
        "/api/atlas/v2/groups/{}/invites/{}",
        "/api/atlas/v2/groups/{}/users/{}",
        "/api/atlas/v2/orgs/{}/invites/{}",
        "/api/atlas/v2/orgs/{}/users/{}",
    ]


def test_the_versions_are_pinned_and_nothing_about_users_is_asked_in_the_older_one():
    users = {o for o in ENDPOINTS if "/users" in o.template}
    assert len(users) >= 6
    assert {o.media_type for o in users} == {"application/vnd.atlas.2025-02-19+json"}
    limits = {o for o in ENDPOINTS if "/rateLimits" in o.template}
    assert LIST_RATE_LIMITS in limits
    assert {o.media_type for o in limits} == {"application/vnd.atlas.2025-03-12+json"}
    assert {o.media_type for o in ENDPOINTS - users - limits} == {
        "application/vnd.atlas.2023-01-01+json"
    }


@pytest.mark.skipif(not SPEC.exists(), reason="the OpenAPI document is not beside the checkout")
@pytest.mark.parametrize("operation", sorted(ENDPOINTS, key=lambda o: o.template + o.method))
def test_every_operation_stands_in_atlas_own_document(operation):
    paths = json.loads(SPEC.read_text())["paths"]
    known = {
        "/".join("{}" if part.startswith("{") else part for part in path.split("/")): verbs
        for path, verbs in paths.items()
    }
    path, _, scope = operation.template.partition("?")
    described = known[path][operation.method.lower()]
    answers = [answer for status, answer in described["responses"].items() if status[0] == "2"]
    names = {parameter.get("name") for parameter in described["parameters"]} | {
        parameter["$ref"].rsplit("/", 1)[-1]
        for parameter in described["parameters"]
        if "$ref" in parameter
    }

    assert any(operation.media_type in answer.get("content", {}) for answer in answers)
    for parameter in filter(None, [*operation.query.split("&"), *scope.split("&")]):
        assert parameter.split("=")[0] in names
    assert not operation.paged or "pageNum" in names


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
def test_an_https_address_is_taken_without_its_last_slash(text, base):
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
def test_an_address_that_could_lead_elsewhere_is_refused(text):
    with pytest.raises(UsageError):
        parse_base_url(text)


@pytest.mark.parametrize("text", ["https://ada:hush@example.com", "https://hush@example.com"])
def test_a_user_name_in_the_address_is_refused_and_not_repeated(text):
    with pytest.raises(UsageError) as caught:
        parse_base_url(text)

    assert "hush" not in str(caught.value)


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
def test_loopback_is_known_by_its_very_name(host, expected):
    assert is_loopback(host) is expected
