"""Project queues: a rate-limited queue is postponed and does not block the others."""

import pytest
from audit.runs import planned
from builders import object_id

from invite_sweeper.models import Source
from invite_sweeper.sweep.work_queue import CanaryLimit, Deletion, ProjectQueues


def plan(*numbers):
    """Return a plan whose projects have these numbers of invitations, by project."""
    return [
        planned(n, project_id=object_id(project), source=Source.INVITES)
        for project, own in enumerate(numbers, start=1)
        for n in own
    ]


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def take_all(queues):
    found = []
    while (one := queues.next()) is not None:
        found.append(int(one.invitation.id, 16) if isinstance(one, Deletion) else one)
    return found


def test_queues_are_emptied_in_order():
    queues = ProjectQueues(plan([1, 2], [], [3]), lambda _: 0.0, Clock())
    assert take_all(queues) == [1, 2, 3]


def test_without_queues_there_is_no_next_deletion():
    assert ProjectQueues([], lambda _: 0.0, Clock()).next() is None


def test_rate_limited_queue_is_postponed_and_then_comes_first():
    clock = Clock()
    waits = {1: [0.0, 5.0]}

    def try_acquire(one):
        project_waits = waits.get(int(one.project_id, 16))
        return project_waits.pop(0) if project_waits else 0.0

    queues = ProjectQueues(plan([1, 2, 3], [4, 5]), try_acquire, clock)
    assert [int(queues.next().invitation.id, 16) for _ in range(2)] == [1, 4]
    clock.now += 5
    assert take_all(queues) == [2, 3, 5]


def test_shortest_wait_is_returned_when_all_queues_are_rate_limited():
    clock = Clock()
    waits = {1: [7.0], 2: [3.0]}
    queues = ProjectQueues(plan([1], [2]), lambda i: waits[int(i.project_id, 16)].pop(0), clock)
    assert queues.next() == 3.0
    clock.now += 1
    assert queues.next() == 2.0


def test_wait_is_never_negative():
    clock = Clock()
    waits = [4.0, 0.5]
    queues = ProjectQueues(plan([1]), lambda _: waits.pop(0), clock)
    assert queues.next() == 4.0
    clock.now += 4
    assert queues.next() == 0.5


def test_drain_returns_all_remaining_deletions_including_postponed_queues():
    waits = {1: [9.0]}

    def try_acquire(one):
        project_waits = waits.get(int(one.project_id, 16))
        return project_waits.pop(0) if project_waits else 0.0

    queues = ProjectQueues(plan([1, 2], [3, 4]), try_acquire, Clock())
    first = queues.next()
    left = [int(each.invitation_id, 16) for each in queues.drain()]
    assert first.invitation.id == object_id(3)
    assert sorted(left) == [1, 2, 4]


def take_batch(limit, free_slots):
    group = []
    return limit.take_batch(group, free_slots), [int(one.invitation.id, 16) for one in group]


def unlimited(*numbers):
    return ProjectQueues(plan(numbers), lambda _: 0.0, Clock())


def test_batch_is_limited_to_the_free_slots():
    limit = CanaryLimit(unlimited(1, 2, 3), None)
    assert take_batch(limit, 2) == (None, [1, 2])
    assert take_batch(limit, 2) == (None, [3])
    assert take_batch(limit, 2) == (None, [])


@pytest.mark.parametrize("max_deletions", [0, 1, 2])
def test_canary_limits_the_batch_even_with_free_slots(max_deletions):
    limit = CanaryLimit(unlimited(1, 2, 3), max_deletions)
    assert take_batch(limit, 9) == (None, [1, 2, 3][:max_deletions])
    assert take_batch(limit, 9) == (None, [])


def test_batch_ended_by_the_rate_limit_returns_the_wait():
    waits = [0.0, 4.0]
    limit = CanaryLimit(ProjectQueues(plan([1, 2]), lambda _: waits.pop(0), Clock()), None)
    assert take_batch(limit, 5) == (4.0, [1])


def test_deletion_that_is_not_admitted_is_taken_out_and_costs_no_token():
    acquired = []

    def try_acquire(one):
        acquired.append(int(one.id, 16))
        return 0.0

    queues = ProjectQueues(
        plan([1, 2], [3]), try_acquire, Clock(), lambda each: each.invitation_id != object_id(2)
    )
    assert take_all(queues) == acquired == [1, 3]


def test_batch_contains_what_was_taken_before_an_error():
    def try_acquire(one):
        if one.id == object_id(2):
            raise ValueError("a defect")
        return 0.0

    group = []
    with pytest.raises(ValueError, match="a defect"):
        CanaryLimit(ProjectQueues(plan([1, 2]), try_acquire, Clock()), None).take_batch(group, 5)
    assert [int(one.invitation.id, 16) for one in group] == [1]
