"""A run ends at its deadline, also of a machine that slept."""

import asyncio
import time

import pytest

from invite_sweeper import clock, shutdown
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
