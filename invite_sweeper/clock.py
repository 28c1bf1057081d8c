"""The clock of a run: seconds that also pass while the machine is suspended.

A lid that is closed for ten hours leaves lists that are ten hours old. `time.monotonic` does not
count that time on Linux.
"""

import time
from typing import Final

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Source: clock_gettime(2): CLOCK_BOOTTIME includes suspended time. Where it is missing, as on
macOS, CLOCK_MONOTONIC includes it."""


def seconds() -> float:
    """Return seconds since an arbitrary instant; they never go back."""
    return time.clock_gettime(_CLOCK)
