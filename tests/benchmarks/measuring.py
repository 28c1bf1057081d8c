"""Run one command against a new simulated Atlas and measure time and memory."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from benchmarks.load import Load
from builders import policy_bytes

HERE = Path(__file__).parent
OURS = (sys.executable, "-m", "invite_sweeper")
BARE = (sys.executable, str(HERE / "bare.py"))
T = TypeVar("T")


@dataclass(frozen=True)
class Took:
    """The cost of one command, and what the simulated Atlas received.

    Attributes:
        peak_mib: Maximum resident memory.
        received: Requests by method.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float
    received: Mapping[str, int]
    deleted: int
    left: int


@dataclass
class Atlas:
    """A simulated Atlas in another process.

    Attributes:
        environment: Variables for a client.
        result: What it printed at its end; empty before.
    """

    environment: dict[str, str]
    result: dict[str, object] = field(default_factory=dict)


@contextmanager
def fresh_atlas(load: Load) -> Iterator[Atlas]:
    """Start a simulated Atlas with a load; it stops at the end of the block."""
    command = [sys.executable, str(HERE / "atlas_process.py"), json.dumps(asdict(load))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=quiet_environment()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            atlas = Atlas(json.loads(process.stdout.readline()))
            yield atlas
        finally:
            process.stdin.close()
            last = process.stdout.read()
    atlas.result = json.loads(last)


def _measured(load: Load, command: Sequence[str], *, dry_run: bool) -> Took:
    """Run a command against a new simulated Atlas and measure it."""
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "took.json"
        stopwatch = (sys.executable, "-I", "-S", str(HERE / "stopwatch.py"), str(note))
        with fresh_atlas(load) as atlas:
            done = subprocess.run(
                [*stopwatch, *command],
                env={**quiet_environment(), **atlas.environment},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
        took = json.loads(note.read_bytes())
    assert took.pop("code") == 0, done.stderr.decode()
    found = Took(**took, **atlas.result)
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
    with tempfile.TemporaryDirectory() as folder:
        if earlier is not None:
            shutil.copytree(earlier, Path(folder) / "audit", copy_function=os.link)
        policy = Path(folder) / "policy.yaml"
        policy.write_bytes(policy_bytes({**wide_policy(load), **keys}))
        what = ["plan"] if dry_run else ["sweep", "--yes"]
        return _measured(load, [*OURS, *what, "--policy", str(policy), "-q"], dry_run=dry_run)


def bare(load: Load, *, dry_run: bool = False) -> Took:
    """Run the script that the program is compared with."""
    return _measured(load, [*BARE, "--dry-run"] if dry_run else BARE, dry_run=dry_run)


def wide_policy(load: Load, *, concurrency: int = 50) -> dict[str, object]:
    """Return a policy with limits above every load, and the defaults otherwise."""
    named = [{"id": id_, "credentials": name} for id_, name in load.organization_ids.items()]
    return {
        "version": 1,
        "organizations": named if load.organizations > 1 else list(load.organization_ids),
        "rules": [{"name": "forgotten", "older_than": "14d"}],
        "limits": {
            "max_deletions": 1_000_000,
            "max_deletions_per_project": 10_000,
            "max_share": 1.0,
        },
        "execution": {"concurrency": concurrency},
    }


def entered(load: Load) -> dict[str, list[list[str]]]:
    """Return what `traced.py` writes about a sweep of a load."""
    with tempfile.TemporaryDirectory() as folder, fresh_atlas(load) as atlas:
        policy, result = Path(folder) / "policy.yaml", Path(folder) / "entered.json"
        policy.write_bytes(policy_bytes(wide_policy(load)))
        command = ["sweep", "--policy", policy, "--yes"]
        subprocess.run(
            [sys.executable, HERE / "traced.py", result, *command],
            env={**quiet_environment(), **atlas.environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        return json.loads(result.read_bytes())


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


def took_s(command: Sequence[str]) -> float:
    """Run a command and return its seconds."""
    started_s = time.perf_counter()
    subprocess.run(command, check=True, env=quiet_environment(), stdout=subprocess.DEVNULL)
    return time.perf_counter() - started_s
