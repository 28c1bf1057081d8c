"""What tests of the audit log share as fixtures."""

import time

import pytest


@pytest.fixture(params=["UTC-9", "UTC+9"])
def machine_zone(request, monkeypatch):
    """The machine is east of Greenwich, then west of it."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()
