"""Group commit: who waits for which sync."""

import asyncio
import os
import threading

import pytest
from audit.written_logs import lines_of, opened

from invite_sweeper.audit.verify import verify
from invite_sweeper.errors import AuditLogError


class CountedSync:
    """Counts the syncs; each waits until it may go on."""

    def __init__(self) -> None:
        self.count = 0
        self.reached_atlas = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, fd: int) -> None:
        self.count += 1
        self.reached_atlas.set()
        assert self.go_on.wait(10)


@pytest.fixture
def log(tmp_path):
    return opened(tmp_path / "log.jsonl")


@pytest.fixture
def sync(log, monkeypatch):
    sync = CountedSync()
    monkeypatch.setattr(os, "fsync", sync)
    return sync


async def one(log, number):
    log.write("intent", number=number)
    await log.sync()


async def test_the_first_of_fifty_waits_for_nobody_and_the_others_share_one_sync(log, sync):
    await asyncio.gather(*(one(log, number) for number in range(50)))
    assert sync.count == 2
    assert len(lines_of(log.path)) == 50
    await log.close()


async def test_sync_is_under_way_when_the_one_who_asked_for_it_has_to_wait(log, sync):
    sync.go_on.clear()
    log.write("intent")
    waiter = log.sync()
    waiter.send(None)  # as far as it goes by itself: the loop has not had a turn
    assert await asyncio.to_thread(sync.reached_atlas.wait, 10)
    assert len(lines_of(log.path)) == 1
    waiter.close()
    sync.go_on.set()
    await log.close()


async def test_those_who_come_during_a_sync_share_the_next(log, sync):
    sync.go_on.clear()
    first = asyncio.ensure_future(one(log, 0))
    await asyncio.to_thread(sync.reached_atlas.wait, 10)
    late = [asyncio.ensure_future(one(log, number)) for number in range(1, 30)]
    await asyncio.sleep(0)
    assert not first.done()
    sync.go_on.set()
    await asyncio.gather(first, *late)
    assert sync.count == 2
    await log.close()


async def test_one_who_adds_nothing_joins_the_sync_that_runs(log, sync):
    sync.go_on.clear()
    first = asyncio.ensure_future(one(log, 0))
    await asyncio.to_thread(sync.reached_atlas.wait, 10)
    second = asyncio.ensure_future(log.sync())
    await asyncio.sleep(0)
    assert not second.done()
    sync.go_on.set()
    await asyncio.gather(first, second)
    assert sync.count == 1
    await log.close()


async def test_nothing_new_needs_no_sync(log, sync):
    await log.sync()
    assert sync.count == 0
    await one(log, 1)
    await log.sync()
    await log.sync()
    assert sync.count == 1
    await log.close()
    assert sync.count == 1


async def test_line_is_not_durable_before_its_own_sync_has_ended(log, sync):
    sync.go_on.clear()
    first = asyncio.ensure_future(one(log, 0))
    await asyncio.to_thread(sync.reached_atlas.wait, 10)
    late = asyncio.ensure_future(one(log, 1))
    await asyncio.sleep(0)
    sync.reached_atlas.clear()
    sync.go_on.set()
    sync.go_on = threading.Event()
    await first
    await asyncio.to_thread(sync.reached_atlas.wait, 10)
    await asyncio.sleep(0)
    assert not late.done()
    sync.go_on.set()
    await late
    await log.close()


async def test_a_waiter_that_is_cancelled_takes_nobody_with_it(log, sync):
    sync.go_on.clear()
    waiters = [asyncio.ensure_future(one(log, number)) for number in range(3)]
    await asyncio.to_thread(sync.reached_atlas.wait, 10)
    waiters[1].cancel()
    await asyncio.sleep(0)
    sync.go_on.set()
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), asyncio.CancelledError, type(None)]
    await log.close()
    assert len(lines_of(log.path)) == 3


async def test_those_who_wait_when_the_log_is_closed_are_told_or_served(log):
    waiters = [asyncio.ensure_future(one(log, number)) for number in range(5)]
    await asyncio.sleep(0)
    await log.close()
    late = asyncio.ensure_future(log.sync())
    results = await asyncio.gather(*waiters, late, return_exceptions=True)
    assert results[:5] == [None] * 5
    assert isinstance(results[5], AuditLogError)


async def test_close_lets_a_group_end_first_even_when_it_is_cancelled(log, sync):
    sync.go_on.clear()
    log.write("run_finished")
    closing = asyncio.ensure_future(log.close())
    await asyncio.to_thread(sync.reached_atlas.wait, 10)
    cancelled = threading.Event()
    release = asyncio.to_thread(lambda: cancelled.wait(10) and sync.go_on.set())
    releasing = asyncio.ensure_future(release)
    await asyncio.sleep(0)
    closing.cancel()
    cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await releasing
    assert verify([log.path]).error is None


async def test_many_writers_keep_the_chain_whole_with_drains_in_between(log):
    async def many(start):
        for number in range(60):
            log.write("planned", number=start + number, ballast="x" * 900)
            if number % 7 == 0:
                await log.sync()

    await asyncio.gather(*map(many, range(20)))
    log.write("run_finished")
    await log.close()
    result = verify([log.path])
    assert (result.lines, result.error) == (1201, None)
