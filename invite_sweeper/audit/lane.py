"""The plan, read back from the log lane by lane; what is deleted is what is on disk."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from invite_sweeper.audit.planned import planned_invitation
from invite_sweeper.audit.span import Block, PlannedSpan
from invite_sweeper.audit.words import is_chained, words_of
from invite_sweeper.errors import AuditUnwritable
from invite_sweeper.outcome import Planned

_NOT_OURS = "The plan in the audit log is not what this run wrote there."


class PlannedLane:
    """The planned deletions of one span of the log, one after another.

    A block of lines is in memory while the lane is at work, and only its place while it
    rests. Each block is held against what was written before any line of it is believed.
    All lanes share one file descriptor, so their number costs no files.
    """

    def __init__(self, fd: int, span: PlannedSpan, run_id: str) -> None:
        self._fd = fd
        self._start = span.start
        self._blocks = deque(span.blocks)
        self._taken = 0  # lines of the first block
        self._expected = ("planned", run_id, span.project_id)
        self._lines: deque[bytes] = deque()
        self._head: Planned | None = None

    @staticmethod
    @contextmanager
    def reading(path: Path, run_id: str) -> Iterator[Callable[[PlannedSpan], "PlannedLane"]]:
        """Open a log; give what makes lanes of its spans.

        Raises:
            AuditUnwritable: The log cannot be read back, so nothing may be deleted by it.
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise AuditUnwritable(f"The plan in {path} cannot be read: {error.strerror}.") from None
        try:
            yield lambda span: PlannedLane(fd, span, run_id)
        finally:
            os.close(fd)

    def head(self) -> Planned | None:
        """Give the next deletion without taking it; None at the end of the span.

        Raises:
            AuditUnwritable: What stands there is no planned line of this run.
        """
        if self._head is None and self._blocks:
            if not self._lines:
                self._lines = deque(self._read(self._blocks[0])[self._taken :])
            self._head = self._parse(self._lines[0])
        return self._head

    def advance(self) -> None:
        """Take the head."""
        self._lines.popleft()
        self._head = None
        self._taken += 1
        if not self._lines:
            self._start, self._taken = self._blocks.popleft().stop, 0

    def rest(self) -> None:
        """Forget the lines in memory; they are read again when the lane goes on."""
        self._lines.clear()
        self._head = None

    def _read(self, block: Block) -> list[bytes]:
        """Give the lines of a block, all of them as they were written."""
        size = block.stop - self._start
        data = os.pread(self._fd, size, self._start)
        if len(data) < size:
            raise AuditUnwritable("The plan in the audit log is cut short.")
        lines = data.split(b"\n")[:-1]
        if not is_chained(lines, block.last_hash):
            raise AuditUnwritable(_NOT_OURS)
        return lines

    def _parse(self, line: bytes) -> Planned:
        try:
            record = orjson.loads(line)
            invitation, rule = planned_invitation(record)
            planned = Planned(invitation, rule, words_of(line, rule))
            told = (record["event"], record["run_id"], planned.invitation.project_id)
        except (KeyError, TypeError, ValueError):
            told, planned = None, None
        if planned is None or told != self._expected:
            raise AuditUnwritable(_NOT_OURS)
        return planned
