"""`notice` and `inviter_gone` as a process: announced lines, waiting, and what each output says."""

import json
import re
import time
from datetime import datetime, timedelta

import faults
import pytest

DAYS = timedelta(days=1)


@pytest.fixture
def cli(cli):
    cli.project = cli.sim.add_project("Search")
    cli.sim.invite(cli.project, "ada@example.com", age=20 * DAYS)
    cli.keys["notice"] = {"wait": "2s"}
    return cli


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
    day = datetime.fromisoformat(line["deletable_from"])
    assert warning["message"] == (
        "1 invitation announced, 0 due; the first may be deleted from "
        f"{day.day} {day:%B %Y, %H:%M} UTC."
    )
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


# Limits, trim, saved plans -----------------------------------------------------------------------


def test_limits_count_deletions_and_not_announcements(cli):
    for number in range(3):
        cli.sim.invite(cli.project, f"p{number}@example.com", age=20 * DAYS)
    cli.keys["limits"] |= {"max_deletions": 1}
    announced = cli.sweep()
    assert (announced.code, announced.summary["announced"]) == (0, 4)
    time.sleep(2.1)
    assert (cli.sweep().code, cli.deletes()) == (3, 0)
    assert cli.lines("announcement_ended") == []


def test_trimmed_invitations_keep_their_announcement(cli):
    cli.sim.invite(cli.project, "bo@example.com", age=19 * DAYS)
    cli.keys["limits"] |= {"max_deletions": 1, "over_limit": "trim", "period": "0s"}
    assert cli.sweep().summary["announced"] == 2
    time.sleep(2.1)
    done = cli.sweep()
    assert (done.summary["trimmed"], done.summary["announced"]) == (1, 0)
    assert cli.sweep().summary["deleted"] == 1
    assert [line["username"] for line in cli.lines("outcome")] == [
        "ada@example.com", "bo@example.com",
    ]  # fmt: skip
    assert len(cli.lines("announced")) == 2


def test_plan_deletes_nothing_where_the_log_has_no_announcement(cli):
    cli.sweep()
    time.sleep(2.1)
    assert cli.plan("--out", "plan.jsonl").summary["stale"] == 1
    other = cli.sweep("--plan", "plan.jsonl", "--audit-log", "other.jsonl")
    assert (other.code, other.summary["announced"], cli.deletes()) == (0, 1, 0)


# doctor, explain, report, metrics ----------------------------------------------------------------


def checks(cli, name):
    done = cli.run("doctor", "--policy", "policy.yaml", "--output", "json")
    return [
        (c["state"], c["message"]) for c in json.loads(done.out)["checks"] if c["check"] == name
    ]


def test_doctor_says_what_waits_by_notice_and_until_when(cli):
    cli.keys["notice"] = {"wait": "7d"}
    ((state, before),) = checks(cli, "notice")
    assert (state, "none is announced yet" in before) == ("ok", True)
    cli.sweep()
    ((state, after),) = checks(cli, "notice")
    due = cli.lines("announced")[0]["deletable_from"][:10]
    assert state == "ok"
    assert f"1 announced invitation waits, the first until {due} " in after
    del cli.keys["notice"]
    assert checks(cli, "notice") == []


def test_doctor_says_whether_inviter_gone_can_be_judged_and_by_which_role(cli):
    assert checks(cli, "members") == []
    cli.keys["rules"] = [{"name": "left", "inviter_gone": True}]
    cli.sim.add_user("boss@example.com", status="ACTIVE")
    ((state, message),) = checks(cli, "members")
    assert (state, "active member" in message) == ("ok", True)
    cli.sim.faults.add(faults.role_missing(), path="*/orgs/*/users", times=None)
    ((state, message),) = checks(cli, "members")
    assert (state, "Organization Member" in message) == ("warning", True)


@pytest.mark.parametrize(
    ("inviter", "state"),
    [
        ("gone@example.com", "none of the "),
        ("boss@example.com", "one of the "),
        ("nmtxqlkl", "not a person's address"),
    ],
)
def test_explain_shows_the_inviter_s_state(cli, inviter, state):
    del cli.keys["notice"]
    cli.keys["rules"] = [{"name": "left", "inviter_gone": True}]
    cli.sim.add_user("boss@example.com", status="ACTIVE")
    cli.sim.invite(cli.project, "bo@example.com", inviterUsername=inviter)
    shown = cli.run("explain", "bo@example.com", "--policy", "policy.yaml").out
    assert f"has {inviter}: {state}" in shown


def test_metrics_have_the_announced_and_the_pending_ones(cli):
    cli.sweep("--metrics-file", "metrics.prom")
    text = (cli.folder / "metrics.prom").read_text(encoding="utf-8")
    assert re.search(r"^invite_sweeper_announced(\{.*\})? 1\.0$", text, re.MULTILINE)
    assert re.search(r"^invite_sweeper_notice_pending(\{.*\})? 1\.0$", text, re.MULTILINE)


def test_page_and_log_show_what_was_announced_and_that_earlier_ones_wait(cli):
    cli.keys["notice"] = {"wait": "7d"}
    cli.sweep()
    cli.sim.invite(cli.project, "bo@example.com", age=20 * DAYS)
    cli.sweep()
    assert cli.run("report", str(cli.log_path), "--out", "page.html").code == 0
    page = (cli.folder / "page.html").read_text(encoding="utf-8")
    assert "Announced for a later deletion" in page
    assert "bo@example.com" in page.replace("<wbr>", "")
    assert "1 invitation announced by earlier sweeps waits, too." in page
    shown = cli.run("audit", "show", str(cli.log_path), "--event", "announced", "-o", "json")
    assert [json.loads(line)["username"] for line in shown.out.splitlines()] == [
        "ada@example.com",
        "bo@example.com",
    ]


def test_notice_needs_no_request_and_a_policy_without_both_keys_sends_what_it_sent(cli):
    def requested():
        before = len(cli.sim.requests)
        assert cli.plan().code == 0
        return sorted(
            f"{each.method} {re.sub('[0-9a-f]{24}', 'ID', each.path).partition('?')[0]}"
            for each in cli.sim.requests[before:]
        )

    with_notice = requested()
    del cli.keys["notice"]
    assert with_notice == [
        "GET /api/atlas/v2/groups",
        "GET /api/atlas/v2/groups/ID/invites",
        "GET /api/atlas/v2/orgs",
    ]
    assert requested() == with_notice


# Several organizations and shards ----------------------------------------------------------------


@pytest.fixture
def two(cli):
    """Two organizations with a stale invitation each, and credentials of their own."""
    org_ids = {"ALPHA": "1" * 24, "BETA": "2" * 24}
    cli.use_organizations(org_ids)
    for org_id in org_ids.values():
        cli.stock(org_id=org_id)
    return cli


def test_notice_of_two_organizations_is_one_sentence_over_both(two):
    done = two.sweep()
    assert (done.code, done.summary["announced"]) == (0, 2)
    (message,) = [w["message"] for w in done.summary["warnings"] if w["code"] == "notice"]
    assert message.startswith("2 invitations announced, 0 due; the first may be deleted from ")
    time.sleep(2.1)
    assert two.sweep().summary["deleted"] == 2


def test_shard_announces_and_ends_only_what_is_in_its_organizations(two):
    assert two.sweep("--shard", "1/2").summary["announced"] == 1
    two.keys["keep"] = [{"name": "k", "usernames": ["p0@*"]}]
    two.sweep("--shard", "2/2")
    assert two.lines("announcement_ended") == []
    two.sweep("--shard", "1/2")
    assert len(two.lines("announcement_ended")) == 1
