"""What the tests of `deploy/` need of the machine, and what they do without it."""

import importlib.util
import os
import shutil

import pytest

REQUIRED = "INVITE_SWEEPER_REQUIRE_DEPLOY_TOOLS"
"""Set to 1, a tool that is missing fails the test instead of skipping it."""


def pytest_configure(config):
    config.addinivalue_line(
        "markers",
        "deploy_tools(*names): needs these commands; `python:NAME` is a module, `root` a right",
    )


def present(name):
    """Whether the machine has it."""
    if name == "root":
        return os.geteuid() == 0
    if name.startswith("python:"):
        return importlib.util.find_spec(name.removeprefix("python:")) is not None
    return shutil.which(name) is not None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    needed = [name for mark in item.iter_markers("deploy_tools") for name in mark.args]
    missing = [name for name in needed if not present(name)]
    if not missing:
        return
    reason = f"this machine lacks {', '.join(missing)}; CONTRIBUTING.md says what to install"
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{reason} ({REQUIRED}=1 forbids to skip)", pytrace=False)
    pytest.skip(reason)
