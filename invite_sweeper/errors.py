"""What can stop a run, and its exit code. Imports nothing of ours.

```
RunError
├── UsageFault           2   wrong usage; Atlas was not called
│   └── PolicyFault      2   the policy has faults; every one is listed
├── GuardRefused         3   a guard refused; nothing was deleted
├── CredentialsRefused   5   Atlas does not take the credentials
├── AtlasUnavailable     6   Atlas cannot be reached, answers nonsense, or dropped the version
│   └── VersionGone      6   it dropped the version of one list (410); other lists may go on
├── AuditUnwritable      7   the audit log cannot be written; nothing is sent after that
├── StoppedEarly         8   a signal or the deadline came first
└── LockHeld             9   another run holds the lock of the audit log
```

Trouble with one project or one invitation is no exception: it is a value
(`inventory.Unreadable`, an outcome `failed`), and the run goes on.
"""

from enum import IntEnum
from typing import ClassVar, NamedTuple

from typing_extensions import override


class ExitCode(IntEnum):
    """What the process tells its caller; the table stands in README.md."""

    DONE = 0
    DEFECT = 1
    USAGE = 2
    REFUSED = 3
    PARTLY = 4
    CREDENTIALS = 5
    UNREACHABLE = 6
    AUDIT = 7
    STOPPED = 8
    LOCKED = 9
    STALE = 10


class RunError(Exception):
    """The run cannot go on.

    Attributes:
        what: What happened, one sentence.
        state: What state things are in ("Nothing was deleted.").
        mend: What the person can do about it; empty when there is nothing.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.DEFECT

    def __init__(self, what: str, *, state: str = "Nothing was deleted.", mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.state = state
        self.mend = mend

    @override
    def __str__(self) -> str:
        return " ".join(part for part in (self.what, self.state, self.mend) if part)


class UsageFault(RunError):
    """Wrong usage: options, environment, credentials that are missing or too many."""

    exit_code = ExitCode.USAGE

    def __init__(self, what: str, *, mend: str = "") -> None:
        super().__init__(what, state="Atlas was not called.", mend=mend)


class Fault(NamedTuple):
    """One fault of a policy.

    Attributes:
        line: From 1.
        column: From 1, in characters.
        where: The place in words, as `rules[0].older_than`.
        what: What is wrong.
        mend: What to write instead.
    """

    line: int
    column: int
    where: str
    what: str
    mend: str


class PolicyFault(UsageFault):
    """The policy has faults; all of them, in the order of the file.

    Attributes:
        name: The file's name as the person gave it.
        faults: At least one.
    """

    def __init__(self, name: str, faults: tuple[Fault, ...]) -> None:
        self.name = name
        self.faults = faults
        plural = "s" if len(faults) != 1 else ""
        super().__init__(f"{name} has {len(faults)} fault{plural}.")

    def lines(self) -> tuple[str, ...]:
        """One line a fault: `file:line:column: where: what, and the mend`."""
        return tuple(
            f"{self.name}:{f.line}:{f.column}: {f.where}: {f.what}; {f.mend}" for f in self.faults
        )


class GuardRefused(RunError):
    """A guard refused. Nothing was deleted."""

    exit_code = ExitCode.REFUSED


class CredentialsRefused(RunError):
    """Atlas does not take the credentials, or not from this address."""

    exit_code = ExitCode.CREDENTIALS


class AtlasUnavailable(RunError):
    """Atlas cannot be reached, answers nonsense, or no longer serves the version."""

    exit_code = ExitCode.UNREACHABLE


class VersionGone(AtlasUnavailable):
    """Atlas no longer serves the version in use (410). A run over other lists, too, goes on."""


class AuditUnwritable(RunError):
    """The audit log cannot be written. No deletion is sent after that."""

    exit_code = ExitCode.AUDIT


class StoppedEarly(RunError):
    """A signal or the deadline came before the end."""

    exit_code = ExitCode.STOPPED


class LockHeld(RunError):
    """Another run holds the lock of the audit log."""

    exit_code = ExitCode.LOCKED
