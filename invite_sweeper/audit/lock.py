"""The lock of an audit directory: one run at a time writes there.

The lock is on the file `lock`, not on its name: once that file is removed or replaced, another run
can lock the new one. So the run that holds the lock checks that it is still the file of that name.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from invite_sweeper.audit.access import explain_write_errors, make_private, open_file
from invite_sweeper.audit.events import format_timestamp
from invite_sweeper.errors import AuditLogError, LockHeld
from invite_sweeper.files import names_open_file, read_small_file
from invite_sweeper.redaction import SECRETS

_MAX_HOLDER_BYTES: Final = 1 << 16
"""Of the text about the run that holds the lock."""
_HOLDER: Final = re.compile(rb"run ([0-9A-Za-z-]+), process ")
"""How that text begins."""


class DirectoryLock:
    """The lock of one audit directory.

    Args:
        directory: Where it is, or will be.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "lock"
        self._fd: int | None = None
        self._last_holder = b""  # before this object held it

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
            self._last_holder = os.pread(fd, _MAX_HOLDER_BYTES, 0)
            with suppress(OSError):  # a full disk: the lock holds without the name
                os.ftruncate(fd, 0)
                os.write(fd, holder.encode(errors="backslashreplace"))
            self._fd = fd
            held.callback(setattr, self, "_fd", None)
            yield

    def last_run(self) -> str:
        """Return the id of the run that held the lock last, before this one; "" if not known."""
        holder = self._last_holder
        if self._fd is None:
            with suppress(OSError):
                holder = read_small_file(self._path, _MAX_HOLDER_BYTES, follow_links=False)
        run = _HOLDER.match(holder)
        return run[1].decode() if run is not None else ""

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
