"""Checks of the audit log's folder, file and lock, which change none of them."""

import fcntl
import gzip
import os
import stat
from pathlib import Path

import pytest
from audit.written_logs import fields_of, write_events, write_run
from builders import NOW, invitation

from invite_sweeper.audit import RunLock, read_history
from invite_sweeper.doctor.diagnosis import CheckState
from invite_sweeper.doctor.log import audit_checks, earlier_run_check, lock_check
from invite_sweeper.endings import ExitCode
from invite_sweeper.models import Source


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "audit"
    inside.mkdir(mode=0o700)
    return inside


def states(path):
    return [(check.name, check.state) for check in audit_checks(path)]


def test_missing_folder_is_ok_and_is_not_created(tmp_path):
    path = tmp_path / "deep" / "er" / "log.jsonl"
    assert states(path) == [("audit folder", CheckState.OK), ("audit log", CheckState.OK)]
    assert not (tmp_path / "deep").exists()


def test_private_log_is_ok(folder):
    write_run(folder / "log.jsonl")
    before = (folder / "log.jsonl").read_bytes()
    assert states(folder / "log.jsonl") == [
        ("audit folder", CheckState.OK),
        ("audit log", CheckState.OK),
    ]
    assert (folder / "log.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("mode", "state"),
    [(0o600, CheckState.OK), (0o640, CheckState.WARNING), (0o602, CheckState.FAILED)],
)
def test_log_readable_by_others_warns_and_writable_by_others_fails(folder, mode, state):
    path = folder / "log.jsonl"
    write_run(path)
    path.chmod(mode)
    last = list(audit_checks(path))[-1]
    assert last.state is state
    assert stat.S_IMODE(path.stat().st_mode) == mode
    if state is CheckState.FAILED:
        assert last.exit_code is ExitCode.AUDIT


def test_log_that_is_a_link_or_a_folder_fails(folder):
    (folder / "other").mkdir()
    (folder / "log.jsonl").symlink_to(folder / "other")
    for name in ("log.jsonl", "other"):
        assert [c.state for c in audit_checks(folder / name)][-1] is CheckState.FAILED


def test_world_writable_folder_fails_with_a_hint(folder):
    folder.chmod(0o777)
    (check,) = audit_checks(folder / "log.jsonl")
    assert (check.state, check.exit_code) == (CheckState.FAILED, ExitCode.AUDIT)
    assert "chmod o-w" in check.hint


def test_full_disk_is_a_warning(folder, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _path: DiskUsage())
    assert states(folder / "log.jsonl")[0] == ("audit folder", CheckState.WARNING)


def test_disk_that_cannot_be_checked_fails_with_the_system_error(folder, monkeypatch):
    def broken(_path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("shutil.disk_usage", broken)
    (check,) = audit_checks(folder / "log.jsonl")
    assert (check.state, check.exit_code) == (CheckState.FAILED, ExitCode.AUDIT)
    assert "Input/output error" in check.message


def test_folder_that_others_can_list_is_ok_and_shows_its_mode(folder):
    folder.chmod(0o750)
    first = next(audit_checks(folder / "log.jsonl"))
    assert first.state is CheckState.OK
    assert "0750" in first.message


@pytest.mark.parametrize("denied", ["audit", "log.jsonl"])
def test_folder_or_log_that_this_user_cannot_write_fails_with_a_hint(folder, monkeypatch, denied):
    write_run(folder / "log.jsonl")
    # root can write to anything.
    monkeypatch.setattr("os.access", lambda path, _mode: Path(path).name != denied)
    last = list(audit_checks(folder / "log.jsonl"))[-1]
    assert (last.state, last.exit_code) == (CheckState.FAILED, ExitCode.AUDIT)
    assert "This user cannot write to" in last.message
    assert last.hint


@pytest.mark.needs("root")  # who alone can give a file to another user
def test_log_of_another_user_fails(folder):
    write_run(folder / "log.jsonl")
    os.chown(folder / "log.jsonl", 65534, 65534)
    last = list(audit_checks(folder / "log.jsonl"))[-1]
    assert (last.state, last.exit_code) == (CheckState.FAILED, ExitCode.AUDIT)
    assert "belongs to another user" in last.message


class DiskUsage:
    """A disk with a kibibyte left."""

    free = 1024


def test_free_lock_is_ok_and_no_file_is_created(folder):
    path = folder / "log.jsonl.lock"
    lock = RunLock(path, now=NOW, command="doctor")
    assert lock_check(lock, path).state is CheckState.OK
    assert not path.exists()


def test_released_lock_is_free_and_stays_free(folder):
    path = folder / "log.jsonl.lock"
    lock = RunLock(path, now=NOW, command="sweep")
    with lock:
        pass
    assert lock_check(lock, path).state is CheckState.OK
    with lock:  # the check has released it
        pass


def test_lock_that_is_a_link_is_not_followed_and_fails(folder):
    path = folder / "log.jsonl.lock"
    path.symlink_to(folder / "elsewhere")
    check = lock_check(RunLock(path, now=NOW, command="doctor"), path)
    assert (check.state, check.exit_code) == (CheckState.FAILED, ExitCode.AUDIT)
    assert not (folder / "elsewhere").exists()


def test_held_lock_names_the_holder_and_stays_held(folder):
    path = folder / "log.jsonl.lock"
    with RunLock(path, now=NOW, command="invite-sweeper sweep"):
        check = lock_check(RunLock(path, now=NOW, command="doctor"), path)
        assert (check.state, check.exit_code) == (CheckState.FAILED, ExitCode.LOCKED)
        assert f"process {os.getpid()}" in check.message
        with path.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_no_run_so_far_is_ok():
    check, _ = earlier_run_check(lambda: read_history([]))
    assert check.message == "None yet."


def test_compressed_log_that_is_cut_off_fails_with_the_exit_code_of_a_sweep(folder):
    path = folder / "log.jsonl.1.gz"
    write_run(folder / "log.jsonl", numbers=range(99))
    path.write_bytes(gzip.compress((folder / "log.jsonl").read_bytes())[:-9])
    check, _ = earlier_run_check(lambda: read_history([path]))
    assert (check.state, check.exit_code) == (CheckState.FAILED, ExitCode.REFUSED)
    assert "the compressed file is cut off" in check.message


def test_unfinished_run_is_a_warning_with_its_open_intents(folder):
    path = folder / "log.jsonl"
    events = [
        ("run_started", {"mode": "sweep"}),
        ("intent", fields_of(invitation(1, source=Source.INVITES))),
    ]
    write_events(path, "run-1", events)
    check, _ = earlier_run_check(lambda: read_history([path]))
    assert check.state is CheckState.WARNING
    assert "run-1" in check.message
    assert check.hint.startswith("1 request without an outcome")
