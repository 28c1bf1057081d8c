"""Where a project's planned lines stand in the log, and by what they are known again."""

from dataclasses import dataclass
from typing import NamedTuple

from invite_sweeper.audit.log import AuditLog
from invite_sweeper.inventory import Place

BLOCK_BYTES = 65_536


class PlanBlock(NamedTuple):
    """So many whole lines as are read back, and held against what was written, at a time.

    Attributes:
        stop: Byte offset after the last line's newline.
        last_hash: Of the last line. Each line holds the hash of the one before, so this one
            tells whether all of them are as they were written.
    """

    stop: int
    last_hash: str


@dataclass(frozen=True, slots=True)
class PlanSpan:
    """Where the `planned` lines of one list stand in the log, one after another.

    Attributes:
        start: Byte offset of the first line.
        blocks: One after another, from `start` on; empty where there is no line.
        count: Lines in all of them.
    """

    place: Place
    start: int
    blocks: tuple[PlanBlock, ...]
    count: int


class PlanSpanBuilder:
    """Takes down where the lines of a span come to stand, from the moment it is made."""

    def __init__(self, log: AuditLog, place: Place) -> None:
        self._log = log
        self._place = place
        self._start = self._block_start = log.position
        self._blocks: list[PlanBlock] = []
        self._count = 0

    def lines(self, count: int) -> None:
        """Note that so many more lines of it were written, and no other."""
        self._count += count
        if self._log.position - self._block_start >= BLOCK_BYTES:
            self._end_block()

    def span(self) -> PlanSpan:
        """Give what was noted; that was the last line."""
        if self._log.position > self._block_start:
            self._end_block()
        return PlanSpan(self._place, self._start, tuple(self._blocks), self._count)

    def _end_block(self) -> None:
        self._block_start = self._log.position
        self._blocks.append(PlanBlock(self._log.position, self._log.last_hash))
