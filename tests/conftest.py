"""Hypothesis profiles, the selection of tests and their distribution, and what a test needs.

The default profile has no deadline, so that a slow machine does not fail a property.
"""

import os
import time

import environment
import needs
import pytest
from hypothesis import HealthCheck, Phase, settings

from invite_sweeper.redaction import SECRETS

settings.register_profile(
    "here", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile(  # for mutmut, which needs a failing example but not a minimal one
    "mutants",
    settings.get_profile("here"),
    max_examples=25,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)
settings.register_profile("many", settings.get_profile("here"), max_examples=2000)
settings.load_profile("here")


SHARED = frozenset({"checkout", "containers", "context", "dist", "fresh", "image"})
"""Fixtures of `deploy/` that take long to build: one worker runs the tests that use them."""
COVERED_BY_FIXTURE = frozenset({"axe", "chromium"})
"""Fixtures with the name of what they need."""


def pytest_xdist_auto_num_workers():
    """Use one worker more than cores: many tests wait for processes and retries."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config, items):
    """Deselect benchmarks unless `-m` names them, and start the longest group first.

    Benchmarks take minutes and need an idle machine.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        for name in COVERED_BY_FIXTURE & fixtures:
            item.add_marker(pytest.mark.needs(name))
        if SHARED & fixtures:
            item.add_marker(pytest.mark.xdist_group("image"))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)
    if "benchmark" in config.option.markexpr:
        return
    benchmarks = [item for item in items if item.get_closest_marker("benchmark")]
    config.hook.pytest_deselected(items=benchmarks)
    items[:] = [item for item in items if item not in benchmarks]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Skip a test that lacks what it needs, before its fixtures are made."""
    needs.check(item)


@pytest.fixture(autouse=True)
def _environment_of_tests(monkeypatch):
    """Hide from a test what the caller's shell has set."""
    for name in os.environ.keys() - environment.clean(os.environ).keys():
        monkeypatch.delenv(name)
    time.tzset()
    umask = os.umask(environment.UMASK)
    yield
    os.umask(umask)


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests():
    """Forget the secrets of a test, which would be redacted in the next one."""
    yield
    SECRETS.clear()
