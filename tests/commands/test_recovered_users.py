"""A member removed by a run, or by one that was killed: how it is reported, and the way back."""

import json
import shlex
from datetime import timedelta

import faults
import pytest
from running import wait_until

NAME = "o'neil@example.com"


@pytest.fixture
def cli(cli):
    """A user whose list shows an invitation that is accepted just before the DELETE."""
    rule = {"name": "stale", "older_than": "14d", "statuses": ["PENDING"]}
    cli.keys |= {"rules": [rule], "sources": ["users"]}
    roles = {cli.sim.add_project("Sandbox"): ["GROUP_OWNER"]}
    user = cli.sim.add_user(NAME, age=timedelta(days=20), group_roles=roles)
    accept = faults.effect(before=lambda _: cli.sim.set_status(user, "ACTIVE"))
    cli.sim.faults.add(accept, method="DELETE")
    return cli


@pytest.mark.parametrize("killed", [False, True])
def test_removed_member_is_an_error_with_the_command_to_restore_it(cli, killed):
    if killed:
        cli.sim.faults.add(faults.hang(late=True), method="DELETE", times=99)
        process = cli.fork("sweep", "--policy", "policy.yaml")
        wait_until(lambda: cli.sim.request_log.removed)
        process.kill()
        process.communicate()
        cli.sim.faults.clear()
    done = cli.sweep()

    (line,) = cli.lines("outcome")
    assert (line["outcome"], line["seen_after"]) == ("accepted_during", "ACTIVE")
    assert (done.code, done.summary["recovered"]) == (4, killed)
    assert (done.summary["accepted_during"], done.summary["deleted"]) == (not killed, 0)
    assert done.summary["removed_members"] == [NAME]
    (accepted,) = [each for each in done.errors if "accepted" in each]
    assert NAME in accepted
    assert cli.run("audit", "verify", "audit").code == 0
    assert (cli.sweep().code, len(cli.lines("outcome"))) == (0, 1)
    events = [json.loads(line)["event"] for line in done.err.splitlines()]
    (advice,) = [each for each in events if "Invite the removed members again: " in each]
    _, *command = shlex.split(advice.partition("again: ")[2])
    assert command[:4] == ["restore", "2" if killed else "1", "--username", NAME]
    assert cli.run(*command, "--yes").code == 4  # an active member again
