"""A cap caps a night: runs that a Job repeats delete together no more than `max_deletions`."""

import signal
from datetime import timedelta

import faults
import pytest
from running import end, wait_until
from world import ORGS as ALL

ORGS = ALL[:2]
OLD = timedelta(days=20)
CAP = 10
RUNS = 3


@pytest.fixture
def cli(cli):
    """Two organizations, people in all four lists, and a cap of 10 deletions."""
    cli.sim.add_organization(ORGS[1], "Other Industries")
    cli.account.org_ids = ORGS
    cli.keys |= {
        "organizations": list(ORGS),
        "sources": ["invites", "users", "org_users", "org_invites"],
    }
    cli.keys["limits"] |= {"max_deletions": CAP, "canary": 0, "max_failure_share": 1.0}
    cli.keys["execution"] = {"concurrency": 3, "attempts": 1, "grace": "2s"}
    cli.projects = [cli.sim.add_project(f"Project {n}", org) for n, org in enumerate(ORGS)]
    return cli


def invite(cli, count):
    """Invite people whose invitations are stale, two of three in three lists each."""
    for number in range(count):
        there = len(list(cli.sim.invited_users())) + cli.sim.invitation_count()
        name = f"p{there}-{number}@example.com"
        project = cli.projects[number % 2]
        org_id = ORGS[number % 2]
        if number % 3:
            cli.sim.add_user(name, org_id, age=OLD, group_roles={project: ["GROUP_OWNER"]})
        else:
            cli.sim.invite(project, name, age=OLD)


def sweep_and_kill(cli):
    """Run the first sweep of the night, which is killed at its fifth DELETE."""
    processes = []

    def kill(_):
        wait_until(lambda: processes)
        processes[0].kill()

    cli.sim.faults.add(faults.delay(0.02), times=None)
    cli.sim.faults.add(faults.after(kill), method="DELETE", nth=5)
    processes.append(cli.fork("sweep", "--policy", "policy.yaml"))
    assert end(processes[0]).code == -signal.SIGKILL
    cli.sim.faults.clear()


def test_runs_of_a_night_never_delete_more_than_the_cap(cli):
    cli.keys["limits"]["over_limit"] = "trim"
    invite(cli, 40)
    assert cli.plan().code == 0  # a dry run uses up nothing
    sweep_and_kill(cli)
    assert 4 <= len(set(cli.sim.deleted)) <= cli.deletes() <= CAP
    for _ in range(RUNS - 1):
        invite(cli, CAP)
        done = cli.sweep()
        assert done.code in {0, 4}, done.err
        assert len(set(cli.sim.deleted)) <= cli.deletes() <= CAP
        assert len(cli.sent()) <= CAP
    assert len(cli.sent()) == CAP
    assert done.summary["deleted"] == 0
    assert done.summary["trimmed"] == done.summary["stale"] > 0
