"""What one look found: fine, worth a look, or what would stop a sweep. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from invite_sweeper.errors import ExitCode, RunError


class State(StrEnum):
    """How it stands."""

    OK = "ok"
    WARNING = "warning"
    """A sweep would run, and perhaps not do all that is wanted."""
    FAILED = "failed"
    """A sweep would end with the check's code."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's.

    Attributes:
        name: What was looked at.
        message: One sentence for a person.
        hint: What to do about it; "" where there is nothing to do.
        code: What a sweep would end with; 0 unless failed.
    """

    name: str
    state: State
    message: str
    hint: str = ""
    code: ExitCode = ExitCode.DONE


@dataclass(frozen=True, slots=True)
class Checkup:
    """All lines, in the order in which a sweep comes upon what they tell of."""

    now: datetime
    checks: Sequence[Check]

    @property
    def exit_code(self) -> int:
        """The code that a sweep would end with, else 4 with a warning, else 0."""
        for check in self.checks:
            if check.state is State.FAILED:
                return int(check.code)
        warned = any(check.state is State.WARNING for check in self.checks)
        return int(ExitCode.PARTLY if warned else ExitCode.DONE)

    def to_json(self) -> dict[str, object]:
        """Return the object that `--output json` writes."""
        return {
            "now": self.now,
            "checks": [
                {"check": c.name, "state": c.state, "what": c.message, "mend": c.hint or None}
                for c in self.checks
            ],
            "exit_code": self.exit_code,
        }


def ok(name: str, message: str) -> Check:
    """Say that something is fine."""
    return Check(name, State.OK, message)


def warning(name: str, message: str, hint: str = "") -> Check:
    """Say that something is worth a look."""
    return Check(name, State.WARNING, message, hint)


def failed(name: str, error: RunError) -> Check:
    """Say what would stop a sweep, and with which code."""
    return Check(name, State.FAILED, error.message, error.hint, error.exit_code)
