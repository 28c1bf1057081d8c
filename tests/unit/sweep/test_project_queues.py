"""Project queues: a rate-limited queue is postponed and does not block the others."""

import pytest
from builders import invitation, object_id
from fakes import ListQueue

from invite_sweeper.models import PlannedDeletion, Source
from invite_sweeper.sweep.work_queue import CanaryLimit, ProjectQueues


def queue(project, *numbers):
    return ListQueue(
        [
            PlannedDeletion(
                invitation(n, project_id=object_id(project), source=Source.INVITES), "r"
            )
            for n in numbers
        ]
    )


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def take_all(queues):
    found = []
    while (one := queues.next()) is not None:
        found.append(int(one.invitation.id, 16) if isinstance(one, PlannedDeletion) else one)
    return found


def test_queues_are_emptied_in_order():
    queues = ProjectQueues([queue(1, 1, 2), queue(2), queue(3, 3)], lambda _: 0.0, Clock())
    assert take_all(queues) == [1, 2, 3]


def test_without_queues_there_is_no_next_deletion():
    assert ProjectQueues([], lambda _: 0.0, Clock()).next() is None


def test_rate_limited_queue_is_postponed_and_then_comes_first():
    clock = Clock()
    waits = {1: [0.0, 5.0]}

    def try_acquire(one):
        project_waits = waits.get(int(one.project_id, 16))
        return project_waits.pop(0) if project_waits else 0.0

    limited, other = queue(1, 1, 2, 3), queue(2, 4, 5)
    queues = ProjectQueues([limited, other], try_acquire, clock)
    assert [int(queues.next().invitation.id, 16) for _ in range(2)] == [1, 4]
    assert limited.releases == 1
    clock.now += 5
    assert take_all(queues) == [2, 3, 5]


def test_shortest_wait_is_returned_when_all_queues_are_rate_limited():
    clock = Clock()
    waits = {1: [7.0], 2: [3.0]}
    queues = ProjectQueues(
        [queue(1, 1), queue(2, 2)], lambda i: waits[int(i.project_id, 16)].pop(0), clock
    )
    assert queues.next() == 3.0
    clock.now += 1
    assert queues.next() == 2.0


def test_wait_is_never_negative():
    clock = Clock()
    waits = [4.0, 0.5]
    queues = ProjectQueues([queue(1, 1)], lambda _: waits.pop(0), clock)
    assert queues.next() == 4.0
    clock.now += 4
    assert queues.next() == 0.5


def test_drain_returns_all_remaining_deletions_including_postponed_queues():
    waits = {1: [9.0]}

    def try_acquire(one):
        project_waits = waits.get(int(one.project_id, 16))
        return project_waits.pop(0) if project_waits else 0.0

    queues = ProjectQueues([queue(1, 1, 2), queue(2, 3, 4)], try_acquire, Clock())
    first = queues.next()
    left = [int(p.invitation.id, 16) for each in queues.drain() for p in each.left]
    assert first.invitation.id == object_id(3)
    assert sorted(left) == [1, 2, 4]
    assert queues.next() is None


def take_batch(limit, free_slots):
    group = []
    return limit.take_batch(group, free_slots), [int(one.invitation.id, 16) for one in group]


def unlimited(*numbers):
    return ProjectQueues([queue(1, *numbers)], lambda _: 0.0, Clock())


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
    limit = CanaryLimit(ProjectQueues([queue(1, 1, 2)], lambda _: waits.pop(0), Clock()), None)
    assert take_batch(limit, 5) == (4.0, [1])


def test_batch_contains_what_was_taken_before_a_queue_failed():
    class Unreadable(ListQueue):
        def peek(self):
            if len(self.left) == 1:
                raise ValueError("unreadable")
            return super().peek()

    group = []
    with pytest.raises(ValueError, match="unreadable"):
        CanaryLimit(
            ProjectQueues([Unreadable(queue(1, 1, 2).left)], lambda _: 0.0, Clock()), None
        ).take_batch(group, 5)
    assert [int(one.invitation.id, 16) for one in group] == [1]
