"""The plan, read back from the log lane by lane; what is deleted is what is on disk."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from invite_sweeper.audit.planned import OnDisk
from invite_sweeper.audit.record import render
from invite_sweeper.audit.span import Block, PlannedSpan
from invite_sweeper.audit.words import is_chained, words_of
from invite_sweeper.errors import AuditUnwritable
from invite_sweeper.inventory import Place
from invite_sweeper.outcome import Planned

_ID = b'"invitation_id":"'
_RULE = b',"rule":"'
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
        self._source, project = span.place.source, span.place.project
        self._project_id, self._org_id = project.id, project.org_id
        self._marks = _marks(span.place, run_id)
        self._ahead: deque[Planned] = deque()

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
        if not self._ahead and self._blocks:
            lines = self._read(self._blocks[0])[self._taken :]
            self._ahead.extend(map(self._planned, lines))
        return self._ahead[0] if self._ahead else None

    def advance(self) -> None:
        """Take the head."""
        self._ahead.popleft()
        self._taken += 1
        if not self._ahead:
            self._start, self._taken = self._blocks.popleft().stop, 0

    def rest(self) -> None:
        """Forget the lines in memory; they are read again when the lane goes on."""
        self._ahead.clear()

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

    def _planned(self, line: bytes) -> Planned:
        """Take out of a line what its deletion needs; nobody but this run can have written it.

        That it is of the right run, list and project is looked at all the same, since by these
        it is told what to delete.
        """
        try:
            words = words_of(line)
            end = words.index(b'"', len(_ID))
            id_ = words[len(_ID) : end].decode()
        except ValueError:
            raise AuditUnwritable(_NOT_OURS) from None
        of_run, of_list, of_source = self._marks
        is_ours = of_run in line and words.startswith(_ID) and words.startswith(of_list, end)
        if not (is_ours and of_source in words and _RULE in words):
            raise AuditUnwritable(_NOT_OURS)
        one = OnDisk(id_, self._project_id, self._org_id, self._source, words)
        return Planned(one, words=words)


def _marks(place: Place, run_id: str) -> tuple[bytes, bytes, bytes]:
    """Give what each planned line of a list holds: its run, whose list, and which."""
    of_run = b',"run_id":%b,"seq":' % render(run_id)
    project_id, org_id = render(place.project.id), render(place.project.org_id)
    of_list = b'","project_id":%b,' % project_id
    if place.source.of_organization:
        of_list = b'","project_id":null,"project_name":null,"org_id":%b,' % org_id
    return of_run, of_list, b',"source":%b,' % render(place.source)
