"""How a command ends and what it advises, the same in every output, also with hostile names."""

import re
import shlex
from datetime import timedelta

import faults
import pytest

OLD = timedelta(days=20)
POLICY = ("--policy", "policy.yaml")


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
    codes = [each["code"] for each in cli.lines("run_finished")[-1]["warnings"]]
    assert codes == ["policy", "unused_pattern"]


def test_missing_role_is_answered_with_the_role_everywhere(cli):
    project = cli.sim.add_project("Search")
    cli.sim.invite(project, "ada@example.com", age=OLD)
    cli.sim.faults.add(faults.role_missing(), method="DELETE", times=None)
    done = cli.sweep("--log-format", "text")
    assert (done.code, done.summary["failed"], done.summary["missing_role"]) == (4, 1, 1)
    assert done.summary["reasons"] == ["missing_role", "failed_deletions"]
    (advice,) = re.findall("What to do: (.+)", done.err)
    assert advice.startswith("Grant the credentials the role that is missing")
    (*_, finished) = cli.lines("run_finished")
    assert finished["reasons"] == done.summary["reasons"]
    words = shlex.split(advice.partition("To list them: ")[2])
    assert words[1:] == ["doctor", *POLICY, "--base-url", cli.base_url]
    assert cli.run(*words[1:]).code in {0, 4}
