import json
from datetime import UTC, datetime

import pytest
from builders import ORG, PROJECT, object_id, project
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.atlas.lists import parse_group_invitation
from invite_sweeper.atlas.parsing import (
    InvalidResponse,
    parse_array,
    parse_page,
    parse_project,
    parse_timestamp,
)
from invite_sweeper.models import Invitation, ListUnreadable, Project, Source, UnreadableDate

ALPHA = project(1, name="Alpha Team")
INVITATION = {
    "createdAt": "2026-08-10T03:04:53Z",
    "expiresAt": "2026-09-09T03:04:53Z",
    "groupId": ALPHA.id,
    "groupName": "another name",
    "id": object_id(7),
    "inviterUsername": "nmtxqlkl",
    "roles": ["GROUP_READ_ONLY", "ORG_OWNER", "A_NEW_ONE"],
    "username": "Ada@example.com",
}


def parse_invitations(body):
    return parse_array(body, lambda item: parse_group_invitation(item, ALPHA)).rows


def parse(*items):
    return parse_invitations(json.dumps(items).encode())


def test_invitation_has_the_listed_values_and_the_requested_project():
    assert parse(INVITATION) == (
        Invitation(
            id=object_id(7),
            project_id=ALPHA.id,
            project_name="Alpha Team",
            org_id=ORG,
            username="Ada@example.com",
            roles=("GROUP_READ_ONLY", "ORG_OWNER", "A_NEW_ONE"),
            inviter="nmtxqlkl",
            created_at=datetime(2026, 8, 10, 3, 4, 53, tzinfo=UTC),
            expires_at=datetime(2026, 9, 9, 3, 4, 53, tzinfo=UTC),
            source=Source.INVITES,
            status="PENDING",
        ),
    )


def test_invitations_are_in_the_order_of_atlas_and_a_list_may_be_empty():
    assert [i.id for i in parse({**INVITATION, "id": object_id(9)}, INVITATION)] == [
        object_id(9),
        object_id(7),
    ]
    assert parse() == ()


def test_fields_are_optional_and_unknown_ones_are_ignored():
    (bare,) = parse({"links": [], "surprise": {"a": [1]}})

    assert (bare.id, bare.username, bare.inviter, bare.roles) == ("", None, None, ())
    assert (bare.created_at, bare.expires_at) == (None, None)


def test_null_is_the_same_as_missing():
    assert parse(dict.fromkeys(INVITATION)) == parse({})


def test_field_of_a_wrong_type_is_ignored_and_the_list_is_still_valid():
    odd = {
        "id": 7,
        "username": ["ada"],
        "inviterUsername": {},
        "roles": "GROUP_OWNER",
        "createdAt": 1754795093,
        "expiresAt": True,
    }

    invalid, valid = parse(odd, INVITATION)

    assert (invalid.id, invalid.username, invalid.inviter, invalid.roles) == ("", None, None, ())
    assert invalid.created_at == UnreadableDate("1754795093")
    assert invalid.expires_at == UnreadableDate("true")
    assert valid.id == object_id(7)


def test_roles_that_are_not_strings_are_left_out():
    assert parse({**INVITATION, "roles": ["GROUP_OWNER", None, 3]})[0].roles == ("GROUP_OWNER",)


def test_rows_of_a_list_include_an_id_listed_twice():
    assert len(parse(INVITATION, INVITATION, {"id": object_id(2)})) == 3


def test_id_listed_twice_with_different_contents_makes_the_list_invalid():
    with pytest.raises(InvalidResponse, match="twice"):
        parse(INVITATION, {**INVITATION, "createdAt": "2020-01-01T00:00:00Z"})


def test_invitations_without_an_id_are_not_merged():
    assert len(parse({}, {})) == 2


def test_invitation_to_another_project_makes_the_list_invalid():
    with pytest.raises(InvalidResponse, match="another project"):
        parse(INVITATION, {**INVITATION, "groupId": object_id(2)})
    with pytest.raises(InvalidResponse):
        parse({**INVITATION, "groupId": 1})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b'{"results":[]}',
        b"[1]",
        b'["x"]',
        b"[null]",
        b"[[]]",
        b'[{"id":"',
        b"<html></html>",
        b"\xff",
        b"NaN",
        b'[{"age":Infinity}]',
        b'[{"username":"\\ud800"}]',
        b"\xef\xbb\xbf[]",
        b"[" * 2000,
    ],
)
def test_incomplete_or_malformed_list_is_invalid(body):
    with pytest.raises(InvalidResponse):
        parse_invitations(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_invitations_or_invalid(body):
    try:
        found = parse_invitations(body)
    except InvalidResponse:
        return
    assert all(isinstance(item, Invitation) for item in found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(INVITATION, JSON)), max_size=3))
def test_any_values_in_the_fields_are_parsed_or_the_list_is_invalid(items):
    try:
        found = parse(*items)
    except InvalidResponse:
        return
    assert all(item.project_id == ALPHA.id and isinstance(item.id, str) for item in found)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("2026-08-10T03:04:53Z", datetime(2026, 8, 10, 3, 4, 53, tzinfo=UTC)),
        ("2026-08-10T03:04:53.250Z", datetime(2026, 8, 10, 3, 4, 53, 250000, tzinfo=UTC)),
        ("2026-08-10T05:04:53+02:00", datetime(2026, 8, 10, 3, 4, 53, tzinfo=UTC)),
        ("2026-08-09T23:04:53-0400", datetime(2026, 8, 10, 3, 4, 53, tzinfo=UTC)),
        (None, None),
        ("", UnreadableDate("")),
        ("2026-08-10T03:04:53", UnreadableDate("2026-08-10T03:04:53")),
        ("2026-08-10", UnreadableDate("2026-08-10")),
        ("yesterday", UnreadableDate("yesterday")),
        ("2026-02-30T00:00:00Z", UnreadableDate("2026-02-30T00:00:00Z")),
        ("0001-01-01T00:00:00+14:00", UnreadableDate("0001-01-01T00:00:00+14:00")),
        ("9999-12-31T23:59:59-14:00", UnreadableDate("9999-12-31T23:59:59-14:00")),
        (1754795093, UnreadableDate("1754795093")),
        ({"$date": 1}, UnreadableDate('{"$date":1}')),
        ("x" * 500, UnreadableDate("x" * 200)),
    ],
)
def test_date_is_a_timestamp_or_unreadable_and_never_guessed(sent, expected):
    assert parse_timestamp(sent) == expected


def test_page_has_a_next_page_only_if_it_has_a_next_link():
    page = {
        "results": [{"id": "a"}],
        "totalCount": 1,
        "links": [
            {"rel": "self", "href": "x"},
            {"rel": "next", "href": "https://evil.example.com"},
        ],
    }

    def has_next(page):
        return parse_page(json.dumps(page).encode(), dict).has_next

    assert has_next(page)
    assert not has_next({**page, "links": []})
    assert not has_next({"results": [], "totalCount": 900})
    assert not has_next({"results": [], "links": None})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"results":null}',
        b'{"results":{}}',
        b'{"results":[1]}',
        b'{"results":[],"links":{}}',
        b'{"results":[],"links":["next"]}',
        b'{"results":[{"id":"a"}],"li',
    ],
)
def test_malformed_page_is_invalid(body):
    with pytest.raises(InvalidResponse):
        parse_page(body, dict)


def test_project_is_parsed_with_its_tags_in_order():
    item = {
        "id": PROJECT,
        "name": "Atlas CLI E2E",
        "orgId": ORG,
        "tags": [{"key": "env", "value": "prod"}, {"key": "a", "value": "b"}],
    }

    assert parse_project(item) == Project(
        PROJECT, "Atlas CLI E2E", ORG, (("env", "prod"), ("a", "b"))
    )


@pytest.mark.parametrize(
    "tags", [None, {}, "env", [None, {"key": "env"}, {"key": 1, "value": "x"}]]
)
def test_malformed_tags_are_ignored(tags):
    item = {"id": PROJECT, "name": "A", "orgId": ORG, "tags": tags}

    assert parse_project(item) == Project(PROJECT, "A", ORG)


@pytest.mark.parametrize(
    "group_id", [None, "", 7, PROJECT.upper(), PROJECT + "\n", "../" + PROJECT]
)
def test_project_with_a_malformed_id_is_unreadable(group_id):
    found = parse_project({"id": group_id, "name": "Odd One", "orgId": ORG})

    assert isinstance(found, ListUnreadable)
    assert found.project_name == "Odd One"
    assert "id" in found.reason


@pytest.mark.parametrize("missing", ["name", "orgId"])
@pytest.mark.parametrize("value", [None, "", 5])
def test_project_without_name_or_organization_is_invalid(missing, value):
    with pytest.raises(InvalidResponse):
        parse_project({"id": PROJECT, "name": "A", "orgId": ORG, missing: value})
