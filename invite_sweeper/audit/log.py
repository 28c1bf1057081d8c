"""Append to the audit log: file writes, group commit and the log of one run.

`AuditLog` is the public class. It builds lines with `HashChain`, `GroupCommit` batches their
fsyncs, and `LogFile` writes to the file. After the first failure nothing more is written.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from invite_sweeper.audit.chain import HashChain
from invite_sweeper.audit.events import Event, RunStarted
from invite_sweeper.audit.files import LogPath
from invite_sweeper.audit.head import LogEnding
from invite_sweeper.audit.storage import OpenedLog, open_log_file
from invite_sweeper.errors import AuditLogError

_WRITE_FAILED_CONSEQUENCE = (
    "Every deletion that was sent has its intent in the log. No further deletion is sent."
)
_REPLACED_CONSEQUENCE = (
    "Every deletion that was sent has its intent in the original file. No further one is sent."
)
_FLUSH_BYTES = 1 << 18
"""Pending bytes after which lines are written to the file without waiting for a sync."""


class LogFile:
    """The open log file. One thread appends while another may wait for fsync.

    Args:
        path: Absolute path.
        opened: The open file; `close` closes it.
        copy: A stream that receives all lines as well. Its errors do not stop the log.

    Attributes:
        copy_failure: Why the copy ended early; None while it is complete.
        fd: The open file; -1 once it is closed.
    """

    def __init__(self, path: Path, opened: OpenedLog, copy: BinaryIO | None = None) -> None:
        self.copy_failure: Exception | None = None
        self._path = path
        self.fd = opened.fd
        self._size = opened.size
        self._copy_stream = copy
        self._uncopied: deque[bytes] = deque()

    def append(self, data: bytes) -> None:
        """Write complete lines. They are not on disk before `fsync`.

        After a partial write, the incomplete line is truncated. Complete lines stay: an outcome
        among them is recorded nowhere else.

        Raises:
            AuditLogError: Not all lines were written. The file ends with a complete line.
        """
        try:
            self._check_not_replaced()
            self._write(data)
        except OSError as error:
            raise self._as_log_error(error) from error
        if self._copy_stream is not None:
            self._uncopied.append(data)

    def fsync(self) -> None:
        """Write the copy, then sync the file to disk.

        Uses `fsync`, not `fdatasync`: the file grows with each group, so its size is written to
        the file system's journal in both cases, and both cost the same.

        Raises:
            AuditLogError: The sync failed. A retry cannot succeed, because the kernel discards
                the pages that it could not write.
        """
        self._write_copy()
        try:
            os.fsync(self.fd)
        except OSError as error:
            raise self._as_log_error(error) from error

    def close(self) -> None:
        """Write the rest of the copy and close the file. Closing twice is allowed."""
        self._write_copy()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _check_not_replaced(self) -> None:
        """Raise AuditLogError if the file was moved, replaced or changed by another program."""
        opened_status = os.fstat(self.fd)
        try:
            path_status = self._path.lstat()
        except FileNotFoundError:
            path_status = None
        if path_status is None or not os.path.samestat(path_status, opened_status):
            raise AuditLogError(
                f"The audit log {self._path} was moved or deleted while it was being written.",
                consequence=_REPLACED_CONSEQUENCE,
                hint="Restore the original file, then run the same command again.",
            )
        if opened_status.st_size != self._size:
            raise AuditLogError(
                f"Another program changed the audit log {self._path} while it was being written.",
                consequence="No further deletion is sent.",
                hint="Check it with `audit verify`.",
            )

    def _write(self, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):
                written += os.write(self.fd, memoryview(data)[written:])
        except OSError:
            whole_lines_size = data.rfind(b"\n", 0, written) + 1
            with suppress(OSError):
                os.ftruncate(self.fd, self._size + whole_lines_size)
                os.fsync(self.fd)
            raise
        self._size += written

    def _write_copy(self) -> None:
        """Write pending lines to the copy.

        Runs in the fsync thread: the copy may be a pipe with a slow reader.
        """
        while self._uncopied and self._copy_stream is not None:
            try:
                self._copy_stream.write(self._uncopied.popleft())
                self._copy_stream.flush()
            except (OSError, ValueError) as error:
                self.copy_failure, self._copy_stream = error, None
                self._uncopied.clear()

    def _as_log_error(self, error: OSError) -> AuditLogError:
        return AuditLogError(
            f"The audit log {self._path} cannot be written: {error.strerror or error}.",
            consequence=_WRITE_FAILED_CONSEQUENCE,
            hint="Free disk space or repair the disk, then run the same command again: it "
            "processes the rest.",
        )


class GroupCommit:
    """Group commit: callers that wait at the same time share one write and one fsync.

    The event loop appends lines in order and writes them in batches. A separate thread waits
    for fsync. After the first failure nothing is written, and every call raises the error.

    Attributes:
        offset: Byte offset after the last appended line, which may not be on disk yet.
    """

    def __init__(self, file: LogFile, offset: int) -> None:
        self.offset = offset
        self._file = file
        self._synced_to = offset
        self._pending: list[bytes] = []
        self._pending_start = offset
        self._failure: AuditLogError | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._next_group: list[asyncio.Future[None]] = []
        self._current_group: list[asyncio.Future[None]] = []
        self._group_end = -1
        self._is_syncing = False

    def append(self, line: bytes) -> None:
        """Append a line, given without its newline. It is not on disk before `sync`.

        Raises:
            AuditLogError: This or an earlier write failed.
        """
        self.check_not_failed()
        self._pending.append(line)
        self.offset += len(line) + 1
        if self.offset - self._pending_start >= _FLUSH_BYTES:
            self._flush()
            self.check_not_failed()

    def check_not_failed(self) -> None:
        """Raise AuditLogError if an earlier write or sync failed."""
        if (failure := self._failure) is not None:
            raise AuditLogError(
                failure.message, consequence=failure.consequence, hint=failure.hint
            ) from failure.__cause__

    async def sync(self) -> None:
        """Wait until every line appended so far is on disk.

        The first caller starts a sync immediately. Callers that arrive during a sync share the
        next one, which starts after the callers of the current one had a chance to append. A
        caller joins the current sync if nothing was appended since it started.

        Raises:
            AuditLogError: The lines could not be written. A retry cannot succeed.
        """
        self.check_not_failed()
        if self._synced_to == self.offset:
            return
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        if self._group_end == self.offset:
            self._current_group.append(waiter)
        else:
            self._next_group.append(waiter)
            if not self._is_syncing:
                self._start_group(loop)
        await waiter
        self.check_not_failed()

    @property
    def has_failed(self) -> bool:
        """Whether a write or sync failed, or the log is closed."""
        return self._failure is not None

    async def close(self) -> None:
        """Sync all lines, unless an earlier write failed, and close the file.

        Raises:
            AuditLogError: The last lines could not be written. The file is closed.
        """
        try:
            if self._failure is None:
                await self.sync()
        finally:
            self._executor.shutdown()  # before the descriptor can be reused by another file
            self._failure = self._failure or AuditLogError(
                "The audit log is closed.", consequence=""
            )
            self._file.close()
            self._notify()

    def _start_group(self, loop: asyncio.AbstractEventLoop) -> None:
        self._flush()
        self._is_syncing = self._failure is None
        if not self._is_syncing:
            self._notify()
            return
        self._current_group, self._next_group = self._next_group, []
        self._group_end = self.offset
        self._executor.submit(self._fsync_in_thread, loop)

    def _finish_group(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake the group's callers and start the next group if there are waiting callers."""
        self._synced_to, self._group_end = self._group_end, -1
        self._notify()
        self._is_syncing = bool(self._next_group)
        if self._is_syncing:
            loop.call_soon(self._start_group, loop)  # after the woken callers have run

    def _notify(self) -> None:
        """Wake the current group's callers, or all callers after a failure."""
        waiters, self._current_group = self._current_group, []
        if self._failure is not None:
            waiters, self._next_group = waiters + self._next_group, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _fsync_in_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sync the file, then notify the event loop."""
        try:
            self._fail_on_error(self._file.fsync)
        finally:
            loop.call_soon_threadsafe(self._finish_group, loop)

    def _flush(self) -> None:
        """Write the pending lines to the file."""
        self._pending_start = self.offset
        lines, self._pending = self._pending, []
        if lines and self._failure is None:
            self._fail_on_error(partial(self._file.append, b"\n".join((*lines, b""))))

    def _fail_on_error(self, action: Callable[[], None]) -> None:
        """Run an action. After any exception, the log counts as failed."""
        try:
            action()
        except AuditLogError as failure:
            self._failure = failure
        except BaseException as error:
            self._failure = AuditLogError(
                f"The audit log cannot be written: {error!r}.",
                consequence="No further deletion is sent.",
            )
            if not isinstance(error, Exception):
                raise


class AuditLog:
    """The audit log of one run, open for appending.

    `for_run` returns the log of another run of the same command: same file, same chain.

    Attributes:
        path: The path as given to `open`.
        torn_copy: The file to which an earlier run's torn last line was moved; None without one.
        missing: A sentence about earlier lines that are not here; empty if the last one is.
    """

    def __init__(
        self,
        path: Path,
        run_id: str,
        chain: HashChain,
        file: LogFile,
        writer: GroupCommit,
        torn_copy: Path | None,
        ending: LogEnding,
    ) -> None:
        self.path = path
        self.torn_copy = torn_copy
        self.missing = ending.start.missing
        self._run_id = run_id
        self._chain = chain
        self._file = file
        self._writer = writer
        self._ending = ending

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        run_id: str,
        clock: Callable[[], datetime],
        copy: BinaryIO | None = None,
        log_path: LogPath | None = None,
        new_log: bool = False,
    ) -> "AuditLog":
        """Open the file for appending, or create it with mode 0600 and its directories with 0700.

        Args:
            path: The file's path, without placeholders.
            run_id: Written into every line.
            clock: Returns the timestamp of a line, timezone-aware.
            copy: A stream that receives each line as well, such as standard output. Its errors
                do not stop the log; see `copy_failure`.
            log_path: The log that the file belongs to; default: the file and its rotated files.
            new_log: Start a new log instead of continuing the file before this one.

        Raises:
            AuditLogError: The file could not be opened safely, or the head not be written.
            GuardRefused: The end of the log is missing, or was cut or changed.
            UsageError: `new_log`, but the file has lines.
        """
        absolute = path.absolute()
        log_path = log_path or LogPath(str(absolute))
        existed = os.path.lexists(absolute)
        opened = open_log_file(absolute)
        try:
            ending = LogEnding(
                log_path,
                absolute,
                opened,
                run_id=run_id,
                existed=existed,
                new_log=new_log,
            )
        except BaseException:
            os.close(opened.fd)
            if not existed:
                with suppress(OSError):
                    absolute.unlink()
            raise
        file = LogFile(absolute, opened, copy)
        writer = GroupCommit(file, opened.size)
        chain = HashChain(ending.start.last_hash, clock)
        return cls(path, run_id, chain, file, writer, opened.torn_copy, ending)

    def for_run(self, run_id: str) -> "AuditLog":
        """Return the log of another run, which writes to the same file; close only one of them."""
        return AuditLog(
            self.path,
            run_id,
            self._chain,
            self._file,
            self._writer,
            self.torn_copy,
            self._ending,
        )

    @property
    def fd(self) -> int:
        """The open file, from which the plan is read back; -1 once it is closed."""
        return self._file.fd

    @property
    def offset(self) -> int:
        """Byte offset after the last line, where the next line starts."""
        return self._writer.offset

    @property
    def last_hash(self) -> str:
        """Hash of the last line, 64 hex digits; `prev` of the next line."""
        return self._chain.last_hash

    @property
    def copy_failure(self) -> Exception | None:
        """Why the copy ended early; None if it is complete or was not requested."""
        return self._file.copy_failure

    def write(self, event: Event) -> None:
        """Add one line to the chain. It is on disk after the next `sync`.

        Raises:
            AuditLogError: The log has failed. The caller must not send any request.
        """
        self._writer.check_not_failed()
        if isinstance(event, RunStarted):
            event = self._ending.with_log(event)
        self._writer.append(self._chain.add(self._run_id, event))
        self._ending.add_line(self._chain.last_hash)

    async def sync(self) -> None:
        """Wait until every line written so far is on disk. Concurrent callers share one fsync.

        Raises:
            AuditLogError: The log has failed. The caller must not send any request.
        """
        await self._writer.sync()

    async def close(self) -> None:
        """Sync all lines, unless the log has failed, close the file and write the log's head.

        Raises:
            AuditLogError: The last lines could not be written. The file is closed.
        """
        had_failed = self._writer.has_failed
        await self._writer.close()
        if not had_failed:
            self._ending.close(self._chain.last_hash, self._writer.offset)
