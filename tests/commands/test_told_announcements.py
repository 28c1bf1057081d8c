"""An announcement reaches each receiver once, however its messages fail.

It is in the message of the run that announces, or of the next one whose message is accepted.
"""

import html
import json
import re
import shlex
import signal
from datetime import timedelta

import faults
import pytest
from builders import ORG, OTHER_ORG
from receiving import receiving
from running import end, run_line, wait_until

SLACK = "SLACK_URL"
HOOK = "HOOK_URL"


@pytest.fixture
def cli(cli):
    """Two people who are stale, and a policy that announces them to a webhook with details."""
    cli.stock(stale=2)
    cli.keys["notice"] = {"wait": "7d"}
    hook = {"kind": "webhook", "url_env": HOOK, "secret_env": "HOOK_KEY", "when": "failures"}
    cli.keys["notify"] = [{**hook, "details": True}]
    cli.changes["HOOK_KEY"] = "k3y"
    return cli


@pytest.fixture
def receiver(cli, receiver):
    cli.changes[HOOK] = f"{receiver.url}/hook"
    return receiver


def take(receiver):
    """Return the announcements of each message that came, with `new` and `unread`."""
    bodies = [json.loads(body) for _, _, body in receiver.requests]
    receiver.requests.clear()
    return [
        [(one["username"].partition("@")[0], one["new"], "unread" in one) for one in announcements]
        for announcements in (body["announcements"] for body in bodies)
    ]


NEW = [("p0", True, False), ("p1", True, False)]
OLD = [("p0", False, False), ("p1", False, False)]
AGAIN = "The next run notifies it again of what was announced."


@pytest.mark.parametrize("failures", [1, 2])
@pytest.mark.parametrize("when", ["failures", "changes"])
def test_a_message_that_failed_is_made_good_by_the_next_quiet_run_and_then_never_again(
    cli, receiver, when, failures
):
    cli.keys["notify"][0]["when"] = when
    receiver.status = 500
    for _ in range(failures):
        done = cli.sweep()
        assert (done.code, done.errors) == (0, [])
        assert f"responded with HTTP 500. The receiver failed: check it there. {AGAIN}" in done.err
        assert take(receiver) == [NEW]
    receiver.status = 200
    done = cli.sweep()
    assert (done.code, done.err.count("was not sent"), cli.deletes()) == (0, 0, 0)
    assert take(receiver) == [NEW]
    assert cli.sweep().code == 0
    assert take(receiver) == []


def test_the_command_of_a_message_lists_what_is_pending_and_not_who_was_announced_and_left(
    cli, receiver
):
    slack = {"kind": "slack", "url_env": SLACK, "when": "always"}
    cli.keys["notify"] = [slack]
    cli.changes[SLACK] = f"{receiver.url}/slack"
    (project,) = cli.stock(stale=3)
    listed = []
    for words in (("plan",), ("sweep", "--yes"), ("plan",)):
        cli.run(*words, "--policy", "policy.yaml")
        text = json.loads(receiver.requests.pop()[2])["text"]
        (command,) = re.findall(r"To list them: `(.+)`", html.unescape(text))
        shown = cli.run(*shlex.split(command)[1:], "-o", "json").out.splitlines()
        listed.append([json.loads(line)["username"] for line in shown])
        cli.sim.accept(project, cli.sim.invitations(project)[0])
    assert [len(names) for names in listed] == [5, 4, 3]


def test_the_log_promises_no_repetition_of_a_message_without_announcements(cli, receiver):
    cli.sweep()
    receiver.requests.clear()
    receiver.status = 500
    cli.keys["notify"][0]["when"] = "always"
    done = cli.sweep()
    assert take(receiver) == [OLD]
    assert "responded with HTTP 500" in done.err
    assert "next run" not in done.err


def test_a_run_that_is_killed_before_its_message_arrived_is_made_good(cli, receiver):
    receiver.answers.clear()
    process = cli.start("sweep", "--policy", "policy.yaml", "--yes")
    wait_until(lambda: receiver.requests)
    process.send_signal(signal.SIGKILL)
    assert end(process).code == -signal.SIGKILL
    receiver.answers.set()
    assert take(receiver) == [NEW]
    assert cli.sweep().code == 0
    assert take(receiver) == [NEW]


def test_a_receiver_that_is_new_in_the_policy_is_sent_all_that_waits(cli, receiver):
    cli.sweep()
    take(receiver)
    with receiving() as other:
        entry = {**cli.keys["notify"][0], "url_env": "OTHER_URL"}
        cli.keys["notify"].append(entry)
        cli.sweep(OTHER_URL=f"{other.url}/hook")
        assert (take(receiver), take(other)) == ([], [NEW])


def test_two_receivers_of_one_kind_are_remembered_each(cli, receiver):
    with receiving() as other:
        cli.keys["notify"].append({**cli.keys["notify"][0], "url_env": "OTHER_URL"})
        cli.changes["OTHER_URL"] = f"{other.url}/hook"
        other.status = 503
        cli.sweep()
        assert (take(receiver), take(other)) == ([NEW], [NEW])
        other.status = 200
        cli.sweep()
        assert (take(receiver), take(other)) == ([], [NEW])
    marks = json.loads((cli.audit_dir / "receivers.json").read_text(encoding="utf-8"))
    assert marks.keys() == {HOOK, "OTHER_URL"}
    assert other.url not in str(marks)
    assert cli.run("audit", "verify", "audit").code == 0


def test_a_dry_run_shows_what_a_sweep_would_tell_and_marks_nothing(cli, receiver):
    cli.keys["notify"][0]["when"] = "changes"
    cli.plan()
    assert take(receiver) == [NEW]
    assert not (cli.audit_dir / "receivers.json").exists()
    receiver.status = 500
    cli.sweep()
    receiver.status = 200
    cli.plan()  # quiet, and its receiver still waits
    assert take(receiver) == [NEW, NEW]
    cli.sweep()
    assert take(receiver) == [NEW]


def test_a_new_announcement_is_sent_beside_those_that_wait(cli, receiver):
    cli.sweep()
    take(receiver)
    cli.sim.invite(cli.projects[0], "new@example.com", age=timedelta(days=30))
    cli.sweep()
    (told,) = take(receiver)
    assert sorted(told) == [("new", True, False), *OLD]


def test_who_accepted_meanwhile_is_not_sent_and_who_was_not_read_is(cli, receiver):
    cli.keys["notify"][0]["when"] = "always"
    other = cli.stock(stale=0)[0]
    cli.sim.invite(other, "far@example.com", age=timedelta(days=30))
    cli.sweep()
    take(receiver)
    for line in cli.lines("announced"):
        if line["project_id"] == cli.projects[0]:
            cli.sim.accept(cli.projects[0], line["invitation_id"])
    cli.sim.faults.add(faults.role_missing(), path=f"*/groups/{other}/invites", times=None)
    assert cli.sweep().code == 4
    assert take(receiver) == [[("far", False, True)]]


def test_an_organization_that_failed_is_sent_as_not_read(cli, receiver):
    cli.use_organizations({"ALPHA": ORG, "BETA": OTHER_ORG})
    cli.stock(stale=1, org_id=OTHER_ORG)
    cli.sweep()
    take(receiver)
    assert cli.sweep(MONGODB_ATLAS_ACCESS_TOKEN_BETA="wrong").code == 4
    (told,) = take(receiver)
    assert sorted(told) == [("p0", False, False), ("p0", False, True), ("p1", False, False)]


def test_a_receiver_of_failures_hears_of_an_announcement_in_its_chat_once(cli, receiver):
    cli.keys["notify"] = [{"kind": "slack", "url_env": SLACK, "when": "failures"}]
    cli.changes[SLACK] = f"{receiver.url}/slack"
    cli.sweep()
    ((_, _, body),) = receiver.requests
    text = json.loads(body)["text"]
    assert "2 invitations wait to be deleted, 2 not announced here before; the first" in text
    assert "@example.com" not in text
    (command,) = re.findall(r"To list them: `(.*)`", text)
    listed = run_line(command, cli.folder, cli.environment)
    assert listed.code == 0
    assert [name in listed.out for name in ("p0@example.com", "p1@example.com")] == [True, True]
    cli.sweep()
    assert len(receiver.requests) == 1


def test_without_a_notice_in_the_policy_no_announcement_is_sent(cli, receiver):
    cli.sweep()
    take(receiver)
    del cli.keys["notice"]
    cli.keys["notify"][0]["when"] = "always"
    cli.plan()
    assert take(receiver) == [[]]
