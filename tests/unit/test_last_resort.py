"""The last resort ends a process at deadline + grace + 5 s, or at a signal + grace + 5 s."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from invite_sweeper import last_resort
from invite_sweeper.last_resort import LastResort

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
