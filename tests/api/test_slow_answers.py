"""Responses that take a minute or more, on an event loop that skips idle time."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import faults
import pytest
from builders import object_id
from virtual_time import run_skipping_idle_time

from invite_sweeper.atlas import RateLimiter, RetryPolicy, connect, read_credentials
from invite_sweeper.atlas.http import parse_base_url
from invite_sweeper.models import (
    DeletionProgress,
    ListUnreadable,
    Outcome,
    Project,
    Source,
)
from invite_sweeper.simulator import SimulatedAtlas, serve


class NullLog:
    def debug(self, event, **fields):
        return None


def sim_with(fault, *, times=1):
    sim = SimulatedAtlas()
    sim.add_organization("5efda682a3f2ed2e7dd6cde4", "Example Org")
    project = sim.add_project("Alpha", project_id=object_id(1))
    sim.invite(project, "ada@example.com", age=timedelta(days=20))
    sim.faults.add(fault, method="DELETE", times=times)
    return sim


PROJECT = Project(object_id(1), "Alpha", "0" * 24)


@asynccontextmanager
async def connected(sim, account=None, *, concurrency=20, spacing=None, **retry_options):
    """Serve the simulated Atlas and connect to it, on the clock of the event loop."""
    loop = asyncio.get_running_loop()
    async with (
        serve(sim) as base_url,
        connect(
            parse_base_url(base_url),
            read_credentials((account or sim.add_token()).environment(), None),
            concurrency=concurrency,
            retry_policy=RetryPolicy(monotonic=loop.time, **retry_options),
            limiter=RateLimiter(loop.time, asyncio.sleep, max_requests_per_second=spacing),
            clock=lambda: datetime.now(UTC),
            log=NullLog(),
        ) as atlas,
    ):
        yield atlas


async def delete_one(sim, **options):
    async with connected(sim, **options) as atlas:
        (one,) = await atlas.reader.invitations(PROJECT)
        atlas.deleter(Source).try_acquire(one)
        return await atlas.deleter(Source).delete(one, DeletionProgress())


@pytest.mark.parametrize("seconds", [60, 100, 118])
def test_response_within_120_s_is_used_without_a_retry(seconds):
    sim = sim_with(faults.delay(seconds))

    deletion, took_s = run_skipping_idle_time(lambda: delete_one(sim))

    assert (deletion.outcome, deletion.attempts) == (Outcome.DELETED, 1)
    assert seconds <= took_s < seconds + 5


def test_attempt_without_a_response_fails_after_120_s():
    sim = sim_with(faults.hang(), times=None)

    deletion, took_s = run_skipping_idle_time(lambda: delete_one(sim, attempts=1))

    assert (deletion.outcome, deletion.attempts) == (Outcome.FAILED, 1)
    assert 119 <= took_s < 125


def test_each_attempt_has_its_own_timeout_of_120_s():
    sim = sim_with(faults.delay(130), times=2)

    deletion, took_s = run_skipping_idle_time(lambda: delete_one(sim))

    assert (deletion.outcome, deletion.attempts) == (Outcome.ALREADY_GONE, 3)
    assert 240 <= took_s < 260


def test_list_that_times_out_is_unreadable_with_that_reason():
    sim = sim_with(faults.reset())
    sim.faults.add(faults.hang(), path="*/invites", times=None)

    async def scenario():
        async with connected(sim, attempts=2) as atlas:
            return await atlas.reader.invitations(PROJECT)

    found, _ = run_skipping_idle_time(scenario)

    assert isinstance(found, ListUnreadable)
    assert found.reason == "Timed out after 120 s."


def test_spacing_of_50_s_does_not_time_out_any_request():
    sim = sim_with(faults.delay(0))
    for number in range(8):
        sim.invite(object_id(1), f"user-{number}@example.com", age=timedelta(days=20))

    async def scenario():
        async with connected(sim, sim.add_api_key(), spacing=0.02) as atlas:
            found = await atlas.reader.invitations(PROJECT)
            deleter = atlas.deleter(Source)
            assert all(deleter.try_acquire(one) == 0.0 for one in found)
            await asyncio.gather(*(deleter.delete(one, DeletionProgress()) for one in found))
            return atlas.counters

    counters, took_s = run_skipping_idle_time(scenario)

    assert sim.invitation_count() == 0
    assert counters.retries == 0
    assert took_s >= 50 * (counters.requests - 2)
