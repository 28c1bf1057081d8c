"""What is wrong with an audit log: which line, and what was done to it."""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

from invite_sweeper.audit.reader import LineHeader, LinePosition
from invite_sweeper.audit.record import checksum_ok, line_hash

_PREV_FIELD = re.compile(rb'"prev"\s*:\s*"([0-9a-f]{64})"')


class Tampering(StrEnum):
    """The kinds of damage, in the words that a person is told."""

    EDITED = "edited"
    REMOVED = "removed"
    INSERTED = "inserted"
    CUT_SHORT = "cut short"
    REORDERED = "reordered"
    WITHOUT_OUTCOME = "incomplete"
    """An intent has no outcome, in its run or in one that recovered it."""
    WITHOUT_INTENT = "unannounced"
    """An outcome of something that was sent has no intent."""


@dataclass(frozen=True, slots=True)
class VerificationError:
    """The first line of an audit log that is wrong.

    Attributes:
        what: One sentence for a person.
    """

    position: LinePosition
    kind: Tampering
    message: str


@dataclass(frozen=True, slots=True)
class ExpectedLine:
    """What the line at hand should have been.

    Attributes:
        prev: The hash of the line before.
        run_id: The run of the line before; "" at the beginning.
        seq: The number of the line before in its run, plus 1.
        before: The line before; None at the beginning of a file.
        runs: All runs so far.
    """

    prev: str
    run_id: str
    seq: int
    previous_line: bytes | None
    known_runs: Container[str] = ()


@dataclass(slots=True)
class _LaterLines:
    """What stands after the wrong line.

    Attributes:
        successor: The line that belongs in its place.
        origin: The place that it was taken from: what follows it, or what it follows.
        copy: The line itself, once more.
    """

    has_successor: bool = False
    has_origin: bool = False
    has_copy: bool = False


def diagnose(
    position: LinePosition, line: bytes, expected: ExpectedLine, later_lines: Iterator[bytes]
) -> VerificationError:
    """Say what was done to a log at the first line that does not follow the one before.

    A chain that breaks tells which lines are intact: those that the next one vouches for.

    Args:
        spot: Where the line stands.
        line: Without its newline.
        expected: What it should have been.
        rest: The lines after it, each without its newline; read as far as is needed.
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
    """Name what is wrong between two lines of the right form that do not follow each other.

    Args:
        vouched: The next line, if there is one, says that this one is intact.
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
    """Say so where the next line tells that this one is not what was written.

    For a line that follows the one before and yet makes no sense: an outcome may lack an
    intent because a bit of its id has turned.
    """
    following = next(later_lines, None)
    if following is None or _prev_hash(following) in (None, line_hash(line)):
        return None
    return incomplete_or_edited(position, line)


def incomplete_or_edited(position: LinePosition, line: bytes) -> VerificationError:
    """Name a line that is not what was written: its end is missing, or else it was edited."""
    if line.endswith(b"}"):
        return edited(position)
    return VerificationError(position, Tampering.CUT_SHORT, "The line's end is missing.")


def _inserted_or_moved(
    position: LinePosition, line: bytes, expected: ExpectedLine, lines_from_next: Iterator[bytes]
) -> VerificationError:
    """Name a line that stands between two that belong together."""
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
    """Name a line whose contents were changed."""
    return VerificationError(position, Tampering.EDITED, "The line is not as it was written.")


def _inserted(position: LinePosition) -> VerificationError:
    return VerificationError(position, Tampering.INSERTED, "The line was not written here.")


def _removed(position: LinePosition) -> VerificationError:
    return VerificationError(position, Tampering.REMOVED, "Lines before this one are missing.")


def _reordered(position: LinePosition) -> VerificationError:
    return VerificationError(
        position, Tampering.REORDERED, "Lines are not in the order in which they were written."
    )
