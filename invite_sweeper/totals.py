"""What a run has counted so far, and its last line."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple, Protocol

from invite_sweeper.audit import AuditLog
from invite_sweeper.draft import Draft
from invite_sweeper.errors import AuditUnwritable, ExitCode, RunError
from invite_sweeper.outcome import Outcome
from invite_sweeper.policy import Keep
from invite_sweeper.report.summary import Summary

_DAY_S = 86_400.0
_UNFINISHED = (Outcome.FAILED, Outcome.UNKNOWN, Outcome.SKIPPED, Outcome.ACCEPTED_DURING)
"""What keeps a run from ending with 0: undone, or done to an active member."""


class Wire(Protocol):
    """What went over the wire to Atlas, as the client counts it."""

    requests: int
    retries: int
    rate_limited: int


class Ended(NamedTuple):
    """How a run ended.

    Attributes:
        error: What stopped it; None when it went through.
        begun: It got as far as Atlas, so there is a result to tell.
    """

    summary: Summary
    error: RunError | None
    begun: bool


class Totals:
    """The counts of one run.

    Args:
        start: A summary that holds what is known from the start.
        elapsed_s: Seconds since the run began.
        keep: The policy's exemptions; the log tells how many each one kept.
        stale_is_told: A dry run that finds stale invitations ends with a code of its own.

    Attributes:
        begun: Atlas has given the list of projects, or has been asked for it when a stop came.
        tally: Deletions by outcome.
        recovered: What an earlier run had left open, by outcome; not among the others.
    """

    def __init__(
        self,
        start: Summary,
        now: datetime,
        wire: Wire,
        elapsed_s: Callable[[], float],
        *,
        keep: Sequence[Keep] = (),
        stale_is_told: bool = False,
    ) -> None:
        self._start = start
        self._now = now
        self._wire = wire
        self._elapsed_s = elapsed_s
        self._keep = keep
        self._stale_is_told = stale_is_told
        self.begun = False
        self.projects_seen = 0
        self.draft: Draft | None = None
        self.tally: Counter[Outcome] = Counter()
        self.warnings: list[str] = []
        self.sunset: str | None = None
        self.deprecation: str | None = None
        self.estimate_s: float | None = None
        self.recovered: Counter[Outcome] = Counter()

    def summary(self) -> Summary:
        """Give the totals as they stand now."""
        summary = replace(
            self._start,
            projects_seen=self.projects_seen,
            requests=self._wire.requests,
            retries=self._wire.retries,
            rate_limited=self._wire.rate_limited,
            duration_s=round(self._elapsed_s(), 3),
            estimate_s=self.estimate_s,
            recovered=self.recovered.total(),
            sunset=self.sunset,
            deprecation=self.deprecation,
            warnings=tuple(self.warnings),
            deleted=self.tally[Outcome.DELETED],
            already_gone=self.tally[Outcome.ALREADY_GONE],
            failed=self.tally[Outcome.FAILED],
            unknown=self.tally[Outcome.UNKNOWN],
            skipped=self.tally[Outcome.SKIPPED],
            accepted_before=self.tally[Outcome.ACCEPTED_BEFORE],
            accepted_during=self.tally[Outcome.ACCEPTED_DURING],
        )
        draft = self.draft
        if draft is None:
            return summary
        return replace(
            summary,
            projects_unreadable=draft.unreadable,
            sources_retired=tuple(each.source.value for each in draft.retired),
            invitations_seen=draft.seen,
            stale=draft.stale,
            trimmed=draft.trimmed,
            kept=draft.kept.total(),
            kept_by_reason=dict(draft.kept),
            oldest_pending_days=self._days_since(draft.oldest),
        )

    async def close(self, log: AuditLog, error: RunError | None) -> Ended:
        """Write `run_finished`, and give the end of the run.

        When that line cannot be written the run ends with the audit log's exit code,
        whatever it would have ended with.
        """
        try:
            finished = self._finished(error)
            log.write("run_finished", **finished.totals(), **self._in_the_log_alone())
            await log.durable()
        except AuditUnwritable as trouble:
            error = error if isinstance(error, AuditUnwritable) else trouble
            finished = self._finished(error)
        return Ended(replace(finished, audit_last_hash=log.last_hash), error, self.begun)

    def _in_the_log_alone(self) -> dict[str, object]:
        """Give what the report page tells of those that were kept, in a few numbers."""
        draft = self.draft
        if draft is None:
            return {}
        entries = [
            {
                "name": entry.name,
                "reason": entry.reason,
                "until": entry.until.isoformat() if entry.until else None,
                "matched": draft.kept[f"keep:{entry.name}"],
            }
            for entry in self._keep
        ]
        return {"kept_ages": draft.kept_ages.field(), "keep_entries": entries}

    def _finished(self, error: RunError | None) -> Summary:
        summary = self.summary()
        if error is not None:
            return replace(summary, exit_code=int(error.exit_code), error=error.what)
        partly = summary.projects_unreadable or summary.sources_retired
        # Of what an earlier run left open this one may have done the rest, but for that.
        hit = self.recovered[Outcome.ACCEPTED_DURING]
        if partly or hit or any(self.tally[o] for o in _UNFINISHED):
            return replace(summary, exit_code=int(ExitCode.PARTLY))
        told = self._stale_is_told and summary.mode == "dry-run" and summary.stale
        return replace(summary, exit_code=int(ExitCode.STALE if told else ExitCode.DONE))

    def _days_since(self, instant: datetime | None) -> float | None:
        if instant is None:
            return None
        return round((self._now - instant).total_seconds() / _DAY_S, 1)
