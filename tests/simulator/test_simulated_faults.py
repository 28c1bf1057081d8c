"""Faults affect the requests they are scheduled for."""

from collections import Counter
from datetime import timedelta

import faults
import pytest
from simulator.simulated import open_client, organization

from invite_sweeper.simulator.faults import FaultPlan


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({}, "x    "),
        ({"nth": 2, "times": 2}, " xx  "),
        ({"nth": 3, "times": None}, "  xxx"),
        ({"method": "DELETE"}, "   x "),
        ({"path": "*/invites/*", "times": None}, "   xx"),
        ({"method": "GET", "path": "*/invites/*"}, "    x"),
    ],
)
def test_fault_affects_requests_of_its_method_and_path_from_the_nth_on(schedule, expected):
    plan, fault = FaultPlan(), faults.fail_with(503)
    plan.add(fault, **schedule)
    requests = [*[("GET", "/groups")] * 3, ("DELETE", "/invites/1"), ("GET", "/invites/1")]
    found = [plan.faults_for(*each) for each in requests]
    assert found == [(fault,) if each == "x" else () for each in expected]
    plan.add(fault, times=None)
    plan.clear()
    assert plan.faults_for("DELETE", "/invites/1") == ()


OFTEN, RARELY = faults.fail_with(), faults.reset(late=True)


def random_faults(seed):
    plan = FaultPlan(seed)
    plan.add(OFTEN, rate=0.05, method="DELETE")
    plan.add(RARELY, rate=0.01, method="DELETE")
    assert plan.faults_for("GET", "/x") == ()
    return [plan.faults_for("DELETE", "/x") for _ in range(4000)]


def test_random_faults_match_their_rate_and_repeat_with_the_seed():
    first, again, other = random_faults(1), random_faults(1), random_faults(2)
    assert first == again != other
    counts = Counter(fault for faults_ in first for fault in faults_)
    assert 0.04 < counts[OFTEN] / 4000 < 0.06
    assert 0.005 < counts[RARELY] / 4000 < 0.016


async def test_early_fault_keeps_the_invitation_and_late_fault_deletes_it(sim, project):
    invitation = sim.invite(project, "ada@example.com")
    path = f"/groups/{project}/invites/{invitation}"
    sim.faults.add(faults.fail_with(500), method="DELETE")
    sim.faults.add(faults.fail_with(500, late=True), method="DELETE", nth=2)
    async with open_client(sim) as request:
        assert (await request("DELETE", path)).status == 500
        assert sim.invitations(project) == (invitation,)
        assert (await request("DELETE", path)).status == 500
        assert sim.invitations(project) == ()
        assert (await request("DELETE", path)).status == 404
    assert sim.deleted == (invitation,)


async def test_effect_runs_just_before_or_after_the_request(sim, project):
    invitation = sim.invite(project, "ada@example.com", age=timedelta(days=20))
    user = sim.add_user("bob@example.com", group_roles={project: ("GROUP_OWNER",)})
    seen = []

    def accepts(call):
        seen.append((call.scope_id, call.item_id))
        sim.accept(call.scope_id, call.item_id)
        sim.set_status(call.item_id, "ACTIVE")

    sim.faults.add(faults.effect(before=accepts), method="DELETE", path=f"*/{invitation}")
    sim.faults.add(faults.effect(after=accepts), method="GET", path=f"*/{user}")
    async with open_client(sim) as request:
        deleted = await request("DELETE", f"/groups/{project}/invites/{invitation}")
        path = f"/groups/{project}/users/{user}"
        before, after = [await request("GET", path) for _ in range(2)]
    assert deleted.status == 404
    statuses = [each.json()["orgMembershipStatus"] for each in (before, after)]
    assert statuses == ["PENDING", "ACTIVE"]
    assert seen == [(project, invitation), (project, user)]


async def test_delays_use_the_given_sleep():
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    sim = organization(sleep=sleep)
    sim.faults.add(faults.delay(0.5), times=None)
    sim.faults.add(faults.delay(60))
    async with open_client(sim) as request:
        assert [(await request("GET", "/groups")).status for _ in range(2)] == [200, 200]
    assert slept == [0.5, 60, 0.5]
