"""The errors that stop a run, and advice about it; `endings` has their exit codes and reasons.

A failure of one list or one invitation is not an exception. It is a value
(`models.ListUnreadable`, the outcome `failed`), and the run continues.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Final, NamedTuple, NotRequired, Self

from typing_extensions import TypedDict, override

from invite_sweeper.endings import ExitCode, Reason, advised_reasons
from invite_sweeper.text import Hint, plural_form, shell_command, shorten_list

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


class Advisor(NamedTuple):
    """Builds advice about one run from its facts: exact commands that can be copied.

    Terminal, page, messages, `plan`, `sweep` and `restore` take the commands that they print from
    here.

    Attributes:
        run: Its number in the audit directory, or its id.
        policy: The policy file, as the operator named it.
        audit_dir: The value of `--audit-dir`; empty where the policy names the directory.
        base_url: The value of `--base-url`; empty for the default.
        organization: The id of the only one that is listed; empty for all.
    """

    run: str = ""
    policy: str = ""
    audit_dir: str = ""
    base_url: str = ""
    organization: str = ""

    def advise(self, reasons: Iterable[str]) -> Mapping[Reason, Hint]:
        """Return what to do about each reason whose advice is shown, the most urgent first."""
        return {reason: self._hint(reason) for reason in advised_reasons(reasons)}

    def list_run(self, *words: str) -> str:
        """Return the command that lists the lines of the run."""
        return self.list_runs(self.run, *words)

    def list_runs(self, *words: str) -> str:
        """Return the command that lists the runs, or with a filter their lines."""
        only = _option_words("--organization", self.organization)
        return self._offline("audit", "show", *words, *only)

    def read_plan(self, file: str) -> str:
        """Return the command with which a second person reads a plan."""
        return shell_command("audit", "show", file)

    def new_plan(self, *words: str) -> str:
        """Return the command that makes another plan; `words` are further options."""
        return self._connected("plan", *words)

    def pending(self) -> str:
        """Return the command that lists the pending invitations."""
        return self._connected("list")

    def check(self) -> str:
        """Return the command that checks whether a sweep can run."""
        return self._connected("doctor")

    def again(self, words: Sequence[str]) -> str:
        """Return the command of a run that did not end; "" where its words are not known."""
        return self._connected(*words) if words else ""

    def apply_plan(self, file: str, sha256: str, *more: str) -> str:
        """Return the command that applies the plan that was read; `more` are further options."""
        return self._connected("sweep", "--plan", file, "--plan-sha256", sha256, *more)

    def restore(self, username: str = "", *words: str) -> str:
        """Return the command that invites people again whom the run deleted.

        Args:
            username: A glob; empty for all. Without a run, it is the last deletion of each.
            words: Further options.
        """
        run = (self.run,) if self.run else ()
        return self._connected("restore", *run, *_option_words("--username", username), *words)

    def history(self, username: str) -> str:
        """Return the command that shows what all runs did with people; `username` is a glob."""
        return self._offline("audit", "show", "--username", username)

    def _connected(self, *words: str) -> str:
        """Return a command that calls Atlas."""
        policy = _option_words("--policy", self.policy)
        base_url = _option_words("--base-url", self.base_url)
        directory = _option_words("--audit-dir", self.audit_dir)
        return shell_command(*words, *policy, *base_url, *directory)

    def _offline(self, *words: str) -> str:
        """Return a command that reads the audit log; the policy only names its directory."""
        directory = _option_words("--audit-dir", self.audit_dir)
        if not directory:
            directory = _option_words("--policy", self.policy)
        return shell_command(*words, *directory)

    def _hint(self, reason: Reason) -> Hint:
        """Return the advice of a reason with its command."""
        commands = {
            "": "",
            "report": self._offline("report", "--out", "report.html"),
            "doctor": self.check(),
            "verify": self._offline("audit", "verify"),
            "plan": self.new_plan(),
            "failed": self.list_run("--outcome", "failed"),
            "active": self.list_run("--outcome", "active"),
        }
        return Hint(reason.advice, commands[reason.command])


def _option_words(name: str, value: str) -> tuple[str, ...]:
    """Return an option with its value as words of a command; none without a value."""
    return (name, value) if value else ()
