"""What one run came to, as the numbers that metrics and notifications speak of."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from invite_sweeper.errors import ExitCode
from invite_sweeper.report.summary import Summary


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The summary of one run, without a name of any person or project.

    Attributes:
        mode: `sweep` or `dry-run`.
        exit_code: As in `errors.ExitCode`.
        invitations_seen: Those in scope: `stale` and `kept` together.
        kept_by_reason: Adds up to `kept`; keys as in the summary (`too_young`, `keep:NAME`, …).
        rate_limited: Answers with status 429.
        finished_at: Aware UTC.
        oldest_pending_days: Age of the oldest invitation seen; None where no date was readable.
        days_to_sunset: Until Atlas ends the API version in use; None where it named no date.
            Negative once the day has passed.
        shard: `I/N`; None where the run was not one of several.
    """

    run_id: str
    mode: str
    exit_code: int
    finished_at: datetime
    projects_seen: int = 0
    projects_unreadable: int = 0
    invitations_seen: int = 0
    stale: int = 0
    trimmed: int = 0
    kept: int = 0
    kept_by_reason: dict[str, int] = field(default_factory=dict)
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
    oldest_pending_days: float | None = None
    days_to_sunset: float | None = None
    shard: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the run did all that it set out to do."""
        return self.exit_code in {ExitCode.DONE, ExitCode.STALE}

    @property
    def changed(self) -> bool:
        """Whether a person would find Atlas, or the list of what is stale, not as they left it."""
        touched = self.deleted + self.already_gone + self.failed + self.unknown + self.skipped
        touched += self.accepted_before + self.accepted_during
        return touched > 0 or (self.mode == "dry-run" and self.stale > 0)


_SAME = frozenset(RunFacts.__dataclass_fields__) & frozenset(Summary.__dataclass_fields__)


def facts_of(summary: Summary, *, shard: str | None, finished_at: datetime) -> RunFacts:
    """Give a run's numbers, without a name of anybody."""
    known = {name: getattr(summary, name) for name in _SAME}
    now = datetime.fromisoformat(summary.now).astimezone(UTC)
    return RunFacts(
        **{
            **known,
            "kept_by_reason": dict(summary.kept_by_reason),
            "finished_at": finished_at,
            "days_to_sunset": _days_until(summary.sunset, now),
            "shard": shard,
        }
    )


def _days_until(sunset: str | None, now: datetime) -> float | None:
    if sunset is None:
        return None
    end_of_service = datetime.combine(date.fromisoformat(sunset), datetime.min.time(), UTC)
    return (end_of_service - now).total_seconds() / 86_400
