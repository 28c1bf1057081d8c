"""One run: its audit log, its connection, its end."""

import secrets
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import structlog

from invite_sweeper.atlas import AtlasClient
from invite_sweeper.atlas.client import connected
from invite_sweeper.audit import AuditLog
from invite_sweeper.cli import results
from invite_sweeper.cli.facts import RunContext
from invite_sweeper.cli.preparing import Preparation
from invite_sweeper.cli.streams import copy_on_stdout
from invite_sweeper.errors import RunError
from invite_sweeper.job import View
from invite_sweeper.scheduler import Run
from invite_sweeper.stop import Stop
from invite_sweeper.totals import RunCounts, RunResult, RunSummary

if TYPE_CHECKING:
    from invite_sweeper.report.kept import KeptNames


class Told(NamedTuple):
    """What there is to tell of one run.

    Attributes:
        ended: None where it did not come to a run; `error` then says why.
        path: Its audit log, in which it begins at byte `start`.
        kept: The kept invitations by name, where the result is to tell them.
    """

    ended: RunResult | None
    error: RunError | None
    path: Path = Path()
    start: int = 0
    kept: "KeptNames | None" = None


def run_id_at(now: datetime) -> str:
    """Give a run an id that sorts by time and is its own."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


class OneRun:
    """One run's parts, put together."""

    def __init__(
        self,
        context: RunContext,
        stop: Stop,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._context = context
        self._stop = stop
        self._log = log

    async def run(self) -> Told:
        """Carry it out; the lock is held by now.

        Raises:
            RunError: It did not come to a run: audit log, plan, precedents.
        """
        context = self._context
        path = context.target.path(now=context.now, run_id=context.run_id)
        preparation = Preparation(context)
        audit = self._open_log(path)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(audit.close)
            start = audit.position
            ended = await self._against_atlas(preparation, audit)
        self._log.info(
            "finished",
            exit_code=ended.summary.exit_code,
            audit_log=str(path),
            last_hash=ended.summary.audit_last_hash,
        )
        return Told(ended, ended.error, path, start, preparation.kept)

    def _open_log(self, path: Path) -> AuditLog:
        copy = copy_on_stdout() if self._context.target.copy_to_stdout else None
        clock = partial(datetime.now, UTC)
        audit = AuditLog.open(path, run_id=self._context.run_id, clock=clock, copy=copy)
        if audit.set_aside is not None:
            self._log.warning("a torn last line was set aside", file=str(audit.set_aside))
        return audit

    async def _against_atlas(self, preparation: Preparation, audit: AuditLog) -> RunResult:
        context = self._context
        job = preparation.job(audit, self._stop)
        execution = context.policy.execution
        async with connected(
            context.base_url,
            context.credentials,
            execution,
            deadline_s=context.started_s + execution.deadline.total_seconds(),
            shards=context.shard.count if context.shard is not None else 1,
            log=self._log,
        ) as connection:
            view = results.view_for(context.options, self._log)
            counts = self._counts(connection, audit, preparation.mode)
            try:
                return await self._carry_out(
                    Run(job, connection, audit, counts, stop=self._stop, view=view),
                    connection,
                    view,
                )
            finally:
                view.close()

    async def _carry_out(self, run: Run, connection: AtlasClient, view: View) -> RunResult:
        ended = await run.run()
        if connection.limiter.blind and ended.summary.projects_seen:
            view.warn("Atlas told nothing of its rate limits; the documented ones were kept to.")
        return ended

    def _counts(self, connection: AtlasClient, audit: AuditLog, mode: str) -> RunCounts:
        context = self._context
        start = RunSummary(
            run_id=context.run_id,
            mode=mode,
            now=context.now.isoformat().replace("+00:00", "Z"),
            audit_log=str(audit.path),
            organizations=tuple(sorted(context.policy.organization_ids)),
            shard=str(context.shard) if context.shard is not None else None,
        )
        return RunCounts(
            start,
            context.now,
            connection.counters,
            lambda: time.monotonic() - context.started_s,
            keep=context.policy.keep,
            detailed_exit_code=context.options.detailed_exitcode,
        )
