"""Runs `sweep` and `plan`: lock, credentials, audit log, and one run per credential in a group."""

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from invite_sweeper.atlas import RateLimitedAtlasClient
from invite_sweeper.audit import AuditLog, LogPath
from invite_sweeper.audit.lock import holder_path
from invite_sweeper.cli import results
from invite_sweeper.cli.console import run_async
from invite_sweeper.cli.options import DEFAULT_BASE_URL, RunOptions
from invite_sweeper.cli.results import CommandReport
from invite_sweeper.cli.run_session import RunSession
from invite_sweeper.cli.run_setup import (
    CommandContext,
    CommandSetup,
    RunPart,
    plan_max_age,
)
from invite_sweeper.endings import Advisor, RunWarning, WarningCode, WarningLevel
from invite_sweeper.errors import Cancelled, Interrupted, LockHeld, RunError, UsageError
from invite_sweeper.files import check_distinct_files, check_replaceable, check_writable
from invite_sweeper.policy import Policy, loader
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report import metrics
from invite_sweeper.report.notification import Users
from invite_sweeper.report.webhooks import NOTIFICATION_LIMIT_S, register_secrets, send_start
from invite_sweeper.sweep import saved_plan
from invite_sweeper.sweep.group import RunGroup
from invite_sweeper.sweep.run import Run
from invite_sweeper.sweep.run_state import RunState
from invite_sweeper.sweep.run_warnings import ProgressView
from invite_sweeper.sweep.scope import Shard
from invite_sweeper.sweep.summary import OrganizationSummary, RunSummary, merge_summaries, with_end


def check_outputs(context: CommandContext) -> None:
    """Raise UsageError if an output file is an input, another output or another program's file."""
    options, log_path = context.session.options, context.log_path
    outputs = {
        "--out": options.out,
        "--metrics-file": options.metrics_file,
    }
    kinds: list[tuple[str, str, Callable[[bytes], bool]]] = [
        ("--out", "a saved plan", saved_plan.is_plan),
        ("--metrics-file", "a metrics file", metrics.is_textfile),
    ]
    check_distinct_files(outputs, protected_files(context))
    for option, path in outputs.items():
        if path is not None and log_path.matches(path):
            raise UsageError(
                f"{option} {path} has the name of an audit log: it matches {log_path.template}.",
                hint="Use another file name.",
            )
    for label, kind, is_ours in kinds:
        check_replaceable(label, outputs[label], kind, is_ours=is_ours)


def protected_files(context: CommandContext) -> Iterator[tuple[str, Path]]:
    """Yield the files that outputs must not overwrite, with what each is."""
    options, log_path = context.session.options, context.log_path
    yield "the policy", options.policy
    yield "the lock", log_path.lock_path
    yield "the lock's holder file", holder_path(log_path.lock_path)
    log_file = log_path.path_of_run(now=context.session.now, run_id=context.session.run_id)
    for log in (log_file, *log_path.paths()):
        yield "the audit log", log
    if options.plan is not None:
        yield "the plan", options.plan
        yield "the record of the plan's use", saved_plan.applied_path(options.plan)


def run_sweep(options: RunOptions, environment: Mapping[str, str] = os.environ) -> int:
    """Run `sweep` or `plan`, show the result and return the exit code."""
    return run_async(_SweepSession(options, environment).run())


class _SweepSession:
    """One command: its runs share policy, environment, lock, audit log and signals."""

    def __init__(self, options: RunOptions, environment: Mapping[str, str]) -> None:
        self._options = options
        self._environment = environment
        if options.pushgateway is not None:
            SECRETS.add_user_info(options.pushgateway)
            metrics.check_gateway_url(options.pushgateway)
        policy = loader.load_policy(options.policy, deadline=options.deadline)
        self._shard = None
        if options.shard is not None:
            index = environment.get("JOB_COMPLETION_INDEX")
            self._shard = Shard.parse(options.shard, completion_index=index)
        if self._shard is not None:
            policy = self._shard.part_of_policy(policy)
        self._policy = policy
        self._session = session = RunSession(options, policy.execution, environment)
        self._log = session.log
        register_secrets(policy.notify, environment)
        self._parts = session.parts(policy)
        log_path = LogPath.from_option(options.audit_log, policy.audit.path)
        self._context = CommandContext(
            session, policy, self._shard, log_path, plan_max_age(options)
        )
        check_outputs(self._context)

    async def run(self) -> int:
        """Execute the runs while the lock is held, report and return the exit code."""
        if not self._policy.organizations:
            return await self._report_empty_shard()
        with self._session.last_resort:
            try:
                with self._session.working(self._context.log_path):
                    return await self._run_locked()
            except LockHeld as error:
                # The run that holds the lock writes the metrics.
                await self._notify_end(self._not_started(error), metrics=False)
                raise

    async def _report_empty_shard(self) -> int:
        """Report that no credential of the policy belongs to this shard: it is done."""
        summary = self._without_run()
        self._log.info("nothing to do: no credentials for this shard", shard=str(self._shard))
        report = CommandReport(summary, (), Path(summary.audit_log), 0)
        results.report_command(self._options, report)
        await self._notify_end(summary)
        return summary.exit_code

    async def _run_locked(self) -> int:
        if self._options.out is not None:
            check_writable(self._options.out, "The plan")
        limit_s = min(NOTIFICATION_LIMIT_S, self._session.last_resort.left_s)
        start = send_start(self._policy.notify, self._environment, limit_s=limit_s)
        with suppress(Interrupted):  # the run records the stop
            self._warn(await self._session.stop.run_unless_stopped(start))
        for remark in self._policy.warnings(self._session.now.date()):
            self._log.info(remark)
        try:
            report = await self._run_group()
        except RunError as error:
            await self._notify_end(self._not_started(error))
            raise
        self._session.last_resort.result_known(report.summary.exit_code)
        self._warn(tuple(results.failure_messages(self._options, report)))
        results.report_command(self._options, report)
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
        """Run all parts of the policy as one group."""
        session = self._session
        parts = tuple(
            RunPart(session.new_run_id() if number else session.run_id, policy, credentials)
            for number, (policy, credentials) in enumerate(self._parts)
        )
        setup = CommandSetup(self._context)
        async with AsyncExitStack() as stack:
            audit = session.open_log(self._context.log_path)
            stack.push_async_callback(audit.close)
            log_offset = audit.offset
            view = results.progress_view(self._options, self._log)
            stack.callback(view.close)
            await stack.enter_async_context(session.shared_connections())
            runs = [
                await stack.enter_async_context(self._run(setup, part, audit, view))
                for part in parts
            ]
            group = RunGroup(runs, setup.group_config(audit, session.stop), session.stop)
            ended = await group.run()
        summary = replace(
            merge_summaries([each.summary for each in ended]),
            audit_last_hash=audit.last_hash,
        )
        setup.record_plan_use(audit, summary.exit_code)
        if audit.copy_failure is not None:
            self._log.warning(
                "the copy of the audit log on standard output is incomplete; the file is complete",
                reason=getattr(audit.copy_failure, "strerror", None) or "it is closed",
                audit_log=str(audit.path),
            )
        return CommandReport(
            summary, ended, audit.path, log_offset, setup.kept_invitations, setup.plan_saved
        )

    @asynccontextmanager
    async def _run(
        self,
        setup: CommandSetup,
        part: RunPart,
        audit: AuditLog,
        view: ProgressView,
    ) -> AsyncIterator[Run]:
        """Yield one run with its connection."""
        config = setup.run_config(part)
        async with self._session.connect(part.credentials) as connection:
            log = audit.for_run(part.run_id)
            counts = self._counts(part, connection, audit, setup.mode)
            counts.organization_names = setup.organization_names
            if self._options.dry_run:  # a sweep logs them only
                counts.warnings += (
                    RunWarning(WarningCode.POLICY, each, WarningLevel.REMARK)
                    for each in self._policy.warnings(self._session.now.date())
                )
            yield Run(config, connection, log, counts, stop=self._session.stop, view=view)
            if connection.limiter.no_limit_headers and counts.projects_seen:
                view.remark("Atlas returned no rate limits; the documented ones were used.")

    def _counts(
        self, part: RunPart, connection: RateLimitedAtlasClient, audit: AuditLog, mode: str
    ) -> RunState:
        start = self._summary(part.policy, part.run_id, audit.path, mode)
        return RunState(
            start,
            self._session.now,
            connection.counters,
            lambda: time.monotonic() - self._session.started_s,
            keep=part.policy.keep,
            detailed_exit_code=self._options.detailed_exitcode,
        )

    def _not_started(self, error: RunError) -> RunSummary:
        """Return the summary of a command that could not start a run."""
        return with_end(self._without_run(), error)

    def _without_run(self) -> RunSummary:
        path = self._context.log_path.path_of_run(now=self._session.now, run_id="")
        mode = "dry-run" if self._options.dry_run else "sweep"
        return self._summary(self._policy, "", path, mode)

    def _summary(self, policy: Policy, run_id: str, path: Path, mode: str) -> RunSummary:
        """Return the summary of a run that begins."""
        base_url = str(self._session.base_url)
        return RunSummary(
            run_id=run_id,
            mode=mode,
            now=self._session.now.isoformat().replace("+00:00", "Z"),
            audit_log=str(path),
            organizations=tuple(
                OrganizationSummary(each.id, None, run_id) for each in policy.organizations
            ),
            shard=str(self._shard) if self._shard is not None else None,
            advisor=Advisor(
                audit_log=str(path),
                run_id=run_id,
                policy_path=str(self._options.policy),
                credentials=next((each.credentials or "" for each in policy.organizations), ""),
                base_url="" if base_url == DEFAULT_BASE_URL else base_url,
            ),
        )

    async def _notify_end(
        self, summary: RunSummary, *, users: Users = (), metrics: bool = True
    ) -> None:
        self._warn(
            await results.notify_end(
                self._policy.notify,
                self._environment,
                summary,
                users=users,
                metrics_file=self._options.metrics_file if metrics else None,
                pushgateway=self._options.pushgateway if metrics else None,
                limit_s=min(NOTIFICATION_LIMIT_S, self._session.last_resort.left_s),
            )
        )

    def _warn(self, messages: tuple[str, ...]) -> None:
        for message in messages:
            self._log.warning(message)
