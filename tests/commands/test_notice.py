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
