"""Exit codes, and the errors that stop a run. Imports no other module of this package.

A failure of one list or one invitation is not an exception. It is a value
(`models.ListUnreadable`, the outcome `failed`), and the run continues.
"""

import shlex
from enum import IntEnum, StrEnum
from typing import ClassVar, Final, NamedTuple, Self

from typing_extensions import TypedDict, override


class RunStatus(StrEnum):
    """How a run ended, for readers who do not know the exit codes."""

    DONE = "done"
    PARTLY_DONE = "partly done"
    STOPPED = "stopped"
    REFUSED = "refused"
    FAILED = "failed"


class ExitCode(IntEnum):
    """An exit code and its meaning.

    A test compares the tables of `--help`, README.md and deploy/ with it.

    Attributes:
        label: For `--help`, notifications and lists; without a full stop.
        meaning: For the table in README.md.
        hint: What to do, for the table in README.md; empty if nothing.
    """

    label: str
    meaning: str
    hint: str
    status: RunStatus

    def __new__(
        cls,
        value: int,
        label: str = "",
        meaning: str = "",
        hint: str = "",
        status: RunStatus = RunStatus.FAILED,
    ) -> Self:
        """Return the member for a row; only the type checker needs the defaults."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.label = label
        member.meaning = meaning
        member.hint = hint
        member.status = status
        return member

    DONE = (0, "done", "Done, also when there was nothing to do.", "", RunStatus.DONE)
    DEFECT = (1, "internal error", "Internal error.", "Please report it.")
    USAGE = (
        2,
        "wrong usage or invalid policy",
        "Wrong usage or invalid policy. Atlas was not called.",
        "The message names the position and the fix.",
    )
    REFUSED = (
        3,
        "refused by a guard, nothing was deleted",
        (
            "A guard refused: limits, clock, plan, approval, population, quarantine, an unreadable "
            "log, or no visible project. Nothing was deleted."
        ),
        (
            "Follow the hint in the message. Over a limit: read the plan, then raise the limit, "
            "narrow the rules, or set `over_limit: trim`."
        ),
        RunStatus.REFUSED,
    )
    PARTIAL = (
        4,
        "partly done",
        (
            "Partly done: some projects could not be read, or some deletions failed. The rest was "
            "done, unless the canary or the circuit breaker stopped the sweep. In a restore: some "
            "people were not invited, or became active members at once."
        ),
        "Look up the errors in the result or the audit log, then run the command again.",
        RunStatus.PARTLY_DONE,
    )
    CREDENTIALS = (
        5,
        "credentials refused",
        (
            "Credentials refused: no access token, 401 for the first request, or an address that "
            "is not on the IP access list."
        ),
        "Check the credentials, their role and the access list.",
    )
    UNREACHABLE = (
        6,
        "Atlas is not reachable",
        (
            "Atlas is not reachable, returns unexpected responses, or no longer serves the API "
            "version."
        ),
        "Run the command again. After a 410, follow the message.",
    )
    AUDIT = (
        7,
        "the audit log cannot be written",
        "The audit log or the population cannot be written. No deletion was sent after that.",
        "Free disk space, then run the command again: it processes the rest.",
    )
    INTERRUPTED = (
        8,
        "stopped early",
        "Stopped early by a signal or the deadline. The audit log is complete.",
        "Run the command again: it processes the rest.",
        RunStatus.STOPPED,
    )
    LOCKED = (
        9,
        "another run holds the lock",
        "Another run holds the lock of the audit log.",
        "The message names the run and its start.",
    )
    STALE = (
        10,
        "done, there are stale invitations",
        "Done: a dry run with `--detailed-exitcode` found stale invitations.",
        "",
        RunStatus.DONE,
    )

    @property
    def retryable(self) -> bool:
        """Whether the same command may succeed when it is run again."""
        return self in {ExitCode.PARTIAL, ExitCode.UNREACHABLE, ExitCode.INTERRUPTED}

    @property
    def succeeded(self) -> bool:
        """Whether the run did everything that was requested."""
        return self.status is RunStatus.DONE

    @property
    def read_everything(self) -> bool:
        """Whether a later run may compare its counts with this one.

        REFUSED is excluded: an unusual run would become the reference.
        """
        return self.status in {RunStatus.DONE, RunStatus.PARTLY_DONE}


class Reason(StrEnum):
    """Why a run did not do everything, as one word for alerts and other programs."""

    MAX_DELETIONS = "max_deletions"
    MAX_DELETIONS_PER_PROJECT = "max_deletions_per_project"
    MAX_SHARE = "max_share"
    MAX_UNREADABLE_PROJECTS = "max_unreadable_projects"
    MAX_POPULATION_DROP = "max_population_drop"
    CLOCK = "clock"
    QUARANTINE = "quarantine"
    PLAN = "plan"
    APPROVAL = "approval"
    EARLIER_RUNS = "earlier_runs"
    """The audit log of earlier runs is missing, changed or unreadable."""
    NO_VISIBLE_PROJECT = "no_visible_project"
    NOT_CONFIRMED = "not_confirmed"
    OTHER = "other"
    """Another guard; no guard of a sweep."""

    UNREADABLE_PROJECTS = "unreadable_projects"
    RETIRED_SOURCE = "retired_source"
    FAILED_DELETIONS = "failed_deletions"
    UNKNOWN_DELETIONS = "unknown_deletions"
    STILL_THERE = "still_there"
    REMOVED_MEMBER = "removed_member"
    CIRCUIT_BREAKER = "circuit_breaker"

    CREDENTIALS = "credentials"
    UNREACHABLE = "unreachable"
    AUDIT_LOG = "audit_log"
    INTERRUPTED = "interrupted"
    LOCKED = "locked"
    USAGE = "usage"
    DEFECT = "defect"


REFUSAL_REASONS: Final = (
    *(Reason.MAX_DELETIONS, Reason.MAX_DELETIONS_PER_PROJECT, Reason.MAX_SHARE),
    *(Reason.MAX_UNREADABLE_PROJECTS, Reason.MAX_POPULATION_DROP, Reason.CLOCK),
    *(Reason.QUARANTINE, Reason.PLAN, Reason.APPROVAL, Reason.EARLIER_RUNS),
    *(Reason.NO_VISIBLE_PROJECT, Reason.NOT_CONFIRMED, Reason.OTHER),
)
"""Why a guard refuses a sweep (exit code 3)."""


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
        command = shlex.join(("invite-sweeper", "validate", self.name))
        hint = f"List them with: {command}"
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
