"""Standard streams that survive write failures, colours, and error messages on stderr."""

import io
import os
import sys
from typing import TYPE_CHECKING, BinaryIO

import typer
from typing_extensions import override

from invite_sweeper.errors import InvalidPolicy, RunError
from invite_sweeper.text import escape_unprintable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _ForgivingStream(io.FileIO):
    """A stream that discards its output after the first failed write.

    Attributes:
        failure: The first failure, if any.
    """

    def __init__(self, fd: int) -> None:
        super().__init__(fd, "w", closefd=False)
        self.failure: OSError | None = None

    @override
    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failure = error
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, self.fileno())
            os.close(devnull)
            return memoryview(data).nbytes


def secure() -> None:
    """Open closed standard streams and make failed writes harmless, before any file is opened.

    Otherwise the next opened file, such as the audit log, would get the number of a closed
    stream and everything printed to it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and stream.fileno() == number:
            forgiving = io.TextIOWrapper(
                io.BufferedWriter(_ForgivingStream(number)),
                stream.encoding,
                stream.errors,
                line_buffering=stream.line_buffering,
            )
            setattr(sys, name, forgiving)


def audit_copy_stream() -> BinaryIO:
    """Return stdout for a copy of the audit log; write failures are raised."""
    if _raw_stdout() is None:
        return sys.stdout.buffer
    return os.fdopen(sys.stdout.fileno(), "wb", closefd=False)


def stdout_error() -> str | None:
    """Return a message if the result could not be written to stdout, else None.

    A reader that closed the pipe needs no message.
    """
    raw = _raw_stdout()
    if raw is None:
        return None
    sys.stdout.flush()
    if raw.failure is None or isinstance(raw.failure, BrokenPipeError):
        return None
    reason = raw.failure.strerror
    return f"The result could not be written to standard output: {reason}. The run is complete."


def _raw_stdout() -> _ForgivingStream | None:
    raw: object = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw if isinstance(raw, _ForgivingStream) else None


def use_color() -> bool:
    """Return whether a terminal gets colours; `rich` has the same rule.

    Source: no-color.org; a `TERM=dumb` terminal does not interpret escape sequences.
    """
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in {"dumb", "unknown"}


def print_error(error: RunError) -> None:
    """Write message, consequence and hint of an error to stderr; control characters are escaped."""
    if isinstance(error, InvalidPolicy):
        for line in error.lines():
            typer.echo(escape_unprintable(line), err=True)
    colour = typer.colors.RED if use_color() else None
    typer.secho(f"Error: {escape_unprintable(error.message)}", err=True, fg=colour)
    for part in (error.consequence, error.hint):
        if part:
            typer.echo(f"  {escape_unprintable(part)}", err=True)
