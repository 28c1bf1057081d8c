"""What goes wrong in the simulated Atlas goes wrong as planned, and as often."""

import asyncio
from collections import Counter
from datetime import timedelta

import aiohttp
import pytest
from simulator.simulated import asking, organization

from invite_sweeper.simulator import faults


@pytest.fixture
def sim():
    return organization()


@pytest.fixture
def project(sim):
    return sim.add_project("Data Lake")


@pytest.fixture
def invitation(sim, project):
    return sim.invite(project, "ada@example.com", age=timedelta(days=20))


async def test_a_fault_hits_the_nth_match_and_as_many_as_told(sim):
    sim.faults.add(faults.fail_with(503), method="GET", path="*/groups", nth=2, times=2)
    async with asking(sim) as ask:
        statuses = [(await ask("GET", "/groups")).status for _ in range(5)]
        assert (await ask("GET", "/orgs")).status == 200
    assert statuses == [200, 503, 503, 200, 200]


async def test_a_fault_without_an_end_lasts_until_all_are_cleared(sim):
    sim.faults.add(faults.challenge(), times=None)
    async with asking(sim) as ask:
        assert [(await ask("GET", "/groups")).status for _ in range(3)] == [401, 401, 401]
        sim.faults.clear()
        assert (await ask("GET", "/groups")).status == 200


async def test_a_pattern_is_a_glob_over_the_path_and_a_method_is_exact(sim, project, invitation):
    sim.faults.add(faults.fail_with(), method="DELETE", path="*/invites/*")
    async with asking(sim) as ask:
        path = f"/groups/{project}/invites/{invitation}"
        assert (await ask("GET", path)).status == 200
        assert (await ask("DELETE", path)).status == 500
        assert (await ask("DELETE", path)).status == 204


async def test_an_early_fault_leaves_the_invitation_and_a_late_one_has_deleted_it(
    sim, project, invitation
):
    sim.faults.add(faults.fail_with(500), method="DELETE")
    sim.faults.add(faults.fail_with(500, late=True), method="DELETE", nth=2)
    async with asking(sim) as ask:
        path = f"/groups/{project}/invites/{invitation}"
        assert (await ask("DELETE", path)).status == 500
        assert sim.invitations(project) == (invitation,)
        assert (await ask("DELETE", path)).status == 500
        assert sim.invitations(project) == ()
        assert (await ask("DELETE", path)).status == 404
    assert sim.deleted == (invitation,)
    assert sim.request_log.confirmed == set()


@pytest.mark.parametrize("late", [False, True])
async def test_a_reset_breaks_the_connection_before_or_after_the_deletion(
    sim, project, invitation, late
):
    sim.faults.add(faults.reset(late=late), method="DELETE")
    async with asking(sim) as ask:
        with pytest.raises(aiohttp.ClientConnectionError):
            await ask("DELETE", f"/groups/{project}/invites/{invitation}")
        assert (await ask("GET", "/groups")).status == 200
    assert sim.invitations(project) == (() if late else (invitation,))
    assert [each.status for each in sim.requests] == [0, 200]
    assert sim.request_log.statuses[0] == 1


@pytest.mark.parametrize("late", [False, True])
async def test_a_hang_says_nothing_until_the_server_ends(sim, project, invitation, late):
    sim.faults.add(faults.hang(late=late), method="DELETE")
    async with asking(sim) as ask:
        call = asyncio.create_task(ask("DELETE", f"/groups/{project}/invites/{invitation}"))
        while sim.deletes_received == 0:
            await asyncio.sleep(0)
        assert (await ask("GET", "/groups")).status == 200
        assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert sim.invitations(project) == (() if late else (invitation,))


async def test_a_truncated_body_ends_before_its_length(sim):
    sim.faults.add(faults.truncated())
    async with asking(sim) as ask:
        with pytest.raises(aiohttp.ClientPayloadError):
            await ask("GET", "/groups")
        assert (await ask("GET", "/groups")).status == 200


async def test_a_truncated_answer_without_a_body_ends_in_its_head(sim, project, invitation):
    sim.faults.add(faults.truncated())
    async with asking(sim) as ask:
        with pytest.raises(aiohttp.ClientError):
            await ask("DELETE", f"/groups/{project}/invites/{invitation}")
    assert sim.invitations(project) == ()


async def test_a_body_may_be_no_json_under_a_head_that_says_it_is(sim):
    sim.faults.add(faults.malformed(b"<oops>"))
    async with asking(sim) as ask:
        got = await ask("GET", "/groups")
    assert (got.status, got.body) == (200, b"<oops>")
    assert got.headers["Content-Type"].startswith("application/vnd.atlas.2023-01-01+json")


async def test_a_true_body_may_come_under_another_media_type(sim):
    sim.faults.add(faults.mislabelled("text/plain"))
    async with asking(sim) as ask:
        got = await ask("GET", "/groups")
    assert got.headers["Content-Type"] == "text/plain"
    assert got.json()["results"] == []


@pytest.mark.parametrize(
    ("fault", "status", "headers"),
    [
        (faults.upgrade(), 405, {"Content-Type": "application/json"}),
        (faults.redirect("https://elsewhere.example.com/"), 302, {"Content-Length": "0"}),
        (faults.fail_with(503, retry_after="7"), 503, {"Retry-After": "7"}),
        (faults.html(503, retry_after="9"), 503, {"Retry-After": "9", "Connection": "close"}),
        (faults.empty(401), 401, {"Content-Length": "0"}),
        (faults.role_missing(), 401, {"Content-Type": "application/json"}),
        (faults.challenge(), 401, {"Server": "mdbws"}),
    ],
)
async def test_each_answer_in_place_of_the_true_one_has_its_status_and_headers(
    sim, fault, status, headers
):
    sim.faults.add(fault)
    async with asking(sim) as ask:
        got = await ask("GET", "/groups")
    assert got.status == status
    assert headers.items() <= dict(got.headers).items()
    assert ("Www-Authenticate" in got.headers) == (fault == faults.challenge())


async def test_the_upgrade_says_its_code_in_the_body_alone(sim):
    sim.faults.add(faults.upgrade())
    async with asking(sim) as ask:
        got = await ask("DELETE", "/groups")
    assert got.code == "WRITES_NOT_ALLOWED_DURING_APP_UPGRADES"
    assert "X-Error-Code" not in got.headers


async def test_something_else_may_happen_just_before_or_just_after(sim, project, invitation):
    other = sim.invite(project, "bob@example.com")
    seen = []

    def accepts(visit):
        seen.append(visit)
        sim.accept(visit.scope_id, visit.item_id)

    sim.faults.add(faults.effect(before=accepts), method="DELETE", path=f"*/{invitation}")
    sim.faults.add(faults.effect(after=accepts), method="GET", path=f"*/{other}")
    async with asking(sim) as ask:
        lost = await ask("DELETE", f"/groups/{project}/invites/{invitation}")
        read = await ask("GET", f"/groups/{project}/invites/{other}")
        gone = await ask("GET", f"/groups/{project}/invites/{other}")
    assert (lost.status, read.status, gone.status) == (404, 200, 404)
    assert [(each.scope_id, each.item_id) for each in seen] == [
        (project, invitation),
        (project, other),
    ]


async def test_delays_are_slept_through_the_sleep_that_was_given():
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    sim = organization(sleep=sleep)
    sim.faults.add(faults.delay(60))
    sim.faults.set_latency(0.5)
    async with asking(sim) as ask:
        first = await ask("GET", "/groups")
        await ask("GET", "/groups")
    assert slept == [0.5, 60, 0.5]
    assert first.status == 200


async def test_latency_jitters_within_its_bounds():
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    sim = organization(sleep=sleep)
    sim.faults.set_latency(0.5, 0.25)
    async with asking(sim) as ask:
        for _ in range(20):
            await ask("GET", "/groups")
    assert all(0.5 <= each <= 0.75 for each in slept)
    assert len(set(slept)) == 20


def drawn(seed):
    sim = organization(seed=seed)
    sim.faults.add_random(faults.fail_with(), 0.05, method="DELETE")
    sim.faults.add_random(faults.reset(late=True), 0.01, method="DELETE")
    return [sim.faults.faults_for("DELETE", "/x") for _ in range(4000)]


def test_random_faults_are_as_frequent_as_told_and_the_same_for_a_seed():
    first, again, other = drawn(1), drawn(1), drawn(2)
    assert first == again != other
    counts = Counter(fault for faults_ in first for fault in faults_)
    assert 0.04 < counts[faults.fail_with()] / 4000 < 0.06
    assert 0.005 < counts[faults.reset(late=True)] / 4000 < 0.016


def test_other_methods_are_left_alone():
    sim = organization()
    sim.faults.add_random(faults.fail_with(), 1.0, method="DELETE")
    assert sim.faults.faults_for("GET", "/x") == ()
    assert sim.faults.faults_for("DELETE", "/x") == (faults.fail_with(),)


async def test_requests_are_logged_with_path_status_and_time_unless_that_is_turned_off(sim):
    async with asking(sim) as ask:
        await ask("GET", "/groups?pageNum=1")
        sim.request_log.enabled = False
        await ask("GET", "/nothing")
    (kept,) = sim.requests
    assert (kept.method, kept.path, kept.status) == ("GET", "/api/atlas/v2/groups?pageNum=1", 200)
    assert kept.at_s <= sim.monotonic()
    assert sim.request_log.statuses == {200: 1, 404: 1}
