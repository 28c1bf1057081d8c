"""A run ends at its deadline, also of a machine that slept, and in the last resort its process."""

import asyncio
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from invite_sweeper import clock, last_resort, shutdown
from invite_sweeper.last_resort import LastResort
from invite_sweeper.shutdown import StopRequest


@pytest.fixture
def now_s(monkeypatch):
    """The run's clock, which a test moves; timers of the event loop do not move with it."""
    shown = [100.0]
    monkeypatch.setattr(clock, "seconds", lambda: shown[0])
    return shown


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="Linux alone has this clock")
def test_clock_of_a_run_is_the_one_that_counts_while_the_machine_is_suspended():
    before_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before_s <= clock.seconds() <= time.clock_gettime(time.CLOCK_BOOTTIME)


@pytest.mark.parametrize(
    ("at_s", "reason"), [(159.9, None), (160.0, "too late"), (9e9, "too late")]
)
async def test_deadline_is_compared_whenever_the_reason_is_asked_for(now_s, at_s, reason):
    stop = StopRequest()
    with stop.at_deadline(160.0, "too late"):
        assert stop.reason is None
        now_s[0] = at_s
        assert stop.reason == reason
        assert stop.requested.is_set() is (reason is not None)


async def test_deadline_that_passed_while_the_machine_slept_stops_work_that_asks_for_nothing(
    now_s, monkeypatch
):
    monkeypatch.setattr(shutdown, "_DEADLINE_CHECK_S", 0.001)
    stop = StopRequest()
    with stop.at_deadline(160.0, "too late"):
        await asyncio.sleep(0)
        now_s[0] = 36_000.0
        await asyncio.wait_for(stop.requested.wait(), 60)
    assert stop.reason == "too late"


async def test_deadline_of_a_command_that_is_over_stops_nothing(now_s):
    stop = StopRequest()
    with stop.at_deadline(160.0, "too late"):
        pass
    now_s[0] = 200.0
    assert stop.reason is None


# The last resort ----------------------------------------------------------------------------------


LONG_S = 10_000.0


def resort(*, left_s, grace_s=0.0, as_json=False):
    """Return a last resort whose time limit is `left_s` from now."""
    started_s = last_resort.clock.seconds() - LONG_S - grace_s - 5.0 + left_s
    return LastResort(started_s=started_s, deadline_s=LONG_S, grace_s=grace_s, as_json=as_json)


@pytest.fixture
def ended(monkeypatch):
    """The exit codes with which the process would have ended."""
    codes = queue.Queue()
    monkeypatch.setattr(last_resort, "os", SimpleNamespace(_exit=codes.put, write=os.write))
    return codes


@pytest.fixture
def timers(monkeypatch):
    """The seconds of each timer, and the timers themselves, of which none runs."""
    started = []

    class Timer(threading.Timer):
        def start(self):
            started.append(self)

    monkeypatch.setattr(last_resort, "threading", SimpleNamespace(Timer=Timer))
    monkeypatch.setattr(last_resort, "clock", SimpleNamespace(seconds=lambda: 0.0))
    return started


@pytest.mark.parametrize("as_json", [True, False])
def test_process_ends_with_8_when_the_limit_has_passed(ended, capfd, as_json):
    with resort(left_s=0.0, as_json=as_json):
        assert ended.get(timeout=60) == 8
    shown, errors = capfd.readouterr()
    assert "did not stop within its deadline and grace" in errors
    assert "Run the command again" in errors
    if not as_json:
        assert shown == ""
        return
    result = json.loads(shown)
    assert (result["exit_code"], result["reasons"]) == (8, ["interrupted"])
    assert result["error"].keys() == {"message", "consequence", "hint"}


def test_process_ends_with_the_code_of_the_run_when_its_result_is_known(ended, capfd):
    found = resort(left_s=0.0)
    found.exit_code = 4
    with found:
        assert ended.get(timeout=60) == 4
    assert capfd.readouterr().err == ""


def test_limit_is_watched_until_the_run_ends_and_a_signal_brings_it_forward(timers):
    found = resort(left_s=300.0, grace_s=20.0)
    with found:
        assert found.left_s == 299.0
        found.limit_grace()
        found.limit_grace()
        assert [each.interval for each in timers] == [300.0, 25.0]
        assert found.left_s == 24.0
        assert not any(each.finished.is_set() for each in timers)
    assert all(each.finished.is_set() and each.daemon for each in timers)


def test_signal_does_not_put_the_limit_off(timers):
    with resort(left_s=0.5, grace_s=LONG_S) as found:
        found.limit_grace()
        assert found.left_s == 0.0
    assert [each.interval for each in timers] == [0.5]


ENDED = """
import asyncio, os, signal, sys, time
from types import SimpleNamespace
from invite_sweeper.last_resort import LastResort
from invite_sweeper.shutdown import StopRequest, handle_signals

async def run(known):
    last_resort = LastResort(started_s=time.monotonic(), deadline_s=60.0, grace_s=1.0)
    with last_resort, handle_signals(StopRequest(), SimpleNamespace(), last_resort):
        if known:
            last_resort.exit_code = 4

asyncio.run(run(sys.argv[1] == "known"))
for _ in range(2):
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
    time.sleep(0.1)
sys.exit(4)
"""


@pytest.mark.parametrize(
    ("result", "name", "code"), [("known", "SIGHUP", 4), ("unknown", "SIGTERM", -signal.SIGTERM)]
)
def test_signal_after_the_end_of_a_run_ends_only_one_without_a_result(result, name, code):
    words = [sys.executable, "-c", ENDED, result, name]
    assert subprocess.run(words, check=False, timeout=60).returncode == code
