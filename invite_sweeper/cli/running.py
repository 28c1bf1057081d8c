"""One run from the command line: lock, audit log, connection, result."""

import os
import secrets
import shlex
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from invite_sweeper.atlas import Atlas, credentials_from, parse_base_url
from invite_sweeper.audit import AuditLock, AuditLog, AuditTarget
from invite_sweeper.cli import messages, policy_files, results
from invite_sweeper.cli.connecting import connected
from invite_sweeper.cli.loop import event_loop
from invite_sweeper.cli.order import Order
from invite_sweeper.cli.preparing import Facts, Preparation
from invite_sweeper.cli.signals import heard_as
from invite_sweeper.report.summary import Summary
from invite_sweeper.scheduler import Run
from invite_sweeper.shard import Shard
from invite_sweeper.stop import Stop
from invite_sweeper.totals import Ended, Totals


def execute(order: Order, environment: Mapping[str, str] = os.environ) -> int:
    """Carry out one `sweep` or `plan`, show its result, and give the exit code.

    Raises:
        RunError: It did not come to a run: usage, policy, lock, audit log, plan.
    """
    return event_loop(_OneRun(order, environment).run())


class _OneRun:
    """One run's parts, made from the order, the policy and the environment."""

    def __init__(self, order: Order, environment: Mapping[str, str]) -> None:
        self._started_s = time.monotonic()
        now = datetime.now(UTC)
        policy = policy_files.read(order.policy, deadline=order.deadline)
        self._base_url = parse_base_url(order.base_url)
        self._credentials = credentials_from(environment, Path.read_bytes)
        index = environment.get("JOB_COMPLETION_INDEX")
        self._facts = Facts(
            order=order,
            policy=policy,
            now=now,
            run_id=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
            base_url=str(self._base_url),
            actor=self._credentials.actor,
            shard=Shard.parse(order.shard, completion_index=index) if order.shard else None,
            target=AuditTarget.parse(order.audit_log or policy.audit.path),
            started_s=self._started_s,
        )
        self._log = messages.configure(quiet=order.quiet or order.calm, verbose=order.verbose)
        self._stop = Stop()

    async def run(self) -> int:
        """Carry out the run between the lock and the result."""
        facts = self._facts
        path = facts.target.path(now=facts.now, run_id=facts.run_id)
        command = shlex.join(sys.argv)
        with (
            AuditLock(facts.target.lock_path, now=facts.now, command=command),
            heard_as(self._stop, self._log),
        ):
            preparation = Preparation(facts)
            audit = self._open_log(path)
            async with AsyncExitStack() as stack:
                stack.push_async_callback(audit.close)
                start = audit.position
                for warning in facts.policy.warnings(facts.now.date()):
                    self._log.warning(warning)
                ended = await self._against_atlas(preparation, audit)
        return results.tell(facts.order, ended, path, start, preparation.kept)

    def _open_log(self, path: Path) -> AuditLog:
        copy = sys.stdout.buffer if self._facts.target.copy_to_stdout else None
        clock = partial(datetime.now, UTC)
        audit = AuditLog.open(path, run_id=self._facts.run_id, clock=clock, copy=copy)
        if audit.set_aside is not None:
            self._log.warning("a torn last line was set aside", file=str(audit.set_aside))
        return audit

    async def _against_atlas(self, preparation: Preparation, audit: AuditLog) -> Ended:
        facts = self._facts
        job = preparation.job(audit, self._stop)
        execution = facts.policy.execution
        async with connected(
            self._base_url,
            self._credentials,
            execution,
            deadline_s=self._started_s + execution.deadline.total_seconds(),
            shards=facts.shard.count if facts.shard is not None else 1,
            log=self._log,
        ) as connection:
            view = results.view_for(facts.order, self._log)
            totals = self._totals(connection.atlas, audit, preparation.mode)
            try:
                return await Run(job, connection, audit, totals, stop=self._stop, view=view).run()
            finally:
                view.close()

    def _totals(self, atlas: Atlas, audit: AuditLog, mode: str) -> Totals:
        facts = self._facts
        start = Summary(
            run_id=facts.run_id,
            mode=mode,
            now=facts.now.isoformat().replace("+00:00", "Z"),
            audit_log=str(audit.path),
        )
        return Totals(
            start,
            facts.now,
            atlas.counters,
            lambda: time.monotonic() - self._started_s,
            stale_is_told=facts.order.detailed_exitcode,
        )
