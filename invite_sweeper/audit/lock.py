"""The lock that limits an audit log to one run at a time."""

import os
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from invite_sweeper.audit.events import format_timestamp
from invite_sweeper.audit.storage import ensure_private_directory
from invite_sweeper.errors import AuditLogError, LockHeld
from invite_sweeper.files import read_small_file
from invite_sweeper.json_text import parse_json, to_json
from invite_sweeper.redaction import SECRETS

_MAX_HOLDER_BYTES = 1 << 20


def holder_path(lock_path: Path) -> Path:
    """Return the file that describes a lock's holder; hidden from `audit verify *.jsonl*`."""
    return lock_path.with_name(f".{lock_path.name}.holder")


class RunLock:
    """Context manager that holds the lock of an audit log.

    The operating system releases the lock (flock) when the process ends, even if it is killed.
    A file next to the lock describes the holder, for the error message of a second run.

    Args:
        path: The lock file; see `LogPath.lock_path`.
        now: When the lock was acquired, timezone-aware.
        command: The command line, shown to a second run; secrets in it are redacted.
    """

    def __init__(self, path: Path, *, now: datetime, command: str) -> None:
        self._path = path.absolute()
        self._holder_path = holder_path(self._path)
        self._now = now
        self._command = command
        self._lock = FileLock(self._path, mode=0o600, thread_local=False)

    def __enter__(self) -> Self:
        """Acquire the lock without waiting. Create a missing directory with mode 0700.

        Raises:
            LockHeld: Another run holds the lock. Nothing was changed.
            AuditLogError: The lock file could not be opened safely.
        """
        try:
            ensure_private_directory(self._path.parent)
            self._lock.acquire(blocking=False)
        except Timeout:
            raise self.held_error() from None
        except OSError as error:
            raise AuditLogError(
                f"The lock file {self._path} could not be opened: {error.strerror or error}.",
                hint="Use an audit log in a directory that this user can write to.",
            ) from error
        self._write_holder()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._holder_path.unlink()
        self._lock.release()

    def _write_holder(self) -> None:
        """Describe this process for other runs. Errors are ignored: the lock does not need it."""
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": format_timestamp(self._now),
            "command": SECRETS.redact(self._command),
        }
        with suppress(OSError):
            self._holder_path.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            fd = os.open(self._holder_path, flags, 0o600)
            try:
                os.write(fd, to_json(holder))
            finally:
                os.close(fd)

    def held_error(self) -> LockHeld:
        """Return the error for a lock held by another run, with its process if known."""
        try:
            holder = parse_json(read_small_file(self._holder_path, _MAX_HOLDER_BYTES))
            holder_text = (
                f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
                f" ({SECRETS.redact(str(holder['command']))})"
            )
        except (OSError, ValueError, LookupError, TypeError):
            holder_text = "an unknown process"
        return LockHeld(
            f"Another run holds the lock {self._path}: {holder_text}.",
            hint="Wait for that run to end, or stop it. The lock ends with its process.",
        )
