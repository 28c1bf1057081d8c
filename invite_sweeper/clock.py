"""The clock of a run: seconds that also pass while the machine is suspended.

A lid that is closed for ten hours leaves lists that are ten hours old. `time.monotonic` does not
count that time on Linux.
"""

import time
from functools import partial
from typing import Final

seconds: Final = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""Return seconds since an arbitrary instant; they never go back.

Source: clock_gettime(2): CLOCK_BOOTTIME includes suspended time. Where it is missing, as on macOS,
CLOCK_MONOTONIC includes it.
"""
