"""A simulated organization."""

import pytest
from simulator.simulated import organization


@pytest.fixture
def sim():
    return organization()
