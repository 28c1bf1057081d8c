"""Frozen values of a report; nothing here reads, counts or renders."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

from invite_sweeper.audit.events import PlanChanges, PolicyDifference
from invite_sweeper.endings import ExitCode, RunWarning, WarningCode
from invite_sweeper.models import Outcome
from invite_sweeper.report.html.chain import ChainResult

T = TypeVar("T")

RESTORE_OUTCOMES = ("restored", "already_there", "active")
"""Outcomes that only a restore records."""
OUTCOMES = (*(outcome.value for outcome in Outcome), *RESTORE_OUTCOMES)


class ReportStatus(StrEnum):
    """The status of a run, a night or the whole report."""

    CLEAN = "clean"
    RECOVERED = "recovered"
    PARTIAL = "partial"
    REFUSED = "refused"
    INTERRUPTED = "stopped early"
    FAILED = "failed"
    EARLIER = "earlier problems"
    """The newest command is clean, but an earlier run in the period is not."""
    UNFINISHED = "unfinished"
    DAMAGED = "damaged chain"
    EMPTY = "empty"


WORST_FIRST = (
    ReportStatus.DAMAGED,
    ReportStatus.FAILED,
    ReportStatus.UNFINISHED,
    ReportStatus.REFUSED,
    ReportStatus.INTERRUPTED,
    ReportStatus.PARTIAL,
    ReportStatus.RECOVERED,
    ReportStatus.EARLIER,
    ReportStatus.CLEAN,
    ReportStatus.EMPTY,
)
GOOD = (ReportStatus.CLEAN, ReportStatus.EMPTY)


def worst(statuses: Iterable[ReportStatus]) -> ReportStatus:
    """Return the worst status; EMPTY without any."""
    return min(statuses, key=WORST_FIRST.index, default=ReportStatus.EMPTY)


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
    changed: int = 0
    failed: int = 0
    unknown: int = 0
    skipped: int = 0
    accepted_before: int = 0
    accepted_during: int = 0
    restored: int = 0
    already_there: int = 0
    active: int = 0
    open: int = 0
    recovered: int = 0

    @property
    def unclear(self) -> int:
        """Number of requests whose result is not known."""
        return self.unknown + self.open


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run: fields of its first and last line, and counts of its lines.

    Attributes:
        mode: `dry-run`, `sweep` or `restore`.
        dry_run: Whether a restore only reported what it would do.
        saved_plan: Whether a sweep could delete only what a saved plan lists.
        group_id: The id that the runs of one command share.
        organizations: Ids of its organizations; empty if the log does not contain them.
        started: None if the first line is missing or its date is unreadable.
        exit_code: None if the run has no last line.
        shard: `I/N`, or empty.
        error: What stopped the run; empty if nothing did.
        consequence: The state that the error left; empty if the log does not contain it.
        hint: What to do about the error; empty if the log does not contain it.
        warnings: The run's warnings.
        stale: Number of stale invitations that the run reports; None if it does not.
        wanted: Number of deletions that a restore selected; None for other runs.
        to_restore: Those of them whose users were missing; None for other runs.
        resolved: Number of outcomes that it recorded for interrupted runs.
        key_ids: The key that its checkpoint names, 8 hex digits; empty without a checkpoint.
    """

    run_id: str
    mode: str
    dry_run: bool
    saved_plan: bool
    group_id: str
    organizations: tuple[str, ...]
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
    error: str = ""
    consequence: str = ""
    hint: str = ""
    warnings: tuple[RunWarning, ...] = ()
    stale: int | None = None
    wanted: int | None = None
    to_restore: int | None = None
    resolved: int = 0
    key_ids: str = ""

    @property
    def plan_known(self) -> bool:
        """Whether the log shows that the run read everything it could: its plan is complete.

        A run writes its plan while it reads, and every line of it before the first request.
        """
        if self.status in {ReportStatus.CLEAN, ReportStatus.PARTIAL}:
            return True
        if self.status is ReportStatus.REFUSED:
            return bool(self.outcomes.planned)
        outcomes = (getattr(self.outcomes, name) for name in (*OUTCOMES, "open"))
        return bool(self.outcomes.planned) and any(outcomes)

    @property
    def changes_nothing(self) -> bool:
        """Whether the run is a dry run, of a sweep or of a restore."""
        return self.mode == "dry-run" or self.dry_run

    @property
    def stopped_itself(self) -> bool:
        """Whether the canary or the circuit breaker stopped the deletions.

        The runs of one command share the breaker, and only the run in which it opened has the
        warning. Deletions are also skipped for a list that Atlas retired.
        """
        if self.mode != "sweep" or self.exit_code != ExitCode.PARTIAL or not self.outcomes.skipped:
            return False
        codes = {each.code for each in self.warnings}
        return WarningCode.CIRCUIT_BREAKER in codes or WarningCode.RETIRED_SOURCE not in codes

    @property
    def only_made_active(self) -> bool:
        """Whether a restore did everything, and has its exit code for people who are active."""
        outcomes = self.outcomes
        incomplete = outcomes.failed or outcomes.unclear or outcomes.skipped
        is_partial_restore = self.mode == "restore" and self.exit_code == ExitCode.PARTIAL
        return is_partial_restore and bool(outcomes.active) and not incomplete

    @property
    def kind(self) -> str:
        """What the run was, for lists."""
        return "restore, dry run" if self.mode == "restore" and self.dry_run else self.mode


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """One invitation on the page; every text may be hostile.

    Attributes:
        organization: Its id; empty if the log does not contain it.
        state: An outcome, `planned`, `planned, new` if the last plan did not contain it,
            `not sent`, or `no outcome` if a request may have been sent.
        detail: Details of a failed deletion.
        bounced: Number of earlier deletions; 0 if none is known.
        last_deleted: Time of the last earlier deletion; empty if none is known.
    """

    invitation_id: str
    organization: str
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
        deleted: Number of `gone` that a run has deleted since.
        gone: Stale then, not listed now; `state` says why.
        unseen: Number that were stale then, in projects that could not be read now.
        unseen_then: Number that are stale now, in projects that could not be read then.
    """

    since: datetime | None
    new: Truncated[InvitationRow]
    persisting: Truncated[InvitationRow]
    deleted: int
    gone: Truncated[InvitationRow]
    unseen: int
    unseen_then: int


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
class OrganizationRow:
    """One organization of the newest command.

    Attributes:
        id: Empty if the log does not contain it.
        name: Empty if the log does not contain it.
        status: Of the run that processed it.
        exit_code: Of that run.
        stale: Number of stale invitations; None if unknown.
        outcomes: Counts of its own invitations.
    """

    id: str
    name: str
    run_id: str
    status: ReportStatus
    exit_code: int | None
    stale: int | None
    outcomes: OutcomeCounts

    @property
    def label(self) -> str:
        """The name with the id, or the id alone."""
        return f"{self.name} ({self.id})" if self.name else self.id or "(not recorded)"


@dataclass(frozen=True, slots=True)
class Night:
    """One day (UTC) of the strip: its sweeps, or its other runs if it had no sweep.

    Attributes:
        status: The worst of the runs; EMPTY for a day without a run.
        kind: What the runs were; empty for a day without a run.
        exit_code: Of the worst run; None without a last line, or without a run.
        runs: Number of runs counted.
        deleted: Number of deletions.
    """

    day: str
    status: ReportStatus
    kind: str
    exit_code: int | None
    runs: int
    deleted: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The first lines of the report.

    Attributes:
        status: The worst status that applies.
        label: The verdict in a few words.
        sentences: What was done, with numbers.
    """

    status: ReportStatus
    label: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attention:
    """Something that needs a decision or a repair.

    Attributes:
        title: What is wrong, in a few words.
        messages: What happened and which state it left, one sentence each.
        hint: What to do; empty if nothing.
    """

    title: str
    messages: tuple[str, ...]
    hint: str = ""


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
class ReportModel:
    """The content of a report.

    Attributes:
        organizations: Those of the newest command, the worst first.
        nights: The last days up to that of the newest run, the oldest first.
        failed_runs: Earlier runs of those days that did not end well, the newest first.
        current: The newest run, or the newest of each shard; empty if the logs contain none.
        missing_shards: Numbers of the newest command's shards that are not in the logs.
        shard_count: 0 if the newest command is not sharded.
        warnings: Warnings of the newest command.
        notes: Caveats for the figures and warnings that were known before, one sentence each.
        stale_ages: Ages of the stale invitations by class.
        kept_ages: Ages of the kept invitations by class; None if unknown.
        chain_message: Result of the verification; None if the chain was not verified.
        sunset: Day on which Atlas stops serving the API version; empty if unknown.
        changes: What the newest command recorded about changes since the last plan, if anything.
        policy_change: What it recorded about a policy that is not accepted, if anything.
    """

    organizations: Truncated[OrganizationRow]
    nights: tuple[Night, ...]
    current: tuple[RunRow, ...]
    failed_runs: Truncated[RunRow]
    missing_shards: tuple[int, ...]
    shard_count: int
    warnings: tuple[RunWarning, ...]
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
    changes: PlanChanges | None
    policy_change: PolicyDifference | None

    @property
    def mode(self) -> str:
        """The mode of the newest command; empty without a run."""
        return self.current[0].mode if self.current else ""

    @property
    def dry_run(self) -> bool:
        """Whether the newest command changed nothing on purpose."""
        return any(run.changes_nothing for run in self.current)

    @property
    def plan_known(self) -> bool:
        """Whether every run of the newest command had a plan."""
        return all(run.plan_known for run in self.current)

    @property
    def several_organizations(self) -> bool:
        """Whether the newest command has more than one organization."""
        return self.organizations.total > 1

    @property
    def run_status(self) -> ReportStatus:
        """The worst status of the newest command's runs; UNFINISHED if shards are missing."""
        missing = (ReportStatus.UNFINISHED,) if self.missing_shards else ()
        return worst((*(run.status for run in self.current), *missing))


@dataclass(frozen=True, slots=True)
class ReportRecord:
    """The result of `report --format json`.

    Attributes:
        attention: What needs attention, the most urgent first.
        report: The content of the report; its lists are truncated.
    """

    verdict: Verdict
    attention: tuple[Attention, ...]
    report: ReportModel
