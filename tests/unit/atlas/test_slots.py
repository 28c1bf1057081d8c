"""The pool of connection slots: limit, order of waiters, cancellation."""

import asyncio
import contextlib

import pytest

from invite_sweeper.atlas.http import ConnectionSlot, SlotPool
from invite_sweeper.models import RequestCounters


def pool_of(size):
    created = []

    def create():
        created.append(ConnectionSlot(None, RequestCounters(), 1024))
        return created[-1]

    return SlotPool(size, create), created


async def waiting(pool, count=1):
    tasks = [asyncio.create_task(pool.acquire(None)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


@pytest.mark.parametrize("size", [1, 2, 5])
async def test_pool_has_as_many_slots_as_its_size(size):
    pool, created = pool_of(size)
    acquired = [pool.acquire_nowait(None) for _ in range(size)]
    assert acquired == created
    assert len(set(acquired)) == size
    assert pool.acquire_nowait(None) is None


async def test_slot_released_last_is_used_first():
    pool, created = pool_of(5)
    one, other = pool.acquire_nowait(None), pool.acquire_nowait(None)
    pool.release(one)
    pool.release(other)
    assert pool.acquire_nowait(None) is other
    assert pool.acquire_nowait(None) is one
    assert created == [one, other]


async def test_waiters_are_served_in_their_order_and_before_later_callers():
    pool, _ = pool_of(1)
    only = pool.acquire_nowait(None)
    first, second = await waiting(pool, 2)
    pool.release(only)
    assert pool.acquire_nowait(None) is None, "reserved for the first waiter"
    assert await first is only
    assert not second.done()
    pool.release(only)
    assert await second is only


async def test_released_slot_skips_a_cancelled_waiter():
    pool, _ = pool_of(1)
    only = pool.acquire_nowait(None)
    first, second = await waiting(pool, 2)
    first.cancel()
    pool.release(only)
    assert await second is only
    assert first.cancelled()


@pytest.mark.parametrize("others", [0, 1])
async def test_slot_assigned_to_a_waiter_that_is_cancelled_is_not_lost(others):
    pool, _ = pool_of(1)
    only = pool.acquire_nowait(None)
    first, *rest = await waiting(pool, 1 + others)
    pool.release(only)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    assert first.cancelled()
    assert (await rest[0] if rest else pool.acquire_nowait(None)) is only
