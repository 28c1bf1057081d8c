"""What is wrong with an audit log: which line, and what was done to it."""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

from invite_sweeper.audit.reader import Head, Spot
from invite_sweeper.audit.record import line_hash, seal_holds

_PREV = re.compile(rb'"prev"\s*:\s*"([0-9a-f]{64})"')


class Damage(StrEnum):
    """The kinds of damage, in the words that a person is told."""

    EDITED = "edited"
    REMOVED = "removed"
    INSERTED = "inserted"
    CUT_SHORT = "cut short"
    REORDERED = "reordered"
    UNANSWERED = "incomplete"
    """An intent has no outcome, in its run or in one that recovered it."""
    UNANNOUNCED = "unannounced"
    """An outcome of something that was sent has no intent."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The first line of an audit log that is wrong.

    Attributes:
        what: One sentence for a person.
    """

    spot: Spot
    kind: Damage
    what: str


@dataclass(frozen=True, slots=True)
class Expected:
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
    before: bytes | None
    runs: Container[str] = ()


@dataclass(slots=True)
class _Later:
    """What stands after the wrong line.

    Attributes:
        successor: The line that belongs in its place.
        origin: The place that it was taken from: what follows it, or what it follows.
        copy: The line itself, once more.
    """

    successor: bool = False
    origin: bool = False
    copy: bool = False


def diagnose(spot: Spot, line: bytes, expected: Expected, rest: Iterator[bytes]) -> Finding:
    """Say what was done to a log at the first line that does not follow the one before.

    A chain that breaks tells which lines are intact: those that the next one vouches for.

    Args:
        spot: Where the line stands.
        line: Without its newline.
        expected: What it should have been.
        rest: The lines after it, each without its newline; read as far as is needed.
    """
    if expected.before is not None and Head.of(expected.before) is None:
        return spoiled(_before(spot), expected.before)
    following = next(rest, None)
    after = rest if following is None else chain((following,), rest)
    head = Head.of(line)
    if head is not None and head.prev == expected.prev:
        return edited(spot)
    if _prev(following) == expected.prev:
        return _stray(spot, line, expected, after)
    if head is None:
        return spoiled(spot, line)
    vouched = following is None or _prev(following) == line_hash(line)
    return _break(spot, line, head, expected, after, vouched=vouched)


def _break(
    spot: Spot,
    line: bytes,
    head: Head,
    expected: Expected,
    after: Iterator[bytes],
    *,
    vouched: bool,
) -> Finding:
    """Name what is wrong between two lines of the right form that do not follow each other.

    Args:
        vouched: The next line, if there is one, says that this one is intact.
    """
    if head.seq == expected.seq and expected.before is not None:
        return spoiled(_before(spot), expected.before) if vouched else edited(spot)
    if _look_later(line, expected, after).successor:
        return _reordered(spot)
    if expected.before is None:
        return _removed(spot) if vouched else edited(spot)
    if head.seq == 1 and seal_holds(expected.before) is False:
        return edited(_before(spot))
    goes_on = head.run_id == expected.run_id and head.seq > expected.seq
    return _inserted(spot) if head.run_id in expected.runs and not goes_on else _removed(spot)


def contradicted(spot: Spot, line: bytes, rest: Iterator[bytes]) -> Finding | None:
    """Say so where the next line tells that this one is not what was written.

    For a line that follows the one before and yet makes no sense: an outcome may lack an
    intent because a bit of its id has turned.
    """
    following = next(rest, None)
    if following is None or _prev(following) in (None, line_hash(line)):
        return None
    return spoiled(spot, line)


def spoiled(spot: Spot, line: bytes) -> Finding:
    """Name a line that is not what was written: its end is missing, or else it was edited."""
    if line.endswith(b"}"):
        return edited(spot)
    return Finding(spot, Damage.CUT_SHORT, "The line's end is missing.")


def _stray(spot: Spot, line: bytes, expected: Expected, after: Iterator[bytes]) -> Finding:
    """Name a line that stands between two that belong together."""
    later = _look_later(line, expected, after)
    return _reordered(spot) if later.origin and not later.copy else _inserted(spot)


def _look_later(line: bytes, expected: Expected, after: Iterator[bytes]) -> _Later:
    later = _Later()
    own, own_prev = line_hash(line), _prev(line)
    before = own
    for each in after:
        prev, each_hash = _prev(each), line_hash(each)
        later.successor |= prev == expected.prev
        later.origin |= each_hash == own_prev or (prev == own and before != own)
        later.copy |= each_hash == own
        before = each_hash
    return later


def _prev(line: bytes | None) -> str | None:
    found = _PREV.search(line) if line is not None else None
    return found[1].decode() if found else None


def _before(spot: Spot) -> Spot:
    return Spot(spot.path, spot.line - 1)


def edited(spot: Spot) -> Finding:
    """Name a line whose contents were changed."""
    return Finding(spot, Damage.EDITED, "The line is not as it was written.")


def _inserted(spot: Spot) -> Finding:
    return Finding(spot, Damage.INSERTED, "The line was not written here.")


def _removed(spot: Spot) -> Finding:
    return Finding(spot, Damage.REMOVED, "Lines before this one are missing.")


def _reordered(spot: Spot) -> Finding:
    return Finding(spot, Damage.REORDERED, "Lines are not in the order in which they were written.")
