"""What takes too long is ended, by one timer for all, and nobody else's cancelling is lost."""

import asyncio
import contextlib

import pytest

from invite_sweeper.atlas.overdue import Overdue, Watch

AFTER_S = 10.0


async def watched(overdue, work):
    """Do the work under watch, as a request does it."""
    watch = Watch()
    overdue.watch(watch)
    try:
        return await work
    except asyncio.CancelledError:
        if not watch.was_it():
            raise
        return "overdue"
    finally:
        overdue.let_go(watch)


async def started(work):
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    return task


async def test_it_is_ended_at_the_very_moment_and_not_a_tick_before():
    loop = asyncio.get_running_loop()
    overdue = Overdue(AFTER_S)
    task = await started(watched(overdue, asyncio.Event().wait()))
    (watch,) = overdue._open
    watch.ends_s = loop.time() + 60
    overdue._look(loop)
    await asyncio.sleep(0)
    assert not task.done()
    watch.ends_s = loop.time()
    overdue._look(loop)
    assert await task == "overdue"
    assert not task.cancelling()
    assert not overdue._open


async def test_one_that_is_done_in_time_is_forgotten_and_the_timer_rests_with_the_last():
    loop = asyncio.get_running_loop()
    overdue = Overdue(AFTER_S)
    assert await watched(overdue, asyncio.sleep(0, "done")) == "done"
    assert overdue._timer is not None
    overdue._timer.cancel()
    overdue._look(loop)
    assert overdue._timer is None
    assert await watched(overdue, asyncio.sleep(0, "again")) == "again"
    assert overdue._timer is not None
    overdue._timer.cancel()


async def test_the_next_request_of_the_same_task_is_not_ended_for_the_one_before():
    overdue = Overdue(0.2)

    async def two():
        first = await watched(overdue, asyncio.Event().wait())
        return first, await watched(overdue, asyncio.sleep(0.01, "done"))

    assert await two() == ("overdue", "done")


@pytest.mark.parametrize("others_first", [True, False])
async def test_somebody_elses_cancelling_wins_over_the_timer(others_first):
    loop = asyncio.get_running_loop()
    overdue = Overdue(AFTER_S)
    task = await started(watched(overdue, asyncio.Event().wait()))
    (watch,) = overdue._open
    watch.ends_s = loop.time()
    if others_first:
        task.cancel()
    overdue._look(loop)
    if not others_first:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert not overdue._open


async def test_one_that_clears_up_slowly_is_cancelled_once():
    loop = asyncio.get_running_loop()
    overdue = Overdue(AFTER_S)
    heard = 0

    async def slow_to_end():
        nonlocal heard
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard += 1
            for _ in range(3):
                overdue._look(loop)
                await asyncio.sleep(0)
            raise

    task = await started(watched(overdue, slow_to_end()))
    (watch,) = overdue._open
    watch.ends_s = loop.time()
    overdue._look(loop)
    assert await task == "overdue"
    assert heard == 1


async def test_a_thousand_have_one_timer():
    overdue = Overdue(AFTER_S)
    tasks = [await started(watched(overdue, asyncio.Event().wait())) for _ in range(1000)]
    loop = asyncio.get_running_loop()
    timers = [t for t in loop._scheduled if not t.cancelled()]
    assert len(timers) == 1
    for watch in overdue._open:
        watch.ends_s = 0.0
    overdue._look(loop)
    assert set(await asyncio.gather(*tasks)) == {"overdue"}
