"""The page as values."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

from invite_sweeper.audit.verify import ChainStatus
from invite_sweeper.models import Outcome
from invite_sweeper.text import pluralize

# Runs and invitations as the page lists them: frozen values.


T = TypeVar("T")

OUTCOMES = tuple(outcome.value for outcome in Outcome)


class ReportStatus(StrEnum):
    """The word on top of the page."""

    CLEAN = "clean"
    PARTIAL = "partial"
    REFUSED = "refused"
    INTERRUPTED = "stopped early"
    FAILED = "failed"
    UNFINISHED = "unfinished"
    DAMAGED = "damaged chain"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class Truncated(Generic[T]):
    """The first rows of a list that may be far longer.

    Attributes:
        total: Length of the whole list.
    """

    rows: tuple[T, ...]
    total: int

    @property
    def more(self) -> int:
        """How many are left out."""
        return self.total - len(self.rows)


@dataclass(frozen=True, slots=True)
class OutcomeCounts:
    """What became of the planned invitations, counted line by line.

    Attributes:
        accepted_before: Active members by the time of their turn, and left alone.
        accepted_during: Removed in the moment in which they became active members.
        open: Intents without an outcome: sent, perhaps, and nobody knows.
    """

    planned: int = 0
    deleted: int = 0
    already_gone: int = 0
    failed: int = 0
    unknown: int = 0
    skipped: int = 0
    accepted_before: int = 0
    accepted_during: int = 0
    open: int = 0


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run as its first and last line tell it, and as its lines count up.

    Attributes:
        started: None where the line was lost or its date is unreadable.
        exit_code: None where the run has no last line.
        shard: `I/N`, or empty.
    """

    run_id: str
    mode: str
    started: datetime | None
    exit_code: int | None
    shard: str
    base_url: str
    policy_path: str
    policy_sha256: str
    actor: str
    tool_version: str
    status: ReportStatus
    outcomes: OutcomeCounts


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """One invitation on the page; every text may be hostile.

    Attributes:
        state: An outcome, `planned`, or `no outcome` where a sweep left none.
        detail: What Atlas said of it, or how it went before.
        bounced: How often a run deleted it before; 0 where none is known to have.
        last_deleted: When that was last; empty where it was not.
    """

    invitation_id: str
    project_id: str
    project: str
    username: str
    inviter: str
    roles: str
    rule: str
    age_days: float | None
    state: str
    detail: str = ""
    bounced: int = 0
    last_deleted: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """This run's stale invitations against those of the run before.

    Attributes:
        since: When that run began.
        gone: Stale then, not listed now; `detail` says where they went.
        unseen: Stale then, in a project that could not be read now.
    """

    since: datetime | None
    new: Truncated[InvitationRow]
    persisting: Truncated[InvitationRow]
    gone: Truncated[InvitationRow]
    unseen: int


# What the page counts and tabulates: frozen values.


@dataclass(frozen=True, slots=True)
class AgeRow:
    """The ages of one project's or one inviter's invitations: one number a class."""

    name: str
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """All classes together."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class AgeTable:
    """Ages by project or by inviter, those with the most first.

    Attributes:
        rest: What the rows left out come to, by class.
    """

    rows: Truncated[AgeRow]
    rest: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Day:
    """One day (UTC) on which runs began, and what they did."""

    day: str
    runs: int
    outcomes: OutcomeCounts


@dataclass(frozen=True, slots=True)
class UnreadableProject:
    """A project that could not be read."""

    project_id: str
    project: str
    reason: str
    http_status: int | None
    error_code: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which projects of those in scope were read, and why the rest was not.

    Attributes:
        seen: In scope, readable or not; None where no run says so.
        reasons: Reason and number, the most frequent first.
    """

    seen: int | None
    unreadable: int
    reasons: Truncated[tuple[str, int]]
    projects: Truncated[UnreadableProject]


@dataclass(frozen=True, slots=True)
class KeepEntry:
    """A keep entry of the policy.

    Attributes:
        until: Its last day as the policy writes it; empty where it has none.
        ended: That day had passed when the run began.
        matched: How many invitations it kept; None where the log does not say.
    """

    name: str
    reason: str
    until: str
    ended: bool
    matched: int | None


@dataclass(frozen=True, slots=True)
class Totals:
    """The run's own figures, added up over its shards; None where no run gave one."""

    invitations_seen: int | None
    stale: int | None
    trimmed: int | None
    kept: int | None
    requests: int | None
    retries: int | None
    rate_limited: int | None
    duration_s: float | None


@dataclass(frozen=True, slots=True)
class LogFile:
    """One of the files read.

    Attributes:
        unread: Lines that are no audit lines.
        last_hash: SHA-256 of the last line, 64 hex digits; empty for an empty file.
    """

    name: str
    lines: int
    invalid_lines: int
    last_hash: str


# The state of the hash chain in words, from what `audit.verify` found.


@dataclass(frozen=True, slots=True)
class ChainResult:
    """Whether the chain of the logs is whole; every text may be hostile.

    Attributes:
        sound: Whether every line is as it was written.
        message: The verdict as a sentence or two.
        last_hash: SHA-256 of the last line, 64 hex digits.
    """

    sound: bool
    message: str
    last_hash: str


def chain_result(found: ChainStatus) -> ChainResult:
    """Return the result of a verification in words."""
    if found.error is not None:
        error = found.error
        position = f"{error.position.path.name}, line {error.position.line:,}"
        return ChainResult(
            sound=False, message=f"{position}: {error.kind}. {error.message}", last_hash=""
        )
    message = (
        f"The chain is sound: {pluralize(found.lines, 'line')}, {pluralize(found.runs, 'run')}."
    )
    return ChainResult(
        sound=True, message=" ".join((message, *found.warnings)), last_hash=found.last_hash
    )


# All that a report says, as one frozen value; nothing here reads, counts or renders.


@dataclass(frozen=True, slots=True)
class ReportModel:
    """All that a report says.

    Attributes:
        sentence: The verdict in words.
        current: The newest run, or the newest of each shard; empty where the logs hold none.
        notes: What a reader must know before trusting the figures, a sentence each.
        kept_ages: Ages of the kept invitations by class; None where the log does not say.
        stale_ages: Ages of the stale ones by class.
        chain: None if the chain was not checked.
        sunset: When Atlas ends the API version, as the log has it; empty where it has not.
    """

    status: ReportStatus
    status_message: str
    current: tuple[RunRow, ...]
    notes: tuple[str, ...]
    outcomes: OutcomeCounts
    totals: Totals
    invitations: Truncated[InvitationRow]
    comparison: Comparison | None
    stale_ages: tuple[int, ...]
    kept_ages: tuple[int, ...] | None
    by_project: AgeTable
    by_inviter: AgeTable
    days: Truncated[Day]
    coverage: Coverage
    kept_by_reason: Truncated[tuple[str, int]]
    keep_entries: Truncated[KeepEntry]
    bounces: Truncated[InvitationRow]
    runs: Truncated[RunRow]
    files: tuple[LogFile, ...]
    chain_message: ChainResult | None
    sunset: str
