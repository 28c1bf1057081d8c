"""Metrics and notifications of whole runs; their failures are only warnings."""

import fcntl
import json

import faults
import pytest
from prometheus_client.parser import text_string_to_metric_families

from invite_sweeper.simulator.seed import ORG_ID


@pytest.fixture
def cli(cli):
    cli.stock(stale=3)
    return cli


def slack(cli, receiver, *arguments, **changes):
    """Run a sweep with a Slack channel for failures; return the run and the texts it sent."""
    cli.keys["notify"] = [{"kind": "slack", "url_env": "SLACK_URL", "when": "failures"}]
    done = cli.sweep(*arguments, SLACK_URL=f"{receiver.url}/slack", **changes)
    return done, [json.loads(body)["text"] for _, _, body in receiver.requests]


def test_held_lock_is_notified_and_the_metrics_are_left_to_its_run(cli, receiver):
    cli.sweep()
    with (cli.audit_dir / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        done, (text,) = slack(cli, receiver, "--metrics-file", "run.prom")
    assert done.code == 9
    assert "another run holds the lock" in text
    assert ORG_ID in text
    assert not (cli.folder / "run.prom").exists()


def failed_receivers(cli):
    """Return `receiver_failed` by receiver and kind, as the metrics file has it."""
    text = (cli.folder / "run.prom").read_text(encoding="utf-8")
    return {
        (sample.labels["receiver"], sample.labels["kind"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "invite_sweeper_receiver_failed"
    }


def test_receiver_that_failed_is_a_metric_and_is_named_with_quiet(cli, receiver):
    """The metrics are written after the message, so that they can say it."""
    receiver.status = 500
    cli.keys["notify"] = [
        {"kind": "teams", "url_env": "TEAMS_URL"},
        {"kind": "slack", "url_env": "SLACK_URL", "when": "failures"},
        {"kind": "ping", "url_env": "PING_URL"},
    ]
    options = ("--policy", "policy.yaml", "-q", "--metrics-file", "run.prom")
    urls = {"TEAMS_URL": receiver.url, "SLACK_URL": receiver.url}
    done = cli.run("sweep", *options, **urls)
    assert (done.code, done.out) == (0, "")
    assert "Notification to teams (TEAMS_URL) was not sent: 127.0.0.1 responded" in done.err
    assert "Notification to ping (PING_URL) was not sent: PING_URL is not set" in done.err
    assert failed_receivers(cli) == {
        ("TEAMS_URL", "teams"): 1,
        ("SLACK_URL", "slack"): 0,  # nothing was due
        ("PING_URL", "ping"): 1,
    }
    receiver.status = 200
    done = cli.run("sweep", *options, **urls, PING_URL=receiver.url)
    assert (done.code, done.err) == (0, "")
    assert set(failed_receivers(cli).values()) == {0}


def test_pushgateway_is_asked_nothing_before_the_run(cli, receiver):
    seen = []

    def at_delete(_request):
        seen.append(list(receiver.methods))

    cli.sim.faults.add(faults.effect(before=at_delete), method="DELETE", times=None)
    assert cli.sweep("--pushgateway", receiver.url).code == 0
    assert (seen, receiver.methods) == ([[]] * 3, ["PUT"])
