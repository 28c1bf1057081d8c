"""Open the file safely, repair a torn last line."""

import errno
import os
import stat
from contextlib import ExitStack, suppress
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import NamedTuple

import orjson

from invite_sweeper.audit.record import GENESIS_HASH, line_hash
from invite_sweeper.errors import AuditLogError

# The folder of an audit log: made where it is missing, refused where others could reach in.


def ensure_private_directory(directory: Path) -> None:
    """Make the folder, 0700, if it is missing, and refuse it if others could reach into it.

    Args:
        folder: Absolute.

    Raises:
        AuditUnwritable: It is refused. Nothing was changed but that missing folders were made.
        OSError: It cannot be made or looked at.
    """
    _make_directories(directory)
    _reject_symlink(directory)
    _reject_world_writable(directory)


def fsync_directory(directory: Path) -> None:
    """Put the folder's names on disk: a file that is synced alone may lose its name.

    Raises:
        OSError: It cannot be done.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _make_directories(directory: Path) -> None:
    """Make what is missing, and put each new name on disk: a log must not vanish with one."""
    missing = [each for each in (directory, *directory.parents) if not os.path.lexists(each)]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        fsync_directory(each.parent)


def _reject_symlink(directory: Path) -> None:
    if directory.is_symlink():
        raise AuditLogError(
            f"The audit log's folder {directory} is a symbolic link.",
            hint="Name the folder itself.",
        )


def _reject_world_writable(directory: Path) -> None:
    """Refuse a folder in which others could put a file of theirs in our file's place.

    One that all may write to passes only with the sticky bit (as /tmp has it): there nobody
    can rename what is not theirs. Above the folder the same holds, but a folder of this user's
    own may lie in one that is open to all: it can be taken away, which is noticed.
    """
    child_owner = None
    for each in (resolved := directory.resolve(), *resolved.parents):
        status = each.stat()
        is_world_writable = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
        if is_world_writable and child_owner != os.geteuid():
            raise AuditLogError(
                f"Everybody can write to {each}, where the audit log is.",
                hint=f"Take that away: chmod o-w {each}",
            )
        child_owner = status.st_uid


# The end of an audit log: its last whole line, and what a crash left after it.


_LINE_START = b'{"ts":"'
_BLOCK_BYTES = 1 << 16
_MIN_NEWLINES = 3
"""Line ends that are sure to hold two whole lines between them."""
_MAX_TAIL_BYTES = 1 << 24
"""Two lines are never longer than this; a file without line ends is no audit log."""


class LogTail(NamedTuple):
    """How an audit log ends.

    Attributes:
        size: Bytes up to and with the last whole line.
        last_hash: That line's hash; None where there is no line.
        torn: Something follows it: a line without an end, or one that is no JSON.
    """

    size: int
    last_hash: str | None
    torn: bool


def read_tail(fd: int, path: Path) -> LogTail:
    """Find the last whole line. Reads the end of the file only, however long it is.

    Raises:
        AuditUnwritable: What would be before the torn end is no line of an audit log, so
            this is another kind of file, or a badly damaged one; it is left as it is.
        OSError: The file cannot be read.
    """
    end = os.fstat(fd).st_size
    lines, torn = _last_two_lines(fd, path, end)
    if not torn and lines and not is_record(lines[-1]):
        torn = lines.pop() + b"\n"
    last = lines[-1] if lines else None
    if torn and not (could_be_first_line(torn) if last is None else is_record(last)):
        raise _not_a_log_error(path)
    return LogTail(end - len(torn), None if last is None else line_hash(last), bool(torn))


def could_be_first_line(torn: bytes) -> bool:
    """Whether a crash may have left this of a file's first line: its beginning, or nothing."""
    return _LINE_START.startswith(torn[: len(_LINE_START)]) or not torn.strip(b"\0")


def _last_two_lines(fd: int, path: Path, end: int) -> tuple[list[bytes], bytes]:
    """Up to two last whole lines, and what follows the last newline."""
    data = b""
    start = end
    while start > 0 and data.count(b"\n") < _MIN_NEWLINES:
        if len(data) >= _MAX_TAIL_BYTES:
            raise _not_a_log_error(path)
        block_size = min(_BLOCK_BYTES, start)
        start -= block_size
        data = os.pread(fd, block_size, start) + data
    *lines, fragment = data.split(b"\n")
    return (lines if start == 0 else lines[1:])[-2:], fragment


def _not_a_log_error(path: Path) -> AuditLogError:
    return AuditLogError(
        f"{path} is no audit log, or its end is damaged by more than one torn line.",
        hint="See what `audit verify` says of it, or name another file.",
    )


def is_torn_write(rest: bytes) -> bool:
    """Whether a crash may have left this after a log's last newline.

    Not where a whole line is followed by more: then it is the newline that was changed.
    """
    text = rest.decode("utf-8", "replace")
    try:
        _, end = JSONDecoder().raw_decode(text)
    except (JSONDecodeError, RecursionError):
        return True
    return end == len(text)


def is_record(line: bytes) -> bool:
    """Whether this is a line of an audit log, by its form: a JSON object that follows another."""
    try:
        record = orjson.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and {"run_id", "seq", "event", "prev"} <= record.keys()


# Opens the file of an audit log where nobody else can reach it, and mends its torn end.


_CREATE_FLAGS = os.O_CREAT | os.O_EXCL
_SAFE_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC
_COPY_BYTES = 1 << 20


class OpenedLog(NamedTuple):
    """An open audit log.

    Attributes:
        fd: Open for appending and reading.
        size: Bytes of whole lines in it; the next line begins there.
        last_hash: The hash of its last line; 64 zeros when it is empty.
        set_aside: The file that now holds a torn last line; None where there was none.
    """

    fd: int
    size: int
    last_hash: str
    torn_copy: Path | None


def open_log_file(path: Path) -> OpenedLog:
    """Open or create the file, 0600, in a folder that is made 0700 where it is missing.

    Args:
        path: Absolute.

    Raises:
        AuditUnwritable: The file or the folder cannot be had, or others could write to it,
            or the file holds something that is no audit log. What it holds is as it was.
    """
    try:
        with ExitStack() as undo:
            ensure_private_directory(path.parent)
            fd = _open_or_create(path)
            undo.callback(os.close, fd)
            _check_owner_and_mode(fd, path)
            tail = read_tail(fd, path)
            torn_copy = _move_torn_line(fd, path, tail) if tail.torn else None
            undo.pop_all()
    except OSError as error:
        raise _open_error(path, error) from error
    return OpenedLog(fd, tail.size, tail.last_hash or GENESIS_HASH, torn_copy)


def _open_error(path: Path, error: OSError) -> AuditLogError:
    if error.errno == errno.ELOOP:
        return AuditLogError(
            f"The audit log {path} is a symbolic link.", hint="Name the file itself."
        )
    return AuditLogError(
        f"The audit log {path} cannot be opened: {error.strerror or error}.",
        hint="Name a file on a disk with room, in a folder that this user may write to.",
    )


def _open_or_create(path: Path) -> int:
    """Open it, new or old. Whoever made the name puts it on disk."""
    flags = os.O_RDWR | os.O_APPEND | os.O_NONBLOCK | _SAFE_FLAGS
    try:
        fd = os.open(path, flags | _CREATE_FLAGS, 0o600)
    except FileExistsError:
        return os.open(path, flags)
    fsync_directory(path.parent)
    return fd


def _check_owner_and_mode(fd: int, path: Path) -> None:
    """Refuse what is no plain file of this user's (or root's), or what others can write.

    Group write is taken from a file of our own: Kubernetes gives it to every file of a volume
    that is mounted with an `fsGroup`.

    Source:
        `SetVolumeOwnership` in kubernetes/kubernetes, pkg/volume/volume_linux.go, sets mode
        0660 on files (assumed to be still so).
    """
    status = os.fstat(fd)
    is_ours = status.st_uid == os.geteuid()
    if not stat.S_ISREG(status.st_mode):
        raise AuditLogError(f"The audit log {path} is no plain file.", hint="Name a file.")
    if not is_ours and status.st_uid != 0:
        raise AuditLogError(
            f"The audit log {path} belongs to another user.", hint="Name another file."
        )
    if status.st_mode & (stat.S_IWOTH | (0 if is_ours else stat.S_IWGRP)):
        raise AuditLogError(
            f"Others can write to the audit log {path}.", hint=f"Take that away: chmod 600 {path}"
        )
    if status.st_mode & stat.S_IWGRP:
        os.fchmod(fd, stat.S_IMODE(status.st_mode) & ~stat.S_IWGRP)


def _move_torn_line(fd: int, path: Path, tail: LogTail) -> Path:
    """Move the torn end to a file beside, and only when it is on disk there cut it off here."""
    torn_copy, copy_fd = _create_torn_copy(path)
    try:
        offset = tail.size
        while block := os.pread(fd, _COPY_BYTES, offset):
            offset += os.write(copy_fd, block)
        os.fsync(copy_fd)
    except OSError:
        with suppress(OSError):
            torn_copy.unlink()
        raise
    finally:
        os.close(copy_fd)
    fsync_directory(path.parent)
    os.ftruncate(fd, tail.size)
    os.fsync(fd)
    return torn_copy


def _create_torn_copy(path: Path) -> tuple[Path, int]:
    number = 1
    while True:
        torn_copy = path.with_name(f"{path.name}.torn-{number}")
        try:
            return torn_copy, os.open(torn_copy, os.O_WRONLY | _CREATE_FLAGS | _SAFE_FLAGS, 0o600)
        except FileExistsError:
            number += 1
