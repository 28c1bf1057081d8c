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

from invite_sweeper.audit.record import RESERVED, HashChain
from invite_sweeper.audit.storage import Place, open_place
from invite_sweeper.errors import AuditUnwritable

# The append-only file under the audit log: whole lines or nothing, and only in its place.


_SENT = "Each deletion that was sent has its intent in the log; none is sent after this."
_TAKEN = "Each deletion that was sent had its intent in that file; none is sent after this."


class Appender:
    """Appends to an open file, in one thread; another may wait for the disk meanwhile.

    Args:
        path: Absolute.
        place: The open file; it is closed by `close`.
        copy: Where everything goes as well. Losing it stops nothing.

    Attributes:
        copy_failure: Why the copy ended early; None while it is complete.
    """

    def __init__(self, path: Path, place: Place, copy: BinaryIO | None = None) -> None:
        self.copy_failure: Exception | None = None
        self._path = path
        self._fd = place.fd
        self._size = place.size
        self._copy = copy
        self._uncopied: deque[bytes] = deque()

    def append(self, data: bytes) -> None:
        """Hand whole lines to the system. They are not on disk before `sync`.

        Where not all of them can be written, the last one that is not whole is cut off again.
        The whole ones stay: an outcome among them is known to nobody else.

        Raises:
            AuditUnwritable: Not all is written. The file ends with a whole line.
        """
        try:
            self._refuse_moved()
            self._write(data)
        except OSError as error:
            raise self._unwritable(error) from error
        if self._copy is not None:
            self._uncopied.append(data)

    def sync(self) -> None:
        """Copy what was appended, and put it on disk.

        `fsync`, not `fdatasync`: a log grows with each group, so its size has to go to the
        file system's journal either way, and the two cost the same.

        Raises:
            AuditUnwritable: It is not known what is on disk, and never will be: the system
                forgets what it could not write.
        """
        self._repeat()
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Close the file, and copy what is not copied yet; again is nothing."""
        self._repeat()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _refuse_moved(self) -> None:
        """Refuse to go on where the name leads elsewhere, or somebody else has written."""
        ours = os.fstat(self._fd)
        try:
            named = self._path.lstat()
        except FileNotFoundError:
            named = None
        if named is None or not os.path.samestat(named, ours):
            raise AuditUnwritable(
                f"The audit log {self._path} was taken away while it was being written.",
                consequence=_TAKEN,
                hint="Bring it back from where it was moved, then run the same command again.",
            )
        if ours.st_size != self._size:
            raise AuditUnwritable(
                f"Somebody else has changed the audit log {self._path} while it was being written.",
                consequence="No deletion is sent after this.",
                hint="See what `audit verify` says of it.",
            )

    def _write(self, data: bytes) -> None:
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, memoryview(data)[done:])
        except OSError:
            whole = data.rfind(b"\n", 0, done) + 1
            with suppress(OSError):
                os.ftruncate(self._fd, self._size + whole)
                os.fsync(self._fd)
            raise
        self._size += done

    def _repeat(self) -> None:
        """Copy to where a cluster collects it; the file is the log.

        That may be a pipe whose reader is slow, so it is for the thread that may wait.
        """
        while self._uncopied and self._copy is not None:
            try:
                self._copy.write(self._uncopied.popleft())
                self._copy.flush()
            except (OSError, ValueError) as error:
                self.copy_failure, self._copy = error, None
                self._uncopied.clear()

    def _unwritable(self, error: OSError) -> AuditUnwritable:
        return AuditUnwritable(
            f"The audit log {self._path} cannot be written: {error.strerror or error}.",
            consequence=_SENT,
            hint="Make room or mend the disk, then run the same command again: it goes on.",
        )


# Lines on disk in groups: one write and one sync for all who wait.


_DRAIN_BYTES = 1 << 18
"""So much is held in memory at most before it is handed to the system."""


class Writer:
    """Takes lines in order and puts them on disk.

    Lines are appended by the event loop alone, which hands them to the system together; a
    thread of the writer's own waits for the disk, once for all who wait, and needs the loop
    for little else. After the first failure nothing is written any more, and everybody who
    comes is told.

    Attributes:
        position: The byte offset after the last line appended, whether on disk yet or not.
    """

    def __init__(self, file: Appender, position: int) -> None:
        self.position = position
        self._file = file
        self._settled = position
        self._pending: list[bytes] = []
        self._pending_from = position
        self._failure: AuditUnwritable | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._waiting: list[asyncio.Future[None]] = []
        self._riding: list[asyncio.Future[None]] = []
        self._riding_to = -1
        self._running = False

    def append(self, line: bytes) -> None:
        """Take a line, without its newline. It is not on disk yet.

        Raises:
            AuditUnwritable: The writer has failed before, or fails now.
        """
        self.check()
        self._pending.append(line)
        self.position += len(line) + 1
        if self.position - self._pending_from >= _DRAIN_BYTES:
            self._drain()
            self.check()

    def check(self) -> None:
        """Do nothing while all is well.

        Raises:
            AuditUnwritable: The writer has failed.
        """
        if (failure := self._failure) is not None:
            raise AuditUnwritable(
                failure.message, consequence=failure.consequence, hint=failure.hint
            ) from failure.__cause__

    async def durable(self) -> None:
        """Wait until everything appended so far is on disk.

        The first who comes begins a group at once, so that the disk works while others go on.
        Whoever comes while it is being synced joins the next one, which begins when everybody
        who was woken has had a turn to append; or the running one, when nothing has been
        appended since it began.

        Raises:
            AuditUnwritable: It is not, and never will be.
        """
        self.check()
        if self._settled == self.position:
            return
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        if self._riding_to == self.position:
            self._riding.append(waiter)
        else:
            self._waiting.append(waiter)
            if not self._running:
                self._begin(loop)
        await waiter
        self.check()

    async def close(self) -> None:
        """Put everything on disk, unless the writer has failed, and close the file.

        Raises:
            AuditUnwritable: The last lines cannot be put on disk. The file is closed.
        """
        try:
            if self._failure is None:
                await self.durable()
        finally:
            self._thread.shutdown()  # a group that runs on must not meet another file's number
            self._failure = self._failure or AuditUnwritable(
                "The audit log is closed.", consequence=""
            )
            self._file.close()
            self._wake()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._drain()
        self._running = self._failure is None
        if not self._running:
            self._wake()
            return
        self._riding, self._waiting = self._waiting, []
        self._riding_to = self.position
        self._thread.submit(self._sync, loop)

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake all who rode with the group, and let the next one begin if somebody waits."""
        self._settled, self._riding_to = self._riding_to, -1
        self._wake()
        self._running = bool(self._waiting)
        if self._running:
            loop.call_soon(self._begin, loop)  # after those who were woken

    def _wake(self) -> None:
        """Wake those who rode; after a failure all, as nothing is written any more."""
        woken, self._riding = self._riding, []
        if self._failure is not None:
            woken, self._waiting = woken + self._waiting, []
        for waiter in woken:
            if not waiter.done():
                waiter.set_result(None)

    def _sync(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the disk, in the thread, which tells the loop by itself."""
        try:
            self._guarded(self._file.sync)
        finally:
            loop.call_soon_threadsafe(self._end, loop)

    def _drain(self) -> None:
        """Hand what is pending to the system, in order."""
        self._pending_from = self.position
        lines, self._pending = self._pending, []
        if lines and self._failure is None:
            self._guarded(partial(self._file.append, b"\n".join((*lines, b""))))

    def _guarded(self, step: Callable[[], None]) -> None:
        """Take a step; whatever goes wrong in it, nothing is written after that."""
        try:
            step()
        except AuditUnwritable as failure:
            self._failure = failure
        except BaseException as error:
            self._failure = AuditUnwritable(
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
        self, path: Path, chain: HashChain, file: Appender, writer: Writer, set_aside: Path | None
    ) -> None:
        self.path = path
        self.set_aside = set_aside
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
        place = open_place(absolute)
        chain = HashChain(run_id, place.last_hash, clock)
        file = Appender(absolute, place, copy)
        return cls(path, chain, file, Writer(file, place.size), place.set_aside)

    @property
    def position(self) -> int:
        """The byte offset after the last line written; the next one begins there."""
        return self._writer.position

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
        if not RESERVED.isdisjoint(fields):
            raise ValueError(f"The audit log writes these itself: {RESERVED & fields.keys()}")
        self._writer.check()
        self._writer.append(self._chain.add(event, fields))

    async def durable(self) -> None:
        """Return when every line written so far is on disk.

        All who wait meanwhile share one write and one sync.

        Raises:
            AuditUnwritable: They are not; nothing may be sent after that.
        """
        await self._writer.durable()

    async def close(self) -> None:
        """Put every line on disk, unless the log has failed, and close the file.

        Raises:
            AuditUnwritable: The last lines cannot be put on disk. The file is closed.
        """
        await self._writer.close()
