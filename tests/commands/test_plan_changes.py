"""What `plan` and `sweep` say about changes since the last plan of the same policy."""

from datetime import timedelta

import pytest

DAYS = timedelta(days=1)
BETA = "0123456789abcdef01234567"


@pytest.fixture
def cli(cli):
    cli.projects.append(cli.sim.add_project("Alpha"))
    return cli


def invite(cli, *names, project=0):
    for name in names:
        cli.sim.invite(cli.projects[project], f"{name}@example.com", age=20 * DAYS)


def changes(done):
    found = done.summary["changes"]
    return found and {k: v for k, v in found.items() if isinstance(v, int) and v}


def test_first_plan_says_nothing_and_the_second_names_the_first_and_marks_what_is_new(cli):
    invite(cli, "ann", "bob")
    first = cli.plan()
    assert changes(first) is None
    assert not any(each.get("new") for each in first.summary["invitations"])
    invite(cli, "cid")
    second = cli.plan()
    found = second.summary["changes"]
    assert changes(second) == {"new": 1, "still_stale": 2}
    assert (found["run_id"], found["now"]) == (first.summary["run_id"], first.summary["now"])
    new = [each["username"] for each in second.summary["invitations"] if each.get("new")]
    assert new == ["cid@example.com"]
    assert cli.lines("run_finished")[-1]["changes"] == found
    invite(cli, "dot")
    shown = cli.run("plan", "--policy", "policy.yaml", COLUMNS="200").out
    assert "dot@example.com (new)" in shown
    assert "cid@example.com (new)" not in shown
    instant = f"{second.summary['now'][:10]} {second.summary['now'][11:16]} UTC"
    assert f"1 new since the plan of {instant}; 3 still stale\n" in shown


def test_sweep_compares_too_and_the_next_plan_with_the_sweep(cli):
    invite(cli, "ann")
    cli.plan()
    invite(cli, "bob")
    assert changes(cli.sweep()) == {"new": 1, "still_stale": 1}
    assert changes(cli.plan()) == {"deleted": 2}


def test_sweep_of_a_saved_plan_says_nothing(cli):
    invite(cli, "ann")
    cli.plan()
    invite(cli, "bob")
    done = cli.sweep("--plan", "1")
    assert (done.summary["deleted"], changes(done)) == (1, None)
