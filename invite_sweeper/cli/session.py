"""Sweep and plan: lock, credentials, log, connection, run."""

import os
import secrets
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from invite_sweeper.atlas import AtlasClient, Credentials, credentials_from, parse_base_url
from invite_sweeper.atlas.client import connected
from invite_sweeper.audit import AuditLock, AuditLog, AuditTarget
from invite_sweeper.cli import console, results
from invite_sweeper.cli.console import event_loop
from invite_sweeper.cli.options import RunOptions
from invite_sweeper.cli.results import Told
from invite_sweeper.cli.run_setup import Preparation, RunContext
from invite_sweeper.cli.streams import copy_on_stdout
from invite_sweeper.errors import RunError, UsageFault
from invite_sweeper.files import raise_if_same
from invite_sweeper.policy import Policy, loader
from invite_sweeper.shutdown import Stop, heard_as
from invite_sweeper.sweep import saved_plan
from invite_sweeper.sweep.run import Run, View
from invite_sweeper.sweep.saved_plan import signature_path
from invite_sweeper.sweep.scope import Shard
from invite_sweeper.sweep.summary import RunCounts, RunResult, RunSummary, merge_summaries

if TYPE_CHECKING:
    pass


# One run: its audit log, its connection, its end.


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
        if connection.limiter.no_limit_headers and ended.summary.projects_seen:
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


# What a command writes takes the place of nothing that it reads, locks or accounts in.


def raise_if_taken_for_log(outputs: Mapping[str, Path | None], target: AuditTarget) -> None:
    """Let a command pass whose outputs no later run would read as audit logs.

    Raises:
        UsageFault: One of them has such a name. Atlas was not called.
    """
    for option, path in outputs.items():
        if path is not None and target.takes_for_log(path):
            raise UsageFault(
                f"{option} {path} would be taken for an audit log: {target.template} names those.",
                hint="Name a file elsewhere.",
            )


def others_of(
    options: RunOptions, target: AuditTarget, now: datetime
) -> Iterator[tuple[str, Path]]:
    """Give the files of a run that it must not lose; logs of earlier runs are among them."""
    yield "the policy", options.policy
    yield "the lock", target.lock_path
    # An id that is still to be drawn names no file yet.
    for log in (target.path(now=now, run_id=""), *target.files()):
        yield "the audit log", log
    if options.plan is not None:
        yield "the plan", options.plan.path
        yield "the plan's approval", signature_path(options.plan.path)
        if options.plan.require_approval is not None:
            yield "the key", options.plan.require_approval


# A policy over several organizations, one part for each credential that it names.


def divided(policy: Policy) -> Iterator[tuple[str, Policy]]:
    """Give each credential's name, "" for the plain one, and the policy for its organizations."""
    groups: dict[str, list[str]] = {}
    for organization in policy.organizations:
        groups.setdefault(organization.credentials or "", []).append(organization.id)
    for name, ids in groups.items():
        chosen = tuple(o for o in policy.organizations if o.id in ids)
        yield name, policy.model_copy(update={"organizations": chosen})


def with_credentials(
    policy: Policy, environment: Mapping[str, str]
) -> tuple[tuple[Policy, Credentials], ...]:
    """Give each part with its credentials; all of them are there, or it raises.

    Raises:
        UsageFault: Credentials are missing, or cannot be read.
    """
    return tuple(
        (part, credentials_from(environment, Path.read_bytes, suffix=name))
        for name, part in divided(policy)
    )


# `sweep` and `plan` from lock to result: one run for each credential that the policy names.


def execute(options: RunOptions, environment: Mapping[str, str] = os.environ) -> int:
    """Carry out one `sweep` or `plan`, show its result, and give the exit code.

    Raises:
        RunError: It did not come to a run: usage, policy, lock, audit log, plan.
    """
    return event_loop(_Session(options, environment).run())


class _Session:
    """What all runs of one command share: policy, environment, lock, signals."""

    def __init__(self, options: RunOptions, environment: Mapping[str, str]) -> None:
        self._options = options
        self._environment = environment
        self._started_s = time.monotonic()
        self._now = datetime.now(UTC)
        self._policy = loader.read(options.policy, deadline=options.deadline)
        _check_accept_policy(options, self._policy)
        self._base_url = parse_base_url(options.base_url)
        self._parts = self._divide()
        self._target = AuditTarget.chosen(options.audit_log, self._policy.audit.path)
        outputs = {"--out": options.out, "--metrics-file": options.metrics_file}
        raise_if_same(outputs, others_of(options, self._target, self._now))
        raise_if_taken_for_log(outputs, self._target)
        index = environment.get("JOB_COMPLETION_INDEX")
        self._shard = (
            Shard.parse(options.shard, completion_index=index)
            if options.shard is not None
            else None
        )
        self._log = console.configure(
            quiet=options.quiet or options.quiet_progress, verbose=options.verbose
        )
        self._stop = Stop()

    async def run(self) -> int:
        """Carry out each run while the lock is held, and tell what came of them.

        Raises:
            RunError: It did not come to a run.
        """
        with (
            AuditLock(self._target.lock_path, now=self._now, command=shlex.join(sys.argv)),
            heard_as(self._stop, self._log),
        ):
            if self._options.out is not None:
                saved_plan.try_place(self._options.out)
            self._warn(await results.begin(self._policy.notify, self._environment))
            for warning in self._policy.warnings(self._now.date()):
                self._log.warning(warning)
            told = [await self._one(part) for part in self._parts]
            self._warn(tuple(results.by_name(self._options, told)))
            code = results.tell_all(self._options, told)
            await self._announce(told, code)
        return code

    async def _one(self, part: tuple[Policy, Credentials]) -> Told:
        policy, credentials = part
        context = RunContext(
            options=self._options,
            policy=policy,
            now=self._now,
            run_id=run_id_at(self._now),
            base_url=self._base_url,
            credentials=credentials,
            shard=self._shard,
            target=self._target,
            started_s=self._started_s,
        )
        try:
            return await OneRun(context, self._stop, self._log).run()
        except RunError as error:
            if len(self._parts) == 1:
                raise
            return Told(None, error)

    def _divide(self) -> tuple[tuple[Policy, Credentials], ...]:
        """Give each credential its organizations; all of them are there before Atlas is called.

        Raises:
            UsageFault: Credentials are missing, or one saved plan is to serve several.
        """
        parts = with_credentials(self._policy, self._environment)
        if len(parts) > 1 and (self._options.out or self._options.plan):
            raise UsageFault(
                "A saved plan belongs to one credential, and the policy names several.",
                hint="Write a policy for each.",
            )
        return parts

    async def _announce(self, told: list[Told], code: int) -> None:
        summaries = [each.ended.summary for each in told if each.ended is not None]
        if not summaries:
            return
        self._warn(
            await results.end(
                self._policy.notify,
                self._environment,
                merge_summaries(summaries, code),
                metrics_file=self._options.metrics_file,
                pushgateway=self._options.pushgateway,
            )
        )

    def _warn(self, sentences: tuple[str, ...]) -> None:
        for sentence in sentences:
            self._log.warning(sentence)


def _check_accept_policy(options: RunOptions, policy: Policy) -> None:
    """Check that `--accept-policy` has a quarantine to lift.

    Raises:
        UsageFault: The policy sets none.
    """
    if options.accept_policy is not None and not policy.limits.quarantine:
        raise UsageFault(
            "--accept-policy lifts a quarantine, and the policy sets none.",
            hint="Leave it out, or write limits: {quarantine: true}.",
        )
