"""Seeds of random cases: half are always the same, half come from the date.

`INVITE_SWEEPER_SEED=N` begins the second half at N; pytest shows the seed in the name of a case.
"""

import os
from datetime import UTC, datetime


def seeds(count: int) -> list[int]:
    """Return `count` seeds; fewer where both halves have some in common."""
    fixed = count // 2
    start = int(os.environ.get("INVITE_SWEEPER_SEED") or f"{datetime.now(UTC):%Y%m%d}00000")
    return sorted({*range(fixed), *range(start, start + count - fixed)})
