"""A start without the garbage collector."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Import the parts of the program in this block: what they make is no garbage.

    Looking through it again and again, as it grows, is a tenth of the start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
