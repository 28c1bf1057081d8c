"""The event loop: uvloop where the platform has it, else asyncio's own."""

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine

_OBJECTS_A_LOOK = 10_000
_SWITCH_EVERY_S = 0.0005
"""A thread that has waited for the disk gets its turn at the interpreter within this time."""


def event_loop(work: Coroutine[object, object, int]) -> int:
    """Run a coroutine to its end."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None
    try:
        from uvloop import new_event_loop as factory
    except ImportError:
        factory = None
    # What is there now stays, and a run makes little garbage that counting references leaves:
    # looking for it after every 700 objects took a tenth of the time.
    gc.freeze()
    gc.set_threshold(_OBJECTS_A_LOOK)
    # Python's own 5 ms are longer than a sync: the disk would be done long before it is asked
    # for, or heard of, while the loop has answers to read.
    sys.setswitchinterval(_SWITCH_EVERY_S)
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)
