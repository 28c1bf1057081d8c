"""`notice` and `inviter_gone` as a process: announced lines, waiting, and what is said of them."""

from datetime import UTC, datetime, timedelta

import pytest
from running import wait_until

DAYS = timedelta(days=1)


@pytest.fixture
def cli(cli):
    cli.project = cli.sim.add_project("Search")
    cli.sim.invite(cli.project, "ada@example.com", age=20 * DAYS)
    cli.keys["notice"] = {"wait": "2s"}
    return cli


def names(cli, event):
    return [line["username"] for line in cli.lines(event)]


def wait_for_the_end_of_the_notice(cli):
    end = max(datetime.fromisoformat(line["deletable_from"]) for line in cli.lines("announced"))
    wait_until(lambda: datetime.now(UTC) > end)


def test_first_armed_sweep_deletes_nothing_and_says_when_it_will(cli):
    cli.keys["notice"] = {"wait": "7d"}
    done = cli.sweep()
    assert (done.code, cli.deletes()) == (0, 0)
    assert (done.summary["stale"], done.summary["announced"]) == (0, 1)
    assert done.summary["kept_by_reason"] == {"notice_pending": 1}
    (line,) = cli.lines("announced")
    assert (line["username"], line["rule"]) == ("ada@example.com", "forgotten")
    (warning,) = [w for w in done.summary["warnings"] if w["code"] == "notice"]
    day = datetime.fromisoformat(line["deletable_from"])
    assert warning["message"] == (
        f"1 invitation announced, 0 due; the first may be deleted from {day:%Y-%m-%d %H:%M} UTC."
    )
    assert cli.sweep().summary["announced"] == 0
    assert len(cli.lines("announced")) == 1


def test_announced_invitation_is_deleted_after_the_wait_and_a_new_one_is_not(cli):
    assert cli.sweep().summary["deleted"] == 0
    wait_for_the_end_of_the_notice(cli)
    cli.sim.invite(cli.project, "bo@example.com", age=20 * DAYS)
    done = cli.sweep()
    assert (done.summary["deleted"], done.summary["announced"]) == (1, 1)
    assert names(cli, "announced") == ["ada@example.com", "bo@example.com"]
    assert names(cli, "outcome") == ["ada@example.com"]
    assert cli.run("audit", "verify", "audit").code == 0


def test_plan_announces_nothing_and_says_what_a_sweep_would(cli):
    done = cli.plan()
    assert (done.code, done.summary["announced"], done.summary["stale"]) == (0, 1, 0)
    assert cli.lines("announced") == []
    (line,) = cli.lines("would_be_announced")
    assert (line["username"], line["rule"]) == ("ada@example.com", "forgotten")
    shown = cli.run("audit", "show", "1", "--audit-dir", "audit", COLUMNS="140").out
    assert "Would be announced  1" in shown
    day = datetime.fromisoformat(line["deletable_from"])
    assert f"{day:%Y-%m-%d %H:%M} UTC" in shown.partition("Would be announced")[2]
    shown = cli.run("plan", "--policy", "policy.yaml", COLUMNS="200").out
    assert "nothing due, 1 would be announced" in shown
    assert "1 invitation would be announced, 0 would be deleted" in shown
    assert cli.sweep().summary["announced"] == 1  # a dry run announces nothing


def test_invitation_of_an_inviter_who_left_is_deleted_and_the_plan_says_by_what(cli):
    del cli.keys["notice"]
    cli.keys["rules"] = [{"name": "left", "inviter_gone": True}]
    cli.sim.add_user("boss@example.com", status="ACTIVE")
    cli.sim.invite(cli.project, "of-boss@example.com", inviterUsername="boss@example.com")
    cli.sim.invite(cli.project, "of-gone@example.com", inviterUsername="gone@example.com")
    done = cli.sweep()
    assert (done.code, done.summary["deleted"]) == (0, 1), done.err
    (planned,) = cli.lines("planned")
    assert (planned["username"], planned["inviter_gone"]) == ("of-gone@example.com", True)
    assert list(done.summary["members"].values()) == [1]
    assert done.summary["kept_by_reason"]["inviter_unknown"] == 1
