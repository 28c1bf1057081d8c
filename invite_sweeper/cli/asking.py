"""The question on a terminal before anything is deleted."""

import asyncio
import os
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from invite_sweeper.errors import GuardRefused
from invite_sweeper.stop import Stop
from invite_sweeper.totals import RunSummary

if TYPE_CHECKING:
    from rich.console import Console

_TERMINAL = Path("/dev/tty")
_MOST_BYTES = 1024


class Question:
    """Shows the plan and asks; only a typed yes is one.

    Args:
        present: Writes the plan and the question for a person.
    """

    def __init__(self, stop: Stop, present: "Callable[[Console, RunSummary], None]") -> None:
        self._stop = stop
        self._present = present

    @staticmethod
    def is_due() -> bool:
        """Whether a person sits there who can type an answer."""
        return sys.stdin.isatty()

    async def __call__(self, summary: RunSummary) -> bool:
        """Ask; an end of input, a signal or the deadline is no yes.

        Raises:
            GuardRefused: The person cannot be shown what is asked. Nothing was deleted.
        """
        from rich.console import Console

        with _where_the_person_looks() as stream:
            self._present(Console(file=stream), summary)
            # What was typed before the question was there answered another one.
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
            stream.write("Type yes or no: ")
            stream.flush()
            answer = await self._line()
            if not answer.endswith(b"\n"):
                stream.write("\n")
        return answer.strip().lower() in {b"y", b"yes"}

    async def _line(self) -> bytes:
        """Wait for a line, its end or a stop, whichever comes first."""
        descriptor = sys.stdin.fileno()
        loop = asyncio.get_running_loop()
        typed: asyncio.Future[bytes] = loop.create_future()
        bell = asyncio.ensure_future(self._stop.asked.wait())
        loop.add_reader(descriptor, _read, descriptor, bytearray(), typed)
        try:
            await asyncio.wait((typed, bell), return_when=asyncio.FIRST_COMPLETED)
            return typed.result() if typed.done() and not bell.done() else b""
        finally:
            loop.remove_reader(descriptor)
            bell.cancel()


def _read(descriptor: int, so_far: bytearray, typed: "asyncio.Future[bytes]") -> None:
    """Take what there is, and wait for the rest: a blocking read would be deaf to signals."""
    if typed.done():
        return
    try:
        piece = os.read(descriptor, _MOST_BYTES)
    except OSError:  # the terminal is gone
        piece = b""
    so_far += piece
    if not piece or so_far.endswith(b"\n") or len(so_far) > _MOST_BYTES:
        typed.set_result(bytes(so_far))


@contextmanager
def _where_the_person_looks() -> Iterator[TextIO]:
    """Give stderr, or the terminal itself where stderr goes elsewhere."""
    if sys.stderr.isatty():
        yield sys.stderr
        return
    try:
        stream = _TERMINAL.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError:
        raise GuardRefused(
            "There is a terminal to answer on, and none to ask on.",
            hint="Let stderr be a terminal, or say --yes.",
        ) from None
    with stream:
        yield stream
