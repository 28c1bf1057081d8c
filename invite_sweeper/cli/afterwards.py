"""Who is told of a run: metrics and notifications; trouble with them is said and no more."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from invite_sweeper.policy import Notification
from invite_sweeper.report.facts import RunFacts
from invite_sweeper.report.summary import Summary

_SAME = frozenset(RunFacts.__dataclass_fields__) & frozenset(Summary.__dataclass_fields__)


def facts_of(summary: Summary, *, shard: str | None) -> RunFacts:
    """Give a run's numbers, without a name of anybody."""
    known = {name: getattr(summary, name) for name in _SAME}
    now = datetime.fromisoformat(summary.now).astimezone(UTC)
    return RunFacts(
        **{
            **known,
            "kept_by_reason": dict(summary.kept_by_reason),
            "finished_at": datetime.now(UTC),
            "days_to_sunset": _days_until(summary.sunset, now),
            "shard": shard,
        }
    )


async def begin(
    notifications: tuple[Notification, ...], environment: Mapping[str, str]
) -> tuple[str, ...]:
    """Tell those who wait for a sign of life that a run begins; gives what went wrong."""
    if not notifications:
        return ()
    from invite_sweeper.report.notification import announce_start

    return await announce_start(notifications, environment)


async def end(
    notifications: tuple[Notification, ...],
    environment: Mapping[str, str],
    facts: RunFacts,
    *,
    metrics_file: Path | None,
    pushgateway: str | None,
) -> tuple[str, ...]:
    """Write metrics and tell people how a run ended; gives what went wrong, never raises."""
    said: list[str] = []
    if metrics_file is not None or pushgateway is not None:
        said += await _metrics(facts, metrics_file, pushgateway)
    if notifications:
        from invite_sweeper.report.notification import announce_end

        said += await announce_end(notifications, environment, facts)
    return tuple(said)


async def _metrics(
    facts: RunFacts, metrics_file: Path | None, pushgateway: str | None
) -> tuple[str, ...]:
    try:
        from invite_sweeper.report.metrics import push, write_textfile
    except ImportError:
        return ("Metrics need the extra `metrics`: pip install 'invite-sweeper[metrics]'",)
    said: tuple[str, ...] = ()
    if metrics_file is not None:
        said += write_textfile(metrics_file, facts)
    if pushgateway is not None:
        said += await asyncio.to_thread(push, pushgateway, facts)
    return said


def _days_until(sunset: str | None, now: datetime) -> float | None:
    if sunset is None:
        return None
    end_of_service = datetime.combine(date.fromisoformat(sunset), datetime.min.time(), UTC)
    return (end_of_service - now).total_seconds() / 86_400
