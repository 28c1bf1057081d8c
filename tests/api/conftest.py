"""Fixtures of the client's tests: a clock that advances only in `sleep`, and connections."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest
from builders import ORG
from observed import ObservedAtlas
from virtual_time import FakeTime

from invite_sweeper.atlas.credentials import Credentials, CredentialsKind, Secret, read_credentials
from invite_sweeper.atlas.deleter import AtlasClient
from invite_sweeper.atlas.http import open_http, parse_base_url
from invite_sweeper.atlas.limits import RateLimiter
from invite_sweeper.policy import Execution
from invite_sweeper.simulator import serve


@pytest.fixture
def fake_time():
    return FakeTime()


@pytest.fixture
def retry_log():
    return Mock(spec_set=["debug", "info"])


@pytest.fixture
def sim():
    """A simulated Atlas with one empty organization and no rate limits."""
    atlas = ObservedAtlas()
    atlas.throttling.enforced = False
    atlas.add_organization(ORG, "Example Org")
    return atlas


@pytest.fixture
def alpha(sim):
    """The id of an empty project."""
    return sim.add_project("Alpha")


@pytest.fixture
def connecting(fake_time, retry_log):
    """Connect to a base URL, with an account of the simulated Atlas or with credentials."""

    @asynccontextmanager
    async def connected(
        base_url,
        account=None,
        *,
        concurrency=20,
        attempts=5,
        sleep=fake_time.sleep,
        clock=lambda: datetime.now(UTC),
        connector=None,
        **options,
    ):
        if hasattr(account, "environment"):
            account = read_credentials(account.environment())
        async with (
            open_http(parse_base_url(base_url), connector) as http,
            AtlasClient(
                http,
                account
                or Credentials(CredentialsKind.ACCESS_TOKEN, "token", Secret("a-ready-token")),
                execution=Execution(concurrency=concurrency, attempts=attempts),
                limiter=RateLimiter(fake_time.monotonic, sleep),
                clock=clock,
                log=retry_log,
                **options,
            ) as atlas,
        ):
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
