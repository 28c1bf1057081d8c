"""The end of a process that does not end itself, and the signals that end a program.

Imports no event loop: `--version` handles signals, too.
"""

import json
import os
import select
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Final, Self

from invite_sweeper import clock
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import Interrupted

_MARGIN_S: Final = 5.0
"""Between the end of the grace period, or a signal without one, and the end of the process."""
STDOUT_FD: Final = 1
STDERR_FD: Final = 2
_OVERDUE: Final = Interrupted(
    "The run did not stop within its deadline and grace, so the process ends.",
    consequence="What was sent to Atlas has its intent in the audit log.",
    hint="Run the command again: it recovers what this run left open.",
)


class LastResort:
    """Ends the process when a run does not end itself, as where a call blocks it.

    A thread waits for the time limit, because the main thread may be blocked in a system call:
    writing to a pipe that is not read, or waiting for a disk. The operating system then releases
    the lock, and the audit log is what the next run relies on.

    Args:
        started_s: The start of the run on the run's clock; the deadline counts from it.
        grace_s: How long requests in flight may continue after a stop.
        as_json: Without a result, stdout gets the error as a JSON object.

    Attributes:
        exit_code: The exit code of the result, once it is known: output and notifications may
            follow.
    """

    def __init__(
        self, *, started_s: float, deadline_s: float, grace_s: float, as_json: bool = False
    ) -> None:
        self.exit_code: int | None = None
        self._grace_s = grace_s
        self._limit_s = started_s + deadline_s + grace_s + _MARGIN_S
        self._as_json = as_json
        self._timers: list[threading.Timer] = []

    def __enter__(self) -> Self:
        """Start to watch the time limit."""
        self._watch()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop to watch: the run has ended."""
        for timer in self._timers:
            timer.cancel()

    @property
    def left_s(self) -> float:
        """Seconds that the run may use before its time limit, with a second to end itself."""
        return max(0.0, self._limit_s - 1.0 - clock.seconds())

    def limit_grace(self) -> None:
        """Limit the time to the grace from now on, after a stop; safe in a signal handler."""
        limit_s = clock.seconds() + self._grace_s + _MARGIN_S
        if limit_s < self._limit_s:
            self._limit_s = limit_s
            self._watch()

    def keep_exit_code(self) -> None:
        """Let later signals change no exit code, once the result is known.

        What is left is to end the process: a signal now limits the time for that. Without a
        result a signal ends the process as it does by default.
        """
        code = self.exit_code
        if code is None:
            install_handlers(signal.SIG_DFL)
        else:
            install_handlers(lambda *_: end_soon(code))

    def _watch(self) -> None:
        """Start a timer for the time limit; one that was started for a later limit does no harm."""
        left_s = max(0.0, self._limit_s - clock.seconds())
        self._timers.append(_start_timer(left_s, self._end))

    def _end(self) -> None:
        """End the process: with the exit code of the result, or the error that the run is overdue.

        Nothing here may block, or wait for a lock: the main thread may hold it.
        """
        code = self.exit_code
        if code is None:
            code = ExitCode.INTERRUPTED
            error = _OVERDUE
            lines = f"Error: {error.message}\n  {error.consequence}\n  {error.hint}\n"
            write_if_ready(STDERR_FD, lines.encode())
            if self._as_json:
                write_if_ready(STDOUT_FD, json.dumps(error.result()).encode() + b"\n")
        os._exit(code)


def end_soon(exit_code: int) -> None:
    """End the process in 5 seconds if it is not over by then; safe in a signal handler."""
    _start_timer(_MARGIN_S, lambda: os._exit(exit_code))


def _start_timer(seconds: float, end: Callable[[], object]) -> threading.Timer:
    """Call `end` later, unless the process is over by then.

    A signal handler may start it: the one lock that it shares with the thread it interrupts is
    re-entrant.
    """
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    return timer


def write_if_ready(fd: int, data: bytes) -> None:
    """Write a short text unless that would block: at most 4 KiB fit into a pipe that is ready."""
    with suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        for _, event in poll.poll(0):  # one descriptor, so one event or none
            if event & select.POLLOUT:
                os.write(fd, data)


def install_handlers(handle: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    """Handle the signals that end a program; a SIGHUP that is ignored, as under nohup, stays so."""
    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handle)
