"""Fixtures of the tests of `deploy/`."""

import re
import shutil
import signal
import tarfile
import tempfile
from pathlib import Path

import pytest
from deploy.containers import run, stored
from deploy.machine import follow_pages
from deploy.mailing import mail_server
from deploy.manifests import ROOT
from deploy.stage import staged
from deploy.walk import opened
from environment import with_tools
from needs import BASE_ARCHIVE
from readmes import OPERATORS, section

GIB = 1024**3


@pytest.fixture(autouse=True)
def _tools_in_the_path(monkeypatch):
    """Let a test find the commands that install-tools.sh installs beside the system's."""
    monkeypatch.setenv("PATH", with_tools()["PATH"])


@pytest.fixture(scope="session")
def sdist(tmp_path_factory):
    """The source distribution, built once as it would be published.

    From a copy: the build writes `_version.py`, which the other tests import.
    """
    made = tmp_path_factory.mktemp("dist")
    copy = tmp_path_factory.mktemp("source") / "invite_sweeper"
    ignored = shutil.ignore_patterns(".git", ".venv", "build", "__pycache__", "_version.py")
    shutil.copytree(ROOT, copy, ignore=ignored)
    run("pyproject-build", "--no-isolation", "--sdist", "--outdir", made, copy)
    (path,) = made.iterdir()
    return path


@pytest.fixture(scope="session")
def checkout(sdist, tmp_path_factory):
    """A copy of the repository as a reader of the README has it: the content of the sdist."""
    folder = tmp_path_factory.mktemp("checkout")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    return root


def _fast_folder():
    """Return a new folder, in memory if there is plenty: the disk decides how long builds take."""
    memory = Path("/dev/shm")
    available = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text("utf-8"))
    free = min(int(available[1]) * 1024, shutil.disk_usage(memory).free) if memory.is_dir() else 0
    return Path(tempfile.mkdtemp(prefix="containers-", dir=memory if free > 8 * GIB else None))


@pytest.fixture(scope="session")
def containers():
    """Podman with a separate storage that contains the base image."""
    # The folder is removed also when the gate ends early.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with stored(_fast_folder(), BASE_ARCHIVE) as made:
        yield made


@pytest.fixture(scope="session")
def stage(tmp_path_factory):
    with staged(tmp_path_factory.mktemp("stage"), projects=2, stale=3) as found:
        yield found


@pytest.fixture(scope="session")
def terminal(containers, checkout, stage, tmp_path_factory):
    with opened(containers, checkout, stage, tmp_path_factory.mktemp("reader")) as found:
        yield found


@pytest.fixture(scope="session")
def image(terminal):
    """The output of the commands of the README that build the image and use it."""
    return terminal.run(*section(OPERATORS, "The image").commands)


@pytest.fixture(scope="session")
def fresh(containers, checkout):
    """A plain Debian in which the README files were followed until cron is installed."""
    return follow_pages(containers, checkout)


@pytest.fixture
def smtp():
    """A mail server that is not started: its port is known."""
    with mail_server() as server:
        yield server
