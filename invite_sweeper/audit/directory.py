"""The audit directory: one file for each run, `HEAD` and the lock.

`HEAD` names the last run. It is written when a run begins, before its first line, and when it
ends. So a finished file that lost or gained lines is found, and the chain goes on where the last
file was moved away.
"""

import errno
import fcntl
import os
import pwd
import re
import shlex
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from invite_sweeper.audit.chain import GENESIS_HASH
from invite_sweeper.audit.events import RunWarning, format_timestamp
from invite_sweeper.audit.reader import DamagedFile, FileChain
from invite_sweeper.endings import WarningCode, WarningLevel
from invite_sweeper.errors import AuditLogError, LockHeld, UsageError
from invite_sweeper.files import fsync_directory, is_same_file, read_small_file, replace_file
from invite_sweeper.json_text import to_json
from invite_sweeper.redaction import SECRETS

_NAME: Final = re.compile(
    r"(?P<number>\d{6,})-(?P<run>[\w-]+)\.jsonl(?:\.(?:gz|bz2|xz|zst|lz4|Z|zip))?", re.ASCII
)
"""Only gzip can be read; the other files are found so that a run is refused."""
_MAX_SMALL_FILE_BYTES: Final = 1 << 16
_SAFE_FLAGS: Final = os.O_NOFOLLOW | os.O_CLOEXEC
_REPLACE_HINT: Final = "Replace it by the file itself."


class RunFile(NamedTuple):
    """The file of a run.

    Attributes:
        number: 0 for a file outside an audit directory with another name.
        run_id: As the name says it.
    """

    number: int
    run_id: str
    path: Path

    @classmethod
    def of(cls, path: Path) -> "RunFile":
        """Return the file at a path, whatever its name is."""
        found = _NAME.fullmatch(path.name)
        return cls(int(found["number"]) if found else 0, found["run"] if found else "", path)

    @property
    def name(self) -> str:
        """Its name before it was compressed."""
        return self.path.name.partition(".jsonl")[0] + ".jsonl"


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `HEAD` says of the last run.

    Attributes:
        number: Of the run.
        file: The name of its file, uncompressed.
        last_hash: Of the last line; while the run has not ended, of the line that it continues.
        ended: Whether the run wrote its last line.
    """

    number: int
    file: str
    last_hash: str
    ended: bool

    def check(self, file: RunFile, chain: FileChain) -> None:
        """Raise DamagedFile if a file contradicts it.

        Args:
            chain: Of the file, read to its end.
        """
        if file.name != self.file:
            if file.number >= self.number and chain.size:
                raise DamagedFile(
                    file.path,
                    None,
                    f"is not known to HEAD, which names {self.file}",
                    "If HEAD was restored from an old copy, delete it: the next run makes it from "
                    "the newest file. Otherwise move the file away.",
                )
            return
        known = chain.last_hash if self.ended else chain.prev
        if known != self.last_hash and (self.ended or chain.lines):
            raise DamagedFile(
                file.path,
                (chain.lines or None) if self.ended else 1,
                "is not as HEAD describes it: it was cut or changed after its run, or HEAD is from "
                "another time",
                "Restore the file or HEAD from a copy.",
            )


class AuditDirectory:
    """The directory with the files of all runs of a policy.

    Args:
        path: Where it is, or will be.

    Raises:
        UsageError: The locale has no letter of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock_fd: int | None = None
        try:
            os.fsencode(self.path)
        except UnicodeEncodeError:
            raise UsageError(
                f"A file cannot be named {path} in this locale.",
                hint="Use a UTF-8 locale, such as LC_ALL=C.UTF-8, or a name in ASCII.",
            ) from None

    def files(self) -> tuple[RunFile, ...]:
        """Return the files of the runs in the order in which they began.

        While gzip is at work, the file that it compresses counts, and not what it writes.

        Raises:
            UsageError: The directory cannot be read.
        """
        try:
            names = [each.name for each in self.path.iterdir()]
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise UsageError(
                f"The audit directory {self.path} cannot be read: {error.strerror}.",
                hint="Name the directory with the files of the runs.",
            ) from None
        found: dict[str, RunFile] = {}
        for name in sorted(names):  # `x.jsonl` is before `x.jsonl.gz`
            if _NAME.fullmatch(name):
                file = RunFile.of(self.path / name)
                found.setdefault(file.name, file)
        return tuple(sorted(found.values()))

    def find(self, run: str) -> RunFile:
        """Return the file of a run.

        Args:
            run: Its number, its id or its file's path.

        Raises:
            UsageError: The run does not exist.
        """
        for file in self.files():
            if run == file.run_id or (run.isdecimal() and int(run) == file.number):
                return file
        if (path := Path(run)).is_file():
            return RunFile.of(path.absolute())
        raise UsageError(
            f"The audit directory {self.path} has no run {run or repr(run)}.",
            hint="List the runs with `audit show`; name one by its number, its id or its file.",
        )

    def read_head(self) -> Head | None:
        """Return what `HEAD` says; None where it is missing.

        Raises:
            DamagedFile: It cannot be read.
        """
        path = self.path / "HEAD"
        try:
            data = read_small_file(path, _MAX_SMALL_FILE_BYTES, follow_links=False)
            return msgspec.json.decode(data, type=Head)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it was changed"
            hint = "Without HEAD, the next run makes it from the newest file."
            raise DamagedFile(path, None, f"cannot be read: {reason}", hint) from None

    def write_head(self, head: Head) -> None:
        """Replace `HEAD`; see `replace_file`."""
        replace_file(self.path / "HEAD", to_json(head) + b"\n", follow_links=False)

    def warnings(self) -> tuple[RunWarning, ...]:
        """Return what is not known of earlier runs; raises as `files` and `read_head`."""
        files, head = self.files(), self.read_head()
        if head is not None:
            if any(file.name == head.file for file in files):
                return ()
            message = (
                f"The file of the last run, {head.file}, is missing in {self.path}: the log goes "
                "on after it, but without its deletions, announcements and open requests."
            )
        elif any(file.path.lstat().st_size for file in files):
            message = (
                f"HEAD is missing in {self.path}: the log goes on after its newest file, "
                f"{files[-1].name}. Whether later files are missing is not known."
            )
        else:
            message = f"No earlier run is known: {self.path} has no file of one."
            return (RunWarning(WarningCode.AUDIT_LOG, message, WarningLevel.REMARK),)
        return (RunWarning(WarningCode.AUDIT_LOG, message),)

    def next_run(self) -> tuple[int, str]:
        """Return where the next run goes on; the whole chain of the last file is checked.

        Returns:
            The number of its file, and the hash that its first line continues.

        Raises:
            DamagedLog: The last file was cut, changed or lengthened, or `HEAD` does not know it.
        """
        files, head = self.files(), self.read_head()
        number = max((file.number for file in files), default=0)
        prev = GENESIS_HASH
        if head is not None:
            number, prev = max(number, head.number), head.last_hash
        for file in reversed(files):
            if head is not None and file.number < head.number:
                break
            chain = FileChain(file.path).read()
            if head is not None:
                head.check(file, chain)
            if chain.lines:
                prev = chain.last_hash
                if head is None:
                    break
        return number + 1, prev

    def create_file(self, run_id: str) -> tuple[RunFile, int, str]:
        """Create the file of a run that begins, and name it in `HEAD`. The lock must be held.

        Returns:
            The file; its descriptor, open for appending; the hash that its first line continues.

        Raises:
            AuditLogError: The directory is not safe, or cannot be written.
        """
        number, prev = self.next_run()
        name = f"{number:06d}-{run_id}.jsonl"
        path = self.path / name
        with _writing(path):
            self._check_owners()
            _make_private(self.path)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | _SAFE_FLAGS
            fd = os.open(path, flags, 0o600)
        try:
            # An empty file above HEAD is what a kill leaves here; a later run ignores it.
            with _writing(self.path / "HEAD"):
                fsync_directory(self.path)
                self.write_head(Head(number, name, prev, ended=False))
        except AuditLogError:
            os.close(fd)
            with suppress(OSError):
                path.unlink()
            raise
        return RunFile(number, run_id, path), fd, prev

    def check(self) -> None:
        """Check what a run needs to begin; changes nothing, and takes no lock.

        Raises:
            AuditLogError: The directory, or a file in it, is not safe or cannot be written.
            LockHeld: A run holds the lock.
        """
        path = self.path / "lock"
        existing = next(each for each in (self.path, *self.path.parents) if os.path.lexists(each))
        with _writing(path):
            _make_private(existing)  # exists, so nothing is created
            if not os.access(existing, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            self._check_owners()
            with suppress(FileNotFoundError), _locked(path, os.O_RDONLY, fcntl.LOCK_SH):
                pass

    def _check_owners(self) -> None:
        """Raise AuditLogError if another user can have written a file that a run continues.

        A group may write to it: Kubernetes sets mode 0660 on every file of a volume mounted with an
        `fsGroup`. Source: `SetVolumeOwnership` in its pkg/volume/volume_linux.go.
        """
        for path in (self.path / "HEAD", *(file.path for file in self.files()[-1:])):
            with suppress(FileNotFoundError):
                status = path.lstat()
                if not stat.S_ISREG(status.st_mode):
                    raise AuditLogError(f"{path} is not a regular file.", hint=_REPLACE_HINT)
                if status.st_uid not in {os.geteuid(), 0}:
                    raise _owned_by_another(path, status.st_uid, self.path)
                if status.st_mode & stat.S_IWOTH:
                    raise AuditLogError(f"Every user can write to {path}.", hint=_chmod_hint(path))

    @contextmanager
    def lock(self, *, run_id: str, now: datetime, command: str) -> Iterator[None]:
        """Hold the lock of the directory; creates a missing directory with mode 0700.

        The operating system releases the lock when the process ends, even if it is killed. The
        file says who holds it, for the message of another run; secrets in `command` are redacted.

        Raises:
            LockHeld: Another run holds it.
            AuditLogError: The directory is not safe, or the lock cannot be opened.
        """
        path = self.path / "lock"
        holder = (
            f"run {run_id}, process {os.getpid()} on {os.uname().nodename}, since "
            f"{format_timestamp(now)} ({SECRETS.redact(command)})"
        )
        with ExitStack() as held:
            with _writing(path):
                _make_private(self.path)
                fd = held.enter_context(_locked(path, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX))
            with suppress(OSError):  # a full disk: the lock holds without the name
                os.ftruncate(fd, 0)
                os.write(fd, holder.encode(errors="backslashreplace"))
            self._lock_fd = fd
            held.callback(setattr, self, "_lock_fd", None)
            yield

    def check_lock(self) -> None:
        """Check that the lock that this object holds is still the file of that name.

        The lock is on a file, not on its name: once the file is removed or replaced, another run
        can lock the new one. Nothing is checked while this object holds no lock.

        Raises:
            AuditLogError: The lock file was removed or replaced. The caller must neither delete
                nor write to the directory.
        """
        path = self.path / "lock"
        if self._lock_fd is not None and not is_same_file(path, self._lock_fd):
            raise AuditLogError(
                f"The lock {path} was removed or replaced during the run.",
                consequence="Another run may have begun. This one sends no further deletion.",
                hint="Let no other program change the audit directory. Run the same command again "
                "when no other run is at work.",
            )


@contextmanager
def _locked(path: Path, flags: int, operation: int) -> Iterator[int]:
    """Open and lock a file; raise LockHeld if another run holds the lock."""
    fd = os.open(path, flags | _SAFE_FLAGS, 0o600)
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, _MAX_SMALL_FILE_BYTES, 0).decode(errors="replace") or "unknown"
        os.close(fd)
        raise LockHeld(
            f"Another run holds the lock {path}: {holder}.",
            hint="Wait for that run to end, or stop it. The lock ends with its process.",
        ) from None
    try:
        yield fd
    finally:
        os.close(fd)


def _make_private(directory: Path) -> None:
    """Create a missing directory with mode 0700, and check that others cannot replace files in it.

    A world-writable directory needs the sticky bit (as /tmp has), with which users can only
    rename their own files. The same is required of its parents, with one exception: a directory
    owned by this user may be in a world-writable one. It can be moved, but that is detected.

    Raises:
        AuditLogError: The directory is not safe. Missing directories may have been created.
        OSError: The directory cannot be created or read.
    """
    missing = [each for each in (directory, *directory.parents) if not os.path.lexists(each)]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        fsync_directory(each.parent)
    if directory.is_symlink():
        raise AuditLogError(
            f"The audit directory {directory} is a symbolic link.",
            hint="Name the directory itself.",
        )
    child_owner = None
    for each in (resolved := directory.resolve(), *resolved.parents):
        status = each.stat()
        is_world_writable = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
        if is_world_writable and child_owner != os.geteuid():
            message = f"Every user can write to {each}, which contains the audit log."
            raise AuditLogError(message, hint=_chmod_hint(each))
        child_owner = status.st_uid


@contextmanager
def _writing(path: Path) -> Iterator[None]:
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
            for each in (path, *path.parents):
                with suppress(OSError):
                    if (owner := each.lstat().st_uid) != os.geteuid():
                        raise _owned_by_another(each, owner, path.parent) from error
                    break
        raise AuditLogError(
            f"{path} cannot be written: {error.strerror or error}.",
            hint="Use a disk with free space and a directory that this user can write to.",
        ) from error


def _owned_by_another(path: Path, owner: int, directory: Path) -> AuditLogError:
    """Return the error of a file or directory that this user may not, or must not, write to.

    Args:
        directory: The audit directory. Where it is missing, no directory above it is given away.
    """
    user, name = _user_name(os.geteuid()), shlex.quote(str(directory))
    command = f"sudo chown -R {user} {name}"
    if not directory.is_dir():
        command = f"sudo install -d -m 0700 -o {user} {name}"
    return AuditLogError(
        f"{path} belongs to {_user_name(owner)}, and this run is of {user}.",
        hint=f"Run as the owner, or give the audit directory to {user}: {command}",
    )


def _user_name(uid: int) -> str:
    """Return the name of a user; its number where the system knows none, as in a container."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _chmod_hint(path: Path) -> str:
    return f"Remove that permission: chmod o-w {path}"
