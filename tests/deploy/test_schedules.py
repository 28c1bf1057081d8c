"""The systemd units: when they run, and values that must agree; `.ci/lint` verifies them."""

import re

import pytest
from deploy.containers import run
from deploy.manifests import DEPLOY

UNITS = DEPLOY / "systemd"
SERVICE = (UNITS / "invite-sweeper.service").read_text(encoding="utf-8").replace("\\\n", " ")
TIMER = (UNITS / "invite-sweeper.timer").read_text(encoding="utf-8")


def value(text, key):
    """Return the only value of a key of a unit."""
    (only,) = re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)
    return only


@pytest.mark.needs("systemd-analyze")
def test_timer_runs_once_a_day_not_on_the_hour_and_catches_up():
    done = run("systemd-analyze", "calendar", "--iterations=3", value(TIMER, "OnCalendar"))
    times = re.findall(r"(?:elapse|Iteration #\d): \w+ ([\d-]+) ([\d:]+)", done.stdout)

    assert len({day for day, _ in times}) == 3
    assert {time for _, time in times} == {"03:17:00"}
    assert value(TIMER, "Persistent") == "yes"
    assert value(TIMER, "RandomizedDelaySec") == "30min"


def test_deadlines_of_program_and_service_agree_and_a_failed_run_is_retried_twice():
    deadline_min = int(re.search(r"--deadline (\d+)m", value(SERVICE, "ExecStart"))[1])
    start_min = int(re.fullmatch(r"(\d+)min", value(SERVICE, "TimeoutStartSec"))[1])

    assert deadline_min + 1 < start_min
    assert int(re.fullmatch(r"(\d+)s", value(SERVICE, "TimeoutStopSec"))[1]) >= 30
    assert value(SERVICE, "Restart") == "on-failure"
    assert value(SERVICE, "StartLimitBurst") == "3"
