"""Ages of invitations in a few fixed classes, so that a million of them stay a few numbers."""

from bisect import bisect_right
from collections.abc import Mapping
from itertools import pairwise

BOUNDS_DAYS = (0, 3, 7, 14, 30, 60, 90, 180, 365)
"""Where each class begins; the last one has no end."""
LABELS = (
    *(f"{low}-{high}" for low, high in pairwise(BOUNDS_DAYS)),
    f"{BOUNDS_DAYS[-1]}+",
    "unknown",
)
"""One a class, in days, youngest first; the last is for what has no usable age."""
KEYS = (*map(str, BOUNDS_DAYS), "none")
"""The classes as they stand in the audit log: the first day of each."""


def age_class(age_days: float | None) -> int:
    """Index into `LABELS`. An age below zero (a date in the future) has no class of its own."""
    if age_days is None or age_days < 0:
        return len(BOUNDS_DAYS)
    return bisect_right(BOUNDS_DAYS, age_days) - 1


class AgeHistogram:
    """Counts ages while they stream by; flat, whatever their number."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts = [0] * len(LABELS)

    def add(self, age_days: float | None) -> None:
        """Count one invitation."""
        self._counts[age_class(age_days)] += 1

    def field(self) -> dict[str, int]:
        """For the audit log's `run_finished`: first day of each class to its number."""
        return dict(zip(KEYS, self._counts, strict=True))


def counts_from(field: object) -> tuple[int, ...] | None:
    """Read `AgeHistogram.field` back: one number a class, or None where there is none."""
    if not isinstance(field, Mapping):
        return None
    values = [field.get(key, 0) for key in KEYS]
    return tuple(value if isinstance(value, int) else 0 for value in values)
