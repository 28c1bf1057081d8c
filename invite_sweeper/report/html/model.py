"""Frozen values of a report; nothing here reads, counts or renders."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

from invite_sweeper.audit.verify import ChainStatus
from invite_sweeper.models import Outcome
from invite_sweeper.text import pluralize

T = TypeVar("T")

OUTCOMES = tuple(outcome.value for outcome in Outcome)


class ReportStatus(StrEnum):
    """The overall status at the top of the page."""

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
    """The first rows of a list that may be longer.

    Attributes:
        rows: The first rows.
        total: Length of the whole list.
    """

    rows: tuple[T, ...]
    total: int

    @property
    def more(self) -> int:
        """Number of rows left out."""
        return self.total - len(self.rows)


@dataclass(frozen=True, slots=True)
class OutcomeCounts:
    """Outcomes of the planned deletions, counted from the log lines.

    Attributes:
        accepted_before: Active members before the deletion, left alone.
        accepted_during: Became active members during the deletion, and were removed.
        open: Intents without an outcome; the request may have been sent.
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
    """One run: fields of its first and last line, and counts of its lines.

    Attributes:
        started: None if the first line is missing or its date is unreadable.
        exit_code: None if the run has no last line.
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
        state: An outcome, `planned`, or `no outcome` if a sweep recorded none.
        detail: Details of a failed deletion.
        bounced: Number of earlier deletions; 0 if none is known.
        last_deleted: Time of the last earlier deletion; empty if none is known.
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
    """This run's stale invitations compared with the previous run's.

    Attributes:
        since: Start of the previous run.
        new: Stale now, not planned then.
        persisting: Stale in both runs.
        gone: Stale then, not listed now; `state` says why.
        unseen: Number that were stale then, in projects that could not be read now.
    """

    since: datetime | None
    new: Truncated[InvitationRow]
    persisting: Truncated[InvitationRow]
    gone: Truncated[InvitationRow]
    unseen: int


@dataclass(frozen=True, slots=True)
class AgeRow:
    """Ages of the invitations of one project or inviter: one number per age class."""

    name: str
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """Sum over all age classes."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class AgeTable:
    """Ages by project or by inviter, those with the most invitations first.

    Attributes:
        rest: Sums of the rows left out, by age class.
    """

    rows: Truncated[AgeRow]
    rest: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Day:
    """The sweeps that started on one day (UTC), and their outcomes."""

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
    """The projects in scope that were read, and the reasons for the others.

    Attributes:
        seen: Projects in scope, readable or not; None if unknown.
        unreadable: Projects that could not be read.
        reasons: Reason and number of projects, the most frequent first.
    """

    seen: int | None
    unreadable: int
    reasons: Truncated[tuple[str, int]]
    projects: Truncated[UnreadableProject]


@dataclass(frozen=True, slots=True)
class KeepEntry:
    """A keep entry of the policy.

    Attributes:
        until: Its last day, as in the policy; empty without one.
        ended: Whether that day had passed when the run started.
        matched: Number of invitations it kept; None if unknown.
    """

    name: str
    reason: str
    until: str
    ended: bool
    matched: int | None


@dataclass(frozen=True, slots=True)
class Totals:
    """The run's reported totals, summed over its shards; None if no run reported one."""

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
        invalid_lines: Lines that are not audit records.
        last_hash: SHA-256 of the last line, 64 hex digits; empty for an empty file.
    """

    name: str
    lines: int
    invalid_lines: int
    last_hash: str


@dataclass(frozen=True, slots=True)
class ChainResult:
    """Result of the hash chain's verification; every text may be hostile.

    Attributes:
        sound: Whether every line is unchanged.
        message: The result as text.
        last_hash: SHA-256 of the last line, 64 hex digits.
    """

    sound: bool
    message: str
    last_hash: str


def chain_result(found: ChainStatus) -> ChainResult:
    """Return the result of `audit.verify` for the page."""
    if found.error is not None:
        error = found.error
        position = f"{error.position.path.name}, line {error.position.line:,}"
        return ChainResult(
            sound=False, message=f"{position}: {error.kind}. {error.message}", last_hash=""
        )
    message = (
        f"The chain is intact: {pluralize(found.lines, 'line')}, {pluralize(found.runs, 'run')}."
    )
    return ChainResult(
        sound=True, message=" ".join((message, *found.warnings)), last_hash=found.last_hash
    )


@dataclass(frozen=True, slots=True)
class ReportModel:
    """The content of a report.

    Attributes:
        status_message: The status as a sentence.
        current: The newest run, or the newest of each shard; empty if the logs contain none.
        notes: Caveats for the figures, one sentence each.
        stale_ages: Ages of the stale invitations by class.
        kept_ages: Ages of the kept invitations by class; None if unknown.
        chain_message: Result of the verification; None if the chain was not verified.
        sunset: Day on which Atlas stops serving the API version; empty if unknown.
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
