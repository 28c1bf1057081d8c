"""Runs `sweep` and `plan`: lock, credentials, audit log, connection, one run per credential."""

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

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from invite_sweeper.atlas import (
    Credentials,
    RateLimitedAtlasClient,
    parse_base_url,
    read_credentials,
)
from invite_sweeper.atlas.client import connect_for_run
from invite_sweeper.audit import AuditLog, LogPath, RunLock
from invite_sweeper.cli import console, results
from invite_sweeper.cli.console import run_async
from invite_sweeper.cli.options import RunOptions
from invite_sweeper.cli.results import RunReport
from invite_sweeper.cli.run_setup import RunContext, RunSetup
from invite_sweeper.cli.streams import audit_copy_stream
from invite_sweeper.errors import RunError, UsageError
from invite_sweeper.files import check_distinct_files, check_replaceable
from invite_sweeper.keys import read_signing_key
from invite_sweeper.policy import Policy, loader
from invite_sweeper.shutdown import StopRequest, handle_signals
from invite_sweeper.sweep import saved_plan
from invite_sweeper.sweep.run import ProgressView, Run
from invite_sweeper.sweep.saved_plan import signature_path
from invite_sweeper.sweep.scope import Shard
from invite_sweeper.sweep.summary import RunCounts, RunResult, RunSummary, merge_summaries


def new_run_id(now: datetime) -> str:
    """Return a unique run id that sorts by time."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


class SingleRun:
    """One run: audit log, connection, execution."""

    def __init__(
        self,
        context: RunContext,
        stop: StopRequest,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._context = context
        self._stop = stop
        self._log = log

    async def run(self) -> RunReport:
        """Execute the run; requires the lock.

        Raises:
            RunError: The run could not start: audit log, plan, earlier runs.
        """
        context = self._context
        path = context.log_path.path_of_run(now=context.now, run_id=context.run_id)
        setup = RunSetup(context)
        audit = self._open_log(path)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(audit.close)
            log_offset = audit.offset
            result = await self._run_with_connection(setup, audit)
        self._log.info(
            "finished",
            exit_code=result.summary.exit_code,
            audit_log=str(path),
            last_hash=result.summary.audit_last_hash,
        )
        return RunReport(result, result.error, path, log_offset, setup.kept_invitations)

    def _open_log(self, path: Path) -> AuditLog:
        copy = audit_copy_stream() if self._context.log_path.copy_to_stdout else None
        clock = partial(datetime.now, UTC)
        audit = AuditLog.open(
            path,
            run_id=self._context.run_id,
            clock=clock,
            copy=copy,
            log_path=self._context.log_path,
            new_log=self._context.options.new_log,
            signing_key=self._context.signing_key,
        )
        if audit.torn_copy is not None:
            self._log.warning("a torn last line was moved to a file", file=str(audit.torn_copy))
        return audit

    async def _run_with_connection(self, setup: RunSetup, audit: AuditLog) -> RunResult:
        context = self._context
        config = setup.run_config(audit, self._stop)
        execution = context.policy.execution
        async with connect_for_run(
            context.base_url,
            context.credentials,
            execution,
            now=context.now,
            started_s=context.started_s,
            deadline_s=context.started_s + execution.deadline.total_seconds(),
            shards=context.shard.count if context.shard is not None else 1,
            log=self._log,
        ) as connection:
            view = results.progress_view(context.options, self._log)
            counts = self._counts(connection, audit, setup.mode)
            try:
                return await self._execute(
                    Run(config, connection, audit, counts, stop=self._stop, view=view),
                    connection,
                    view,
                )
            finally:
                view.close()

    async def _execute(
        self, run: Run, connection: RateLimitedAtlasClient, view: ProgressView
    ) -> RunResult:
        result = await run.run()
        if connection.limiter.no_limit_headers and result.summary.projects_seen:
            view.warning("Atlas returned no rate limits; the documented ones were used.")
        return result

    def _counts(self, connection: RateLimitedAtlasClient, audit: AuditLog, mode: str) -> RunCounts:
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


def check_not_log_path(outputs: Mapping[str, Path | None], log_path: LogPath) -> None:
    """Raise UsageError if a later run would read an output file as an audit log."""
    for option, path in outputs.items():
        if path is not None and log_path.matches(path):
            raise UsageError(
                f"{option} {path} has the name of an audit log: it matches {log_path.template}.",
                hint="Use another file name.",
            )


def protected_files(
    options: RunOptions, log_path: LogPath, now: datetime
) -> Iterator[tuple[str, Path]]:
    """Yield the files that outputs must not overwrite, with what each is."""
    yield "the policy", options.policy
    yield "the lock", log_path.lock_path
    # The run has no id yet, so a log named by id cannot be checked.
    for log in (log_path.path_of_run(now=now, run_id=""), *log_path.files()):
        yield "the audit log", log
    if options.plan is not None:
        yield "the plan", options.plan.path
        yield "the plan's approval", signature_path(options.plan.path)
        if options.plan.require_approval is not None:
            yield "the key", options.plan.require_approval


def split_by_credentials(policy: Policy) -> Iterator[tuple[str, Policy]]:
    """Yield each credential's name, "" for the default, and the policy for its organizations."""
    groups: dict[str, list[str]] = {}
    for organization in policy.organizations:
        groups.setdefault(organization.credentials or "", []).append(organization.id)
    for name, ids in groups.items():
        organizations = tuple(o for o in policy.organizations if o.id in ids)
        yield name, policy.model_copy(update={"organizations": organizations})


def split_with_credentials(
    policy: Policy, environment: Mapping[str, str]
) -> tuple[tuple[Policy, Credentials], ...]:
    """Return each part of the policy with its credentials.

    Raises:
        UsageError: Credentials are missing or cannot be read.
    """
    return tuple(
        (part, read_credentials(environment, Path.read_bytes, suffix=name))
        for name, part in split_by_credentials(policy)
    )


def run_session(options: RunOptions, environment: Mapping[str, str] = os.environ) -> int:
    """Run `sweep` or `plan`, show the result and return the exit code.

    Raises:
        RunError: The run could not start: usage, policy, lock, audit log, plan.
    """
    return run_async(_SweepSession(options, environment).run())


class _SweepSession:
    """The runs of one command, which share policy, environment, lock and signals."""

    def __init__(self, options: RunOptions, environment: Mapping[str, str]) -> None:
        self._options = options
        self._environment = environment
        self._started_s = time.monotonic()
        self._now = datetime.now(UTC)
        self._policy = loader.load_policy(options.policy, deadline=options.deadline)
        _check_accept_policy(options, self._policy)
        self._base_url = parse_base_url(options.base_url)
        self._parts = self._split_by_credentials()
        self._log_path = LogPath.from_option(options.audit_log, self._policy.audit.path)
        self._signing_key = _read_signing_key(options, self._policy, environment)
        outputs = {
            "--out": options.out,
            "--metrics-file": options.metrics_file,
            "--checkpoint-file": options.checkpoint_file,
        }
        check_distinct_files(outputs, protected_files(options, self._log_path, self._now))
        check_not_log_path(outputs, self._log_path)
        index = environment.get("JOB_COMPLETION_INDEX")
        self._shard = (
            Shard.parse(options.shard, completion_index=index)
            if options.shard is not None
            else None
        )
        self._log = console.configure_logging(
            quiet=options.quiet or options.quiet_progress, verbose=options.verbose
        )
        self._stop = StopRequest()

    async def run(self) -> int:
        """Execute each run while the lock is held, report and return the exit code.

        Raises:
            RunError: The run could not start.
        """
        with (
            RunLock(self._log_path.lock_path, now=self._now, command=shlex.join(sys.argv)),
            handle_signals(self._stop, self._log),
        ):
            if self._options.out is not None:
                saved_plan.check_writable(self._options.out)
            if self._options.checkpoint_file is not None:
                check_replaceable(self._options.checkpoint_file, "The checkpoint")
            self._warn(await results.notify_start(self._policy.notify, self._environment))
            for warning in self._policy.warnings(self._now.date()):
                self._log.warning(warning)
            reports = [await self._run_one(part) for part in self._parts]
            self._warn(results.write_checkpoint(self._options.checkpoint_file, reports))
            self._warn(tuple(results.failure_messages(self._options, reports)))
            code = results.report_all(self._options, reports)
            await self._notify_end(reports, code)
        return code

    async def _run_one(self, part: tuple[Policy, Credentials]) -> RunReport:
        policy, credentials = part
        options = self._options
        if policy is not self._parts[0][0]:  # the first run started the new log
            options = options._replace(new_log=False)
        context = RunContext(
            options=options,
            policy=policy,
            now=self._now,
            run_id=new_run_id(self._now),
            base_url=self._base_url,
            credentials=credentials,
            shard=self._shard,
            log_path=self._log_path,
            started_s=self._started_s,
            signing_key=self._signing_key,
        )
        try:
            return await SingleRun(context, self._stop, self._log).run()
        except RunError as error:
            if len(self._parts) == 1:
                raise
            return RunReport(None, error)

    def _split_by_credentials(self) -> tuple[tuple[Policy, Credentials], ...]:
        """Return the parts of the policy with their credentials.

        Raises:
            UsageError: Credentials are missing, or a saved plan is used with several.
        """
        parts = split_with_credentials(self._policy, self._environment)
        if len(parts) > 1 and (self._options.out or self._options.plan):
            raise UsageError(
                "A saved plan needs a policy with one credential; this policy names several.",
                hint="Use one policy per credential.",
            )
        return parts

    async def _notify_end(self, reports: list[RunReport], code: int) -> None:
        summaries = [each.result.summary for each in reports if each.result is not None]
        if not summaries:
            return
        self._warn(
            await results.notify_end(
                self._policy.notify,
                self._environment,
                merge_summaries(summaries, code),
                metrics_file=self._options.metrics_file,
                pushgateway=self._options.pushgateway,
            )
        )

    def _warn(self, messages: tuple[str, ...]) -> None:
        for message in messages:
            self._log.warning(message)


def _read_signing_key(
    options: RunOptions, policy: Policy, environment: Mapping[str, str]
) -> Ed25519PrivateKey | None:
    """Return the key that signs the runs; None if the policy names none.

    Raises:
        UsageError: The key is missing or not valid, or `--checkpoint-file` is used without one.
    """
    variable = policy.audit.signing_key_env
    if variable is not None:
        return read_signing_key(environment, variable)
    if options.checkpoint_file is not None:
        raise UsageError(
            "--checkpoint-file needs a signing key.",
            hint="Set audit: {signing_key_env: NAME} in the policy.",
        )
    return None


def _check_accept_policy(options: RunOptions, policy: Policy) -> None:
    """Raise UsageError if `--accept-policy` is set and the policy has no quarantine."""
    if options.accept_policy is not None and not policy.limits.quarantine:
        raise UsageError(
            "`--accept-policy` was given, but the policy sets no quarantine.",
            hint="Remove the option, or set limits: {quarantine: true} in the policy.",
        )
