"""One pending membership is a row of several lists, and one DELETE ends it in all of them."""

import pytest
from simulator.simulated import ORG, V2023, V2025, open_client

ADA = "ada@example.com"


@pytest.fixture
def projects(sim):
    return sim.add_project("Data Lake"), sim.add_project("Search")


async def rows(request, sim):
    """Return the id that each list shows, by its path; a list without a user is left out."""
    users = "users?orgMembershipStatuses=PENDING"
    paths = [(f"/orgs/{ORG}/{users}", V2025), (f"/orgs/{ORG}/invites", V2023)]
    for project in sim.groups:
        paths += [(f"/groups/{project}/{users}", V2025), (f"/groups/{project}/invites", V2023)]
    found = {}
    for path, accept in paths:
        document = (await request("GET", path, accept=accept)).json()
        listed = document["results"] if accept == V2025 else document
        if listed:
            (row,) = listed
            found[path.partition("?")[0]] = row["id"]
    return found


def invited(sim, projects, **settings):
    roles = dict.fromkeys(projects, ("GROUP_OWNER",))
    return sim.user(sim.add_user(ADA, group_roles=roles, **settings))


async def test_user_of_the_web_interface_is_in_the_organization_and_in_each_project(sim, projects):
    user = invited(sim, projects, by_web_interface=True)
    async with open_client(sim) as request:
        assert await rows(request, sim) == {
            f"/orgs/{ORG}/users": user.id,
            **{f"/groups/{each}/users": user.id for each in projects},
        }
        (row,) = (await request("GET", f"/orgs/{ORG}/users", accept=V2025)).json()["results"]
    assert row["roles"]["groupRoleAssignments"] == [
        {"groupId": each, "groupRoles": ["GROUP_OWNER"]} for each in projects
    ]


async def test_organization_invitation_is_the_same_membership_under_another_id(sim, projects):
    user = invited(sim, projects)
    async with open_client(sim) as request:
        assert await rows(request, sim) == {
            f"/orgs/{ORG}/users": user.id,
            f"/orgs/{ORG}/invites": user.invitation_id,
            **{f"/groups/{each}/users": user.id for each in projects},
        }


@pytest.mark.parametrize("ended_in", ["users", "invites"])
async def test_delete_in_the_organization_ends_all_rows_but_the_project_invitation(
    sim, projects, ended_in
):
    user, invitation = invited(sim, projects), sim.invite(projects[0], ADA)
    own_id, accept = (user.id, V2025) if ended_in == "users" else (user.invitation_id, V2023)
    paths = [(f"/orgs/{ORG}/users/{user.id}", V2025)]
    paths += [(f"/orgs/{ORG}/invites/{user.invitation_id}", V2023)]
    paths += [(f"/groups/{each}/users/{user.id}", V2025) for each in projects]
    async with open_client(sim) as request:
        first = await request("DELETE", f"/orgs/{ORG}/{ended_in}/{own_id}", accept=accept)
        assert await rows(request, sim) == {f"/groups/{projects[0]}/invites": invitation}
        later = [await request("DELETE", path, accept=version) for path, version in paths]
    assert first.status == 204
    assert {each.status for each in later} == {404}


async def test_delete_in_a_project_ends_the_role_in_this_project_alone(sim, projects):
    user = invited(sim, projects)
    invitation = sim.invite(projects[0], ADA)
    async with open_client(sim) as request:
        path = f"/groups/{projects[0]}/users/{user.id}"
        assert (await request("DELETE", path, accept=V2025)).status == 204
        left = await rows(request, sim)
        (row,) = (await request("GET", f"/orgs/{ORG}/users", accept=V2025)).json()["results"]
        other = f"/groups/{projects[1]}/users/{user.id}"
        statuses = [(await request("DELETE", other, accept=V2025)).status for _ in range(2)]
    assert left == {
        f"/orgs/{ORG}/users": user.id,
        f"/orgs/{ORG}/invites": user.invitation_id,
        f"/groups/{projects[1]}/users": user.id,
        f"/groups/{projects[0]}/invites": invitation,
    }
    assert [each["groupId"] for each in row["roles"]["groupRoleAssignments"]] == [projects[1]]
    assert statuses == [204, 404]
    assert sim.request_log.deletes_after_confirmation == [user.id]


async def test_delete_of_a_project_invitation_leaves_the_membership(sim, projects):
    invited(sim, projects)
    async with open_client(sim) as request:
        before = await rows(request, sim)
        invitation = sim.invite(projects[1], ADA)
        path = f"/groups/{projects[1]}/invites/{invitation}"
        assert (await request("DELETE", path)).status == 204
        assert await rows(request, sim) == before


async def test_user_who_accepts_is_in_no_list_as_pending(sim, projects):
    user = invited(sim, projects[:1])
    sim.accept(projects[1], sim.invite(projects[1], ADA.title()))
    async with open_client(sim) as request:
        assert await rows(request, sim) == {}
    assert (user.status, set(user.group_roles)) == ("ACTIVE", set(projects))


async def test_removed_project_is_in_no_row_of_the_organization(sim, projects):
    user = invited(sim, projects)
    sim.remove_project(projects[0])
    async with open_client(sim) as request:
        (row,) = (await request("GET", f"/orgs/{ORG}/users", accept=V2025)).json()["results"]
    assert row["id"] == user.id
    assert [each["groupId"] for each in row["roles"]["groupRoleAssignments"]] == [projects[1]]
