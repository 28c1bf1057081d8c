"""Fixtures of the tests of `deploy/`, and the check for the commands they need."""

import os
import shutil

import pytest
from deploy.containers import Containers, run
from deploy.manifests import ROOT

REQUIRED = "INVITE_SWEEPER_REQUIRE_DEPLOY_TOOLS"
"""If set to 1, a missing command fails the test instead of skipping it."""

COMMANDS = ROOT / "build/deploy-tools/commands"
"""Where install-tools.sh installs commands that Debian does not package."""


def pytest_configure(config):
    os.environ["PATH"] = f"{COMMANDS}:{os.environ['PATH']}"
    config.addinivalue_line(
        "markers",
        "deploy_tools(*names): requires these commands; `root` requires the root user",
    )


def present(name):
    """Return whether the command, or the root user, is available."""
    if name == "root":
        return os.geteuid() == 0
    return shutil.which(name) is not None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    needed = [name for mark in item.iter_markers("deploy_tools") for name in mark.args]
    missing = [name for name in needed if not present(name)]
    if not missing:
        return
    reason = f"this machine lacks {', '.join(missing)}; tests/deploy/install-tools.sh installs it"
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{reason} ({REQUIRED}=1 forbids skipping)", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    """A folder with the sdist and the wheel, built once as they would be published."""
    folder = tmp_path_factory.mktemp("dist")
    run("pyproject-build", "--outdir", folder, ROOT, timeout_s=180)
    return folder


@pytest.fixture(scope="session")
def containers(tmp_path_factory):
    """Podman with a separate storage that contains the base image."""
    made = Containers(tmp_path_factory.mktemp("containers")).set_up()
    try:
        made.make_base()
        yield made
    finally:
        made.tear_down()
        shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def context(dist, tmp_path_factory):
    """The build context of the image: the lock and the wheel."""
    folder = tmp_path_factory.mktemp("context")
    shutil.copy(ROOT / "requirements.lock", folder)
    (folder / "dist").mkdir()
    for wheel in dist.glob("*.whl"):
        shutil.copy(wheel, folder / "dist")
    return folder


@pytest.fixture(scope="session")
def image(containers, context):
    """The id of the image built from the Dockerfile."""
    containers.fetch_wheels()
    return containers.build(context)
