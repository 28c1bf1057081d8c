"""Open the audit log's file safely: directory, permissions, and a torn last line."""

import errno
import os
import stat
from contextlib import ExitStack, suppress
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import NamedTuple

from invite_sweeper.audit.events import LineHeader
from invite_sweeper.errors import AuditLogError
from invite_sweeper.files import fsync_directory

_LINE_START = b'{"ts":"'
_BLOCK_BYTES = 1 << 16
_MIN_NEWLINES = 3
"""Newlines between which there are at least two complete lines."""
_MAX_TAIL_BYTES = 1 << 24
"""More than two lines can have; a file without newlines is not an audit log."""
_CREATE_FLAGS = os.O_CREAT | os.O_EXCL
_SAFE_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC
_COPY_BYTES = 1 << 20


def ensure_private_directory(directory: Path) -> None:
    """Create a missing directory with mode 0700, and check that others cannot replace files in it.

    Args:
        directory: Absolute path.

    Raises:
        AuditLogError: The directory is not safe. Missing directories may have been created.
        OSError: The directory cannot be created or read.
    """
    make_directories(directory)
    _reject_symlink(directory)
    _reject_world_writable(directory)


def make_directories(directory: Path) -> None:
    """Create missing directories and sync their names, or a crash could remove the log."""
    missing = [each for each in (directory, *directory.parents) if not os.path.lexists(each)]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        fsync_directory(each.parent)


def _reject_symlink(directory: Path) -> None:
    if directory.is_symlink():
        raise AuditLogError(
            f"The audit log's directory {directory} is a symbolic link.",
            hint="Name the directory itself.",
        )


def _reject_world_writable(directory: Path) -> None:
    """Raise AuditLogError if other users could replace the log's file.

    A world-writable directory needs the sticky bit (as /tmp has), with which users can only
    rename their own files. The same is required of its parents, with one exception: a directory
    owned by this user may be in a world-writable one. It can be moved, but that is detected.
    """
    child_owner = None
    for each in (resolved := directory.resolve(), *resolved.parents):
        status = each.stat()
        is_world_writable = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
        if is_world_writable and child_owner != os.geteuid():
            raise AuditLogError(
                f"Every user can write to {each}, which contains the audit log.",
                hint=f"Remove that permission: chmod o-w {each}",
            )
        child_owner = status.st_uid


class LogTail(NamedTuple):
    """The end of an audit log.

    Attributes:
        size: Bytes up to the end of the last complete line.
        torn: Whether a torn line follows: it is incomplete or not JSON.
    """

    size: int
    torn: bool


def read_tail(fd: int, path: Path) -> LogTail:
    """Find the last complete line. Reads only the end of the file.

    Raises:
        AuditLogError: The line before the torn one is not a line of an audit log: this is
            another kind of file, or more than its last line is damaged. It is not changed.
        OSError: The file cannot be read.
    """
    end = os.fstat(fd).st_size
    lines, torn = _last_two_lines(fd, path, end)
    if not torn and lines and LineHeader.parse(lines[-1]) is None:
        torn = lines.pop() + b"\n"
    last = lines[-1] if lines else None
    if torn and not (could_be_first_line(torn) if last is None else LineHeader.parse(last)):
        raise _not_a_log_error(path)
    return LogTail(end - len(torn), bool(torn))


def could_be_first_line(torn: bytes) -> bool:
    """Return whether this could be a torn first line: its first bytes, or only zeros."""
    return _LINE_START.startswith(torn[: len(_LINE_START)]) or not torn.strip(b"\0")


def _last_two_lines(fd: int, path: Path, end: int) -> tuple[list[bytes], bytes]:
    """Return up to two last complete lines and the bytes after the last newline."""
    data = b""
    start = end
    while start > 0 and data.count(b"\n") < _MIN_NEWLINES:
        if len(data) >= _MAX_TAIL_BYTES:
            raise _not_a_log_error(path)
        block_size = min(_BLOCK_BYTES, start)
        start -= block_size
        data = os.pread(fd, block_size, start) + data
    *lines, fragment = data.split(b"\n")
    return lines[-2:], fragment


def _not_a_log_error(path: Path) -> AuditLogError:
    return AuditLogError(
        f"{path} is not an audit log, or more than its last line is damaged.",
        hint="Check it with `audit verify`, or name another file.",
    )


def is_torn_write(rest: bytes) -> bool:
    """Return whether a crash could have left these bytes after the last newline.

    A complete line followed by more bytes is not torn: its newline was changed.
    """
    text = rest.decode("utf-8", "replace")
    try:
        _, end = JSONDecoder(parse_int=str).raw_decode(text)  # a number may have 5,000 digits
    except (JSONDecodeError, RecursionError):
        return True
    return end == len(text)


class OpenedLog(NamedTuple):
    """An open audit log.

    Attributes:
        fd: File descriptor for appending and reading.
        size: File size in bytes, where the next line starts.
        torn_copy: The file to which a torn last line was moved; None without one.
    """

    fd: int
    size: int
    torn_copy: Path | None


def open_log_file(path: Path) -> OpenedLog:
    """Open the file, or create it with mode 0600 and its missing directories with 0700.

    Args:
        path: Absolute path.

    Raises:
        AuditLogError: The file cannot be opened, other users can write to it, or it is not an
            audit log. Its contents are unchanged.
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
    return OpenedLog(fd, tail.size, torn_copy)


def _open_error(path: Path, error: OSError) -> AuditLogError:
    if error.errno == errno.ELOOP:
        return AuditLogError(
            f"The audit log {path} is a symbolic link.", hint="Name the file itself."
        )
    return AuditLogError(
        f"The audit log {path} cannot be opened: {error.strerror or error}.",
        hint="Use a disk with free space and a directory that this user can write to.",
    )


def _open_or_create(path: Path) -> int:
    """Open the file. If it is new, sync its name to disk."""
    flags = os.O_RDWR | os.O_APPEND | os.O_NONBLOCK | _SAFE_FLAGS
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        fd = os.open(path, flags | _CREATE_FLAGS, 0o600)
    fsync_directory(path.parent)
    return fd


def _check_owner_and_mode(fd: int, path: Path) -> None:
    """Raise AuditLogError unless this is a regular file that only this user or root can write.

    Group write permission is removed from the user's own file: Kubernetes adds it to every file
    of a volume mounted with an `fsGroup`.

    Source:
        `SetVolumeOwnership` in kubernetes/kubernetes, pkg/volume/volume_linux.go, sets mode
        0660 on files (assumed to be unchanged).
    """
    status = os.fstat(fd)
    is_ours = status.st_uid == os.geteuid()
    if not stat.S_ISREG(status.st_mode):
        raise AuditLogError(
            f"The audit log {path} is not a regular file.", hint="Name a regular file."
        )
    if not is_ours and status.st_uid != 0:
        raise AuditLogError(
            f"The audit log {path} belongs to another user.", hint="Name another file."
        )
    if status.st_mode & (stat.S_IWOTH | (0 if is_ours else stat.S_IWGRP)):
        raise AuditLogError(
            f"Other users can write to the audit log {path}.",
            hint=f"Remove that permission: chmod 600 {path}",
        )
    if status.st_mode & stat.S_IWGRP:
        os.fchmod(fd, stat.S_IMODE(status.st_mode) & ~stat.S_IWGRP)


def _move_torn_line(fd: int, path: Path, tail: LogTail) -> Path:
    """Copy the torn line to a new file, sync it, and only then truncate it here."""
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
