"""`/groups/{id}/invites` of the simulated Atlas, over a socket."""

from datetime import timedelta

from simulator.simulated import Clock, asking, organization

from invite_sweeper.simulator import MISSING


async def test_an_invitation_is_listed_read_and_deleted_once():
    sim = organization()
    project = sim.add_project("Data Lake")
    invitation = sim.invite(project, "ada@example.com", age=timedelta(days=20))
    async with asking(sim) as ask:
        listed = await ask("GET", f"/groups/{project}/invites")
        read = await ask("GET", f"/groups/{project}/invites/{invitation}")
        first = await ask("DELETE", f"/groups/{project}/invites/{invitation}")
        second = await ask("DELETE", f"/groups/{project}/invites/{invitation}")
    assert [each["id"] for each in listed.json()] == [invitation]
    assert read.json() == listed.json()[0]
    assert (first.status, first.body) == (204, b"")
    assert (second.status, second.code) == (404, "RESOURCE_NOT_FOUND")
    assert sim.deleted == (invitation,)
    assert sim.deletes_received == 2
    assert sim.request_log.deletes_after_confirmation == [invitation]


async def test_the_second_delete_may_answer_400_instead():
    sim = organization()
    sim.gone_status = 400
    project = sim.add_project("Data Lake")
    async with asking(sim) as ask:
        got = await ask("DELETE", f"/groups/{project}/invites/{'0' * 24}")
    assert (got.status, got.code) == (400, "INVALID_INVITATION_ID")


async def test_the_list_is_sorted_by_username_and_filtered_by_it_whatever_its_case():
    sim = organization()
    project = sim.add_project("Data Lake")
    for name in ("zoe@example.com", "Ada@example.com", "bob@example.com"):
        sim.invite(project, name)
    async with asking(sim) as ask:
        everybody = await ask("GET", f"/groups/{project}/invites?username=")
        one = await ask("GET", f"/groups/{project}/invites?username=ADA%40example.com")
    names = [each["username"] for each in everybody.json()]
    assert names == ["Ada@example.com", "bob@example.com", "zoe@example.com"]
    assert [each["username"] for each in one.json()] == ["Ada@example.com"]


async def test_odd_documents_are_sent_as_they_were_made():
    sim = organization()
    project = sim.add_project("Data Lake")
    sim.invite(project, MISSING, createdAt="soon", expiresAt=None, id=7)
    sim.invite(project, "bob@example.com", createdAt=MISSING, id="../../x")
    async with asking(sim) as ask:
        first, second = (await ask("GET", f"/groups/{project}/invites")).json()
    assert first["createdAt"] == "soon"
    assert first["expiresAt"] is None
    assert first["id"] == 7
    assert "username" not in first
    assert second["id"] == "../../x"
    assert "createdAt" not in second


async def test_inviting_answers_200_with_the_document_and_an_id_made_at_that_second():
    sim = organization()
    project = sim.add_project("Data Lake")
    asked = {"roles": ["GROUP_READ_ONLY"], "username": "ada@example.com"}
    async with asking(sim) as ask:
        made = await ask("POST", f"/groups/{project}/invites", json=asked)
        again = await ask("POST", f"/groups/{project}/invites", json=asked)
        nobody = await ask("POST", f"/groups/{project}/invites", json={"username": "x"})
    assert made.status == 200
    assert made.json()["createdAt"] == "2026-08-10T03:04:57Z"
    assert made.json()["expiresAt"] == "2026-09-09T03:04:57Z"
    assert int(made.json()["id"][:8], 16) == sim.clock().timestamp()
    assert (again.status, again.code) == (409, "USER_ALREADY_INVITED")
    assert nobody.status == 400


async def test_a_body_that_is_no_json_object_is_400():
    sim = organization()
    project = sim.add_project("Data Lake")
    async with asking(sim) as ask:
        for body in (b"{", b"[]"):
            assert (await ask("POST", f"/groups/{project}/invites", data=body)).status == 400


async def test_ten_invitations_of_an_address_are_forgotten_after_a_minute():
    clock = Clock()
    sim = organization(monotonic=clock)
    sim.invite_rate_limit.per_minute = 1
    assert sim.invite_rate_limit.count_or_reject("192.0.2.1") is None
    assert sim.invite_rate_limit.count_or_reject("192.0.2.2") is None
    clock.now_s += 59
    assert sim.invite_rate_limit.count_or_reject("192.0.2.1") is not None
    clock.now_s += 1
    assert sim.invite_rate_limit.count_or_reject("192.0.2.1") is None


async def test_the_eleventh_invitation_of_a_minute_is_refused_with_400():
    sim = organization()
    project = sim.add_project("Data Lake")
    async with asking(sim) as ask:
        got = [
            await ask(
                "POST",
                f"/groups/{project}/invites",
                json={"roles": ["GROUP_OWNER"], "username": f"u{number}@example.com"},
            )
            for number in range(11)
        ]
    assert [each.status for each in got] == [200] * 10 + [400]
    assert got[-1].code == "INVITATIONS_RATE_LIMITED_IP"
