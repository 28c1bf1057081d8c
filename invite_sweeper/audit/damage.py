"""Kinds of damage to an audit log, and which of them a broken hash chain shows.

A line is intact if the next line contains its hash. `diagnose` uses this to tell a changed line
from missing and inserted ones.
"""

import re
from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from invite_sweeper.audit.chain import checksum_ok, line_hash
from invite_sweeper.audit.reader import LinePosition
from invite_sweeper.endings import DAMAGED_ADVICE, UNFINISHED_ADVICE

_PREV_FIELD = re.compile(rb'"prev"\s*:\s*"([0-9a-f]{64})"')

UNSIGNED_HINT: Final = (
    "Pass --public-key once for each key that signed the log, and --signed-from with the first "
    "signed run if earlier ones are not signed."
)


class Damage(StrEnum):
    """What is wrong with a log, as reported to the user."""

    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    """The line, or the file, does not belong where it is."""
    INCOMPLETE = "incomplete"
    """A finished run has an intent without an outcome, or an outcome without an intent."""
    UNSIGNED = "unsigned"
    """The end of a run is not signed by an expected key."""
    UNFINISHED = "unfinished"
    """A run was killed: not damage, unless lines were removed from the end."""

    @property
    def hint(self) -> str:
        """What to do about it."""
        hints = {Damage.UNFINISHED: UNFINISHED_ADVICE, Damage.UNSIGNED: UNSIGNED_HINT}
        return hints.get(self, DAMAGED_ADVICE)


@dataclass(frozen=True, slots=True)
class VerificationError:
    """The first damaged line of an audit log, or the first unfinished run of one without damage.

    Attributes:
        message: One sentence for the user.
        runs: IDs of the runs that are affected, as far as they are known.
    """

    position: LinePosition
    kind: Damage
    message: str
    runs: tuple[str, ...] = ()

    @property
    def consequence(self) -> str:
        """The state that the damage leaves; empty if no run is known to be affected."""
        runs = f"run {self.runs[0]}" if len(self.runs) == 1 else f"the runs {', '.join(self.runs)}"
        if not self.runs:
            return ""
        if self.kind is Damage.UNFINISHED:
            return f"What became of the last requests of {runs} is not known."
        if self.kind is Damage.UNSIGNED:
            return f"Without a signature, nothing proves who wrote the records of {runs}."
        return f"The records of {runs} are not reliable."


class BrokenLine(NamedTuple):
    """A line that does not follow the previous one.

    Attributes:
        line: Without its newline.
        prev: The hash of the previous line that it contains; None if it is not a log's line.
        run_id: Its run; empty if it is not a log's line.
        seq: Its number in the run.
        following: The next line; None at the end of the file.
    """

    line: bytes
    prev: str | None
    run_id: str
    seq: int
    following: bytes | None


def diagnose(
    position: LinePosition,
    broken: BrokenLine,
    *,
    expected_prev: str,
    last: tuple[str, int],
    previous_line: bytes | None,
    known_runs: Container[str],
) -> tuple[LinePosition, Damage, str]:
    """Return where a log is damaged, how, and a sentence.

    Args:
        position: Position of the broken line.
        broken: The line.
        expected_prev: Hash of the previous line.
        last: Run ID and number of the last line of the broken line's run, or, if that is not
            open, of the previous line.
        previous_line: Without its newline; None at the start of a file.
        known_runs: IDs of all runs so far.
    """
    prev_of_following = find_prev(broken.following)
    if broken.prev != expected_prev and prev_of_following == expected_prev:
        return _inserted(position)
    if broken.prev is None or broken.prev == expected_prev:
        return changed(position)
    is_intact = broken.following is None or prev_of_following == line_hash(broken.line)
    if previous_line is None:
        return _missing(position) if is_intact else changed(position)
    before = LinePosition(position.path, position.line - 1)
    if broken.seq == last[1] + 1:
        return changed(before if is_intact else position)
    if broken.seq == 1 and checksum_ok(previous_line) is False:
        return changed(before)
    continues_run = broken.run_id == last[0] and broken.seq > last[1]
    belongs_elsewhere = broken.run_id in known_runs and not continues_run
    return _inserted(position) if belongs_elsewhere else _missing(position)


def changed(position: LinePosition) -> tuple[LinePosition, Damage, str]:
    """Return the diagnosis of a line that was edited or cut short."""
    return position, Damage.CHANGED, "The line was changed."


def _inserted(position: LinePosition) -> tuple[LinePosition, Damage, str]:
    return position, Damage.INSERTED, "The line does not belong here."


def _missing(position: LinePosition) -> tuple[LinePosition, Damage, str]:
    return position, Damage.REMOVED, "Lines before this one are missing."


def find_prev(line: bytes | None) -> str | None:
    """Return the hash of the previous line that a line contains, which may be damaged."""
    found = _PREV_FIELD.search(line) if line is not None else None
    return found[1].decode() if found else None
