"""Places on the wire: never more than there are, first come first served, none is lost."""

import asyncio
import contextlib

import pytest

from invite_sweeper.atlas.overdue import Overdue
from invite_sweeper.atlas.slots import Counters, Slot, Slots


def places(size):
    made = []

    def make():
        made.append(Slot(None, Counters(), 1024))
        return made[-1]

    return Slots(size, make, Overdue(10.0)), made


async def waiting(slots, count=1):
    tasks = [asyncio.create_task(slots.wait(None)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


@pytest.mark.parametrize("size", [1, 2, 5])
async def test_as_many_are_spare_as_there_are_and_not_one_more(size):
    slots, made = places(size)
    taken = [slots.spare(None) for _ in range(size)]
    assert taken == made
    assert len(set(taken)) == size
    assert slots.spare(None) is None


async def test_the_last_one_given_back_goes_out_first_and_no_new_one_is_made():
    slots, made = places(5)
    one, other = slots.spare(None), slots.spare(None)
    slots.give_back(one)
    slots.give_back(other)
    assert slots.spare(None) is other
    assert slots.spare(None) is one
    assert made == [one, other]


async def test_who_waits_is_served_in_the_order_of_coming_and_before_who_comes_later():
    slots, _ = places(1)
    only = slots.spare(None)
    first, second = await waiting(slots, 2)
    slots.give_back(only)
    assert slots.spare(None) is None, "it is promised, though nobody has it yet"
    assert await first is only
    assert not second.done()
    slots.give_back(only)
    assert await second is only


async def test_a_place_goes_past_one_who_was_cancelled_while_waiting():
    slots, _ = places(1)
    only = slots.spare(None)
    first, second = await waiting(slots, 2)
    first.cancel()
    slots.give_back(only)
    assert await second is only
    assert first.cancelled()


@pytest.mark.parametrize("others", [0, 1])
async def test_a_place_handed_to_one_who_is_cancelled_in_that_moment_is_not_lost(others):
    slots, _ = places(1)
    only = slots.spare(None)
    first, *rest = await waiting(slots, 1 + others)
    slots.give_back(only)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    assert first.cancelled()
    assert (await rest[0] if rest else slots.spare(None)) is only


async def test_a_place_is_watched_from_taking_to_giving_back_alone():
    slots, _ = places(1)
    slot = slots.spare(None)
    assert slot.watch.task is asyncio.current_task()
    slots.give_back(slot)
    assert slot.watch.task is None
    slots.spare(None)
    (waiter,) = await waiting(slots)
    slots.give_back(slot)
    assert await waiter is slot
    assert slot.watch.task is waiter, "whoever was handed it is watched, not who gave it back"
