"""The program's log on stderr: text on a terminal, JSON lines elsewhere."""

import logging
import os
import sys
import textwrap
from typing import Final, TextIO, cast

import click
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
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if is_text else "iso", utc=True),
            # This formatter shows no local variables, tokens included, in tracebacks.
            structlog.processors.format_exc_info,
            _as_text if is_text else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Stderr())),
        cache_logger_on_first_use=False,
    )
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    streams.JSON_LOG.log = None if is_text else log
    return log


_STYLES: Final = {"debug": "green", "info": "green", "warning": "yellow"}


def _as_text(_log: object, _method: str, fields: structlog.typing.EventDict) -> str:
    """Return an entry as text: control characters are escaped, and no word is broken."""
    level, when = str(fields.pop("level")), fields.pop("timestamp")
    exception = str(fields.pop("exception", ""))
    parts = [str(fields.pop("event")), *(f"{name}={value}" for name, value in fields.items())]
    lines = [escape_unprintable("  ".join(parts))]
    indent = " " * len(f"{when} [{level:<7}] ")
    if is_terminal := sys.stderr.isatty():
        width = max(_terminal_width(), 2 * len(indent))
        lines = textwrap.wrap(
            lines[0],
            width,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines[0] = lines[0][len(indent) :]
    label = f"[{level:<7}]"
    if is_terminal and streams.use_color():
        label = click.style(label, fg=_STYLES.get(level, "red"))
    lines += map(escape_unprintable, exception.splitlines())
    return f"{when} {label} " + "\n".join(lines)


def _terminal_width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _WIDTH
    except (OSError, ValueError):
        return _WIDTH


_WIDTH: Final = 80
