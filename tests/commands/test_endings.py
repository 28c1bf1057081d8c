"""How a command ends and what it advises, the same in every output, also with hostile names."""

import json
import shlex
from datetime import timedelta

import faults
import pytest
from running import wait_until

from invite_sweeper.endings import UNFINISHED_ADVICE

OLD = timedelta(days=20)
LOG = "audit/invite-sweeper.jsonl"
POLICY = ("--policy", "policy.yaml")


def report(cli):
    return json.loads(cli.run("report", LOG, "--format", "json").out)


@pytest.mark.parametrize("name", ["The sweep stopped itself", "matched no project."])
def test_project_named_like_a_sentence_of_the_program_changes_no_verdict(cli, name):
    cli.keys["projects"] = {"include": ["*", "unused-*"]}
    cli.sim.invite(cli.sim.add_project(name), "ada@example.com", age=OLD)
    planned = cli.run("plan", *POLICY, COLUMNS="120")
    assert (planned.code, "Stopped itself" in planned.out) == (0, False)
    done = cli.run("sweep", *POLICY, "--yes", COLUMNS="120")
    assert done.code == 0
    assert "\nDone" in done.out
    assert "Stopped itself" not in done.out
    assert [each["code"] for each in cli.lines("run_finished")[-1]["warnings"]] == [
        "unused_pattern"
    ]
    found = report(cli)
    assert "topped itself" not in found["verdict"]["label"]


def test_missing_role_is_answered_with_the_role_everywhere(cli):
    project = cli.sim.add_project("Search")
    cli.sim.invite(project, "ada@example.com", age=OLD)
    cli.sim.faults.add(faults.role_missing(), method="DELETE", times=None)
    done = cli.sweep()
    assert (done.code, done.summary["failed"], done.summary["missing_role"]) == (4, 1, 1)
    assert done.summary["reasons"] == ["missing_role", "failed_deletions"]
    (advice,) = done.summary["advice"]
    assert advice.startswith("Grant the credentials the role that is missing")
    assert "run the same command again" not in done.err.lower()
    (*_, finished) = cli.lines("run_finished")
    assert finished["reasons"] == done.summary["reasons"]
    words = shlex.split(advice.partition("To list them: ")[2])
    assert words[1:] == ["doctor", *POLICY, "--base-url", cli.base_url]
    assert cli.run(*words[1:]).code in {0, 4}


def test_killed_run_gets_the_same_advice_from_doctor_verify_and_report(cli):
    cli.sim.invite(cli.sim.add_project("Search"), "ada@example.com", age=OLD)
    cli.sim.faults.add(faults.hang(late=True), method="DELETE", times=99)
    process = cli.fork("sweep", *POLICY)
    wait_until(lambda: cli.deletes() >= 1)
    process.kill()
    process.communicate()
    cli.sim.faults.clear()
    checked = json.loads(cli.run("doctor", *POLICY, "--output", "json").out)
    hints = [each["hint"] or "" for each in checked["checks"]]
    assert any(UNFINISHED_ADVICE in hint for hint in hints)
    verified = json.loads(cli.run("audit", "verify", LOG, "--output", "json").out)
    assert verified["error"]["hint"] == UNFINISHED_ADVICE
    assert UNFINISHED_ADVICE in json.dumps(report(cli))


def test_refused_restore_does_not_advise_about_rules(cli):
    cli.sim.invite(cli.sim.add_project("Search"), "ada@example.com", age=OLD)
    assert cli.sweep().code == 0
    refused = cli.run("restore", LOG, "--max", "0", "--yes", "--output", "json")
    assert (refused.code, refused.summary["reasons"]) == (3, ["other"])
    assert "rules" not in refused.out + refused.err
    assert "narrow the rules" not in json.dumps(report(cli))
