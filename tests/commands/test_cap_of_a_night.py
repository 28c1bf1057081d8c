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


def sweep_until(cli, ending):
    """Run the first sweep of the night, which ends so at its fifth DELETE; return its code."""
    processes = []

    def stop(_):
        wait_until(lambda: processes)
        processes[0].kill()

    match ending:
        case "exit 4, refused":
            cli.sim.faults.add(faults.fail_with(403), method="DELETE", nth=5, times=None)
        case "answer lost":
            cli.sim.faults.add(faults.reset(late=True), method="DELETE", nth=5, times=None)
        case _:
            cli.sim.faults.add(faults.delay(0.02), times=None)
            cli.sim.faults.add(faults.after(stop), method="DELETE", nth=5)
    processes.append(cli.fork("sweep", "--policy", "policy.yaml"))
    code = end(processes[0]).code
    cli.sim.faults.clear()
    return code


ENDINGS: dict[str, set[int]] = {
    "exit 4, refused": {4},
    "answer lost": {0, 4},
    "kill": {-signal.SIGKILL},
}


@pytest.mark.parametrize(
    ("over_limit", "ending"),
    [*(("trim", each) for each in ENDINGS), ("refuse", "kill")],
)
def test_runs_of_a_night_never_delete_more_than_the_cap(cli, over_limit, ending):
    cli.keys["limits"]["over_limit"] = over_limit
    invite(cli, 40 if over_limit == "trim" else CAP)
    assert cli.plan().code == 0  # a dry run uses up nothing
    assert sweep_until(cli, ending) in ENDINGS[ending]
    assert 4 <= len(set(cli.sim.deleted)) <= cli.deletes() <= CAP
    for _ in range(RUNS - 1):
        invite(cli, CAP)
        done = cli.sweep()
        assert done.code in {0, 3, 4} if over_limit == "refuse" else {0, 4}, done.err
        assert len(set(cli.sim.deleted)) <= cli.deletes() <= CAP
        assert len(cli.sent()) <= CAP
    if over_limit == "trim":
        assert len(cli.sent()) == CAP
        assert done.summary["deleted"] == 0
        assert done.summary["trimmed"] == done.summary["stale"] > 0
