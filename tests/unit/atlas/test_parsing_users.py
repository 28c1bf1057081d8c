"""Rows of the lists of users: optional parts, and parts without which a row is invalid."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.atlas.lists import parse_group_user, parse_org_invitation, parse_org_user
from invite_sweeper.atlas.parsing import UserRecord, parse_user
from invite_sweeper.atlas.responses import InvalidResponse
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


def test_user_of_a_project_has_a_status_and_a_flat_array_of_roles():
    found = parse_group_user({**COMMON, "roles": ["GROUP_OWNER"]}, ALPHA)
    assert (found.id, found.project_id, found.project_name, found.org_id) == (
        USER,
        GROUP,
        "Alpha",
        ORG,
    )
    assert (found.username, found.inviter) == ("ada@example.com", "nmtxqlkl")
    assert (found.created_at, found.expires_at) == (CREATED, None)
    assert (found.source, found.status, found.roles) == (Source.USERS, "PENDING", ("GROUP_OWNER",))
    assert (found.project_roles, found.linked_projects) == ((), ())


def test_user_of_an_organization_has_projects_and_teams():
    roles = {
        "orgRoles": ["ORG_MEMBER"],
        "groupRoleAssignments": [{"groupId": GROUP, "groupRoles": ["GROUP_OWNER", "GROUP_X"]}],
    }
    found = parse_org_user({**COMMON, "roles": roles, "teamIds": ["7" * 24]}, HOME)
    assert (found.project_id, found.project_name, found.org_id) == (ORG, "", ORG)
    assert (found.source, found.roles, found.team_ids) == (
        Source.ORG_USERS,
        ("ORG_MEMBER",),
        ("7" * 24,),
    )
    assert found.project_roles == ((GROUP, "GROUP_OWNER"), (GROUP, "GROUP_X"))
    assert found.linked_projects == ((GROUP, ""),)


def test_invitation_to_an_organization_has_one_role_per_project():
    found = parse_org_invitation(
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
    assert (found.source, found.status, found.project_id) == (Source.ORG_INVITES, "PENDING", ORG)
    assert (found.created_at, found.expires_at) == (CREATED, UnreadableDate("someday"))
    assert (found.project_roles, found.linked_projects) == (
        ((GROUP, "GROUP_OWNER"),),
        ((GROUP, ""),),
    )


@pytest.mark.parametrize(
    "assignment", [{}, {"groupId": None}, {"groupId": 5}, {"groupId": GROUP, "groupRoles": []}]
)
def test_incomplete_assignment_still_counts_as_a_project(assignment):
    roles = {"orgRoles": [], "groupRoleAssignments": [assignment]}
    assert len(parse_org_user({**COMMON, "roles": roles}, HOME).linked_projects) == 1


@pytest.mark.parametrize(
    ("assignments", "teams", "unknown"),
    [
        ({"groupRoleAssignments": []}, {"teamIds": []}, False),
        ({"groupRoleAssignments": []}, {"teamIds": ["7" * 24]}, False),
        ({}, {"teamIds": []}, True),
        ({"groupRoleAssignments": None}, {"teamIds": []}, True),
        ({"groupRoleAssignments": []}, {}, True),
        *(
            ({"groupRoleAssignments": []}, {"teamIds": teams}, True)
            for teams in (None, "7" * 24, {}, [None], [7], [""], ["7" * 23], ["7" * 24, "X" * 24])
        ),
    ],
)
def test_missing_or_unreadable_assignments_or_teams_leave_the_linked_projects_unknown(
    assignments, teams, unknown
):
    roles = {"orgRoles": ["ORG_MEMBER"], **assignments}
    user = parse_org_user({**COMMON, **teams, "roles": roles}, HOME)
    invited = parse_org_invitation({"id": USER, **assignments, **teams}, HOME)
    for found in (user, invited):
        assert (found.project_roles, found.linked_projects) == ((), ())
        assert found.links_out_of_scope is unknown


@pytest.mark.parametrize("roles", [None, [], "ORG_MEMBER", {"groupRoleAssignments": {}}])
def test_unreadable_roles_of_a_user_make_the_row_invalid(roles):
    with pytest.raises(InvalidResponse):
        parse_org_user({**COMMON, "roles": roles}, HOME)


@pytest.mark.parametrize("assignments", ["", {}, [GROUP], [None]])
def test_unreadable_assignments_of_an_invitation_make_the_row_invalid(assignments):
    with pytest.raises(InvalidResponse):
        parse_org_invitation({"id": USER, "groupRoleAssignments": assignments}, HOME)


def test_invitation_to_another_organization_is_invalid():
    with pytest.raises(InvalidResponse, match="another organization"):
        parse_org_invitation({"id": USER, "orgId": "0" * 24}, HOME)


def test_missing_status_is_none_and_never_pending():
    assert parse_group_user({"id": USER}, ALPHA).status is None


def test_user_record_has_projects_only_from_an_organization():
    in_org = {"orgRoles": [], "groupRoleAssignments": [{"groupId": GROUP, "groupRoles": ["X"]}]}
    assert parse_user(json.dumps({**COMMON, "roles": in_org}).encode()) == UserRecord(
        USER, "PENDING", frozenset({GROUP})
    )
    assert parse_user(json.dumps({**COMMON, "roles": ["X"]}).encode()).project_ids is None


@given(st.binary(max_size=80) | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_user_body_that_is_not_an_object_is_invalid(body):
    raw = body.encode() if isinstance(body, str) else body
    with pytest.raises(InvalidResponse):
        parse_user(raw)
