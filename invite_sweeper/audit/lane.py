"""The plan, read back from the log lane by lane; what is deleted is what is on disk."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from invite_sweeper.audit.record import planned_invitation
from invite_sweeper.audit.words import words_of
from invite_sweeper.errors import AuditUnwritable
from invite_sweeper.outcome import Planned

_BLOCK_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class PlannedSpan:
    """Where one project's `planned` lines stand in the log, one after another.

    Attributes:
        start: Byte offset of the first line.
        stop: Byte offset after the last line's newline.
        count: Lines between the two.
    """

    project_id: str
    start: int
    stop: int
    count: int


class PlannedLane:
    """The planned deletions of one span of the log, one after another.

    A block of lines is in memory while the lane is at work, and only an offset while it
    rests. All lanes share one file descriptor, so their number costs no files.
    """

    def __init__(self, fd: int, span: PlannedSpan, run_id: str) -> None:
        self._fd = fd
        self._next = span.start
        self._stop = span.stop
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
        if self._head is None and self._next < self._stop:
            if not self._lines:
                self._read()
            self._head = self._parse(self._lines[0])
        return self._head

    def advance(self) -> None:
        """Take the head."""
        self._next += len(self._lines.popleft()) + 1
        self._head = None

    def rest(self) -> None:
        """Forget the lines in memory; they are read again when the lane goes on."""
        self._lines.clear()
        self._head = None

    def _read(self) -> None:
        size = _BLOCK_BYTES
        while not self._lines:
            block = os.pread(self._fd, min(size, self._stop - self._next), self._next)
            whole = block[: block.rfind(b"\n") + 1]
            if not whole and len(block) < size:
                raise AuditUnwritable("The plan in the audit log is cut short.")
            self._lines.extend(whole.split(b"\n")[:-1])
            size *= 2  # a line longer than a block

    def _parse(self, line: bytes) -> Planned:
        try:
            record = orjson.loads(line)
            invitation, rule = planned_invitation(record)
            planned = Planned(invitation, rule, words_of(line, rule))
            told = (record["event"], record["run_id"], planned.invitation.project_id)
        except (KeyError, TypeError, ValueError):
            told, planned = None, None
        if planned is None or told != self._expected:
            raise AuditUnwritable("The plan in the audit log is not what this run wrote there.")
        return planned
