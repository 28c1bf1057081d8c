"""The program's log on stderr, the console on stdout, and the event loop."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import TextIO, TypeVar, cast

import structlog
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text
from typing_extensions import override

from invite_sweeper.cli import streams
from invite_sweeper.cli.options import LogFormat
from invite_sweeper.redaction import SECRETS
from invite_sweeper.text import escape_unprintable

T = TypeVar("T")
_PLAIN_WIDTH = 120


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
            if (redacted := SECRETS.redact(plain)) is not plain:
                renderable = Text(redacted, renderable.style, no_wrap=renderable.no_wrap)
        return super().render(renderable, options)


def stdout_console() -> Console:
    """Return the console for results: as wide as the terminal, or 120 columns in a file."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stdout.isatty():
        return RedactingConsole()
    width = int(os.environ.get("COLUMNS", "0")) if os.environ.get("COLUMNS", "").isdecimal() else 0
    return RedactingConsole(width=width or _PLAIN_WIDTH)


# The program's log on stderr: text on a terminal, JSON lines elsewhere.


class _Stderr:
    """The current stderr, which a progress bar replaces in order to write above itself."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure_logging(
    *, quiet: bool, verbose: bool, log_format: LogFormat = LogFormat.AUTO
) -> structlog.typing.FilteringBoundLogger:
    """Configure and return the program's log; the audit log is separate.

    `NO_COLOR` and `TERM=dumb` disable colours.

    Args:
        quiet: Only warnings and errors.
        verbose: Debug messages too; `quiet` has precedence.
        log_format: `auto` is text on a terminal and JSON lines elsewhere.
    """
    level = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
    automatic = LogFormat.TEXT if sys.stderr.isatty() else LogFormat.JSON
    is_text = (automatic if log_format is LogFormat.AUTO else log_format) is LogFormat.TEXT
    renderer: structlog.typing.Processor
    # structlog's default uses rich, which shows local variables, tokens included, in tracebacks.
    # These formatters show only lines of code.
    if is_text:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty() and streams.use_color(),
            exception_formatter=structlog.dev.plain_traceback,
        )
    else:
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if is_text else "iso", utc=True),
            _escape_fields if is_text else structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Stderr())),
        cache_logger_on_first_use=False,
    )
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    streams.JSON_LOG.log = None if is_text else log
    return log


def _escape_fields(
    _log: object, _method: str, fields: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Escape control characters for a terminal; the JSON renderer escapes them already."""
    return {
        key: escape_unprintable(value) if isinstance(value, str) else value
        for key, value in fields.items()
    }


# The event loop: uvloop if it is installed, else asyncio's default.


_loop_factory: Callable[[], asyncio.AbstractEventLoop] | None
try:
    from uvloop import new_event_loop as _loop_factory
except ImportError:
    _loop_factory = None


def run_async(main: Coroutine[object, object, T]) -> T:
    """Run a coroutine to its end and return its result."""
    with asyncio.Runner(loop_factory=_loop_factory) as runner:
        return runner.run(main)
