"""A run respects Atlas's rate limits, and warns if Atlas returns none."""

from datetime import timedelta

import faults
import pytest

DAYS = timedelta(days=1)


@pytest.fixture
def cli(cli):
    cli.projects.append(cli.sim.add_project("Hot"))
    for n in range(40):
        cli.sim.invite(cli.projects[0], f"p{n}@example.com", age=20 * DAYS)
    return cli


def paths(cli):
    return [asked.path for asked in cli.sim.requests]


def test_limits_are_read_once_at_the_start(cli):
    assert cli.sweep().code == 0
    assert sum("/rateLimits" in path for path in paths(cli)) == 1


@pytest.mark.parametrize("headers", [True, False], ids=["with headers", "without"])
def test_documented_limits_are_used_if_atlas_returns_none(cli, headers):
    if not headers:
        cli.sim.faults.add(faults.without_rate_limits(), times=None)
    done = cli.sweep()
    assert (done.code, done.summary["deleted"]) == (0, 40)
    assert done.err.count("returned no rate limits") == (0 if headers else 1)


def test_limits_endpoint_without_a_response_delays_a_run_only_briefly(cli):
    cli.sim.faults.add(faults.hang(), path="*/rateLimits*", times=99)
    done = cli.sweep()
    assert (done.code, done.summary["deleted"]) == (0, 40)
    assert done.summary["duration_s"] < 30


def test_max_requests_per_second_limits_all_requests_together(cli):
    cli.keys["execution"] = {"max_requests_per_second": 20}
    done = cli.sweep()
    assert (done.code, done.summary["deleted"]) == (0, 40)
    assert done.summary["requests"] <= 20 * (done.summary["duration_s"] + 1)
