"""SIGINT and SIGTERM as wishes to stop: the first politely, the second at once."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from invite_sweeper.report.progress import Log
from invite_sweeper.stop import Stop

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
