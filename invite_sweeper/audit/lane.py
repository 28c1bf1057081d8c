"""The plan, read back from the log list by list; what is deleted is what is on disk."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from invite_sweeper.audit.record import Record, invitation_from_record, line_hash
from invite_sweeper.audit.span import PlanBlock, PlanSpan
from invite_sweeper.errors import AuditUnwritable
from invite_sweeper.outcome import Planned

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
        self._taken = 0  # lines of the first block
        self._place = span.place
        self._run_id = run_id
        self._ahead: deque[Planned] = deque()

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
            raise AuditUnwritable(f"The plan in {path} cannot be read: {error.strerror}.") from None
        try:
            yield lambda span: PlanReader(fd, span, run_id)
        finally:
            os.close(fd)

    def head(self) -> Planned | None:
        """Return the next deletion without taking it; None at the end of the span.

        Raises:
            AuditUnwritable: The block is not as this run wrote it.
        """
        if not self._ahead and self._blocks:
            self._ahead.extend(self._read(self._blocks[0])[self._taken :])
        return self._ahead[0] if self._ahead else None

    def advance(self) -> None:
        """Take the head."""
        self._ahead.popleft()
        self._taken += 1
        if not self._ahead:
            self._start, self._taken = self._blocks.popleft().stop, 0

    def rest(self) -> None:
        """Release the block in memory; it is read again when the list continues."""
        self._ahead.clear()

    def _read(self, block: PlanBlock) -> list[Planned]:
        """Return the deletions of a block.

        The hash of the last line is known and each line holds the hash of the line before. So
        the block is read from its end, and no line is parsed before its bytes are proven.
        """
        size = block.stop - self._start
        data = os.pread(self._fd, size, self._start)
        if len(data) < size:
            raise AuditUnwritable("The plan in the audit log is cut short.")
        expected_hash: object = block.last_hash
        planned = []
        for line in reversed(data.removesuffix(b"\n").split(b"\n")):
            if line_hash(line) != expected_hash:
                raise AuditUnwritable(_CHANGED)
            record: Record = orjson.loads(line)
            expected_hash = record["prev"]
            planned.append(self._planned(record))
        return planned[::-1]

    def _planned(self, record: Record) -> Planned:
        """Read a line; check that it is of this run and list, since the DELETE depends on it."""
        try:
            invitation, rule = invitation_from_record(record)
        except ValueError:
            raise AuditUnwritable(_CHANGED) from None
        project, source = self._place
        is_plan = record["event"] == "planned" and record["run_id"] == self._run_id
        listed = (invitation.project_id, invitation.org_id, invitation.source)
        if not is_plan or listed != (project.id, project.org_id, source):
            raise AuditUnwritable(_CHANGED)
        return Planned(invitation, rule)
