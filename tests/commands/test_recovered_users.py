"""Users removed by a killed run: how the next sweep reports them and ends."""

from datetime import timedelta

import faults
import pytest
from running import wait_until

OLD = timedelta(days=20)


@pytest.fixture
def cli(cli):
    rule = {"name": "stale", "older_than": "14d", "statuses": ["PENDING"]}
    cli.keys |= {"rules": [rule], "sources": ["users"]}
    return cli


def killed(cli, *, accepts=None, late=True):
    """Kill a sweep whose DELETE hangs, executed if `late`; the user accepts before it."""
    if accepts is not None:
        accept = faults.effect(before=lambda _: cli.sim.set_status(accepts, "ACTIVE"))
        cli.sim.faults.add(accept, method="DELETE")
    cli.sim.faults.add(faults.hang(late=late), method="DELETE", times=99)
    process = cli.fork("sweep", "--policy", "policy.yaml")
    wait_until(lambda: cli.deletes() >= 1)
    if late:
        wait_until(lambda: cli.sim.request_log.removed)
    process.kill()
    process.communicate()
    cli.sim.faults.clear()


def invited(cli, name="ada@example.com"):
    project = cli.sim.add_project("Sandbox")
    return project, cli.sim.add_user(name, age=OLD, group_roles={project: ["GROUP_OWNER"]})


def ends(cli):
    return [(line["outcome"], line["seen_after"]) for line in cli.lines("outcome")]


def verified(cli):
    return cli.run("audit", "verify", "audit").code


def test_member_removed_by_a_killed_run_is_reported_as_error_and_the_next_sweep_ends_with_4(cli):
    _, user = invited(cli, "o'neil@example.com")
    killed(cli, accepts=user)
    done = cli.sweep()

    assert ends(cli) == [("accepted_during", "ACTIVE")]
    assert (done.code, done.summary["exit_code"], done.summary["recovered"]) == (4, 4, 1)
    assert done.summary["removed_members"] == ["o'neil@example.com"]
    assert len([each for each in done.errors if "o'neil@example.com accepted" in each]) == 1
    assert verified(cli) == 0
    assert (cli.sweep().code, len(ends(cli))) == (0, 1)
