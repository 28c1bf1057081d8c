"""Standard streams that show no secret and survive write failures, and the one JSON result."""

import errno
import io
import json
import os
import re
import select
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import TYPE_CHECKING, Final

import click
from typing_extensions import override

from invite_sweeper.errors import Cancelled, ErrorParts, RunError, hint_of, with_organizations
from invite_sweeper.redaction import SECRETS
from invite_sweeper.text import Hint, escape_unprintable, fill_lines, shell_command

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from structlog.typing import FilteringBoundLogger


_ATOMIC_BYTES: Final = 4096
"""A pipe that is ready for writing takes this number of bytes without blocking (`PIPE_BUF`)."""
PATIENCE_S: Final = 10.0
"""How long a write waits for the reader of stderr, or of a copy of the audit log."""
_INDENT: Final = "  "
_LABEL: Final = "Error:"
DOCUMENTATION: Final = "Documentation: invite-sweeper help TOPIC"
MAX_WIDTH: Final = 200
"""Of `--help`, which is as wide as the terminal; longer lines are hard to read."""
_DEFAULT_COLUMNS: Final = 80


class _Stream(io.FileIO):
    """A descriptor that discards its output after the first failed write.

    Attributes:
        patience_s: How long a write waits for the reader; None for ever.
        failure: The first failure, if any.
    """

    def __init__(self, fd: int, patience_s: float | None) -> None:
        super().__init__(fd, "w", closefd=False)
        self.patience_s = patience_s
        self.failure: OSError | None = None
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    @override
    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            self._wait_for_reader()
            return super().write(memoryview(data)[:_ATOMIC_BYTES])
        except OSError as error:
            self.failure = error
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, self.fileno())
            os.close(devnull)
            return memoryview(data).nbytes

    def _wait_for_reader(self) -> None:
        patience_ms = None if self.patience_s is None else self.patience_s * 1000
        if not self._poll.poll(patience_ms):
            raise TimeoutError(errno.ETIMEDOUT, "its reader does not read")


class _RedactingBuffer(io.BufferedWriter):
    """Redacts everything that is printed; the texts of one call are whole."""

    @override
    def write(self, data: "ReadableBuffer", /) -> int:
        super().write(SECRETS.redact_bytes(bytes(data)))
        return memoryview(data).nbytes


def secure() -> None:
    """Open closed standard streams and make failed writes harmless, before any file is opened.

    Otherwise the next opened file, such as the audit log, would get the number of a closed
    stream and everything printed to it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
            stream = os.fdopen(number, mode, encoding="utf-8", closefd=False)
        if number and isinstance(stream, io.TextIOWrapper) and stream.fileno() == number:
            # A user at a terminal may pause the output; nothing is in flight behind a result.
            patience_s = PATIENCE_S if name == "stderr" and not stream.isatty() else None
            raw = _Stream(number, patience_s)
            if name == "stdout":
                OUTPUTS.stdout = raw
            stream = io.TextIOWrapper(
                _RedactingBuffer(raw),
                stream.encoding,
                "backslashreplace",  # names have characters that a locale may not have
                line_buffering=stream.line_buffering,
            )
        setattr(sys, name, stream)


def audit_copy() -> Callable[[bytes], None]:
    """Return what copies the lines of the audit log to stdout; it raises a failed write.

    A reader that keeps the run waiting ends the copy, and stdout for the result as well.
    """
    raw = OUTPUTS.stdout
    if raw is not None:
        raw.patience_s = PATIENCE_S

    def write(lines: bytes) -> None:
        sys.stdout.buffer.write(lines)
        sys.stdout.buffer.flush()
        if raw is not None and raw.failure is not None:
            raise raw.failure

    return write


def stdout_error() -> str | None:
    """Return a message if the result could not be written to stdout, else None.

    A reader that closed the pipe needs no message.
    """
    raw = OUTPUTS.stdout
    if raw is None:
        return None
    sys.stdout.flush()
    if raw.failure is None or isinstance(raw.failure, BrokenPipeError):
        return None
    reason = raw.failure.strerror
    return f"The result could not be written to standard output: {reason}. The run is complete."


class Outputs:
    """What this process writes: one result as JSON, and errors in the format of its log.

    Attributes:
        is_json: Whether the command line asks for JSON.
        json_log: The program's log if it writes JSON lines: then errors are lines of it, too.
        stdout: What is below `sys.stdout`; None where this is not the process's own.
        is_asking: Whether a question on stderr waits for its answer, at the end of its line.
    """

    def __init__(self) -> None:
        self.is_json = False
        self.json_log: FilteringBoundLogger | None = None
        self.stdout: _Stream | None = None
        self.is_asking = False
        self._written = False

    def write(self, data: bytes) -> None:
        """Write the result, one line of JSON."""
        self._written = True
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def end_question(self) -> None:
        """End the line of a question that nothing has answered, before something else is shown."""
        if self.is_asking:
            self.is_asking = False
            sys.stderr.write("\n")

    def write_error(self, error: RunError) -> None:
        """Write an error if JSON is asked for, unless the result, which has more, was written."""
        if self.is_json and not self._written:
            self.write(json.dumps(error.result()).encode() + b"\n")


OUTPUTS: Final = Outputs()


def fit_terminal(text: str, first: str, others: str, *, command: str = "") -> str:
    """Return a text for stderr: unprintable characters escaped, no word broken by a terminal.

    Args:
        first: What precedes the text.
        others: How the lines after the first one begin on a terminal.
        command: Follows the text on one line, which the terminal breaks: so it can be copied.
    """
    escaped = escape_unprintable(text)
    command = escape_unprintable(command)
    if not sys.stderr.isatty():
        return f"{first}{escaped} {command}" if command else first + escaped
    shown = SECRETS.redact(escaped)  # before a line ends within a secret
    return fill_lines(shown, _columns(), first=first, others=others, command=command)


def _columns() -> int:
    """Return the width of the terminal of stderr."""
    # Not `shutil.get_terminal_size`: see `called_as` in `main`.
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    with suppress(OSError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or _DEFAULT_COLUMNS
    return _DEFAULT_COLUMNS


def print_line(text: str, label: str = "") -> None:
    """Write a text to stderr, after a label such as `Warning: `."""
    click.echo(fit_terminal(text, label, _INDENT), err=True)


def print_error(error: RunError) -> None:
    """Write message, consequence and hint of an error to stderr; control characters are escaped."""
    for line in error.lines():
        print_line(line)
    if isinstance(error, Cancelled):  # the person at the terminal knows why
        click.echo(f"{error.message} {error.consequence}", err=True)
        return
    print_error_parts(error.parts(), error.help_topic)


def print_error_parts(error: ErrorParts, help_topic: str = "") -> None:
    """Write the three parts of an error to stderr; control characters are escaped."""
    more = Hint("More:", shell_command("help", help_topic)) if help_topic else Hint()
    organization = error.get("organization")
    message = with_organizations(error["message"], [organization] if organization else ())
    if OUTPUTS.json_log is not None:
        parts = {"consequence": error["consequence"], "hint": error["hint"], "more": more.sentence}
        fields = {key: part for key, part in parts.items() if part}
        OUTPUTS.json_log.error(message, **fields)
        return
    first, *lines = message.split("\n")
    sentences = map(Hint, (*lines, error["consequence"]))
    text = fit_terminal(first, f"{_LABEL} ", _INDENT)
    for part in (*sentences, hint_of(error), more):
        if part.text:
            text += "\n" + fit_terminal(part.text, _INDENT, _INDENT, command=part.command)
    click.echo(text.replace(_LABEL, coloured(_LABEL, "red"), 1), err=True)


def coloured(label: str, colour: str) -> str:
    """Return a label as stderr shows it, which may be a terminal with colours."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return label if is_plain or not sys.stderr.isatty() else click.style(label, colour, bold=True)


_ASKS_FOR_JSON: Final = re.compile(r"(?:^|\0)(?:--output[=\0]|-o\0?)json(?:\0|$)", re.IGNORECASE)


def json_requested(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for JSON, also if it cannot be parsed."""
    words = "\0".join(takewhile(lambda word: word != "--", arguments))
    return _ASKS_FOR_JSON.search(words) is not None
