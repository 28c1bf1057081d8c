"""Hypothesis profiles, the selection of tests and their distribution, and what a test needs.

The default profile has no deadline, so that a slow machine does not fail a property.
"""

import gc
import os
import signal
import threading
import time

import environment
import needs
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from xdist.scheduler import LoadScopeScheduling

from invite_sweeper.redaction import SECRETS, Redactor

settings.register_profile(
    "here",
    max_examples=40,  # enough for each mutant of `mutants.txt`
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
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


CONTAINERS = (
    "test_cluster.py", "test_container_run.py", "test_distribution.py", "test_machine.py",
    "test_publishing.py",
)  # fmt: skip
"""Files of tests/deploy/ with the image, or the wheel, that one worker builds."""


def pytest_xdist_auto_num_workers():
    """Use one worker more than cores: many tests wait for processes and retries."""
    return (os.cpu_count() or 1) + 1


def _unit(nodeid):
    """Return what a worker makes whole: a file, which shares fixtures, or all with the image."""
    file = nodeid.partition("::")[0]
    is_container = file.startswith("tests/deploy/") and file.endswith(CONTAINERS)
    return "containers" if is_container else file


class Scheduling(LoadScopeScheduling):
    """Gives files to workers in the order of the collection."""

    def _split_scope(self, nodeid):
        return _unit(nodeid)


def pytest_xdist_setupnodes():
    """Make Hypothesis's table of characters, which it keeps, once and not in each worker."""
    threading.Thread(target=st.text().validate).start()


def pytest_xdist_make_scheduler(config, log):
    """Return how xdist distributes the tests, for `-n`."""
    config.option.loadscopereorder = False
    return Scheduling(config, log)


def pytest_collection():
    """Look for no garbage while the tests are collected: all that is made then stays."""
    gc.disable()


@pytest.hookimpl(tryfirst=True)  # that of a worker of xdist ends the hook
def pytest_runtestloop():
    """Look for garbage among what the tests make, and hide what the caller's shell has set."""
    gc.freeze()
    gc.set_threshold(20_000)  # what a test makes is small: less often
    gc.enable()
    os.umask(environment.UMASK)
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:  # as under nohup
            # pytest goes on, and its children begin with the default, unlike with SIG_IGN.
            signal.signal(number, lambda _number, _frame: None)
    for name in os.environ.keys() - environment.clean(os.environ).keys():
        del os.environ[name]
    time.tzset()


class Rotated(pytest.Dir):
    """A directory that each worker reads from another entry on.

    So each rewrites the assertions of other files first, and finds the rest in `__pycache__`.
    """

    def collect(self):
        """Yield what the directory holds, first what this worker begins with."""
        found = list(super().collect())
        start = self.config.workerinput["workerid"].removeprefix("gw")
        first = int(start) * len(found) // self.config.workerinput["workercount"]
        return found[first:] + found[:first]


def pytest_collect_directory(path, parent):
    """Return the collector of a directory for a worker."""
    is_worker = hasattr(parent.config, "workerinput")
    return Rotated.from_parent(parent, path=path) if is_worker else None


def pytest_collection_modifyitems(config, items):
    """Deselect the tests of a week, and begin with what takes long."""
    if os.environ.get("INVITE_SWEEPER_WEEKLY") != "1":
        weekly = [item for item in items if item.get_closest_marker("weekly")]
        config.hook.pytest_deselected(items=weekly)
        items[:] = [item for item in items if item not in weekly]
    if hasattr(config, "workerinput"):  # what takes long begins first, so that all end together
        slow = {_unit(each.nodeid) for each in items if each.get_closest_marker("slow")}
        items.sort(
            key=lambda item: (
                _unit(item.nodeid) != "containers",
                _unit(item.nodeid) not in slow,
                item.path,
            )
        )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Skip a test that lacks what it needs, before its fixtures are made."""
    needs.check(item)


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests():
    """Forget the secrets of a test, which would be redacted in the next one."""
    yield
    vars(SECRETS).update(vars(Redactor()))
