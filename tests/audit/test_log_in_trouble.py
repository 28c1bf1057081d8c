"""The log when the disk is full, broken, taken away, or somebody else's."""

import asyncio
import errno
import io
import json
import os
import threading

import pytest
from audit.written_logs import lines_of, opened

from invite_sweeper.audit.verify import verify
from invite_sweeper.errors import AuditLogError

SENT = "Every deletion that was sent has its intent in the log. No further deletion is sent."


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.jsonl"


class Disk:
    """Takes so many more bytes, then it is full; a write that would pass the end is cut."""

    def __init__(self, room: int) -> None:
        self.free_slots = room
        self.write_really = os.write

    def write(self, fd: int, data: bytes) -> int:
        taken = bytes(data)[: self.free_slots]
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.free_slots -= len(taken)
        return self.write_really(fd, taken)


async def refused_for_ever(log) -> AuditLogError:
    """Every way to write is refused, twice; the first refusal is given back."""
    raised = []
    position = log.offset
    for _ in range(2):
        with pytest.raises(AuditLogError) as failed:
            log.write("intent")
        raised.append(failed.value)
        with pytest.raises(AuditLogError) as failed:
            await log.sync()
        raised.append(failed.value)
    assert len({str(each) for each in raised}) == 1
    assert len({id(each) for each in raised}) == 4
    assert log.offset == position
    return raised[0]


@pytest.mark.parametrize("room", [0, 1, 150, 151, 152, 299, 300, 301, 450, 600])
async def test_full_disk_leaves_whole_lines_alone_and_fails_for_ever(path, monkeypatch, room):
    log = opened(path)
    log.write("run_started")
    await log.sync()
    monkeypatch.setattr(os, "write", Disk(room).write)
    for number in range(8):
        log.write("planned", number=number)
    with pytest.raises(AuditLogError, match="No space left on device") as failed:
        await log.sync()
    monkeypatch.undo()
    assert failed.value.consequence == SENT
    assert (
        failed.value.message == f"The audit log {path} cannot be written: No space left on device."
    )
    assert failed.value.hint == (
        "Free disk space or repair the disk, then run the same command again: it processes the rest."
    )
    assert failed.value.exit_code == 7
    assert str(await refused_for_ever(log)) == str(failed.value)
    await log.close()
    whole = lines_of(path)
    assert [json.loads(line)["seq"] for line in whole] == list(range(1, len(whole) + 1))
    assert sum(map(len, whole[1:])) + len(whole[1:]) <= room
    assert len(whole) == 1 + room // (len(whole[-1]) + 1) or room < 150


async def test_next_run_goes_on_after_the_whole_lines_of_a_full_disk(path, monkeypatch):
    log = opened(path, "run-1")
    log.write("run_started")
    await log.sync()
    monkeypatch.setattr(os, "write", Disk(200).write)
    log.write("planned")
    log.write("planned")
    with pytest.raises(AuditLogError):
        await log.sync()
    monkeypatch.undo()
    await log.close()
    log = opened(path, "run-2")
    assert log.torn_copy is None
    log.write("run_finished")
    await log.close()
    assert verify([path]).error is None


async def test_a_short_write_is_gone_on_with(path, monkeypatch):
    really = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: really(fd, bytes(data)[:7]))
    log = opened(path)
    log.write("run_started")
    log.write("run_finished")
    await log.close()
    monkeypatch.undo()
    assert verify([path]).error is None
    assert len(lines_of(path)) == 2


async def test_a_cut_that_fails_too_does_not_hide_why(path, monkeypatch):
    def no_cut(fd, size):
        raise OSError(errno.EIO, "cut failed")

    log = opened(path)
    log.write("run_started")
    monkeypatch.setattr(os, "write", Disk(3).write)
    monkeypatch.setattr(os, "ftruncate", no_cut)
    with pytest.raises(AuditLogError, match="No space left"):
        await log.sync()
    await log.close()


async def test_a_failed_sync_is_a_failure_for_everyone_who_waits(path, monkeypatch):
    def broken(fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    log = opened(path)
    monkeypatch.setattr(os, "fsync", broken)

    async def one(number):
        log.write("intent", number=number)
        await log.sync()

    results = await asyncio.gather(*map(one, range(20)), return_exceptions=True)
    assert all(isinstance(result, AuditLogError) for result in results)
    assert "Input/output error" in str(results[0])
    monkeypatch.undo()
    await refused_for_ever(log)
    await log.close()
    assert len(lines_of(path)) == 1


async def test_whoever_comes_during_a_group_that_fails_is_told_too(path, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def slow_and_broken(fd):
        begun.set()
        go_on.wait(10)
        raise OSError(errno.EIO, "broken")

    log = opened(path)
    monkeypatch.setattr(os, "fsync", slow_and_broken)
    log.write("intent", number=1)
    rider = asyncio.ensure_future(log.sync())
    await asyncio.to_thread(begun.wait, 10)
    log.write("intent", number=2)
    late = asyncio.ensure_future(log.sync())
    await asyncio.sleep(0)
    go_on.set()
    results = await asyncio.gather(rider, late, return_exceptions=True)
    assert [type(each) for each in results] == [AuditLogError, AuditLogError]
    await log.close()
    assert len(lines_of(path)) == 1


async def test_unlinked_file_is_noticed_before_the_next_group(path):
    log = opened(path)
    log.write("run_started")
    await log.sync()
    path.unlink()
    log.write("intent")
    with pytest.raises(AuditLogError, match="was moved or deleted") as failed:
        await log.sync()
    assert failed.value.consequence == (
        "Every deletion that was sent has its intent in the original file. No further one is sent."
    )
    assert failed.value.hint == ("Restore the original file, then run the same command again.")
    await log.close()
    assert not path.exists()


async def test_file_that_was_replaced_gets_no_line_of_ours(path):
    log = opened(path)
    log.write("run_started")
    await log.sync()
    path.rename(path.with_name("moved"))
    path.write_bytes(b"")
    log.write("intent")
    with pytest.raises(AuditLogError, match="was moved or deleted"):
        await log.sync()
    await log.close()
    assert path.read_bytes() == b""


async def test_folder_that_was_moved_away_is_noticed(tmp_path):
    path = tmp_path / "folder" / "log.jsonl"
    log = opened(path)
    path.parent.rename(tmp_path / "elsewhere")
    log.write("run_started")
    with pytest.raises(AuditLogError, match="was moved or deleted"):
        await log.sync()
    await log.close()


@pytest.mark.parametrize("change", [b"x", None])
async def test_file_that_somebody_else_wrote_to_or_cut_is_noticed(path, change):
    log = opened(path)
    log.write("run_started")
    await log.sync()
    if change is None:
        os.truncate(path, 5)
    else:
        with path.open("ab") as other:
            other.write(change)
    before = path.read_bytes()
    log.write("intent")
    with pytest.raises(AuditLogError, match="Another program changed") as failed:
        await log.sync()
    assert failed.value.consequence == "No further deletion is sent."
    assert failed.value.hint == "Check it with `audit verify`."
    await log.close()
    assert path.read_bytes() == before


async def test_a_defect_in_a_group_is_a_failure_and_wakes_who_waits(path, monkeypatch):
    log = opened(path)

    def defect(fd, data):
        raise MemoryError("no room")

    monkeypatch.setattr(os, "write", defect)
    log.write("intent")
    with pytest.raises(AuditLogError, match=r"MemoryError.*no room") as failed:
        await log.sync()
    assert failed.value.consequence == "No further deletion is sent."
    await log.close()


async def test_much_without_durable_goes_to_the_system_and_fails_at_once_when_full(
    path, monkeypatch
):
    log = opened(path)
    line = "x" * 1000
    for _ in range(200):
        log.write("planned", line=line)
    assert path.stat().st_size == 0
    for _ in range(100):
        log.write("planned", line=line)
    assert path.stat().st_size > 1 << 18
    monkeypatch.setattr(os, "write", Disk(0).write)
    lines = 0
    with pytest.raises(AuditLogError, match="No space"):  # noqa: PT012  which one fails is asserted
        while lines < 1000:
            log.write("planned", line=line)
            lines += 1
    assert 100 < lines < 300
    monkeypatch.undo()
    await log.close()
    assert verify([path]).error.message.startswith("Run run-1 has no end")


LONG = "x" * (1 << 18)
"""One line with it is more than is held in memory."""


async def test_failure_during_a_sync_is_told_to_those_who_wait_for_it_and_for_the_next(
    path, monkeypatch
):
    begun, go_on = threading.Event(), threading.Event()

    def slow_at_first(fd):
        if not begun.is_set():
            begun.set()
            assert go_on.wait(10)

    log = opened(path)
    monkeypatch.setattr(os, "fsync", slow_at_first)
    log.write("run_started")
    rider = asyncio.ensure_future(log.sync())
    await asyncio.to_thread(begun.wait, 10)
    log.write("intent")
    late = asyncio.ensure_future(log.sync())
    await asyncio.sleep(0)
    monkeypatch.setattr(os, "write", Disk(0).write)
    with pytest.raises(AuditLogError, match="No space"):
        log.write("planned", line=LONG)
    monkeypatch.undo()
    go_on.set()
    for waiter in (rider, late):
        with pytest.raises(AuditLogError, match="No space"):
            await waiter
    await log.close()
    assert len(lines_of(path)) == 1  # a line after a gap would break the chain


async def test_failure_where_a_group_begins_is_told_to_those_who_wait(path, monkeypatch):
    log = opened(path)
    monkeypatch.setattr(os, "write", Disk(0).write)
    log.write("run_started")
    waiters = [asyncio.ensure_future(log.sync()) for _ in range(2)]
    for waiter in waiters:
        with pytest.raises(AuditLogError, match="No space"):
            await waiter
    await log.close()
    assert path.read_bytes() == b""


async def test_interrupt_in_the_middle_of_a_write_ends_the_log_too(path, monkeypatch):
    def interrupted(fd, data):
        raise KeyboardInterrupt

    log = opened(path)
    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        log.write("planned", line=LONG)
    monkeypatch.undo()
    with pytest.raises(AuditLogError, match="KeyboardInterrupt"):
        log.write("planned")
    await log.close()


async def test_close_tells_of_lines_that_did_not_get_to_the_disk(path, monkeypatch):
    log = opened(path)
    log.write("run_finished")
    monkeypatch.setattr(os, "write", Disk(0).write)
    with pytest.raises(AuditLogError, match="No space"):
        await log.close()
    await log.close()


async def test_copy_gets_each_line_and_its_loss_stops_nothing(path):
    copy = io.BytesIO()
    log = opened(path, copy=copy)
    log.write("run_started")
    await log.sync()
    assert copy.getvalue() == path.read_bytes() != b""
    assert log.copy_failure is None
    copy.close()
    log.write("run_finished")
    await log.close()
    assert isinstance(log.copy_failure, ValueError)
    assert len(lines_of(path)) == 2


async def test_a_broken_pipe_as_copy_stops_nothing(path):
    class Gone(io.BytesIO):
        def flush(self):
            raise BrokenPipeError

    log = opened(path, copy=Gone())
    log.write("run_started")
    log.write("run_finished")
    await log.close()
    assert isinstance(log.copy_failure, BrokenPipeError)
    assert verify([path]).error is None


async def test_copy_whose_reader_is_slow_holds_up_the_disk_and_not_the_loop(path):
    begun, go_on = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def write(self, data):
            begun.set()
            assert go_on.wait(10)
            return super().write(data)

    copy = Slow()
    log = opened(path, copy=copy)
    log.write("run_started", line=LONG)  # handed to the system at once
    assert not begun.is_set()
    waiter = asyncio.ensure_future(log.sync())
    assert await asyncio.to_thread(begun.wait, 10)
    log.write("intent", line=LONG)
    assert not waiter.done()
    go_on.set()
    await waiter
    await log.close()
    assert copy.getvalue() == path.read_bytes()


async def test_copy_of_a_log_that_fails_has_all_that_the_file_has(path, monkeypatch):
    copy = io.BytesIO()
    log = opened(path, copy=copy)
    log.write("run_started", line=LONG)
    monkeypatch.setattr(os, "write", Disk(0).write)
    with pytest.raises(AuditLogError, match="No space"):
        log.write("intent", line=LONG)
    monkeypatch.undo()
    await log.close()
    assert copy.getvalue() == path.read_bytes() != b""


async def test_line_that_was_taken_just_before_a_sync_failed_is_not_written_after_it(path):
    log = opened(path)
    log.write("run_started")
    await log.sync()
    log.write("intent")
    log._writer._failure = AuditLogError("The disk is gone.", consequence="")  # as the thread does
    log._writer._flush()
    await log.close()
    assert len(lines_of(path)) == 1
