"""`/groups/{id}/invites` of the simulated Atlas."""

from datetime import timedelta

from simulator.simulated import open_client

from invite_sweeper.simulator import MISSING


async def test_invitation_is_listed_read_and_deleted_once(sim, project):
    invitation = sim.invite(project, "ada@example.com", age=timedelta(days=20))
    async with open_client(sim) as request:
        listed = await request("GET", f"/groups/{project}/invites")
        first = await request("DELETE", f"/groups/{project}/invites/{invitation}")
        second = await request("DELETE", f"/groups/{project}/invites/{invitation}")
    assert [each["id"] for each in listed.json()] == [invitation]
    assert (first.status, first.body) == (204, b"")
    assert (second.status, second.code) == (404, "RESOURCE_NOT_FOUND")
    assert sim.deleted == (invitation,)
    assert sim.deletes_received == 2
    assert sim.request_log.deletes_after_confirmation == [invitation]


async def test_gone_status_400_is_returned_for_an_unknown_invitation(sim):
    sim.gone_status = 400
    project = sim.add_project("Data Lake")
    async with open_client(sim) as request:
        response = await request("DELETE", f"/groups/{project}/invites/{'0' * 24}")
    assert (response.status, response.code) == (400, "INVALID_INVITATION_ID")


async def test_list_is_sorted_by_username(sim, project):
    for name in ("zoe@example.com", "Ada@example.com", "bob@example.com"):
        sim.invite(project, name)
    async with open_client(sim) as request:
        listed = await request("GET", f"/groups/{project}/invites")
    names = [each["username"] for each in listed.json()]
    assert names == ["Ada@example.com", "bob@example.com", "zoe@example.com"]


async def test_invitation_with_overridden_fields_is_sent_unchanged(sim, project):
    sim.invite(project, MISSING, createdAt="soon", expiresAt=None, id=7)
    sim.invite(project, "bob@example.com", createdAt=MISSING, id="../../x")
    async with open_client(sim) as request:
        first, second = (await request("GET", f"/groups/{project}/invites")).json()
    assert first["createdAt"] == "soon"
    assert first["expiresAt"] is None
    assert first["id"] == 7
    assert "username" not in first
    assert second["id"] == "../../x"
    assert "createdAt" not in second


async def test_invite_returns_200_with_an_id_that_contains_the_time(sim, project):
    body = {"roles": ["GROUP_READ_ONLY"], "username": "ada@example.com"}
    async with open_client(sim) as request:
        created = await request("POST", f"/groups/{project}/invites", json=body)
        again = await request("POST", f"/groups/{project}/invites", json=body)
        incomplete = await request("POST", f"/groups/{project}/invites", json={"username": "x"})
    assert created.status == 200
    assert created.json()["createdAt"] == "2026-08-10T03:04:57Z"
    assert created.json()["expiresAt"] == "2026-09-09T03:04:57Z"
    assert int(created.json()["id"][:8], 16) == sim.clock().timestamp()
    assert (again.status, again.code) == (409, "USER_ALREADY_INVITED")
    assert incomplete.status == 400


async def test_body_that_is_not_a_json_object_is_400(sim, project):
    async with open_client(sim) as request:
        for body in (b"{", b"[]"):
            assert (await request("POST", f"/groups/{project}/invites", data=body)).status == 400


async def test_eleventh_invitation_in_a_minute_is_400(sim, project):
    async with open_client(sim) as request:
        response = [
            await request(
                "POST",
                f"/groups/{project}/invites",
                json={"roles": ["GROUP_OWNER"], "username": f"u{number}@example.com"},
            )
            for number in range(11)
        ]
    assert [each.status for each in response] == [200] * 10 + [400]
    assert response[-1].code == "INVITATIONS_RATE_LIMITED_IP"
