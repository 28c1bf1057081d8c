"""The console on stdout, and the event loop."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import TypeVar

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text
from typing_extensions import override

from invite_sweeper.redaction import SECRETS

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


_loop_factory: Callable[[], asyncio.AbstractEventLoop] | None
"""That of uvloop if it is installed, else asyncio's default."""
try:
    from uvloop import new_event_loop as _loop_factory
except ImportError:
    _loop_factory = None


def run_async(main: Coroutine[object, object, T]) -> T:
    """Run a coroutine to its end and return its result."""
    with asyncio.Runner(loop_factory=_loop_factory) as runner:
        return runner.run(main)
