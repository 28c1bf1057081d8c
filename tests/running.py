"""Runs the program as a process with an environment and a folder."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import forked
from builders import policy_bytes
from observed import ObservedAtlas

from invite_sweeper.cli.demo import serve_in_thread
from invite_sweeper.simulator import Account, SimulatedAtlas
from invite_sweeper.simulator.seed import ORG_ID

T = TypeVar("T")
COMMAND = (sys.executable, "-m", "invite_sweeper")
IN_SHELL = shlex.join(COMMAND)
"""The program, as a shell needs it: the path may have a space."""
WIDE = {"max_deletions": 10_000, "max_deletions_per_project": 10_000, "max_share": 1.0}


@dataclass(frozen=True)
class Done:
    """The result of a process."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, object]:
        assert self.out, self
        return json.loads(self.out)

    @property
    def errors(self) -> list[str]:
        lines = self.err.splitlines()
        text = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
        logged = [json.loads(line) for line in lines if line.startswith("{")]
        return text + [each["event"] for each in logged if each["level"] == "error"]

    @property
    def has_result(self) -> bool:
        """Whether a run began; otherwise stdout has only the error, and only as JSON."""
        return bool(self.out) and "run_id" in self.summary


@dataclass
class CliRunner:
    """A served simulated Atlas, a folder with a policy, and the program to run there.

    Attributes:
        keys: The policy; written before each run.
        account: The account of the credentials in the environment.
        projects: The ids of the projects of `stock`.
        changes: Changes of the environment for each run; None removes a variable.
    """

    folder: Path
    sim: SimulatedAtlas
    account: Account
    base_url: str
    keys: dict[str, Any] = field(default_factory=dict)
    projects: list[str] = field(default_factory=list)
    changes: dict[str, str | None] = field(default_factory=dict)

    def stock(
        self, projects: int = 1, stale: int = 1, young: int = 0, org_id: str = ORG_ID
    ) -> list[str]:
        """Add projects `Project 0`, … with people to whom the rule of the policy applies or not.

        Stale are p0@example.com, … 20 days old, young young-0@example.com, … 2 days old.
        Return the ids of the projects.
        """
        ids = []
        for _ in range(projects):
            ids.append(self.sim.add_project(f"Project {len(self.projects)}", org_id))
            self.projects.append(ids[-1])
            for name, count, days in (("p", stale, 20), ("young-", young, 2)):
                for n in range(count):
                    age = timedelta(days=days)
                    self.sim.invite(ids[-1], f"{name}{n}@example.com", age=age)
        return ids

    def use_organizations(self, org_ids: Mapping[str, str], kind: str = "token") -> None:
        """Let the policy name organizations, each with credentials of its own in the environment.

        Args:
            org_ids: The ids by the names of the credentials. A new organization is named after
                them: `Alpha Industries`.
            kind: The kind of the credentials.
        """
        self.keys["organizations"] = []
        self.changes |= dict.fromkeys(self.account.environment())
        for name, org_id in org_ids.items():
            if org_id not in self.sim.organizations:
                self.sim.add_organization(org_id, f"{name.title()} Industries")
            variables = add_account(self.sim, kind, org_id).environment().items()
            self.changes |= {f"{key}_{name}": value for key, value in variables}
            self.keys["organizations"].append({"id": org_id, "credentials": name})

    def write_policy(self) -> Path:
        path = self.folder / "policy.yaml"
        path.write_bytes(policy_bytes(self.keys))
        return path

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MONGODB_ATLAS_")}
        return {**kept, "MONGODB_ATLAS_BASE_URL": self.base_url, **self.account.environment()}

    def environment_with(self, changes: Mapping[str, str | None]) -> dict[str, str]:
        """Return the environment of a run: with `self.changes`, then with these."""
        changed = {**self.environment, **self.changes, **changes}
        return {name: value for name, value in changed.items() if value is not None}

    def start(self, *arguments: str, **changes: str | None) -> "subprocess.Popen[bytes]":
        """Start the program with changes to the environment; None removes a variable."""
        self.write_policy()
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment_with(changes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def fork(self, *arguments: str, prepare: str = "", **changes: str | None) -> forked.Fork:
        """Start the program like `start`, without its imports and with short waits.

        Args:
            prepare: What Python executes before the program.
        """
        self.write_policy()
        script = self.folder / "prepare.py" if prepare else None
        if script is not None:
            script.write_text(prepare, encoding="utf-8")
        environment = self.environment_with(changes)
        return forked.Fork(arguments, self.folder, environment, prepare=script)

    def run(self, *arguments: str, **changes: str | None) -> Done:
        """Run the program, in a fork where that is like a new process."""
        same = forked.is_possible(self.environment_with(changes))
        return end((self.fork if same else self.start)(*arguments, **changes))

    def sweep(self, *arguments: str, command: str = "sweep", **changes: str | None) -> Done:
        words = (command, "--policy", "policy.yaml", "--output", "json")
        return self.run(*words, *arguments, **changes)

    def plan(self, *arguments: str, **changes: str | None) -> Done:
        return self.sweep(*arguments, command="plan", **changes)

    @property
    def audit_dir(self) -> Path:
        return self.folder / "audit"

    def run_files(self) -> list[Path]:
        """Return the files of the runs, oldest first; also of shards in folders below."""
        return sorted(self.audit_dir.rglob("*.jsonl*"))

    @property
    def log_path(self) -> Path:
        return self.run_files()[-1]

    def lines(self, event: str | None = None) -> list[dict[str, object]]:
        """Return the whole lines of all runs, also while one is at work or after it was killed."""
        files = (path.read_bytes() for path in self.run_files())
        found = [json.loads(line) for data in files for line in data.split(b"\n")[:-1]]
        return [line for line in found if event in (None, line["event"])]

    def sent(self) -> list[dict[str, object]]:
        """Return the intents without those of which an outcome shows that no DELETE was sent."""
        keys = ("run_id", "source", "org_id", "project_id", "invitation_id")
        unsent = [
            [line[key] for key in keys]
            for line in self.lines("outcome")
            if line["outcome"] in {"skipped", "changed", "accepted_before"}
        ]
        return [line for line in self.lines("intent") if [line[key] for key in keys] not in unsent]

    def deletes(self) -> int:
        return self.sim.deletes_received


def end(process: "subprocess.Popen[bytes] | forked.Fork") -> Done:
    out, err = process.communicate(timeout=120)
    return Done(process.returncode, out.decode(), err.decode())


def run_line(line: str, folder: Path, environment: dict[str, str]) -> Done:
    """Run a command line of a page: `invite-sweeper WORD…`, perhaps with `> FILE`."""
    words, _, file = line.partition(" > ")
    program, *arguments = shlex.split(words, comments=True)
    assert program == "invite-sweeper", line
    done = end(forked.Fork(arguments, folder, environment))
    if file:
        (folder / file).write_text(done.out, encoding="utf-8")
    return done


def printed(text: str, label: str) -> list[str]:
    """Return the words of the command that is printed after a label, without the program."""
    (command,) = re.findall(f'{label}:? +`?invite-sweeper ([^`"\\n]*)', text)
    return shlex.split(command)


def add_account(sim: SimulatedAtlas, kind: str, *org_ids: str) -> Account:
    """Add credentials of a kind; without ids for the first organization."""
    make = {
        "token": sim.add_token,
        "api-key": sim.add_api_key,
        "service-account": sim.add_service_account,
    }
    return make[kind](*org_ids)


@contextmanager
def cli_in(
    folder: Path, sim: SimulatedAtlas | None = None, kind: str = "token"
) -> Iterator[CliRunner]:
    """Serve a simulated Atlas with one organization while the block runs."""
    atlas = sim or ObservedAtlas()
    if ORG_ID not in atlas.organizations:
        atlas.add_organization(ORG_ID, "Example Industries")
    account = add_account(atlas, kind)
    with serve_in_thread(atlas) as base_url:
        keys: dict[str, Any] = {
            "version": 1,
            "organizations": [ORG_ID],
            "rules": [{"name": "forgotten", "older_than": "14d"}],
            "limits": dict(WIDE),
        }
        yield CliRunner(folder, atlas, account, base_url, keys)
        atlas.cancel_requests()  # those of programs that were killed


def wait_until(condition: Callable[[], T], within_s: float = 60.0) -> T:
    """Poll a condition until it is true, and return its value; fail after a minute."""
    end_s = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < end_s, f"condition not true within {within_s} s"
        time.sleep(0.005)
    return value


@contextmanager
def full_pipe() -> Iterator[tuple[int, int]]:
    """Yield both ends of a full pipe that is not read."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    yield reading, writing
    os.close(reading)
    os.close(writing)
