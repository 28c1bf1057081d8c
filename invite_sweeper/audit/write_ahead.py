"""Planned spans, PlanReader, intents and outcomes."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import orjson

from invite_sweeper.audit.log import AuditLog
from invite_sweeper.audit.record import (
    Record,
    invitation_fields,
    invitation_from_record,
    line_hash,
    outcome_fields,
)
from invite_sweeper.errors import AuditLogError
from invite_sweeper.models import DeletionResult, ListRef, PlannedDeletion

# The lines of a sweep's deletions: intents before, outcomes after.


class SweepRecorder:
    """Writes the `intent` and `outcome` lines of one sweep.

    Args:
        now: The run's one instant, from which ages are counted.
    """

    def __init__(self, log: AuditLog, now: datetime) -> None:
        self._log = log
        self._now = now

    def write_intents(self, group: Iterable[PlannedDeletion]) -> None:
        """Record that these are about to be deleted; on disk once `durable` has returned."""
        for planned in group:
            self._log.write("intent", **self._fields(planned))

    def write_outcome(
        self, planned: PlannedDeletion, deletion: DeletionResult, duration_ms: float
    ) -> None:
        """Record the outcome of one deletion."""
        ended = outcome_fields(
            deletion.outcome,
            attempts=deletion.attempts,
            http_status=deletion.http_status,
            error_code=deletion.error_code,
            duration_ms=duration_ms,
            seen=(deletion.seen_before, deletion.seen_after),
        )
        self._log.write("outcome", **self._fields(planned), **ended)

    async def sync(self) -> None:
        """Return when every line so far is on disk."""
        await self._log.sync()

    def _fields(self, planned: PlannedDeletion) -> dict[str, object]:
        return {**invitation_fields(planned.invitation, self._now), "rule": planned.rule}


# Where the planned lines of a list are in the log, and the hashes that prove them.


PLAN_BLOCK_BYTES = 65_536


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

    def write(self, fields: Mapping[str, object]) -> None:
        """Write one line. The log gets no other line before `span` is called."""
        self._log.write("planned", **fields)
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


# The plan, read back from the log list by list; what is deleted is what is on disk.


_CHANGED = "The plan in the audit log is not what this run wrote there."


class PlanReader:
    """The planned deletions of one span of the log, one after another.

    One block is in memory while its deletions are sent, and only its offset while the list
    waits. The hash of a block is checked each time it is read. All readers share one file
    descriptor, so that their number is not limited by open files.
    """

    def __init__(self, fd: int, span: PlanSpan, run_id: str) -> None:
        self._fd = fd
        self._start = span.start
        self._blocks = deque(span.blocks)
        self._popped = 0  # lines of the first block
        self._place = span.list_ref
        self._run_id = run_id
        self._buffer: deque[PlannedDeletion] = deque()

    @staticmethod
    @contextmanager
    def open(path: Path, run_id: str) -> Iterator[Callable[[PlanSpan], "PlanReader"]]:
        """Open a log; return a function that makes a reader of a span.

        Raises:
            AuditUnwritable: The log cannot be read back, so nothing may be deleted.
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise AuditLogError(f"The plan in {path} cannot be read: {error.strerror}.") from None
        try:
            yield lambda span: PlanReader(fd, span, run_id)
        finally:
            os.close(fd)

    def peek(self) -> PlannedDeletion | None:
        """Return the next deletion without taking it; None at the end of the span.

        Raises:
            AuditUnwritable: The block is not as this run wrote it.
        """
        if not self._buffer and self._blocks:
            self._buffer.extend(self._read_block(self._blocks[0])[self._popped :])
        return self._buffer[0] if self._buffer else None

    def pop(self) -> None:
        """Take the head."""
        self._buffer.popleft()
        self._popped += 1
        if not self._buffer:
            self._start, self._popped = self._blocks.popleft().stop, 0

    def release_memory(self) -> None:
        """Release the block in memory; it is read again when the list continues."""
        self._buffer.clear()

    def _read_block(self, block: PlanBlock) -> list[PlannedDeletion]:
        """Return the deletions of a block.

        The hash of the last line is known and each line holds the hash of the line before. So
        the block is read from its end, and no line is parsed before its bytes are proven.
        """
        size = block.stop - self._start
        data = os.pread(self._fd, size, self._start)
        if len(data) < size:
            raise AuditLogError("The plan in the audit log is cut short.")
        expected_hash: object = block.last_hash
        planned = []
        for line in reversed(data.removesuffix(b"\n").split(b"\n")):
            if line_hash(line) != expected_hash:
                raise AuditLogError(_CHANGED)
            record: Record = orjson.loads(line)
            expected_hash = record["prev"]
            planned.append(self._parse_line(record))
        return planned[::-1]

    def _parse_line(self, record: Record) -> PlannedDeletion:
        """Read a line; check that it is of this run and list, since the DELETE depends on it."""
        try:
            invitation, rule = invitation_from_record(record)
        except ValueError:
            raise AuditLogError(_CHANGED) from None
        project, source = self._place
        is_plan = record["event"] == "planned" and record["run_id"] == self._run_id
        listed = (invitation.project_id, invitation.org_id, invitation.source)
        if not is_plan or listed != (project.id, project.org_id, source):
            raise AuditLogError(_CHANGED)
        return PlannedDeletion(invitation, rule)
