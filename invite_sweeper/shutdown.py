"""StopRequest: signals, deadline, grace period."""

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from invite_sweeper.errors import Interrupted
from invite_sweeper.models import Logger

# Why and how a run ends early: once asked politely, twice at once.


T = TypeVar("T")
NOTHING_DELETED: Final = "Nothing was deleted."


class StopRequest:
    """One wish to stop, seen by everything that waits.

    The first call of `ask` stops new work; `at_once` gives up what is in flight too.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.requested = asyncio.Event()
        self.forced = asyncio.Event()

    def request(self, reason: str) -> None:
        """Ask to stop; the first reason stands, and asking again changes nothing."""
        if self.reason is None:
            self.reason = reason
            self.requested.set()

    def request_now(self, reason: str) -> None:
        """Stop without waiting for what is in flight."""
        self.request(reason)
        self.forced.set()

    def as_error(self, *, consequence: str) -> Interrupted:
        """Say that the run ended early, and in which state that leaves things."""
        return Interrupted(
            f"Stopped early: {self.reason}.",
            consequence=consequence,
            hint="The same command goes on where it stopped.",
        )

    async def run_unless_stopped(
        self, step: Coroutine[object, object, T], *, consequence: str = NOTHING_DELETED
    ) -> T:
        """Carry out a step that changes nothing at Atlas; a wish to stop ends it at once.

        Args:
            state: What a person is told of the state that this leaves.

        Raises:
            StoppedEarly: It was cut off.
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


# SIGINT and SIGTERM as wishes to stop: the first politely, the second at once.


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def handle_signals(stop: StopRequest, log: Logger) -> Iterator[None]:
    """Listen on the running loop while the block runs."""
    loop = asyncio.get_running_loop()

    def hear(name: str) -> None:
        if stop.reason is None:
            log.warning("stopping: nothing new is sent; a second signal ends at once", signal=name)
            stop.request(f"{name} came")
        else:
            stop.request_now(f"{name} came again")

    for number in _SIGNALS:
        loop.add_signal_handler(number, hear, signal.Signals(number).name)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
