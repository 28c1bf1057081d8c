"""Appending to the file of a run: what is on disk when, and after which failure."""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import count

import pytest
from audit.faults import BreakAt, Killed, fail
from audit.runs import (
    HOST,
    clock,
    deletion,
    finished,
    intent,
    outcome,
    planned,
    started,
    write_lines,
    write_run,
)
from builders import NOW, ORG

from invite_sweeper.audit import AuditDirectory, AuditLog, History, Verdict, verify_directory
from invite_sweeper.errors import NOTHING_DELETED, AuditLogError, DamagedLog


def begin(directory: AuditDirectory, run_id: str = "r1", **options: object) -> AuditLog:
    return AuditLog(directory, run_id, clock=clock(), **options)


def lines(log: AuditLog) -> list[bytes]:
    return log.file.path.read_bytes().splitlines()


class Fsyncs:
    """Counts the calls of `os.fsync`, each of which waits until it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        real = os.fsync

        def fsync(fd: int) -> None:
            self.count += 1
            assert self.may_go_on.wait(60)
            real(fd)

        monkeypatch.setattr(os, "fsync", fsync)


@pytest.fixture
async def log(directory: AuditDirectory) -> AsyncIterator[AuditLog]:
    log = begin(directory)
    yield log
    await log.close()


@pytest.fixture
async def begun(log: AuditLog) -> AuditLog:
    log.write(started())
    await log.sync()
    return log


@pytest.fixture
async def syncing(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> tuple[Fsyncs, asyncio.Task[None]]:
    """Return what waits for the first line of the log, until `may_go_on` is set."""
    fsyncs = Fsyncs(monkeypatch)
    fsyncs.may_go_on.clear()
    log.write(started())
    first = asyncio.create_task(log.sync())
    async with asyncio.timeout(60):
        while not fsyncs.count:
            await asyncio.sleep(0)
    return fsyncs, first


class TestSync:
    async def test_a_line_is_in_the_file_after_one_fsync_and_not_before(self, log, monkeypatch):
        fsyncs = Fsyncs(monkeypatch)
        log.write(started())
        assert lines(log) == []
        await log.sync()
        assert len(lines(log)) == 1
        await log.sync()
        assert fsyncs.count == 1

    async def test_a_waiter_goes_on_once_its_line_is_on_disk(self, log, syncing, monkeypatch):
        fsyncs, first = syncing
        log.write(planned())  # after the fsync began
        second = asyncio.create_task(log.sync())
        real = os.fsync

        def is_first_done(fd: int) -> None:
            assert first.done()
            assert not second.done()
            real(fd)

        monkeypatch.setattr(os, "fsync", is_first_done)
        fsyncs.may_go_on.set()
        await second

    async def test_a_cancelled_waiter_does_not_disturb_the_others(self, directory, log, syncing):
        fsyncs, first = syncing
        log.write(planned())
        second = asyncio.create_task(log.sync())
        await asyncio.sleep(0)
        first.cancel()
        fsyncs.may_go_on.set()
        await second
        with pytest.raises(asyncio.CancelledError):
            await first
        await log.finish(finished())
        assert verify_directory(directory).verdict is Verdict.SOUND

    async def test_finish_seals_the_file_and_closes_it(self, directory, log):
        await write_lines(log, [started(), *deletion(), finished(deleted=1)])
        assert verify_directory(directory, log.last_hash).expected_at.endswith(" line 5")
        with pytest.raises(AuditLogError, match="closed"):
            log.write(planned())


@pytest.mark.parametrize("error", [None, BrokenPipeError(), ValueError("closed")])
def test_each_line_is_copied_and_a_copy_that_fails_does_not_stop_the_log(directory, error):
    copied = []

    def copy(lines: bytes) -> None:
        if error is not None:
            raise error
        copied.append(lines)

    log = begin(directory, copy=copy)
    asyncio.run(write_lines(log, [started(), *deletion(), finished()]))
    assert log.copy_failure is error
    assert b"".join(copied) == (log.file.path.read_bytes() if error is None else b"")
    assert verify_directory(directory).verdict is Verdict.SOUND


CHANGES = {
    "a byte less": lambda whole: whole[:-1],
    "emptied": lambda _: b"",
    "a line more": lambda whole: whole + whole.splitlines(keepends=True)[0],
}


class TestFailure:
    @pytest.mark.parametrize(
        ("name", "number", "short"),
        [("write", errno.ENOSPC, False), ("write", errno.EIO, True), ("fsync", errno.EIO, False)],
    )
    async def test_all_who_wait_get_the_error_and_nothing_is_written_after_it(
        self, directory, begun, monkeypatch, name, number, short
    ):
        with monkeypatch.context() as patch:
            fail(patch, name, number, short=short)
            begun.write(intent(planned()))
            waiting = [asyncio.create_task(begun.sync()) for _ in range(3)]
            errors = await asyncio.gather(*waiting, return_exceptions=True)
        for error in errors:
            assert isinstance(error, AuditLogError)
            assert os.strerror(number) in error.message
            assert "No further deletion is sent" in error.consequence
        left = begun.file.path.read_bytes()
        with pytest.raises(AuditLogError, match=os.strerror(number)):
            begun.write(planned())  # the disk works again
        with pytest.raises(AuditLogError):
            await begun.finish(finished())
        assert begun.file.path.read_bytes() == left
        assert left.endswith(b"\n")
        assert not directory.read_head().ended

    @pytest.mark.parametrize("has_intent", [False, True])
    async def test_nothing_was_deleted_before_the_first_intent(self, log, monkeypatch, has_intent):
        log.write(started())
        log.write(intent(planned()) if has_intent else planned())
        fail(monkeypatch, "write", errno.ENOSPC)
        with pytest.raises(AuditLogError) as caught:
            await log.sync()
        assert (caught.value.consequence == NOTHING_DELETED) is not has_intent

    @pytest.mark.parametrize("how", ["moved", "exchanged"])
    async def test_a_file_that_another_program_moves_stops_it(self, directory, begun, how):
        moved = begun.file.path.rename(directory.path / "elsewhere")
        if how == "exchanged":
            begun.file.path.write_bytes(moved.read_bytes())
        begun.write(planned())
        with pytest.raises(AuditLogError, match="was moved or deleted"):
            await begun.sync()

    @pytest.mark.parametrize("change", CHANGES)
    async def test_a_file_that_others_change_stops_it_and_each_run_until_it_is_restored(
        self, directory, begun, change
    ):
        path = begun.file.path
        whole = path.read_bytes()
        changed = CHANGES[change](whole)
        path.write_bytes(changed)
        begun.write(intent(planned()))
        with pytest.raises(AuditLogError, match="by another program") as caught:
            await begun.sync()
        assert caught.value.exit_code == 7
        with pytest.raises(AuditLogError, match="by another program"):
            begun.write(outcome(planned()))
        assert path.read_bytes() == changed
        assert verify_directory(directory).verdict is Verdict.DAMAGED
        with pytest.raises(DamagedLog, match=r"is not as HEAD describes it|does not follow"):
            begin(directory, "r2")
        path.write_bytes(whole)
        await write_lines(begin(directory, "r2"), [started(), finished()])
        assert verify_directory(directory).damage is None

    @pytest.mark.parametrize("change", CHANGES)
    async def test_a_file_that_others_change_during_the_sync_stops_it(
        self, begun, monkeypatch, change
    ):
        path = begun.file.path
        changing = [lambda: path.write_bytes(CHANGES[change](path.read_bytes()))]
        monkeypatch.setattr(os, "fsync", lambda _: changing and changing.pop()())  # not for HEAD
        begun.write(planned())
        with pytest.raises(AuditLogError, match="by another program"):
            await begun.sync()

    async def test_a_lock_that_is_gone_stops_it_and_the_other_run_goes_on(self, directory):
        with directory.lock.hold(run_id="r1", now=NOW, command="sweep"):
            log = begin(directory)
            log.write(started())
            await log.sync()
            (directory.path / "lock").unlink()
            other = AuditDirectory(directory.path)
            with other.lock.hold(run_id="r2", now=NOW, command="sweep"):
                await write_lines(begin(other, "r2"), [started(), finished()])
            log.write(planned())
            with pytest.raises(AuditLogError, match="was removed or replaced") as caught:
                await log.sync()
            assert caught.value.exit_code == 7
            with suppress(AuditLogError):
                await log.close()
        await write_lines(begin(other, "r3"), [started(), finished()])
        assert verify_directory(other).damage is None
        assert directory.read_head().file == "000003-r3.jsonl"

    async def test_a_lock_that_is_gone_at_the_end_leaves_head_alone(self, directory, monkeypatch):
        with directory.lock.hold(run_id="r1", now=NOW, command="sweep"):
            log = begin(directory)
            log.write(started())
            real = AuditLog.close

            async def close(own: AuditLog) -> None:
                await real(own)
                (directory.path / "lock").unlink()

            monkeypatch.setattr(AuditLog, "close", close)
            with pytest.raises(AuditLogError, match="was removed or replaced"):
                await log.finish(finished())
        assert not directory.read_head().ended


def sweep(directory: AuditDirectory, run_id: str, sent: list[str], number: int) -> None:
    """Run a sweep of two deletions; `sent` records each DELETE."""

    async def run() -> None:
        log = begin(directory, run_id)
        log.write(started())
        plans = [planned(number), planned(number + 1)]
        for plan in plans:
            log.write(plan)
        for plan in plans:
            log.write(intent(plan))
            await log.sync()
            sent.append(plan.invitation_id)
            log.write(outcome(plan))
        await log.finish(finished(deleted=2))

    asyncio.run(run())


def check_next_run(directory: AuditDirectory, sent: list[str]) -> None:
    """Check that each DELETE has an intent on disk and counts, and that the next run goes on."""
    before = verify_directory(directory)
    assert before.verdict in {Verdict.SOUND, Verdict.UNFINISHED}, before.damage
    content = b"".join(file.path.read_bytes() for file in directory.files())
    intents = [each for each in content.splitlines() if b'"event":"intent"' in each]
    assert all(any(each.encode() in line for line in intents) for each in sent)
    history = History.read(directory, NOW)
    assert history.sent.total() >= len(sent)
    open_intents = history.open_intents(HOST).get(ORG, ())
    recovered = [outcome(each.intent, recovers=each.file.run_id) for each in open_intents]
    write_run(directory, "r2", *recovered)
    after = verify_directory(directory)
    assert after.verdict is Verdict.SOUND, after


HOW = {"failed": {}, "killed": {"kills": True}, "killed within": {"kills": True, "torn": True}}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("runs_before", [0, 1])
def test_no_delete_without_intent_and_the_next_run_goes_on(tmp_path, runs_before, how):
    """Each step that changes the disk fails once, or the process is killed at it."""
    for step in count(1):
        directory = AuditDirectory(tmp_path / str(step) / "audit")
        for _ in range(runs_before):
            sweep(directory, "r0", [], 100)
        sent: list[str] = []
        with pytest.MonkeyPatch.context() as patch, suppress(AuditLogError, DamagedLog, Killed):
            broken = BreakAt(patch, step, **HOW[how])
            sweep(directory, "r1", sent, 1)
        check_next_run(directory, sent)
        if broken.steps < step:  # none failed
            break
    assert step > 10
