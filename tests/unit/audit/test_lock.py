"""The lock of an audit log: one run at a time, and the error that names the holder."""

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
from invite_sweeper.audit.lock import holder_path
from invite_sweeper.errors import AuditLogError, LockHeld
from invite_sweeper.redaction import SECRETS

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


def test_lock_is_released_after_its_block(path):
    with lock(path):
        pass
    with lock(path):
        pass


def test_second_run_fails_with_the_holder_s_process_start_and_command(path, holder):
    with pytest.raises(LockHeld) as failed, lock(path):
        pytest.fail("two runs hold the lock")
    assert failed.value.exit_code == 9
    assert failed.value.message == (
        f"Another run holds the lock {path}: process {holder.pid} on {socket.gethostname()}, "
        "since 2026-01-02T00:00:00.000000Z (the first)."
    )
    assert (
        failed.value.hint == "Wait for that run to end, or stop it. The lock ends with its process."
    )


def test_refused_runs_do_not_change_the_holder_s_lock(path, holder):
    for _ in range(3):
        with pytest.raises(LockHeld, match="the first"), lock(path):
            pass


def test_second_lock_within_one_process_is_refused(path):
    with lock(path), pytest.raises(LockHeld, match=f"process {os.getpid()} "), lock(path):
        pass


def test_lock_of_a_killed_process_is_free(path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait(60)
    assert path.exists()
    with lock(path), pytest.raises(LockHeld, match=r"\(invite-sweeper sweep\)"), lock(path):
        pass


def test_lock_can_be_released_by_another_thread(path):
    held = lock(path)
    held.__enter__()
    with ThreadPoolExecutor(1) as thread:
        thread.submit(held.__exit__, None, None, None).result()
    with lock(path):
        pass


def test_exception_inside_the_block_releases_the_lock(path):
    with pytest.raises(ZeroDivisionError), lock(path):
        raise ZeroDivisionError
    with lock(path):
        pass


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'"text"', b'{"pid":1}'])
def test_lock_is_held_without_a_readable_holder_file(path, content):
    with lock(path):
        holder_file = path.with_name(".log.jsonl.lock.holder")
        if content is None:
            holder_file.unlink()
        else:
            holder_file.write_bytes(content)
        with pytest.raises(LockHeld, match=r": an unknown process\."), lock(path):
            pass


def test_holder_file_has_mode_0600_and_is_removed_after_the_block(path):
    holder_file = path.with_name(".log.jsonl.lock.holder")
    with lock(path):
        assert stat.S_IMODE(holder_file.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert json.loads(holder_file.read_bytes()) == {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": "2026-11-25T01:00:00.000000Z",
            "command": "invite-sweeper sweep",
        }
    assert not holder_file.exists()


def test_lock_is_held_if_the_holder_file_cannot_be_written(path):
    path.parent.mkdir()
    holder_file = path.with_name(".log.jsonl.lock.holder")
    holder_file.mkdir()
    with lock(path), pytest.raises(LockHeld), lock(path):
        pass


def test_symlink_in_place_of_the_holder_file_is_not_followed(path, monkeypatch):
    """It is created between the removal of the old holder file and the creation of the new."""
    original_open, target = os.open, path.with_name("precious")

    def open_after_symlink(name, *args, **kwargs):
        if str(name).endswith(".holder"):
            name.symlink_to(target)
        return original_open(name, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_after_symlink)
    with lock(path), pytest.raises(LockHeld, match="an unknown process"), lock(path):
        pass
    assert not target.exists()


def test_missing_directory_is_created_with_mode_0700(path):
    with lock(path):
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_world_writable_directory_is_refused(path):
    path.parent.mkdir()
    path.parent.chmod(0o777)
    with pytest.raises(AuditLogError, match="Every user can write"), lock(path):
        pass


def test_symlink_as_lock_file_is_refused(path):
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


def test_relative_path_is_resolved_when_the_lock_is_created(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    relative = lock(path.relative_to(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with relative, pytest.raises(LockHeld), lock(path):
        pass


def test_holder_and_the_error_show_the_command_without_secrets(path):
    SECRETS.add("s3cret-0123")
    command = "sweep --pushgateway https://ada:pw@gateway.example.com --x s3cret-0123"
    shown = "sweep --pushgateway https://gateway.example.com --x ***"
    with RunLock(path, now=NOW, command=command) as held:
        assert json.loads(holder_path(path).read_bytes())["command"] == shown
        assert f"({shown})" in held.held_error().message


def test_error_shows_the_command_of_an_older_holder_file_without_secrets(path):
    with lock(path) as held:
        holder = json.loads(holder_path(path).read_bytes())
        holder["command"] = "sweep --pushgateway https://ada:pw@gateway.example.com"
        holder_path(path).write_text(json.dumps(holder), encoding="utf-8")
        assert "(sweep --pushgateway https://gateway.example.com)" in held.held_error().message


def test_holder_file_that_is_a_pipe_is_not_read(path):
    with lock(path) as held:
        holder_path(path).unlink()
        os.mkfifo(holder_path(path))
        assert "an unknown process" in held.held_error().message
