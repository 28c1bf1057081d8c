"""Buckets of the simulated Atlas: stepwise refill, scopes, and what a 429 says."""

from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulator.simulated import ORG, RATES, Clock, asking, organization

from invite_sweeper.simulator import ENDPOINT_SETS
from invite_sweeper.simulator.throttling import BucketLimit, SimulatedBucket


def test_a_bucket_gives_back_in_steps_and_never_more_than_it_holds():
    bucket = SimulatedBucket(BucketLimit(10, 4, 60.0), anchor_s=0.0)
    assert bucket.take_up_to(0.0, 9) == 9
    assert bucket.take_up_to(59.9, 5) == 1
    assert bucket.take_up_to(60.0, 9) == 4
    assert bucket.take_up_to(119.9, 1) == 0
    assert bucket.next_refill_s(119.9) == 1
    assert bucket.take_up_to(300.0, 99) == 10


@given(
    capacity=st.integers(1, 50),
    refill=st.integers(1, 20),
    period_s=st.integers(1, 30),
    gaps_s=st.lists(st.integers(0, 40), max_size=80),
)
def test_a_bucket_never_gives_more_than_capacity_and_its_steps_allow(
    capacity, refill, period_s, gaps_s
):
    bucket = SimulatedBucket(BucketLimit(capacity, refill, period_s), anchor_s=0.0)
    now_s = taken = 0
    for gap_s in gaps_s:
        now_s += gap_s
        taken += bucket.take_up_to(float(now_s), 3)
        assert 0 <= bucket.tokens <= capacity
        assert taken <= capacity + refill * (now_s // period_s)


async def test_a_dry_project_refuses_with_the_documented_words_and_others_do_not():
    clock = Clock()
    sim = organization(monotonic=clock)
    hot, cold = sim.add_project("hot"), sim.add_project("cold")
    sim.set_bucket("projects_group", hot, capacity=2, refill=1, period_s=60)
    async with asking(sim) as ask:
        statuses = [(await ask("GET", f"/groups/{hot}/invites")).status for _ in range(2)]
        clock.now_s += 5
        refused = await ask("GET", f"/groups/{hot}/invites")
        other = await ask("GET", f"/groups/{cold}/invites")
        clock.now_s += 55
        after = [(await ask("GET", f"/groups/{hot}/invites")).status for _ in range(2)]
    assert statuses == [200, 200]
    resource = f"api/atlas/v2/groups/{hot}/invites"
    assert refused.json() == {
        "detail": f"Rate limit exceeded for {resource}. Please retry after 55 seconds."
        " Request capacity: 2. Refill rate: 1 per 60 seconds.",
        "error": 429,
        "errorCode": "RATE_LIMITED_TOKEN_BUCKET",
        "parameters": [resource, 55, 2, 1, 60],
        "reason": "Too Many Requests",
    }
    assert refused.headers["Retry-After"] == "55"
    assert refused.headers["X-Error-Code"] == "RATE_LIMITED_TOKEN_BUCKET"
    assert (refused.headers["Ratelimit-Limit"], refused.headers["Ratelimit-Remaining"]) == (
        "2",
        "0",
    )
    assert other.status == 200
    assert after == [200, 429]


@pytest.mark.parametrize(
    ("kind", "told"),
    [("seconds", "60"), ("missing", None), ("zero", "0"), ("huge", "86400")],
)
async def test_retry_after_may_be_told_in_several_ways(kind, told):
    clock = Clock()
    sim = organization(monotonic=clock)
    sim.set_bucket("projects_user", capacity=1, refill=1, period_s=60, anchor_s=clock.now_s)
    sim.throttling.retry_after = kind
    async with asking(sim) as ask:
        await ask("GET", "/groups")
        got = await ask("GET", "/groups")
    assert got.status == 429
    assert got.headers.get("Retry-After") == told


async def test_retry_after_may_be_a_date_by_the_clock_of_the_answer():
    clock = Clock()
    sim = organization(monotonic=clock)
    sim.set_bucket("projects_user", capacity=1, refill=1, period_s=60)
    sim.throttling.retry_after = "date"
    async with asking(sim) as ask:
        await ask("GET", "/groups")
        got = await ask("GET", "/groups")
    told = parsedate_to_datetime(got.headers["Retry-After"])
    assert (told - parsedate_to_datetime(got.headers["Date"])).total_seconds() == 60


async def test_calls_of_one_project_share_a_bucket_and_its_users_have_their_own():
    sim = organization()
    project = sim.add_project("Data Lake")
    invitation = sim.invite(project, "ada@example.com")

    async def remaining(ask, method, path):
        return (await ask(method, path)).headers["Ratelimit-Remaining"]

    async with asking(sim) as ask:
        invites = f"/groups/{project}/invites"
        shared = [
            await remaining(ask, "GET", f"/groups/{project}"),
            await remaining(ask, "GET", invites),
            await remaining(ask, "DELETE", f"{invites}/{invitation}"),
            await remaining(ask, "DELETE", f"{invites}/{invitation}"),
        ]
        own = await remaining(ask, "GET", f"/groups/{project}/users")
        org = await remaining(ask, "GET", f"/orgs/{ORG}/invites")
    assert shared == ["1199", "1198", "1197", "1196"]
    assert (own, org) == ("1199", "499")


def test_other_figures_for_one_scope_leave_the_bucket_of_another_as_it_was():
    sim = organization(monotonic=Clock())
    one, other = sim.add_project("one"), sim.add_project("other")
    assert [sim.spend("projects_group", each, 1000) for each in (one, other)] == [1000, 1000]
    sim.set_bucket("projects_group", one, capacity=300, refill=1)
    assert [sim.spend("projects_group", each, 999) for each in (one, other)] == [300, 200]
    sim.set_bucket("projects_group", capacity=7, refill=1)
    assert sim.spend("projects_group", other, 999) == 7


async def test_another_client_spends_from_the_same_bucket():
    sim = organization()
    project = sim.add_project("Data Lake")
    sim.set_bucket("projects_group", capacity=10, refill=5)
    assert sim.spend("projects_group", project, 7) == 7
    async with asking(sim) as ask:
        got = await ask("GET", f"/groups/{project}")
    assert got.headers["Ratelimit-Remaining"] == "2"
    assert sim.spend("projects_group", project, 7) == 2


async def test_headers_may_be_left_out_and_buckets_not_enforced():
    sim = organization()
    sim.throttling.headers = False
    sim.throttling.enforced = False
    sim.set_bucket("projects_user", capacity=1, refill=1)
    async with asking(sim) as ask:
        got = [await ask("GET", "/groups") for _ in range(3)]
    assert [each.status for each in got] == [200, 200, 200]
    assert not any("Ratelimit" in name for each in got for name in each.headers)


async def test_rate_limits_tell_all_sets_or_those_of_a_scope_with_what_holds_there():
    sim = organization()
    project = sim.add_project("Data Lake")
    sim.set_bucket("projects_group", project, capacity=60, refill=30, period_s=2)
    async with asking(sim) as ask:
        everything = await ask("GET", "/rateLimits", accept=RATES)
        here = await ask("GET", f"/rateLimits?groupId={project}", accept=RATES)
        named = await ask(
            "GET", "/rateLimits?name=Projects&endpointPath=/api/atlas/v2/groups", accept=RATES
        )
        one = await ask("GET", f"/rateLimits/projects_group?groupId={project}", accept=RATES)
        unknown = await ask("GET", "/rateLimits/nothing", accept=RATES)
    assert everything.headers["Content-Type"] == f"{RATES};charset=utf-8"
    ids = [each["endpointSetId"] for each in everything.json()["results"]]
    assert ids == list(ENDPOINT_SETS)
    assert {each["scope"] for each in here.json()["results"]} == {"GROUP"}
    held = next(e for e in here.json()["results"] if e["endpointSetId"] == "projects_group")
    assert held["capacity"] == {"defaultValue": 1200, "value": 60}
    assert held["refillRate"] == {"defaultValue": 500, "value": 30}
    assert held["refillDurationSeconds"] == {"defaultValue": 60, "value": 2}
    assert [each["endpointSetId"] for each in named.json()["results"]] == ["projects_user"]
    assert one.json() == held
    assert unknown.status == 404


@pytest.mark.parametrize(
    ("query", "status"),
    [
        (f"groupId={'0' * 24}", 404),
        ("userId=somebody-else", 401),
        (f"orgId={'0' * 24}", 401),
        (f"orgId={ORG}", 200),
        ("itemsPerPage=0", 400),
    ],
)
async def test_rate_limits_of_a_scope_need_read_access_to_it(query, status):
    sim = organization()
    async with asking(sim) as ask:
        listed = await ask("GET", f"/rateLimits?{query}", accept=RATES)
        one = await ask("GET", f"/rateLimits/projects_group?{query}", accept=RATES)
    assert (listed.status, one.status) == (status, status)


async def test_rate_limits_of_a_project_that_may_not_be_read_are_refused():
    sim = organization()
    project = sim.add_project("Data Lake")
    account = sim.add_token()
    account.roles[project] = account.access.NONE
    async with asking(sim, token=account.secret) as ask:
        got = await ask("GET", f"/rateLimits?groupId={project}", accept=RATES)
    assert got.status == 401


async def test_rate_limits_may_be_missing():
    sim = organization()
    sim.rate_limits_served = False
    async with asking(sim) as ask:
        got = await ask("GET", "/rateLimits", accept=RATES)
        one = await ask("GET", "/rateLimits/projects_group", accept=RATES)
    assert (got.status, one.status) == (404, 404)
