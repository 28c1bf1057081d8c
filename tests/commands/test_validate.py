"""`validate` shows the errors and the warnings of a policy, and asks nothing of Atlas."""

import json
import re

from invite_sweeper.policy import json_schema


def test_validate_shows_warnings_and_ends_with_0(cli):
    done = cli.run("validate", "policy.yaml")
    assert (done.code, cli.sim.requests) == (0, [])
    assert done.out.startswith("policy.yaml is a valid policy")
    assert re.match(r"policy.yaml:\d+:\d+: warning: sources: Atlas has announced", done.err)


def test_schema_prints_the_json_schema_of_the_policy(cli):
    assert cli.run("schema").summary == json.loads(json.dumps(json_schema()))


def test_validate_shows_all_errors_and_ends_with_2(cli):
    cli.keys["limits"] = {"max_share": 7, "max_deletions": "many"}
    done = cli.run("validate", "policy.yaml")
    assert (done.code, done.out) == (2, "")
    found = re.findall(r"^policy.yaml:\d+:\d+: (limits\.\w+): .*; write ", done.err, re.MULTILINE)
    assert sorted(found) == ["limits.max_deletions", "limits.max_share"]
    assert "List them with" not in done.err  # the command that was just run
    result = cli.run("validate", "policy.yaml", "--output", "json").summary
    assert (result["valid"], result["errors"], result["warnings"]) == (False, 2, 0)
    assert [each["severity"] for each in result["findings"]] == ["error", "error"]
