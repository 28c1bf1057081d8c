"""The append-only file under the audit log: whole lines, on disk in groups, or not at all."""

import asyncio
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from invite_sweeper.audit.place import Place
from invite_sweeper.errors import AuditUnwritable

_DRAIN_BYTES = 1 << 18
"""So much is held in memory at most before it is handed to the system."""

_SENT = "Each deletion that was sent has its intent in it; none is sent after this."


@dataclass(frozen=True, slots=True)
class Failure:
    """Why nothing can be written any more."""

    what: str
    state: str = _SENT
    mend: str = ""
    cause: OSError | None = None


class Sink:
    """Takes lines in order and puts them on disk.

    Lines are appended by the event loop alone. They are written by a thread of the sink's
    own, together with all that came meanwhile, and synced once for all who wait. After the
    first failure nothing is written any more, and everybody who comes is told.

    Attributes:
        position: The byte offset after the last line appended, whether on disk yet or not.
        copy_failure: Why the copy ended early; None while it is complete.
    """

    def __init__(self, path: Path, place: Place, copy: BinaryIO | None = None) -> None:
        self.position = place.size
        self.copy_failure: Exception | None = None
        self._path = path
        self._fd = place.fd
        self._copy = copy
        self._written = place.size
        self._settled = place.size
        self._pending: deque[bytes] = deque()
        self._pending_from = place.size
        self._writing = Lock()
        self._failure: Failure | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._waiting: list[asyncio.Future[None]] = []
        self._riding: list[asyncio.Future[None]] = []
        self._riding_to = -1
        self._running = False

    def append(self, line: bytes) -> None:
        """Take one line, without its newline. It is not on disk yet.

        Raises:
            AuditUnwritable: The sink has failed before, or fails now.
        """
        self.check()
        self._pending.append(line)
        self.position += len(line) + 1
        if self.position - self._pending_from >= _DRAIN_BYTES:
            self._pending_from = self.position
            self._drain()
            self.check()

    def check(self) -> None:
        """Raise what has failed before, if anything.

        Raises:
            AuditUnwritable: The sink has failed.
        """
        if (failure := self._failure) is not None:
            raise AuditUnwritable(
                failure.what, state=failure.state, mend=failure.mend
            ) from failure.cause

    async def durable(self) -> None:
        """Wait until everything appended so far is on disk.

        Whoever comes while a group is being synced joins the next one, which begins when
        everybody who was woken has had a turn to append; or the running one, when nothing
        has been appended since it began.

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
            self._call(loop)
        await waiter
        self.check()

    async def close(self) -> None:
        """Put everything on disk, unless the sink has failed, and close the file.

        Raises:
            AuditUnwritable: The last lines cannot be put on disk. The file is closed.
        """
        try:
            if self._failure is None:
                await self.durable()
        finally:
            self._thread.shutdown()  # a group that runs on must not meet another file's number
            if self._fd >= 0:
                self._failure = self._failure or Failure("The audit log is closed.")
                os.close(self._fd)
                self._fd = -1

    def _call(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let a group begin soon, if none runs: after those who are about to append."""
        if not self._running:
            self._running = True
            loop.call_soon(self._begin, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._riding, self._waiting = self._waiting, []
        self._riding_to = self._pending_from = self.position
        loop.run_in_executor(self._thread, self._commit).add_done_callback(
            lambda _: self._end(loop)
        )

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake all who rode with the group; on a failure all who wait, too."""
        self._running = False
        self._settled, self._riding_to = self._riding_to, -1
        woken, self._riding = self._riding, []
        if self._failure is not None:
            woken, self._waiting = woken + self._waiting, []
        for waiter in woken:
            if not waiter.done():
                waiter.set_result(None)
        if self._waiting:
            self._call(loop)

    def _commit(self) -> None:
        """One group, in the thread: write what is pending and sync it.

        `fsync`, not `fdatasync`: a log grows with each group, so its size has to go to the
        file system's journal either way, and the two cost the same.
        """
        self._drain()
        if self._failure is None:
            try:
                os.fsync(self._fd)
            except OSError as error:
                self._fail(error)

    def _drain(self) -> None:
        """Hand what is pending to the system, whole lines in order, from either thread."""
        with self._writing:
            lines = []
            with suppress(IndexError):
                while True:
                    lines.append(self._pending.popleft())
            if self._failure is None:
                try:
                    if self._is_in_place() and lines:
                        self._write(b"\n".join((*lines, b"")))
                except OSError as error:
                    self._fail(error)

    def _is_in_place(self) -> bool:
        """Whether the name still leads to our file, and nobody else has written to it."""
        ours = os.fstat(self._fd)
        try:
            named = self._path.lstat()
        except FileNotFoundError:
            named = None
        if named is None or (named.st_dev, named.st_ino) != (ours.st_dev, ours.st_ino):
            self._failure = Failure(
                f"The audit log {self._path} was taken away while it was being written.",
                state="None is sent after this.",
                mend="Bring it back from where it was moved; its last lines are in it.",
            )
            return False
        if ours.st_size != self._written:
            self._failure = Failure(
                f"The audit log {self._path} was changed by somebody else while it was written.",
                state="No deletion is sent after this.",
                mend="See what `audit verify` says of it.",
            )
            return False
        return True

    def _write(self, data: bytes) -> None:
        """Append all of it; where that fails, cut the last line that is not whole off again.

        The whole lines stay: an outcome among them is known to nobody else.

        Raises:
            OSError: Not all of it was written. The file ends with a whole line.
        """
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, memoryview(data)[done:])
        except OSError:
            whole = data.rfind(b"\n", 0, done) + 1
            with suppress(OSError):
                os.ftruncate(self._fd, self._written + whole)
                os.fsync(self._fd)
            raise
        self._written += done
        self._repeat(data)

    def _repeat(self, data: bytes) -> None:
        """Copy to where a cluster collects it. The file is the log; a lost copy stops nothing."""
        if self._copy is not None:
            try:
                self._copy.write(data)
                self._copy.flush()
            except (OSError, ValueError) as error:
                self.copy_failure, self._copy = error, None

    def _fail(self, error: OSError) -> None:
        self._failure = Failure(
            f"The audit log {self._path} cannot be written: {error.strerror or error}.",
            mend="Make room or mend the disk, then run the same command again: it goes on.",
            cause=error,
        )
