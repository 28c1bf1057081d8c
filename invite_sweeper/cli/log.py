"""The program's log on stderr: text on a terminal, JSON lines elsewhere."""

import logging
import sys
from typing import TextIO, cast

import structlog

from invite_sweeper.cli import streams
from invite_sweeper.cli.options import LogFormat
from invite_sweeper.text import escape_unprintable


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
