"""The limits of the policy hold for the limiter of a run, which all its clients share."""

import asyncio

import pytest
from builders import ORG, OTHER_ORG, policy

from invite_sweeper.atlas import endpoints
from invite_sweeper.atlas.deleter import open_limiter
from invite_sweeper.audit import History
from invite_sweeper.cli.options import RunOptions
from invite_sweeper.cli.session import Session
from invite_sweeper.cli.settings import check_options
from invite_sweeper.policy import Execution


def test_limiter_leaves_the_reserve_of_the_policy_to_other_programs():
    limiter = open_limiter(Execution(reserve=0.5))
    bucket = limiter.bucket(endpoints.PROJECTS_GROUP, "x")
    waits = []
    for remaining in (601, 600):  # of 1,200
        bucket.in_flight += 1
        bucket.on_response(limiter.clock(), remaining=remaining)
        waits.append(bucket.wait_s(limiter.clock()) > 0)
    assert waits == [False, True]


async def waits(limiter):
    """Return whether a request must wait for its place."""
    place = asyncio.ensure_future(limiter.wait_for_spacing())
    for _ in range(5):
        await asyncio.sleep(0)
    is_done = place.done()
    place.cancel()
    return not is_done


@pytest.mark.parametrize(("most", "second_waits"), [(None, False), (0.01, True)])
async def test_limiter_keeps_max_requests_per_second_of_the_policy(most, second_waits):
    limiter = open_limiter(Execution(max_requests_per_second=most))
    assert not await waits(limiter)
    assert await waits(limiter) is second_waits


async def test_max_requests_per_second_is_a_ceiling_over_all_organizations(tmp_path):
    organizations = [{"id": ORG, "credentials": "A"}, {"id": OTHER_ORG, "credentials": "B"}]
    rules = policy(organizations=organizations, execution={"max_requests_per_second": 0.01})
    environment = {f"MONGODB_ATLAS_ACCESS_TOKEN_{name}": f"a-token-of-{name}" for name in "AB"}
    options = RunOptions(policy=tmp_path / "policy.yaml")
    session = Session(check_options(options, environment, rules))
    async with session.organizations(History()) as (one, other):
        assert one.client is not other.client
        assert not await waits(one.client.limiter)
        assert await waits(other.client.limiter)
