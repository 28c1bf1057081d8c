"""Where the planned lines of a list are in the log, and the hashes that prove them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from invite_sweeper.audit.log import AuditLog
from invite_sweeper.inventory import Place

BLOCK_BYTES = 65_536


class PlanBlock(NamedTuple):
    """Whole lines that are read back, and verified, at a time.

    Attributes:
        stop: Byte offset after the last line's newline.
        last_hash: Of the last line. Each line holds the hash of the line before, so this hash
            proves all of them.
    """

    stop: int
    last_hash: str


@dataclass(frozen=True, slots=True)
class PlanSpan:
    """Where the `planned` lines of one list are in the log, one after another.

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
    """Writes the `planned` lines of one list, and records where they are in the log."""

    def __init__(self, log: AuditLog, place: Place) -> None:
        self._log = log
        self._place = place
        self._start = self._block_start = log.position
        self._blocks: list[PlanBlock] = []
        self._count = 0

    def write(self, fields: Mapping[str, object]) -> None:
        """Write one line. The log gets no other line before `span` is called."""
        self._log.write("planned", **fields)
        self._count += 1
        if self._log.position - self._block_start >= BLOCK_BYTES:
            self._end_block()

    def span(self) -> PlanSpan:
        """Return the span of all lines written."""
        if self._log.position > self._block_start:
            self._end_block()
        return PlanSpan(self._place, self._start, tuple(self._blocks), self._count)

    def _end_block(self) -> None:
        self._block_start = self._log.position
        self._blocks.append(PlanBlock(self._log.position, self._log.last_hash))
