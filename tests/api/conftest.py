"""Fixtures of the client's tests: a clock that advances only in `sleep`, and connections."""

from contextlib import asynccontextmanager
from functools import partial
from unittest.mock import Mock

import pytest
from builders import ORG
from deleting import connected
from observed import ObservedAtlas
from virtual_time import FakeTime

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
def connecting(fake_time, retry_log):
    return partial(connected, monotonic=fake_time.monotonic, sleep=fake_time.sleep, log=retry_log)


@pytest.fixture
def online(sim, connecting):

    @asynccontextmanager
    async def served(account=None, **options):
        account = account or sim.add_token()
        async with serve(sim) as base_url, connecting(base_url, account, **options) as atlas:
            yield atlas

    return served


@pytest.fixture
async def atlas(online):
    """The client of the simulated Atlas, with a token."""
    async with online() as client:
        yield client
