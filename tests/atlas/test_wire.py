import json
from datetime import UTC, datetime

import pytest
from builders import ORG, PROJECT, object_id, project
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.atlas.parsing import (
    InvalidResponse,
    parse_advertised_limit,
    parse_invitations,
    parse_page,
    parse_project,
    parse_timestamp,
)
from invite_sweeper.atlas.rate_limits import AdvertisedLimit, BucketLimit
from invite_sweeper.models import Invitation, ListUnreadable, Project, Source, UnreadableDate

ALPHA = project(1, name="Alpha Team")
ONE = {
    "createdAt": "2026-08-10T03:04:53Z",
    "expiresAt": "2026-09-09T03:04:53Z",
    "groupId": ALPHA.id,
    "groupName": "another name",
    "id": object_id(7),
    "inviterUsername": "nmtxqlkl",
    "roles": ["GROUP_READ_ONLY", "ORG_OWNER", "A_NEW_ONE"],
    "username": "Ada@example.com",
}


def read(*items):
    return parse_invitations(json.dumps(items).encode(), ALPHA)


def test_an_invitation_is_read_as_it_is_written_and_its_project_as_it_was_asked():
    assert read(ONE) == (
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


def test_the_order_is_atlas_and_an_empty_list_is_empty():
    assert [i.id for i in read({**ONE, "id": object_id(9)}, ONE)] == [object_id(9), object_id(7)]
    assert read() == ()


def test_no_field_is_required_and_unknown_ones_do_no_harm():
    (bare,) = read({"links": [], "surprise": {"a": [1]}})

    assert (bare.id, bare.username, bare.inviter, bare.roles) == ("", None, None, ())
    assert (bare.created_at, bare.expires_at) == (None, None)


def test_nulls_are_as_if_left_out():
    assert read(dict.fromkeys(ONE)) == read({})


def test_a_field_of_a_wrong_type_spoils_itself_and_not_the_list():
    odd = {
        "id": 7,
        "username": ["ada"],
        "inviterUsername": {},
        "roles": "GROUP_OWNER",
        "createdAt": 1754795093,
        "expiresAt": True,
    }

    spoilt, sound = read(odd, ONE)

    assert (spoilt.id, spoilt.username, spoilt.inviter, spoilt.roles) == ("", None, None, ())
    assert spoilt.created_at == UnreadableDate("1754795093")
    assert spoilt.expires_at == UnreadableDate("true")
    assert sound.id == object_id(7)


def test_roles_that_are_no_text_are_left_out():
    assert read({**ONE, "roles": ["GROUP_OWNER", None, 3]})[0].roles == ("GROUP_OWNER",)


def test_an_id_listed_twice_is_one_invitation():
    assert len(read(ONE, ONE)) == 1


def test_an_id_listed_twice_with_different_contents_makes_the_list_unreadable():
    with pytest.raises(InvalidResponse, match="twice"):
        read(ONE, {**ONE, "createdAt": "2020-01-01T00:00:00Z"})


def test_invitations_without_an_id_are_each_their_own():
    assert len(read({}, {})) == 2


def test_an_invitation_to_another_project_makes_the_list_unreadable():
    with pytest.raises(InvalidResponse, match="another project"):
        read(ONE, {**ONE, "groupId": object_id(2)})
    with pytest.raises(InvalidResponse):
        read({**ONE, "groupId": 1})


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
        b"[" * 2000,
    ],
)
def test_half_a_list_is_not_a_list(body):
    with pytest.raises(InvalidResponse):
        parse_invitations(body, ALPHA)


@given(st.binary(max_size=200))
def test_any_bytes_are_invitations_or_nonsense(body):
    try:
        found = parse_invitations(body, ALPHA)
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


@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(ONE, JSON)), max_size=3))
def test_whatever_stands_in_the_fields_is_read_or_refused_as_a_whole(items):
    try:
        found = read(*items)
    except InvalidResponse:
        return
    assert all(item.project_id == ALPHA.id and isinstance(item.id, str) for item in found)


@pytest.mark.parametrize(
    ("sent", "read_as"),
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
def test_a_date_is_an_instant_or_unreadable_and_never_guessed(sent, read_as):
    assert parse_timestamp(sent) == read_as


def test_a_page_says_whether_there_is_a_next_one_by_its_link_alone():
    page = {
        "results": [{"id": "a"}],
        "totalCount": 1,
        "links": [
            {"rel": "self", "href": "x"},
            {"rel": "next", "href": "https://evil.example.com"},
        ],
    }

    assert parse_page(json.dumps(page).encode()).has_next
    assert not parse_page(json.dumps({**page, "links": []}).encode()).has_next
    assert not parse_page(json.dumps({"results": [], "totalCount": 900}).encode()).has_next
    assert not parse_page(b'{"results":[],"links":null}').has_next


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
def test_a_page_that_makes_no_sense_is_refused_whole(body):
    with pytest.raises(InvalidResponse):
        parse_page(body)


def test_a_project_is_read_with_its_tags_in_their_order():
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
def test_tags_that_make_no_sense_are_no_tags(tags):
    item = {"id": PROJECT, "name": "A", "orgId": ORG, "tags": tags}

    assert parse_project(item) == Project(PROJECT, "A", ORG)


@pytest.mark.parametrize(
    "group_id", [None, "", 7, PROJECT.upper(), PROJECT + "\n", "../" + PROJECT]
)
def test_a_project_whose_id_has_a_wrong_form_is_told_as_unreadable(group_id):
    found = parse_project({"id": group_id, "name": "Odd One", "orgId": ORG})

    assert isinstance(found, ListUnreadable)
    assert found.project_name == "Odd One"
    assert "id" in found.reason


@pytest.mark.parametrize("missing", ["name", "orgId"])
@pytest.mark.parametrize("value", [None, "", 5])
def test_a_project_without_a_name_or_organization_is_nonsense(missing, value):
    with pytest.raises(InvalidResponse):
        parse_project({"id": PROJECT, "name": "A", "orgId": ORG, missing: value})


RATE = {
    "endpointSetId": "projects_group",
    "endpointSetName": "Projects",
    "scope": "GROUP",
    "capacity": {"value": 60, "defaultValue": 1200},
    "refillRate": {"value": 30, "defaultValue": 500},
    "refillDurationSeconds": {"value": 2, "defaultValue": 60},
}


def test_a_rate_limit_is_the_one_in_force_and_not_the_default():
    assert parse_advertised_limit(RATE) == AdvertisedLimit(
        "projects_group", "GROUP", BucketLimit(60, 30, 2)
    )


def test_a_rate_limit_may_be_known_by_its_name():
    assert parse_advertised_limit({**RATE, "endpointSetId": None}).endpoint_set == "Projects"


@pytest.mark.parametrize(
    "change",
    [
        {"endpointSetId": None, "endpointSetName": None},
        {"scope": 1},
        {"capacity": None},
        {"capacity": 60},
        {"refillRate": {"value": "x"}},
        {"refillDurationSeconds": {}},
    ],
)
def test_a_rate_limit_that_says_too_little_is_none(change):
    assert parse_advertised_limit({**RATE, **change}) is None
