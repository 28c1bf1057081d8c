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
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from invite_sweeper.audit.chain import GENESIS_HASH
from invite_sweeper.audit.events import RunWarning, format_timestamp
from invite_sweeper.audit.reader import Head, LogReader
from invite_sweeper.audit.run_file import DamagedFile, RunFile
from invite_sweeper.endings import WarningCode, WarningLevel
from invite_sweeper.errors import AuditLogError, LockHeld, UsageError
from invite_sweeper.files import (
    fsync_directory,
    is_file,
    names_open_file,
    read_small_file,
    replace_file,
)
from invite_sweeper.json_text import to_json
from invite_sweeper.redaction import SECRETS
from invite_sweeper.text import shell_command, truncate

_MAX_SMALL_FILE_BYTES: Final = 1 << 16
_MAX_POLICY_BYTES: Final = 1 << 20
"""`policy` refuses a longer file."""
_POLICY_NAME: Final = re.compile(r"[0-9a-f]{64}\.yaml")
_SAFE_FLAGS: Final = os.O_NOFOLLOW | os.O_CLOEXEC
MIN_RUNS: Final = 30
"""A run judges at least by so many runs before it."""
_MAX_SHOWN: Final = 80
"""Characters of a name in an error."""
_REPLACE_HINT: Final = "Replace it by the file itself."


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
            names = [path.name for path in self.path.iterdir()]
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise UsageError(
                f"The audit directory {self.path} cannot be read: {error.strerror}.",
                hint="Name the directory with the files of the runs.",
            ) from None
        files: dict[str, RunFile] = {}
        for name in sorted(names):  # `x.jsonl` is before `x.jsonl.gz`
            file = RunFile.of(self.path / name)
            if file.number:
                files.setdefault(file.name, file)
        return tuple(sorted(files.values()))

    def find(self, run: str) -> RunFile:
        """Return the file of a run.

        Args:
            run: Its number, its id or its file's path.

        Raises:
            UsageError: The run does not exist.
        """
        number = run.lstrip("0") if run.isdecimal() else None
        for file in self.files():
            if run == file.run_id or number == str(file.number):
                return file
        if is_file(run):
            return RunFile.of(Path(run).absolute())
        raise UsageError(
            f"The audit directory {self.path} has no run {truncate(run, _MAX_SHOWN) or repr(run)}.",
            hint=f"Name a run by its number, its id or its file. {self.list_hint()}",
        )

    def list_hint(self) -> str:
        """Return the advice to list the runs."""
        return (
            f"List the runs with: {shell_command('audit', 'show', '--audit-dir', str(self.path))}"
        )

    def check_not_empty(self) -> None:
        """Raise UsageError if no run is known: the directory is a wrong one, or is new."""
        if not self.files() and self.read_head() is None:
            raise UsageError(
                f"{self.path} contains no file of a run.",
                hint="Name the audit directory: --audit-dir DIR",
            )

    def read_head(self) -> Head | None:
        """Return what `HEAD` says; None where it is missing.

        Raises:
            DamagedFile: It cannot be read.
        """
        path = self.path / "HEAD"
        try:
            data = read_small_file(path, _MAX_SMALL_FILE_BYTES, follow_links=False)
            head = msgspec.json.decode(data, type=Head)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it was changed"
            hint = "Without HEAD, the next run makes it from the newest file."
            raise DamagedFile(path, None, f"cannot be read: {reason}", hint) from None
        if RunFile.of(Path(head.file)).number != head.number:
            what = f"names the file {truncate(head.file, _MAX_SHOWN)} as that of run {head.number}"
            raise DamagedFile(path, None, what, "Restore HEAD from a copy, or delete it.")
        return head

    def reader(self, *, first: int = 0) -> LogReader:
        """Return the reader of all files, or from the file with an index on.

        Raises:
            DamagedFile: `HEAD` cannot be read, or the copy of a policy was changed.
            UsageError: The directory cannot be read.
        """
        self.check_policies()
        return LogReader(self.files(), self.read_head(), first=first)

    def write_head(self, head: Head) -> None:
        """Replace `HEAD`; see `replace_file`."""
        replace_file(self.path / "HEAD", to_json(head) + b"\n", follow_links=False)

    def recent(self, since: datetime) -> LogReader:
        """Return the reader of the runs by which a run judges; raises as `reader`.

        They are those since an instant, and at least the last 30. The names of the files have the
        instants; a file whose name has none, or one of the future, is read, too.
        """
        files = self.files()
        stamp = f"{since:%Y%m%dT%H%M%SZ}"
        first = 0
        while first < len(files) and files[first].is_before(stamp):
            first += 1
        first = max(0, min(first, len(files) - MIN_RUNS))
        return LogReader(files, self.read_head(), first=first)

    def warnings(self) -> tuple[RunWarning, ...]:
        """Return what is not known of earlier runs; raises as `reader`."""
        reader = self.reader()
        files = reader.files
        if reader.missing is not None:
            message = (
                f"The file of the last run, {reader.missing.name}, is missing in {self.path}: the "
                "log goes on after it, but without its deletions, announcements and open requests."
            )
        elif reader.head is not None:
            return ()
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
        """Return where the next run goes on; the end of the log is checked.

        Returns:
            The number of its file, and the hash that its first line continues.

        Raises:
            DamagedLog: The last file was cut, changed or lengthened, or `HEAD` does not know it.
        """
        end = self.reader()
        files = end.files
        head = end.head
        number = max((file.number for file in files), default=0)
        if head is not None:
            number = max(number, head.number)
        # Back from the newest file: one without a whole line, of a run that was killed at once,
        # says nothing. With HEAD, all files from the one that it names on are checked.
        for first in reversed(range(len(files))):
            if head is not None and files[first].number < head.number:
                break
            end = LogReader(files, head, first=first).read()
            if end.last_hash and head is None:
                break
        if head is not None and not end.last_hash:
            return number + 1, head.last_hash
        return number + 1, end.last_hash or GENESIS_HASH

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

    def policy_path(self, sha256: str) -> Path:
        """Return where the copy of a policy with this hash is, or will be."""
        return self.path / "policies" / f"{sha256}.yaml"

    def keep_policy(self, policy: bytes) -> None:
        """Write a copy of a policy, if there is none, and sync it. The lock must be held.

        A run records the hash of its policy; the copy says which rules were in force then.

        Raises:
            DamagedFile: There is one, and it was changed.
            AuditLogError: The copy is not safe, or cannot be written.
        """
        path = self.policy_path(sha256(policy).hexdigest())
        with _writing(path, self.path):
            _make_private(self.path)
            _make_private(path.parent)
            if not os.path.lexists(path):
                replace_file(path, policy, follow_links=False)
                return
            _check_owner(path, self.path)
        check_policy_copy(path)

    def check_policies(self) -> None:
        """Raise DamagedFile if the copy of a policy was changed, or cannot be read."""
        for path in self.policy_copies():
            check_policy_copy(path)

    def policy_copies(self) -> tuple[Path, ...]:
        """Return the copies of policies; other files are left alone.

        Raises:
            DamagedFile: Their directory cannot be read.
        """
        folder = self.path / "policies"
        try:
            paths = sorted(folder.iterdir())
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise DamagedFile(folder, None, f"cannot be read: {error.strerror}") from None
        return tuple(path for path in paths if _POLICY_NAME.fullmatch(path.name))

    def check(self) -> None:
        """Check what a run needs to begin; changes nothing, and takes no lock.

        Raises:
            AuditLogError: The directory, or a file in it, is not safe or cannot be written.
            LockHeld: A run holds the lock.
        """
        path = self.path / "lock"
        above = (self.path, *self.path.parents)
        existing = next(folder for folder in above if os.path.lexists(folder))
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
                _check_owner(path, self.path)

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
        if self._lock_fd is not None and not names_open_file(path, self._lock_fd):
            raise AuditLogError(
                f"The lock {path} was removed or replaced during the run.",
                consequence="Another run may have begun. This one sends no further deletion.",
                hint="Let no other program change the audit directory. Run the same command again "
                "when no other run is at work.",
            )


def check_policy_copy(path: Path) -> None:
    """Raise DamagedFile if the copy of a policy cannot be read, or has not the hash of its name."""
    try:
        data = read_small_file(path, _MAX_POLICY_BYTES, follow_links=False)
    except OSError as error:
        raise DamagedFile(path, None, f"cannot be read: {error.strerror}") from None
    if sha256(data).hexdigest() != path.stem:
        raise DamagedFile(
            path,
            None,
            "was changed: it does not have the hash that its name says",
            "Restore it from a copy, or move it away: a run with that policy writes it again.",
        )


def _check_owner(path: Path, directory: Path) -> None:
    """Raise AuditLogError unless a file is a regular one that no other user can have written.

    Args:
        directory: The audit directory.

    Raises:
        OSError: It is missing, or cannot be examined.
    """
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise AuditLogError(f"{path} is not a regular file.", hint=_REPLACE_HINT)
    if status.st_uid not in {os.geteuid(), 0}:
        raise _owned_by_another(path, status.st_uid, directory)
    if status.st_mode & stat.S_IWOTH:
        raise AuditLogError(f"Every user can write to {path}.", hint=_chmod_hint(path))


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
    child_owner = None  # of the directory below; nobody's below the audit directory itself
    resolved = directory.resolve()
    for folder in (resolved, *resolved.parents):
        status = folder.stat()
        is_world_writable = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
        if is_world_writable and child_owner != os.geteuid():
            message = f"Every user can write to {folder}, which contains the audit log."
            raise AuditLogError(message, hint=_chmod_hint(folder))
        child_owner = status.st_uid


@contextmanager
def _writing(path: Path, directory: Path | None = None) -> Iterator[None]:
    """Raise AuditLogError for a file of the audit directory that cannot be written.

    Where the file, or else the nearest directory above it, belongs to another user, the error
    names the owner and the command that repairs it.

    Args:
        directory: The audit directory; None where the file is in it, and not below it.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise AuditLogError(f"{path} is a symbolic link.", hint=_REPLACE_HINT) from error
        if error.errno in {errno.EACCES, errno.EPERM}:
            for nearest in (path, *path.parents):
                with suppress(OSError):  # it is missing, or may not be examined: look above it
                    owner = nearest.lstat().st_uid
                    if owner != os.geteuid():
                        audit_directory = directory or path.parent
                        raise _owned_by_another(nearest, owner, audit_directory) from error
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
    user = _user_name(os.geteuid())
    name = shlex.quote(str(directory))
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
