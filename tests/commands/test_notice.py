"""`notice` and `inviter_gone` as a process: announced lines, waiting, and what each output says."""

import time
from datetime import timedelta

import pytest
from running import cli_in

DAYS = timedelta(days=1)


@pytest.fixture
def cli(tmp_path):
    with cli_in(tmp_path) as found:
        found.project = found.sim.add_project("Search")
        found.sim.invite(found.project, "ada@example.com", age=20 * DAYS)
        found.keys["notice"] = {"wait": "2s"}
        yield found


def events(cli, name):
    return [(line["username"], line["rule"]) for line in cli.lines(name)]


def test_first_armed_sweep_deletes_nothing_and_says_when_it_will(cli):
    cli.keys["notice"] = {"wait": "7d"}
    done = cli.sweep()
    assert (done.code, cli.deletes()) == (0, 0)
    assert (done.summary["stale"], done.summary["announced"]) == (0, 1)
    assert done.summary["kept_by_reason"] == {"notice_pending": 1}
    (line,) = cli.lines("announced")
    assert (line["username"], line["rule"]) == ("ada@example.com", "forgotten")
    (warning,) = [w for w in done.summary["warnings"] if w["code"] == "notice"]
    assert warning["message"].startswith("1 invitation announced, 0 announced before wait: ")
    assert line["deletable_from"][:10] in warning["message"]
    assert cli.sweep().summary["announced"] == 0
    assert len(cli.lines("announced")) == 1


def test_announced_invitation_is_deleted_after_the_wait_and_a_new_one_is_not(cli):
    assert cli.sweep().summary["deleted"] == 0
    time.sleep(2.1)
    cli.sim.invite(cli.project, "bo@example.com", age=20 * DAYS)
    done = cli.sweep()
    assert (done.summary["deleted"], done.summary["announced"]) == (1, 1)
    assert events(cli, "announced") == [
        ("ada@example.com", "forgotten"),
        ("bo@example.com", "forgotten"),
    ]
    assert [line["username"] for line in cli.lines("outcome")] == ["ada@example.com"]
    verified = cli.run("audit", "verify", str(cli.log_path))
    assert verified.code == 0, verified.out + verified.err


def test_plan_announces_nothing_and_says_what_a_sweep_would(cli):
    done = cli.plan()
    assert (done.code, done.summary["announced"], done.summary["stale"]) == (0, 1, 0)
    assert cli.lines("announced") == []
    assert any("1 invitation would be announced" in w["message"] for w in done.summary["warnings"])
    shown = cli.run("plan", "--policy", "policy.yaml").out
    assert "nothing due in 1 project" in shown
    assert "Notice" in shown
    assert "1 invitation would be announced" in " ".join(shown.split())


def test_announcement_ends_with_a_line_where_a_keep_entry_matches(cli):
    cli.sweep()
    cli.keys["keep"] = [{"name": "k", "usernames": ["ada@*"]}]
    cli.sweep()
    (ended,) = cli.lines("announcement_ended")
    assert (ended["username"], ended["reason"]) == ("ada@example.com", "keep:k")
    del cli.keys["keep"]
    time.sleep(2.1)
    assert cli.sweep().summary["announced"] == 1


def test_saved_plan_deletes_nothing_before_its_time(cli):
    cli.keys["notice"] = {"wait": "7d"}
    assert cli.sweep().code == 0
    assert cli.plan("--out", "plan.jsonl").summary["stale"] == 0
    done = cli.sweep("--plan", "plan.jsonl")
    assert (done.summary["deleted"], cli.deletes()) == (0, 0)


def test_explain_says_since_when_and_until_when_it_waits(cli):
    cli.keys["notice"] = {"wait": "7d"}
    explain = ("explain", "ada@example.com", "--policy", "policy.yaml")
    assert "the next sweep announces it, deletable from " in cli.run(*explain).out
    cli.sweep()
    assert "announced 20" in cli.run(*explain).out
    shown = cli.run("audit", "show", str(cli.log_path), "--event", "announced")
    assert "ada@example.com" in shown.out, shown.err


def test_policy_without_a_notice_writes_what_it_wrote(cli):
    del cli.keys["notice"]
    done = cli.sweep()
    assert (done.summary["deleted"], done.summary["announced"]) == (1, 0)
    (finished,) = cli.lines("run_finished")
    assert "members" not in finished
    assert {line["event"] for line in cli.lines()} == {
        "run_started", "planned", "intent", "outcome", "run_finished",
    }  # fmt: skip


def test_invitation_of_an_inviter_who_left_is_deleted_and_the_plan_says_by_what(cli):
    del cli.keys["notice"]
    cli.keys["rules"] = [{"name": "left", "inviter_gone": True}]
    cli.sim.add_user("boss@example.com", status="ACTIVE")
    cli.sim.invite(cli.project, "of-boss@example.com", inviterUsername="boss@example.com")
    cli.sim.invite(cli.project, "of-gone@example.com", inviterUsername="gone@example.com")
    done = cli.sweep()
    assert done.code == 0, done.err
    (planned,) = cli.lines("planned")
    assert (planned["username"], planned["inviter_gone"]) == ("of-gone@example.com", True)
    assert planned["members_read"] >= 1
    (finished,) = cli.lines("run_finished")
    assert list(finished["members"].values()) == [planned["members_read"]]
