"""The four lists of pending users, end to end: the program as a process, Atlas over HTTP."""

import json
import shlex
from datetime import timedelta

import faults
import pytest

from invite_sweeper.simulator.seed import ORG_ID

OLD = timedelta(days=20)
STALE = {
    "name": "stale",
    "older_than": "14d",
    "statuses": ["PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED"],
}


@pytest.fixture
def cli(cli):
    cli.keys["rules"] = [dict(STALE)]
    return cli


def outcomes(cli, *names):
    return [tuple(line[name] for name in names) for line in cli.lines("outcome")]


def test_forbidden_list_is_unreadable_and_the_others_are_read(cli):
    project = cli.sim.add_project("Sandbox")
    cli.sim.invite(project, "ada@example.com", age=OLD)
    cli.sim.add_user("bob@example.com", age=OLD, group_roles={project: ["GROUP_OWNER"]})
    missing = faults.role_missing()
    cli.sim.faults.add(missing, path=f"*/orgs/{ORG_ID}/users", times=None)
    cli.sim.faults.add(missing, path=f"*/groups/{project}/users", times=None)
    cli.keys["sources"] = ["invites", "users", "org_users"]
    done = cli.sweep()

    assert (done.code, done.summary["projects_unreadable"]) == (4, 2)
    assert outcomes(cli, "username") == [("ada@example.com",)]
    lost = {line["source"]: line for line in cli.lines("project_unreadable")}
    assert (lost["users"]["project_id"], lost["org_users"]["project_id"]) == (project, None)
    assert f"org_users of organization {ORG_ID}" in lost["org_users"]["reason"]
    assert "users" in lost["users"]["reason"]


def test_removed_member_is_reported_with_the_command_to_restore_it(cli):
    project = cli.sim.add_project("Sandbox")
    user = cli.sim.add_user("o'neil@example.com", age=OLD, group_roles={project: ["GROUP_OWNER"]})
    accept = faults.effect(before=lambda _: cli.sim.set_status(user, "ACTIVE"))
    cli.sim.faults.add(accept, method="DELETE")
    cli.keys["sources"] = ["users"]
    done = cli.sweep()

    assert (done.code, done.summary["accepted_during"], done.summary["deleted"]) == (4, 1, 0)
    assert outcomes(cli, "outcome", "seen_before", "seen_after") == [
        ("accepted_during", "PENDING", "ACTIVE")
    ]
    assert done.summary["removed_members"] == ["o'neil@example.com"]
    assert '"level": "error"' in done.err
    assert "o'neil@example.com accepted" in done.err
    events = [json.loads(line)["event"] for line in done.err.splitlines()]
    (advice,) = [each for each in events if "Invite the removed members again: " in each]
    _, *command = shlex.split(advice.partition("again: ")[2])
    assert command[:4] == ["restore", "1", "--username", "o'neil@example.com"]
    assert cli.run(*command, "--dry-run").code == 0
