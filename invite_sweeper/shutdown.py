"""Early stop of a run, by a signal or the deadline.

After a stop nothing new is sent. What is in flight has a grace to finish, which a second signal
ends. A process that hangs is ended by what started it: `timeout` of cron, systemd, Kubernetes.
"""

import asyncio
import math
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import FrameType
from typing import Final, TypeVar

from structlog.typing import FilteringBoundLogger

from invite_sweeper import clock
from invite_sweeper.endings import Reason
from invite_sweeper.errors import NOTHING_DELETED, Interrupted
from invite_sweeper.signals import install_handlers

_T = TypeVar("_T")
_DEADLINE_CHECK_S: Final = 10.0
"""The longest wait for the deadline: a timer does not count time in which the machine sleeps."""


class StopRequest:
    """A request to stop, shared by all tasks of a run.

    Attributes:
        forced: Set by a second stop, which also cancels work in flight.
    """

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.forced = asyncio.Event()
        self._reason: str | None = None
        self._deadline_s = math.inf
        self._deadline_reason = ""

    @property
    def reason(self) -> str | None:
        """Why the run must stop; None while it need not.

        The deadline is compared each time: the timer of a machine that slept is late.
        """
        if clock.seconds() >= self._deadline_s:
            self.request(self._deadline_reason)
        return self._reason

    @contextmanager
    def at_deadline(self, deadline_s: float, reason: str) -> Iterator[None]:
        """Request a stop for this reason when the deadline passes during the block."""
        self._deadline_s = deadline_s
        self._deadline_reason = reason
        watching = asyncio.create_task(self._watch_deadline())
        try:
            yield
        finally:
            self._deadline_s = math.inf
            watching.cancel()

    async def _watch_deadline(self) -> None:
        """Request the stop when the deadline passes: `reason` compares it."""
        while self.reason is None:
            left_s = self._deadline_s - clock.seconds()
            await asyncio.sleep(min(max(left_s, 0.0), _DEADLINE_CHECK_S))

    def request(self, reason: str) -> None:
        """Request that no new work starts; later calls have no effect."""
        if self._reason is None:
            self._reason = reason
            self.requested.set()

    async def wait_for_grace(self, grace: timedelta) -> None:
        """Wait for a stop, and then for the grace of what is in flight; a second stop ends it."""
        await self.requested.wait()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.forced.wait(), grace.total_seconds())

    def as_error(self, *, consequence: str = NOTHING_DELETED) -> Interrupted:
        """Return the error for a run that ended early."""
        return Interrupted(
            f"Stopped early: {self.reason}.",
            consequence=consequence,
            hint=Reason.INTERRUPTED.advice,
        )

    async def run_unless_stopped(
        self, step: Coroutine[object, object, _T], *, grace: timedelta = timedelta()
    ) -> _T:
        """Run a step that changes nothing in Atlas, or has a grace; return its result.

        Raises:
            Interrupted: A stop cancelled the step, after its grace.
        """
        task = asyncio.ensure_future(step)
        stop_task = asyncio.ensure_future(self.wait_for_grace(grace))
        try:
            await asyncio.wait((task, stop_task), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise self.as_error()
        finally:
            stop_task.cancel()
            task.cancel()
            # Both have ended before the caller goes on: the step may hold a lock or a connection.
            await asyncio.gather(task, stop_task, return_exceptions=True)


@contextmanager
def handle_signals(stop: StopRequest, log: FilteringBoundLogger) -> Iterator[None]:
    """Request a stop on SIGINT, SIGTERM and SIGHUP while the block runs; at once on the second.

    A SIGHUP that the process ignores, as under nohup, stays ignored. A signal after the block ends
    the process.
    """
    loop = asyncio.get_running_loop()

    def request_stop(name: str) -> None:
        if stop.reason is None:
            log.warning("stopping: no new requests; a second signal stops at once", signal=name)
            stop.request(f"{name} received")
        else:
            stop.forced.set()

    def handle(number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(request_stop, signal.Signals(number).name)

    install_handlers(handle)
    try:
        yield
    finally:
        install_handlers(signal.SIG_DFL)
