"""A dry lane steps aside and holds up nobody."""

import pytest
from builders import invitation, object_id
from fakes import ListQueue

from invite_sweeper.models import PlannedDeletion
from invite_sweeper.sweep.work_queue import CanaryLimit, ProjectQueues


def lane(project, *numbers):
    return ListQueue(
        [PlannedDeletion(invitation(n, project_id=object_id(project)), "r") for n in numbers]
    )


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def drained(lanes):
    found = []
    while (one := lanes.next()) is not None:
        found.append(int(one.invitation.id, 16) if isinstance(one, PlannedDeletion) else one)
    return found


def test_lanes_are_worked_off_one_after_another():
    lanes = ProjectQueues([lane(1, 1, 2), lane(2), lane(3, 3)], lambda _: 0.0, Clock())
    assert drained(lanes) == [1, 2, 3]


def test_no_lanes_end_at_once():
    assert ProjectQueues([], lambda _: 0.0, Clock()).next() is None


def test_dry_lane_rests_while_the_others_go_on_and_then_goes_first():
    clock = Clock()
    waits = {1: [0.0, 5.0]}

    def admit(one):
        left = waits.get(int(one.project_id, 16))
        return left.pop(0) if left else 0.0

    hot, other = lane(1, 1, 2, 3), lane(2, 4, 5)
    lanes = ProjectQueues([hot, other], admit, clock)
    assert [int(lanes.next().invitation.id, 16) for _ in range(2)] == [1, 4]
    assert hot.on_backoff == 1
    clock.now += 5
    assert drained(lanes) == [2, 3, 5]


def test_when_all_lanes_are_dry_the_shortest_wait_is_told():
    clock = Clock()
    waits = {1: [7.0], 2: [3.0]}
    lanes = ProjectQueues(
        [lane(1, 1), lane(2, 2)], lambda i: waits[int(i.project_id, 16)].pop(0), clock
    )
    assert lanes.next() == 3.0
    clock.now += 1
    assert lanes.next() == 2.0


def test_time_that_has_passed_is_no_negative_wait():
    clock = Clock()
    waits = [4.0, 0.5]
    lanes = ProjectQueues([lane(1, 1)], lambda _: waits.pop(0), clock)
    assert lanes.next() == 4.0
    clock.now += 4
    assert lanes.next() == 0.5


def test_left_gives_every_deletion_that_was_not_taken_also_of_dry_lanes():
    waits = {1: [9.0]}

    def admit(one):
        left = waits.get(int(one.project_id, 16))
        return left.pop(0) if left else 0.0

    lanes = ProjectQueues([lane(1, 1, 2), lane(2, 3, 4)], admit, Clock())
    taken = lanes.next()
    left = [int(p.invitation.id, 16) for each in lanes.drain() for p in each.left]
    assert taken.invitation.id == object_id(3)
    assert sorted(left) == [1, 2, 4]
    assert lanes.next() is None


def filled(turns, room):
    group = []
    return turns.take_batch(group, room), [int(one.invitation.id, 16) for one in group]


def free(*numbers):
    return ProjectQueues([lane(1, *numbers)], lambda _: 0.0, Clock())


def test_group_is_filled_to_its_room_and_no_further():
    turns = CanaryLimit(free(1, 2, 3), None)
    assert filled(turns, 2) == (None, [1, 2])
    assert filled(turns, 2) == (None, [3])
    assert filled(turns, 2) == (None, [])


@pytest.mark.parametrize("most", [0, 1, 2])
def test_turns_end_after_the_canary_whatever_room_there_is(most):
    turns = CanaryLimit(free(1, 2, 3), most)
    assert filled(turns, 9) == (None, [1, 2, 3][:most])
    assert filled(turns, 9) == (None, [])


def test_group_that_a_dry_lane_ends_tells_the_wait():
    waits = [0.0, 4.0]
    turns = CanaryLimit(ProjectQueues([lane(1, 1, 2)], lambda _: waits.pop(0), Clock()), None)
    assert filled(turns, 5) == (4.0, [1])


def test_what_was_taken_before_a_lane_cannot_be_read_stands_in_the_group():
    class Torn(ListQueue):
        def peek(self):
            if len(self.left) == 1:
                raise ValueError("torn")
            return super().peek()

    group = []
    with pytest.raises(ValueError, match="torn"):
        CanaryLimit(
            ProjectQueues([Torn(lane(1, 1, 2).left)], lambda _: 0.0, Clock()), None
        ).take_batch(group, 5)
    assert [int(one.invitation.id, 16) for one in group] == [1]
