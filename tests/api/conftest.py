"""Fixtures of the client's tests: a clock that advances only in `sleep`, and connections."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from unittest import mock

import aiohttp
import aioresponses
import pytest
from aioresponses import core

from invite_sweeper.atlas import (
    BearerToken,
    RateLimiter,
    RetryPolicy,
    Secret,
    connect,
    parse_base_url,
    read_credentials,
)
from invite_sweeper.simulator import SimulatedAtlas, serve

ORG = "5efda682a3f2ed2e7dd6cde4"


class FakeTime:
    """A monotonic clock that advances only in `sleep`.

    Attributes:
        slept: The seconds of each sleep, in order.
    """

    def __init__(self):
        self.now_s = 1000.0
        self.slept = []

    def monotonic(self):
        return self.now_s

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)


class RecordingLog:
    """A log that stores its lines."""

    def __init__(self):
        self.lines = []

    def debug(self, event, **fields):
        self.lines.append((event, fields))


@pytest.fixture
def fake_time():
    return FakeTime()


@pytest.fixture
def retry_log():
    return RecordingLog()


@pytest.fixture
def sim():
    """A simulated Atlas with one empty organization."""
    atlas = SimulatedAtlas()
    atlas.add_organization(ORG, "Example Org")
    return atlas


@pytest.fixture
def connecting(fake_time, retry_log):
    """Connect to a base URL, with an account of the simulated Atlas or with credentials."""

    @asynccontextmanager
    async def connected(
        base_url,
        account=None,
        *,
        clock=lambda: datetime.now(UTC),
        concurrency=20,
        attempts=5,
        deadline_s=None,
        sleep=fake_time.sleep,
        **options,
    ):
        hour_s = fake_time.monotonic() + 3600
        retry_policy = RetryPolicy(
            attempts,
            hour_s if deadline_s is None else deadline_s,
            sleep,
            random=lambda: 0.5,
            monotonic=fake_time.monotonic,
        )
        credentials = (
            account
            if account is None or not hasattr(account, "environment")
            else read_credentials(account.environment(), None)
        )
        async with connect(
            parse_base_url(base_url),
            credentials or BearerToken(Secret("a-ready-token")),
            concurrency=concurrency,
            retry_policy=retry_policy,
            limiter=RateLimiter(fake_time.monotonic, fake_time.sleep, random=lambda: 0.5),
            clock=clock,
            log=retry_log,
            **options,
        ) as atlas:
            yield atlas

    return connected


@pytest.fixture
def online(sim, connecting):
    """Serve the simulated Atlas and connect to it."""

    @asynccontextmanager
    async def connected(account=None, **options):
        account = account or sim.add_token()
        async with serve(sim) as base_url, connecting(base_url, account, **options) as atlas:
            yield atlas

    return connected


@pytest.fixture
def answering():
    """Responses without a server, for tests in which only status and body matter.

    aioresponses skips the client's middlewares, so it cannot test digest or counters, and it
    creates responses without an argument that aiohttp 3.14 requires.
    """

    class CompatibleResponse(aiohttp.ClientResponse):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **{"stream_writer": mock.Mock(), **kwargs})

    with (
        mock.patch.object(core, "ClientResponse", CompatibleResponse),
        aioresponses.aioresponses() as responses,
    ):
        yield responses
