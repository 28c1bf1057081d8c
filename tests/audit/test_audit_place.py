"""Where a log may be, what may be in its way, and its torn end."""

import errno
import json
import os
import stat
from pathlib import Path

import pytest
from audit.written_logs import lines_of, opened, write_run

from invite_sweeper.audit.record import line_hash
from invite_sweeper.audit.storage import fsync_directory, read_tail
from invite_sweeper.audit.verify import verify
from invite_sweeper.errors import AuditLogError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.jsonl"


def mode_of(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refused(path, match: str) -> AuditLogError:
    with pytest.raises(AuditLogError, match=match) as failed:
        opened(path)
    assert failed.value.consequence == "Nothing was deleted."
    return failed.value


def open_descriptors() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()}


class Syncs:
    """Every file or folder that was synced, by its number."""

    def __init__(self, monkeypatch) -> None:
        self.synced = []
        really = os.fsync
        monkeypatch.setattr(os, "fsync", lambda fd: (self.synced.append(os.fstat(fd)), really(fd)))

    def holds(self, path) -> bool:
        return any(os.path.samestat(path.stat(), each) for each in self.synced)


async def test_new_file_and_new_folders_have_their_names_on_disk(tmp_path, monkeypatch):
    syncs = Syncs(monkeypatch)
    path = tmp_path / "a" / "b" / "log.jsonl"
    await opened(path).close()
    assert syncs.holds(path.parent)
    assert syncs.holds(path.parent.parent)
    assert syncs.holds(tmp_path)
    assert not syncs.holds(tmp_path.parent)


async def test_folder_that_another_run_makes_at_the_same_moment_is_used(tmp_path, monkeypatch):
    really = Path.mkdir

    def both(folder, **how):
        really(folder, mode=0o700)
        really(folder, **how)

    monkeypatch.setattr(Path, "mkdir", both)
    await opened(tmp_path / "audit" / "log.jsonl").close()
    assert mode_of(tmp_path / "audit") == 0o700


def test_what_is_no_folder_is_not_synced_as_one(path):
    path.touch()
    with pytest.raises(NotADirectoryError):
        fsync_directory(path)


async def test_old_file_in_an_old_folder_needs_no_sync_to_be_opened(path, monkeypatch):
    await opened(path).close()
    syncs = Syncs(monkeypatch)
    await opened(path).close()
    assert syncs.synced == []


async def test_descriptor_is_not_handed_down_and_appends(path, monkeypatch):
    seen = []
    really = os.open
    monkeypatch.setattr(os, "open", lambda *args: seen.append(args) or really(*args))
    await opened(path).close()
    flags = next(flags for name, flags, *_ in seen if name == path)
    wanted = os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL | os.O_RDWR
    assert flags & wanted == wanted


def test_symlink_as_the_file_is_refused_and_its_target_untouched(path):
    target = path.with_name("target")
    target.write_text("precious")
    path.symlink_to(target)
    failure = refused(path, "is a symbolic link")
    assert failure.hint == "Name the file itself."
    assert target.read_text() == "precious"


def test_dangling_symlink_makes_no_file(path):
    path.symlink_to(path.with_name("nowhere"))
    refused(path, "is a symbolic link")
    assert not path.with_name("nowhere").exists()


def test_symlink_as_the_folder_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    failure = refused(tmp_path / "link" / "log.jsonl", "directory .*link is a symbolic link")
    assert failure.hint == "Name the directory itself."
    assert list((tmp_path / "real").iterdir()) == []


async def test_symlink_above_the_folder_is_followed(tmp_path):
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    await opened(tmp_path / "link" / "inner" / "log.jsonl").close()
    assert (tmp_path / "real" / "inner" / "log.jsonl").exists()


def test_world_writable_folder_is_refused(tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    failure = refused(folder / "log.jsonl", f"Every user can write to {folder}")
    assert failure.hint == f"Remove that permission: chmod o-w {folder}"
    assert list(folder.iterdir()) == []


async def test_world_writable_folder_with_the_sticky_bit_passes(tmp_path):
    folder = tmp_path / "sticky"
    folder.mkdir()
    folder.chmod(0o1777)
    await opened(folder / "log.jsonl").close()


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o770, 0o775])
async def test_folder_that_the_world_cannot_write_passes(tmp_path, mode):
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    await opened(folder / "log.jsonl").close()


async def test_own_folder_inside_a_world_writable_one_passes_as_in_a_pods_empty_volume(tmp_path):
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    await opened(volume / "audit" / "log.jsonl").close()
    assert mode_of(volume / "audit") == 0o700


def test_somebody_elses_folder_inside_a_world_writable_one_is_refused(tmp_path, monkeypatch):
    volume = tmp_path / "volume"
    (volume / "theirs").mkdir(parents=True)
    volume.chmod(0o777)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    refused(volume / "theirs" / "log.jsonl", f"Every user can write to {volume}")


def test_file_that_the_world_can_write_is_refused(path):
    path.touch()
    path.chmod(0o602)
    failure = refused(path, f"Other users can write to the audit log {path}")
    assert failure.hint == f"Remove that permission: chmod 600 {path}"
    assert mode_of(path) == 0o602


@pytest.mark.parametrize(("before", "after"), [(0o660, 0o640), (0o620, 0o600), (0o755, 0o755)])
async def test_own_file_loses_group_write_which_a_mounted_volume_gives_it(path, before, after):
    path.touch()
    path.chmod(before)
    await opened(path).close()
    assert mode_of(path) == after


class Owner:
    """Makes every file look as if it were somebody's."""

    def __init__(self, monkeypatch, uid: int) -> None:
        really = os.fstat

        def told(fd):
            values = list(really(fd))
            values[stat.ST_UID] = uid
            return os.stat_result(values)

        monkeypatch.setattr(os, "fstat", told)
        monkeypatch.setattr(os, "geteuid", lambda: 4242)


def test_another_users_file_is_refused(path, monkeypatch):
    path.touch(mode=0o600)
    Owner(monkeypatch, 4243)
    failure = refused(path, "belongs to another user")
    assert failure.hint == "Name another file."


async def test_roots_file_passes_for_another_user(path, monkeypatch):
    def not_ours(fd, mode):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    path.touch(mode=0o600)
    Owner(monkeypatch, 0)
    monkeypatch.setattr(os, "fchmod", not_ours)
    await opened(path).close()


def test_roots_file_that_the_group_can_write_is_refused_for_another_user(path, monkeypatch):
    path.touch()
    path.chmod(0o620)
    Owner(monkeypatch, 0)
    refused(path, "Other users can write")
    assert mode_of(path) == 0o620


def test_fifo_folder_and_device_are_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "folder").mkdir()
    assert refused(tmp_path / "fifo", "is not a regular file").hint == "Name a regular file."
    refused(tmp_path / "folder", "Is a directory")
    with pytest.raises(AuditLogError):
        opened(Path("/dev/full"))


def test_a_file_where_a_folder_should_be_is_refused(tmp_path):
    (tmp_path / "file").touch()
    refused(tmp_path / "file" / "log.jsonl", "Not a directory")


async def test_read_only_disk_is_refused_with_a_hint(path, monkeypatch):
    def read_only(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", read_only)
    failure = refused(path, "Read-only file system")
    assert failure.message == f"The audit log {path} cannot be opened: Read-only file system."
    assert failure.hint == (
        "Use a disk with free space and a directory that this user can write to."
    )


# The torn end ---------------------------------------------------------------------------------


async def torn(path, rest: bytes):
    """A log with something after its last line, opened again; what was set aside."""
    write_run(path, "run-1")
    whole = path.read_bytes()
    path.write_bytes(whole + rest)
    log = opened(path, "run-2")
    log.write("run_started")
    log.write("run_finished")
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
async def test_torn_last_line_is_moved_beside_and_told(path, rest):
    aside = await torn(path, rest)
    assert aside == path.with_name("log.jsonl.torn-1")
    assert aside.read_bytes() == rest
    assert mode_of(aside) == 0o600


async def test_no_torn_line_sets_nothing_aside(path):
    assert await torn(path, b"") is None
    assert [each.name for each in path.parent.iterdir()] == ["log.jsonl"]


async def test_each_torn_line_has_a_file_of_its_own(path):
    path.with_name("log.jsonl.torn-1").write_bytes(b"an older one")
    aside = await torn(path, b'{"ts"')
    assert aside == path.with_name("log.jsonl.torn-2")
    assert path.with_name("log.jsonl.torn-1").read_bytes() == b"an older one"


async def test_torn_line_is_on_disk_beside_before_it_is_cut_off(path, monkeypatch):
    steps = []
    really_sync, really_cut = os.fsync, os.ftruncate

    def sync(fd):
        steps.append(("sync", str(Path(f"/proc/self/fd/{fd}").readlink())))
        really_sync(fd)

    def cut(fd, size):
        steps.append(("cut", size))
        really_cut(fd, size)

    write_run(path)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"torn")
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "ftruncate", cut)
    log = opened(path, "run-2")
    assert steps == [
        ("sync", f"{path}.torn-1"),
        ("sync", str(path.parent)),
        ("cut", size),
        ("sync", str(path)),
    ]
    await log.close()


async def test_large_torn_end_is_moved_whole(path):
    rest = b'{"ts":"' + b"x" * 3_000_000
    aside = await torn(path, rest)
    assert aside.read_bytes() == rest


@pytest.mark.parametrize("rest", [b"{", b'{"ts', b'{"ts":"2026', b"\0\0\0", b'{"ts":"2026\n'])
async def test_first_line_torn_leaves_an_empty_log(path, rest):
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
        "nearly a first line",
        "other records",
        "other lists",
        "more than zeros",
        "many short lines",
        "one long line",
        "one long torn line",
    ],
)
def test_another_kind_of_file_is_refused_and_left_as_it_is(path, content):
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
def test_a_line_that_lacks_what_each_line_has_is_no_line(path, missing):
    record = {"ts": "t", "run_id": "r", "seq": 1, "event": "e", "prev": "p"}
    del record[missing]
    line = json.dumps(record).encode() + b"\n"
    path.write_bytes(line + line)
    path.chmod(0o600)
    refused(path, "is not an audit log")


def test_full_disk_while_setting_aside_leaves_the_log_as_it_was(path, monkeypatch):
    write_run(path)
    content = path.read_bytes() + b"torn"
    path.write_bytes(content)

    def full(fd, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    refused(path, "No space left")
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_copy_that_cannot_be_taken_back_does_not_hide_why_it_failed(path, monkeypatch):
    def full(fd, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def held(_path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    write_run(path)
    path.write_bytes(path.read_bytes() + b"torn")
    monkeypatch.setattr(os, "write", full)
    monkeypatch.setattr(Path, "unlink", held)
    refused(path, "No space left")


@pytest.mark.parametrize("length", [1, 100, 65_000, 65_535, 65_536, 65_537, 131_072, 400_000])
async def test_last_hash_is_found_whatever_the_length_of_the_last_lines(path, length):
    log = opened(path)
    log.write("run_started")
    log.write("planned", ballast="x" * length)
    log.write("planned", ballast="y" * length)
    await log.close()
    again = opened(path)
    assert again.last_hash == log.last_hash == line_hash(lines_of(path)[-1])
    assert again.offset == path.stat().st_size
    await again.close()


@pytest.mark.parametrize("length", [1, 65_400, 65_536, 200_000])
async def test_torn_end_is_found_whatever_the_length_of_the_lines_before(path, length):
    log = opened(path)
    for _ in range(3):
        log.write("planned", ballast="x" * length)
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
    read = []
    really = os.pread
    monkeypatch.setattr(os, "pread", lambda *args: read.append(args[1]) or really(*args))
    fd = os.open(path, os.O_RDONLY)
    try:
        tail = read_tail(fd, path)
    finally:
        os.close(fd)
    assert sum(read) <= 1 << 16
    assert tail.size == path.stat().st_size
    assert not tail.torn


async def test_failure_to_open_leaves_no_descriptor_behind(path):
    path.write_bytes(b"no log\n")
    path.chmod(0o600)
    before = open_descriptors()
    refused(path, "is not an audit log")
    path.chmod(0o602)
    refused(path, "Other users can write")
    assert open_descriptors() == before
