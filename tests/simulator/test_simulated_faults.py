"""Faults affect the requests they are scheduled for."""

from collections import Counter

import faults
import pytest

from invite_sweeper.simulator.faults import FaultPlan


@pytest.mark.parametrize(
    ("schedule", "affected"),
    [
        ({}, [1]),
        ({"nth": 2, "times": 2}, [2, 3]),
        ({"nth": 3, "times": None}, [3, 4, 5]),
        ({"method": "DELETE"}, [4]),
        ({"path": "*/invites/*", "times": None}, [4, 5]),
        ({"method": "GET", "path": "*/invites/*"}, [5]),
    ],
)
def test_fault_affects_requests_of_its_method_and_path_from_the_nth_on(schedule, affected):
    plan = FaultPlan()
    fault = faults.fail_with(503)
    plan.add(fault, **schedule)
    lists = [("GET", "/groups")] * 3
    requests = [*lists, ("DELETE", "/invites/1"), ("GET", "/invites/1")]
    found = [plan.faults_for(*request) for request in requests]
    assert [number for number, each in enumerate(found, start=1) if each == (fault,)] == affected
    assert found.count(()) == len(requests) - len(affected)
    plan.add(fault, times=None)
    plan.clear()
    assert plan.faults_for("DELETE", "/invites/1") == ()


OFTEN = faults.fail_with()
RARELY = faults.reset(late=True)


def random_faults(seed):
    plan = FaultPlan(seed)
    plan.add(OFTEN, rate=0.05, method="DELETE")
    plan.add(RARELY, rate=0.01, method="DELETE")
    assert plan.faults_for("GET", "/x") == ()
    return [plan.faults_for("DELETE", "/x") for _ in range(4000)]


def test_random_faults_match_their_rate_and_repeat_with_the_seed():
    first = random_faults(1)
    again = random_faults(1)
    other = random_faults(2)
    assert first == again != other
    counts = Counter(fault for faults_ in first for fault in faults_)
    assert 0.04 < counts[OFTEN] / 4000 < 0.06
    assert 0.005 < counts[RARELY] / 4000 < 0.016
