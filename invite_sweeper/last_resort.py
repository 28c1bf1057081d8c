"""The end of a process that does not end itself, and the signals that end a program.

Imports no event loop: `--version` handles signals, too.
"""

import json
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Final, Self

from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import Interrupted

_LOOK_S: Final = 0.2
"""The watching thread looks for a new time limit so often: an event would need a lock, which a
signal handler must not take."""
_MARGIN_S: Final = 5.0
"""Between the end of the grace period and the end of the process."""
STDOUT_FD: Final = 1
STDERR_FD: Final = 2
_OVERDUE: Final = Interrupted(
    "The run did not stop within its deadline and grace, so the process ends.",
    consequence="What was sent to Atlas has its intent in the audit log.",
    hint="Run the command again: it resolves what this run left open.",
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
        as_json: Without a result, stdout gets the error as a JSON object.
        end_process: Replaces `os._exit` in tests.
    """

    def __init__(
        self,
        *,
        started_s: float,
        deadline_s: float,
        grace_s: float,
        as_json: bool = False,
        end_process: Callable[[int], object] = os._exit,
    ) -> None:
        self._grace_s = grace_s
        self._limit_s = started_s + deadline_s + grace_s + _MARGIN_S
        self._as_json = as_json
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

    def keep_result(self) -> None:
        """Let later signals change no exit code, once the result is known.

        What is left is to end the process: a signal now limits the time for that.
        """
        if not self._result_known:
            restore_handlers()
            return

        def handle(_number: int, _frame: FrameType | None) -> None:
            ending = LastResort(started_s=time.monotonic(), deadline_s=0.0, grace_s=0.0)
            ending.result_known(self._exit_code)
            ending.start()

        install_handlers(handle)

    def _wait(self) -> None:
        while not self._ended:
            left_s = self._limit_s - time.monotonic()
            if left_s <= 0:
                if not self._result_known:
                    self._report_overdue()
                self._end_process(self._exit_code)
                return
            time.sleep(min(left_s, _LOOK_S))

    def _report_overdue(self) -> None:
        parts = _OVERDUE.message, _OVERDUE.consequence, _OVERDUE.hint
        write_if_ready(STDERR_FD, "Error: {}\n  {}\n  {}\n".format(*parts).encode())
        if self._as_json:
            result = {"exit_code": self._exit_code, "error": _OVERDUE.to_json()}
            write_if_ready(STDOUT_FD, json.dumps(result).encode() + b"\n")


def write_if_ready(fd: int, data: bytes) -> None:
    """Write a short text unless that would block: at most 4 KiB fit into a pipe that is ready."""
    with suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        if any(event & select.POLLOUT for _, event in poll.poll(0)):
            os.write(fd, data)


_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def install_handlers(handle: Callable[[int, FrameType | None], object]) -> None:
    """Handle the signals that end a program: SIGINT, SIGTERM and SIGHUP."""
    for number in _STOP_SIGNALS:
        if not _is_ignored(number):
            signal.signal(number, handle)


def restore_handlers() -> None:
    """Undo `install_handlers`."""
    for number in _STOP_SIGNALS:
        if not _is_ignored(number):
            default = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if default else signal.SIG_DFL)


def _is_ignored(number: signal.Signals) -> bool:
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN
