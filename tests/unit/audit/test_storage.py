"""Opening a log: directory and file permissions, other kinds of files, and a torn last line."""

import errno
import json
import os
import stat
from pathlib import Path

import pytest
from audit.written_logs import event, lines_of, opened, write_run

from invite_sweeper.audit.chain import line_hash
from invite_sweeper.audit.storage import open_log_file, read_tail
from invite_sweeper.audit.verify import verify
from invite_sweeper.errors import AuditLogError
from invite_sweeper.files import fsync_directory


def mode_of(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refused(path, match: str) -> AuditLogError:
    with pytest.raises(AuditLogError, match=match) as failed:
        opened(path)
    assert failed.value.consequence == "Nothing was deleted."
    return failed.value


def open_descriptors() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()}


class SyncedFiles:
    """Records every file and directory that is synced."""

    def __init__(self, monkeypatch) -> None:
        self.synced = []
        original = os.fsync
        monkeypatch.setattr(
            os, "fsync", lambda fd: (self.synced.append(os.fstat(fd)), original(fd))
        )

    def contains(self, path) -> bool:
        return any(os.path.samestat(path.stat(), each) for each in self.synced)


async def test_names_of_a_new_file_and_new_directories_are_synced(tmp_path, monkeypatch):
    syncs = SyncedFiles(monkeypatch)
    path = tmp_path / "a" / "b" / "log.jsonl"
    await opened(path).close()
    assert syncs.contains(path.parent)
    assert syncs.contains(path.parent.parent)
    assert syncs.contains(tmp_path)
    assert not syncs.contains(tmp_path.parent)


async def test_directory_created_by_another_run_at_the_same_time_is_used(tmp_path, monkeypatch):
    original = Path.mkdir

    def mkdir_twice(path, **kwargs):
        original(path, mode=0o700)
        original(path, **kwargs)

    monkeypatch.setattr(Path, "mkdir", mkdir_twice)
    await opened(tmp_path / "audit" / "log.jsonl").close()
    assert mode_of(tmp_path / "audit") == 0o700


def test_syncing_a_file_as_a_directory_fails(path):
    path.touch()
    with pytest.raises(NotADirectoryError):
        fsync_directory(path)


async def test_opening_an_existing_file_syncs_only_the_head(path, monkeypatch):
    await opened(path).close()
    syncs = SyncedFiles(monkeypatch)
    open_log_file(path)
    assert syncs.synced == []


async def test_file_is_opened_for_append_with_cloexec_and_nofollow(path, monkeypatch):
    seen = []
    original = os.open
    monkeypatch.setattr(os, "open", lambda *args: seen.append(args) or original(*args))
    await opened(path).close()
    appended = [flags for name, flags, *_ in seen if name == path and flags & os.O_APPEND]
    existing, created = appended
    wanted = os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_RDWR
    assert existing & wanted == wanted
    assert created & (wanted := wanted | os.O_CREAT | os.O_EXCL) == wanted


def test_symlink_as_file_is_refused_and_its_target_unchanged(path):
    target = path.with_name("target")
    target.write_text("precious", encoding="utf-8")
    path.symlink_to(target)
    failure = refused(path, "is a symbolic link")
    assert failure.hint == "Name the file itself."
    assert target.read_text(encoding="utf-8") == "precious"


def test_dangling_symlink_is_refused_and_creates_no_file(path):
    path.symlink_to(path.with_name("nowhere"))
    refused(path, "is a symbolic link")
    assert not path.with_name("nowhere").exists()


def test_symlink_as_directory_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    failure = refused(tmp_path / "link" / "log.jsonl", "directory .*link is a symbolic link")
    assert failure.hint == "Name the directory itself."
    assert list((tmp_path / "real").iterdir()) == []


async def test_symlink_above_the_directory_is_followed(tmp_path):
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    await opened(tmp_path / "link" / "inner" / "log.jsonl").close()
    assert (tmp_path / "real" / "inner" / "log.jsonl").exists()


def test_world_writable_directory_is_refused(tmp_path):
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(0o777)
    failure = refused(directory / "log.jsonl", f"Every user can write to {directory}")
    assert failure.hint == f"Remove that permission: chmod o-w {directory}"
    assert list(directory.iterdir()) == []


async def test_world_writable_directory_with_the_sticky_bit_is_accepted(tmp_path):
    directory = tmp_path / "sticky"
    directory.mkdir()
    directory.chmod(0o1777)
    await opened(directory / "log.jsonl").close()


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o770, 0o775])
async def test_directory_that_is_not_world_writable_is_accepted(tmp_path, mode):
    directory = tmp_path / "directory"
    directory.mkdir()
    directory.chmod(mode)
    await opened(directory / "log.jsonl").close()


async def test_own_directory_in_a_world_writable_volume_is_accepted(tmp_path):
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    await opened(volume / "audit" / "log.jsonl").close()
    assert mode_of(volume / "audit") == 0o700


def test_other_user_s_directory_in_a_world_writable_volume_is_refused(tmp_path, monkeypatch):
    volume = tmp_path / "volume"
    (volume / "theirs").mkdir(parents=True)
    volume.chmod(0o777)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    refused(volume / "theirs" / "log.jsonl", f"Every user can write to {volume}")


def test_world_writable_file_is_refused(path):
    path.touch()
    path.chmod(0o602)
    failure = refused(path, f"Other users can write to the audit log {path}")
    assert failure.hint == f"Remove that permission: chmod 600 {path}"
    assert mode_of(path) == 0o602


@pytest.mark.parametrize(("before", "after"), [(0o660, 0o640), (0o620, 0o600), (0o755, 0o755)])
async def test_group_write_permission_is_removed_from_an_own_file(path, before, after):
    path.touch()
    path.chmod(before)
    await opened(path).close()
    assert mode_of(path) == after


def set_owner(monkeypatch, uid: int) -> None:
    """Report this owner for every file, and 4242 as the current user."""
    original = os.fstat

    def fstat(fd):
        values = list(original(fd))
        values[stat.ST_UID] = uid
        return os.stat_result(values)

    monkeypatch.setattr(os, "fstat", fstat)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)


def test_other_user_s_file_is_refused(path, monkeypatch):
    path.touch(mode=0o600)
    set_owner(monkeypatch, 4243)
    failure = refused(path, "belongs to another user")
    assert failure.hint == "Name another file."


async def test_root_s_file_is_accepted_for_another_user(path, monkeypatch):
    def fchmod_denied(fd, mode):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    path.touch(mode=0o600)
    set_owner(monkeypatch, 0)
    monkeypatch.setattr(os, "fchmod", fchmod_denied)
    await opened(path).close()


def test_root_s_group_writable_file_is_refused_for_another_user(path, monkeypatch):
    path.touch()
    path.chmod(0o620)
    set_owner(monkeypatch, 0)
    refused(path, "Other users can write")
    assert mode_of(path) == 0o620


def test_fifo_directory_and_device_are_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "directory").mkdir()
    assert refused(tmp_path / "fifo", "is not a regular file").hint == "Name a regular file."
    refused(tmp_path / "directory", "Is a directory")
    with pytest.raises(AuditLogError):
        opened(Path("/dev/full"))


def test_file_in_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "file").touch()
    refused(tmp_path / "file" / "log.jsonl", "Not a directory")


async def test_read_only_file_system_is_refused(path, monkeypatch):
    def read_only(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", read_only)
    failure = refused(path, "Read-only file system")
    assert failure.message == f"The audit log {path} cannot be opened: Read-only file system."
    assert failure.hint == (
        "Use a disk with free space and a directory that this user can write to."
    )


# Torn last line ---------------------------------------------------------------------------------


async def torn_copy(path, rest: bytes):
    """Append `rest` to a log, open it again and return the file to which `rest` was moved."""
    write_run(path, "run-1")
    whole = path.read_bytes()
    path.write_bytes(whole + rest)
    log = opened(path, "run-2")
    log.write(event("run_started"))
    log.write(event("run_finished"))
    await log.close()
    assert path.read_bytes().startswith(whole)
    assert verify([path]).error is None
    return log.torn_copy


@pytest.mark.parametrize(
    "rest",
    [
        b"{",
        b'{"ts":"2026-11-25T01:00',
        b'{"ts":"2026-11-25T01:00\n',
        b"\0" * 300,
        b'{"ts":"x","run_id":"r","seq":1,"event":"e","prev":"p"}',
        b"\n",
        b"[]\n",
        b"\xff\xfe",
    ],
)
async def test_torn_last_line_is_moved_to_another_file(path, rest):
    copy = await torn_copy(path, rest)
    assert copy == path.with_name("log.jsonl.torn-1")
    assert copy.read_bytes() == rest
    assert mode_of(copy) == 0o600


async def test_nothing_is_moved_without_a_torn_line(path):
    assert await torn_copy(path, b"") is None
    assert {each.name for each in path.parent.iterdir()} == {"log.jsonl", ".log.jsonl.head"}


async def test_each_torn_line_is_moved_to_a_new_file(path):
    path.with_name("log.jsonl.torn-1").write_bytes(b"an older one")
    copy = await torn_copy(path, b'{"ts"')
    assert copy == path.with_name("log.jsonl.torn-2")
    assert path.with_name("log.jsonl.torn-1").read_bytes() == b"an older one"


async def test_copy_of_the_torn_line_is_synced_before_the_log_is_truncated(path, monkeypatch):
    steps = []
    original_fsync, original_ftruncate = os.fsync, os.ftruncate

    def fsync(fd):
        steps.append(("sync", str(Path(f"/proc/self/fd/{fd}").readlink())))
        original_fsync(fd)

    def ftruncate(fd, size):
        steps.append(("truncate", size))
        original_ftruncate(fd, size)

    write_run(path)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"torn")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "ftruncate", ftruncate)
    log = opened(path, "run-2")
    assert steps[:4] == [
        ("sync", f"{path}.torn-1"),
        ("sync", str(path.parent)),
        ("truncate", size),
        ("sync", str(path)),
    ]
    await log.close()


async def test_large_torn_line_is_moved_completely(path):
    rest = b'{"ts":"' + b"x" * 3_000_000
    copy = await torn_copy(path, rest)
    assert copy.read_bytes() == rest


@pytest.mark.parametrize("rest", [b"{", b'{"ts', b'{"ts":"2026', b"\0\0\0", b'{"ts":"2026\n'])
async def test_torn_first_line_leaves_an_empty_log(path, rest):
    path.write_bytes(rest)
    path.chmod(0o600)
    log = opened(path)
    assert log.torn_copy.read_bytes() == rest
    assert (log.offset, log.last_hash) == (0, "0" * 64)
    await log.close()
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    "content",
    [
        b"# Notes\n\nnot an audit log\n",
        b"no newline at all",
        b'{"tsx',
        b'{"a":1}\n{"b":2}\n',
        b"[1]\n[2]\n",
        b"\0\0X",
        b"x\n" * 100_000,
        b"x" * ((1 << 24) + (1 << 17)),
        b'{"ts":"' + b"\0" * ((1 << 24) + (1 << 17)),
    ],
    ids=[
        "notes",
        "no newline",
        "almost a first line",
        "other records",
        "other lists",
        "more than zeros",
        "many short lines",
        "one long line",
        "one long torn line",
    ],
)
def test_other_kind_of_file_is_refused_and_unchanged(path, content):
    path.write_bytes(content)
    path.chmod(0o600)
    failure = refused(path, "is not an audit log")
    assert failure.message == (
        f"{path} is not an audit log, or more than its last line is damaged."
    )
    assert failure.hint == "Check it with `audit verify`, or name another file."
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("missing", ["run_id", "seq", "event", "prev"])
def test_file_whose_lines_lack_a_chain_field_is_refused(path, missing):
    record = {"ts": "t", "run_id": "r", "seq": 1, "event": "e", "prev": "p"}
    del record[missing]
    line = json.dumps(record).encode() + b"\n"
    path.write_bytes(line + line)
    path.chmod(0o600)
    refused(path, "is not an audit log")


def test_full_disk_while_moving_the_torn_line_leaves_the_log_unchanged(path, monkeypatch):
    write_run(path)
    content = path.read_bytes() + b"torn"
    path.write_bytes(content)

    def write_to_full_disk(fd, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", write_to_full_disk)
    refused(path, "No space left")
    assert path.read_bytes() == content
    assert set(path.parent.iterdir()) == {path, path.with_name(".log.jsonl.head")}


def test_copy_that_cannot_be_removed_does_not_hide_the_first_error(path, monkeypatch):
    def write_to_full_disk(fd, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def unlink_denied(_path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    write_run(path)
    path.write_bytes(path.read_bytes() + b"torn")
    monkeypatch.setattr(os, "write", write_to_full_disk)
    monkeypatch.setattr(Path, "unlink", unlink_denied)
    refused(path, "No space left")


@pytest.mark.parametrize("length", [1, 100, 65_000, 65_535, 65_536, 65_537, 131_072, 400_000])
async def test_last_hash_is_found_for_any_length_of_the_last_lines(path, length):
    log = opened(path)
    log.write(event("run_started"))
    log.write(event("planned", rule="x" * length))
    log.write(event("planned", rule="y" * length))
    await log.close()
    again = opened(path)
    assert again.last_hash == log.last_hash == line_hash(lines_of(path)[-1])
    assert again.offset == path.stat().st_size
    await again.close()


@pytest.mark.parametrize("length", [1, 65_400, 65_536, 200_000])
async def test_torn_line_is_found_for_any_length_of_the_lines_before(path, length):
    log = opened(path)
    for _ in range(3):
        log.write(event("planned", rule="x" * length))
    await log.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"ts":"20\n')
    again = opened(path)
    assert again.torn_copy.read_bytes() == b'{"ts":"20\n'
    assert again.last_hash == log.last_hash
    await again.close()
    assert path.read_bytes() == whole


def test_only_the_end_of_a_long_file_is_read(path, monkeypatch):
    write_run(path, numbers=range(2000))
    assert path.stat().st_size > 1_000_000
    read_sizes = []
    original = os.pread
    monkeypatch.setattr(os, "pread", lambda *args: read_sizes.append(args[1]) or original(*args))
    fd = os.open(path, os.O_RDONLY)
    try:
        tail = read_tail(fd, path)
    finally:
        os.close(fd)
    assert sum(read_sizes) <= 1 << 16
    assert tail.size == path.stat().st_size
    assert not tail.torn


async def test_failed_open_leaks_no_descriptor(path):
    path.write_bytes(b"no log\n")
    path.chmod(0o600)
    before = open_descriptors()
    refused(path, "is not an audit log")
    path.chmod(0o602)
    refused(path, "Other users can write")
    assert open_descriptors() == before
