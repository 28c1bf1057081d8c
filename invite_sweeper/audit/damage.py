"""Kinds of damage to an audit log."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from invite_sweeper.audit.reader import LinePosition
from invite_sweeper.endings import DAMAGED_ADVICE, UNFINISHED_ADVICE


class Damage(StrEnum):
    """What is wrong with a log, as reported to the user."""

    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    """The line, or the file, does not belong where it is."""
    INCOMPLETE = "incomplete"
    """A finished run has an intent without an outcome, or an outcome without an intent."""
    UNFINISHED = "unfinished"
    """A run was killed: not damage, unless lines were removed from the end."""

    @property
    def message(self) -> str:
        """One sentence about a line."""
        return _MESSAGES[self]

    @property
    def hint(self) -> str:
        """What to do about it."""
        return UNFINISHED_ADVICE if self is Damage.UNFINISHED else DAMAGED_ADVICE


_MESSAGES: Final = {
    Damage.CHANGED: "The line was changed.",
    Damage.REMOVED: "Lines before this one are missing.",
    Damage.INSERTED: "The line does not belong here.",
}


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
        return f"The records of {runs} are not reliable."
