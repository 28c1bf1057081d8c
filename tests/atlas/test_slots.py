"""Connection slots: never more than the limit, first come first served, none is lost."""

import asyncio
import contextlib

import pytest

from invite_sweeper.atlas.http import ConnectionSlot, RequestCounters, SlotPool


def pool_of(size):
    made = []

    def make():
        made.append(ConnectionSlot(None, RequestCounters(), 1024))
        return made[-1]

    return SlotPool(size, make), made


async def waiting(slots, count=1):
    tasks = [asyncio.create_task(slots.acquire(None)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


@pytest.mark.parametrize("size", [1, 2, 5])
async def test_as_many_slots_are_free_as_the_limit_and_not_one_more(size):
    slots, made = pool_of(size)
    taken = [slots.acquire_nowait(None) for _ in range(size)]
    assert taken == made
    assert len(set(taken)) == size
    assert slots.acquire_nowait(None) is None


async def test_the_slot_released_last_is_used_first_and_no_new_one_is_made():
    slots, made = pool_of(5)
    one, other = slots.acquire_nowait(None), slots.acquire_nowait(None)
    slots.release(one)
    slots.release(other)
    assert slots.acquire_nowait(None) is other
    assert slots.acquire_nowait(None) is one
    assert made == [one, other]


async def test_waiters_are_served_in_their_order_and_before_later_callers():
    slots, _ = pool_of(1)
    only = slots.acquire_nowait(None)
    first, second = await waiting(slots, 2)
    slots.release(only)
    assert slots.acquire_nowait(None) is None, "promised to the first waiter"
    assert await first is only
    assert not second.done()
    slots.release(only)
    assert await second is only


async def test_a_slot_skips_a_waiter_that_was_cancelled():
    slots, _ = pool_of(1)
    only = slots.acquire_nowait(None)
    first, second = await waiting(slots, 2)
    first.cancel()
    slots.release(only)
    assert await second is only
    assert first.cancelled()


@pytest.mark.parametrize("others", [0, 1])
async def test_a_slot_handed_to_a_waiter_cancelled_at_that_moment_is_not_lost(others):
    slots, _ = pool_of(1)
    only = slots.acquire_nowait(None)
    first, *rest = await waiting(slots, 1 + others)
    slots.release(only)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    assert first.cancelled()
    assert (await rest[0] if rest else slots.acquire_nowait(None)) is only
