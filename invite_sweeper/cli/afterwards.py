"""Who is told of a run: metrics and notifications; trouble with them is said and no more."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from invite_sweeper.policy import Notification
from invite_sweeper.report.metrics import push, write_textfile
from invite_sweeper.report.notification import announce_end, announce_start
from invite_sweeper.totals import RunSummary


async def begin(
    notifications: tuple[Notification, ...], environment: Mapping[str, str]
) -> tuple[str, ...]:
    """Tell those who wait for a sign of life that a run begins; gives what went wrong."""
    if not notifications:
        return ()
    return await announce_start(notifications, environment)


async def end(
    notifications: tuple[Notification, ...],
    environment: Mapping[str, str],
    summary: RunSummary,
    *,
    metrics_file: Path | None,
    pushgateway: str | None,
) -> tuple[str, ...]:
    """Write metrics and tell people how a run ended; gives what went wrong, never raises."""
    if not notifications and metrics_file is None and pushgateway is None:
        return ()
    summary = replace(summary, finished_at=datetime.now(UTC))
    said: list[str] = []
    if metrics_file is not None or pushgateway is not None:
        said += await _metrics(summary, metrics_file, pushgateway)
    if notifications:
        said += await announce_end(notifications, environment, summary)
    return tuple(said)


async def _metrics(
    summary: RunSummary, metrics_file: Path | None, pushgateway: str | None
) -> tuple[str, ...]:
    said: tuple[str, ...] = ()
    if metrics_file is not None:
        said += write_textfile(metrics_file, summary)
    if pushgateway is not None:
        said += await asyncio.to_thread(push, pushgateway, summary)
    return said
