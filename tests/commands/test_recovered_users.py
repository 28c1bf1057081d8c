"""The removal of a user whose answer is lost, or whose run is killed: sent once, and then asked."""

import json
from datetime import timedelta

import faults
import pytest
from running import wait_until


@pytest.fixture
def cli(cli):
    """A user of a project, who is stale."""
    cli.keys["sources"] = ["users"]
    roles = {cli.sim.add_project("Sandbox"): ["GROUP_OWNER"]}
    cli.sim.add_user("ada@example.com", age=timedelta(days=20), group_roles=roles)
    return cli


def test_removal_whose_answer_is_lost_is_unknown_and_is_sent_once_in_a_run(cli):
    cli.sim.faults.add(faults.reset(late=True), method="DELETE", times=None)
    done = cli.sweep()
    assert (done.code, done.summary["unknown"], cli.deletes()) == (4, 1, 1)
    again = cli.sweep()
    assert (again.code, again.summary["stale"], cli.deletes()) == (0, 0, 1)
    assert [line["outcome"] for line in cli.lines("outcome")] == ["unknown", "already_gone"]
    assert again.summary["recovered"] == 1
    show = ("audit", "show", "--audit-dir", "audit")
    assert "already gone" in cli.run(*show, "1").out
    assert "ada@example.com" in cli.run(*show, "--outcome", "already_gone").out
    verified = cli.run("audit", "verify", "audit", "--output", "json")
    assert (verified.code, json.loads(verified.out)["recovered"]) == (0, [])


@pytest.mark.parametrize("is_removed", [True, False])
def test_removal_of_a_killed_run_is_already_gone_or_is_sent_again_by_the_next_one(cli, is_removed):
    hang = faults.hang(late=is_removed)
    reached = []
    cli.sim.faults.add(faults.with_effect(hang, reached.append), method="DELETE")
    process = cli.fork("sweep", "--policy", "policy.yaml")
    wait_until(lambda: len(cli.sim.request_log.removed) == 1 if is_removed else reached)
    process.kill()
    process.communicate()

    done = cli.sweep()
    first = "already_gone" if is_removed else "failed"
    outcomes = [line["outcome"] for line in cli.lines("outcome")]
    assert outcomes == [first] if is_removed else [first, "deleted"]
    assert (done.code, done.summary["recovered"]) == (0, is_removed)
    assert cli.run("audit", "verify", "audit").code == 0
    assert (cli.sweep().code, len(cli.lines("outcome"))) == (0, len(outcomes))
