"""Metrics and notifications of whole runs; their failures are only warnings."""

import fcntl
import json
import re

from invite_sweeper.simulator.seed import ORG_ID


def test_held_lock_is_notified_and_the_metrics_are_left_to_its_run(cli, receiver):
    cli.stock()
    cli.sweep()
    with (cli.audit_dir / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        cli.keys["notify"] = [{"kind": "slack", "url_env": "SLACK_URL", "when": "failures"}]
        assert cli.sweep("--metrics-file", "run.prom", SLACK_URL=receiver.url).code == 9
    (text,) = (json.loads(body)["text"] for _, _, body in receiver.requests)
    assert "another run holds the lock" in text
    assert ORG_ID in text
    assert not (cli.folder / "run.prom").exists()


def failed_receivers(cli):
    text = (cli.folder / "run.prom").read_text(encoding="utf-8")
    return dict(re.findall(r'\ninvite_sweeper_receiver_failed\{.*kind="(\w+)".*\} (\d)', text))


def test_receiver_that_failed_is_a_metric_and_is_named_with_quiet(cli, receiver):
    """The metrics are written after the message, so that they can say it."""
    cli.stock()
    receiver.status = 500
    cli.keys["notify"] = [
        {"kind": "teams", "url_env": "TEAMS_URL"},
        {"kind": "slack", "url_env": "SLACK_URL", "when": "failures"},
        {"kind": "ping", "url_env": "PING_URL"},
    ]
    urls = {"TEAMS_URL": receiver.url, "SLACK_URL": receiver.url}
    sweep = ("sweep", "-q", "--metrics-file", "run.prom")
    done = cli.run(*sweep, **urls)
    assert (done.code, done.out) == (0, "")
    assert "Notification to teams (TEAMS_URL) was not sent: 127.0.0.1 responded" in done.err
    assert "Notification to ping (PING_URL) was not sent: PING_URL is not set" in done.err
    assert failed_receivers(cli) == {"teams": "1", "slack": "0", "ping": "1"}  # slack is not due
    receiver.status = 200
    done = cli.run(*sweep, **urls, PING_URL=receiver.url)
    assert (done.code, done.err) == (0, "")
    assert set(failed_receivers(cli).values()) == {"0"}
