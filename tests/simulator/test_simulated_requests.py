"""Rate limits, access and people of the simulated Atlas."""

import pytest
from builders import ORG, OTHER_ORG
from simulator.simulated import decoded, open_client, organization
from virtual_time import FakeTime


async def test_empty_project_bucket_is_429_with_the_documented_text_until_its_refill():
    clock = FakeTime()
    sim = organization(monotonic=clock.monotonic)
    limited = sim.add_project("hot")
    unlimited = sim.add_project("cold")
    sim.set_bucket("projects_group", limited, 2, 1, 60)

    async def status(project):
        return (await request("GET", f"/groups/{project}/invites")).status

    async with open_client(sim) as request:
        assert [await status(limited) for _ in range(2)] == [200, 200]
        clock.now_s += 5
        refused = await request("GET", f"/groups/{limited}/invites")
        assert await status(unlimited) == 200
        clock.now_s += 55
        assert [await status(limited) for _ in range(2)] == [200, 429]
    resource = f"api/atlas/v2/groups/{limited}/invites"
    assert decoded(refused) == {
        "detail": f"Rate limit exceeded for {resource}. Please retry after 55 seconds."
        " Request capacity: 2. Refill rate: 1 per 60 seconds.",
        "error": 429,
        "errorCode": "RATE_LIMITED_TOKEN_BUCKET",
        "parameters": [resource, 55, 2, 1, 60],
        "reason": "Too Many Requests",
    }
    shown = {"Retry-After": "55", "RateLimit-Limit": "2", "RateLimit-Remaining": "0"}
    assert {name: refused.headers[name] for name in shown} == shown


async def test_operations_of_a_project_share_a_bucket_but_users_have_their_own():
    sim = organization()
    project = sim.add_project("Data Lake")
    left = []
    async with open_client(sim) as request:
        for method, path in (
            ("GET", f"/groups/{project}/invites"),
            ("DELETE", f"/groups/{project}/invites/{'0' * 24}"),
            ("GET", f"/groups/{project}/users"),
            ("GET", f"/orgs/{ORG}/invites"),
        ):
            response = await request(method, path)
            left.append(int(response.headers["RateLimit-Remaining"]))
    assert left == [1199, 1198, 1199, 499]


async def test_account_sees_its_organization_and_no_other():
    sim = organization()
    sim.add_organization(OTHER_ORG, "Other Org")
    own = sim.add_project("A")
    other = sim.add_project("B", OTHER_ORG)
    async with open_client(sim) as request:
        for path, expected in (("/groups", own), ("/orgs", ORG)):
            (row,) = decoded(await request("GET", path))["results"]
            assert row["id"] == expected
        for path in (f"/groups/{other}/invites", f"/orgs/{OTHER_ORG}/users"):
            refused = await request("GET", path)
            assert (refused.status, refused.code) == (401, "NOT_IN_GROUP")


@pytest.mark.parametrize("ended_in", ["users", "invites"])
async def test_delete_in_the_organization_ends_all_rows_but_the_project_invitation(ended_in):
    sim = organization()
    projects = [sim.add_project(name) for name in ("Data Lake", "Search")]
    user = sim.user(
        sim.add_user("ada@x.org", group_roles=dict.fromkeys(projects, ("GROUP_OWNER",)))
    )
    invitation = sim.invite(projects[0], "ada@x.org")
    rows = {f"/groups/{each}/users": user.id for each in projects}
    rows |= {f"/orgs/{ORG}/users": user.id, f"/orgs/{ORG}/invites": user.invitation_id}
    first = f"/orgs/{ORG}/{ended_in}"
    async with open_client(sim) as request:
        for path in rows:
            assert rows[path].encode() in (await request("GET", path)).body
        deletes = [await request("DELETE", f"{path}/{rows[path]}") for path in (first, *rows)]
    assert [each.status for each in deletes] == [204, 404, 404, 404, 404]
    assert (sim.users(), sim.invitations(projects[0])) == ((), (invitation,))
    assert sim.deleted == [rows[first]]
