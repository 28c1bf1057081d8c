"""What is announced is sent once; nobody waits for what will not come."""

import asyncio

import pytest
from builders import invitation

from invite_sweeper.models import PlannedDeletion
from invite_sweeper.sweep.work_queue import ReadyQueue


def some(*numbers):
    return [PlannedDeletion(invitation(number), "r") for number in numbers]


def ids(found):
    return [int(one.invitation.id, 16) for one in found]


async def settled():
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("most", "room"), [(1, 1), (4, 4), (5, 5)])
async def test_empty_queue_has_room_for_as_many_as_it_may_hold(most, room):
    assert await ReadyQueue(most).free_slots() == room


@pytest.mark.parametrize(("most", "held", "room"), [(4, 2, 2), (5, 2, 3), (6, 3, 3)])
async def test_queue_with_half_left_has_room_for_the_rest(most, held, room):
    queue = ReadyQueue(most)
    queue.put(some(*range(held)))
    assert await queue.free_slots() == room


@pytest.mark.parametrize(("most", "held"), [(1, 1), (4, 3), (5, 3)])
async def test_queue_with_more_than_half_left_makes_wait_until_half_is_taken(most, held):
    queue = ReadyQueue(most)
    queue.put(some(*range(held)))
    waiting = asyncio.ensure_future(queue.free_slots())
    await settled()
    assert not waiting.done()
    await queue.get()
    assert await asyncio.wait_for(waiting, 5) == most - held + 1


async def test_one_who_waits_for_room_is_not_woken_by_a_take_that_leaves_more_than_half():
    queue = ReadyQueue(8)
    queue.put(some(*range(8)))
    waiting = asyncio.ensure_future(queue.free_slots())
    for _ in range(3):
        await queue.get()
        await settled()
    assert not waiting.done()
    await queue.get()
    assert await asyncio.wait_for(waiting, 5) == 4


async def test_deletions_are_taken_in_order_each_once():
    queue = ReadyQueue(4)
    queue.put(some(1, 2))
    queue.put(some(3))
    assert ids([await queue.get() for _ in range(3)]) == [1, 2, 3]


async def test_as_many_idle_are_woken_as_there_is_work():
    queue = ReadyQueue(4)
    waiting = [asyncio.ensure_future(queue.get()) for _ in range(3)]
    await settled()
    queue.put(some(1, 2))
    await settled()
    assert [each.done() for each in waiting] == [True, True, False]
    queue.close()
    assert await asyncio.wait_for(waiting[2], 5) is None


async def test_one_who_is_woken_too_late_waits_again():
    queue = ReadyQueue(4)
    late = asyncio.ensure_future(queue.get())
    await settled()
    queue.put(some(1))
    assert ids([await queue.get()]) == [1]
    await settled()
    assert not late.done()
    queue.put(some(2))
    assert ids([await asyncio.wait_for(late, 5)]) == [2]


async def test_one_who_was_cancelled_while_waiting_takes_nothing_with_it():
    queue = ReadyQueue(4)
    gone, waiting = (asyncio.ensure_future(queue.get()) for _ in range(2))
    await settled()
    gone.cancel()
    await settled()
    queue.put(some(1, 2))
    assert ids([await asyncio.wait_for(waiting, 5), await queue.get()]) == [1, 2]


async def test_closed_queue_gives_what_is_left_and_then_none():
    queue = ReadyQueue(4)
    queue.put(some(1))
    queue.close()
    assert ids([await queue.get()]) == [1]
    assert await queue.get() is None


async def test_group_that_comes_after_the_close_is_not_lost():
    queue = ReadyQueue(4)
    queue.close()
    queue.put(some(1))
    assert ids(queue.drain()) == [1]
    assert await queue.get() is None


async def test_closed_queue_has_no_room_even_where_it_is_empty():
    queue = ReadyQueue(4)
    queue.close()
    assert await queue.free_slots() == 0


async def test_close_wakes_who_waits_for_room():
    queue = ReadyQueue(2)
    queue.put(some(1, 2))
    waiting = asyncio.ensure_future(queue.free_slots())
    await settled()
    queue.close()
    assert await asyncio.wait_for(waiting, 5) == 0


async def test_rest_ends_with_its_time():
    await asyncio.wait_for(ReadyQueue(2).sleep(0.001), 5)


@pytest.mark.parametrize("before", [True, False])
async def test_close_ends_a_rest(before):
    queue = ReadyQueue(2)
    if before:
        queue.close()
    resting = asyncio.ensure_future(queue.sleep(3600.0))
    await settled()
    queue.close()
    await asyncio.wait_for(resting, 5)


async def test_what_was_given_away_is_not_sent():
    queue = ReadyQueue(4)
    queue.put(some(1, 2, 3))
    assert ids([await queue.get()]) == [1]
    assert ids(queue.drain()) == [2, 3]
    queue.close()
    assert await queue.get() is None
