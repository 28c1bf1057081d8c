"""Opens the file of an audit log where nobody else can reach it, and mends its torn end."""

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from invite_sweeper.audit.record import FIRST_PREV
from invite_sweeper.audit.tail import Tail, read_tail
from invite_sweeper.errors import AuditUnwritable

_NEW = os.O_CREAT | os.O_EXCL
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
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
            or the file holds something that is no audit log. Nothing was changed.
    """
    try:
        make_folder(path.parent)
        refuse_open_folder(path.parent)
        fd = _open_file(path)
    except OSError as error:
        raise _refused(path, error) from error
    try:
        refuse_open_file(path, os.fstat(fd))
        tail = read_tail(fd, path)
        set_aside = _set_aside(fd, path, tail) if tail.torn else None
    except OSError as error:
        os.close(fd)
        raise _refused(path, error) from error
    except BaseException:
        os.close(fd)
        raise
    return Place(fd, tail.size, tail.last_hash or FIRST_PREV, set_aside)


def _refused(path: Path, error: OSError) -> AuditUnwritable:
    if error.errno == errno.ELOOP:
        return AuditUnwritable(
            f"The audit log {path} is a symbolic link.", mend="Name the file itself."
        )
    return AuditUnwritable(
        f"The audit log {path} cannot be opened: {error.strerror or error}.",
        mend="Name a file on a disk with room, in a folder that this user may write to.",
    )


def make_folder(folder: Path) -> None:
    """Make what is missing, 0700, and put each new name on disk: a log must not vanish with it.

    Raises:
        OSError: It cannot be made.
    """
    missing = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        fsync_folder(each.parent)


def fsync_folder(folder: Path) -> None:
    """Put the folder's names on disk: a file that is synced alone may lose its name.

    Raises:
        OSError: It cannot be done.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def refuse_open_folder(folder: Path) -> None:
    """Refuse a folder in which others could put a file of theirs in our file's place.

    One that all may write to passes only with the sticky bit (as /tmp has it): there nobody
    can rename what is not theirs. Above the folder the same holds, but a folder of this user's
    own may lie in one that is open to all: it can be taken away, which is noticed.

    Raises:
        AuditUnwritable: It is refused. Nothing was changed.
        OSError: It cannot be looked at.
    """
    status = folder.lstat()
    if stat.S_ISLNK(status.st_mode):
        _refuse(f"The audit log's folder {folder} is a symbolic link.", "Name the folder itself.")
    if not stat.S_ISDIR(status.st_mode):
        _refuse(f"{folder} is no folder.", "Name a file in a folder.")
    below = None
    for each in (resolved := folder.resolve(), *resolved.parents):
        status = each.stat()
        is_open = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
        if is_open and below != os.geteuid():
            _refuse(f"Everybody can write to {each}.", f"Take that away: chmod o-w {each}")
        below = status.st_uid


def refuse_open_file(path: Path, status: os.stat_result) -> None:
    """Refuse what is no plain file of this user's (or root's), or what others can write.

    Raises:
        AuditUnwritable: It is refused. Nothing was changed.
    """
    if not stat.S_ISREG(status.st_mode):
        _refuse(f"The audit log {path} is no plain file.", "Name a file.")
    if status.st_uid not in (0, os.geteuid()):
        _refuse(f"The audit log {path} belongs to another user.", "Name another file.")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        _refuse(f"Others can write to the audit log {path}.", f"Take that away: chmod 600 {path}")


def _refuse(what: str, mend: str) -> NoReturn:
    raise AuditUnwritable(what, mend=mend)


def _open_file(path: Path) -> int:
    try:
        fd = os.open(path, _FLAGS | _NEW, 0o600)
    except FileExistsError:
        return _narrowed(os.open(path, _FLAGS))
    fsync_folder(path.parent)
    return fd


def _narrowed(fd: int) -> int:
    """Take group write from a file of our own.

    Kubernetes gives it to every file of a volume that is mounted with an `fsGroup`.

    Source:
        `SetVolumeOwnership` in kubernetes/kubernetes, pkg/volume/volume_linux.go, sets
        mode 0660 on files (assumed to be still so).
    """
    status = os.fstat(fd)
    if status.st_uid == os.geteuid() and status.st_mode & stat.S_IWGRP:
        os.fchmod(fd, stat.S_IMODE(status.st_mode) & ~stat.S_IWGRP)
    return fd


def _set_aside(fd: int, path: Path, tail: Tail) -> Path:
    """Move the torn end to a file beside, and only when it is on disk there cut it off here."""
    aside, copy = _new_file_beside(path)
    try:
        at = tail.size
        while block := os.pread(fd, _COPY_BYTES, at):
            at += os.write(copy, block)
        os.fsync(copy)
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
            return aside, os.open(aside, os.O_WRONLY | _NEW | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            number += 1
