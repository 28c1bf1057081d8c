"""AuditLog: append, group fsync, fail once."""

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

from invite_sweeper.audit.record import RESERVED_FIELDS, HashChain
from invite_sweeper.audit.storage import OpenedLog, open_log_file
from invite_sweeper.errors import AuditLogError

# The append-only file under the audit log: whole lines or nothing, and only in its place.


_WRITE_FAILED_CONSEQUENCE = (
    "Each deletion that was sent has its intent in the log; none is sent after this."
)
_REPLACED_CONSEQUENCE = (
    "Each deletion that was sent had its intent in that file; none is sent after this."
)


class LogFile:
    """Appends to an open file, in one thread; another may wait for the disk meanwhile.

    Args:
        path: Absolute.
        place: The open file; it is closed by `close`.
        copy: Where everything goes as well. Losing it stops nothing.

    Attributes:
        copy_failure: Why the copy ended early; None while it is complete.
    """

    def __init__(self, path: Path, opened: OpenedLog, copy: BinaryIO | None = None) -> None:
        self.copy_failure: Exception | None = None
        self._path = path
        self._fd = opened.fd
        self._size = opened.size
        self._copy_stream = copy
        self._uncopied: deque[bytes] = deque()

    def append(self, data: bytes) -> None:
        """Hand whole lines to the system. They are not on disk before `sync`.

        Where not all of them can be written, the last one that is not whole is cut off again.
        The whole ones stay: an outcome among them is known to nobody else.

        Raises:
            AuditUnwritable: Not all is written. The file ends with a whole line.
        """
        try:
            self._check_not_replaced()
            self._write(data)
        except OSError as error:
            raise self._as_log_error(error) from error
        if self._copy_stream is not None:
            self._uncopied.append(data)

    def fsync(self) -> None:
        """Copy what was appended, and put it on disk.

        `fsync`, not `fdatasync`: a log grows with each group, so its size has to go to the
        file system's journal either way, and the two cost the same.

        Raises:
            AuditUnwritable: It is not known what is on disk, and never will be: the system
                forgets what it could not write.
        """
        self._write_copy()
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise self._as_log_error(error) from error

    def close(self) -> None:
        """Close the file, and copy what is not copied yet; again is nothing."""
        self._write_copy()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _check_not_replaced(self) -> None:
        """Refuse to go on where the name leads elsewhere, or somebody else has written."""
        opened_status = os.fstat(self._fd)
        try:
            path_status = self._path.lstat()
        except FileNotFoundError:
            path_status = None
        if path_status is None or not os.path.samestat(path_status, opened_status):
            raise AuditLogError(
                f"The audit log {self._path} was taken away while it was being written.",
                consequence=_REPLACED_CONSEQUENCE,
                hint="Bring it back from where it was moved, then run the same command again.",
            )
        if opened_status.st_size != self._size:
            raise AuditLogError(
                f"Somebody else has changed the audit log {self._path} while it was being written.",
                consequence="No deletion is sent after this.",
                hint="See what `audit verify` says of it.",
            )

    def _write(self, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, memoryview(data)[written:])
        except OSError:
            whole_lines_size = data.rfind(b"\n", 0, written) + 1
            with suppress(OSError):
                os.ftruncate(self._fd, self._size + whole_lines_size)
                os.fsync(self._fd)
            raise
        self._size += written

    def _write_copy(self) -> None:
        """Copy to where a cluster collects it; the file is the log.

        That may be a pipe whose reader is slow, so it is for the thread that may wait.
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
            hint="Make room or mend the disk, then run the same command again: it goes on.",
        )


# Lines on disk in groups: one write and one sync for all who wait.


_FLUSH_BYTES = 1 << 18
"""So much is held in memory at most before it is handed to the system."""


class GroupCommit:
    """Takes lines in order and puts them on disk.

    Lines are appended by the event loop alone, which hands them to the system together; a
    thread of the writer's own waits for the disk, once for all who wait, and needs the loop
    for little else. After the first failure nothing is written any more, and everybody who
    comes is told.

    Attributes:
        position: The byte offset after the last line appended, whether on disk yet or not.
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
        """Take a line, without its newline. It is not on disk yet.

        Raises:
            AuditUnwritable: The writer has failed before, or fails now.
        """
        self.check_not_failed()
        self._pending.append(line)
        self.offset += len(line) + 1
        if self.offset - self._pending_start >= _FLUSH_BYTES:
            self._flush()
            self.check_not_failed()

    def check_not_failed(self) -> None:
        """Do nothing while all is well.

        Raises:
            AuditUnwritable: The writer has failed.
        """
        if (failure := self._failure) is not None:
            raise AuditLogError(
                failure.message, consequence=failure.consequence, hint=failure.hint
            ) from failure.__cause__

    async def sync(self) -> None:
        """Wait until everything appended so far is on disk.

        The first who comes begins a group at once, so that the disk works while others go on.
        Whoever comes while it is being synced joins the next one, which begins when everybody
        who was woken has had a turn to append; or the running one, when nothing has been
        appended since it began.

        Raises:
            AuditUnwritable: It is not, and never will be.
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

    async def close(self) -> None:
        """Put everything on disk, unless the writer has failed, and close the file.

        Raises:
            AuditUnwritable: The last lines cannot be put on disk. The file is closed.
        """
        try:
            if self._failure is None:
                await self.sync()
        finally:
            self._executor.shutdown()  # a group that runs on must not meet another file's number
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
        """Wake all who rode with the group, and let the next one begin if somebody waits."""
        self._synced_to, self._group_end = self._group_end, -1
        self._notify()
        self._is_syncing = bool(self._next_group)
        if self._is_syncing:
            loop.call_soon(self._start_group, loop)  # after those who were woken

    def _notify(self) -> None:
        """Wake those who rode; after a failure all, as nothing is written any more."""
        waiters, self._current_group = self._current_group, []
        if self._failure is not None:
            waiters, self._next_group = waiters + self._next_group, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _fsync_in_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the disk, in the thread, which tells the loop by itself."""
        try:
            self._fail_on_error(self._file.fsync)
        finally:
            loop.call_soon_threadsafe(self._finish_group, loop)

    def _flush(self) -> None:
        """Hand what is pending to the system, in order."""
        self._pending_start = self.offset
        lines, self._pending = self._pending, []
        if lines and self._failure is None:
            self._fail_on_error(partial(self._file.append, b"\n".join((*lines, b""))))

    def _fail_on_error(self, action: Callable[[], None]) -> None:
        """Take a step; whatever goes wrong in it, nothing is written after that."""
        try:
            action()
        except AuditLogError as failure:
            self._failure = failure
        except BaseException as error:
            self._failure = AuditLogError(
                f"The audit log cannot be written: {error!r}.",
                consequence="No deletion is sent after this.",
            )
            if not isinstance(error, Exception):
                raise


# The audit log of one run: a hash chain of lines, written to disk in groups.


class AuditLog:
    """The audit log of one run, open for appending.

    Attributes:
        path: As it was given.
        set_aside: Where a torn last line of an earlier run was moved; None where there was none.
    """

    def __init__(
        self,
        path: Path,
        chain: HashChain,
        file: LogFile,
        writer: GroupCommit,
        torn_copy: Path | None,
    ) -> None:
        self.path = path
        self.torn_copy = torn_copy
        self._chain = chain
        self._file = file
        self._writer = writer

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        run_id: str,
        clock: Callable[[], datetime],
        copy: BinaryIO | None = None,
    ) -> "AuditLog":
        """Open the file at its end, or create it, 0600; missing folders become 0700.

        Args:
            path: The file itself, without placeholders.
            run_id: Written into every line.
            clock: The instant of a line, aware.
            copy: Where each line goes as well, as standard output's buffer. Losing it stops
                nothing; `copy_failure` tells.

        Raises:
            AuditUnwritable: It cannot be had safely. Nothing was deleted.
        """
        absolute = path.absolute()
        opened = open_log_file(absolute)
        chain = HashChain(run_id, opened.last_hash, clock)
        file = LogFile(absolute, opened, copy)
        return cls(path, chain, file, GroupCommit(file, opened.size), opened.torn_copy)

    @property
    def offset(self) -> int:
        """The byte offset after the last line written; the next one begins there."""
        return self._writer.offset

    @property
    def last_hash(self) -> str:
        """The hash of the last line written, 64 hex; the next line's `prev`."""
        return self._chain.last_hash

    @property
    def copy_failure(self) -> Exception | None:
        """Why the copy ended early; None while it is complete, or where none was asked for."""
        return self._file.copy_failure

    def write(self, event: str, /, **fields: object) -> None:
        """Add one line. It is chained at once, and on disk after the next `durable`.

        Args:
            event: As in the contract's table.
            fields: The further fields, in their order.

        Raises:
            AuditUnwritable: The log has failed; nothing may be sent after that.
            ValueError: A field has a name that the log itself writes.
        """
        if not RESERVED_FIELDS.isdisjoint(fields):
            raise ValueError(
                f"The audit log writes these itself: {RESERVED_FIELDS & fields.keys()}"
            )
        self._writer.check_not_failed()
        self._writer.append(self._chain.add(event, fields))

    async def sync(self) -> None:
        """Return when every line written so far is on disk.

        All who wait meanwhile share one write and one sync.

        Raises:
            AuditUnwritable: They are not; nothing may be sent after that.
        """
        await self._writer.sync()

    async def close(self) -> None:
        """Put every line on disk, unless the log has failed, and close the file.

        Raises:
            AuditUnwritable: The last lines cannot be put on disk. The file is closed.
        """
        await self._writer.close()
