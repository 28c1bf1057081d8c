"""One pending membership is a row of several lists, and one DELETE ends it in all of them."""

import pytest
from builders import ORG
from simulator.simulated import decoded, open_client

ADA = "ada@example.com"
OWNER = ("GROUP_OWNER",)


@pytest.fixture
def projects(sim):
    return sim.add_project("Data Lake"), sim.add_project("Search")


async def rows(request, sim):
    """Return the ids that each list shows, by its path; an empty list is left out."""
    found = {}
    for path in (f"/orgs/{ORG}", *(f"/groups/{each}" for each in sim.groups)):
        users = decoded(await request("GET", f"{path}/users"))["results"]
        found[f"{path}/users"] = {each["id"] for each in users}
        found[f"{path}/invites"] = {
            each["id"] for each in decoded(await request("GET", f"{path}/invites"))
        }
    return {path: ids for path, ids in found.items() if ids}


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
    assert user.id != user.invitation_id


@pytest.mark.parametrize("ended_in", ["users", "invites"])
async def test_delete_in_the_organization_ends_all_rows_but_the_project_invitation(
    sim, projects, ended_in
):
    (user, shown) = invited(sim, projects)
    invitation = sim.invite(projects[0], ADA)
    first = f"/orgs/{ORG}/{ended_in}"
    async with open_client(sim) as request:
        statuses = [
            (await request("DELETE", f"{path}/{min(shown[path])}")).status
            for path in (first, *shown)
        ]
        sim.set_status(user.id, "ACTIVE")  # too late
        assert await rows(request, sim) == {f"/groups/{projects[0]}/invites": {invitation}}
    assert statuses == [204, *[404] * len(shown)]
    assert sim.deleted == [min(shown[first])]


async def test_delete_in_a_project_ends_the_role_in_this_project_alone(sim, projects):
    user, shown = invited(sim, projects)
    path = f"/groups/{projects[0]}/users"
    async with open_client(sim) as request:
        first = await request("DELETE", f"{path}/{user.id}")
        assert await rows(request, sim) == {k: v for k, v in shown.items() if k != path}
        other = f"/groups/{projects[1]}/users/{user.id}"
        later = [(await request("DELETE", other)).status for _ in range(2)]
    assert [first.status, *later] == [204, 204, 404]
    assert [each.status for each in sim.removed] == ["PENDING", "PENDING"]
