"""A run cut short by a signal or the deadline ends with 8 and reports what is known."""

import json
import signal

import faults
import pytest
from running import wait_until


@pytest.fixture
def cli(cli):
    cli.stock()
    return cli


SWEEP = ("sweep", "--policy", "policy.yaml", "--output", "json")
LATER = faults.fail_with(503, retry_after="3600")


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


def test_signal_between_attempts_of_the_last_deletion_ends_with_8_and_counts_no_retry(cli):
    cli.sim.faults.add(LATER, method="DELETE", path="*", times=None)
    code, summary, err = stopped(cli, lambda: cli.sim.request_log.statuses[503], signal.SIGTERM)
    assert (code, ended(cli)) == (8, ("failed", 1, 503)), err
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


def test_deadline_before_the_first_response_has_a_result(cli):
    cli.sim.faults.add(faults.hang(), times=None)
    done = cli.sweep("--deadline", "5s")
    assert (done.code, done.summary["exit_code"], done.summary["requests"]) == (8, 8, 1)
    assert (done.summary["projects_seen"], done.summary["deleted"]) == (0, 0)
    assert "the deadline of 5 seconds passed" in done.err
