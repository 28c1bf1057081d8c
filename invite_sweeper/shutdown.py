"""Early stop of a run, by a signal or the deadline, and the end of a run that does not stop."""

import asyncio
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, Self, TypeVar

from invite_sweeper.errors import ExitCode, Interrupted
from invite_sweeper.models import Logger

T = TypeVar("T")
NOTHING_DELETED: Final = "Nothing was deleted."


class StopRequest:
    """A request to stop, shared by all tasks of a run.

    `request` stops new work; `request_now` also cancels work in flight.

    Attributes:
        reason: Why the run must stop; None while it need not.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.requested = asyncio.Event()
        self.forced = asyncio.Event()

    def request(self, reason: str) -> None:
        """Request a stop; later calls have no effect."""
        if self.reason is None:
            self.reason = reason
            self.requested.set()

    def request_now(self, reason: str) -> None:
        """Request a stop without waiting for work in flight."""
        self.request(reason)
        self.forced.set()

    def as_error(self, *, consequence: str) -> Interrupted:
        """Return the error for a run that ended early."""
        return Interrupted(
            f"Stopped early: {self.reason}.",
            consequence=consequence,
            hint="Run the command again to process the rest.",
        )

    async def run_unless_stopped(
        self, step: Coroutine[object, object, T], *, consequence: str = NOTHING_DELETED
    ) -> T:
        """Run a step that changes nothing in Atlas; a stop cancels it immediately.

        Args:
            consequence: The consequence that the error reports.

        Raises:
            Interrupted: The step was cancelled.
        """
        task = asyncio.ensure_future(step)
        stop_task = asyncio.ensure_future(self.requested.wait())
        try:
            await asyncio.wait((task, stop_task), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise self.as_error(consequence=consequence)
        finally:
            stop_task.cancel()
            task.cancel()
            await asyncio.gather(task, stop_task, return_exceptions=True)


_LOOK_S: Final = 0.2
"""The watching thread looks for a new time limit so often: an event would need a lock, which a
signal handler must not take."""
_MARGIN_S: Final = 5.0
"""Between the end of the grace period and the end of the process."""
STDERR_FD: Final = 2
_OVERDUE: Final = (
    b"Error: The run did not stop within its deadline and grace, so the process ends.\n"
    b"  What was sent to Atlas has its intent in the audit log.\n"
    b"  Run the command again: it resolves what this run left open.\n"
)


class LastResort:
    """Ends the process when a run does not end itself, whatever blocks it.

    A thread waits for the time limit, because the main thread may be blocked in a system call:
    writing to a pipe that is not read, or waiting for a disk. The operating system then releases
    the lock, and the audit log is what the next run relies on.

    Args:
        started_s: The start of the run on the monotonic clock.
        deadline_s: The run's deadline, from its start.
        grace_s: How long requests in flight may continue after a stop.
        end_process: Replaces `os._exit` in tests.
    """

    def __init__(
        self,
        *,
        started_s: float,
        deadline_s: float,
        grace_s: float,
        end_process: Callable[[int], object] = os._exit,
    ) -> None:
        self._grace_s = grace_s
        self._limit_s = started_s + deadline_s + grace_s + _MARGIN_S
        self._end_process = end_process
        self._exit_code = int(ExitCode.INTERRUPTED)
        self._result_known = False
        self._ended = False
        self._thread = threading.Thread(target=self._wait, name="last-resort", daemon=True)

    def __enter__(self) -> Self:
        """Start to watch the time limit."""
        self.start()
        return self

    def start(self) -> None:
        """Watch the time limit until the process ends."""
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        """Stop to watch: the run has ended."""
        self._ended = True

    @property
    def left_s(self) -> float:
        """Seconds that the run may use before its time limit, with a second to end itself."""
        return max(0.0, self._limit_s - 1.0 - time.monotonic())

    def stop_requested(self) -> None:
        """Bring the time limit forward; safe in a signal handler."""
        self._limit_s = min(self._limit_s, time.monotonic() + self._grace_s + _MARGIN_S)

    def result_known(self, exit_code: int) -> None:
        """Set the exit code for the rest of the run: output, metrics and notifications."""
        self._exit_code, self._result_known = exit_code, True

    def _wait(self) -> None:
        while not self._ended:
            left_s = self._limit_s - time.monotonic()
            if left_s <= 0:
                if not self._result_known:
                    write_if_ready(STDERR_FD, _OVERDUE)
                self._end_process(self._exit_code)
                return
            time.sleep(min(left_s, _LOOK_S))


def write_if_ready(fd: int, data: bytes) -> None:
    """Write a short text unless that would block: at most 4 KiB fit into a pipe that is ready."""
    with suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        if any(event & select.POLLOUT for _, event in poll.poll(0)):
            os.write(fd, data)


_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def handle_signals(stop: StopRequest, log: Logger, last_resort: LastResort) -> Iterator[None]:
    """Request a stop on SIGINT, SIGTERM and SIGHUP while the block runs; at once on the second.

    A SIGHUP that the process ignores, as under nohup, stays ignored. The handlers are those of
    Python, not of the event loop: they also run while the main thread waits in a system call.
    """
    loop = asyncio.get_running_loop()

    def request_stop(name: str) -> None:
        if stop.reason is None:
            log.warning("stopping: no new requests; a second signal stops at once", signal=name)
            stop.request(f"{name} received")
        else:
            stop.request_now(f"{name} received again")

    def handle(number: int, _frame: FrameType | None) -> None:
        last_resort.stop_requested()
        loop.call_soon_threadsafe(request_stop, signal.Signals(number).name)

    install_handlers(handle)
    try:
        yield
    finally:
        for number in _STOP_SIGNALS:
            if not _is_ignored(number):
                default = number == signal.SIGINT
                signal.signal(number, signal.default_int_handler if default else signal.SIG_DFL)


def install_handlers(handle: Callable[[int, FrameType | None], object]) -> None:
    """Handle the signals that end a program: SIGINT, SIGTERM and SIGHUP."""
    for number in _STOP_SIGNALS:
        if not _is_ignored(number):
            signal.signal(number, handle)


def _is_ignored(number: signal.Signals) -> bool:
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN
