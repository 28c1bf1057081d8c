"""The sweep on one page: read everything, plan, check, ask, delete.

Nothing is deleted before the last step. A dry run is the same, and ends before the question.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from invite_sweeper.audit import AuditLog, RunRecord, check_written_plan
from invite_sweeper.audit.events import Planned
from invite_sweeper.endings import WarningCode, WarningLevel
from invite_sweeper.errors import AuditLogError, Cancelled, RunError
from invite_sweeper.outcomes import Counts, total
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.discovery import read_and_decide
from invite_sweeper.sweep.executor import delete
from invite_sweeper.sweep.guards import (
    MAX_PLAN_AGE,
    check_clock,
    check_limits,
    check_plan_age,
)
from invite_sweeper.sweep.plan import (
    Decided,
    OrganizationPlan,
    all_deletions,
    backlog,
    make_plans,
)
from invite_sweeper.sweep.result import Result
from invite_sweeper.sweep.steps import OutsidePlan, describe_notice
from invite_sweeper.text import pluralize, shorten_list


async def run_sweep(result: Result, log: AuditLog, stop: StopRequest) -> RunRecord:
    """Run a sweep or a dry run, and return it as its file has it.

    Args:
        result: Without anything yet.
        log: The file of the run; ended by this function.
    """
    command = result.command
    # Which keep entry has ended since is urgent, and named below.
    policy_warnings = command.policy.warnings(command.now.date() - _NAMED_AFTER_END)
    result.warn_of(WarningCode.POLICY, *policy_warnings, level=WarningLevel.REMARK)
    try:
        await _take_steps(result, log, stop)
    except RunError as error:
        result.error = error
    return await result.finish(log)


async def _take_steps(result: Result, log: AuditLog, stop: StopRequest) -> None:
    """Take the steps of a sweep in their order; each may raise the error that ends the run."""
    command = result.command
    organizations = result.organizations
    result.begin(log)
    await log.sync()
    result.warn(*log.warnings)

    # 1. Read everything. An organization that fails is a value, and loses nothing.
    result.decided = await stop.run_unless_stopped(read_and_decide(result, log))
    read_at_s = command.clock()

    # 2. One plan over all organizations, complete and on disk.
    result.plans = make_plans(result.decided, command.limits, command.now)
    # Every organization failed. A shard without one goes on: its plan is empty, and whole.
    if organizations and not result.plans:
        return
    deletions = all_deletions(result.plans)
    await _write_plan(result, log, deletions)
    result.backlog = backlog(result.plans, command.limits)
    _report_plan(result)

    # 3. Guards. A refusal ends the run; nothing was deleted.
    _check_guards(command, result.decided, result.plans)

    # 4. A dry run ends here. A sweep asks, and deletes.
    if deletions and not command.dry_run:
        await _confirm(result, log, stop, read_at_s)
        check_plan_age(command.clock() - read_at_s)
        await delete(result, log, stop)


async def _write_plan(result: Result, log: AuditLog, deletions: Sequence[Planned]) -> None:
    """Write the plan to disk.

    Raises:
        AuditLogError: It is not there as it was written. A sweep has skipped all of it.
    """
    try:
        for planned in deletions:
            log.write(planned)
        await check_written_plan(log, deletions)
    except AuditLogError:
        if not result.command.dry_run:
            for plan in result.plans:
                result.skip(plan)
        raise
    result.plan_made = True


def _check_guards(
    command: Command, decided: Sequence[Decided], plans: Sequence[OrganizationPlan]
) -> None:
    """Raise GuardRefused if the clock, or what all organizations together show, is refused."""
    for each in decided:
        skew_s = each.organization.client.server.clock_skew_s
        # Of an organization that failed, no answer may have come that shows Atlas's clock.
        if each.error is None or skew_s is not None:
            check_clock(skew_s)
    check_limits(plans, command)


async def _confirm(result: Result, log: AuditLog, stop: StopRequest, read_at_s: float) -> None:
    """Ask whether to delete the plan on disk.

    Args:
        read_at_s: When the last list was read.

    Raises:
        RunError: The answer is no, or a stop came. Nothing was deleted.
    """
    command = result.command
    asked_at_s = command.clock()
    so_far = RunRecord(log.file, start=result.start, end=result.finished())
    plan_ends = timedelta(seconds=read_at_s - command.started_s) + MAX_PLAN_AGE
    until = command.now + min(plan_ends, command.policy.execution.deadline)
    try:
        is_confirmed = await result.view.confirms(so_far, until)
    finally:
        result.question_s = command.clock() - asked_at_s
    if stop.reason is not None:
        raise stop.as_error()
    if not is_confirmed:
        raise Cancelled("Cancelled.")


def _report_plan(result: Result) -> None:
    """Report how the plan differs from a saved one, what is announced, and keep entries."""
    outside_plan = sum((each.outside_plan for each in result.decided), start=OutsidePlan())
    result.warn_of(WarningCode.PLAN_DIFFERS, *outside_plan.sentences(), level=WarningLevel.REMARK)
    counts = total(plan.counts for plan in result.plans)
    _report_notice(result, counts)
    _report_keep_entries(result, counts)


def _report_notice(result: Result, counts: Counts) -> None:
    """Report what is announced and what waits, if something does."""
    dates = [plan.decided.dates for plan in result.plans]
    next_due = min((each.next_due for each in dates if each.next_due is not None), default=None)
    if next_due is not None:
        text = describe_notice(counts, next_due, dry_run=result.command.dry_run)
        result.warn_of(WarningCode.NOTICE, text, level=WarningLevel.REMARK)


def _report_keep_entries(result: Result, counts: Counts) -> None:
    """Warn of keep entries that end; in a dry run report those that matched no invitation."""
    command = result.command
    ends = _ending_keep_entries(command, counts)
    result.warn_of(WarningCode.KEEP_ENDS, *ends, level=WarningLevel.URGENT)
    # In an organization that failed, a keep entry may match that matched nothing elsewhere.
    is_whole = len(result.plans) == len(result.organizations)
    if command.dry_run and is_whole and counts.invitations_seen:
        unused = _unused_keep_entries(command, counts)
        result.warn_of(WarningCode.UNUSED_KEEP, *unused, level=WarningLevel.REMARK)


_NAMED_BEFORE_END: Final = timedelta(days=7)
_NAMED_AFTER_END: Final = timedelta(days=14)


def _ending_keep_entries(command: Command, counts: Counts) -> Iterator[str]:
    """Yield a sentence about each keep entry whose last day is near: an exception that ends."""
    today = command.now.date()
    for keep in command.policy.keep:
        last_day = keep.until
        if last_day is None:
            continue
        days_left = last_day - today
        if not -_NAMED_AFTER_END <= days_left <= _NAMED_BEFORE_END:
            continue
        if not keep.is_active(today):
            yield (
                f"The keep entry {keep.name!r} ended on {last_day}: it keeps no invitation any "
                "more. Move `until` if it should, or remove the entry."
            )
            continue
        when = f"in {pluralize(days_left.days, 'day')}" if days_left else "today"
        kept = pluralize(counts.kept_by_reason.get(f"keep:{keep.name}", 0), "invitation")
        yield (
            f"The keep entry {keep.name!r} ends on {last_day}, {when}: it keeps {kept} until "
            "then. Move `until` if it should keep longer."
        )


_MAX_UNUSED_NAMED: Final = 3


def _unused_keep_entries(command: Command, counts: Counts) -> Iterator[str]:
    """Yield a sentence about the keep entries that matched no invitation, if there are some."""
    names: list[str] = []
    for keep in command.policy.keep:
        has_matched = counts.kept_by_reason.get(f"keep:{keep.name}", 0) > 0
        if keep.is_active(command.now.date()) and not has_matched:
            names.append(repr(keep.name))
    if len(names) == 1:
        yield f"The keep entry {names[0]} matched no invitation: check its spelling."
    elif names:
        listed = shorten_list(names, _MAX_UNUSED_NAMED)
        yield f"{len(names):,} keep entries matched no invitation: {listed}. Check their spelling."
