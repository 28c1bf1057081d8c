"""Hypothesis profiles, the selection of tests and their distribution, and what a test needs.

The default profile has no deadline, so that a slow machine does not fail a property.
"""

import os
import signal
import time

import environment
import needs
import pytest
from hypothesis import HealthCheck, Phase, settings
from xdist.scheduler import LoadScopeScheduling

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


COVERED_BY_FIXTURE = frozenset({"axe", "chromium"})
"""Fixtures with the name of what they need."""
TOGETHER = ("test_page_browser.py", "test_alerts.py")
"""Files with a browser or runs that one worker makes."""
CONTAINERS = (
    "test_chart.py", "test_cluster.py", "test_container_run.py", "test_cron_daemon.py",
    "test_distribution.py", "test_image.py", "test_publishing.py", "test_systemd_machine.py",
)  # fmt: skip
"""Files of tests/deploy/ with the image that one worker builds; the chart makes them the most."""


def pytest_xdist_auto_num_workers():
    """Use two workers more than cores: many tests wait for processes and retries."""
    return (os.cpu_count() or 1) + 2


class Scheduling(LoadScopeScheduling):
    """Gives tests to workers one by one, and those that share something long to make together.

    xdist begins with the largest scope: the containers, a long chain with its image. Its own
    `loadgroup` groups nothing with pytest 9.2 (https://github.com/pytest-dev/pytest-xdist/issues/1386).
    """

    def _split_scope(self, nodeid):
        file, _, _ = nodeid.partition("::")
        if file.startswith("tests/deploy/") and file.endswith(CONTAINERS):
            return "containers"
        return file if file.endswith(TOGETHER) else nodeid


def pytest_xdist_make_scheduler(config, log):
    """Return how xdist distributes the tests, for `-n`."""
    return Scheduling(config, log)


def pytest_collection_modifyitems(config, items):
    """Name the needs of fixtures, and deselect the tests of a week."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        for name in COVERED_BY_FIXTURE & fixtures:
            item.add_marker(pytest.mark.needs(name))
    if os.environ.get("INVITE_SWEEPER_WEEKLY") != "1":
        weekly = [item for item in items if item.get_closest_marker("weekly")]
        config.hook.pytest_deselected(items=weekly)
        items[:] = [item for item in items if item not in weekly]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Skip a test that lacks what it needs, before its fixtures are made."""
    needs.check(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """Hide from a test, and from each of its fixtures, what the caller's shell has set."""
    umask = os.umask(environment.UMASK)
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:  # as under nohup
            # pytest goes on, and its children begin with the default, unlike with SIG_IGN.
            signal.signal(number, lambda _number, _frame: None)
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - environment.clean(os.environ).keys():
            patch.delenv(name)
        time.tzset()
        result = yield
    os.umask(umask)
    return result


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests():
    """Forget the secrets of a test, which would be redacted in the next one."""
    yield
    SECRETS.clear()
