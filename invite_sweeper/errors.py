"""The errors that stop a run; `endings` has their exit codes and reasons.

A failure of one list or one invitation is not an exception. It is a value
(`models.ListUnreadable`, the outcome `failed`), and the run continues.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import ClassVar, NamedTuple

from typing_extensions import TypedDict, override

from invite_sweeper.endings import ExitCode, Reason
from invite_sweeper.program import command


class ErrorParts(TypedDict):
    """The three parts of an error.

    Attributes:
        message: What happened, in one sentence that makes sense without the others.
        consequence: The resulting state; empty where nothing could have changed.
        hint: What the operator can do; empty if nothing.
    """

    message: str
    consequence: str
    hint: str


class ErrorResult(TypedDict):
    """What a command writes where it has no result.

    Attributes:
        reasons: Why the command has no result, as words for programs.
    """

    exit_code: int
    reasons: Sequence[Reason]
    error: ErrorParts


class RunError(Exception):
    """An error that stops the run.

    Attributes:
        message: What happened, in one sentence that makes sense without the others.
        consequence: The resulting state ("Nothing was deleted.").
        hint: What the operator can do; empty if nothing.
        reasons: The same for programs; a plan can exceed several limits.
        help_topic: The topic of `invite-sweeper help` that says more; empty if there is none.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.DEFECT
    default_reason: ClassVar[Reason] = Reason.DEFECT
    help_topic: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        consequence: str = "Nothing was deleted.",
        hint: str = "",
        reasons: tuple[Reason, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.consequence = consequence
        self.hint = hint
        self.reasons = reasons or (self.default_reason,)

    def to_json(self) -> ErrorParts:
        """Return the three parts, as `--output json` writes them."""
        return {"message": self.message, "consequence": self.consequence, "hint": self.hint}

    @override
    def __str__(self) -> str:
        return " ".join(part for part in (self.message, self.consequence, self.hint) if part)


class UsageError(RunError):
    """Wrong usage: options, environment, missing or ambiguous credentials."""

    exit_code = ExitCode.USAGE
    default_reason = Reason.USAGE

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, consequence="Atlas was not called.", hint=hint)


class Severity(StrEnum):
    """Whether a policy with this issue is valid."""

    ERROR = "error"
    WARNING = "warning"


class PolicyIssue(NamedTuple):
    """One error in a policy, or a warning about a valid one.

    Attributes:
        line: From 1.
        column: From 1, in characters.
        where: The key, such as `rules[0].older_than`.
        message: What is wrong.
        hint: What to write instead; empty if nothing.
    """

    line: int
    column: int
    where: str
    message: str
    hint: str
    severity: Severity = Severity.ERROR


class InvalidPolicy(UsageError):
    """The policy is not valid.

    Attributes:
        name: The file name as the user wrote it.
        issues: All errors, at least one, in the order of the file.
    """

    help_topic = "policy"

    def __init__(self, name: str, issues: tuple[PolicyIssue, ...]) -> None:
        self.name = name
        self.issues = issues
        plural = "s" if len(issues) != 1 else ""
        super().__init__(f"{name} has {len(issues)} error{plural}.")

    @override
    def to_json(self) -> ErrorParts:
        """Return the three parts; only stderr has the errors."""
        listed = command("validate", self.name)
        hint = f"List them with: {listed}"
        return {"message": self.message, "consequence": self.consequence, "hint": hint}

    def lines(self) -> tuple[str, ...]:
        """Return one line per error: `file:line:column: where: message; hint`."""
        return tuple(
            f"{self.name}:{each.line}:{each.column}: {each.where}: {each.message}; {each.hint}"
            for each in self.issues
        )


class GuardRefused(RunError):
    """A guard refused the run. Nothing was deleted."""

    exit_code = ExitCode.REFUSED
    default_reason = Reason.OTHER
    help_topic = "limits"


class DamagedLog(GuardRefused):
    """An audit log is damaged, so that a run cannot rely on the runs before it."""

    default_reason = Reason.EARLIER_RUNS
    help_topic = "audit"


class Cancelled(GuardRefused):
    """The operator answered the confirmation question with anything but yes."""

    default_reason = Reason.NOT_CONFIRMED


class CredentialsRefused(RunError):
    """Atlas refused the credentials, or this IP address."""

    exit_code = ExitCode.CREDENTIALS
    default_reason = Reason.CREDENTIALS
    help_topic = "credentials"

    def name_variables(self, variables: Iterable[str]) -> None:
        """Add to the hint where the credentials come from."""
        if names := " and ".join(variables):
            self.hint = f"{self.hint} The credentials are those of {names}.".strip()


class AddressRefused(CredentialsRefused):
    """Atlas refused this IP address: it is not on the access list of the credentials."""


class AtlasUnavailable(RunError):
    """Atlas is not reachable, returns unexpected responses, or no longer serves the version."""

    exit_code = ExitCode.UNREACHABLE
    default_reason = Reason.UNREACHABLE


class ApiVersionRetired(AtlasUnavailable):
    """Atlas no longer serves an API version in use (410). Other lists may still work."""


class AuditLogError(RunError):
    """The audit log cannot be written. No deletion is sent after that."""

    exit_code = ExitCode.AUDIT
    default_reason = Reason.AUDIT_LOG
    help_topic = "audit"


class Interrupted(RunError):
    """A signal or the deadline stopped the run."""

    exit_code = ExitCode.INTERRUPTED
    default_reason = Reason.INTERRUPTED


class LockHeld(RunError):
    """Another run holds the lock of the audit log."""

    exit_code = ExitCode.LOCKED
    default_reason = Reason.LOCKED
