"""Diagnose a broken hash chain: which line is damaged, and how.

A line is intact if the next line contains its hash. `diagnose` uses this to distinguish an edited
line from removed, inserted and reordered ones.
"""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

from invite_sweeper.audit.chain import checksum_ok, line_hash
from invite_sweeper.audit.events import LineHeader
from invite_sweeper.audit.reader import LinePosition
from invite_sweeper.endings import DAMAGED_ADVICE, UNFINISHED_ADVICE

_PREV_FIELD = re.compile(rb'"prev"\s*:\s*"([0-9a-f]{64})"')


class Tampering(StrEnum):
    """The kinds of damage, as reported to the user."""

    EDITED = "edited"
    REMOVED = "removed"
    INSERTED = "inserted"
    CUT_SHORT = "cut short"
    REORDERED = "reordered"
    WITHOUT_OUTCOME = "incomplete"
    """An intent has no outcome, neither in its own run nor in one that recovered it."""
    WITHOUT_INTENT = "unannounced"
    """The outcome of a sent request has no intent."""
    UNSIGNED = "unsigned"
    """The end of a run is not signed by the expected key."""

    @property
    def hint(self) -> str:
        """What to do about it."""
        return UNFINISHED_ADVICE if self is Tampering.WITHOUT_OUTCOME else DAMAGED_ADVICE


@dataclass(frozen=True, slots=True)
class VerificationError:
    """The first damaged line of an audit log.

    Attributes:
        message: One sentence for the user.
        runs: IDs of the runs that are affected, as far as they are known.
    """

    position: LinePosition
    kind: Tampering
    message: str
    runs: tuple[str, ...] = ()

    @property
    def consequence(self) -> str:
        """The state that the damage leaves; empty if no run is known to be affected."""
        runs = f"run {self.runs[0]}" if len(self.runs) == 1 else f"the runs {', '.join(self.runs)}"
        if not self.runs:
            return ""
        if self.kind is Tampering.WITHOUT_OUTCOME:
            return f"What became of a request of {runs} is not known."
        return f"The records of {runs} are not reliable."


@dataclass(frozen=True, slots=True)
class ExpectedLine:
    """What the current line should contain.

    Attributes:
        prev: Hash of the previous line.
        run_id: Run of the previous line, or of the current one if both are of one command;
            empty at the start.
        seq: Number of the last line of this run, plus 1.
        previous_line: The previous line; None at the start of a file.
        known_runs: IDs of all runs so far.
    """

    prev: str
    run_id: str
    seq: int
    previous_line: bytes | None
    known_runs: Container[str] = ()


@dataclass(slots=True)
class _LaterLines:
    """What the lines after the damaged one contain.

    Attributes:
        has_successor: The line that belongs in place of the damaged one.
        has_origin: A neighbor of the damaged line's original position.
        has_copy: A copy of the damaged line.
    """

    has_successor: bool = False
    has_origin: bool = False
    has_copy: bool = False


def diagnose(
    position: LinePosition, line: bytes, expected: ExpectedLine, later_lines: Iterator[bytes]
) -> VerificationError:
    """Diagnose the damage at the first line that does not follow the previous one.

    Args:
        position: Position of the line.
        line: The line without its newline.
        expected: What the line should contain.
        later_lines: The lines after it, each without its newline; read only as far as needed.
    """
    if expected.previous_line is not None and LineHeader.parse(expected.previous_line) is None:
        return incomplete_or_edited(_position_before(position), expected.previous_line)
    following = next(later_lines, None)
    lines_from_next = later_lines if following is None else chain((following,), later_lines)
    header = LineHeader.parse(line)
    if header is not None and header.prev == expected.prev:
        return edited(position)
    if _prev_hash(following) == expected.prev:
        return _inserted_or_moved(position, line, expected, lines_from_next)
    if header is None:
        return incomplete_or_edited(position, line)
    confirmed_by_next = following is None or _prev_hash(following) == line_hash(line)
    return _diagnose_break(
        position, line, header, expected, lines_from_next, confirmed_by_next=confirmed_by_next
    )


def _diagnose_break(
    position: LinePosition,
    line: bytes,
    header: LineHeader,
    expected: ExpectedLine,
    lines_from_next: Iterator[bytes],
    *,
    confirmed_by_next: bool,
) -> VerificationError:
    """Diagnose two well-formed lines that do not follow each other.

    Args:
        confirmed_by_next: Whether the next line, if any, contains the hash of this line.
    """
    if header.seq == expected.seq and expected.previous_line is not None:
        return (
            incomplete_or_edited(_position_before(position), expected.previous_line)
            if confirmed_by_next
            else edited(position)
        )
    if _scan_later_lines(line, expected, lines_from_next).has_successor:
        return _reordered(position)
    if expected.previous_line is None:
        return _removed(position) if confirmed_by_next else edited(position)
    if header.seq == 1 and checksum_ok(expected.previous_line) is False:
        return edited(_position_before(position))
    continues_run = header.run_id == expected.run_id and header.seq > expected.seq
    return (
        _inserted(position)
        if header.run_id in expected.known_runs and not continues_run
        else _removed(position)
    )


def mismatch_with_next_line(
    position: LinePosition, line: bytes, later_lines: Iterator[bytes]
) -> VerificationError | None:
    """Return an error if the next line does not contain this line's hash; None otherwise.

    Used for a line with a correct `prev` but invalid contents: an outcome may have no intent
    because a bit of its ID was changed.
    """
    following = next(later_lines, None)
    if following is None or _prev_hash(following) in (None, line_hash(line)):
        return None
    return incomplete_or_edited(position, line)


def incomplete_or_edited(position: LinePosition, line: bytes) -> VerificationError:
    """Return the error for a changed line: its end is missing, or it was edited."""
    if line.endswith(b"}"):
        return edited(position)
    return VerificationError(position, Tampering.CUT_SHORT, "The end of the line is missing.")


def _inserted_or_moved(
    position: LinePosition, line: bytes, expected: ExpectedLine, lines_from_next: Iterator[bytes]
) -> VerificationError:
    """Return the error for a line between two lines that follow each other."""
    later = _scan_later_lines(line, expected, lines_from_next)
    return _reordered(position) if later.has_origin and not later.has_copy else _inserted(position)


def _scan_later_lines(
    line: bytes, expected: ExpectedLine, lines_from_next: Iterator[bytes]
) -> _LaterLines:
    later = _LaterLines()
    own_hash, own_prev = line_hash(line), _prev_hash(line)
    previous_hash = own_hash
    for later_line in lines_from_next:
        prev, later_hash = _prev_hash(later_line), line_hash(later_line)
        later.has_successor |= prev == expected.prev
        later.has_origin |= later_hash == own_prev or (
            prev == own_hash and previous_hash != own_hash
        )
        later.has_copy |= later_hash == own_hash
        previous_hash = later_hash
    return later


def _prev_hash(line: bytes | None) -> str | None:
    found = _PREV_FIELD.search(line) if line is not None else None
    return found[1].decode() if found else None


def _position_before(position: LinePosition) -> LinePosition:
    return LinePosition(position.path, position.line - 1)


def edited(position: LinePosition) -> VerificationError:
    """Return the error for a line that was edited."""
    return VerificationError(position, Tampering.EDITED, "The line was changed.")


def _inserted(position: LinePosition) -> VerificationError:
    return VerificationError(position, Tampering.INSERTED, "The line does not belong here.")


def _removed(position: LinePosition) -> VerificationError:
    return VerificationError(position, Tampering.REMOVED, "Lines before this one are missing.")


def _reordered(position: LinePosition) -> VerificationError:
    return VerificationError(
        position, Tampering.REORDERED, "Lines are not in the order in which they were written."
    )
