"""A run killed at any moment deletes nothing without an intent on disk; the next continues."""

import os
import random
from datetime import timedelta

import faults
import pytest
from running import wait_until

KILLS = int(os.environ.get("INVITE_SWEEPER_KILLS", "4"))
"""Number of kills; the long soak is INVITE_SWEEPER_KILLS=200."""
_DELETIONS = 150
_PROJECTS = 10


@pytest.fixture
def cli(cli):
    cli.projects = [cli.sim.add_project(f"Project {n}") for n in range(_PROJECTS)]
    cli.sim.faults.add(faults.delay(0.003), times=None)
    cli.sim.faults.add(faults.sometimes(faults.delay(0.002), 0.5), times=None)
    return cli


def restock(cli):
    """Add 150 stale invitations; return the ids that a sweep may delete, and the others."""
    stale = set()
    young = set()
    for project in cli.projects:
        for n in range(_DELETIONS // _PROJECTS):
            stale.add(cli.sim.invite(project, f"s{n}@example.com", age=timedelta(days=20)))
        young.add(cli.sim.invite(project, "young@example.com", age=timedelta(days=1)))
    return stale, young


def sweep_and_kill(cli, dice):
    before = cli.sim.received.total()
    moment = dice.randint(0, _DELETIONS + _PROJECTS + 5)
    process = cli.fork("sweep", "--policy", "policy.yaml")
    wait_until(lambda: process.poll() is not None or cli.sim.received.total() - before >= moment)
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_sweep_killed_at_random_moments_never_deletes_without_an_intent_on_disk(cli):
    dice = random.Random(os.environ.get("INVITE_SWEEPER_SEED", "1"))
    cli.keys["limits"] |= {"max_deletions": 10**6}
    everything = set()
    kept = set()
    for _ in range(KILLS):
        stale, young = restock(cli)
        everything |= stale
        kept |= young
        sweep_and_kill(cli, dice)
        intents = {line["invitation_id"] for line in cli.lines("intent")}
        assert set(cli.sim.deleted) <= intents
        assert set(cli.sim.deleted) <= everything
        done = cli.sweep()
        assert done.code == 0, done.err
        assert set(cli.sim.deleted) == everything
        verified = cli.run("audit", "verify", "audit")
        assert verified.code == 0, verified.out
        for project in cli.projects:
            assert set(cli.sim.invitations(project)) <= kept
