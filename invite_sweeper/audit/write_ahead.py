"""Write the plan, intents and outcomes of a sweep, and read the plan back from the log.

A sweep deletes what is on disk in the log, not what is in memory: `PlanSpanBuilder` records where
a list's `planned` lines are, and `PlanReader` reads them back and checks their hashes.
"""

import os
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import msgspec

from invite_sweeper.audit.chain import line_hash
from invite_sweeper.audit.events import Intent, OutcomeLine, Planned, decode
from invite_sweeper.audit.log import AuditLog
from invite_sweeper.errors import AuditLogError
from invite_sweeper.models import DeletionResult, ListRef, Outcome, PlannedDeletion

PLAN_BLOCK_BYTES = 65_536
_CHANGED = "The plan in the audit log was changed after this run wrote it."


class SweepRecorder:
    """Writes the `intent` and `outcome` lines of one sweep.

    Args:
        now: The run's current time, from which ages are calculated.
    """

    def __init__(self, log: AuditLog, now: datetime) -> None:
        self._log = log
        self._now = now
        self._intents: dict[PlannedDeletion, Intent] = {}

    def write_intents(self, group: Iterable[PlannedDeletion]) -> None:
        """Record that deletions are about to be sent. They are on disk after `sync`."""
        for planned in group:
            intent = self._intents[planned] = self._intent(planned)
            self._log.write(intent)

    def write_outcome(
        self, planned: PlannedDeletion, deletion: DeletionResult, duration_ms: float
    ) -> None:
        """Record the outcome of one deletion."""
        intent = self._intents.pop(planned, None) or self._intent(planned)
        line = OutcomeLine(
            **msgspec.structs.asdict(intent),
            outcome=deletion.outcome,
            attempts=deletion.attempts,
            http_status=deletion.http_status,
            error_code=deletion.error_code,
            duration_ms=round(duration_ms, 1),
            seen_before=deletion.seen_before,
            seen_after=deletion.seen_after,
        )
        self._log.write(line)

    def write_still_listed(self, planned: PlannedDeletion, outcome: Outcome) -> None:
        """Record that a list still shows an invitation, whatever the answer to its DELETE said.

        Args:
            planned: The deletion.
            outcome: The outcome recorded before, which this one replaces.
        """
        line = OutcomeLine(
            **msgspec.structs.asdict(self._intent(planned)),
            outcome=Outcome.FAILED,
            attempts=0,
            http_status=None,
            error_code=None,
            duration_ms=None,
            replaces=outcome,
        )
        self._log.write(line)

    def _intent(self, planned: PlannedDeletion) -> Intent:
        return Intent.from_invitation(
            planned.invitation, self._now, rule=planned.rule, entries=planned.entries
        )

    async def sync(self) -> None:
        """Wait until every line written so far is on disk."""
        await self._log.sync()


class PlanBlock(NamedTuple):
    """Complete lines that are read back and verified together.

    Attributes:
        stop: Byte offset after the last line's newline.
        last_hash: Hash of the last line. Each line contains the hash of the line before, so
            this hash covers all of them.
    """

    stop: int
    last_hash: str


@dataclass(frozen=True, slots=True)
class PlanSpan:
    """The position of one list's `planned` lines in the log. They are contiguous.

    Attributes:
        start: Byte offset of the first line.
        blocks: Contiguous blocks from `start`; empty without lines.
        count: Number of lines in all blocks.
    """

    list_ref: ListRef
    start: int
    blocks: tuple[PlanBlock, ...]
    count: int


class PlanSpanBuilder:
    """Writes the `planned` lines of one list, and records where they are in the log."""

    def __init__(self, log: AuditLog, list_ref: ListRef) -> None:
        self._log = log
        self._list_ref = list_ref
        self._start = self._block_start = log.offset
        self._blocks: list[PlanBlock] = []
        self._count = 0

    def write(self, planned: Planned) -> None:
        """Write one line. No other line may be written to the log before `build` is called."""
        self._log.write(planned)
        self._count += 1
        if self._log.offset - self._block_start >= PLAN_BLOCK_BYTES:
            self._end_block()

    def build(self) -> PlanSpan:
        """Return the span of all lines written."""
        if self._log.offset > self._block_start:
            self._end_block()
        return PlanSpan(self._list_ref, self._start, tuple(self._blocks), self._count)

    def _end_block(self) -> None:
        self._block_start = self._log.offset
        self._blocks.append(PlanBlock(self._log.offset, self._log.last_hash))


class PlanReader:
    """The planned deletions of one span of the log, one after another.

    One block is in memory while its deletions are sent, and only its offset while the list
    waits. The hash of a block is checked each time it is read. All readers share one file
    descriptor, so that their number is not limited by open files.
    """

    def __init__(self, fd: int, span: PlanSpan, run_id: str) -> None:
        """Return a reader of the log that is open as `fd`; the log keeps it open."""
        self._fd = fd
        self._start = span.start
        self._blocks = deque(span.blocks)
        self._popped = 0  # in the first block
        self._list_ref = span.list_ref
        self._run_id = run_id
        self._buffer: deque[PlannedDeletion] = deque()

    def peek(self) -> PlannedDeletion | None:
        """Return the next deletion without taking it; None at the end of the span.

        Raises:
            AuditLogError: The block was changed after this run wrote it.
        """
        if not self._buffer and self._blocks:
            self._buffer.extend(self._read_block(self._blocks[0])[self._popped :])
        return self._buffer[0] if self._buffer else None

    def pop(self) -> None:
        """Remove the deletion that `peek` returned."""
        self._buffer.popleft()
        self._popped += 1
        if not self._buffer:
            self._start, self._popped = self._blocks.popleft().stop, 0

    def release_memory(self) -> None:
        """Release the block in memory; it is read again when the list continues."""
        self._buffer.clear()

    def _read_block(self, block: PlanBlock) -> list[PlannedDeletion]:
        """Return the deletions of a block.

        The hash of the last line is known, and each line contains the hash of the line before.
        So the block is checked from its end, and no line is parsed before its hash is checked.
        """
        size = block.stop - self._start
        data = os.pread(self._fd, size, self._start)
        if len(data) < size:
            raise _plan_error("The plan in the audit log is truncated.")
        expected_hash = block.last_hash
        planned = []
        for line in reversed(data.removesuffix(b"\n").split(b"\n")):
            if line_hash(line) != expected_hash:
                raise _plan_error(_CHANGED)
            deletion, expected_hash = self._parse_line(line)
            planned.append(deletion)
        return planned[::-1]

    def _parse_line(self, line: bytes) -> tuple[PlannedDeletion, str]:
        """Return the deletion of a line and the hash of the line before.

        The DELETE depends on it, so the line must belong to this run and list.
        """
        try:
            found = decode(line)
        except ValueError:
            raise _plan_error(_CHANGED) from None
        if found is None or found.run_id != self._run_id or not isinstance(found.event, Planned):
            raise _plan_error(_CHANGED)
        planned, (project, source) = found.event, self._list_ref
        place = planned.scope_id, planned.org_id, planned.source
        if place != (project.id, project.org_id, source):
            raise _plan_error(_CHANGED)
        deletion = PlannedDeletion(
            planned.invitation(), planned.rule, planned.new, planned.bounced, planned.entries
        )
        return deletion, found.prev


def _plan_error(message: str) -> AuditLogError:
    """Return an error for a plan that is read while deletions are being sent."""
    return AuditLogError(
        message,
        consequence="No further deletion is sent.",
        hint="Check the audit log with `audit verify`.",
    )
