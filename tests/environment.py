"""The environment of the tests: the caller's shell decides neither what passes nor how fast."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / "build/deploy-tools/commands"
"""Where tests/deploy/install-tools.sh installs commands that Debian does not package."""
UMASK = 0o022

FAKETIME = ("FAKETIME", "LD_PRELOAD")
"""The clock of `faketime`: a test and the programs that it starts live on the same day."""
KEPT = (
    *("HOME", "LOGNAME", "PATH", "TMPDIR", "USER", *FAKETIME),
    *("COVERAGE_", "MUTANT_UNDER_TEST", "PIP_", "PYTEST_", "UPDATE_SNAPSHOTS", "UV_"),
    # Settings of the tests, not of the program.
    *(f"INVITE_SWEEPER_{name}" for name in ("CASES", "KILLS", "REQUIRE_TOOLS", "SEED", "WEEKLY")),
)
"""How the names of the variables begin that tests take from the caller."""


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that tests and the programs they start may see."""
    return {name: value for name, value in environment.items() if name.startswith(KEPT)}


def on_real_clock(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without `faketime`, as a browser and containers need it."""
    return {name: value for name, value in environment.items() if not name.startswith(FAKETIME)}


def ahead_of_real_clock() -> timedelta:
    """Return how far `faketime` has moved the clock of this process."""
    if "LD_PRELOAD" not in os.environ:
        return timedelta(0)
    real = subprocess.check_output(["date", "+%s"], env=on_real_clock(os.environ))
    return datetime.now(UTC) - datetime.fromtimestamp(int(real), UTC)


def with_tools(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment with the commands for the tests of `deploy/` in its PATH."""
    path = environment["PATH"]
    return {**environment, "PATH": path if str(TOOLS) in path else f"{TOOLS}:{path}"}


def find_command(name: str) -> str | None:
    """Return the path of a command, also of one for the tests of `deploy/`; None without it."""
    return shutil.which(name, path=with_tools()["PATH"])
