"""Append to the file of a run; callers that wait at the same time share one fsync.

What a caller wrote is on disk once `sync` returns: then the request may be sent. After the first
failure nothing more is written, and every call raises the error.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Final

from invite_sweeper.audit.access import names_open_file
from invite_sweeper.audit.chain import HashChain
from invite_sweeper.audit.directory import AuditDirectory
from invite_sweeper.audit.events import Event, Intent, Planned, RunFinished
from invite_sweeper.audit.file_chain import CHECK_LOG, FileChain, verifying_command
from invite_sweeper.audit.reader import Head
from invite_sweeper.errors import NOTHING_DELETED, AuditLogError, DamagedLog

_NOTHING_MORE: Final = (
    "Every deletion that was sent has its intent in the log. No further deletion is sent."
)
"""Once an intent was written; before it nothing was deleted."""
_FLUSH_BYTES: Final = 1 << 18
"""Pending bytes after which lines are written to the file without waiting for a sync."""


class AuditLog:
    """The file of one run, created and open for appending. The directory's lock must be held.

    Args:
        copy: Called with each line as well, such as to print it. Its errors do not stop the log.

    Attributes:
        warnings: What is not known of earlier runs.
        copy_failure: Why the copy ended early; None if it is complete or was not requested.
        head_failure: Why `HEAD` does not record the end of the run; None if it does, or before the
            end. The next run then goes on after the last line of the file.

    Raises:
        AuditLogError: The file cannot be created safely.
        DamagedLog: The end of the log is not as `HEAD` describes it.
    """

    def __init__(
        self,
        directory: AuditDirectory,
        run_id: str,
        *,
        clock: Callable[[], datetime],
        copy: Callable[[bytes], object] | None = None,
    ) -> None:
        self.warnings = directory.warnings()
        created = directory.create_file(run_id)
        self.file = created.file
        self.copy_failure: Exception | None = None
        self.head_failure: OSError | None = None
        self._directory = directory
        self._fd = created.descriptor
        self._chain = HashChain(run_id, created.prev, clock)
        self._pending: list[bytes] = []
        # Bytes of the file: with the pending ones, without them, and on disk.
        self._size = 0
        self._written = 0
        self._synced = 0
        self._written_hash = created.prev  # of the last line that was written to the file
        self._failure: AuditLogError | None = None
        self._consequence = NOTHING_DELETED  # of a failure
        self._copy = copy
        self._uncopied: deque[bytes] = deque()
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")

    @property
    def last_hash(self) -> str:
        """Hash of the last line, 64 hex digits."""
        return self._chain.last_hash

    def write(self, event: Event) -> None:
        """Append one line. It is on disk after the next `sync`, and raises as it does."""
        if self._failure is not None:
            raise self._failure
        line = self._chain.add(event) + b"\n"
        if isinstance(event, Intent):
            self._consequence = _NOTHING_MORE
        self._pending.append(line)
        self._size += len(line)
        if self._size - self._written >= _FLUSH_BYTES:
            self._flush()

    async def sync(self) -> None:
        """Wait until every line written so far is on disk. Those who wait share one fsync.

        Raises:
            AuditLogError: The log has failed. The caller must not send any request.
        """
        wanted = self._size
        async with self._lock:  # after the wait, another caller's fsync may have written the lines
            if self._failure is None and self._synced >= wanted:
                return
            self._flush()
            written = self._written  # others may write more while the thread syncs
            await asyncio.get_running_loop().run_in_executor(self._thread, self._fsync)
            with self._failing_on_error():
                self._check_own()
            self._synced = written

    async def finish(self, event: RunFinished) -> None:
        """Write the last line, close the file and record the end of the run in `HEAD`.

        Raises:
            AuditLogError: The line could not be written, or the lock was lost: `HEAD` is as it was.
            The file is closed.
        """
        try:
            self.write(event)
            await self.sync()
        finally:
            await self.close()
        self._directory.lock.check_held()  # else HEAD may be that of another run
        try:
            self._record_end()
        except OSError as error:
            self.head_failure = error  # the run did end: its last line is on disk

    async def close(self) -> None:
        """Sync all lines, unless the log has failed, and close the file. Closing twice is allowed.

        Raises:
            AuditLogError: The last lines could not be written. The file is closed.
        """
        if self._fd < 0:
            return
        try:
            if self._failure is None:
                await self.sync()
        finally:
            self._thread.shutdown()  # before the descriptor can be reused by another file
            self._failure = self._failure or AuditLogError("The audit log is closed.")
            self._write_copy()
            fd = self._fd
            self._fd = -1
            os.close(fd)

    def _record_end(self) -> None:
        """Record in `HEAD` that the run ended with the last line that it wrote."""
        head = Head(self.file.number, self.file.name, self._written_hash, ended=True)
        self._directory.write_head(head)

    def _flush(self) -> None:
        """Write the pending lines to the file. They are not on disk before `_fsync`.

        After a partial write, the incomplete line is removed. Whole lines stay: an outcome among
        them is recorded nowhere else.
        """
        with self._failing_on_error():
            self._check_own()
            data = b"".join(self._pending)
            self._pending.clear()
            written = 0
            try:
                while written < len(data):
                    written += os.write(self._fd, memoryview(data)[written:])
            except OSError:
                with suppress(OSError):
                    whole_lines = data.rfind(b"\n", 0, written) + 1
                    os.ftruncate(self._fd, self._written + whole_lines)
                    os.fsync(self._fd)
                raise
            self._written += written
            self._written_hash = self._chain.last_hash  # a flush writes all lines
            if self._copy is not None:
                self._uncopied.append(data)

    def _check_own(self) -> None:
        """Check that nothing else changed the file of this run, or took its lock.

        It is checked before lines are appended, so that none follows what another program wrote,
        and after each sync, so that no request is sent whose intent is gone. `HEAD` then has the
        last line that was written: without it, what is left of the file would be that of a killed
        run, and the next run would not count the deletions that are gone from it.

        Raises:
            AuditLogError: The file was moved, deleted, shortened or lengthened, or the lock was
                lost.
        """
        self._directory.lock.check_held()
        is_there = names_open_file(self.file.path, self._fd)
        size = os.fstat(self._fd).st_size
        if is_there and size == self._written:
            return
        with suppress(OSError):
            self._record_end()
        raise self._changed_by_others(size) if is_there else self._moved_by_others()

    def _moved_by_others(self) -> AuditLogError:
        return AuditLogError(
            f"The audit log {self.file.path} was moved or deleted while it was being written.",
            consequence=self._consequence.replace("the log", "the original file"),
            hint="Restore the original file, then run the same command again.",
        )

    def _changed_by_others(self, size: int) -> AuditLogError:
        done = "shortened" if size < self._written else "lengthened"
        return AuditLogError(
            f"The audit log {self.file.path} was {done} by another program while it was being "
            f"written: it has {size:,} bytes, the run wrote {self._written:,}.",
            consequence="No further deletion is sent. The file does not have every line of "
            "this run; its totals are in this result.",
            hint="Exclude the audit directory from the program that changed it, such as "
            f"logrotate. {CHECK_LOG}",
            command=verifying_command(self.file.path),
        )

    def _fsync(self) -> None:
        """Write the copy, then sync the file to disk; runs in the thread of the log.

        A failed sync is not repeated: the kernel discards the pages that it could not write. Uses
        `fsync`, not `fdatasync`: the file grows, so both write its size and cost the same.
        """
        self._write_copy()  # here, because the copy may be a pipe with a slow reader
        with self._failing_on_error():
            os.fsync(self._fd)

    def _write_copy(self) -> None:
        """Copy the lines that were written; after its first error, no more."""
        while self._uncopied and self._copy is not None:
            try:
                self._copy(self._uncopied.popleft())
            except (OSError, ValueError) as error:
                self.copy_failure = error
                self._copy = None
                self._uncopied.clear()

    @contextmanager
    def _failing_on_error(self) -> Iterator[None]:
        """Count the log as failed after any exception of the block, even if no caller waits.

        No block is run after the first failure: a full disk leaves a file of another length than
        was written, which is not what another program did.

        Raises:
            AuditLogError: The log has failed, in this block or before.
        """
        if self._failure is not None:
            raise self._failure
        try:
            yield
        except AuditLogError as failure:
            self._failure = failure
            raise
        except BaseException as error:
            reason = error.strerror if isinstance(error, OSError) else None
            self._failure = AuditLogError(
                f"The audit log {self.file.path} cannot be written: {reason or repr(error)}.",
                consequence=self._consequence,
                hint="Free disk space or repair the disk, then run the same command again: it "
                "processes the rest.",
            )
            if not isinstance(error, Exception):
                raise
            raise self._failure from error


async def check_written_plan(log: AuditLog, written: Iterable[Planned]) -> None:
    """Sync the log, read the plan back, and check that the file has these lines in this order.

    The hash of the last line is known, and each line contains the hash of the line before. One
    line at a time is decoded, so memory holds the plan once.

    Raises:
        AuditLogError: The lines cannot be written, or the file was changed since.
    """
    last_hash = log.last_hash
    await log.sync()
    damage: DamagedLog | None = None
    try:
        if _has_plan(FileChain(log.file), written, last_hash):
            return
    except DamagedLog as error:
        damage = error
    raise AuditLogError(
        "The plan in the audit log was changed after this run wrote it.",
        hint=CHECK_LOG,
        command=verifying_command(log.file.path),
    ) from damage


def _has_plan(chain: FileChain, written: Iterable[Planned], last_hash: str) -> bool:
    """Return whether the lines up to one with a hash have these `planned` lines and no other."""
    left = iter(written)
    for line in chain:
        if line.header.event == Planned.event and chain.decode(line) != next(left, None):
            return False
        if line.hash == last_hash:
            return next(left, None) is None
    return False
