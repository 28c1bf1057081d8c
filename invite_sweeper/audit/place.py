"""Opens the file of an audit log where nobody else can reach it, and mends its torn end."""

import errno
import os
import stat
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from invite_sweeper.audit.folder import fsync_folder, prepare_folder
from invite_sweeper.audit.record import GENESIS_HASH
from invite_sweeper.audit.tail import Tail, read_tail
from invite_sweeper.errors import AuditUnwritable

_NEW = os.O_CREAT | os.O_EXCL
_OURS = os.O_NOFOLLOW | os.O_CLOEXEC
_COPY_BYTES = 1 << 20


class Place(NamedTuple):
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
    set_aside: Path | None


def open_place(path: Path) -> Place:
    """Open or create the file, 0600, in a folder that is made 0700 where it is missing.

    Args:
        path: Absolute.

    Raises:
        AuditUnwritable: The file or the folder cannot be had, or others could write to it,
            or the file holds something that is no audit log. What it holds is as it was.
    """
    try:
        with ExitStack() as undo:
            prepare_folder(path.parent)
            fd = _open_file(path)
            undo.callback(os.close, fd)
            _secure(fd, path)
            tail = read_tail(fd, path)
            set_aside = _set_aside(fd, path, tail) if tail.torn else None
            undo.pop_all()
    except OSError as error:
        raise _refused(path, error) from error
    return Place(fd, tail.size, tail.last_hash or GENESIS_HASH, set_aside)


def _refused(path: Path, error: OSError) -> AuditUnwritable:
    if error.errno == errno.ELOOP:
        return AuditUnwritable(
            f"The audit log {path} is a symbolic link.", hint="Name the file itself."
        )
    return AuditUnwritable(
        f"The audit log {path} cannot be opened: {error.strerror or error}.",
        hint="Name a file on a disk with room, in a folder that this user may write to.",
    )


def _open_file(path: Path) -> int:
    """Open it, new or old. Whoever made the name puts it on disk."""
    flags = os.O_RDWR | os.O_APPEND | os.O_NONBLOCK | _OURS
    try:
        fd = os.open(path, flags | _NEW, 0o600)
    except FileExistsError:
        return os.open(path, flags)
    fsync_folder(path.parent)
    return fd


def _secure(fd: int, path: Path) -> None:
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
        raise AuditUnwritable(f"The audit log {path} is no plain file.", hint="Name a file.")
    if not is_ours and status.st_uid != 0:
        raise AuditUnwritable(
            f"The audit log {path} belongs to another user.", hint="Name another file."
        )
    if status.st_mode & (stat.S_IWOTH | (0 if is_ours else stat.S_IWGRP)):
        raise AuditUnwritable(
            f"Others can write to the audit log {path}.", hint=f"Take that away: chmod 600 {path}"
        )
    if status.st_mode & stat.S_IWGRP:
        os.fchmod(fd, stat.S_IMODE(status.st_mode) & ~stat.S_IWGRP)


def _set_aside(fd: int, path: Path, tail: Tail) -> Path:
    """Move the torn end to a file beside, and only when it is on disk there cut it off here."""
    aside, copy = _new_file_beside(path)
    try:
        at = tail.size
        while block := os.pread(fd, _COPY_BYTES, at):
            at += os.write(copy, block)
        os.fsync(copy)
    except OSError:
        with suppress(OSError):
            aside.unlink()
        raise
    finally:
        os.close(copy)
    fsync_folder(path.parent)
    os.ftruncate(fd, tail.size)
    os.fsync(fd)
    return aside


def _new_file_beside(path: Path) -> tuple[Path, int]:
    number = 1
    while True:
        aside = path.with_name(f"{path.name}.torn-{number}")
        try:
            return aside, os.open(aside, os.O_WRONLY | _NEW | _OURS, 0o600)
        except FileExistsError:
            number += 1
