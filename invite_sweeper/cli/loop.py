"""The event loop: uvloop where it is installed, else asyncio's own."""

import asyncio
from collections.abc import Callable, Coroutine

_loop_factory: Callable[[], asyncio.AbstractEventLoop] | None
try:
    from uvloop import new_event_loop as _loop_factory
except ImportError:
    _loop_factory = None


def event_loop(work: Coroutine[object, object, int]) -> int:
    """Run a coroutine to its end and return its result."""
    with asyncio.Runner(loop_factory=_loop_factory) as runner:
        return runner.run(work)
