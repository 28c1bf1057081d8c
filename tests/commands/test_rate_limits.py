"""A run respects Atlas's rate limits."""

from datetime import timedelta

import faults
import pytest
from buckets import set_bucket

DAYS = timedelta(days=1)


@pytest.fixture
def cli(cli):
    cli.projects.append(cli.sim.add_project("Hot"))
    for n in range(40):
        cli.sim.invite(cli.projects[0], f"p{n}@example.com", age=20 * DAYS)
    return cli


@pytest.mark.parametrize("headers", [True, False], ids=["with headers", "without"])
def test_bucket_of_undocumented_size_is_swept_with_few_429s(cli, headers):
    set_bucket(cli.sim, "projects_group", cli.projects[0], capacity=30, refill=30, period_s=1)
    if not headers:
        cli.sim.faults.add(faults.without_rate_limits(), times=None)
    done = cli.sweep()
    assert (done.code, done.summary["deleted"]) == (0, 40)
    assert done.summary["rate_limited"] <= (0 if headers else 10)


def test_max_requests_per_second_limits_all_requests_together(cli):
    cli.keys["execution"] = {"max_requests_per_second": 20}
    done = cli.sweep()
    assert (done.code, done.summary["deleted"]) == (0, 40)
    assert done.summary["requests"] <= 20 * (done.summary["duration_s"] + 1)
