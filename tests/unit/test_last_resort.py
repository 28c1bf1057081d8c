"""The last resort ends a process at deadline + grace + 5 s, or at a signal + grace + 5 s."""

import json
import queue
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from invite_sweeper import last_resort
from invite_sweeper.last_resort import LastResort

LONG_S = 10_000.0


def resort(ended, *, left_s, grace_s=0.0):
    """Return a last resort whose time limit is `left_s` from now."""
    return LastResort(
        started_s=last_resort.time.monotonic() - LONG_S - grace_s - 5.0 + left_s,
        deadline_s=LONG_S,
        grace_s=grace_s,
        end_process=ended.put,
    )


@pytest.fixture
def ended():
    return queue.Queue()


@pytest.fixture
def clock(monkeypatch):
    """The clock of the last resort, which only the test advances."""
    found = SimpleNamespace(now_s=0.0)
    clock = SimpleNamespace(monotonic=lambda: found.now_s, sleep=time.sleep)
    monkeypatch.setattr(last_resort, "time", clock)
    return found


def test_process_ends_with_8_when_the_limit_has_passed(ended, capfd):
    with resort(ended, left_s=0.0):
        assert ended.get(timeout=60) == 8
    shown = capfd.readouterr().err
    assert "did not stop within its deadline and grace" in shown
    assert "Run the command again" in shown


def test_process_ends_with_the_code_of_the_run_when_its_result_is_known(ended, capfd):
    found = resort(ended, left_s=0.0)
    found.result_known(4)
    with found:
        assert ended.get(timeout=60) == 4
    assert capfd.readouterr().err == ""


def test_process_does_not_end_before_the_limit_or_after_the_run(ended, clock):
    with resort(ended, left_s=0.3), pytest.raises(queue.Empty):
        ended.get(timeout=0.5)
    clock.now_s = 1.0
    with pytest.raises(queue.Empty):
        ended.get(timeout=0.5)


def test_signal_brings_the_limit_forward_to_grace_and_5_seconds(ended):
    found = resort(ended, left_s=LONG_S, grace_s=-5.0 + 0.05)
    with found:
        with pytest.raises(queue.Empty):
            ended.get(timeout=0.2)
        found.stop_requested()
        assert ended.get(timeout=60) == 8


def test_signal_does_not_put_the_limit_off(ended):
    found = resort(ended, left_s=0.0, grace_s=LONG_S)
    found.stop_requested()
    with found:
        assert ended.get(timeout=60) == 8


def test_time_left_ends_a_second_before_the_limit_and_is_not_negative(ended, clock):
    assert resort(ended, left_s=3.0).left_s == pytest.approx(2.0)
    assert resort(ended, left_s=0.5).left_s == 0.0


@pytest.mark.parametrize("as_json", [True, False])
def test_result_of_an_overdue_run_is_one_object_if_json_was_asked_for(ended, capfd, as_json):
    found = LastResort(
        started_s=time.monotonic() - LONG_S,
        deadline_s=0.0,
        grace_s=0.0,
        as_json=as_json,
        end_process=ended.put,
    )
    with found:
        assert ended.get(timeout=60) == 8
    shown = capfd.readouterr().out
    if not as_json:
        assert shown == ""
        return
    result = json.loads(shown)
    assert (result["exit_code"], result["error"].keys()) == (
        8,
        {"message", "consequence", "hint"},
    )
    assert "did not stop" in result["error"]["message"]


ENDED = """
import asyncio, os, signal, sys, time
from types import SimpleNamespace
from invite_sweeper.last_resort import LastResort
from invite_sweeper.shutdown import StopRequest, handle_signals

async def run(known):
    last_resort = LastResort(started_s=time.monotonic(), deadline_s=60.0, grace_s=1.0)
    with last_resort, handle_signals(StopRequest(), SimpleNamespace(), last_resort):
        if known:
            last_resort.result_known(4)

asyncio.run(run(sys.argv[1] == "known"))
for _ in range(2):
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
    time.sleep(0.1)
sys.exit(4)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_signal_after_the_end_of_a_run_changes_no_exit_code(name):
    done = subprocess.run([sys.executable, "-c", ENDED, "known", name], check=False, timeout=60)
    assert done.returncode == 4


def test_signal_after_work_without_a_result_ends_the_process():
    words = [sys.executable, "-c", ENDED, "unknown", "SIGTERM"]
    assert subprocess.run(words, check=False, timeout=60).returncode == -signal.SIGTERM
