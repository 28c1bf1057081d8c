"""Command `sweep`, and `plan` with it: put a run together, show its result, tell others."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from os.path import realpath
from pathlib import Path
from typing import Any

import click
from msgspec import structs

from invite_sweeper.audit import History, LogReader, RunFile, RunRecord, read_plan
from invite_sweeper.audit.events import OrganizationResult, RunFinished
from invite_sweeper.audit.reader import may_replace_plan
from invite_sweeper.cli.console import run_async, write_json
from invite_sweeper.cli.options import SWEEP, RunOptions, SectionedCommand, options
from invite_sweeper.cli.session import Session, load_policy
from invite_sweeper.cli.streams import print_error, print_error_parts
from invite_sweeper.cli.view import TerminalView
from invite_sweeper.endings import COMPLETE_EXIT_CODES, Reason
from invite_sweeper.errors import AuditLogError, Cancelled, LockHeld, RunError, UsageError
from invite_sweeper.files import (
    check_distinct_files,
    check_replaceable,
    check_writable,
    is_file,
    replace_file,
)
from invite_sweeper.policy import parse_duration_option
from invite_sweeper.report import metrics
from invite_sweeper.report.announcements import WaitingInvitation, find_waiting
from invite_sweeper.report.delivery import Delivery
from invite_sweeper.report.handover import PlanToApply, read_plan_to_apply
from invite_sweeper.report.notify import Notified, notify
from invite_sweeper.report.readback import RecordedRun, result_json
from invite_sweeper.report.receivers import RunMessage
from invite_sweeper.report.sending import LIMIT_S
from invite_sweeper.report.story import advisor_of, errors_of, tell
from invite_sweeper.sweep.guards import check_plan
from invite_sweeper.sweep.run import run_sweep
from invite_sweeper.sweep.scope import Shard
from invite_sweeper.sweep.steps import SeenAnnouncements


@click.command(cls=SectionedCommand)
@options(*SWEEP)
def sweep(**given: Any) -> None:  # noqa: ANN401
    """Find stale invitations and delete them.

    Reads the policy, lists the invitations, writes the plan, checks the limits and deletes. On a
    terminal it shows the plan and asks first.

    Example: invite-sweeper sweep --policy policy.yaml
    """
    raise SystemExit(run_command(RunOptions(**given)))


def run_command(options: RunOptions, environment: Mapping[str, str] = os.environ) -> int:
    """Run `sweep` or `plan`, show the result and return the exit code."""
    try:
        command = _SweepCommand(options, environment)
    except RunError as error:
        with suppress(OSError, UsageError):
            run_async(_measure(error, options, environment))
        raise
    return run_async(command.run())


async def _measure(error: RunError, options: RunOptions, environment: Mapping[str, str]) -> None:
    """Write and push the exit code of a command with wrong options or policy, for the alerts.

    Of files only one with earlier metrics is replaced, because the outputs were not checked.
    """
    labels = metrics.labels_of(options.policy, _shard(options, environment), environment)
    end = RunFinished(exit_code=int(error.exit_code), reasons=tuple(error.reasons))
    record = RunRecord(RunFile(0, "", Path()), end=end)
    metered = metrics.Metrics(labels, record, datetime.now(UTC))
    if options.metrics_file is not None:
        path = metrics.textfile_of(options.metrics_file, labels)
        if path.is_file() and metrics.is_textfile(path.read_bytes()):
            metered.write(path)
    if options.pushgateway is not None:
        metrics.check_gateway_url(options.pushgateway)
        await metered.push(options.pushgateway)


class _SweepCommand:
    """One command: the session, the checks of its options, and the outputs of its run."""

    def __init__(self, options: RunOptions, environment: Mapping[str, str]) -> None:
        if options.plan_sha256 is not None and options.plan is None:
            raise UsageError(
                "--plan-sha256 needs --plan.", hint="Name the plan that has this SHA-256."
            )
        policy = load_policy(options.policy, environment, deadline=options.deadline)
        self._max_age = parse_duration_option("--plan-max-age", options.plan_max_age)
        self._shard = _shard(options, environment)
        self._organizations_of_all_shards = len(policy.organizations)
        if self._shard is not None:
            policy = self._shard.part_of_policy(policy)
        self._labels: Mapping[str, str] = {}
        if options.metrics_file is not None or options.pushgateway is not None:
            self._labels = metrics.labels_of(options.policy, self._shard, environment)
        if options.metrics_file is not None:
            path = metrics.textfile_of(options.metrics_file, self._labels)
            options = options._replace(metrics_file=path)
        self._history: History | None = None
        self._seen: SeenAnnouncements | None = None
        self._session = Session(options, policy, environment)
        self._session.credentials()  # all that are missing are named before anything is opened
        check_outputs(self._session)

    async def run(self) -> int:
        """Run while the lock is held, report, and return the exit code."""
        try:
            with self._session.working(locked=True):
                return await self._run_locked()
        except LockHeld as error:
            # The run that holds the lock writes the metrics.
            await self._tell_others(self._without_run(error), metrics_too=False)
            raise

    async def _run_locked(self) -> int:
        session = self._session
        try:
            record, view = await self._sweep()
        except RunError as error:
            await self._tell_others(self._without_run(error))
            raise
        plan = self._plan_to_apply(self._copy_plan(record))
        code = record.exit_code or 0
        session.last_resort.exit_code = code  # from now on, a late end has this one
        run = RecordedRun(record)
        if view.has_shown_plan and not view.has_agreed:
            _show_end_at_question(session, run)
        else:
            session.print_result(run, plan=plan, has_shown_plan=view.has_shown_plan)
        await self._tell_others(run)
        return code

    async def _sweep(self) -> tuple[RunRecord, TerminalView]:
        """Run the sweep; return its record, and what the operator saw of it."""
        session = self._session
        options = self._session.options
        self._history = history = session.read_history(max_age=self._max_age)
        held = history.announcements(str(session.base_url))
        self._seen = SeenAnnouncements(held.keys())
        saved = None
        if options.plan is not None:  # an empty name, such as of an unset variable, is an error
            path = session.directory.find(options.plan).path
            saved = read_plan(path, policy=str(options.policy))
        command = session.command(
            history,
            dry_run=options.dry_run,
            saved=saved,
            shard=self._shard,
            organizations_of_all_shards=self._organizations_of_all_shards,
            accept_population=options.accept_population,
            detailed_exit_code=options.detailed_exitcode,
            observers=(self._seen,),
        )
        check_plan(command, max_age=self._max_age, sha256=options.plan_sha256)
        known_run = await metrics.read_known_run(
            self._labels,
            file=options.metrics_file,
            gateway=options.pushgateway,
            limit_s=min(LIMIT_S, session.last_resort.left_s),
        )
        async with (
            session.organizations(history) as organizations,
            session.run(command, organizations, known_run=known_run) as (log, record),
        ):
            view = TerminalView(session, record)
            try:
                record.end = await run_sweep(command, organizations, log, view, session.stop)
            finally:
                view.close()
        return record, view

    def _plan_to_apply(self, path: Path) -> PlanToApply | None:
        """Return the plan of a dry run that has just ended; None where no sweep can apply it."""
        session = self._session
        if not session.options.dry_run or session.options.is_demo:
            return None
        try:
            # No sweep can have completed it: this run holds the lock.
            return read_plan_to_apply(path, lambda: None, max_age=self._max_age, now=session.now)
        except RunError:  # the result says why: its exit code, or the log cannot be read
            return None

    def _copy_plan(self, record: RunRecord) -> Path:
        """Copy the file of the run for `--out`, if it has a plan that no guard refused.

        A copy that fails is an error of the command: the run is over, and its file stays.

        Returns:
            The copy; the file of the run where there is none.
        """
        out = self._session.options.out
        end = record.end
        if out is None or end is None:
            return record.file.path
        if not end.plan_made or end.exit_code not in COMPLETE_EXIT_CODES:
            return record.file.path
        try:
            replace_file(out, record.file.path.read_bytes())
        except OSError as error:
            failed = AuditLogError(
                f"The plan was not copied to {out}: {error.strerror}.",
                consequence=f"The run is complete, and its file is the plan: {record.file.path}",
                hint="Copy that file to a place that can be written.",
            )
            record.end = structs.replace(
                end,
                exit_code=int(failed.exit_code),
                error=failed.to_json(),
                reasons=(*end.reasons, *failed.reasons),
            )
            return record.file.path
        return out

    def _without_run(self, error: RunError) -> RecordedRun:
        """Return the result of a command that an error ended before it began a run."""
        session = self._session
        code = int(error.exit_code)
        reasons = tuple(error.reasons)
        organizations = tuple(
            OrganizationResult(id=organization.id, exit_code=code, reasons=reasons)
            for organization in session.policy.organizations
        )
        end = RunFinished(
            exit_code=code, error=error.to_json(), reasons=reasons, organizations=organizations
        )
        command = session.command(History(), dry_run=session.options.dry_run, shard=self._shard)
        file = RunFile(0, session.run_id, session.directory.path)
        return RecordedRun(RunRecord(file, start=command.run_started(), end=end))

    async def _tell_others(self, run: RecordedRun, *, metrics_too: bool = True) -> None:
        """Tell the receivers, then write and push the metrics; failures are warnings.

        The metrics say which receiver failed, so they come after the notifications.
        """
        session = self._session
        options = self._session.options
        finished_at = datetime.now(UTC)
        notified = await self._notify(run, finished_at)
        has_metrics = options.metrics_file is not None or options.pushgateway is not None
        if not metrics_too or not has_metrics:
            return
        history = self._history
        metered = metrics.Metrics(
            self._labels,
            run.record,
            finished_at,
            succeeded_at=history.last_success if history is not None else None,
            receivers=notified,
            continues=history is not None and history.last is not None,
        )
        messages: list[str] = []
        if options.metrics_file is not None:
            messages += metered.write(options.metrics_file)
        if options.pushgateway is not None:
            limit_s = min(LIMIT_S, session.last_resort.left_s)
            messages += await metered.push(options.pushgateway, limit_s=limit_s)
        for message in messages:
            session.log.warning(message)

    async def _notify(self, run: RecordedRun, finished_at: datetime) -> Sequence[Notified]:
        """Tell the receivers how the run ended and what waits, and remember whom it told."""
        session = self._session
        settings = session.policy.notify
        if not settings:
            return ()
        advisor = session.advisor
        record = run.record
        waiting: tuple[WaitingInvitation, ...] | None = None
        delivery: Delivery | None = None
        history = self._history_with(record)
        if history is not None:
            waiting = self._waiting(run, history)
            base_url = str(session.base_url)
            delivery = Delivery(session.directory.path, history, base_url)
            if delivery.warning and waiting:
                session.log.warning(delivery.warning)
        message = RunMessage(
            record,
            tell(record, advisor),
            tell(record.without_people(), advisor),
            finished_at,
            run.rows,
            waiting,
            list_run=advisor_of(record, advisor).list_run(),
            list_announced=advisor.announced(),
        )
        limit_s = min(LIMIT_S, session.last_resort.left_s)
        notified = await notify(settings, session.environment, message, delivery, limit_s=limit_s)
        for receiver in notified:
            if receiver.error:
                session.log.warning(receiver.error)
        if delivery is not None and waiting and record.mode == "sweep":
            told = [receiver.settings.url_env for receiver in notified if receiver.is_told]
            failure = delivery.record(told, waiting)
            if failure:
                session.log.warning(failure)
        return notified

    def _history_with(self, record: RunRecord) -> History | None:
        """Return the history with the run that has just ended; None where it cannot be read."""
        if self._history is None or not record.file.number:
            return self._history
        try:
            self._history.add(LogReader((record.file,)))
        except RunError:  # the run has said so: the log could not be written
            return None
        return self._history

    def _waiting(self, run: RecordedRun, history: History) -> tuple[WaitingInvitation, ...]:
        """Return what is announced and waits; nothing without `notice` in the policy."""
        notice = self._session.policy.notice
        if notice is None:
            return ()
        seen = self._seen.keys if self._seen is not None else frozenset()
        return find_waiting(history, run.record, run.rows, seen, notice.wait)


def _show_end_at_question(session: Session, run: RecordedRun) -> None:
    """Show why a run ended at its question, below which nothing has changed: no, or a stop."""
    if session.options.output == "json":
        write_json(result_json(run.record, run.rows))
    end = run.record.end
    if end is not None and Reason.NOT_CONFIRMED in end.reasons:
        print_error(Cancelled("Cancelled."))
    elif end is not None:
        for parts in errors_of(end):
            print_error_parts(parts)


def check_outputs(session: Session) -> None:
    """Raise RunError if an output is an input, another output, not ours, or cannot be written."""
    options = session.options
    directory = session.directory
    outputs = {"--out": options.out, "--metrics-file": options.metrics_file}
    inputs = [("the policy", options.policy)]
    if options.plan is not None and is_file(options.plan):
        inputs.append(("the plan", Path(options.plan)))
    check_distinct_files(outputs, inputs)
    known_runs = {file.run_id for file in directory.files()} if options.out is not None else set()
    ours: dict[str, tuple[str, Callable[[bytes], bool]]] = {
        "--out": ("a plan", partial(may_replace_plan, known_runs=known_runs)),
        "--metrics-file": ("a metrics file", metrics.is_textfile),
    }
    for option, path in outputs.items():
        if path is None:
            continue
        target = Path(realpath(path))
        folder = target.parent
        # A file that is named as that of a run would be one of another directory, or damage it.
        is_of_others = RunFile.of(target).number > 0 and (folder / "HEAD").exists()
        if folder == Path(realpath(directory.path)) or is_of_others:
            raise UsageError(
                f"{option} {path} is in the audit directory {folder}.",
                hint="Choose a file elsewhere.",
            )
        what, is_ours = ours[option]
        check_replaceable(option, path, what, is_ours)
    if options.out is not None:
        check_writable(options.out, "The plan")


def _shard(options: RunOptions, environment: Mapping[str, str]) -> Shard | None:
    return Shard.parse(options.shard, completion_index=environment.get("JOB_COMPLETION_INDEX"))
