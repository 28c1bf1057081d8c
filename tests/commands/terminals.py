"""A pseudo-terminal that runs the program, to read its screen and type keys."""

import fcntl
import os
import pty
import re
import select
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from forked import Fork
from running import CliRunner

_COLOUR = re.compile("\x1b\\[[0-9;]*m")


@dataclass
class Terminal:
    """The user's side of a pseudo-terminal.

    Attributes:
        seen: The output so far.
    """

    process: Fork
    descriptor: int
    seen: bytes = b""

    def read_until(self, words: str) -> str:
        """Read until the words are on the screen; return all output so far."""
        while words.encode() not in self.seen:
            assert self._read(), f"{words!r} did not appear: {self.text}"
        return self.text

    def type(self, keys: str) -> None:
        os.write(self.descriptor, keys.encode())

    def end(self) -> tuple[int, str]:
        while self._read():
            pass
        return self.process.wait(60), self.text

    @property
    def text(self) -> str:
        return _COLOUR.sub("", self.seen.decode()).replace("\r\n", "\n")

    def _read(self) -> bool:
        ready, _, _ = select.select([self.descriptor], [], [], 60)
        assert ready, f"no more output: {self.text}"
        try:
            piece = os.read(self.descriptor, 65536)
        except OSError:  # Linux returns EIO when the other side is closed
            piece = b""
        self.seen += piece
        return bool(piece)


@contextmanager
def terminal_of(
    cli: CliRunner,
    *arguments: str,
    columns: int = 100,
    apart: tuple[str, ...] = (),
    prepare: Path | None = None,
    **changes: str,
) -> Iterator[Terminal]:
    """Start the program in a test folder with a terminal, which is also its controlling one.

    Args:
        apart: `stdout` or `stderr`, to send to a file instead.
        prepare: A file of Python to execute before the program.
        changes: Changes of the environment.
    """
    cli.write_policy()
    environment = cli.environment_with({"TERM": "xterm-256color", **changes})
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    streams = dict.fromkeys({"stdin", "stdout", "stderr"} - {*apart}, theirs)
    process = Fork(arguments, cli.folder, environment, prepare=prepare, **streams)
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
