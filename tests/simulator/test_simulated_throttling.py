"""Rate limits of the simulated Atlas: refills, scopes and the 429."""

from buckets import set_bucket, spend
from hypothesis import given
from hypothesis import strategies as st
from simulator.simulated import ORG, V2023, V2025, Clock, open_client, organization

from invite_sweeper.simulator.throttling import BucketLimit, SimulatedBucket


def test_bucket_is_refilled_per_period_up_to_its_capacity():
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
def test_bucket_never_exceeds_capacity_plus_refills(capacity, refill, period_s, gaps_s):
    bucket = SimulatedBucket(BucketLimit(capacity, refill, period_s), anchor_s=0.0)
    now_s = taken = 0
    for gap_s in gaps_s:
        now_s += gap_s
        taken += bucket.take_up_to(float(now_s), 3)
        assert 0 <= bucket.tokens <= capacity
        assert taken <= capacity + refill * (now_s // period_s)


async def test_empty_project_bucket_is_429_with_the_documented_text():
    clock = Clock()
    sim = organization(monotonic=clock)
    limited, unlimited = sim.add_project("hot"), sim.add_project("cold")
    set_bucket(sim, "projects_group", limited, capacity=2, refill=1, period_s=60)
    async with open_client(sim) as request:
        statuses = [(await request("GET", f"/groups/{limited}/invites")).status for _ in range(2)]
        clock.now_s += 5
        refused = await request("GET", f"/groups/{limited}/invites")
        other = await request("GET", f"/groups/{unlimited}/invites")
        clock.now_s += 55
        after = [(await request("GET", f"/groups/{limited}/invites")).status for _ in range(2)]
    assert statuses == [200, 200]
    resource = f"api/atlas/v2/groups/{limited}/invites"
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


async def test_operations_of_a_project_share_a_bucket_but_users_have_their_own(sim, project):
    invitation = sim.invite(project, "ada@example.com")

    async def remaining(request, method, path, accept=V2023):
        return (await request(method, path, accept=accept)).headers["Ratelimit-Remaining"]

    async with open_client(sim) as request:
        invites = f"/groups/{project}/invites"
        shared = [
            await remaining(request, "GET", invites),
            await remaining(request, "DELETE", f"{invites}/{invitation}"),
            await remaining(request, "DELETE", f"{invites}/{invitation}"),
        ]
        own = await remaining(request, "GET", f"/groups/{project}/users", V2025)
        org = await remaining(request, "GET", f"/orgs/{ORG}/invites")
    assert shared == ["1199", "1198", "1197"]
    assert (own, org) == ("1199", "499")


def test_set_bucket_for_one_scope_does_not_change_another():
    sim = organization(monotonic=Clock())
    one, other = sim.add_project("one"), sim.add_project("other")
    assert [spend(sim, each, 1000) for each in (one, other)] == [1000, 1000]
    set_bucket(sim, "projects_group", one, capacity=300, refill=1)
    assert [spend(sim, each, 999) for each in (one, other)] == [300, 200]
    set_bucket(sim, "projects_group", capacity=7, refill=1)
    assert spend(sim, other, 999) == 7


async def test_enforcement_can_be_disabled(sim):
    sim.throttling.enforced = False
    set_bucket(sim, "projects_user", capacity=1, refill=1)
    async with open_client(sim) as request:
        response = [await request("GET", "/groups") for _ in range(3)]
    assert [each.status for each in response] == [200, 200, 200]
