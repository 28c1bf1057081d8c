"""How a run ends and what to do about it: one table for every output.

An exit code is how a command ended, a reason is why it did not do everything, and a status sums up
runs for a person. Terminal, report, notifications, metrics, JSON, `doctor`, and the pages and
manifests of deploy/ take their words from here; programs decide by the codes and never by a
sentence.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum, StrEnum
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias

Style: TypeAlias = Literal[
    "plain", "note", "strong", "privileged", "good", "info", "warning", "bad"
]
"""How a text is shown; the terminal and the page choose the colour themselves."""


def new_member(cls: Any, value: Any, facts: Sequence[object]) -> Any:  # noqa: ANN401  any enum
    """Return a member of an enumeration, with a fact for each attribute that it annotates.

    A fact that a row leaves out is the empty value of its type.
    """
    member = cls._member_type_.__new__(cls, value)
    member._value_ = value
    # The annotations of the class, in their order, are the columns of the table.
    for number, (name, kind) in enumerate(cls.__annotations__.items()):
        setattr(member, name, facts[number] if number < len(facts) else kind())
    return member


class FactEnum(StrEnum):
    """An enumeration whose members are rows of a table: a value and facts."""

    def __new__(cls, value: str, *facts: object) -> Self:
        """Return the member of a row."""
        member: Self = new_member(cls, value, facts)
        return member


class Status(FactEnum):
    """How a run, an organization, a night or a whole report ended; the worst is first.

    Attributes:
        label: As a heading.
    """

    label: str
    style: Style

    DAMAGED = ("damaged", "Damaged audit log", "bad")
    FAILED = ("failed", "Failed", "bad")
    UNFINISHED = ("unfinished", "Unfinished", "bad")
    REFUSED = ("refused", "Refused", "warning")
    STOPPED = ("stopped", "Stopped early", "warning")
    PARTLY_DONE = ("partly done", "Partly done", "warning")
    CUT_OFF = ("cut off", "Cut off", "warning")
    RECOVERED = ("recovered", "Recovered", "warning")
    DONE = ("done", "Done", "good")
    EMPTY = ("empty", "No run", "plain")


CUT_OFF_CAUSE: Final = "killed, or its log could not be written, as on a full disk"
"""A run that has no last line and left no request open: its file does not tell which."""
DAMAGED_ADVICE: Final = (
    "Keep the files as they are. Find out who or what changed them, and compare them with a backup "
    "or with a hash of the last line that was kept elsewhere."
)
UNFINISHED_ADVICE: Final = (
    "If the run is still running, wait. If it was killed, run the same command again: a sweep or "
    "restore records what became of each request that was sent; the plan of a dry run that did not "
    "end cannot be applied."
)


class _ExitCodeRow(NamedTuple):
    value: int
    label: str
    meaning: str
    status: Status
    advice: str = ""
    retryable: bool = False


class ExitCode(IntEnum):
    """An exit code and its meaning.

    A test compares the tables of `--help`, `help exit-codes` and deploy/ with it.

    Attributes:
        label: For `--help`, notifications and lists.
        meaning: For the table of `help exit-codes`.
        advice: What to do; empty if nothing.
        retryable: A scheduler should start the same command again.
    """

    label: str
    meaning: str
    status: Status
    advice: str
    retryable: bool

    def __new__(cls, value: int, *facts: object) -> Self:
        """Return the member of a row."""
        member: Self = new_member(cls, value, facts)
        return member

    DONE = _ExitCodeRow(
        0,
        label="done",
        meaning="Done, also when there was nothing to do.",
        status=Status.DONE,
    )
    DEFECT = _ExitCodeRow(
        1,
        label="internal error",
        meaning="Internal error.",
        advice="Please report it.",
        status=Status.FAILED,
    )
    USAGE = _ExitCodeRow(
        2,
        label="wrong usage or invalid policy",
        meaning="Wrong usage or invalid policy. Atlas was not called.",
        advice="The message names the position and the fix.",
        status=Status.FAILED,
    )
    REFUSED = _ExitCodeRow(
        3,
        label="refused by a guard, nothing was deleted",
        meaning=(
            "A guard refused: limits, clock, plan, an unreadable audit directory, or no visible "
            "project. Nothing was deleted."
        ),
        advice="Follow the hint in the message: it depends on the guard.",
        status=Status.REFUSED,
    )
    PARTIAL = _ExitCodeRow(
        4,
        label="partly done",
        meaning=(
            "Partly done: some projects could not be read, a guard kept one organization out, or "
            "some deletions failed. The rest was done, unless the canary or the circuit breaker "
            "stopped the sweep. In a restore: some people were not invited, or became active "
            "members at once."
        ),
        advice="Follow the advice of the result; it depends on the reasons.",
        status=Status.PARTLY_DONE,
    )
    CREDENTIALS = _ExitCodeRow(
        5,
        label="credentials refused",
        meaning=(
            "Credentials refused: no access token, 401 for the first request, or an address that "
            "is not on the IP access list."
        ),
        advice="Check the credentials, their role and the access list.",
        status=Status.FAILED,
    )
    UNREACHABLE = _ExitCodeRow(
        6,
        label="Atlas is not reachable",
        meaning=(
            "Atlas is not reachable, returns unexpected responses, or no longer serves the API "
            "version."
        ),
        advice="Run the command again. After a 410, follow the message.",
        status=Status.FAILED,
        retryable=True,
    )
    AUDIT = _ExitCodeRow(
        7,
        label="the audit log or the plan's copy cannot be written",
        meaning=(
            "The audit log cannot be written, and no deletion was sent after that. Or the run is "
            "complete, and the copy of its plan for `--out` cannot be written."
        ),
        advice="Free disk space, then run the command again: it processes the rest.",
        status=Status.FAILED,
    )
    INTERRUPTED = _ExitCodeRow(
        8,
        label="stopped early",
        meaning="Stopped early by a signal or the deadline. The audit log is complete.",
        advice="Run the command again: it processes the rest.",
        status=Status.STOPPED,
        retryable=True,
    )
    LOCKED = _ExitCodeRow(
        9,
        label="another run holds the lock",
        meaning="Another run holds the lock of the audit directory.",
        advice="The message names the run and its start.",
        status=Status.FAILED,
    )
    STALE = _ExitCodeRow(
        10,
        label="done, there are stale invitations",
        meaning="Done: a dry run with `--detailed-exitcode` found stale invitations.",
        status=Status.DONE,
    )


COMPLETE_EXIT_CODES: Final = frozenset(
    code for code in ExitCode if code.status in {Status.DONE, Status.PARTLY_DONE}
)
"""Of runs that read all they could and were not stopped: 0, 4 and 10."""

_TOO_MANY: Final = (
    "Read the plan, then raise the limit, narrow the rules, or set over_limit: trim to delete only "
    "the oldest."
)


class _ReasonRow(NamedTuple):
    value: str
    exit_code: ExitCode
    advice: str = ""
    retryable: bool = False
    label: str = ""
    command: str = ""


def _refused(
    value: str, advice: str = "", *, label: str = "", retryable: bool = False, command: str = ""
) -> _ReasonRow:
    return _ReasonRow(value, ExitCode.REFUSED, advice, retryable, label or value, command)


def _partial(
    value: str, label: str, *, advice: str, retryable: bool = False, command: str = ""
) -> _ReasonRow:
    return _ReasonRow(value, ExitCode.PARTIAL, advice, retryable, label, command)


class Reason(FactEnum):
    """Why a run did not do everything, as one word for alerts and other programs.

    Those of a run without an error are in the order in which an operator should deal with them.

    Attributes:
        exit_code: What a run ends with for this reason.
        advice: What to do; empty if nothing, or if the error has a hint.
        retryable: Whether the same command, repeated without a change, may succeed.
        label: A few words, of a refusal and of a reason that is not an error. Of a limit it is the
            key of the policy.
        command: The name of the command behind the advice; `Advisor` has the commands.
    """

    exit_code: ExitCode
    advice: str
    retryable: bool
    label: str
    command: str

    MAX_DELETIONS = _refused("max_deletions", _TOO_MANY)
    MAX_DELETIONS_PER_PROJECT = _refused("max_deletions_per_project", _TOO_MANY)
    MAX_SHARE = _refused("max_share", _TOO_MANY)
    MAX_UNREADABLE_PROJECTS = _refused(
        "max_unreadable_projects",
        "Grant the credentials the role in those projects, exclude them, or raise "
        "max_unreadable_projects. The audit log names each project with the reason.",
    )
    CLOCK = _refused(
        "clock", "Synchronize the clock with NTP.", label="clock not Atlas's", retryable=True
    )
    PLAN = _refused(
        "plan", "Create a new plan with:", label="saved plan not applicable", command="plan"
    )
    """The plan of `--plan`."""
    PLAN_AGE = _refused(
        "plan_age",
        "Run the same command again: it makes a new plan.",
        label="plan too old",
        retryable=True,
    )
    EARLIER_RUNS = _refused(
        "earlier_runs", "Check the audit log with:", label="audit log damaged", command="verify"
    )
    """The audit log of earlier runs is missing, changed or unreadable."""
    NO_VISIBLE_PROJECT = _refused(
        "no_visible_project",
        "Check the credentials and the ids of the organizations:",
        label="no project in sight",
        command="doctor",
    )
    NOT_CONFIRMED = _refused(
        "not_confirmed",
        "Run the command again, and answer yes to what it shows.",
        label="not confirmed",
        retryable=True,
    )
    OTHER = _refused("other")
    """Another guard; no guard of a sweep."""
    CIRCUIT_BREAKER = _partial(
        "circuit_breaker",
        "stopped itself",
        advice="Find out why the deletions failed before you run the sweep again:",
        command="report",
    )
    MISSING_ROLE = _partial(
        "missing_role",
        "role missing",
        advice="Grant the credentials the role that is missing, or exclude the projects; until "
        "then the same command ends the same way. To list them:",
        command="doctor",
    )
    """Atlas refused to read a list or to delete."""
    UNREADABLE_PROJECTS = _partial(
        "unreadable_projects",
        "lists not read",
        advice="The next run reads the lists again. If they stay unreadable:",
        command="doctor",
        retryable=True,
    )
    RETIRED_SOURCE = _partial(
        "retired_source",
        "retired list",
        advice="Write the `sources` of the message about the retired list into the policy.",
    )
    FAILED_DELETIONS = _partial(
        "failed_deletions",
        "deletions failed",
        advice="The next sweep tries the failed deletions again. To list them:",
        command="failed",
        retryable=True,
    )
    UNKNOWN_DELETIONS = _partial(
        "unknown_deletions",
        "deletions without a response",
        advice="The next sweep checks the deletions without a response.",
        retryable=True,
    )
    MADE_ACTIVE = _partial(
        "made_active",
        "people became active members",
        advice="Check that each of them should have access, and remove those who should not:",
        command="active",
    )
    """A restore, in a federated organization."""
    NOT_INVITED = _partial(
        "not_invited",
        "people not invited",
        advice="Run the same restore again: it leaves out people who are there already. Invite "
        "those who fail again in Atlas itself.",
        retryable=True,
    )
    """A restore whose invitations failed, were not sent, or have an unknown result."""
    NOT_FOUND = _ReasonRow("not_found", ExitCode.PARTIAL)
    """A restore of people whom no run deleted."""
    CREDENTIALS = _ReasonRow(
        "credentials",
        ExitCode.CREDENTIALS,
        "Check the credentials, their role and the access list:",
        command="doctor",
    )
    UNREACHABLE = _ReasonRow(
        "unreachable",
        ExitCode.UNREACHABLE,
        "Run the command again. If it fails again:",
        command="doctor",
        retryable=True,
    )
    AUDIT_LOG = _ReasonRow("audit_log", ExitCode.AUDIT, ExitCode.AUDIT.advice)
    INTERRUPTED = _ReasonRow(
        "interrupted", ExitCode.INTERRUPTED, ExitCode.INTERRUPTED.advice, retryable=True
    )
    LOCKED = _ReasonRow("locked", ExitCode.LOCKED, "Wait for that run to end, or stop it.")
    USAGE = _ReasonRow("usage", ExitCode.USAGE)
    DEFECT = _ReasonRow("defect", ExitCode.DEFECT, ExitCode.DEFECT.advice)


REFUSAL_REASONS: Final = tuple(reason for reason in Reason if reason.exit_code is ExitCode.REFUSED)
"""Why a guard refuses a run."""
_OVERRIDDEN_BY: Final = {
    Reason.FAILED_DELETIONS: frozenset({Reason.CIRCUIT_BREAKER, Reason.MISSING_ROLE}),
    Reason.UNREADABLE_PROJECTS: frozenset({Reason.MISSING_ROLE}),
}
"""The advice of a reason that another one contradicts: "run it again" does not add a role."""


def may_repeat(reasons: Iterable[str]) -> bool:
    """Return whether the same command, repeated without a change, may do the rest."""
    known = known_reasons(reasons)
    return bool(known) and all(reason.retryable for reason in known)


def advised_reasons(reasons: Iterable[str]) -> tuple[Reason, ...]:
    """Return the reasons whose advice is shown, in the order of the table.

    Those are the known ones that have advice which no other of them contradicts.
    """
    known = known_reasons(reasons)
    advised: list[Reason] = []
    for reason in known:
        overriding = _OVERRIDDEN_BY.get(reason, frozenset())
        if reason.advice and overriding.isdisjoint(known):
            advised.append(reason)
    return tuple(advised)


def known_reasons(reasons: Iterable[str]) -> tuple[Reason, ...]:
    """Return the reasons that this version knows, in the order of the table, each once."""
    names = frozenset(reasons)
    return tuple(reason for reason in Reason if reason in names)


def status_of(exit_code: int | None) -> Status:
    """Return the status of a run: FAILED for an unknown code, UNFINISHED without a last line."""
    if exit_code is None:
        return Status.UNFINISHED
    for code in ExitCode:
        if code == exit_code:
            return code.status
    return Status.FAILED


class WarningLevel(StrEnum):
    """How important a warning is."""

    REMARK = "remark"
    """About the policy or the setup; the run did what it should, and will next time."""
    WARNING = "warning"
    URGENT = "urgent"


class WarningCode(StrEnum):
    """What a warning of a run is about; programs decide by it, never by the sentence."""

    AUDIT_LOG = "audit_log"
    """Earlier runs are not known, or not all."""
    CIRCUIT_BREAKER = "circuit_breaker"
    FEWER_PROJECTS = "fewer_projects"
    """The credentials see fewer projects of an organization than in the last run."""
    KEEP_ENDS = "keep_ends"
    """A keep entry ends soon or has just ended."""
    MEMBERS = "members"
    NOTICE = "notice"
    PLAN_DIFFERS = "plan_differs"
    POLICY = "policy"
    RECEIVER_FAILED = "receiver_failed"
    """A receiver was not notified: in the result alone, because the file was over."""
    RECOVERY = "recovery"
    RETIRED_SOURCE = "retired_source"
    SECRET = "secret"  # noqa: S105 - the name of a warning
    SUNSET = "sunset"
    TEAMS = "teams"
    UNUSED_KEEP = "unused_keep"
    UNUSED_PATTERN = "unused_pattern"
