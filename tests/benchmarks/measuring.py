"""Run one command against a new simulated Atlas and measure time and memory."""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import TypeVar

from builders import policy_bytes

from invite_sweeper.simulator.seed import ORG_ID

HERE = Path(__file__).parent
OURS = (sys.executable, "-m", "invite_sweeper")
BARE = (sys.executable, str(HERE / "bare.py"))
STALE_DAYS, KEPT_DAYS = 20.0, 2.0
T = TypeVar("T")


@dataclass(frozen=True)
class Load:
    """What the simulated Atlas contains.

    Attributes:
        projects: In each organization.
        each: Invitations per project.
        stale_one_in: With 50, one invitation of 50 is stale and 49 are kept; with 0 all are kept.
        organizations: Each has its own credentials.
        ready_token: These are a ready token, of one organization, instead of a service account.
    """

    projects: int
    each: int
    stale_one_in: int = 1
    latency_s: float = 0.0
    organizations: int = 1
    ready_token: bool = False

    @property
    def invitations(self) -> int:
        return self.organizations * self.projects * self.each

    @property
    def stale(self) -> int:
        if not self.stale_one_in:
            return 0
        return self.organizations * ceil(self.projects * self.each / self.stale_one_in)

    def age_days(self, number: int) -> float:
        """Return the age of an invitation by its number in its organization, from 0."""
        is_stale = self.stale_one_in and number % self.stale_one_in == 0
        return STALE_DAYS if is_stale else KEPT_DAYS

    @property
    def organization_ids(self) -> dict[str, str]:
        """The id of each organization, and the name of its credentials."""
        first = int(ORG_ID, 16)
        return {f"{first + number:x}": f"ORG{number:02d}" for number in range(self.organizations)}


@dataclass(frozen=True)
class Took:
    """The cost of one command, and what the simulated Atlas received, by method."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    received: Mapping[str, int]
    deleted: int
    left: int


def _run(load: Load, runner: str, command: Sequence[str], folder: Path) -> dict[str, object]:
    """Run a command against a new simulated Atlas by a script that writes JSON.

    Return that, with what the simulated Atlas received.
    """
    note = folder / "note.json"
    atlas = [sys.executable, str(HERE / "atlas_process.py"), json.dumps(asdict(load))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(atlas, env=quiet_environment(), **pipes) as process:
        done = subprocess.run(
            [sys.executable, str(HERE / runner), str(note), *command],
            env=quiet_environment() | json.loads(process.stdout.readline()),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        received, _ = process.communicate()
    assert done.returncode == 0, done.stderr.decode()
    return {**json.loads(note.read_bytes()), **json.loads(received)}


def _measured(load: Load, command: Sequence[str], folder: Path, *, dry_run: bool) -> Took:
    found = Took(**_run(load, "stopwatch.py", command, folder))
    deleted = 0 if dry_run else load.stale
    assert (found.deleted, found.left) == (deleted, load.invitations - deleted)
    return found


def swept(
    load: Load, *, dry_run: bool = False, earlier: Path | None = None, **keys: object
) -> Took:
    """Run the program with its audit directory in a new folder; TMPDIR should be on a disk.

    Args:
        earlier: An audit directory on the same disk whose files the new one has, as links.
        keys: Of the policy, instead of those of `wide_policy`.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if earlier is not None:
            shutil.copytree(earlier, folder / "audit", copy_function=os.link)
        what = ["plan"] if dry_run else ["sweep", "--yes"]
        words = [*what, "--policy", write_wide_policy(folder, load, **keys), "-q"]
        return _measured(load, [*OURS, *words], folder, dry_run=dry_run)


def bare(load: Load, *, dry_run: bool = False) -> Took:
    with tempfile.TemporaryDirectory() as folder:
        command = [*BARE, "--dry-run"] if dry_run else BARE
        return _measured(load, command, Path(folder), dry_run=dry_run)


def entered(load: Load) -> dict[str, list[list[str]]]:
    """Return what `traced.py` writes about a sweep of a load."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = ["sweep", "--policy", write_wide_policy(folder, load), "--yes"]
        return _run(load, "traced.py", words, folder)


def write_wide_policy(folder: Path, load: Load, **keys: object) -> str:
    """Write a policy with limits above every load, and the defaults otherwise; return its path."""
    named = [{"id": id_, "credentials": name} for id_, name in load.organization_ids.items()]
    policy = {
        "version": 1,
        "organizations": named if load.organizations > 1 else list(load.organization_ids),
        "rules": [{"name": "forgotten", "older_than": "14d"}],
        "limits": {
            "max_deletions": 1_000_000,
            "max_deletions_per_project": 10_000,
            "max_share": 1.0,
        },
        "execution": {"concurrency": 50},
    }
    path = folder / "policy.yaml"
    path.write_bytes(policy_bytes({**policy, **keys}))
    return str(path)


def quiet_environment() -> dict[str, str]:
    """Return the environment without variables that change the measurement.

    Without bytecode files the program would be compiled on each start.
    """
    excluded = ("MONGODB_ATLAS_", "INVITE_SWEEPER_", "COVERAGE_", "PYTHONDONTWRITEBYTECODE")
    return {k: v for k, v in os.environ.items() if not k.startswith(excluded)}


def in_turn(
    one: Callable[[], T], other: Callable[[], T], pairs: int, *, warm_up: bool = True
) -> list[tuple[T, T]]:
    """Measure both alternately, `pairs` times, so that a busy machine slows both.

    One more pair warms up and writes the bytecode.
    """
    took = [(other(), one()) for _ in range(pairs + warm_up)][warm_up:]
    return [(second, first) for first, second in took]


def took_s(command: Sequence[str], clock: Callable[[], float] = time.perf_counter) -> float:
    """Run a command and return its seconds on a clock."""
    started_s = clock()
    subprocess.run(command, check=True, env=quiet_environment(), stdout=subprocess.DEVNULL)
    return clock() - started_s


def cpu_of_commands() -> float:
    """Return the processor time of all commands that have ended, a clock for `took_s`."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
