"""What `plan` and `sweep` say about changes since the last plan of the same policy."""

import json
from datetime import timedelta

import pytest

from invite_sweeper.simulator.seed import ORG_ID

DAYS = timedelta(days=1)
BETA = "0123456789abcdef01234567"


@pytest.fixture
def cli(cli):
    cli.projects.append(cli.sim.add_project("Alpha"))
    return cli


def invite(cli, *names, days=20, project=0):
    return [
        cli.sim.invite(cli.projects[project], f"{name}@example.com", age=days * DAYS)
        for name in names
    ]


def changes(done):
    found = done.summary["changes"]
    return found and {k: v for k, v in found.items() if k != "runs" and v}


def new_names(done):
    return [each["username"] for each in done.summary["invitations"] if each.get("new")]


def text(cli, *arguments):
    out = cli.run("plan", "--policy", "policy.yaml", *arguments, COLUMNS="200").out
    return next((line for line in out.splitlines() if line.startswith("Changes")), "")


def test_first_plan_says_nothing_and_the_second_names_the_first(cli):
    invite(cli, "ann", "bob")
    first = cli.plan()
    assert (changes(first), new_names(first)) == (None, [])
    second = cli.plan()
    assert changes(second) == {"still_stale": 2}
    (run,) = second.summary["changes"]["runs"]
    assert run == {
        "run_id": first.summary["run_id"],
        "mode": "dry-run",
        "now": first.summary["now"],
        "refused": False,
    }


def test_new_invitations_are_counted_and_marked(cli):
    invite(cli, "ann", "bob")
    cli.plan()
    invite(cli, "cid")
    done = cli.plan()
    assert (changes(done), new_names(done)) == (
        {"new": 1, "still_stale": 2},
        ["cid@example.com"],
    )
    assert [each["username"] for each in cli.lines("planned") if each.get("new")] == [
        "cid@example.com"
    ]
    invite(cli, "dot")
    shown = cli.run("plan", "--policy", "policy.yaml", COLUMNS="200").out
    assert "dot@example.com (new)" in shown
    assert "cid@example.com (new)" not in shown
    instant = f"{done.summary['now'][:10]} {done.summary['now'][11:16]} UTC"
    assert f"Changes    1 new since the plan of {instant}; 3 still stale\n" in shown


def test_sweep_compares_too_and_the_next_plan_with_the_sweep(cli):
    invite(cli, "ann")
    cli.plan()
    invite(cli, "bob")
    assert changes(cli.sweep()) == {"new": 1, "still_stale": 1}
    assert changes(cli.plan()) == {"deleted": 2}
    invite(cli, "cid")
    cli.sweep()
    assert "nothing new since the sweep of " in text(cli)


def test_sweep_of_a_saved_plan_says_nothing(cli):
    invite(cli, "ann")
    cli.plan("--out", "plan.jsonl")
    invite(cli, "bob")
    done = cli.sweep("--plan", "plan.jsonl")
    assert (done.summary["deleted"], changes(done)) == (1, None)


def test_organizations_with_their_own_credentials_are_added_up(cli):
    cli.use_organizations({"ACME": ORG_ID, "BETA": BETA})
    cli.projects.append(cli.sim.add_project("Second", BETA))
    invite(cli, "ann", "bob")
    invite(cli, "cid", project=1)
    cli.plan()
    invite(cli, "dot", project=1)
    done = cli.plan()
    assert changes(done) == {"new": 1, "still_stale": 3}
    assert len(done.summary["changes"]["runs"]) == 2
    # Beta fails: only Acme is planned and compared, and Beta's invitations are not gone.
    failed = cli.plan(MONGODB_ATLAS_ACCESS_TOKEN_BETA="wrong")
    assert (failed.code, changes(failed)) == (4, {"still_stale": 2})
    # The last plan of each organization counts, also if it is of another night.
    assert changes(cli.plan()) == {"still_stale": 4}


def test_saved_plan_keeps_the_comparison_and_the_marks(cli):
    invite(cli, "ann")
    cli.plan("--out", "first.jsonl")
    assert cli.run("plan", "show", "first.jsonl", "--output", "json").summary["changes"] is None
    assert "changes" not in cli.run("plan", "show", "first.jsonl").out
    invite(cli, "bob")
    cli.plan("--out", "plan.jsonl")
    shown = cli.run("plan", "show", "plan.jsonl", COLUMNS="200").out
    assert "changes  1 new since the plan of " in shown
    assert "bob@example.com (new)" in shown
    assert "ann@example.com (new)" not in shown
    found = cli.run("plan", "show", "plan.jsonl", "--output", "json").summary
    assert (found["changes"]["new"], found["changes"]["still_stale"]) == (1, 1)
    assert [each["username"] for each in found["invitations"] if each.get("new")] == [
        "bob@example.com"
    ]
    assert cli.sweep("--plan", "plan.jsonl").summary["deleted"] == 2


def test_log_has_the_comparison_in_the_last_line(cli):
    invite(cli, "ann")
    cli.plan()
    assert cli.lines("run_finished")[-1]["changes"] is None
    done = cli.plan()
    assert cli.lines("run_finished")[-1]["changes"] == done.summary["changes"]
    assert json.dumps(done.summary["changes"]).count("@") == 0
