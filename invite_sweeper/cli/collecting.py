"""The garbage collector's pace while the program is put together, and at its end."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_OBJECTS_A_LOOK = 200_000
"""More than all parts of the program make together: 130,000 with Python 3.11."""


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Carry out the program, its imports included, in this block; it ends with the block.

    What is imported is no garbage: looking through it again and again, as it grows, took a tenth
    of the start, and looking through it all at the end as long again. The collector stays on for
    a command that makes garbage of its own; a run sets another pace (`loop.py`).
    """
    gc.set_threshold(_OBJECTS_A_LOOK)
    try:
        yield
    finally:
        gc.freeze()  # the process gives it back as a whole
