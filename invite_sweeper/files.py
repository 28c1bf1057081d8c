"""Regular files: read within a bound, and replaced atomically; which outputs may replace what."""

import errno
import io
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from os.path import realpath
from pathlib import Path
from typing import BinaryIO, Final

from invite_sweeper.endings import Reason
from invite_sweeper.errors import AuditLogError, RunError, UsageError

_BUFFER_BYTES: Final = 1 << 18


def read_small_file(path: Path, max_bytes: int, *, follow_links: bool = True) -> bytes:
    """Return the contents of a regular file, or its first `max_bytes` and one more.

    Raises:
        OSError: It cannot be read, or is not a regular file.
    """
    with open_regular(path, follow_links=follow_links) as file:
        return file.read(max_bytes + 1)


def regular_file_target(path: Path) -> Path:
    """Return the regular file that a path refers to, existing or not; links are followed.

    Raises:
        OSError: It is a directory, cannot be examined, or is a pipe or a device, which must not
            be replaced: as root, replacing `/dev/null` by a file breaks the machine.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return path.resolve()
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    return path.resolve()


def is_file(name: str) -> bool:
    """Return whether a path names a file; a text that no path can be does not."""
    try:
        return Path(name).is_file()
    except OSError:  # longer than a name may be
        return False


def open_regular(path: Path, *, follow_links: bool = True) -> BinaryIO:
    """Open a regular file for reading.

    A pipe without a writer would block, and a device such as `/dev/zero` has no end.

    Raises:
        OSError: It cannot be opened, or is not a regular file.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    if not follow_links:
        if path.is_symlink():
            raise OSError(errno.ELOOP, "it is a symbolic link")
        flags |= os.O_NOFOLLOW
    raw = io.FileIO(path, opener=lambda name, _: os.open(name, flags))
    file = io.BufferedReader(raw, _BUFFER_BYTES)
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "it is not a regular file")


def replace_file(path: Path, data: bytes, *, follow_links: bool = True) -> None:
    """Write a file atomically with mode 0600, and sync it and its name to disk.

    Args:
        follow_links: Whether a link is followed to its file; otherwise the link is replaced.

    Raises:
        OSError: It was not written; an earlier file is unchanged.
    """
    target = regular_file_target(path) if follow_links else path
    partial, descriptor = create_beside(target)
    try:
        left = memoryview(data)
        while left:
            written = os.write(descriptor, left)  # fewer than asked for on a full disk
            left = left[written:]
        os.fsync(descriptor)
        partial.replace(target)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    finally:
        os.close(descriptor)
    fsync_directory(target.parent)


_MAX_PREFIX: Final = 100
"""Characters of a file's name that its temporary name repeats; a name has at most 255 bytes."""


def create_beside(target: Path) -> tuple[Path, int]:
    """Create the temporary file of a target, with mode 0600; one of a killed run is replaced.

    Returns:
        Its path, and its descriptor.
    """
    prefix = target.name[:_MAX_PREFIX]
    partial = target.with_name(f".{prefix}.partial")
    partial.unlink(missing_ok=True)
    # O_EXCL does not follow a link that another program plants there.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return partial, os.open(partial, flags, 0o600)


def fsync_directory(directory: Path) -> None:
    """Sync the names in a directory to disk: syncing a new file does not sync its name."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Outputs of a command

_START_BYTES: Final = 4096
_OTHER_FILE: Final = "Choose another file."


def check_distinct(option: str, path: Path, what: str, other: Path) -> None:
    """Raise UsageError if an output is another file; links and relative paths are resolved."""
    try:
        is_same = path.samefile(other)
    except OSError:  # one of them does not exist yet
        is_same = realpath(path) == realpath(other)
    if is_same:
        raise UsageError(f"{option} {path} would overwrite {what} {other}.", hint=_OTHER_FILE)


def check_replaceable(option: str, path: Path, what: str, is_ours: Callable[[bytes], bool]) -> None:
    """Raise UsageError if an output would overwrite a file that this program did not write.

    A file that is missing, empty or ours may be replaced, also behind a link. A pipe or a device
    is reported where it is written.

    Args:
        option: That names it.
        what: What the program writes there, such as "a saved plan".
        is_ours: Returns whether a file that starts so is an earlier output of that kind.
    """
    try:
        mode = path.stat().st_mode
    except OSError:  # missing, or writing it reports the error
        return
    if stat.S_ISDIR(mode):
        raise UsageError(f"{option} {path} is a directory.", hint="Name a file in it.")
    if not stat.S_ISREG(mode):
        return
    try:
        with open_regular(path) as file:
            start = file.read(_START_BYTES)
    except OSError as error:
        raise UsageError(
            f"{option} {path} exists and cannot be read: {error.strerror}.", hint=_OTHER_FILE
        ) from None
    if start and not is_ours(start):
        raise UsageError(
            f"{option} {path} would overwrite a file that is not {what}.",
            hint=f"{_OTHER_FILE} If this one is not needed, delete it first.",
        )


def check_writable(path: Path, what: str) -> None:
    """Raise the error of `write_error` if a file cannot be replaced; leaves nothing behind."""
    try:
        partial, descriptor = create_beside(regular_file_target(path))
        os.close(descriptor)
        partial.unlink()
    except OSError as error:
        raise write_error(what, path, error) from None


def write_error(what: str, path: Path, error: OSError) -> RunError:
    """Return the error of a file that was not written: a full disk is that of the audit log."""
    message = f"{what} {path} cannot be written: {error.strerror}."
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return AuditLogError(message, hint=Reason.AUDIT_LOG.advice)
    return UsageError(message, hint="Name a regular file in a folder that you can write to.")
