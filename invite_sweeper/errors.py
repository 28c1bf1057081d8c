"""The errors that stop a run; `endings` has their exit codes and reasons.

A failure of one list or one invitation is not an exception. It is a value
(`models.ListUnreadable`, the outcome `failed`), and the run continues.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, NotRequired, Self

from typing_extensions import TypedDict, override

from invite_sweeper.endings import ExitCode, Reason
from invite_sweeper.text import Hint, plural_form, shorten_list

NOTHING_DELETED: Final = "Nothing was deleted."
_MAX_NAMED: Final = 10
"""Organizations that one error names; each has a line of its own."""


class ErrorParts(TypedDict):
    """The three parts of an error.

    Attributes:
        message: What happened, in one sentence that makes sense without the others.
        consequence: The resulting state ("Nothing was deleted."); empty where nothing could have
            changed.
        hint: What the operator can do, with the command; empty if nothing.
        command: The command at the end of the hint; missing without one.
        organization: The name with the id of the organization that it is about, where a run has
            several; missing if it is about the run.
    """

    message: str
    consequence: str
    hint: str
    command: NotRequired[str]
    organization: NotRequired[str]


class ErrorResult(TypedDict):
    """What `--output json` writes where a command has no result."""

    exit_code: int
    reasons: Sequence[Reason]
    error: ErrorParts


class RunError(Exception):
    """An error that stops the run; it has `ErrorParts`.

    Attributes:
        reason: Why, as one word for programs; the exit code is that of the reason.
        help_topic: The topic of `invite-sweeper help` about it; empty if there is none.
        hint: Without the command.
        command: Does what the hint says, and is shown behind it; empty if there is none.
        reasons: `reason`, or more exact ones: a plan can exceed several limits.
        organization: As in `ErrorParts`; empty if it is about the run.
    """

    reason: ClassVar[Reason] = Reason.DEFECT
    help_topic: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        consequence: str = NOTHING_DELETED,
        hint: str = "",
        command: str = "",
        reasons: tuple[Reason, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message: Final = message
        self.consequence: Final = consequence
        self.hint: Final = hint
        self.command: Final = command
        self.reasons: Final = reasons or (self.reason,)
        self.organization: Final = ""

    @property
    def exit_code(self) -> ExitCode:
        """What the run ends with."""
        return self.reason.exit_code

    def having(
        self,
        *,
        consequence: str | None = None,
        hint: str | None = None,
        command: str | None = None,
        organization: str | None = None,
    ) -> Self:
        """Return the error with other parts, for a caller that knows more."""
        parts = {
            "consequence": consequence,
            "hint": hint,
            "command": command,
            "organization": organization,
        }
        changed = {name: text for name, text in parts.items() if text is not None}
        # Without its constructor: that of a subclass may take other arguments, or check them.
        other = type(self).__new__(type(self), *self.args)
        vars(other).update(vars(self), **changed)
        other.__cause__ = self.__cause__
        return other

    def parts(self) -> ErrorParts:
        """Return what outputs show of the error."""
        hint = Hint(self.hint, self.command).sentence
        parts = ErrorParts(message=self.message, consequence=self.consequence, hint=hint)
        if self.command:
            parts["command"] = self.command
        if self.organization:
            parts["organization"] = self.organization
        return parts

    def result(self) -> ErrorResult:
        """Return what a command writes that ends with the error."""
        code = int(self.exit_code)
        return {"exit_code": code, "reasons": self.reasons, "error": self.parts()}

    def lines(self) -> tuple[str, ...]:
        """Return what stderr shows before the error; a policy has a line for each of its errors."""
        return ()

    @override
    def __str__(self) -> str:
        parts = (self.message, self.consequence, self.hint, self.command)
        return " ".join(part for part in parts if part)


def hint_of(parts: ErrorParts) -> Hint:
    """Return the hint of an error, with its command apart."""
    command = parts.get("command", "")
    return Hint(parts["hint"].removesuffix(command).rstrip(), command)


def with_organizations(message: str, labels: Sequence[str]) -> str:
    """Return a message after the organizations that it is about; alone without any.

    Args:
        labels: The names with the ids of these organizations.
    """
    if not labels:
        return message
    noun = plural_form(len(labels), "Organization", "Organizations")
    return f"{noun} {shorten_list(labels, _MAX_NAMED)}: {message}"


class UsageError(RunError):
    """Wrong usage: options, environment, missing or ambiguous credentials."""

    reason = Reason.USAGE

    def __init__(self, message: str, *, hint: str = "", command: str = "") -> None:
        super().__init__(message, consequence="Atlas was not called.", hint=hint, command=command)


class GuardRefused(RunError):
    """A guard refused the run."""

    reason = Reason.OTHER
    help_topic = "limits"


class DamagedLog(GuardRefused):
    """An audit log is damaged, so that a run cannot rely on the runs before it."""

    reason = Reason.EARLIER_RUNS
    help_topic = "audit"


class NoDeletionFound(RunError):
    """No run of the audit directory deleted who is to be invited again; no run began."""

    reason = Reason.NOT_FOUND


class Cancelled(GuardRefused):
    """The operator answered the confirmation question with anything but yes."""

    reason = Reason.NOT_CONFIRMED


class CredentialsRefused(RunError):
    """Atlas refused the credentials, or this IP address."""

    reason = Reason.CREDENTIALS
    help_topic = "credentials"

    def of_variables(self, variables: Iterable[str]) -> Self:
        """Return the error with a hint that names where the credentials come from."""
        names = " and ".join(variables)
        where = f"The credentials are those of {names}." if names else ""
        return self.having(hint=f"{self.hint} {where}".strip())


class AtlasUnavailable(RunError):
    """Atlas is not reachable, returns unexpected responses, or no longer serves the version."""

    reason = Reason.UNREACHABLE


class ApiVersionRetired(AtlasUnavailable):
    """Atlas no longer serves an API version in use (410). Other lists may still work."""


class AuditLogError(RunError):
    """The audit log cannot be written. No deletion is sent after that."""

    reason = Reason.AUDIT_LOG
    help_topic = "audit"


class Interrupted(RunError):
    """A signal or the deadline stopped the run."""

    reason = Reason.INTERRUPTED


class LockHeld(RunError):
    """Another run holds the lock of the audit log."""

    reason = Reason.LOCKED
