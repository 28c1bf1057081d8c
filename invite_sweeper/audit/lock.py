"""One run at a time on one audit log, and who it is."""

import os
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson
from filelock import FileLock, Timeout

from invite_sweeper.audit.record import format_timestamp
from invite_sweeper.audit.storage import ensure_private_directory
from invite_sweeper.errors import AuditLogError, LockHeld


class RunLock:
    """Holds the lock of an audit log while a `with` block runs.

    The lock is the system's (flock), so it ends with its process however that ends. Who
    holds it stands in a file beside, which nothing but the next holder changes.

    Args:
        path: The lock file, as `AuditTarget.lock_path` names it.
        now: Since when it is held, aware.
        command: What the person typed, for whoever comes second; no secret can be in it.
    """

    def __init__(self, path: Path, *, now: datetime, command: str) -> None:
        self._path = path.absolute()
        self._now = now
        self._command = command
        self._lock = FileLock(self._path, mode=0o600, thread_local=False)

    def __enter__(self) -> Self:
        """Take the lock, at once or not at all; a missing folder is made, 0700.

        Raises:
            LockHeld: Another run holds it. Nothing was changed.
            AuditUnwritable: The lock file cannot be had safely. Nothing was deleted.
        """
        try:
            ensure_private_directory(self._path.parent)
            self._lock.acquire(blocking=False)
        except Timeout:
            raise self.held_error() from None
        except OSError as error:
            raise AuditLogError(
                f"The audit log's lock {self._path} cannot be had: {error.strerror or error}.",
                hint="Name an audit log in a folder that this user may write to.",
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

    @property
    def _holder_path(self) -> Path:
        """Hidden, so that a shell's `*.jsonl*` does not hand it to `audit verify`."""
        return self._path.with_name(f".{self._path.name}.holder")

    def _write_holder(self) -> None:
        """Write who holds it. The lock holds all the same where that cannot be written."""
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": format_timestamp(self._now),
            "command": self._command,
        }
        with suppress(OSError):
            self._holder_path.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            fd = os.open(self._holder_path, flags, 0o600)
            try:
                os.write(fd, orjson.dumps(holder))
            finally:
                os.close(fd)

    def held_error(self) -> LockHeld:
        """Say that another run holds it, and which, as far as that run has told."""
        try:
            holder = orjson.loads(self._holder_path.read_bytes())
            holder_text = (
                f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
                f" ({holder['command']})"
            )
        except (OSError, ValueError, LookupError, TypeError):
            holder_text = "a process that did not say which"
        return LockHeld(
            f"Another run holds the lock {self._path}: {holder_text}.",
            hint="Let it end, or stop it; a lock ends with its process.",
        )
