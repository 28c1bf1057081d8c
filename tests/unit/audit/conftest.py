"""Fixtures for tests of the audit log."""

import os
import signal
import time

import pytest


@pytest.fixture(autouse=True)
def fail_hanging_test():
    """Fail a test that never ends, sooner if it runs against a mutant.

    Idle time is counted in timer signals, because a stopped or starved process receives only one
    for any delay. Work is counted in CPU seconds. So a slow machine does not fail a test.
    """
    max_idle_s = 4 if os.environ.get("MUTANT_UNDER_TEST") else 60
    start_s, idle_s, last_s = time.process_time(), 0, 0.0

    def check(*_):
        nonlocal idle_s, last_s
        now_s = time.process_time()
        idle_s, last_s = (idle_s + 1 if now_s - last_s < 0.01 else 0), now_s
        if idle_s >= max_idle_s or now_s - start_s > 3 * max_idle_s:
            pytest.fail("the test hangs or does not end")

    before = signal.signal(signal.SIGALRM, check)
    signal.setitimer(signal.ITIMER_REAL, 1, 1)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=["UTC-9", "UTC+9"])
def machine_zone(request, monkeypatch):
    """Set the machine's time zone east, then west of UTC (POSIX signs are inverted)."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()
