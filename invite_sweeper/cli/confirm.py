"""The confirmation on a terminal before anything is deleted or invited; the view of a run."""

import asyncio
import os
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from rich.console import Console
from typing_extensions import override

from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.events import RunFinished
from invite_sweeper.cli.console import RedactingConsole
from invite_sweeper.cli.session import Session
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.report.progress import Progress
from invite_sweeper.report.terminal import show_question
from invite_sweeper.shutdown import StopRequest

_TERMINAL = Path("/dev/tty")
_MAX_LINE_BYTES = 1024


async def confirm(present: Callable[[Console], None], stop: StopRequest) -> bool:
    """Return whether the user confirmed; end of input, a signal and the deadline do not.

    Args:
        present: Writes what would be done, and the question.

    Raises:
        GuardRefused: The question cannot be shown on a terminal.
    """
    with _terminal_stream() as stream:
        present(RedactingConsole(file=stream))
        # Discard input typed before the question was shown: it does not answer it.
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
        stream.write("Type yes or no: ")
        stream.flush()
        answer = await _read_line(stop)
        if not answer.endswith(b"\n"):
            stream.write("\n")
        if answer.strip().lower() == b"y":
            stream.write("Only the whole word yes confirms.\n")
    return answer.endswith(b"\n") and answer.strip().lower() == b"yes"


async def _read_line(stop: StopRequest) -> bytes:
    """Return a line, or what came before the end of input; b"" when a stop is requested first."""
    descriptor, received = sys.stdin.fileno(), bytearray()
    loop = asyncio.get_running_loop()
    line: asyncio.Future[bytes] = loop.create_future()

    def read() -> None:  # what is there: waiting for a whole line would delay signals
        chunk = b""
        with suppress(OSError):  # the terminal is gone
            chunk = os.read(descriptor, _MAX_LINE_BYTES)
        received.extend(chunk)
        is_whole = not chunk or chunk.endswith(b"\n") or len(received) > _MAX_LINE_BYTES
        if is_whole and not line.done():
            line.set_result(bytes(received))

    stop_task = asyncio.ensure_future(stop.requested.wait())
    loop.add_reader(descriptor, read)
    try:
        await asyncio.wait((line, stop_task), return_when=asyncio.FIRST_COMPLETED)
        return line.result() if line.done() and not stop_task.done() else b""
    finally:
        loop.remove_reader(descriptor)
        stop_task.cancel()


@contextmanager
def _terminal_stream() -> Iterator[TextIO]:
    """Yield stderr, or the terminal if stderr is redirected."""
    if sys.stderr.isatty():
        yield sys.stderr
        return
    try:
        stream = _TERMINAL.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError:
        raise GuardRefused(
            "Cannot ask for confirmation: stderr is not a terminal.",
            hint="Do not redirect stderr, or use --yes.",
            reasons=(Reason.NOT_CONFIRMED,),
        ) from None
    with stream:
        yield stream


class TerminalView(Progress):
    """What the operator sees during a sweep, and the question before it deletes.

    Attributes:
        cancelled: The answer to the question was not yes.
    """

    def __init__(self, session: Session, record: RunRecord) -> None:
        options = session.options
        quiet = options.quiet or options.quiet_progress
        is_shown = sys.stderr.isatty() and not quiet
        super().__init__(session.log, Console(stderr=True) if is_shown else None)
        self._session = session
        self._record = record
        self.cancelled = False

    @override
    async def confirms(self, result: RunFinished) -> bool:
        """Show the plan as it is on disk, and return whether the operator agrees to it."""
        session = self._session
        if session.options.yes or not sys.stdin.isatty():
            return True
        self.close()
        self._record.end = result
        agreed = await confirm(
            lambda console: show_question(console, self._record, session.advisor), session.stop
        )
        self.cancelled = not agreed and session.stop.reason is None
        return agreed
