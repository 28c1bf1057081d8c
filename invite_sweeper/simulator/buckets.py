"""Token buckets that are refilled in steps, as Atlas does it."""

from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple


class Limits(NamedTuple):
    """The figures of a bucket."""

    capacity: int
    refill: int
    period_s: float


@dataclass(slots=True)
class Bucket:
    """One bucket. Its level falls by one a request and jumps by `refill` every `period_s`.

    Attributes:
        anchor_s: The monotonic time from which the steps are counted.

    Source: the recordings show falling runs of up to a minute and then a jump.
    """

    limits: Limits
    anchor_s: float
    level: int = field(init=False)
    _steps: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.level = self.limits.capacity

    def take(self, now_s: float, wanted: int = 1) -> int:
        """Take up to `wanted` tokens; gives how many there were."""
        self._refill(now_s)
        taken = min(wanted, self.level)
        self.level -= taken
        return taken

    def wait_s(self, now_s: float) -> int:
        """Whole seconds to the next step, rounded up."""
        elapsed = now_s - self.anchor_s
        return max(0, ceil((self._steps + 1) * self.limits.period_s - elapsed))

    def _refill(self, now_s: float) -> None:
        steps = int((now_s - self.anchor_s) / self.limits.period_s)
        if steps > self._steps:
            gained = (steps - self._steps) * self.limits.refill
            self.level = min(self.limits.capacity, self.level + gained)
            self._steps = steps
