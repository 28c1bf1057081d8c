"""A simulated organization with one project."""

import pytest
from simulator.simulated import organization

from invite_sweeper.simulator import SimulatedAtlas


@pytest.fixture
def sim() -> SimulatedAtlas:
    return organization()


@pytest.fixture
def project(sim) -> str:
    return sim.add_project("Data Lake")
