"""What a run is made of: files, environment, clock and network, put together here alone."""

import asyncio
import os
import secrets
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from invite_sweeper import __version__
from invite_sweeper.atlas import (
    Atlas,
    AtlasDeleter,
    AtlasReader,
    BucketKey,
    ClientOptions,
    RateLimiter,
    connect,
    credentials_from,
    parse_base_url,
)
from invite_sweeper.atlas.limits import PROJECTS_GROUP
from invite_sweeper.audit import AuditLog
from invite_sweeper.audit.lock import AuditLock
from invite_sweeper.audit.paths import AuditTarget
from invite_sweeper.cli import messages, policy_files, results
from invite_sweeper.cli.asking import Question
from invite_sweeper.cli.loop import event_loop
from invite_sweeper.cli.options import Output
from invite_sweeper.job import Job
from invite_sweeper.report.summary import Summary
from invite_sweeper.scheduler import Run
from invite_sweeper.shard import Shard
from invite_sweeper.stop import Stop
from invite_sweeper.totals import Ended, Totals


@dataclass(frozen=True, slots=True)
class Order:
    """What the person asked for, as typed."""

    policy: Path
    base_url: str
    audit_log: str | None = None
    dry_run: bool = False
    out: Path | None = None
    output: Output = Output.TEXT
    detailed_exitcode: bool = False
    yes: bool = False
    shard: str | None = None
    metrics_file: Path | None = None
    deadline: str | None = None
    quiet: bool = False
    verbose: bool = False
    calm: bool = False
    """No progress and no log below a warning, but the result: what `demo` wants."""

    @property
    def mode(self) -> str:
        """The run's name in the audit log."""
        return "dry-run" if self.dry_run else "sweep"


def execute(order: Order, environment: Mapping[str, str] = os.environ) -> int:
    """Carry out one `sweep` or `plan`, show its result, and give the exit code.

    Raises:
        RunError: It did not come to a run: usage, policy, lock, audit log.
    """
    return event_loop(_Wiring(order, environment).run())


class _Wiring:
    """One run's parts, made from the order, the policy and the environment."""

    def __init__(self, order: Order, environment: Mapping[str, str]) -> None:
        self._order = order
        self._started_s = time.monotonic()
        self._now = datetime.now(UTC)
        self._run_id = f"{self._now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        self._policy = policy_files.read(order.policy, deadline=order.deadline)
        self._base_url = parse_base_url(order.base_url)
        self._credentials = credentials_from(environment, Path.read_bytes)
        index = environment.get("JOB_COMPLETION_INDEX")
        self._shard = Shard.parse(order.shard, completion_index=index) if order.shard else None
        self._target = AuditTarget.parse(order.audit_log or self._policy.audit.path)
        self._log = messages.configure(quiet=order.quiet or order.calm, verbose=order.verbose)
        self._stop = Stop()

    async def run(self) -> int:
        """Carry out the run between the lock and the result."""
        path = self._target.path(now=self._now, run_id=self._run_id)
        lock = AuditLock(self._target.lock_path, now=self._now, command=shlex.join(sys.argv))
        clock = partial(datetime.now, UTC)
        with lock, self._listening():
            copy = sys.stdout.buffer if self._target.copy_to_stdout else None
            audit = AuditLog.open(path, run_id=self._run_id, clock=clock, copy=copy)
            if audit.set_aside is not None:
                self._log.warning("a torn last line was set aside", file=str(audit.set_aside))
            async with AsyncExitStack() as stack:
                stack.push_async_callback(audit.close)
                start = audit.position
                ended = await self._against_atlas(audit)
        return results.tell(self._order, ended, path, start)

    async def _against_atlas(self, audit: AuditLog) -> Ended:
        execution = self._policy.execution
        limiter = RateLimiter(
            time.monotonic,
            asyncio.sleep,
            reserve=execution.reserve,
            max_requests_per_second=execution.max_requests_per_second,
            shared_by=self._shard.count if self._shard else 1,
        )
        options = ClientOptions(
            concurrency=execution.concurrency,
            attempts=execution.attempts,
            deadline_s=self._started_s + execution.deadline.total_seconds(),
        )
        async with connect(
            self._base_url,
            self._credentials,
            options=options,
            limiter=limiter,
            clock=partial(datetime.now, UTC),
            log=self._log,
        ) as atlas:
            view = results.view_for(self._order, self._log)
            totals = self._totals(atlas, audit)
            run = Run(
                self._job(audit),
                _Connected(atlas, limiter),
                audit,
                totals,
                stop=self._stop,
                view=view,
            )
            try:
                return await run.run()
            finally:
                view.close()

    def _totals(self, atlas: Atlas, audit: AuditLog) -> Totals:
        start = Summary(
            run_id=self._run_id,
            mode=self._order.mode,
            now=self._now.isoformat().replace("+00:00", "Z"),
            audit_log=str(audit.path),
        )
        return Totals(
            start,
            self._now,
            atlas.counters,
            lambda: time.monotonic() - self._started_s,
            stale_is_told=self._order.detailed_exitcode,
        )

    def _job(self, audit: AuditLog) -> Job:
        order = self._order
        asks = not order.dry_run and not order.yes and Question.can_ask()
        show = partial(results.show_plan, order, audit, audit.position)
        organizations = ", ".join(sorted(self._policy.organization_ids))
        return Job(
            policy=self._policy,
            now=self._now,
            run_id=self._run_id,
            dry_run=order.dry_run,
            clock=time.monotonic,
            started_s=self._started_s,
            shard=self._shard,
            confirm=Question(self._stop, show, organizations) if asks else None,
            preamble={
                "mode": order.mode,
                "tool_version": __version__,
                "policy_sha256": self._policy.sha256,
                "policy_path": str(order.policy),
                "base_url": str(self._base_url),
                "actor": self._credentials.actor,
                "now": self._now.isoformat().replace("+00:00", "Z"),
                "shard": str(self._shard) if self._shard else None,
            },
        )

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as wishes to stop: the first politely, the second at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._heard, signal.Signals(number).name)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _heard(self, name: str) -> None:
        if self._stop.reason is None:
            self._log.warning(
                "stopping: nothing new is sent; a second signal ends at once", signal=name
            )
            self._stop.ask(f"{name} came")
        else:
            self._stop.at_once(f"{name} came again")


class _Connected:
    """The connection as a run needs it: Atlas, and what its limits allow."""

    def __init__(self, atlas: Atlas, limiter: RateLimiter) -> None:
        self._atlas = atlas
        self._limiter = limiter

    @property
    def reader(self) -> AtlasReader:
        """The part that reads."""
        return self._atlas.reader

    def deleter(self) -> AtlasDeleter:
        """The part that deletes."""
        return self._atlas.deleter()

    @property
    def clock_skew_s(self) -> float | None:
        """How far our clock is ahead of Atlas's."""
        return self._atlas.clock_skew_s

    @property
    def sunset(self) -> date | None:
        """The day on which Atlas stops serving what is in use."""
        return self._atlas.sunset

    def estimate_s(self, deletions: Mapping[str, int]) -> float:
        """The seconds that the buckets ask for."""
        counts = {BucketKey(PROJECTS_GROUP, project): n for project, n in deletions.items()}
        return self._limiter.estimate_s(counts)
