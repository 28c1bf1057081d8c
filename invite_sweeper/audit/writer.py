"""Lines on disk in groups: one write and one sync for all who wait."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from invite_sweeper.audit.appender import Appender
from invite_sweeper.errors import AuditUnwritable

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
