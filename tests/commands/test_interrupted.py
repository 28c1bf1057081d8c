"""A run cut short by a signal or the deadline ends with 8 and reports what is known."""

import json
import signal
from datetime import timedelta

import faults
import pytest
from running import cli_in, wait_until

DAYS = timedelta(days=1)


@pytest.fixture
def cli(cli):
    project = cli.sim.add_project("Project")
    cli.projects.append(project)
    cli.sim.invite(project, "ada@example.com", age=20 * DAYS)
    return cli


SWEEP = ("sweep", "--policy", "policy.yaml", "--output", "json")


def stopped(cli, when, *signals):
    """Start a sweep, wait until `when`, send signals; return the exit code and the summary."""
    return stop(cli.fork(*SWEEP), when, *signals)


def stop(process, when, *signals):
    wait_until(when)
    for number in signals:
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return process.returncode, out and json.loads(out), err.decode()


def ended(cli):
    (line,) = cli.lines("outcome")
    return line["outcome"], line["attempts"], line["http_status"]


SLOW = {
    503: faults.fail_with(503, retry_after="3600"),
    429: faults.fail_with(429, "RATE_LIMITED", retry_after="3600"),
}


@pytest.mark.parametrize("status", SLOW)
def test_signal_between_attempts_of_the_last_deletion_ends_with_8_and_counts_no_retry(cli, status):
    cli.sim.faults.add(SLOW[status], method="DELETE", path="*", times=None)
    code, summary, err = stopped(cli, lambda: cli.sim.request_log.statuses[status], signal.SIGTERM)
    assert (code, ended(cli)) == (8, ("failed", 1, status)), err
    assert (summary["exit_code"], summary["failed"], summary["retries"]) == (8, 1, 0)
    assert cli.deletes() == 1
    assert "Stopped early" in err


def test_hangup_ends_a_run_like_sigterm(cli):
    cli.sim.faults.add(faults.hang(), path="*/invites", times=None)
    code, summary, err = stopped(
        cli, lambda: cli.sim.request_log.received.total() > 1, signal.SIGHUP
    )
    assert (code, summary["exit_code"]) == (8, 8), err
    assert "SIGHUP received" in err


def test_hangup_that_is_ignored_as_under_nohup_does_not_end_a_run(cli):
    cli.sim.faults.add(faults.delay(1.0), path="*/invites")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        code, summary, err = stop(
            cli.start(*SWEEP), lambda: cli.sim.request_log.received.total() > 1, signal.SIGHUP
        )
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (code, summary["deleted"]) == (0, 1), err


def test_rejected_deletion_after_the_signal_ends_with_8(cli):
    for fault in (faults.delay(1.0), faults.fail_with(403, "ACCESS_FORBIDDEN")):
        cli.sim.faults.add(fault, method="DELETE", path="*")
    code, _, err = stopped(cli, cli.deletes, signal.SIGTERM)
    assert (code, ended(cli)) == (8, ("failed", 1, 403)), err


def test_deadline_between_attempts_of_the_last_deletion_ends_with_8(cli):
    cli.sim.faults.add(SLOW[503], method="DELETE", path="*", times=None)
    done = cli.sweep("--deadline", "5s")
    assert (done.code, ended(cli)) == (8, ("failed", 1, 503)), done.err
    assert "the deadline of 5 seconds passed" in done.err
    assert (cli.deletes(), cli.sim.invitation_count()) == (1, 1)


@pytest.mark.parametrize(
    ("kind", "ends_by"), [("token", "signal"), ("service-account", "deadline")]
)
def test_stop_before_the_first_response_has_a_result(tmp_path, kind, ends_by):
    with cli_in(tmp_path, kind=kind) as cli:
        cli.sim.faults.add(faults.hang(), times=None)
        if ends_by == "signal":
            code, summary, _ = stopped(cli, cli.sim.request_log.received.total, signal.SIGTERM)
        else:
            done = cli.sweep("--deadline", "5s")
            code, summary = done.code, done.summary
    assert (code, summary["exit_code"], summary["requests"]) == (8, 8, 1)
    assert (summary["projects_seen"], summary["deleted"]) == (0, 0)


def test_deadline_while_waiting_for_the_token_endpoint_ends_with_8(tmp_path):
    with cli_in(tmp_path, kind="service-account") as cli:
        cli.sim.invite(cli.sim.add_project("Project"), "ada@example.com", age=20 * DAYS)
        cli.sim.faults.add(faults.effect(before=lambda _: cli.sim.expire_tokens()), method="DELETE")
        cli.sim.faults.add(SLOW[503], path="*/oauth/token", nth=2, times=None)
        cli.keys["execution"] = {"grace": "1s"}
        done = cli.sweep("--deadline", "5s")
        assert done.code == 8, done.err
        assert ended(cli)[0] == "failed"
        assert cli.sim.invitation_count() == 1
