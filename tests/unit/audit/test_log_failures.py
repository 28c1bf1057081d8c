"""Failures of the log: full or broken disk, moved file, changes by other programs, the copy."""

import asyncio
import errno
import io
import json
import os
import threading
from pathlib import Path

import pytest
from audit.written_logs import event, lines_of, opened

from invite_sweeper.audit.verify import verify
from invite_sweeper.errors import AuditLogError

WRITE_FAILED = (
    "Every deletion that was sent has its intent in the log. No further deletion is sent."
)


class Disk:
    """A disk with this many free bytes; a write beyond them is truncated."""

    def __init__(self, free_bytes: int) -> None:
        self.free_bytes = free_bytes
        self.original_write = os.write

    def write(self, fd: int, data: bytes) -> int:
        written = bytes(data)[: self.free_bytes]
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.free_bytes -= len(written)
        return self.original_write(fd, written)


async def started(path):
    """Open a log, and write and sync its first line."""
    log = opened(path)
    log.write(event("run_started"))
    await log.sync()
    return log


async def assert_stays_failed(log) -> AuditLogError:
    """Assert that write and sync fail with one message, twice, and return the first error."""
    raised = []
    offset = log.offset
    for _ in range(2):
        with pytest.raises(AuditLogError) as failed:
            log.write(event("intent"))
        raised.append(failed.value)
        with pytest.raises(AuditLogError) as failed:
            await log.sync()
        raised.append(failed.value)
    assert len({str(each) for each in raised}) == 1
    assert len({id(each) for each in raised}) == 4
    assert log.offset == offset
    return raised[0]


@pytest.mark.parametrize("free_bytes", [0, 1, 150, 151, 152, 299, 300, 301, 450, 600])
async def test_full_disk_leaves_only_complete_lines_and_the_log_stays_failed(
    path, monkeypatch, free_bytes
):
    log = await started(path)
    monkeypatch.setattr(os, "write", Disk(free_bytes).write)
    for number in range(8):
        log.write(event("source_retired", error_code=str(number)))
    with pytest.raises(AuditLogError, match="No space left on device") as failed:
        await log.sync()
    monkeypatch.undo()
    assert failed.value.consequence == WRITE_FAILED
    assert (
        failed.value.message == f"The audit log {path} cannot be written: No space left on device."
    )
    assert failed.value.hint == (
        "Free disk space or repair the disk, then run the same command again: it processes the "
        "rest."
    )
    assert failed.value.exit_code == 7
    assert str(await assert_stays_failed(log)) == str(failed.value)
    await log.close()
    complete = lines_of(path)
    assert [json.loads(line)["seq"] for line in complete] == list(range(1, len(complete) + 1))
    assert sum(map(len, complete[1:])) + len(complete[1:]) <= free_bytes
    assert len(complete) == 1 + free_bytes // (len(complete[-1]) + 1) or free_bytes < 150


async def test_next_run_continues_after_the_complete_lines_of_a_full_disk(path, monkeypatch):
    log = opened(path, "run-1")
    log.write(event("run_started"))
    await log.sync()
    monkeypatch.setattr(os, "write", Disk(200).write)
    log.write(event("planned"))
    log.write(event("planned"))
    with pytest.raises(AuditLogError):
        await log.sync()
    monkeypatch.undo()
    await log.close()
    log = opened(path, "run-2")
    assert log.torn_copy is None
    log.write(event("run_finished"))
    await log.close()
    assert verify([path]).error is None


async def test_partial_write_is_continued(path, monkeypatch):
    original = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: original(fd, bytes(data)[:7]))
    log = opened(path)
    log.write(event("run_started"))
    log.write(event("run_finished"))
    await log.close()
    monkeypatch.undo()
    assert verify([path]).error is None
    assert len(lines_of(path)) == 2


async def test_failed_truncate_does_not_hide_the_write_error(path, monkeypatch):
    def failing_ftruncate(fd, size):
        raise OSError(errno.EIO, "truncate failed")

    log = opened(path)
    log.write(event("run_started"))
    monkeypatch.setattr(os, "write", Disk(3).write)
    monkeypatch.setattr(os, "ftruncate", failing_ftruncate)
    with pytest.raises(AuditLogError, match="No space left"):
        await log.sync()
    await log.close()


async def test_failed_sync_fails_for_every_waiting_caller(path, monkeypatch):
    def failing_fsync(fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    log = opened(path)
    monkeypatch.setattr(os, "fsync", failing_fsync)

    async def write_and_sync(number):
        log.write(event("intent", rule=str(number)))
        await log.sync()

    results = await asyncio.gather(*map(write_and_sync, range(20)), return_exceptions=True)
    assert all(isinstance(result, AuditLogError) for result in results)
    assert "Input/output error" in str(results[0])
    monkeypatch.undo()
    await assert_stays_failed(log)
    await log.close()
    assert len(lines_of(path)) == 1


async def test_caller_that_arrives_during_a_failing_sync_fails_too(path, monkeypatch):
    started, released = threading.Event(), threading.Event()

    def slow_failing_fsync(fd):
        started.set()
        released.wait(10)
        raise OSError(errno.EIO, "broken")

    log = opened(path)
    monkeypatch.setattr(os, "fsync", slow_failing_fsync)
    log.write(event("intent", rule=str(1)))
    first = asyncio.ensure_future(log.sync())
    await asyncio.to_thread(started.wait, 10)
    log.write(event("intent", rule=str(2)))
    late = asyncio.ensure_future(log.sync())
    await asyncio.sleep(0)
    released.set()
    results = await asyncio.gather(first, late, return_exceptions=True)
    assert [type(each) for each in results] == [AuditLogError, AuditLogError]
    await log.close()
    assert len(lines_of(path)) == 1


def replaced(path):
    path.rename(path.with_name("moved"))
    path.write_bytes(b"")


def directory_moved(path):
    path.parent.rename(path.parent.with_name("elsewhere"))


@pytest.mark.parametrize("move", [Path.unlink, replaced, directory_moved])
async def test_file_that_was_moved_is_detected_before_the_next_write(tmp_path, move):
    path = tmp_path / "folder" / "log.jsonl"
    log = await started(path)
    move(path)
    log.write(event("intent"))
    with pytest.raises(AuditLogError, match="was moved or deleted") as failed:
        await log.sync()
    assert failed.value.consequence == (
        "Every deletion that was sent has its intent in the original file. No further one is sent."
    )
    assert failed.value.hint == "Restore the original file, then run the same command again."
    await log.close()
    assert not path.exists() or path.read_bytes() == b""


@pytest.mark.parametrize("change", [b"x", None])
async def test_file_changed_or_truncated_by_another_program_is_detected(path, change):
    log = await started(path)
    if change is None:
        os.truncate(path, 5)
    else:
        with path.open("ab") as other:
            other.write(change)
    before = path.read_bytes()
    log.write(event("intent"))
    with pytest.raises(AuditLogError, match="Another program changed") as failed:
        await log.sync()
    assert failed.value.consequence == "No further deletion is sent."
    assert failed.value.hint == "Check it with `audit verify`."
    await log.close()
    assert path.read_bytes() == before


async def test_unexpected_exception_during_a_write_fails_the_waiting_caller(path, monkeypatch):
    log = opened(path)

    def write_out_of_memory(fd, data):
        raise MemoryError("no room")

    monkeypatch.setattr(os, "write", write_out_of_memory)
    log.write(event("intent"))
    with pytest.raises(AuditLogError, match=r"MemoryError.*no room") as failed:
        await log.sync()
    assert failed.value.consequence == "No further deletion is sent."
    await log.close()


async def test_lines_beyond_256_kib_are_written_without_sync_and_fail_on_a_full_disk(
    path, monkeypatch
):
    log = opened(path)
    line = "x" * 1000
    for _ in range(150):
        log.write(event("planned", rule=line))
    assert path.stat().st_size == 0
    for _ in range(100):
        log.write(event("planned", rule=line))
    assert path.stat().st_size > 1 << 18
    monkeypatch.setattr(os, "write", Disk(0).write)
    lines = 0
    with pytest.raises(AuditLogError, match="No space"):  # noqa: PT012  the number is asserted
        while lines < 1000:
            log.write(event("planned", rule=line))
            lines += 1
    assert 50 < lines < 300
    monkeypatch.undo()
    await log.close()
    assert verify([path]).error.message.startswith("Run run-1 has no end")


LONG = ["x" * 1000] * 270
"""A line with these texts is written without a sync."""


async def test_write_error_during_a_sync_fails_its_callers_and_the_next_ones(path, monkeypatch):
    started, released = threading.Event(), threading.Event()

    def slow_first_fsync(fd):
        if not started.is_set():
            started.set()
            assert released.wait(10)

    log = opened(path)
    monkeypatch.setattr(os, "fsync", slow_first_fsync)
    log.write(event("run_started"))
    first = asyncio.ensure_future(log.sync())
    await asyncio.to_thread(started.wait, 10)
    log.write(event("intent"))
    late = asyncio.ensure_future(log.sync())
    await asyncio.sleep(0)
    monkeypatch.setattr(os, "write", Disk(0).write)
    with pytest.raises(AuditLogError, match="No space"):
        log.write(event("planned", roles=LONG))
    monkeypatch.undo()
    released.set()
    for waiter in (first, late):
        with pytest.raises(AuditLogError, match="No space"):
            await waiter
    await log.close()
    assert len(lines_of(path)) == 1  # a line after a gap would break the chain


async def test_write_error_at_the_start_of_a_group_fails_all_its_callers(path, monkeypatch):
    log = opened(path)
    monkeypatch.setattr(os, "write", Disk(0).write)
    log.write(event("run_started"))
    waiters = [asyncio.ensure_future(log.sync()) for _ in range(2)]
    for waiter in waiters:
        with pytest.raises(AuditLogError, match="No space"):
            await waiter
    await log.close()
    assert path.read_bytes() == b""


async def test_keyboard_interrupt_during_a_write_fails_the_log(path, monkeypatch):
    def interrupted_write(fd, data):
        raise KeyboardInterrupt

    log = opened(path)
    monkeypatch.setattr(os, "write", interrupted_write)
    with pytest.raises(KeyboardInterrupt):
        log.write(event("planned", roles=LONG))
    monkeypatch.undo()
    with pytest.raises(AuditLogError, match="KeyboardInterrupt"):
        log.write(event("planned"))
    await log.close()


async def test_close_fails_if_the_last_lines_cannot_be_written(path, monkeypatch):
    log = opened(path)
    log.write(event("run_finished"))
    monkeypatch.setattr(os, "write", Disk(0).write)
    with pytest.raises(AuditLogError, match="No space"):
        await log.close()
    await log.close()


async def test_copy_receives_each_line_and_closing_it_does_not_stop_the_log(path):
    copy = io.BytesIO()
    log = opened(path, copy=copy)
    log.write(event("run_started"))
    await log.sync()
    assert copy.getvalue() == path.read_bytes() != b""
    assert log.copy_failure is None
    copy.close()
    log.write(event("run_finished"))
    await log.close()
    assert isinstance(log.copy_failure, ValueError)
    assert len(lines_of(path)) == 2


async def test_broken_pipe_of_the_copy_does_not_stop_the_log(path):
    class Gone(io.BytesIO):
        def flush(self):
            raise BrokenPipeError

    log = opened(path, copy=Gone())
    log.write(event("run_started"))
    log.write(event("run_finished"))
    await log.close()
    assert isinstance(log.copy_failure, BrokenPipeError)
    assert verify([path]).error is None


async def test_slow_reader_of_the_copy_delays_the_sync_but_not_the_event_loop(path):
    started, released, writers = threading.Event(), threading.Event(), []

    class Slow(io.BytesIO):
        def write(self, data):
            writers.append(threading.current_thread().name)
            started.set()
            assert released.wait(10)
            return super().write(data)

    copy = Slow()
    log = opened(path, copy=copy)
    log.write(event("run_started", files=LONG))  # written without a sync
    assert not started.is_set()
    waiter = asyncio.ensure_future(log.sync())
    assert await asyncio.to_thread(started.wait, 10)
    log.write(event("intent", roles=LONG))
    assert not waiter.done()
    released.set()
    await waiter
    await log.close()
    assert copy.getvalue() == path.read_bytes()
    assert set(writers[:2]) == {"audit_0"}


async def test_copy_of_a_failed_log_equals_the_file(path, monkeypatch):
    copy = io.BytesIO()
    log = opened(path, copy=copy)
    log.write(event("run_started", files=LONG))
    monkeypatch.setattr(os, "write", Disk(0).write)
    with pytest.raises(AuditLogError, match="No space"):
        log.write(event("intent", roles=LONG))
    monkeypatch.undo()
    await log.close()
    assert copy.getvalue() == path.read_bytes() != b""


async def test_line_appended_before_a_failed_sync_is_not_written_after_it(path):
    log = await started(path)
    log.write(event("intent"))
    log._writer._failure = AuditLogError(
        "The disk is gone.", consequence=""
    )  # as the fsync thread does
    log._writer._flush()
    await log.close()
    assert len(lines_of(path)) == 1
