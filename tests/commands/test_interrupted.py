"""A run cut short by a signal or the deadline ends with 8 and reports what is known."""

import signal

import faults
import pytest
from running import end, wait_until

SWEEP = ("sweep", "--output", "json")


@pytest.fixture
def cli(cli):
    cli.stock(3, 3)
    return cli


def stop(process, when, number):
    """Send a signal to a sweep once `when`; return its exit code, its result and its stderr."""
    wait_until(when)
    process.send_signal(number)
    done = end(process)
    return done.code, done.summary, done.err


def test_signal_twice_ends_at_once_with_the_intents_on_disk(cli):
    cli.sim.faults.add(faults.hang(late=True), method="DELETE", times=999)
    process = cli.start(*SWEEP)
    wait_until(lambda: len(cli.lines("intent")) == cli.deletes() >= 3)
    process.send_signal(signal.SIGTERM)
    while b"stopping" not in process.stderr.readline():
        pass
    code, summary, err = stop(process, lambda: True, signal.SIGTERM)
    assert (code, summary["unknown"]) == (8, len(cli.lines("intent"))), err
    assert cli.run("audit", "verify").code == 0


def test_hangup_ends_a_run_like_sigterm(cli):
    cli.sim.faults.add(faults.hang(), path="*/invites", times=None)
    received = cli.sim.received
    code, summary, err = stop(cli.fork(*SWEEP), lambda: received.total() > 1, signal.SIGHUP)
    assert (code, summary["exit_code"]) == (8, 8), err
    assert "SIGHUP received" in err


def test_hangup_that_is_ignored_as_under_nohup_does_not_end_a_run(cli):
    cli.sim.faults.add(faults.delay(0.3), path="*/invites")
    received = cli.sim.received
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = cli.start(*SWEEP)
    finally:
        signal.signal(signal.SIGHUP, before)
    code, summary, err = stop(process, lambda: received.total() > 1, signal.SIGHUP)
    assert (code, summary["deleted"]) == (0, 9), err
