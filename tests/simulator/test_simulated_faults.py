"""Faults affect the requests they are scheduled for."""

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


async def test_random_share_of_requests_is_affected_the_same_each_time():
    async def send():
        return True

    async def refuse(_call, _send):
        return False

    def answers():
        fault = faults.sometimes(refuse, 0.05)
        return [fault(None, send) for _ in range(4000)]

    first, again = [[await each for each in answers()] for _ in range(2)]
    assert first == again
    assert 0.04 < first.count(False) / 4000 < 0.06
