"""A step of the disk fails once: no DELETE is lost or uncounted, and the next night works."""

import json
import os
import random
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from buckets import set_bucket
from forked import Fork
from running import CliRunner, Done, end

from invite_sweeper.audit import AuditDirectory, History, Verdict, verify_directory

STEPS = int(os.environ.get("INVITE_SWEEPER_CASES", "1"))
"""How many steps of each command fail, each in a night of its own; all of them with 1000."""
STALE = 10
PREPARE = """
import atexit, os, pathlib

steps = 0

def counted(function):
    def step(*arguments, **options):
        global steps
        steps += 1
        if steps == {failing}:
            raise OSError(5, os.strerror(5))
        return function(*arguments, **options)
    return step

for name in ("mkdir", "open", "write", "fsync", "ftruncate", "replace", "unlink"):
    setattr(os, name, counted(getattr(os, name)))
atexit.register(lambda: pathlib.Path("steps").write_text(str(steps)))
"""
"""Executed before the program: one step fails, and the number of steps is kept."""


class Nights:
    """Nights of one organization, of which each begins with the directory of the night before."""

    def __init__(self, cli: CliRunner) -> None:
        self.cli = cli
        set_bucket(cli.sim, "invitations_ip", capacity=1000, refill=1000)
        # Several groups of intents, each with a sync.
        cli.keys["limits"] |= {"canary": 2}
        cli.keys["execution"] = {"concurrency": 2}
        self.project = cli.stock(stale=STALE)[0]
        assert cli.sweep().code == 0
        self._before = shutil.copytree(cli.audit_dir, cli.folder / "before")
        self._invited = 0

    def begin(self, command: str) -> list[str]:
        """Invite people, whom a sweep deletes before a restore; return their names."""
        shutil.rmtree(self.cli.audit_dir)
        shutil.copytree(self._before, self.cli.audit_dir)
        names = [f"q{self._invited + number}@example.com" for number in range(STALE)]
        self._invited += STALE
        for name in names:
            self.cli.sim.invite(self.project, name, age=timedelta(days=20))
        if command == "restore":
            assert self.cli.sweep().summary["deleted"] == STALE
        return names

    def run(self, command: str, failing: int = 0) -> Done:
        """Run a command, of which a step fails."""
        prepare = self.cli.folder / "prepare.py"
        prepare.write_text(PREPARE.format(failing=failing), encoding="utf-8")
        words = (command, "--policy", "policy.yaml", "--output", "json")
        words += ("2", "--yes") if command == "restore" else ()
        self.cli.write_policy()
        return end(Fork(words, self.cli.folder, self.cli.environment, prepare=prepare))

    def invited(self) -> set[str]:
        """Return the names of the people whom Atlas shows as invited."""
        invites = self.cli.sim.groups[self.project].invites.values()
        return {json.loads(invite.document)["username"] for invite in invites}

    def counted(self, directory: AuditDirectory) -> int:
        """Return how many deletions count for the limits of the next run."""
        return History.read(directory, datetime.now(UTC)).sent.total()

    def steps(self, command: str) -> Iterator[int]:
        """Yield steps of a command in a random order; all of them if there are no more."""
        self.begin(command)
        assert self.run(command).code == 0
        count = int((self.cli.folder / "steps").read_text(encoding="utf-8"))
        dice = random.Random(os.environ.get("INVITE_SWEEPER_SEED", "1"))
        yield from dice.sample(range(1, count + 1), min(STEPS, count))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["sweep", "plan", "restore"])
def test_the_night_after_a_failed_step_works_and_counts_every_delete(cli, command):
    nights = Nights(cli)
    for step in nights.steps(command):
        deleted_before = set(cli.sim.deleted)
        names = nights.begin(command)
        done = nights.run(command, step)
        assert done.code in {0, 2, 3, 7}, (step, done)
        assert "Traceback" not in done.err
        deleted = set(cli.sim.deleted) - deleted_before
        assert deleted <= {line["invitation_id"] for line in cli.lines("intent")}, (step, done)
        directory = AuditDirectory(cli.audit_dir)
        verified = verify_directory(directory)
        assert verified.verdict is not Verdict.DAMAGED, (step, verified, done)
        assert nights.counted(directory) >= STALE + len(deleted), (step, done)
        if command == "restore":
            assert nights.run(command).code == 0, step
            assert set(names) <= nights.invited(), (step, done)
        night_after = cli.sweep()
        assert night_after.code == 0, (step, done, night_after)
        assert verify_directory(directory).verdict is Verdict.SOUND, (step, done)
        if command != "restore":
            assert not nights.invited(), (step, done)
