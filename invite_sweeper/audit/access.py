"""Who may write to an audit directory: this user alone, and one run at a time.

A file that another user can write or replace proves nothing: that user can make its hashes, too.
So a run begins only in a directory, and after a file, that this user or root alone can change. A
group may: Kubernetes sets mode 0660 on every file of a volume mounted with an `fsGroup`.

The lock is on the file `lock`, not on its name: once that file is removed or replaced, another run
can lock the new one. So the run that holds the lock checks that it is still the file of that name.
"""

import errno
import fcntl
import os
import pwd
import shlex
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from invite_sweeper.audit.events import format_timestamp
from invite_sweeper.errors import AuditLogError, LockHeld
from invite_sweeper.files import fsync_directory
from invite_sweeper.redaction import SECRETS

_REPLACE_HINT: Final = "Replace it by the file itself."
_MAX_HOLDER_BYTES: Final = 1 << 16
"""Of the text about the run that holds the lock."""


def open_file(path: Path, flags: int) -> int:
    """Open a file of the audit directory, and return its descriptor; a new one has mode 0600.

    No symbolic link is followed: it would lead out of the directory that was checked. A pipe
    without a writer would block.

    Args:
        flags: As of `os.open`.

    Raises:
        AuditLogError: It is not a regular file.
        OSError: It cannot be opened, or is a symbolic link (ELOOP).
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_regular(path)
    return descriptor


def names_open_file(path: Path, descriptor: int) -> bool:
    """Return whether a path, whose last part is not followed, still names an open file."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def check_file_access(path: Path, directory: Path) -> None:
    """Raise AuditLogError unless a file is a regular one that no other user can have written.

    A group may write to it. Source: `SetVolumeOwnership` in pkg/volume/volume_linux.go of
    Kubernetes.

    Args:
        directory: The audit directory.

    Raises:
        OSError: It is missing, or cannot be examined.
    """
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise _not_regular(path)
    if status.st_uid not in {os.geteuid(), 0}:
        raise _owned_by_another(path, status.st_uid, directory)
    if status.st_mode & stat.S_IWOTH:
        raise AuditLogError(f"Every user can write to {path}.", hint=_chmod_hint(path))


def make_private(directory: Path) -> None:
    """Create a missing directory with mode 0700, and check that others cannot replace files in it.

    A world-writable directory needs the sticky bit (as /tmp has), with which users can only
    rename their own files. The same is required of its parents, with one exception: a directory
    owned by this user may be in a world-writable one. It can be moved, but that is detected.

    Raises:
        AuditLogError: The directory is not safe. Missing directories may have been created.
        OSError: The directory cannot be created or read.
    """
    above = (directory, *directory.parents)
    missing = [folder for folder in above if not os.path.lexists(folder)]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
        fsync_directory(folder.parent)
    if directory.is_symlink():
        raise AuditLogError(
            f"The audit directory {directory} is a symbolic link.",
            hint="Name the directory itself.",
        )
    child_owner: int | None = None  # of the directory below; the audit directory itself has none
    resolved = directory.resolve()
    for folder in (resolved, *resolved.parents):
        status = folder.stat()
        others_may_write = bool(status.st_mode & stat.S_IWOTH)
        is_sticky = bool(status.st_mode & stat.S_ISVTX)
        if others_may_write and not is_sticky and child_owner != os.geteuid():
            message = f"Every user can write to {folder}, which contains the audit log."
            raise AuditLogError(message, hint=_chmod_hint(folder))
        child_owner = status.st_uid


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Raise AuditLogError for a file of the audit directory that cannot be written.

    Where the file, or else the nearest directory above it, belongs to another user, the error
    names the owner and the command that repairs it.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise AuditLogError(f"{path} is a symbolic link.", hint=_REPLACE_HINT) from error
        if error.errno in {errno.EACCES, errno.EPERM}:
            nearest, owner = _nearest_owner(path)
            if owner != os.geteuid():
                raise _owned_by_another(nearest, owner, path.parent) from error
        raise AuditLogError(
            f"{path} cannot be written: {error.strerror or error}.",
            hint="Use a disk with free space and a directory that this user can write to.",
        ) from error


def _not_regular(path: Path) -> AuditLogError:
    return AuditLogError(f"{path} is not a regular file.", hint=_REPLACE_HINT)


def _nearest_owner(path: Path) -> tuple[Path, int]:
    """Return a file, or the nearest directory above it that can be examined, and its owner."""
    for nearest in (path, *path.parents):
        try:
            return nearest, nearest.lstat().st_uid
        except OSError:  # it is missing, or is in a directory that this user may not enter
            continue
    return path, os.geteuid()


def _owned_by_another(path: Path, owner: int, directory: Path) -> AuditLogError:
    """Return the error of a file or directory that this user may not, or must not, write to.

    Args:
        directory: The audit directory. Where it is missing, the hint creates it, and changes
            no directory above it.
    """
    user = _user_name(os.geteuid())
    name = shlex.quote(str(directory))
    command = f"sudo chown -R {user} {name}"
    if not directory.is_dir():
        command = f"sudo install -d -m 0700 -o {user} {name}"
    return AuditLogError(
        f"{path} belongs to {_user_name(owner)}, and this run is of {user}.",
        hint=f"Run as the owner, or give the audit directory to {user}:",
        command=command,
    )


def _user_name(uid: int) -> str:
    """Return the name of a user; its number where the system knows none, as in a container."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _chmod_hint(path: Path) -> str:
    return f"Remove that permission: chmod o-w {path}"


class DirectoryLock:
    """The lock of one audit directory.

    Args:
        directory: Where it is, or will be.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "lock"
        self._fd: int | None = None

    @contextmanager
    def hold(self, *, run_id: str, now: datetime, command: str) -> Iterator[None]:
        """Hold the lock; creates a missing directory with mode 0700.

        The operating system releases the lock when the process ends, even if it is killed. The
        file names the run that holds it, for the message of another one; secrets in `command`
        are redacted.

        Raises:
            LockHeld: Another run holds it.
            AuditLogError: The directory is not safe, or the lock cannot be opened.
        """
        holder = (
            f"run {run_id}, process {os.getpid()} on {os.uname().nodename}, since "
            f"{format_timestamp(now)} ({SECRETS.redact(command)})"
        )
        with ExitStack() as held:
            with explain_write_errors(self._path):
                make_private(self._directory)
                exclusive = _locked(self._path, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX)
                fd = held.enter_context(exclusive)
            with suppress(OSError):  # a full disk: the lock holds without the name
                os.ftruncate(fd, 0)
                os.write(fd, holder.encode(errors="backslashreplace"))
            self._fd = fd
            held.callback(setattr, self, "_fd", None)
            yield

    def check_held(self) -> None:
        """Check that the lock that this object holds is still the file of that name.

        Nothing is checked while this object holds no lock.

        Raises:
            AuditLogError: The lock file was removed or replaced. The caller must neither delete
                nor write to the directory.
        """
        if self._fd is not None and not names_open_file(self._path, self._fd):
            raise AuditLogError(
                f"The lock {self._path} was removed or replaced during the run.",
                consequence="Another run may have begun. This one sends no further deletion.",
                hint="Let no other program change the audit directory. Run the same command again "
                "when no other run is at work.",
            )

    def check_free(self) -> None:
        """Raise LockHeld if another run holds the lock; takes it for a moment, and creates nothing.

        Raises:
            OSError: It cannot be opened.
        """
        with suppress(FileNotFoundError), _locked(self._path, os.O_RDONLY, fcntl.LOCK_SH):
            pass


@contextmanager
def _locked(path: Path, flags: int, operation: int) -> Iterator[int]:
    """Open and lock a file; raise LockHeld if another run holds the lock."""
    fd = open_file(path, flags)
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, _MAX_HOLDER_BYTES, 0).decode(errors="replace") or "unknown"
        os.close(fd)
        raise LockHeld(
            f"Another run holds the lock {path}: {holder}.",
            hint="Wait for that run to end, or stop it. The lock ends with its process.",
        ) from None
    try:
        yield fd
    finally:
        os.close(fd)
