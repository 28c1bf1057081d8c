"""Standard streams that change nothing of a run, and colours."""

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


# Standard streams that change nothing of a run: closed ones are opened, broken ones go quiet.


class _ForgivingStream(io.FileIO):
    """Where text goes; from its first failure on it goes nowhere.

    Attributes:
        failure: What went wrong; None while nothing has.
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
    """Make the standard streams safe, before any file is opened.

    The next file that is opened would get the number of a closed one, and with it what is
    printed: the audit log, at worst. A log or a result that nobody can take ends no run.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
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
    """Give stdout for a copy of the audit log, whose failure is told and not swallowed."""
    if _raw_stdout() is None:
        return sys.stdout.buffer
    return os.fdopen(sys.stdout.fileno(), "wb", closefd=False)


def stdout_error() -> str | None:
    """Give a sentence where stdout could not take the result; None where it could.

    A reader that has gone away wanted no more, and is told nothing.
    """
    raw = _raw_stdout()
    if raw is None:
        return None
    sys.stdout.flush()
    if raw.failure is None or isinstance(raw.failure, BrokenPipeError):
        return None
    reason = raw.failure.strerror
    return f"The result could not be written to standard output: {reason}. What was done stands."


def _raw_stdout() -> _ForgivingStream | None:
    raw: object = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw if isinstance(raw, _ForgivingStream) else None


# Whether a terminal gets colours.


def use_color() -> bool:
    """Tell whether colours are wanted where there is a terminal; `rich` asks the same.

    Source:
        no-color.org; `TERM=dumb` is a terminal that shows escape sequences as they are.
    """
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in {"dumb", "unknown"}


def print_error(error: RunError) -> None:
    """Tell the person what happened, what state things are in, and the mend.

    A name in it can neither move the cursor nor begin a line of its own.
    """
    if isinstance(error, InvalidPolicy):
        for line in error.lines():
            typer.echo(escape_unprintable(line), err=True)
    colour = typer.colors.RED if use_color() else None
    typer.secho(f"Error: {escape_unprintable(error.message)}", err=True, fg=colour)
    for part in (error.consequence, error.hint):
        if part:
            typer.echo(f"  {escape_unprintable(part)}", err=True)
