"""What tests of the audit log share as fixtures."""

import os
import signal
import time

import pytest


@pytest.fixture(autouse=True)
def no_test_waits_for_ever():
    """Whoever is never woken, or never done, fails the test; soon in a mutant.

    Idleness is counted in ticks, of which a process that is stopped or has no turn hears but
    one, and work in seconds of the processor: a slow machine fails nothing.
    """
    patience = 4 if os.environ.get("MUTANT_UNDER_TEST") else 60
    began, idle, spent = time.process_time(), 0, 0.0

    def tick(*_):
        nonlocal idle, spent
        now = time.process_time()
        idle, spent = (idle + 1 if now - spent < 0.01 else 0), now
        if idle >= patience or now - began > 3 * patience:
            pytest.fail("waits for what never comes, or never ends")

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 1, 1)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=["UTC-9", "UTC+9"])
def machine_zone(request, monkeypatch):
    """The machine is east of Greenwich, then west of it."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()
