"""What some tests need besides Python packages, and what to do where it is missing.

A test names its needs: `@pytest.mark.needs("chromium", "axe")`. It is skipped where one is missing;
pytest then prints one line for each reason. With INVITE_SWEEPER_REQUIRE_TOOLS=1 it fails instead,
unless nothing can be installed.
"""

import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from typing import NamedTuple

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


class Need(NamedTuple):
    """What a test needs.

    Attributes:
        fix: What to do where it is missing; the same for all that have one fix.
        installable: Whether the gate can install it, so that a test must not be skipped there.
    """

    is_present: Callable[[], bool]
    fix: str = INSTALL_TOOLS
    installable: bool = True


@functools.cache
def _can_mount() -> bool:
    if shutil.which(MOUNT[0]) is None:
        return False
    probe = [*MOUNT, "mount -t tmpfs -o size=64k none /mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


NEEDS = {
    "recordings": Need(
        RECORDINGS.is_dir,
        "Atlas's recorded responses are not published: put them in ../shared/recordings",
        installable=False,
    ),
    "document": Need(
        lambda: all(each.is_file() for each in DOCUMENTS),
        "save the needed parts of Atlas's OpenAPI document as ../shared/atlas-openapi*.json",
        installable=False,
    ),
    "base": Need(BASE_ARCHIVE.is_file),
    "axe": Need(AXE.is_file),
    "root": Need(lambda: os.geteuid() == 0, "run these tests as root", installable=False),
    "mount": Need(
        _can_mount, "run these tests where a namespace may mount a file system", installable=False
    ),
}


def need(name: str) -> Need:
    """Return a need by its name; another name is a command."""
    return NEEDS.get(name) or Need(lambda: find_command(name) is not None)


def check(item: pytest.Item) -> None:
    """Skip or fail a test if one of its needs is missing."""
    names = [name for mark in item.iter_markers("needs") for name in mark.args]
    missing = [name for name in names if not need(name).is_present()]
    if os.environ.get(REQUIRED) == "1" and any(need(name).installable for name in missing):
        pytest.fail(f"missing: {', '.join(missing)} ({REQUIRED}=1 forbids skipping)", pytrace=False)
    if missing:
        pytest.skip(need(missing[0]).fix)
