"""structlog, loaded as if rich were not there.

Beside rich, structlog draws tracebacks with the values of local variables, a token among them.
Nothing here logs a traceback, and nothing that ever does shall show more than where it was. It
also loads in half the time.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["structlog"]


@contextmanager
def _unseen(name: str) -> Iterator[None]:
    """Let a package not be found in this block.

    Source: https://docs.python.org/3/reference/import.html#the-module-cache (read 2026-11): a
        None there makes an import fail.
    """
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before


with _unseen("rich"):
    import structlog
