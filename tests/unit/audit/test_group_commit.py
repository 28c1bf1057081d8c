"""Group commit: which callers share which sync."""

import asyncio
import os
import threading

import pytest
from audit.written_logs import event, lines_of, opened

from invite_sweeper.audit.verify import verify
from invite_sweeper.errors import AuditLogError


class BlockableSync:
    """An fsync that counts its calls and blocks while `released` is not set."""

    def __init__(self) -> None:
        self.count = 0
        self.started = threading.Event()
        self.released = threading.Event()
        self.released.set()

    def __call__(self, fd: int) -> None:
        self.count += 1
        self.started.set()
        assert self.released.wait(60)


@pytest.fixture
def log(tmp_path):
    return opened(tmp_path / "log.jsonl")


@pytest.fixture
def sync(log, monkeypatch):
    sync = BlockableSync()
    monkeypatch.setattr(os, "fsync", sync)
    return sync


async def write_and_sync(log, number):
    log.write(event("intent", rule=str(number)))
    await log.sync()


async def test_first_of_50_callers_syncs_at_once_and_the_others_share_one_sync(log, sync):
    await asyncio.gather(*(write_and_sync(log, number) for number in range(50)))
    assert sync.count == 2
    assert len(lines_of(log.path)) == 50
    await log.close()


async def test_sync_starts_before_its_caller_first_yields(log, sync):
    sync.released.clear()
    log.write(event("intent"))
    waiter = log.sync()
    waiter.send(None)  # runs to the first await; the event loop has not run
    assert await asyncio.to_thread(sync.started.wait, 10)
    assert len(lines_of(log.path)) == 1
    waiter.close()
    sync.released.set()
    await log.close()


async def test_callers_during_a_sync_share_the_next_one(log, sync):
    sync.released.clear()
    first = asyncio.ensure_future(write_and_sync(log, 0))
    await asyncio.to_thread(sync.started.wait, 10)
    late = [asyncio.ensure_future(write_and_sync(log, number)) for number in range(1, 30)]
    await asyncio.sleep(0)
    assert not first.done()
    sync.released.set()
    await asyncio.gather(first, *late)
    assert sync.count == 2
    await log.close()


async def test_caller_without_new_lines_joins_the_current_sync(log, sync):
    sync.released.clear()
    first = asyncio.ensure_future(write_and_sync(log, 0))
    await asyncio.to_thread(sync.started.wait, 10)
    second = asyncio.ensure_future(log.sync())
    await asyncio.sleep(0)
    assert not second.done()
    sync.released.set()
    await asyncio.gather(first, second)
    assert sync.count == 1
    await log.close()


async def test_no_sync_without_new_lines(log, sync):
    await log.sync()
    assert sync.count == 0
    await write_and_sync(log, 1)
    await log.sync()
    await log.sync()
    assert sync.count == 1
    await log.close()
    assert sync.count == 1 + 2  # the log's head and its name, not the log again


async def test_sync_call_waits_for_the_fsync_that_covers_its_line(log, sync):
    sync.released.clear()
    first = asyncio.ensure_future(write_and_sync(log, 0))
    await asyncio.to_thread(sync.started.wait, 10)
    late = asyncio.ensure_future(write_and_sync(log, 1))
    await asyncio.sleep(0)
    sync.started.clear()
    sync.released.set()
    sync.released = threading.Event()
    await first
    await asyncio.to_thread(sync.started.wait, 10)
    await asyncio.sleep(0)
    assert not late.done()
    sync.released.set()
    await late
    await log.close()


async def test_cancelled_caller_does_not_cancel_the_others(log, sync):
    sync.released.clear()
    waiters = [asyncio.ensure_future(write_and_sync(log, number)) for number in range(3)]
    await asyncio.to_thread(sync.started.wait, 10)
    waiters[1].cancel()
    await asyncio.sleep(0)
    sync.released.set()
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), asyncio.CancelledError, type(None)]
    await log.close()
    assert len(lines_of(log.path)) == 3


async def test_close_completes_waiting_callers_and_later_ones_fail(log):
    waiters = [asyncio.ensure_future(write_and_sync(log, number)) for number in range(5)]
    await asyncio.sleep(0)
    await log.close()
    late = asyncio.ensure_future(log.sync())
    results = await asyncio.gather(*waiters, late, return_exceptions=True)
    assert results[:5] == [None] * 5
    assert isinstance(results[5], AuditLogError)


async def test_cancelled_close_waits_for_the_current_sync(log, sync):
    sync.released.clear()
    log.write(event("run_finished"))
    closing = asyncio.ensure_future(log.close())
    await asyncio.to_thread(sync.started.wait, 10)
    cancelled = threading.Event()
    release = asyncio.to_thread(lambda: cancelled.wait(60) and sync.released.set())
    releasing = asyncio.ensure_future(release)
    await asyncio.sleep(0)
    closing.cancel()
    cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await releasing
    assert verify([log.path]).error is None


async def test_chain_is_valid_with_20_concurrent_writers(log):
    async def worker(start):
        for number in range(60):
            log.write(event("planned", rule="x" * 900))
            if number % 7 == 0:
                await log.sync()

    await asyncio.gather(*map(worker, range(20)))
    log.write(event("run_finished"))
    await log.close()
    result = verify([log.path])
    assert (result.lines, result.error) == (1201, None)
