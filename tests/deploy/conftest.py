"""Fixtures of the tests of `deploy/`, and the check for the commands they need."""

import os
import shutil
import signal
import tarfile
import tempfile
from pathlib import Path

import pytest
from deploy.containers import Containers, run
from deploy.fresh import FreshDebian
from deploy.manifests import ROOT

REQUIRED = "INVITE_SWEEPER_REQUIRE_DEPLOY_TOOLS"
"""If set to 1, a missing command fails the test instead of skipping it."""

COMMANDS = ROOT / "build/deploy-tools/commands"
"""Where install-tools.sh installs commands that Debian does not package."""

GIB = 1024**3


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
    run("pyproject-build", "--no-isolation", "--outdir", folder, ROOT, timeout_s=180)
    return folder


@pytest.fixture(scope="session")
def checkout(dist, tmp_path_factory):
    """A copy of the repository as a reader of the README has it: the content of the sdist."""
    (sdist,) = dist.glob("*.tar.gz")
    folder = tmp_path_factory.mktemp("checkout")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    return root


def _fast_folder():
    """Return a new folder, in memory if there is plenty: the disk decides how long builds take."""
    memory = Path("/dev/shm")
    plenty = memory.is_dir() and min(_available_bytes(), shutil.disk_usage(memory).free) > 8 * GIB
    return Path(tempfile.mkdtemp(prefix="containers-", dir=memory if plenty else None))


def _available_bytes():
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


@pytest.fixture(scope="session")
def containers():
    """Podman with a separate storage that contains the base image."""
    # The folder is removed also when the gate ends early.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    made = Containers(_fast_folder()).set_up()
    try:
        made.make_base()
        made.fetch_wheels()
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
    return containers.build(context)


@pytest.fixture(scope="session")
def fresh(containers, checkout):
    """A plain Debian in which the README files were followed until cron is installed."""
    machine = FreshDebian(containers, checkout)
    machine.start()
    machine.follow_readme()
    machine.follow_cron()
    machine.commit()
    return machine
