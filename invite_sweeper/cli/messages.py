"""The program's own log, on stderr: colours for a terminal, JSON lines elsewhere."""

import logging
import os
import sys

import structlog


def configure(*, quiet: bool, verbose: bool) -> structlog.typing.FilteringBoundLogger:
    """Set the log up once, and give it.

    `NO_COLOR` is honoured. The audit log is another one and is not affected.
    """
    level = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
    terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor
    if terminal:
        renderer = structlog.dev.ConsoleRenderer(colors="NO_COLOR" not in os.environ)
    else:
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if terminal else "iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return log
