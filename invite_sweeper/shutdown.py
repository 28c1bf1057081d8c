"""StopRequest: signals, deadline, grace period."""

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from invite_sweeper.errors import StoppedEarly
from invite_sweeper.models import Log

# Why and how a run ends early: once asked politely, twice at once.


T = TypeVar("T")
NOTHING_DELETED: Final = "Nothing was deleted."


class Stop:
    """One wish to stop, seen by everything that waits.

    The first call of `ask` stops new work; `at_once` gives up what is in flight too.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.asked = asyncio.Event()
        self.given_up = asyncio.Event()

    def ask(self, reason: str) -> None:
        """Ask to stop; the first reason stands, and asking again changes nothing."""
        if self.reason is None:
            self.reason = reason
            self.asked.set()

    def at_once(self, reason: str) -> None:
        """Stop without waiting for what is in flight."""
        self.ask(reason)
        self.given_up.set()

    def as_error(self, *, consequence: str) -> StoppedEarly:
        """Say that the run ended early, and in which state that leaves things."""
        return StoppedEarly(
            f"Stopped early: {self.reason}.",
            consequence=consequence,
            hint="The same command goes on where it stopped.",
        )

    async def unless_asked(
        self, step: Coroutine[object, object, T], *, consequence: str = NOTHING_DELETED
    ) -> T:
        """Carry out a step that changes nothing at Atlas; a wish to stop ends it at once.

        Args:
            state: What a person is told of the state that this leaves.

        Raises:
            StoppedEarly: It was cut off.
        """
        task = asyncio.ensure_future(step)
        bell = asyncio.ensure_future(self.asked.wait())
        try:
            await asyncio.wait((task, bell), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise self.as_error(consequence=consequence)
        finally:
            bell.cancel()
            task.cancel()
            await asyncio.gather(task, bell, return_exceptions=True)


# SIGINT and SIGTERM as wishes to stop: the first politely, the second at once.


_NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def heard_as(stop: Stop, log: Log) -> Iterator[None]:
    """Listen on the running loop while the block runs."""
    loop = asyncio.get_running_loop()

    def hear(name: str) -> None:
        if stop.reason is None:
            log.warning("stopping: nothing new is sent; a second signal ends at once", signal=name)
            stop.ask(f"{name} came")
        else:
            stop.at_once(f"{name} came again")

    for number in _NUMBERS:
        loop.add_signal_handler(number, hear, signal.Signals(number).name)
    try:
        yield
    finally:
        for number in _NUMBERS:
            loop.remove_signal_handler(number)
