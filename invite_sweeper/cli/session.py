"""Runs `sweep` and `plan`: lock, credentials, audit log, and one run per credential in a group."""

import os
import secrets
import shlex
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from invite_sweeper.atlas import (
    Credentials,
    RateLimitedAtlasClient,
    parse_base_url,
    read_credentials,
)
from invite_sweeper.atlas.client import connect_for_run
from invite_sweeper.audit import AuditLog, LogPath, RunLock
from invite_sweeper.audit.checkpoint import is_checkpoint
from invite_sweeper.audit.lock import holder_path
from invite_sweeper.cli import console, results
from invite_sweeper.cli.console import run_async
from invite_sweeper.cli.options import DEFAULT_BASE_URL, Output, RunOptions
from invite_sweeper.cli.results import CommandReport
from invite_sweeper.cli.run_setup import CommandContext, CommandSetup, RunPart, population_settings
from invite_sweeper.cli.streams import audit_copy_stream
from invite_sweeper.endings import Advisor, RunWarning, WarningCode, WarningLevel
from invite_sweeper.errors import Cancelled, Interrupted, LockHeld, RunError, UsageError
from invite_sweeper.files import check_distinct_files, check_replaceable, check_writable
from invite_sweeper.keys import read_signing_key
from invite_sweeper.last_resort import LastResort
from invite_sweeper.policy import Policy, loader
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report import metrics
from invite_sweeper.report.population import PopulationFile, is_population
from invite_sweeper.report.webhooks import NOTIFICATION_LIMIT_S, register_secrets
from invite_sweeper.shutdown import StopRequest, handle_signals
from invite_sweeper.sweep import saved_plan
from invite_sweeper.sweep.approval import signature_path
from invite_sweeper.sweep.group import RunGroup
from invite_sweeper.sweep.previous_runs import PreviousRuns
from invite_sweeper.sweep.run import ProgressView, Run
from invite_sweeper.sweep.run_counts import RunCounts
from invite_sweeper.sweep.scope import Shard
from invite_sweeper.sweep.summary import OrganizationSummary, RunSummary, merge_summaries, with_end


def new_run_id(now: datetime) -> str:
    """Return a unique run id that sorts by time."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


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
    yield "the lock's holder file", holder_path(log_path.lock_path)
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
        (part, read_credentials(environment, suffix=name))
        for name, part in split_by_credentials(policy)
    )


def run_session(options: RunOptions, environment: Mapping[str, str] = os.environ) -> int:
    """Run `sweep` or `plan`, show the result and return the exit code.

    Raises:
        RunError: No run could start: usage, policy, lock, audit log, plan.
    """
    return run_async(_SweepSession(options, environment).run())


class _SweepSession:
    """One command: its runs share policy, environment, lock, audit log and signals."""

    def __init__(self, options: RunOptions, environment: Mapping[str, str]) -> None:
        self._options = options
        self._environment = environment
        self._started_s = time.monotonic()
        self._now = datetime.now(UTC)
        if options.pushgateway is not None:
            SECRETS.add_user_info(options.pushgateway)
            metrics.check_gateway_url(options.pushgateway)
        self._policy = loader.load_policy(options.policy, deadline=options.deadline)
        register_secrets(self._policy.notify, environment)
        self._base_url = parse_base_url(options.base_url)
        self._parts = self._split_by_credentials()
        self._log_path = LogPath.from_option(options.audit_log, self._policy.audit.path)
        _check_accept_policy(options, self._policy, self._log_path)
        index = environment.get("JOB_COMPLETION_INDEX")
        self._shard = (
            Shard.parse(options.shard, completion_index=index)
            if options.shard is not None
            else None
        )
        self._population = population_settings(options, self._policy, environment, self._shard)
        self._signing_key = _read_signing_key(options, self._policy, environment)
        outputs = {
            "--out": options.out,
            "--metrics-file": options.metrics_file,
            "--checkpoint-file": options.checkpoint_file,
        }
        if self._population is not None:
            sample = self._population.path(self._now, new_run_id(self._now))
            outputs[self._population.label] = sample
        check_distinct_files(outputs, protected_files(options, self._log_path, self._now))
        check_not_log_path(outputs, self._log_path)
        check_replaceable("--out", options.out, "a saved plan", is_ours=saved_plan.is_plan)
        check_replaceable(
            "--metrics-file", options.metrics_file, "a metrics file", is_ours=metrics.is_textfile
        )
        check_replaceable(
            "--checkpoint-file", options.checkpoint_file, "a checkpoint", is_ours=is_checkpoint
        )
        if self._population is not None:
            label, path = self._population.label, outputs[self._population.label]
            check_replaceable(label, path, "a population", is_ours=is_population)
        self._log = console.configure_logging(
            quiet=options.quiet or options.quiet_progress,
            verbose=options.verbose,
            log_format=options.log_format,
        )
        self._stop = StopRequest()
        execution = self._policy.execution
        self._last_resort = LastResort(
            started_s=self._started_s,
            deadline_s=execution.deadline.total_seconds(),
            grace_s=execution.grace.total_seconds(),
            as_json=options.output is Output.JSON,
        )

    async def run(self) -> int:
        """Execute the runs while the lock is held, report and return the exit code.

        Raises:
            RunError: No run could start.
        """
        with self._last_resort:
            try:
                with (
                    RunLock(self._log_path.lock_path, now=self._now, command=shlex.join(sys.argv)),
                    handle_signals(self._stop, self._log, self._last_resort),
                ):
                    return await self._run_locked()
            except LockHeld as error:
                # The run that holds the lock writes the metrics.
                await self._notify_end(self._not_started(error), metrics=False)
                raise

    async def _run_locked(self) -> int:
        if self._options.out is not None:
            check_writable(self._options.out, "The plan")
        if self._options.checkpoint_file is not None:
            check_writable(self._options.checkpoint_file, "The checkpoint")
        limit_s = min(NOTIFICATION_LIMIT_S, self._last_resort.left_s)
        start = results.notify_start(self._policy.notify, self._environment, limit_s)
        with suppress(Interrupted):  # the run records the stop
            self._warn(await self._stop.run_unless_stopped(start))
        for remark in self._policy.warnings(self._now.date()):
            self._log.info(remark)
        try:
            report = await self._run_group()
        except RunError as error:
            await self._notify_end(self._not_started(error))
            raise
        self._last_resort.result_known(report.summary.exit_code)
        note = report.summary.checkpoint
        self._warn(results.write_checkpoint(self._options.checkpoint_file, note))
        self._warn(tuple(results.failure_messages(self._options, report)))
        results.report_command(self._options, report)
        if report.summary.policy_change is not None:
            results.report_policy_change(self._options, report.summary.policy_change)
        if self._options.out is not None and report.plan_saved:
            results.report_saved_plan(self._options, self._options.out, self._log)
        cancelled = any(isinstance(each, Cancelled) for each in report.errors)
        log = self._log.debug if cancelled else self._log.info
        log(
            "finished",
            exit_code=report.summary.exit_code,
            audit_log=str(report.log_file),
            last_hash=report.summary.audit_last_hash,
        )
        await self._notify_end(
            report.summary, users=results.users_to_name(self._policy.notify, report)
        )
        return report.summary.exit_code

    async def _run_group(self) -> CommandReport:
        """Run all parts of the policy as one group.

        Raises:
            RunError: No run could start: audit log, plan, earlier runs.
        """
        parts = tuple(
            RunPart(new_run_id(self._now), policy, credentials)
            for policy, credentials in self._parts
        )
        group_id = parts[0].run_id
        context = CommandContext(
            options=self._options,
            policy=self._policy,
            now=self._now,
            group_id=group_id,
            base_url=self._base_url,
            shard=self._shard,
            log_path=self._log_path,
            started_s=self._started_s,
            population=self._population,
        )
        setup = CommandSetup(context)
        path = self._log_path.path_of_run(now=self._now, run_id=group_id)
        async with AsyncExitStack() as stack:
            population = setup.open_population(parts)
            if population is not None:
                stack.enter_context(population)
            audit = self._open_log(path, group_id)
            stack.push_async_callback(audit.close)
            log_offset = audit.offset
            view = results.progress_view(self._options, self._log)
            stack.callback(view.close)
            runs = [
                await stack.enter_async_context(self._run(setup, part, audit, view, population))
                for part in parts
            ]
            group = RunGroup(runs, setup.group_config(audit, self._stop), self._stop)
            ended = await group.run()
        summary = replace(
            merge_summaries([each.summary for each in ended]),
            audit_last_hash=audit.last_hash,
            checkpoint=audit.checkpoint,
        )
        if population is not None:
            self._report_population(population)
        if audit.copy_failure is not None:
            self._log.warning(
                "the copy of the audit log on standard output is incomplete; the file is complete",
                reason=getattr(audit.copy_failure, "strerror", None) or "it is closed",
                audit_log=str(path),
            )
        return CommandReport(
            summary, ended, path, log_offset, setup.kept_invitations, setup.plan_saved
        )

    def _report_population(self, population: PopulationFile) -> None:
        file = str(population.path)
        if population.sha256 is not None:
            self._log.info("population written", file=file, sha256=population.sha256)
        else:
            self._log.warning("the run did not read every list: no population written", file=file)

    @asynccontextmanager
    async def _run(
        self,
        setup: CommandSetup,
        part: RunPart,
        audit: AuditLog,
        view: ProgressView,
        population: PopulationFile | None,
    ) -> AsyncIterator[Run]:
        """Yield one run with its connection."""
        config = setup.run_config(part, population)
        execution = self._policy.execution
        async with connect_for_run(
            self._base_url,
            part.credentials,
            execution,
            now=self._now,
            started_s=self._started_s,
            deadline_s=self._started_s + execution.deadline.total_seconds(),
            shards=self._shard.count if self._shard is not None else 1,
            log=self._log,
        ) as connection:
            log = audit.for_run(part.run_id)
            counts = self._counts(part, connection, audit, setup.mode)
            if setup.dry_run:  # a sweep logs them only
                counts.warnings += (
                    RunWarning(WarningCode.POLICY, each, WarningLevel.REMARK)
                    for each in self._policy.warnings(self._now.date())
                )
            yield Run(config, connection, log, counts, stop=self._stop, view=view)
            if connection.limiter.no_limit_headers and counts.projects_seen:
                view.remark("Atlas returned no rate limits; the documented ones were used.")

    def _open_log(self, path: Path, run_id: str) -> AuditLog:
        copy = audit_copy_stream() if self._log_path.copy_to_stdout else None
        audit = AuditLog.open(
            path,
            run_id=run_id,
            clock=partial(datetime.now, UTC),
            copy=copy,
            log_path=self._log_path,
            new_log=self._options.new_log,
            signing_key=self._signing_key,
        )
        if audit.torn_copy is not None:
            self._log.warning("a torn last line was moved to a file", file=str(audit.torn_copy))
        return audit

    def _counts(
        self, part: RunPart, connection: RateLimitedAtlasClient, audit: AuditLog, mode: str
    ) -> RunCounts:
        start = self._summary(part.policy, part.run_id, audit.path, mode)
        return RunCounts(
            start,
            self._now,
            connection.counters,
            lambda: time.monotonic() - self._started_s,
            keep=part.policy.keep,
            detailed_exit_code=self._options.detailed_exitcode,
        )

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

    def _not_started(self, error: RunError) -> RunSummary:
        """Return the summary of a command without a run."""
        path = self._log_path.path_of_run(now=self._now, run_id="")
        mode = "dry-run" if self._options.dry_run else "sweep"
        return with_end(self._summary(self._policy, "", path, mode), error)

    def _summary(self, policy: Policy, run_id: str, path: Path, mode: str) -> RunSummary:
        """Return the summary of a run that begins."""
        base_url = str(self._base_url)
        return RunSummary(
            run_id=run_id,
            mode=mode,
            now=self._now.isoformat().replace("+00:00", "Z"),
            audit_log=str(path),
            organizations=tuple(
                OrganizationSummary(each.id, None, run_id) for each in policy.organizations
            ),
            shard=str(self._shard) if self._shard is not None else None,
            advisor=Advisor(
                audit_log=str(path),
                run_id=run_id,
                policy_path=str(self._options.policy),
                policy_sha256=self._policy.sha256,
                credentials=policy.organizations[0].credentials or "",
                base_url="" if base_url == DEFAULT_BASE_URL else base_url,
            ),
        )

    async def _notify_end(
        self,
        summary: RunSummary,
        *,
        users: Sequence[Mapping[str, object]] = (),
        metrics: bool = True,
    ) -> None:
        self._warn(
            await results.notify_end(
                self._policy.notify,
                self._environment,
                summary,
                users=users,
                metrics_file=self._options.metrics_file if metrics else None,
                pushgateway=self._options.pushgateway if metrics else None,
                limit_s=min(NOTIFICATION_LIMIT_S, self._last_resort.left_s),
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


def _check_accept_policy(options: RunOptions, policy: Policy, log_path: LogPath) -> None:
    """Raise UsageError if `--accept-policy` is set and nothing sets quarantine.

    Raises:
        GuardRefused: Earlier runs cannot be read.
    """
    if options.accept_policy is None or policy.limits.quarantine:
        return
    accepted = PreviousRuns.find(log_path).accepted_policy(log_path)
    if accepted is None or not accepted.quarantine:
        raise UsageError(
            "`--accept-policy` was given, but the policy sets no quarantine. The last accepted "
            "policy does not either.",
            hint="Remove the option, or set limits: {quarantine: true} in the policy.",
        )
