"""The queue of ready deletions: each is taken once, and closing wakes all waiting tasks."""

import asyncio

import pytest
from audit.runs import planned as line

from invite_sweeper.models import Source
from invite_sweeper.sweep.work_queue import Deletion, ReadyQueue


def planned(*numbers):
    return [Deletion.of(line(number, source=Source.INVITES)) for number in numbers]


def ids(found):
    return [int(one.invitation.id, 16) for one in found]


async def run_pending_tasks():
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("max_size", "free"), [(1, 1), (4, 4), (5, 5)])
async def test_empty_queue_has_max_size_free_slots(max_size, free):
    assert await ReadyQueue(max_size).free_slots() == free


@pytest.mark.parametrize(("max_size", "queued", "free"), [(4, 2, 2), (5, 2, 3), (6, 3, 3)])
async def test_half_full_queue_returns_its_free_slots(max_size, queued, free):
    queue = ReadyQueue(max_size)
    queue.put(planned(*range(queued)))
    assert await queue.free_slots() == free


@pytest.mark.parametrize(("max_size", "queued"), [(1, 1), (4, 3), (5, 3)])
async def test_queue_more_than_half_full_waits_until_half_is_taken(max_size, queued):
    queue = ReadyQueue(max_size)
    queue.put(planned(*range(queued)))
    waiting = asyncio.ensure_future(queue.free_slots())
    await run_pending_tasks()
    assert not waiting.done()
    await queue.get()
    assert await asyncio.wait_for(waiting, 60) == max_size - queued + 1


async def test_producer_is_not_woken_while_more_than_half_is_left():
    queue = ReadyQueue(8)
    queue.put(planned(*range(8)))
    waiting = asyncio.ensure_future(queue.free_slots())
    for _ in range(3):
        await queue.get()
        await run_pending_tasks()
    assert not waiting.done()
    await queue.get()
    assert await asyncio.wait_for(waiting, 60) == 4


async def test_deletions_are_returned_in_order_each_once():
    queue = ReadyQueue(4)
    queue.put(planned(1, 2))
    queue.put(planned(3))
    assert ids([await queue.get() for _ in range(3)]) == [1, 2, 3]


async def test_put_wakes_as_many_workers_as_there_are_deletions():
    queue = ReadyQueue(4)
    waiting = [asyncio.ensure_future(queue.get()) for _ in range(3)]
    await run_pending_tasks()
    queue.put(planned(1, 2))
    await run_pending_tasks()
    assert [each.done() for each in waiting] == [True, True, False]
    queue.close()
    assert await asyncio.wait_for(waiting[2], 60) is None


async def test_worker_woken_after_the_deletion_was_taken_waits_again():
    queue = ReadyQueue(4)
    late = asyncio.ensure_future(queue.get())
    await run_pending_tasks()
    queue.put(planned(1))
    assert ids([await queue.get()]) == [1]
    await run_pending_tasks()
    assert not late.done()
    queue.put(planned(2))
    assert ids([await asyncio.wait_for(late, 60)]) == [2]


async def test_cancelled_worker_loses_no_deletion():
    queue = ReadyQueue(4)
    cancelled, waiting = (asyncio.ensure_future(queue.get()) for _ in range(2))
    await run_pending_tasks()
    cancelled.cancel()
    await run_pending_tasks()
    queue.put(planned(1, 2))
    assert ids([await asyncio.wait_for(waiting, 60), await queue.get()]) == [1, 2]


async def test_closed_queue_returns_what_is_left_and_then_none():
    queue = ReadyQueue(4)
    queue.put(planned(1))
    queue.close()
    assert ids([await queue.get()]) == [1]
    assert await queue.get() is None


async def test_group_added_after_close_can_be_drained():
    queue = ReadyQueue(4)
    queue.close()
    queue.put(planned(1))
    assert ids(queue.drain()) == [1]
    assert await queue.get() is None


async def test_closed_empty_queue_has_no_free_slots():
    queue = ReadyQueue(4)
    queue.close()
    assert await queue.free_slots() == 0


async def test_close_wakes_the_producer():
    queue = ReadyQueue(2)
    queue.put(planned(1, 2))
    waiting = asyncio.ensure_future(queue.free_slots())
    await run_pending_tasks()
    queue.close()
    assert await asyncio.wait_for(waiting, 60) == 0


async def test_sleep_ends_after_its_time():
    await asyncio.wait_for(ReadyQueue(2).sleep(0.001), 60)


@pytest.mark.parametrize("closed_before", [True, False])
async def test_close_ends_a_sleep(closed_before):
    queue = ReadyQueue(2)
    if closed_before:
        queue.close()
    sleeping = asyncio.ensure_future(queue.sleep(3600.0))
    await run_pending_tasks()
    queue.close()
    await asyncio.wait_for(sleeping, 60)


async def test_drained_deletions_are_not_returned_again():
    queue = ReadyQueue(4)
    queue.put(planned(1, 2, 3))
    assert ids([await queue.get()]) == [1]
    assert ids(queue.drain()) == [2, 3]
    queue.close()
    assert await queue.get() is None
