"""Frozen values of a report; nothing here reads, counts or renders."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from invite_sweeper.audit.events import (
    KeepEntry,
    PlanChanges,
)
from invite_sweeper.counts import Counts, total
from invite_sweeper.endings import Colour, Reason, RunWarning, Status, worst
from invite_sweeper.report.html.chain import ChainResult
from invite_sweeper.report.rows import Row
from invite_sweeper.report.run_view import UnreadableProject
from invite_sweeper.text import organization_label


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the logs.

    Attributes:
        mode: `dry-run`, `sweep` or `restore`; empty if the first line is missing.
        dry_run: The run changed nothing on purpose.
        group_id: The id that the runs of one command share.
        organizations: Ids; empty if the log does not contain them.
        started: None if the first line is missing.
        actor: A client id or public key, or `token`.
        credentials: The name of the set of credentials; empty for the plain one.
        status: RECOVERED for a run without an end whose requests all have a result by now.
        exit_code: None if the run has no last line.
        error: What stopped the run, with `consequence` and `hint`; empty if nothing did.
        planned: Number of planned invitations.
        outcomes: Number of its own invitations by outcome.
        open: Requests without a result.
        resolved: Results that it recorded for interrupted runs.
        plan_made: Whether the plan is complete, but for lists that could not be read.
        reported: What its last line counts; None without one, and for a restore.
        requests: Sent to Atlas, repeated, and rate-limited.
        wanted: Deletions that a restore selected, as `to_restore` those of missing users.
        keep_entries: Of the policy.
    """

    run_id: str
    mode: str = ""
    dry_run: bool = False
    group_id: str = ""
    organizations: tuple[str, ...] = ()
    started: datetime | None = None
    actor: str = ""
    credentials: str = ""
    base_url: str = ""
    policy_path: str = ""
    policy_sha256: str = ""
    tool_version: str = ""
    status: Status = Status.UNFINISHED
    exit_code: int | None = None
    reasons: tuple[str, ...] = ()
    error: str = ""
    consequence: str = ""
    hint: str = ""
    warnings: tuple[RunWarning, ...] = ()
    planned: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    open: int = 0
    resolved: int = 0
    plan_made: bool = False
    duration_s: float | None = None
    reported: Counts | None = None
    requests: tuple[int, int, int] = (0, 0, 0)
    wanted: int = 0
    to_restore: int = 0
    changes: PlanChanges | None = None
    keep_entries: tuple[KeepEntry, ...] = ()
    sunset: str = ""

    @property
    def is_restore(self) -> bool:
        """Whether the run invited people again."""
        return self.mode == "restore"

    @property
    def command_id(self) -> str:
        """The same for all runs of one command."""
        return self.group_id or self.run_id

    @property
    def kind(self) -> str:
        """What the run was, for lists."""
        return "restore, dry run" if self.is_restore and self.dry_run else self.mode or "run"

    @property
    def day(self) -> date | None:
        """The day on which it started, in UTC."""
        return self.started.date() if self.started else None

    def count(self, *outcomes: str) -> int:
        """Return the number of invitations with one of the outcomes."""
        return sum(self.outcomes.get(each, 0) for each in outcomes)


@dataclass(frozen=True, slots=True)
class Organization:
    """One organization of the command.

    Attributes:
        status: Of the run that processed it.
        actor: Of this run.
        counts: Number of its own invitations: `planned`, by outcome, and `no_outcome`.
    """

    id: str
    name: str
    run_id: str
    actor: str
    status: Status
    exit_code: int | None
    counts: Mapping[str, int]

    @property
    def label(self) -> str:
        """The name with the id, or the id alone."""
        return organization_label(self.id, self.name) or "(not recorded)"


@dataclass(frozen=True, slots=True)
class Night:
    """One day (UTC): its sweeps, or its other runs if it had no sweep.

    Attributes:
        status: The worst of the runs; EMPTY for a day without a run.
        exit_code: Of the worst run; None without a last line, or without a run.
        runs: Number of runs counted.
    """

    day: date
    status: Status
    kind: str
    exit_code: int | None
    runs: int
    planned: int
    deleted: int
    failed: int


@dataclass(frozen=True, slots=True)
class ReportVerdict:
    """The first lines of the report.

    Attributes:
        label: The verdict in a few words.
        sentences: What was done, with numbers.
    """

    status: Status
    colour: Colour
    label: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attention:
    """Something that needs a decision or a repair.

    Attributes:
        title: What is wrong, in a few words.
        messages: What happened and which state it left, one sentence each.
        advice: What to do; empty if nothing.
    """

    title: str
    messages: tuple[str, ...]
    advice: str = ""


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
class Report:
    """The content of a report about one command: its runs, and the nights before it.

    Attributes:
        subject: The runs of the command; empty if the logs contain none.
        audit_log: The log that the advice names.
        organizations: Of the command, the worst first.
        names: Names of organizations by id.
        nights: The last days up to that of the command, the oldest first.
        unresolved: Earlier runs of those days that did not end well, and after which none with
            the same credentials did.
        runs: The newest runs, the newest first.
        runs_total: Number of runs in the logs.
        rows: The first invitations of the plan, or of a restore.
        rows_total: Number of invitations of the plan, or of a restore.
        places: In how many projects and organization lists they are.
        failed: The first invitations that did not go as planned.
        announced: The first invitations that were announced for a later deletion.
        unreadable: The first projects that could not be read.
        chain: Result of the verification; None if the chain was not verified.
    """

    subject: tuple[Run, ...] = ()
    audit_log: str = ""
    organizations: tuple[Organization, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    nights: tuple[Night, ...] = ()
    unresolved: tuple[Run, ...] = ()
    runs: tuple[Run, ...] = ()
    runs_total: int = 0
    rows: tuple[Row, ...] = ()
    rows_total: int = 0
    places: tuple[int, int] = (0, 0)
    failed: tuple[Row, ...] = ()
    announced: tuple[Row, ...] = ()
    unreadable: tuple[UnreadableProject, ...] = ()
    files: tuple[LogFile, ...] = ()
    chain: ChainResult | None = None

    @property
    def first(self) -> Run:
        """The first run of the command."""
        return self.subject[0]

    @property
    def is_restore(self) -> bool:
        """Whether the command invited people again."""
        return any(run.is_restore for run in self.subject)

    @property
    def dry_run(self) -> bool:
        """Whether the command changed nothing on purpose."""
        return any(run.dry_run for run in self.subject)

    @property
    def status(self) -> Status:
        """The worst status of the runs of the command."""
        return worst(run.status for run in self.subject)

    @property
    def plan_made(self) -> bool:
        """Whether the plan is complete, but for lists that could not be read."""
        return all(run.plan_made for run in self.subject)

    @property
    def stopped_itself(self) -> bool:
        """Whether the canary or the circuit breaker stopped the deletions."""
        return any(Reason.CIRCUIT_BREAKER in run.reasons for run in self.subject)

    @property
    def counts(self) -> Counter[str]:
        """Number of invitations by outcome; `planned`, and `no_outcome` for open requests."""
        found: Counter[str] = Counter()
        for run in self.subject:
            found.update({**run.outcomes, "planned": run.planned, "no_outcome": run.open})
        return found

    @property
    def reported(self) -> Counts:
        """What the last lines of the runs of the command count."""
        return total(run.reported for run in self.subject if run.reported is not None)

    def labels(self, ids: Iterable[str]) -> tuple[str, ...]:
        """Return organizations as text."""
        return tuple(organization_label(each, self.names.get(each)) for each in ids)


@dataclass(frozen=True, slots=True)
class ReportRecord:
    """The result of `report --format json`.

    Attributes:
        attention: What needs attention, the most urgent first.
        report: The content of the report; its lists are truncated.
    """

    verdict: ReportVerdict
    attention: tuple[Attention, ...]
    report: Report
