"""The sweep on one page: read everything, plan, check, ask, delete.

Nothing is deleted before the last step. A dry run is the same, and ends before the question.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from msgspec import structs

from invite_sweeper.audit import AuditLog, check_written_plan
from invite_sweeper.audit.events import OutcomeLine, RunFinished
from invite_sweeper.counts import total
from invite_sweeper.endings import WarningCode, WarningLevel
from invite_sweeper.errors import AuditLogError, Cancelled, RunError
from invite_sweeper.models import Outcome
from invite_sweeper.shutdown import NOTHING_DELETED, StopRequest
from invite_sweeper.sweep.changes import ChangeTracker
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.deleting import Deletion
from invite_sweeper.sweep.discovery import Reader
from invite_sweeper.sweep.guards import check_clock, check_limits, check_population
from invite_sweeper.sweep.organization import Organization
from invite_sweeper.sweep.plan import trim
from invite_sweeper.sweep.result import Result, View
from invite_sweeper.sweep.steps import KeepOutsidePlan, describe_notice
from invite_sweeper.text import pluralize

MAX_QUESTION_S: Final = 60.0
"""After a longer question, everything is read again before anything is deleted."""


async def sweep(
    command: Command,
    organizations: Sequence[Organization],
    log: AuditLog,
    view: View,
    stop: StopRequest,
) -> RunFinished:
    """Run a sweep or a dry run, and return the last line of its file.

    Args:
        organizations: In the order of the policy, each with its client.
        log: The file of the run; ended by this function.
    """
    result = Result(command, organizations, view)
    try:
        actors = {each.id: each.client.actor for each in organizations}
        log.write(command.run_started(actors))
        await log.sync()
        result.warn(*log.warnings)

        # 1. Read everything. An organization that fails is a value, and loses nothing.
        changes, outside_plan = command.change_tracker(), command.plan_filter()
        reader = Reader(command, organizations, log, result, view, (changes, outside_plan))
        await stop.run_unless_stopped(reader.read_all())
        planned = [each for each in organizations if each.is_planned]

        if planned:
            # 2. One plan over all organizations, complete and on disk.
            await _write_plan(command, planned, log)
            result.plan_made = True
            _report_plan(command, organizations, result, changes, outside_plan)

            # 3. Guards. A refusal ends the run; nothing was deleted.
            _check_guards(command, organizations)

            # 4. Stop here, or ask; then delete, and read again what was deleted.
            if any(each.stale for each in planned) and not command.dry_run:
                await _confirm(command, view, result, stop)
                if result.question_s > MAX_QUESTION_S:
                    await _read_anew(command, planned, log, result, view, stop)
                await Deletion(command, log, result, view, stop).run(planned)
    except RunError as error:
        result.error = error
    return await _finish(log, result)


def _check_guards(command: Command, organizations: Sequence[Organization]) -> None:
    """Raise GuardRefused if the clock, or what all organizations together show, is refused."""
    for each in organizations:
        skew_s = each.client.clock_skew_s
        if each.is_planned or skew_s is not None:  # also by an answer to one that failed
            check_clock(skew_s)
    planned = [each for each in organizations if each.is_planned]
    if (before := command.before) is not None:
        check_population(planned, before, command.policy)
    check_limits(planned, command.limits, command.recent, command.shard)


async def _write_plan(
    command: Command, organizations: Sequence[Organization], log: AuditLog
) -> None:
    """Write the planned lines, and check that they are on disk."""
    if command.limits.over_limit == "trim":
        trim(organizations, command.limits, command.recent, command.shard)
    for organization in organizations:
        for planned in organization.stale:
            log.write(planned)
    await check_written_plan(log, (line for each in organizations for line in each.stale))


async def _confirm(command: Command, view: View, result: Result, stop: StopRequest) -> None:
    """Ask whether to delete.

    Raises:
        RunError: The answer is no, or a stop came. Nothing was deleted.
    """
    asked_s = command.clock()
    agreed = await view.confirms(result.finished())
    result.question_s = command.clock() - asked_s
    if stop.reason is not None:
        raise stop.as_error(consequence=NOTHING_DELETED)
    if not agreed:
        raise Cancelled("Cancelled.")


async def _read_anew(
    command: Command,
    organizations: Sequence[Organization],
    log: AuditLog,
    result: Result,
    view: View,
    stop: StopRequest,
) -> None:
    """Leave what is still stale, exactly as the question showed it; the rest is `changed`.

    Raises:
        RunError: A guard refuses what is read now, a list of organizations cannot be read, or a
            stop came. Nothing was deleted.
    """
    again = [Organization(each.id, each.client, each.variables) for each in organizations]
    reader = Reader(replace(command, dry_run=True), again, None, result, view)
    await stop.run_unless_stopped(reader.read_all())
    for before, now in zip(organizations, again, strict=True):
        before.error = now.error
        unread = [each for each in now.unread if each not in before.unread]
        before.unread += unread
        before.count(projects_unreadable=len(unread))
        # Whether it is new since an earlier plan is not compared a second time.
        shown = {structs.replace(each, new=False): each for each in before.stale}
        now.stale = [shown[each] for each in now.stale if each in shown]
    _check_guards(command, again)
    changed = 0
    for before, now in zip(organizations, again, strict=True):
        still = set(now.stale)
        for each in before.stale:
            if each not in still:
                changed += 1
                before.outcomes[Outcome.CHANGED] += 1
                log.write(OutcomeLine.unsent(each, Outcome.CHANGED))
        before.stale = now.stale
    if changed:
        result.warn_of(
            WarningCode.PLAN_DIFFERS,
            f"{pluralize(changed, 'planned invitation')} changed or left the lists after the plan "
            "was shown: nothing was deleted there, the next run judges them anew.",
        )


async def _finish(log: AuditLog, result: Result) -> RunFinished:
    """Write the last line. If that fails, the run ends with the exit code of the audit log."""
    finished = result.finished()
    try:
        await log.finish(finished)
    except AuditLogError as failure:
        if not isinstance(result.error, AuditLogError):
            result.error = failure
        return result.finished()
    return finished


def _report_plan(
    command: Command,
    organizations: Sequence[Organization],
    result: Result,
    changes: ChangeTracker | None,
    outside_plan: KeepOutsidePlan | None,
) -> None:
    """Report how the plan differs from an earlier one, what is announced, and unused entries."""
    planned = [each for each in organizations if each.is_planned]
    is_whole = len(planned) == len(organizations)  # else an entry may match where nothing was read
    if changes is not None and is_whole:
        unread = [each for one in planned for each in one.unread]
        result.changes = changes.result(unread, [s for one in planned for s in one.retired])
    remark = WarningLevel.REMARK
    if outside_plan is not None:
        result.warn_of(WarningCode.PLAN_DIFFERS, *outside_plan.differences(), level=remark)
    counts = total(each.counts for each in planned)
    due = min((each.next_due for each in planned if each.next_due), default=None)
    if due is not None:
        text = describe_notice(counts, due, dry_run=command.dry_run)
        result.warn_of(WarningCode.NOTICE, text, level=remark)
    if command.dry_run and is_whole and counts.invitations_seen:
        result.warn_of(
            WarningCode.UNUSED_KEEP,
            *(
                f"The keep entry {each.name!r} matched no invitation: check its spelling."
                for each in command.policy.keep
                if each.is_active(command.now.date())
                and not counts.kept_by_reason.get(f"keep:{each.name}")
            ),
            level=remark,
        )
