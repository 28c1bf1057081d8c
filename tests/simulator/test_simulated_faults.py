"""Faults affect the requests they are scheduled for."""

import time
from collections import Counter
from datetime import timedelta

import faults
import pytest
from simulator.simulated import V2025, open_client, organization


@pytest.fixture
def invitation(sim, project):
    return sim.invite(project, "ada@example.com", age=timedelta(days=20))


async def test_fault_affects_the_nth_match_and_times_requests(sim):
    sim.faults.add(faults.fail_with(503), method="GET", path="*/groups", nth=2, times=2)
    async with open_client(sim) as request:
        statuses = [(await request("GET", "/groups")).status for _ in range(5)]
        assert (await request("GET", "/orgs")).status == 200
    assert statuses == [200, 503, 503, 200, 200]


async def test_fault_with_times_none_lasts_until_cleared(sim):
    sim.faults.add(faults.challenge(), times=None)
    async with open_client(sim) as request:
        assert [(await request("GET", "/groups")).status for _ in range(3)] == [401, 401, 401]
        sim.faults.clear()
        assert (await request("GET", "/groups")).status == 200


async def test_fault_matches_a_path_glob_and_an_exact_method(sim, project, invitation):
    sim.faults.add(faults.fail_with(), method="DELETE", path="*/invites/*")
    async with open_client(sim) as request:
        path = f"/groups/{project}/invites/{invitation}"
        assert (await request("GET", f"/groups/{project}/invites")).status == 200
        assert (await request("DELETE", path)).status == 500
        assert (await request("DELETE", path)).status == 204


async def test_early_fault_keeps_the_invitation_and_late_fault_deletes_it(sim, project, invitation):
    sim.faults.add(faults.fail_with(500), method="DELETE")
    sim.faults.add(faults.fail_with(500, late=True), method="DELETE", nth=2)
    async with open_client(sim) as request:
        path = f"/groups/{project}/invites/{invitation}"
        assert (await request("DELETE", path)).status == 500
        assert sim.invitations(project) == (invitation,)
        assert (await request("DELETE", path)).status == 500
        assert sim.invitations(project) == ()
        assert (await request("DELETE", path)).status == 404
    assert sim.deleted == (invitation,)
    assert sim.request_log.confirmed == set()


async def test_dripping_response_is_complete_and_takes_its_time_for_each_byte(sim):
    sim.faults.add(faults.drip(0.0001))
    async with open_client(sim) as request:
        started_s = time.monotonic()
        response = await request("GET", "/groups")
        assert response.status == 200
        assert time.monotonic() - started_s > 0.0001 * len(response.body)


async def test_effect_runs_just_before_or_after_the_request(sim, project, invitation):
    user = sim.add_user("bob@example.com", group_roles={project: ("GROUP_OWNER",)})
    seen = []

    def accepts(context):
        seen.append(context)
        sim.accept(context.scope_id, context.item_id)
        sim.set_status(context.item_id, "ACTIVE")

    sim.faults.add(faults.effect(before=accepts), method="DELETE", path=f"*/{invitation}")
    sim.faults.add(faults.effect(after=accepts), method="GET", path=f"*/{user}")
    async with open_client(sim) as request:
        deleted = await request("DELETE", f"/groups/{project}/invites/{invitation}")
        path = f"/groups/{project}/users/{user}"
        before, after = [await request("GET", path, accept=V2025) for _ in range(2)]
    assert deleted.status == 404
    statuses = [each.json()["orgMembershipStatus"] for each in (before, after)]
    assert statuses == ["PENDING", "ACTIVE"]
    assert [(each.scope_id, each.item_id) for each in seen] == [
        (project, invitation),
        (project, user),
    ]


async def test_delays_use_the_given_sleep():
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    sim = organization(sleep=sleep)
    sim.faults.add(faults.delay(60))
    sim.faults.set_latency(0.5)
    async with open_client(sim) as request:
        first = await request("GET", "/groups")
        await request("GET", "/groups")
    assert slept == [0.5, 60, 0.5]
    assert first.status == 200


def random_faults(seed):
    sim = organization(seed=seed)
    sim.faults.add_random(faults.fail_with(), 0.05, method="DELETE")
    sim.faults.add_random(faults.reset(late=True), 0.01, method="DELETE")
    return [sim.faults.faults_for("DELETE", "/x") for _ in range(4000)]


def test_random_faults_match_their_rate_and_repeat_with_the_seed():
    first, again, other = random_faults(1), random_faults(1), random_faults(2)
    assert first == again != other
    counts = Counter(fault for faults_ in first for fault in faults_)
    assert 0.04 < counts[faults.fail_with()] / 4000 < 0.06
    assert 0.005 < counts[faults.reset(late=True)] / 4000 < 0.016


def test_random_fault_does_not_affect_other_methods(sim):
    sim.faults.add_random(faults.fail_with(), 1.0, method="DELETE")
    assert sim.faults.faults_for("GET", "/x") == ()
    assert sim.faults.faults_for("DELETE", "/x") == (faults.fail_with(),)


async def test_requests_are_logged_with_path_status_and_time_unless_disabled(sim):
    async with open_client(sim) as request:
        await request("GET", "/groups?pageNum=1")
        sim.request_log.enabled = False
        await request("GET", "/nothing")
    (record,) = sim.requests
    assert (record.method, record.path, record.status) == (
        "GET",
        "/api/atlas/v2/groups?pageNum=1",
        200,
    )
    assert record.at_s <= sim.monotonic()
    assert sim.request_log.statuses == {200: 1, 404: 1}
