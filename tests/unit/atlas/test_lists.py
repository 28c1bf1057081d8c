"""Rows of Atlas's lists: optional fields, and values that make the whole list invalid."""

import json
from contextlib import suppress

import pytest
from builders import ORG, PROJECT, object_id
from deleting import place_of
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict
from multidict import CIMultiDict
from reviewed import assert_reviewed

from invite_sweeper.atlas.endpoints import SOURCES
from invite_sweeper.atlas.lists import InvitedRow, ListPage, MemberRow, ProjectRow, parse_object
from invite_sweeper.atlas.reader import AtlasReader, user_request
from invite_sweeper.atlas.responses import InvalidResponse, Response, parse_body
from invite_sweeper.errors import RunError
from invite_sweeper.models import ListUnreadable, Project, Source

USER = "6" * 24
TEAM = "7" * 24
INVITATION = {
    "createdAt": "2026-08-10T03:04:53Z",
    "expiresAt": "2026-09-09T03:04:53Z",
    "id": USER,
    "inviterUsername": "nmtxqlkl",
    "username": "Ada@example.com",
}
MEMBER = {
    "id": USER,
    "invitationCreatedAt": "2026-08-10T03:04:53Z",
    "invitationExpiresAt": "2026-09-09T03:04:53Z",
    "inviterUsername": "nmtxqlkl",
    "orgMembershipStatus": "INVITATION_EXPIRED",
    "username": "Ada@example.com",
}
ROLES = ["GROUP_READ_ONLY", "A_NEW_ONE"]
ROWS = {
    Source.INVITES: {**INVITATION, "groupId": PROJECT, "groupName": "other", "roles": ROLES},
    Source.ORG_INVITES: {
        **INVITATION,
        "orgId": ORG,
        "roles": ROLES,
        "groupRoleAssignments": [{"groupId": PROJECT, "groupRole": "GROUP_OWNER"}],
        "teamIds": [TEAM],
    },
    Source.USERS: {**MEMBER, "roles": ROLES},
    Source.ORG_USERS: {
        **MEMBER,
        "roles": {
            "orgRoles": ROLES,
            "groupRoleAssignments": [{"groupId": PROJECT, "groupRoles": ["GROUP_OWNER", "X"]}],
        },
        "teamIds": [TEAM],
    },
}


def parse(source, *rows):
    body = {"results": rows} if SOURCES[source].list.paged else rows
    return invitations_in(source, json.dumps(body).encode())


def invitations_in(source, body):
    if SOURCES[source].list.paged:
        rows = parse_object(body, ListPage[InvitedRow]).results
    else:
        rows = parse_object(body, list[InvitedRow])
    return [row.invitation(place_of(source, PROJECT), source) for row in rows]


def least_of(source):
    return {"roles": {}} if source is Source.ORG_USERS else {}


def in_organization(assignments, teams):
    """Return rows of the lists of an organization with other projects and teams."""
    return [
        (Source.ORG_USERS, {"id": USER, "roles": assignments, **teams}),
        (Source.ORG_INVITES, {"id": USER, **assignments, **teams}),
    ]


NO_PROJECT = {"groupRoleAssignments": []}
DATES = ("2026-08-10T05:04:53+02:00", "", "2026-08-10T03:04:53", "2026-08-10T03:04:53Z\0")
DATES += ("2026-08-10\x0003:04:53Z", "x" * 500)
READ = {
    "all fields": [(source, ROWS[source]) for source in Source],
    "fields are optional": [(source, least_of(source)) for source in Source],
    "and may be null": [
        (source, {**dict.fromkeys(ROWS[source]), **least_of(source)}) for source in Source
    ],
    "unknown ones are ignored": [
        (source, {**least_of(source), "surprise": {"a": [1]}}) for source in Source
    ],
    "a date is in UTC or as Atlas sent it, and never guessed": [
        (Source.INVITES, {"id": USER, "createdAt": date}) for date in DATES
    ],
    "an incomplete assignment counts as a project": [
        (Source.ORG_USERS, {**MEMBER, "roles": {"groupRoleAssignments": [each]}})
        for each in ({}, {"groupId": None}, {"groupId": PROJECT})
    ],
    "projects and teams": in_organization(NO_PROJECT, {"teamIds": [TEAM]}),
    "no assignments": in_organization({}, {"teamIds": []}),
    "null assignments": in_organization({"groupRoleAssignments": None}, {"teamIds": []}),
    "no teams": in_organization(NO_PROJECT, {}),
    "null teams": in_organization(NO_PROJECT, {"teamIds": None}),
    "a malformed team": in_organization(NO_PROJECT, {"teamIds": [TEAM, "X" * 24]}),
}


def test_rows_are_read_as_it_was_reviewed():
    """What is not known of the projects of a row is `links_out_of_scope`."""
    text = ""
    for name, rows in READ.items():
        text += f"== {name}\n"
        for source, row in rows:
            (found,) = parse(source, row)
            fields = {name: value for name, value in asdict(found).items() if value}
            text += f"{json.dumps(fields)}\n    sent at: {found.sent_at}\n"
    assert_reviewed(text, __file__, "rows.txt")


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("name", ["", " \t", "\u200b", "\u3164", "\ufe0f\U000e0041 ", "\x00"])
def test_name_of_which_nothing_is_visible_is_no_name(source, name):
    row = {**ROWS[source], "username": name, "inviterUsername": name}
    (found,) = parse(source, row)
    assert (found.username, found.inviter) == (None, None)
    (named,) = parse(source, {**row, "username": f"{name}a", "inviterUsername": f"{name}b"})
    assert (named.username, named.inviter) == (f"{name}a", f"{name}b")


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("name", ["a***@example.com", "***", "*@\u00e9.example"])
def test_masked_name_is_no_name_and_no_person_is_asked_for_or_invited_by_it(source, name):
    (found,) = parse(source, {**ROWS[source], "username": name, "inviterUsername": name})
    assert (found.username, found.inviter) == (None, None)
    assert found.invitation_id == USER


def test_list_of_members_with_a_masked_name_is_not_read():
    body = json.dumps([{"username": "a***@example.com", "orgMembershipStatus": "ACTIVE"}])
    with pytest.raises(InvalidResponse, match="a user has no username"):
        parse_object(body.encode(), list[MemberRow])


@pytest.mark.parametrize("source", Source)
def test_value_of_another_type_makes_the_list_invalid(source):
    for key in ROWS[source].keys() - {"groupName"}:
        for odd in (7, True, ["x", 7], "x" if key == "roles" else {"a": 1}):
            with pytest.raises(InvalidResponse):
                parse(source, ROWS[source], {**ROWS[source], key: odd})


@pytest.mark.parametrize("assignment", [[PROJECT], [None], [{"groupId": 5}], "", {}])
@pytest.mark.parametrize("source", [Source.ORG_INVITES, Source.ORG_USERS])
def test_unreadable_or_no_roles_in_projects_make_the_list_invalid(source, assignment):
    held = {"groupRoleAssignments": assignment}
    changes = {"roles": held} if source is Source.ORG_USERS else held
    with pytest.raises(InvalidResponse):
        parse(source, {**ROWS[source], **changes})
    with pytest.raises(InvalidResponse):
        parse(Source.ORG_USERS, MEMBER)


@pytest.mark.parametrize("source", [Source.INVITES, Source.ORG_INVITES])
def test_row_of_another_place_makes_the_list_invalid(source):
    key = "orgId" if source.is_organization_level else "groupId"
    with pytest.raises(InvalidResponse, match="another"):
        parse(source, ROWS[source], {**ROWS[source], key: object_id(2)})


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"{}", b"\xff", b"NaN", b"[" * 2000, b'\xef\xbb\xbf{"results":[]}'),
        *(b'{"results":null}', b'{"results":[1]}', b'{"results":[{"id":"a"}],"li'),
        *(b'{"results":[],"links":{}}', b'{"results":[],"links":["next"]}'),
        *(b'{"results":[{"age":Infinity}]}', b'{"results":[{"username":"\\ud800"}]}'),
    ],
)
def test_body_that_is_not_a_page_or_not_a_list_is_invalid(body):
    with pytest.raises(InvalidResponse):
        invitations_in(Source.USERS, body)
    bare = body.removeprefix(b'{"results":').removesuffix(b"}")
    with pytest.raises(InvalidResponse):
        invitations_in(Source.INVITES, bare)


class Answering:
    """A client that gets the same body for each request."""

    actor = f"mdb_sa_id_{USER}"

    def __init__(self, body):
        self._body = body

    def request(self, endpoint, *_ids, parse, **_parameters):
        return endpoint.media_type, parse

    async def call(self, request, **_options):
        media_type, parse = request
        response = Response(200, CIMultiDict({"Content-Type": media_type}), self._body)
        return parse_body(response, media_type, parse)


ACTIVE = {"username": "ada@example.com", "orgMembershipStatus": "ACTIVE"}
PLACE = {source: place_of(source, PROJECT) for source in Source}
PROJECT_ROW = {"id": PROJECT, "name": "Alpha", "orgId": ORG}
KEY_ROW = {"publicKey": "wkzjqvtb", "desc": "ci"}
ADA = "ada@example.com"


def user_of(client, source):
    return user_request(client, source, PLACE[source], USER)


READINGS = {
    **{s.value: (ROWS[s], lambda _, reader, s=s: reader.invitations(PLACE[s], s)) for s in Source},
    "projects": (PROJECT_ROW, lambda _, reader: reader.projects()),
    "organizations": ({"id": ORG, "name": "Acme"}, lambda _, reader: reader.organizations()),
    "teams": ({"teamId": TEAM}, lambda _, reader: reader.project_teams(PLACE[Source.USERS])),
    "active members": (ACTIVE, lambda _, reader: reader.active_members(ORG)),
    "an inviter": (ACTIVE, lambda _, reader: reader.is_active_member(ORG, ADA)),
    "keys": (KEY_ROW, lambda _, reader: reader.api_key_names(ORG)),
    **{
        f"a user of {s}": (ROWS[s], lambda client, _, s=s: client.call(user_of(client, s)))
        for s in (Source.USERS, Source.ORG_USERS)
    },
}
"""A row of each list, and what reads it."""
TOKENS = (
    b'null true 1e400 -0 1e-5 0.5 NaN Infinity [ ] { } , : " \\ \\u0000 \\ud800 \\u200b \xe9 \xf0'
    b" \xed\xa0\x80 /* \x00 2026-02-30T00:00:00Z 0001-01-01T00:00:00+23:59 id username"
).split(b" ")
EDIT = st.tuples(
    st.integers(0, 400),
    st.integers(0, 12),
    st.sampled_from([*TOKENS, b"9" * 5000, b"[" * 5000, b""]) | st.binary(max_size=3),
)


@pytest.mark.parametrize("name", READINGS)
@given(edits=st.lists(EDIT, max_size=4))
def test_body_that_is_nearly_an_answer_is_read_or_unreadable_whatever_it_is(name, edits):
    row, read = READINGS[name]
    is_list = name not in {"a user of users", "a user of org_users"}
    paged = name not in {Source.INVITES, Source.ORG_INVITES}
    rows = [row, row] if is_list else row
    body = json.dumps({"results": rows, "links": []} if is_list and paged else rows).encode()
    for place, removed, token in edits:
        begin = place % (len(body) + 1)
        body = body[:begin] + token + body[begin + removed :]
    with suppress(RunError, StopIteration):  # the latter has what it returns: nothing waits
        client = Answering(body)
        read(client, AtlasReader(client)).send(None)


@pytest.mark.parametrize(
    ("links", "has_next"),
    [
        ([{"rel": "self"}, {"rel": "next", "href": "https://evil.example.com"}], True),
        ([{"rel": "self"}, {}], False),
        ([], False),
        (None, False),
    ],
)
def test_page_has_a_next_page_only_if_it_has_a_next_link(links, has_next):
    page = {"results": [], "totalCount": 900, "links": links}
    assert parse_object(json.dumps(page).encode(), ListPage[InvitedRow]).has_next is has_next


def parse_project(**changes):
    return parse_object(json.dumps({**PROJECT_ROW, **changes}).encode(), ProjectRow).project()


def test_project_is_parsed_with_its_tags_in_order():
    tags = [{"key": "env", "value": "prod"}, {"key": "a", "value": "b"}]
    assert parse_project(tags=tags) == Project(PROJECT, "Alpha", ORG, (("env", "prod"), ("a", "b")))
    assert parse_project(tags=None) == Project(PROJECT, "Alpha", ORG)


@pytest.mark.parametrize("group_id", [None, "", PROJECT.upper(), PROJECT + "\n", "../" + PROJECT])
def test_project_with_a_malformed_id_is_unreadable(group_id):
    found = parse_project(id=group_id)
    assert isinstance(found, ListUnreadable)
    assert (found.project_name, found.reason) == ("Alpha", "The project id is malformed.")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, value) for key in ("name", "orgId") for value in (None, "", 5)),
        ("id", 7),
        *(("tags", odd) for odd in ({}, "env", [None], [{"key": "env"}], [{"key": 1}])),
    ],
)
def test_project_of_another_form_is_invalid(key, value):
    with pytest.raises(InvalidResponse):
        parse_project(**{key: value})
