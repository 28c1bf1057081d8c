"""Commands `sweep` and `plan`: put a run together, show its result, report it to others."""

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
from click.core import ParameterSource
from msgspec import structs
from structlog.typing import FilteringBoundLogger

from invite_sweeper.audit import (
    LogReader,
    RunFile,
    RunRecord,
    SavedPlan,
    read_plan,
)
from invite_sweeper.audit.events import AnnouncementKey, OrganizationResult, RunFinished, RunWarning
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.reader import may_replace_plan, read_back, read_run
from invite_sweeper.audit.record import Fold
from invite_sweeper.cli.command import credentials_of, parse_shard, read_history
from invite_sweeper.cli.options import (
    FILE,
    SWEEP,
    SectionedCommand,
    check_outside,
    options,
)
from invite_sweeper.cli.progress import TerminalView, print_end_at_question, print_result
from invite_sweeper.cli.session import Session, begin, begin_log, connect, run_async
from invite_sweeper.endings import COMPLETE_EXIT_CODES, WarningCode, WarningLevel
from invite_sweeper.errors import AuditLogError, LockHeld, RunError, UsageError
from invite_sweeper.files import (
    check_distinct,
    check_replaceable,
    check_writable,
    replace_file,
)
from invite_sweeper.report import metrics
from invite_sweeper.report.notify import Notified, notify
from invite_sweeper.report.run import PlanToApply, plan_to_apply
from invite_sweeper.report.run_message import RunMessage
from invite_sweeper.report.story import advisor_of
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.guards import check_plan
from invite_sweeper.sweep.result import Result
from invite_sweeper.sweep.run import run_sweep
from invite_sweeper.sweep.waiting import WaitingInvitation, find_waiting


@click.command(cls=SectionedCommand)
@options(*SWEEP)
def sweep(**given: Any) -> None:
    """Find stale invitations and delete them.

    Reads the policy, lists the invitations, writes the plan, checks the limits and deletes. On a
    terminal it shows the plan and asks first.

    Example: invite-sweeper sweep --policy policy.yaml
    """
    raise SystemExit(run_async(run_command(os.environ, **given)))


@click.command(cls=SectionedCommand)
@click.argument(
    "policy_argument", help="The policy file.", metavar="[POLICY]", required=False, type=FILE
)
@options(*(name for name in SWEEP if name not in {"dry_run", "yes"}))
def plan(policy_argument: Path | None, **given: Any) -> None:
    """Show what a sweep would delete, and delete nothing.

    The file that the run leaves in the audit directory is the plan: `sweep --plan` takes it.

    Example: invite-sweeper plan policy.yaml
    """
    if policy_argument is not None:
        source = click.get_current_context().get_parameter_source("policy")
        if source is ParameterSource.COMMANDLINE and given["policy"] != policy_argument:
            raise click.UsageError(
                f"Two policies: {policy_argument} and --policy {given['policy']}."
            )
        given["policy"] = policy_argument
    raise SystemExit(run_async(run_command(os.environ, dry_run=True, **given)))


async def run_command(environment: Mapping[str, str], **given: Any) -> int:
    """Run `sweep` or `plan`, show the result, report it to others, and return the exit code.

    Args:
        given: The options of `begin`.
    """
    try:
        command, session = begin(environment, **given)
        credentials_of(command, environment)  # all missing ones are named before a file is opened
        check_outputs(command)
    except RunError as error:
        # The alerts see that it did not begin, as far as the outputs are valid themselves.
        with suppress(OSError, UsageError):
            await _measure(error, environment, **given)
        raise
    try:
        with session.working(command, locked=True):
            try:
                read_history(command)
                swept = await _sweep(command, session)
            except RunError as error:
                await _report_to_others(command, session, _without_run(command, error))
                raise
            file = _copy_plan(command.out, swept.run, session.log)
            plan = None if session.is_demo else _plan_to_apply(command, file)
            code = swept.run.exit_code or 0
            await _report_to_others(command, session, swept.run, swept.seen)
            _print(command, session, swept, plan)  # also which receiver failed
            return code
    except LockHeld as error:
        # The run that holds the lock writes the metrics.
        await _notify(command, session, _without_run(command, error), datetime.now(UTC), None)
        raise


class _SweptRun(NamedTuple):
    """A run that is over.

    Attributes:
        seen: The announced invitations that it saw and did not find fresh or kept.
        view: What the operator saw of it, and answered.
    """

    run: RunRecord
    seen: Collection[AnnouncementKey]
    view: TerminalView


async def _sweep(command: Command, session: Session) -> _SweptRun:
    """Put the run of a command together, and run it to its end.

    Raises:
        RunError: No run began; the errors of a run are in its record.
    """
    command = structs.replace(command, saved=_read_saved_plan(command))
    check_plan(command, max_age=command.plan_max_age, sha256=command.plan_sha256)
    async with (
        connect(command, session.environment, session.log) as organizations,
        begin_log(command, session.log) as log,
    ):
        view = TerminalView(session, command.advisor)
        try:
            result = Result(command, organizations, view)
            record = await run_sweep(result, log, session.stop)
        finally:
            view.close()
    seen = frozenset[AnnouncementKey]().union(*(each.seen for each in result.decided))
    return _SweptRun(read_back(record), seen, view)


def _read_saved_plan(command: Command) -> SavedPlan | None:
    """Return the plan of `--plan`; None without one."""
    if command.plan is None:
        return None
    # An empty name, as of an unset variable, is an error.
    path = command.directory.find(command.plan).path
    return read_plan(path, command.advisor.new_plan())


def _print(command: Command, session: Session, swept: _SweptRun, plan: PlanToApply | None) -> None:
    """Print the result, below a question what came after it."""
    view = swept.view
    if view.has_shown_plan and not view.has_agreed:
        print_end_at_question(swept.run, as_json=session.prints_json)
    else:
        shown = view.has_shown_plan
        print_result(command, session, swept.run, plan=plan, has_shown_plan=shown)


def _copy_plan(out: Path | None, record: RunRecord, log: FilteringBoundLogger) -> Path:
    """Copy the file of the run for `--out`, if it has a plan that no guard refused.

    A copy that fails is an error of the command: the run is over, and its file stays.

    Returns:
        The copy; the file of the run where there is none.
    """
    end = record.end
    if out is None or end is None:
        return record.file.path
    if not end.plan_made or end.exit_code not in COMPLETE_EXIT_CODES:
        reason = f"The plan was not copied to {out}: no sweep can apply it."
        log.warning(reason)
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
            error=failed.parts(),
            reasons=(*end.reasons, *failed.reasons),
        )
        return record.file.path
    return out


def _plan_to_apply(command: Command, path: Path) -> PlanToApply | None:
    """Return the plan of a dry run that has just ended; None where no sweep can apply it.

    Args:
        path: The file of the run, or the copy of it that is passed on.
    """
    if not command.dry_run:
        return None
    chain = FileChain(RunFile.of(path), hashed=True)
    try:
        run = read_run(chain, Fold())
        # No sweep can have completed it: this run holds the lock.
        return plan_to_apply(run, None, max_age=command.plan_max_age, now=command.now)
    except RunError:  # the result has the reason: its exit code, or the log cannot be read
        return None


def check_outputs(command: Command) -> None:
    """Raise RunError if an output is a plan in use, another output, not ours, or not writable."""
    out = command.out
    metrics_file = command.metrics_file
    directory = command.directory
    if metrics_file is not None:
        check_outside("--metrics-file", metrics_file, directory.path)
        check_replaceable("--metrics-file", metrics_file, "a metrics file", metrics.is_textfile)
    if out is not None:
        known_runs = {file.run_id for file in directory.files()}
        is_ours = partial(may_replace_plan, known_runs=known_runs)
        check_outside("--out", out, directory.path)
        check_replaceable("--out", out, "a plan", is_ours)
        if command.plan is not None:
            check_distinct("--out", out, "the plan", Path(command.plan))
        if metrics_file is not None:
            check_distinct("--out", out, "--metrics-file", metrics_file)
        check_writable(out, "The plan")


# What others get: the receivers of the policy, and the metrics.


def _without_run(command: Command, error: RunError) -> RunRecord:
    """Return the result of a command that an error ended before it began a run."""
    code = int(error.exit_code)
    reasons = tuple(error.reasons)
    organizations = tuple(
        OrganizationResult(id=organization.id, exit_code=code, reasons=reasons)
        for organization in command.policy.organizations
    )
    end = RunFinished(
        exit_code=code, error=error.parts(), reasons=reasons, organizations=organizations
    )
    file = RunFile(0, command.run_id, command.directory.path)
    return RunRecord(file, start=command.run_started(), end=end)


async def _measure(
    error: RunError,
    environment: Mapping[str, str],
    *,
    policy: Path,
    shard: str | None = None,
    metrics_file: Path | None = None,
    pushgateway: str | None = None,
    **_more: Any,
) -> None:
    """Write and push the exit code of a command with wrong options or policy, for the alerts.

    Of files only one with earlier metrics is replaced, because the outputs were not checked.
    """
    labels = metrics.labels_of(policy, parse_shard(shard, environment), environment)
    end = RunFinished(exit_code=int(error.exit_code), reasons=tuple(error.reasons))
    record = RunRecord(RunFile(0, "", Path()), end=end)
    metered = metrics.Metrics(labels, record, datetime.now(UTC))
    if metrics_file is not None:
        path = metrics.textfile_of(metrics_file, labels)
        if path.is_file() and metrics.is_textfile(path.read_bytes()):
            metered.write(path)
    if pushgateway is not None:
        metrics.check_gateway_url(pushgateway)
        await metered.push(pushgateway)


async def _report_to_others(
    command: Command,
    session: Session,
    run: RunRecord,
    seen: Collection[AnnouncementKey] = (),
) -> None:
    """Notify the receivers, then write and push the metrics; failures are warnings.

    The metrics have which receiver failed, so they come after the notifications.

    Args:
        seen: As in `_SweptRun`.
    """
    finished_at = datetime.now(UTC)
    succeeded_before = command.history.last_success
    # It adds this run to the history: the earlier success comes first.
    waiting = _find_waiting(command, run, seen)
    notified = await _notify(command, session, run, finished_at, waiting)
    if command.metrics_file is None and command.pushgateway is None:
        return
    metered = metrics.Metrics(
        metrics.labels_of(Path(command.policy_path), command.shard, session.environment),
        run,
        finished_at,
        succeeded_at=succeeded_before,
        receivers=notified,
    )
    messages: list[str] = []
    if command.metrics_file is not None:
        messages += metered.write(command.metrics_file)
    if command.pushgateway is not None:
        messages += await metered.push(command.pushgateway)
    for message in messages:
        session.log.warning(message)


async def _notify(
    command: Command,
    session: Session,
    run: RunRecord,
    finished_at: datetime,
    waiting: tuple[WaitingInvitation, ...] | None,
) -> Sequence[Notified]:
    """Notify the receivers how the run ended and what waits; a failure is a warning of the run.

    Args:
        waiting: None where it is not known.
    """
    channels = command.policy.notify
    if not channels:
        return ()
    message = RunMessage(run, finished_at, waiting, advisor_of(run, command.advisor))
    notified = await notify(channels, session.environment, message)
    for receiver in notified:
        if receiver.error:
            _add_warning(session.log, run, receiver.error)
    return notified


def _add_warning(log: FilteringBoundLogger, record: RunRecord, message: str) -> None:
    """Add to a run, whose file is over, and to the log that a receiver was not notified."""
    warning = RunWarning(WarningCode.RECEIVER_FAILED, message, WarningLevel.URGENT)
    log.warning(warning.message, code=str(warning.code))
    if record.end is not None:
        record.end = structs.replace(record.end, warnings=(*record.end.warnings, warning))


def _find_waiting(
    command: Command, run: RunRecord, seen: Collection[AnnouncementKey]
) -> tuple[WaitingInvitation, ...] | None:
    """Return what is announced and waits after a run; None where it cannot be read."""
    policy = command.policy
    if policy.notice is None or not policy.notify:
        return ()
    if run.file.number:  # else no run began
        try:
            command.history.add(LogReader((run.file,)))
        except RunError:  # the run has reported it: the log could not be written
            return None
    return find_waiting(command.history, run, seen, policy.notice.wait)
