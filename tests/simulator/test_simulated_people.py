"""One pending membership is a row of several lists, and one DELETE ends it in all of them."""

import pytest
from simulator.exchanges import ALL, BODIES, World
from simulator.simulated import ORG, open_client

ADA = "ada@example.com"
OWNER = ("GROUP_OWNER",)


@pytest.fixture
def projects(sim):
    return sim.add_project("Data Lake"), sim.add_project("Search")


async def rows(request, sim, query="orgMembershipStatuses=PENDING"):
    """Return the ids that each list shows, by its path; an empty list is left out."""
    scopes = (f"/orgs/{ORG}", *(f"/groups/{each}" for each in sim.groups))
    found = {}
    for path in scopes:
        users = (await request("GET", f"{path}/users?{query}")).json()["results"]
        invites = (await request("GET", f"{path}/invites")).json()
        found[f"{path}/users"] = {each["id"] for each in users}
        found[f"{path}/invites"] = {each["id"] for each in invites}
    return {path: ids for path, ids in found.items() if ids}


async def roles_of_only_user(request):
    (row,) = (await request("GET", f"/orgs/{ORG}/users")).json()["results"]
    return {
        each["groupId"]: tuple(each["groupRoles"]) for each in row["roles"]["groupRoleAssignments"]
    }


def invited(sim, projects, **settings):
    """Invite Ada to the organization and to projects; return her and the rows that show her."""
    user = sim.user(sim.add_user(ADA, group_roles=dict.fromkeys(projects, OWNER), **settings))
    shown = {f"/groups/{each}/users": {user.id} for each in projects}
    shown[f"/orgs/{ORG}/users"] = {user.id}
    if not user.by_web_interface:
        shown[f"/orgs/{ORG}/invites"] = {user.invitation_id}
    return user, shown


@pytest.mark.parametrize("by_web_interface", [True, False])
async def test_membership_is_a_row_of_the_organization_and_of_each_project(
    sim, projects, by_web_interface
):
    user, shown = invited(sim, projects, by_web_interface=by_web_interface)
    async with open_client(sim) as request:
        assert await rows(request, sim) == shown
        assert await roles_of_only_user(request) == dict.fromkeys(projects, OWNER)
    assert user.id != user.invitation_id


@pytest.mark.parametrize("ended_in", ["users", "invites"])
async def test_delete_in_the_organization_ends_all_rows_but_the_project_invitation(
    sim, projects, ended_in
):
    (user, shown) = invited(sim, projects)
    invitation = sim.invite(projects[0], ADA)
    first = f"/orgs/{ORG}/{ended_in}"
    paths = [first, *shown]
    async with open_client(sim) as request:
        statuses = [
            (await request("DELETE", f"{path}/{min(shown[path])}")).status for path in paths
        ]
        sim.set_status(user.id, "ACTIVE")  # too late
        assert await rows(request, sim) == {f"/groups/{projects[0]}/invites": {invitation}}
    assert statuses == [204, *[404] * len(shown)]
    assert sim.deleted == (min(shown[first]),)


async def test_delete_in_a_project_ends_the_role_in_this_project_alone(sim, projects):
    user, shown = invited(sim, projects)
    path = f"/groups/{projects[0]}/users"
    async with open_client(sim) as request:
        first = await request("DELETE", f"{path}/{user.id}")
        assert await rows(request, sim) == {k: v for k, v in shown.items() if k != path}
        assert await roles_of_only_user(request) == {projects[1]: OWNER}
        other = f"/groups/{projects[1]}/users/{user.id}"
        later = [(await request("DELETE", other)).status for _ in range(2)]
    assert [first.status, *later] == [204, 204, 404]
    assert [each.status for each in sim.request_log.removed] == ["PENDING", "PENDING"]


async def test_project_invitation_is_deleted_once_and_leaves_the_membership(sim, projects):
    _, shown = invited(sim, projects)
    invitation = sim.invite(projects[1], ADA)
    path = f"/groups/{projects[1]}/invites"
    async with open_client(sim) as request:
        assert await rows(request, sim) == shown | {path: {invitation}}
        statuses = [(await request("DELETE", f"{path}/{invitation}")).status for _ in range(2)]
        assert await rows(request, sim) == shown
    assert statuses == [204, 404]
    assert (sim.deleted, sim.deletes_received) == ((invitation,), 2)


async def test_users_lists_show_active_and_pending_users_and_others_only_on_request():
    world = World()
    users = {status: world.ids[status] for status in ("ACTIVE", "PENDING", "INVITATION_EXPIRED")}
    all_users = {*users.values(), world.ids["INVITATION_REJECTED"]}
    async with open_client(world.sim) as request:
        for query, expected in (
            ("", {users["ACTIVE"], users["PENDING"]}),
            ("orgMembershipStatuses=INVITATION_EXPIRED", {users["INVITATION_EXPIRED"]}),
            (ALL, all_users),
        ):
            shown = await rows(request, world.sim, query)
            assert shown[f"/groups/{world.project}/users"] == expected
            assert shown[f"/orgs/{ORG}/users"] == expected


async def test_invitation_ends_after_30_days_and_a_rejected_one_has_no_end():
    world = World()
    world.sim.set_status(world.ids["INVITATION_EXPIRED"], "INVITATION_REJECTED")
    async with open_client(world.sim) as request:
        listed = (await request("GET", f"/orgs/{ORG}/users?{ALL}")).json()["results"]
    documents = {each["orgMembershipStatus"]: each for each in listed}
    assert documents["PENDING"]["invitationCreatedAt"] == "2026-08-07T03:04:57Z"
    assert documents["PENDING"]["invitationExpiresAt"] == "2026-09-06T03:04:57Z"
    rejected = [e for e in listed if e["orgMembershipStatus"] == "INVITATION_REJECTED"]
    assert [each["invitationExpiresAt"] for each in rejected] == [None, None]


@pytest.mark.parametrize("status", [None, "PENDING", "ACTIVE"])
async def test_accepted_project_invitation_is_a_role_of_an_active_user(sim, projects, status):
    if status:
        sim.add_user(ADA.title(), status=status, group_roles={projects[0]: OWNER})
    invitation = sim.invite(projects[1], ADA, roles=("GROUP_READ_ONLY",))
    sim.accept(projects[1], invitation)
    sim.accept(projects[1], invitation)
    async with open_client(sim) as request:
        assert await rows(request, sim) == {}
        roles = await roles_of_only_user(request)
    assert roles == {projects[1]: ("GROUP_READ_ONLY",)} | ({projects[0]: OWNER} if status else {})
    assert [sim.user(each).status.value for each in sim.users()] == ["ACTIVE"]


async def test_invitation_to_a_project_adds_a_pending_user_and_no_second_one(sim, projects):
    async with open_client(sim) as request:
        for project in projects:
            path = f"/groups/{project}/users"
            body = BODIES["new"]
            created = await request("POST", path, json=body)
            assert (created.status, created.json()["orgMembershipStatus"]) == (201, "PENDING")
        (listed,) = (await request("GET", f"/orgs/{ORG}/invites")).json()
        assert await roles_of_only_user(request) == dict.fromkeys(projects, OWNER)
    assert listed["username"] == body["username"]


@pytest.mark.parametrize("status", ["INVITATION_EXPIRED", "INVITATION_REJECTED"])
async def test_inviting_again_replaces_an_expired_or_rejected_invitation(status):
    world = World()
    assignments = [{"groupId": world.project, "groupRoles": ["GROUP_OWNER"]}]
    body = {
        "username": world.sim.user(world.ids[status]).username,
        "roles": {"orgRoles": ["ORG_MEMBER"], "groupRoleAssignments": assignments},
        "teamIds": ["5" * 24],
    }
    async with open_client(world.sim) as request:
        created = await request("POST", f"/orgs/{ORG}/users", json=body)
        again = await request("POST", f"/orgs/{ORG}/users", json=body)
    assert (created.status, again.status) == (201, 409)
    assert {key: created.json()[key] for key in body} == body
    assert world.ids[status] not in world.sim.users()


async def test_project_invitations_are_sorted_by_username(sim, projects):
    for name in ("zoe@example.com", "Ada@example.com", "bob@example.com"):
        sim.invite(projects[0], name)
    async with open_client(sim) as request:
        listed = (await request("GET", f"/groups/{projects[0]}/invites")).json()
    assert [each["username"][:3] for each in listed] == ["Ada", "bob", "zoe"]
