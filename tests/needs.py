"""What some tests need besides Python packages, and what to do where it is missing.

A test names its needs: `@pytest.mark.needs("chromium", "axe")`. It is skipped where one is missing;
pytest then prints one line for each reason. With INVITE_SWEEPER_REQUIRE_TOOLS=1 it fails instead,
unless nothing can be installed.
"""

import functools
import os
import shutil
import subprocess

import pytest
from environment import ROOT, find_command

REQUIRED = "INVITE_SWEEPER_REQUIRE_TOOLS"

RECORDINGS = ROOT.parent / "shared/recordings"
DOCUMENTS = tuple(ROOT.parent / f"shared/atlas-openapi{part}.json" for part in ("", "-more"))
WEEKLY = os.environ.get("INVITE_SWEEPER_WEEKLY") or "0"
BASE_ARCHIVE = ROOT / f"build/deploy-tools/base-{WEEKLY}.tar"
AXE = ROOT / "build/deploy-tools/node/node_modules/axe-core/axe.min.js"
MOUNT = ("unshare", "--mount", "--map-root-user", "sh", "-ec")
INSTALL_TOOLS = "install the tools of the tests, as root: bash tests/deploy/install-tools.sh"


@functools.cache
def _can_mount() -> bool:
    if shutil.which(MOUNT[0]) is None:
        return False
    probe = [*MOUNT, "mount -t tmpfs -o size=64k none /mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


NEEDS = {
    "recordings": RECORDINGS.is_dir,
    "document": lambda: all(each.is_file() for each in DOCUMENTS),
    "base": BASE_ARCHIVE.is_file,
    "axe": AXE.is_file,
    "root": lambda: os.geteuid() == 0,
    "mount": _can_mount,
}
NOT_INSTALLABLE = {
    "recordings": "Atlas's recorded responses are not published: put them in ../shared/recordings",
    "document": "save the parts of Atlas's OpenAPI document as ../shared/atlas-openapi*.json",
    "root": "run these tests as root",
    "mount": "run these tests where a namespace may mount a file system",
}
"""What the gate cannot install, so that its tests are skipped there too, and what to do."""


def is_present(name: str) -> bool:
    """Return whether a need is there; another name than of `NEEDS` is a command."""
    return NEEDS[name]() if name in NEEDS else find_command(name) is not None


def check(item: pytest.Item) -> None:
    """Skip or fail a test if one of its needs is missing."""
    names = [name for mark in item.iter_markers("needs") for name in mark.args]
    missing = [name for name in names if not is_present(name)]
    if os.environ.get(REQUIRED) == "1" and not NOT_INSTALLABLE.keys() >= set(missing):
        pytest.fail(f"missing: {', '.join(missing)} ({REQUIRED}=1 forbids skipping)", pytrace=False)
    if missing:
        pytest.skip(NOT_INSTALLABLE.get(missing[0], INSTALL_TOOLS))
