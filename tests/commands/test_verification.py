"""A sweep reads the lists again from which it deleted, and reports what it found."""

from datetime import timedelta

import faults
import pytest

OLD = timedelta(days=20)
INVITED = {"statuses": ["PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED"]}


@pytest.fixture
def cli(cli):
    cli.keys["rules"] = [{"name": "old", "older_than": "14d", **INVITED}]
    for number in range(2):
        project = cli.sim.add_project(f"Project {number}")
        cli.projects.append(project)
        for name in ("ada", "bob"):
            cli.sim.invite(project, f"{name}{number}@example.com", age=OLD)
            cli.sim.add_user(
                f"{name}{number}@example.com", age=OLD, group_roles={project: ["GROUP_OWNER"]}
            )
    return cli


def counts(summary):
    return tuple(summary[key] for key in ("deleted", "verified", "still_there"))


@pytest.mark.parametrize("source", ["users", "org_invites"])
def test_deletions_from_every_list_are_verified(cli, source):
    cli.keys["sources"] = [source]
    done = cli.sweep()

    assert done.code == 0, done.err
    assert counts(done.summary) == (4, 4, 0)
    assert {line["source"] for line in cli.lines("outcome")} == {source}
    (finished,) = cli.lines("run_finished")
    assert counts(finished) == (4, 4, 0)
    lists = [each for each in cli.sim.requests if each.method == "GET" and source[-5:] in each.path]
    scope = "/orgs/" if source.startswith("org_") else "/groups/"
    ends = (each.path.partition("?")[0] for each in lists if scope in each.path)
    after = [each for each in ends if each.endswith(source[-5:])]
    assert len(after) == 2 * (1 if source.startswith("org_") else 2)


def test_invitation_that_is_still_listed_is_exit_4_and_named(cli):
    cli.sim.faults.add(faults.empty(204), method="DELETE", path=f"*/{cli.projects[0]}/*")
    done = cli.sweep()

    assert done.code == 4, done.err
    assert counts(done.summary) == (3, 3, 1)
    (warning,) = [w["message"] for w in done.summary["warnings"] if w["code"] == "still_there"]
    assert "still contain 1 invitation" in warning
    assert "0@example.com (Project 0)" in warning
    assert cli.run("audit", "verify", str(cli.log_path)).code == 0
