"""What a command prints: results on stdout, the program's log on stderr; and its event loop."""

import asyncio
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import Final, TypeVar

import structlog
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text
from typing_extensions import override

from invite_sweeper.cli.streams import OUTPUTS, coloured, fit_terminal
from invite_sweeper.json_text import to_json
from invite_sweeper.redaction import SECRETS
from invite_sweeper.text import escape_unprintable, is_unprintable

_T = TypeVar("_T")
_PLAIN_WIDTH: Final = 120
_COLOURS: Final = {"error": "red", "warning": "yellow"}
_NOT_PLAIN: Final = re.compile("[^ -~]")


class RedactingConsole(Console):
    """A console that masks secrets in a text before it wraps it.

    Afterwards a part of a secret stands on each line, between the other columns of a table.
    """

    @override
    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        if isinstance(renderable, Text):
            plain = renderable.plain
            redacted = SECRETS.redact(plain)
            if redacted is not plain:
                renderable = Text(redacted, renderable.style, no_wrap=renderable.no_wrap)
        return super().render(renderable, options)


def stdout_console() -> Console:
    """Return the console for results: as wide as the terminal, or 120 columns in a file."""
    is_known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return RedactingConsole(width=None if is_known else _PLAIN_WIDTH)


def json_line(value: object) -> bytes:
    """Return one line of JSON that a terminal can show: names in it come from other people."""
    data = to_json(value)
    if not data.isascii() or b"\x7f" in data:
        text = _NOT_PLAIN.sub(_as_json_escape, data.decode())
        data = text.encode()
    return data + b"\n"


def _as_json_escape(character: re.Match[str]) -> str:
    """Return a character that cannot be shown as JSON escapes it; any other as it is."""
    return json.dumps(character[0])[1:-1] if is_unprintable(character[0]) else character[0]


def write_json(result: object) -> None:
    """Write a result to stdout as one line of JSON."""
    OUTPUTS.write(json_line(result))


def configure_logging(
    *, quiet: bool, verbose: bool, log_format: str = "auto"
) -> structlog.typing.FilteringBoundLogger:
    """Configure and return the program's log; the audit log is separate."""
    level = logging.DEBUG if verbose else logging.INFO
    if quiet:
        level = logging.WARNING
    is_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if is_text else "iso", utc=True),
            # This formatter shows no local variables, tokens included, in tracebacks.
            structlog.processors.format_exc_info,
            _as_text if is_text else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _CurrentStderr(),
        cache_logger_on_first_use=False,
    )
    # Bound once: the logger that `get_logger` returns binds itself anew for each line.
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind()
    OUTPUTS.json_log = None if is_text else log
    return log


class _CurrentStderr:
    """Writes log lines to stderr, which a progress bar replaces in order to write above itself."""

    def msg(self, line: str) -> None:
        """Write one line."""
        OUTPUTS.end_question()
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - the lines of the log

    debug = info = warning = error = msg


def _as_text(_log: object, _method: str, fields: structlog.typing.EventDict) -> str:
    """Return an entry as text: control characters are escaped, and no word is broken."""
    level = str(fields.pop("level"))
    when = fields.pop("timestamp")
    exception = str(fields.pop("exception", ""))
    event = str(fields.pop("event"))
    command = str(fields.pop("command", ""))
    others = [f"{name}={value}" for name, value in fields.items()]
    label = f"[{level:<7}]"
    start = f"{when} {label} "
    line = "  ".join((event, *others))
    text = fit_terminal(line, start, " " * len(start), command=command)
    if level in _COLOURS:
        text = text.replace(label, coloured(label, _COLOURS[level]), 1)
    lines = [text]
    lines += [escape_unprintable(line) for line in exception.splitlines()]
    return "\n".join(lines)


_loop_factory: Callable[[], asyncio.AbstractEventLoop] | None
"""That of uvloop if it is installed, else asyncio's default."""
try:
    from uvloop import new_event_loop as _loop_factory
except ImportError:
    _loop_factory = None


def run_async(main: Coroutine[object, object, _T]) -> _T:
    """Run a coroutine to its end and return its result."""
    with asyncio.Runner(loop_factory=_loop_factory) as runner:
        return runner.run(main)
