"""One run at a time, and who it is."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from builders import NOW

from invite_sweeper.audit import RunLock
from invite_sweeper.errors import AuditLogError, LockHeld

HOLD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from invite_sweeper.audit.lock import RunLock

with RunLock(Path(sys.argv[1]), now=datetime(2026, 1, 2, tzinfo=UTC), command="the first"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit" / "log.jsonl.lock"


@pytest.fixture
def holder(path):
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def lock(path) -> RunLock:
    return RunLock(path, now=NOW, command="invite-sweeper sweep")


def test_lock_is_free_again_after_its_block(path):
    with lock(path):
        pass
    with lock(path):
        pass


def test_second_run_is_told_who_holds_it_since_when_and_with_which_command(path, holder):
    with pytest.raises(LockHeld) as failed, lock(path):
        pytest.fail("two hold the lock")
    assert failed.value.exit_code == 9
    assert failed.value.message == (
        f"Another run holds the lock {path}: process {holder.pid} on {socket.gethostname()}, "
        "since 2026-01-02T00:00:00.000000Z (the first)."
    )
    assert (
        failed.value.hint == "Wait for that run to end, or stop it. The lock ends with its process."
    )


def test_a_refused_run_takes_nothing_from_the_holder(path, holder):
    for _ in range(3):
        with pytest.raises(LockHeld, match="the first"), lock(path):
            pass


def test_within_one_process_the_second_is_refused_too(path):
    with lock(path), pytest.raises(LockHeld, match=f"process {os.getpid()} "), lock(path):
        pass


def test_a_lock_whose_process_was_killed_does_not_block(path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait(10)
    assert path.exists()
    with lock(path), pytest.raises(LockHeld, match=r"\(invite-sweeper sweep\)"), lock(path):
        pass


def test_lock_may_be_given_back_by_another_thread(path):
    held = lock(path)
    held.__enter__()
    with ThreadPoolExecutor(1) as thread:
        thread.submit(held.__exit__, None, None, None).result()
    with lock(path):
        pass


def test_an_error_inside_the_block_frees_the_lock(path):
    with pytest.raises(ZeroDivisionError), lock(path):
        raise ZeroDivisionError
    with lock(path):
        pass


@pytest.mark.parametrize("told", [None, b"", b"{", b"[]", b'"text"', b'{"pid":1}'])
def test_a_holder_that_did_not_say_who_it_is_holds_all_the_same(path, told):
    with lock(path):
        side = path.with_name(".log.jsonl.lock.holder")
        if told is None:
            side.unlink()
        else:
            side.write_bytes(told)
        with pytest.raises(LockHeld, match=r": an unknown process\."), lock(path):
            pass


def test_side_file_is_private_hidden_and_gone_afterwards(path):
    side = path.with_name(".log.jsonl.lock.holder")
    with lock(path):
        assert stat.S_IMODE(side.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert json.loads(side.read_bytes()) == {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": "2026-11-25T01:00:00.000000Z",
            "command": "invite-sweeper sweep",
        }
    assert not side.exists()


def test_side_file_that_cannot_be_written_does_not_matter(path):
    path.parent.mkdir()
    side = path.with_name(".log.jsonl.lock.holder")
    side.mkdir()
    with lock(path), pytest.raises(LockHeld), lock(path):
        pass


def test_symlink_put_in_the_side_files_place_is_not_written_through(path, monkeypatch):
    """Between the removal of an old side file and the making of the new one."""
    really, target = os.open, path.with_name("precious")

    def planted(name, *how, **more):
        if str(name).endswith(".holder"):
            name.symlink_to(target)
        return really(name, *how, **more)

    monkeypatch.setattr(os, "open", planted)
    with lock(path), pytest.raises(LockHeld, match="an unknown process"), lock(path):
        pass
    assert not target.exists()


def test_missing_folder_is_made_0700(path):
    with lock(path):
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_folder_that_everybody_can_write_is_refused(path):
    path.parent.mkdir()
    path.parent.chmod(0o777)
    with pytest.raises(AuditLogError, match="Every user can write"), lock(path):
        pass


def test_symlink_as_the_lock_is_refused(path):
    path.parent.mkdir()
    path.symlink_to(path.with_name("precious"))
    with pytest.raises(AuditLogError, match="could not be opened") as failed, lock(path):
        pass
    assert failed.value.message == (
        f"The lock file {path} could not be opened: Too many levels of symbolic links."
    )
    assert failed.value.consequence == "Nothing was deleted."
    assert failed.value.hint == "Use an audit log in a directory that this user can write to."
    assert not path.with_name("precious").exists()


def test_relative_path_means_the_folder_it_was_made_in(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    relative = lock(path.relative_to(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with relative, pytest.raises(LockHeld), lock(path):
        pass
