"""Rows of the lists of people: what is read leniently, and what is nonsense."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.atlas.parsing import (
    InvalidResponse,
    UserRecord,
    parse_group_user,
    parse_org_invitation,
    parse_org_user,
    parse_user,
)
from invite_sweeper.models import Project, Source, UnreadableDate

ORG, GROUP, USER = "5efda682a3f2ed2e7dd6cde4", "6a793fd0c0eb9e7a177181d4", "6" * 24
ALPHA, HOME = Project(GROUP, "Alpha", ORG), Project(ORG, "", ORG)
COMMON = {
    "id": USER,
    "username": "ada@example.com",
    "orgMembershipStatus": "PENDING",
    "invitationCreatedAt": "2026-11-01T00:00:00Z",
    "invitationExpiresAt": None,
    "inviterUsername": "nmtxqlkl",
}
CREATED = datetime(2026, 11, 1, tzinfo=UTC)


def test_user_of_a_project_has_its_status_and_flat_roles():
    one = parse_group_user({**COMMON, "roles": ["GROUP_OWNER"]}, ALPHA)
    assert (one.id, one.project_id, one.project_name, one.org_id) == (USER, GROUP, "Alpha", ORG)
    assert (one.username, one.inviter) == ("ada@example.com", "nmtxqlkl")
    assert (one.created_at, one.expires_at) == (CREATED, None)
    assert (one.source, one.status, one.roles) == (Source.USERS, "PENDING", ("GROUP_OWNER",))
    assert (one.project_roles, one.linked_projects) == ((), ())


def test_user_of_an_organization_tells_its_projects_and_teams():
    roles = {
        "orgRoles": ["ORG_MEMBER"],
        "groupRoleAssignments": [{"groupId": GROUP, "groupRoles": ["GROUP_OWNER", "GROUP_X"]}],
    }
    one = parse_org_user({**COMMON, "roles": roles, "teamIds": ["7" * 24]}, HOME)
    assert (one.project_id, one.project_name, one.org_id) == (ORG, "", ORG)
    assert (one.source, one.roles, one.team_ids) == (
        Source.ORG_USERS,
        ("ORG_MEMBER",),
        ("7" * 24,),
    )
    assert one.project_roles == ((GROUP, "GROUP_OWNER"), (GROUP, "GROUP_X"))
    assert one.linked_projects == ((GROUP, ""),)


def test_older_invitation_of_an_organization_names_one_role_a_project():
    one = parse_org_invitation(
        {
            "id": USER,
            "orgId": ORG,
            "username": "ada@example.com",
            "createdAt": "2026-11-01T00:00:00Z",
            "expiresAt": "someday",
            "roles": ["ORG_MEMBER"],
            "groupRoleAssignments": [{"groupId": GROUP, "groupRole": "GROUP_OWNER"}],
        },
        HOME,
    )
    assert (one.source, one.status, one.project_id) == (Source.ORG_INVITES, "PENDING", ORG)
    assert (one.created_at, one.expires_at) == (CREATED, UnreadableDate("someday"))
    assert (one.project_roles, one.linked_projects) == (((GROUP, "GROUP_OWNER"),), ((GROUP, ""),))


@pytest.mark.parametrize(
    "assignment", [{}, {"groupId": None}, {"groupId": 5}, {"groupId": GROUP, "groupRoles": []}]
)
def test_assignment_that_says_little_still_reaches_something(assignment):
    roles = {"orgRoles": [], "groupRoleAssignments": [assignment]}
    assert len(parse_org_user({**COMMON, "roles": roles}, HOME).linked_projects) == 1


def test_user_of_an_organization_alone_reaches_no_project():
    one = parse_org_user({**COMMON, "roles": {"orgRoles": ["ORG_MEMBER"]}}, HOME)
    assert (one.roles, one.project_roles, one.linked_projects) == (("ORG_MEMBER",), (), ())


@pytest.mark.parametrize("roles", [None, [], "ORG_MEMBER", {"groupRoleAssignments": {}}])
def test_roles_that_cannot_be_read_are_nonsense_and_not_none(roles):
    with pytest.raises(InvalidResponse):
        parse_org_user({**COMMON, "roles": roles}, HOME)


@pytest.mark.parametrize("assignments", ["", {}, [GROUP], [None]])
def test_older_assignments_that_cannot_be_read_are_nonsense(assignments):
    with pytest.raises(InvalidResponse):
        parse_org_invitation({"id": USER, "groupRoleAssignments": assignments}, HOME)


def test_invitation_to_another_organization_is_nonsense():
    with pytest.raises(InvalidResponse, match="another organization"):
        parse_org_invitation({"id": USER, "orgId": "0" * 24}, HOME)


def test_missing_status_is_none_and_never_pending():
    assert parse_group_user({"id": USER}, ALPHA).status is None


def test_standing_of_a_user_tells_the_projects_of_an_organization_only():
    in_org = {"orgRoles": [], "groupRoleAssignments": [{"groupId": GROUP, "groupRoles": ["X"]}]}
    assert parse_user(json.dumps({**COMMON, "roles": in_org}).encode()) == UserRecord(
        USER, "ada@example.com", "PENDING", CREATED, frozenset({GROUP})
    )
    assert parse_user(json.dumps({**COMMON, "roles": ["X"]}).encode()).project_ids is None


@given(st.binary(max_size=80) | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_no_body_makes_a_standing_of_what_is_no_object(body):
    raw = body.encode() if isinstance(body, str) else body
    with pytest.raises(InvalidResponse):
        parse_user(raw)
