"""The message of each night has everything that is announced and waits.

A message that is lost is made good by that of the next night.
"""

import json
import signal

import pytest
from running import end, wait_until


@pytest.fixture
def cli(cli, receiver):
    """Two people who are stale, and a policy that announces them to a webhook with details."""
    cli.stock(stale=2)
    cli.keys["notice"] = {"wait": "7d"}
    hook = {"kind": "webhook", "url_env": "HOOK_URL", "secret_env": "HOOK_KEY", "details": True}
    cli.keys["notify"] = [hook | {"when": "changes"}]
    cli.changes |= {"HOOK_URL": receiver.url, "HOOK_KEY": "k3y"}
    return cli


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


def test_a_message_that_failed_is_a_warning_of_the_run_and_made_good_by_the_next_night(
    cli, receiver
):
    receiver.status = 500
    done = cli.sweep()
    assert take(receiver) == [NEW]
    text = (
        "Notification to webhook (HOOK_URL) was not sent: 127.0.0.1 responded with HTTP 500. The "
        "receiver failed: check it there."
    )
    (warning,) = [one for one in done.summary["warnings"] if one["code"] == "receiver_failed"]
    assert (warning["level"], warning["message"]) == ("urgent", text)
    (line,) = [json.loads(line) for line in done.err.splitlines() if "receiver_failed" in line]
    assert (line["level"], line["event"]) == ("warning", text)
    assert cli.run("audit", "verify").code == 0  # its file was over, and is unchanged
    receiver.status = 200
    assert "receiver_failed" not in cli.sweep().err
    assert take(receiver) == [OLD]


def test_a_run_that_is_killed_before_its_message_arrived_is_made_good(cli, receiver):
    receiver.answers.clear()
    process = cli.fork("sweep")
    wait_until(lambda: receiver.requests)
    process.kill()
    assert end(process).code == -signal.SIGKILL
    receiver.answers.set()
    assert take(receiver) == [NEW]
    assert cli.sweep().code == 0
    assert take(receiver) == [OLD]
