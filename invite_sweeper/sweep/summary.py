"""What a run counted: `RunCounts` while it runs, `RunSummary` at its end, and its warnings.

`RunSummary` is the only set of these numbers. Standard output, the `run_finished` line, the
metrics and the notifications are all rendered from it.
"""

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple, Protocol

from invite_sweeper.audit import AuditLog
from invite_sweeper.errors import AuditLogError, ExitCode, RunError
from invite_sweeper.models import Invitation, Outcome, Source, SourceRetired
from invite_sweeper.policy import Keep
from invite_sweeper.sweep.plan import PlanBuilder
from invite_sweeper.text import pluralize

SUNSET_WARNING_DAYS: Final = 180
"""Runs warn this long before a list ends: time to change a policy and to watch the result."""
SUNSET_URGENT_DAYS: Final = 30

_DAY_S = 86_400.0
_INCOMPLETE = (Outcome.FAILED, Outcome.UNKNOWN, Outcome.SKIPPED, Outcome.ACCEPTED_DURING)
"""What keeps a run from ending with 0: not deleted, or an active member was removed."""
_NOT_IN_RUN_FINISHED = frozenset(
    {"run_id", "now", "mode", "audit_log", "audit_last_hash", "checkpoint"}
)
"""The other lines of the run have the first three; the others are known from the file."""
_NOT_ON_STDOUT = ("shard", "finished_at")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run saw and did; the contract's `--output json`, field by field.

    Attributes:
        now: The one instant of the run, RFC 3339.
        projects_seen: In scope, including those that could not be read.
        invitations_seen: In scope; `stale` and `kept` together.
        trimmed: Stale, but left for a later run by `over_limit: trim`.
        kept_by_reason: Adds up to `kept`.
        accepted_before: Active members when the deletion was due; they were not removed.
        accepted_during: Became active members while the DELETE was in flight.
        requests: Sent to Atlas, sign-in included.
        rate_limited: Answers with status 429.
        duration_s: From the start of the run.
        audit_last_hash: SHA-256 of the log's last line, to be kept elsewhere.
        recovered: Intents that an interrupted run left open, resolved by this run.
        estimate_s: How long the deletions should take within Atlas's rate limits.
        sunset: The first day on which Atlas stops serving something that was in use.
        sources_retired: Sources that Atlas no longer serves.
        oldest_pending_days: Age of the oldest invitation seen; None where no date was readable.
        organizations: Ids.
        warnings: Sentences for the operator.
        checkpoint: The signed note over the end of the run; None without a key.
        shard: `I/N`; None where the run was not one of several. Not on stdout.
        finished_at: Aware UTC; None before the end. Not on stdout.
    """

    run_id: str
    mode: str
    now: str
    projects_seen: int = 0
    projects_unreadable: int = 0
    invitations_seen: int = 0
    stale: int = 0
    trimmed: int = 0
    kept: int = 0
    kept_by_reason: Mapping[str, int] = field(default_factory=dict)
    deleted: int = 0
    already_gone: int = 0
    failed: int = 0
    unknown: int = 0
    skipped: int = 0
    accepted_before: int = 0
    accepted_during: int = 0
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    duration_s: float = 0.0
    audit_log: str = ""
    exit_code: int = 0
    audit_last_hash: str = ""
    recovered: int = 0
    estimate_s: float | None = None
    sunset: str | None = None
    deprecation: str | None = None
    sources_retired: tuple[str, ...] = ()
    oldest_pending_days: float | None = None
    organizations: tuple[str, ...] = ()
    error: str | None = None
    warnings: tuple[str, ...] = ()
    checkpoint: str | None = None
    shard: str | None = None
    finished_at: datetime | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the run did everything that was asked."""
        return ExitCode(self.exit_code).succeeded

    @property
    def changed(self) -> bool:
        """Whether the run changed something in Atlas, or a dry run found something stale."""
        attempted = any(getattr(self, outcome) for outcome in Outcome)
        return attempted or (self.mode == "dry-run" and self.stale > 0)

    @property
    def finished_s(self) -> float:
        """The end of the run as a Unix time; 0.0 before the end."""
        return self.finished_at.timestamp() if self.finished_at is not None else 0.0

    @property
    def sunset_at(self) -> datetime | None:
        """The start of the day on which Atlas stops serving something; None where unknown."""
        if self.sunset is None:
            return None
        return datetime.combine(date.fromisoformat(self.sunset), datetime.min.time(), UTC)

    @property
    def days_to_sunset(self) -> float | None:
        """From the start of the run, negative once the day has passed; None where unknown."""
        end = self.sunset_at
        return (end - datetime.fromisoformat(self.now)).total_seconds() / _DAY_S if end else None

    def to_json(self) -> dict[str, object]:
        """Return the object that `--output json` writes."""
        values = asdict(self)
        for key in _NOT_ON_STDOUT:
            del values[key]
        return values

    def to_run_finished(self) -> dict[str, object]:
        """Return the fields of the `run_finished` line, `exit_code` last."""
        values = {k: v for k, v in self.to_json().items() if k not in _NOT_IN_RUN_FINISHED}
        values["exit_code"] = values.pop("exit_code")
        return values

    def to_metrics(self) -> dict[str, object]:
        """Return the numbers, without a name of a user, project or organization."""
        values = {name: getattr(self, name) for name in _METRICS}
        return {**values, "kept_by_reason": dict(self.kept_by_reason)}


_METRICS: Final = (
    *("run_id", "mode", "exit_code", "finished_at", "projects_seen", "projects_unreadable"),
    *("invitations_seen", "stale", "trimmed", "kept", "kept_by_reason"),
    *(outcome.value for outcome in Outcome),
    *("requests", "retries", "rate_limited", "duration_s", "oldest_pending_days"),
    *("days_to_sunset", "shard"),
)
_COUNTS: Final = tuple(
    each.name for each in fields(RunSummary) if each.type is int and each.name != "exit_code"
)


def merge_summaries(summaries: Sequence[RunSummary], exit_code: int) -> RunSummary:
    """Return one summary of the runs of one command; what cannot be added up is the last run's."""
    if len(summaries) == 1:
        return replace(summaries[0], exit_code=exit_code)
    reasons: Counter[str] = Counter()
    for each in summaries:
        reasons.update(each.kept_by_reason)
    oldest = [s.oldest_pending_days for s in summaries if s.oldest_pending_days is not None]
    return replace(
        summaries[-1],
        **{name: sum(getattr(each, name) for each in summaries) for name in _COUNTS},
        kept_by_reason=dict(reasons),
        organizations=tuple(i for each in summaries for i in each.organizations),
        sunset=min((s.sunset for s in summaries if s.sunset), default=None),
        oldest_pending_days=max(oldest, default=None),
        warnings=tuple(w for each in summaries for w in each.warnings),
        error=next((s.error for s in summaries if s.error), None),
        exit_code=exit_code,
    )


class RequestCounters(Protocol):
    """The requests sent to Atlas, as the client counts them."""

    requests: int
    retries: int
    rate_limited: int


class RunResult(NamedTuple):
    """How a run ended.

    Attributes:
        error: What stopped it; None when it completed.
        reached_atlas: Atlas answered, so there is a result to show.
    """

    summary: RunSummary
    error: RunError | None
    reached_atlas: bool


class RunCounts:
    """Collects the counts of one run.

    Args:
        start: A summary with what is known from the start.
        elapsed_s: Seconds since the run began.
        keep: The policy's keep entries; the log records how many invitations each one kept.
        detailed_exit_code: A dry run that finds stale invitations ends with 10 instead of 0.

    Attributes:
        reached_atlas: Atlas returned the projects, or was being asked for them when a stop came.
        outcomes: Deletions by outcome.
        recovered: Deletions that an interrupted run left open, by outcome; not in `outcomes`.
    """

    def __init__(
        self,
        start: RunSummary,
        now: datetime,
        counters: RequestCounters,
        elapsed_s: Callable[[], float],
        *,
        keep: Sequence[Keep] = (),
        detailed_exit_code: bool = False,
    ) -> None:
        self._start = start
        self._now = now
        self._counters = counters
        self._elapsed_s = elapsed_s
        self._keep = keep
        self._detailed_exit_code = detailed_exit_code
        self.reached_atlas = False
        self.projects_seen = 0
        self.plan: PlanBuilder | None = None
        self.outcomes: Counter[Outcome] = Counter()
        self.warnings: list[str] = []
        self.sunset: date | None = None
        self.deprecation: date | None = None
        self.estimate_s: float | None = None
        self.recovered: Counter[Outcome] = Counter()

    def summary(self) -> RunSummary:
        """Return the counts so far."""
        outcomes: dict[str, Any] = {each.value: self.outcomes[each] for each in Outcome}
        summary = replace(
            self._start,
            projects_seen=self.projects_seen,
            requests=self._counters.requests,
            retries=self._counters.retries,
            rate_limited=self._counters.rate_limited,
            duration_s=round(self._elapsed_s(), 3),
            estimate_s=self.estimate_s,
            recovered=self.recovered.total(),
            sunset=_iso(self.sunset),
            deprecation=_iso(self.deprecation),
            warnings=tuple(self.warnings),
            **outcomes,
        )
        plan = self.plan
        if plan is None:
            return summary
        return replace(
            summary,
            projects_unreadable=plan.unreadable,
            sources_retired=tuple(each.source.value for each in plan.retired),
            invitations_seen=plan.seen,
            stale=plan.stale,
            trimmed=plan.trimmed,
            kept=plan.kept.total(),
            kept_by_reason=dict(plan.kept),
            oldest_pending_days=self._days_since(plan.oldest),
        )

    async def finish(self, log: AuditLog, error: RunError | None) -> RunResult:
        """Write `run_finished`, and return the end of the run.

        When that line cannot be written, the run ends with the exit code of the audit log.
        """
        try:
            finished = self._final_summary(error)
            log.write("run_finished", **finished.to_run_finished(), **self._extra_log_fields())
            await log.sync()
        except AuditLogError as failure:
            error = error if isinstance(error, AuditLogError) else failure
            finished = self._final_summary(error)
        summary = replace(finished, audit_last_hash=log.last_hash, checkpoint=log.checkpoint)
        return RunResult(summary, error, self.reached_atlas)

    def _extra_log_fields(self) -> dict[str, object]:
        """Return the ages of kept invitations and the keep entries, for the HTML report."""
        plan = self.plan
        if plan is None:
            return {}
        entries = [
            {
                "name": entry.name,
                "reason": entry.reason,
                "until": entry.until.isoformat() if entry.until else None,
                "matched": plan.kept[f"keep:{entry.name}"],
            }
            for entry in self._keep
        ]
        return {"kept_ages": plan.kept_ages.to_field(), "keep_entries": entries}

    def _final_summary(self, error: RunError | None) -> RunSummary:
        summary = self.summary()
        if error is not None:
            return replace(summary, exit_code=int(error.exit_code), error=error.message)
        incomplete = summary.projects_unreadable or summary.sources_retired
        # This run may have completed what an interrupted one left open, but for a removed member.
        removed_member = self.recovered[Outcome.ACCEPTED_DURING]
        if incomplete or removed_member or any(self.outcomes[each] for each in _INCOMPLETE):
            return replace(summary, exit_code=int(ExitCode.PARTIAL))
        stale = self._detailed_exit_code and summary.mode == "dry-run" and summary.stale
        return replace(summary, exit_code=int(ExitCode.STALE if stale else ExitCode.DONE))

    def _days_since(self, timestamp: datetime | None) -> float | None:
        if timestamp is None:
            return None
        return round((self._now - timestamp).total_seconds() / _DAY_S, 1)


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day is not None else None


class RunWarning(NamedTuple):
    """One sentence for the operator.

    Attributes:
        urgent: It is logged as an error, not as a warning.
    """

    text: str
    urgent: bool = False


def sunset_warnings(sunsets: Mapping[Source, date], today: date) -> tuple[RunWarning, ...]:
    """Warn about each list that Atlas will stop serving, from 180 days before.

    Args:
        sunsets: The day that Atlas named, by source.
        today: The day of the run.
    """
    return tuple(
        RunWarning(_sunset_text(source, day, today), (day - today).days <= SUNSET_URGENT_DAYS)
        for source, day in sorted(sunsets.items())
        if (day - today).days <= SUNSET_WARNING_DAYS
    )


def retired_warning(retired: SourceRetired) -> RunWarning:
    """Warn that Atlas no longer serves a list, with the source that replaces it."""
    return RunWarning(f"{retired.reason} {retired.source.replacement_hint}", urgent=True)


def removed_member_warning(invitation: Invitation, audit_log: str, run_id: str) -> RunWarning:
    """Warn that a user accepted during the DELETE, with the command that invites them again."""
    who = invitation.username or invitation.id
    where = invitation.project_name or invitation.org_id
    command = ["invite-sweeper", "restore", audit_log, "--run", run_id]
    if invitation.username is not None:
        command += ["--username", invitation.username]
    return RunWarning(
        f"{who} accepted while the deletion was in flight and was removed from {where} as an "
        f"active member. To invite them again: {shlex.join(command)}",
        urgent=True,
    )


def unverified_warning(count: int) -> RunWarning:
    """Warn that the status of removed users could not be checked afterwards."""
    return RunWarning(
        f"{count} of the removed users could not be checked afterwards: they may have accepted "
        "just before. The check requires the role Organization Member."
    )


def unused_keep_warnings(
    keep: Iterable[Keep], kept: Mapping[str, int], today: date
) -> tuple[RunWarning, ...]:
    """Warn about keep entries in force that matched no invitation: they may be misspelt.

    Args:
        kept: Invitations by the reason for which they were kept.
        today: The day of the run.
    """
    return tuple(
        RunWarning(f"The keep entry {entry.name!r} matched no invitation: check its spelling.")
        for entry in keep
        if entry.is_active(today) and not kept.get(f"keep:{entry.name}")
    )


def _sunset_text(source: Source, day: date, today: date) -> str:
    left = (day - today).days
    if left > 0:
        end = f"Atlas stops serving the list {source} on {day}, in {pluralize(left, 'day')}."
    else:
        end = f"Atlas announced {day} as the last day of the list {source}."
    return f"{end} {source.replacement_hint}"
