"""The audit directory: the files of the runs, and `HEAD`, which names the last one.

`HEAD` is written when a run begins, before its first line, and when it ends. So a finished file
that lost or gained lines is found, and the chain goes on where the last file was moved away.
"""

import errno
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from invite_sweeper.audit.access import (
    DirectoryLock,
    check_file_access,
    explain_write_errors,
    make_private,
    open_file,
)
from invite_sweeper.audit.chain import GENESIS_HASH
from invite_sweeper.audit.events import RunWarning
from invite_sweeper.audit.file_chain import DamagedFile, RunFile
from invite_sweeper.audit.reader import Head, LogReader
from invite_sweeper.endings import WarningCode, WarningLevel
from invite_sweeper.errors import AuditLogError, UsageError
from invite_sweeper.files import fsync_directory, is_file, read_small_file, replace_file
from invite_sweeper.json_text import to_json
from invite_sweeper.text import shell_command, shorten_list, truncate

_MAX_SMALL_FILE_BYTES: Final = 1 << 16
MIN_RUNS: Final = 30
"""A run judges at least by so many runs before it: what a killed one left open may have to wait for
a list that cannot be read."""
_MAX_SHOWN: Final = 80
"""Characters of a name in an error."""
_MAX_RUNS: Final = 10
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
LIST_RUNS: Final = "List the runs with:"
"""Before `AuditDirectory.list_command`."""


class NextRun(NamedTuple):
    """Where the next run goes on.

    Attributes:
        number: Of its file.
        prev: The hash that its first line continues.
    """

    number: int
    prev: str


class CreatedFile(NamedTuple):
    """The file of a run that begins.

    Attributes:
        descriptor: Open for appending.
        prev: The hash that its first line continues.
    """

    file: RunFile
    descriptor: int
    prev: str


class AuditDirectory:
    """The directory with the files of all runs of a policy.

    Args:
        path: Where it is, or will be.

    Attributes:
        lock: That of the run that writes.

    Raises:
        UsageError: The locale has no letter of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.lock = DirectoryLock(self.path)
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
            run: As in `find_all`.

        Raises:
            UsageError: The run does not exist, or several began on that day.
        """
        found = self.find_all(run)
        if len(found) > 1:
            numbers = [str(file.number) for file in found]
            raise UsageError(
                f"{len(found)} runs began on {run}: {shorten_list(numbers, _MAX_RUNS)}.",
                hint=f"Name one of them by its number. {LIST_RUNS}",
                command=self.list_command(),
            )
        return found[0]

    def find_all(self, run: str) -> Sequence[RunFile]:
        """Return the file of a run, or those of the runs of a day.

        Args:
            run: Its number, its id, its file's path, `last`, or a day in UTC, as 2026-11-12.

        Raises:
            UsageError: The run does not exist.
        """
        files = self.files()
        if run == "last" and files:
            return files[-1:]
        if _DAY.fullmatch(run):
            began = run.replace("-", "") + "T"
            on_day = tuple(file for file in files if file.run_id.startswith(began))
            if on_day:
                return on_day
        number = run.lstrip("0") if run.isdecimal() else ""  # as text: it has any length
        for file in files:
            if run == file.run_id or number == str(file.number):
                return (file,)
        if is_file(run):
            return (RunFile.of(Path(run).absolute()),)
        raise UsageError(
            f"The audit directory {self.path} has no run {truncate(run, _MAX_SHOWN) or repr(run)}.",
            hint=f"Name a run by its number, its day, its id or its file, or as last. {LIST_RUNS}",
            command=self.list_command(),
        )

    def list_command(self) -> str:
        """Return the command that lists the runs."""
        return shell_command("audit", "show", "--audit-dir", str(self.path))

    def check_not_empty(self) -> None:
        """Raise UsageError if no run is known: the directory is a wrong one, or is new."""
        if not self.files() and self.read_head() is None:
            raise UsageError(
                f"{self.path} contains no file of a run.",
                hint="Name the audit directory: --audit-dir DIR",
            )

    def read_head(self) -> Head | None:
        """Return the content of `HEAD`; None where it is missing.

        Raises:
            DamagedFile: It cannot be read, or names no file of a run.
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
        file = RunFile.of(Path(head.file))
        if head.number < 1 or (file.number, file.name) != (head.number, head.file):
            what = f"names the file {truncate(head.file, _MAX_SHOWN)} as that of run {head.number}"
            raise DamagedFile(path, None, what, "Restore HEAD from a copy, or delete it.")
        return head

    def reader(self, *, first: int = 0) -> LogReader:
        """Return the reader of all files, or from the file with an index on.

        Raises:
            DamagedFile: `HEAD` cannot be read.
            UsageError: The directory cannot be read.
        """
        return LogReader(self.files(), self.read_head(), first=first, folder=self.path)

    def write_head(self, head: Head) -> None:
        """Replace `HEAD`; see `replace_file`."""
        replace_file(self.path / "HEAD", to_json(head) + b"\n", follow_links=False)

    def recent(self, since: datetime, *, accepts_missing: bool = False) -> LogReader:
        """Return the reader of the runs by which a run judges; raises as `reader`.

        They are those since an instant, and at least the last 30. The names of the files have the
        instants; a file whose name has none, or one of the future, is read, too.
        """
        files = self.files()
        stamp = f"{since:%Y%m%dT%H%M%SZ}"
        first = 0
        while first < len(files) and files[first].is_before(stamp):
            first += 1
        first_of_last_runs = max(0, len(files) - MIN_RUNS)
        first = min(first, first_of_last_runs)
        return LogReader(
            files,
            self.read_head(),
            first=first,
            accepts_missing=accepts_missing,
            folder=self.path,
        )

    def warnings(self) -> tuple[RunWarning, ...]:
        """Return what is not known of earlier runs; raises as `reader`."""
        reader = self.reader()
        files = reader.files
        if reader.head is not None:
            return ()
        if any(file.path.lstat().st_size for file in files):
            message = (
                f"HEAD is missing in {self.path}: the log goes on after its newest file, "
                f"{files[-1].name}. Whether later files are missing is not known."
            )
            return (RunWarning(WarningCode.AUDIT_LOG, message),)
        message = (
            f"No earlier run is known: a new log begins in {self.path}. If there is an earlier "
            "one, name its directory with --audit-dir DIR."
        )
        return (RunWarning(WarningCode.AUDIT_LOG, message, WarningLevel.REMARK),)

    def warnings_of_missing_files(self) -> tuple[RunWarning, ...]:
        """Return the warnings for a command that begins no run: an empty directory has none."""
        warnings = self.warnings()
        return tuple(warning for warning in warnings if warning.level != WarningLevel.REMARK)

    def next_run(self) -> NextRun:
        """Return where the next run goes on.

        Raises:
            DamagedLog: The last file was cut, changed or lengthened, or `HEAD` does not know it.
        """
        reader = self.reader()
        numbers = [file.number for file in reader.files]
        if reader.head is not None:
            numbers.append(reader.head.number)
        number = max(numbers, default=0) + 1
        return NextRun(number, _last_hash(reader.files, reader.head))

    def create_file(self, run_id: str) -> CreatedFile:
        """Create the file of a run that begins, and name it in `HEAD`. The lock must be held.

        Raises:
            AuditLogError: The directory is not safe, or cannot be written.
        """
        number, prev = self.next_run()
        name = f"{number:06d}-{run_id}.jsonl"
        path = self.path / name
        with explain_write_errors(path):
            self._check_access()
            make_private(self.path)
            fd = open_file(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL)
        try:
            with explain_write_errors(self.path / "HEAD"):
                fsync_directory(self.path)
                self.write_head(Head(number, name, prev, ended=False))
        except AuditLogError:
            # The empty file stays: HEAD may name it, whichever step failed. A later run goes on
            # after it, as after that of a run which was killed here.
            os.close(fd)
            raise
        return CreatedFile(RunFile(number, run_id, path), fd, prev)

    def check(self) -> None:
        """Check what a run needs to begin; changes nothing, and takes no lock.

        Raises:
            AuditLogError: The directory, or a file in it, is not safe or cannot be written.
            LockHeld: A run holds the lock.
        """
        existing = self.path  # or, where it is missing, the directory in which it would be created
        while not os.path.lexists(existing):
            existing = existing.parent
        with explain_write_errors(self.path / "lock"):
            make_private(existing)  # exists, so nothing is created
            if not os.access(existing, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            self._check_access()
            self.lock.check_free()

    def _check_access(self) -> None:
        """Raise AuditLogError if another user can have written a file that a run continues."""
        continued = [self.path / "HEAD"]
        files = self.files()
        if files:
            continued.append(files[-1].path)
        for path in continued:
            with suppress(FileNotFoundError):
                check_file_access(path, self.path)


def _last_hash(files: Sequence[RunFile], head: Head | None) -> str:
    """Return the hash that the next run continues; the end of the log is checked.

    Raises:
        DamagedLog: The last file was cut, changed or lengthened, or `HEAD` does not know it.
    """
    last_hash = ""
    # Back from the newest file to the first with a hash: a run that was killed before its first
    # line left none. With HEAD, back to the file that it names, so that it is checked, too.
    for first in reversed(range(len(files))):
        if head is not None and files[first].number < head.number:
            break
        # What is missing is accepted, or no run would come so far.
        reader = LogReader(files, head, first=first, accepts_missing=True).read()
        last_hash = reader.last_hash
        if head is None and last_hash:
            break
    if not last_hash and head is not None:
        last_hash = head.last_hash  # its file is gone
    return last_hash or GENESIS_HASH
