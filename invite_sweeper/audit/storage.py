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
from invite_sweeper.errors import AuditUnwritable

# The folder of an audit log: made where it is missing, refused where others could reach in.


def prepare_folder(folder: Path) -> None:
    """Make the folder, 0700, if it is missing, and refuse it if others could reach into it.

    Args:
        folder: Absolute.

    Raises:
        AuditUnwritable: It is refused. Nothing was changed but that missing folders were made.
        OSError: It cannot be made or looked at.
    """
    _make(folder)
    _refuse_links(folder)
    _refuse_open(folder)


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


def _make(folder: Path) -> None:
    """Make what is missing, and put each new name on disk: a log must not vanish with one."""
    missing = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        fsync_folder(each.parent)


def _refuse_links(folder: Path) -> None:
    if folder.is_symlink():
        raise AuditUnwritable(
            f"The audit log's folder {folder} is a symbolic link.", hint="Name the folder itself."
        )


def _refuse_open(folder: Path) -> None:
    """Refuse a folder in which others could put a file of theirs in our file's place.

    One that all may write to passes only with the sticky bit (as /tmp has it): there nobody
    can rename what is not theirs. Above the folder the same holds, but a folder of this user's
    own may lie in one that is open to all: it can be taken away, which is noticed.
    """
    below = None
    for each in (resolved := folder.resolve(), *resolved.parents):
        status = each.stat()
        is_open = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
        if is_open and below != os.geteuid():
            raise AuditUnwritable(
                f"Everybody can write to {each}, where the audit log is.",
                hint=f"Take that away: chmod o-w {each}",
            )
        below = status.st_uid


# The end of an audit log: its last whole line, and what a crash left after it.


_BEGINNING = b'{"ts":"'
_BLOCK_BYTES = 1 << 16
_ENDS = 3
"""Line ends that are sure to hold two whole lines between them."""
_MOST_BYTES = 1 << 24
"""Two lines are never longer than this; a file without line ends is no audit log."""


class Tail(NamedTuple):
    """How an audit log ends.

    Attributes:
        size: Bytes up to and with the last whole line.
        last_hash: That line's hash; None where there is no line.
        torn: Something follows it: a line without an end, or one that is no JSON.
    """

    size: int
    last_hash: str | None
    torn: bool


def read_tail(fd: int, path: Path) -> Tail:
    """Find the last whole line. Reads the end of the file only, however long it is.

    Raises:
        AuditUnwritable: What would be before the torn end is no line of an audit log, so
            this is another kind of file, or a badly damaged one; it is left as it is.
        OSError: The file cannot be read.
    """
    end = os.fstat(fd).st_size
    lines, torn = _last_two(fd, path, end)
    if not torn and lines and not is_line(lines[-1]):
        torn = lines.pop() + b"\n"
    last = lines[-1] if lines else None
    if torn and not (may_begin(torn) if last is None else is_line(last)):
        raise _no_log(path)
    return Tail(end - len(torn), None if last is None else line_hash(last), bool(torn))


def may_begin(torn: bytes) -> bool:
    """Whether a crash may have left this of a file's first line: its beginning, or nothing."""
    return _BEGINNING.startswith(torn[: len(_BEGINNING)]) or not torn.strip(b"\0")


def _last_two(fd: int, path: Path, end: int) -> tuple[list[bytes], bytes]:
    """Up to two last whole lines, and what follows the last newline."""
    data = b""
    start = end
    while start > 0 and data.count(b"\n") < _ENDS:
        if len(data) >= _MOST_BYTES:
            raise _no_log(path)
        step = min(_BLOCK_BYTES, start)
        start -= step
        data = os.pread(fd, step, start) + data
    *lines, fragment = data.split(b"\n")
    return (lines if start == 0 else lines[1:])[-2:], fragment


def _no_log(path: Path) -> AuditUnwritable:
    return AuditUnwritable(
        f"{path} is no audit log, or its end is damaged by more than one torn line.",
        hint="See what `audit verify` says of it, or name another file.",
    )


def is_tear(rest: bytes) -> bool:
    """Whether a crash may have left this after a log's last newline.

    Not where a whole line is followed by more: then it is the newline that was changed.
    """
    text = rest.decode("utf-8", "replace")
    try:
        _, end = JSONDecoder().raw_decode(text)
    except (JSONDecodeError, RecursionError):
        return True
    return end == len(text)


def is_line(line: bytes) -> bool:
    """Whether this is a line of an audit log, by its form: a JSON object that follows another."""
    try:
        record = orjson.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and {"run_id", "seq", "event", "prev"} <= record.keys()


# Opens the file of an audit log where nobody else can reach it, and mends its torn end.


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
