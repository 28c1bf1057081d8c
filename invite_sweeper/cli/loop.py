"""The event loop: uvloop where the platform has it, else asyncio's own."""

import asyncio
import gc
from collections.abc import Callable, Coroutine


def event_loop(work: Coroutine[object, object, int]) -> int:
    """Run a coroutine to its end."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None
    try:
        from uvloop import new_event_loop as factory
    except ImportError:
        factory = None
    gc.freeze()  # what is there now stays: looking it through again and again finds no garbage
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)
