"""The sweep on one page: read everything, plan, check, ask, delete.

Nothing is deleted before the last step. A dry run is the same, and ends before the question.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from invite_sweeper.audit import AuditLog, check_written_plan
from invite_sweeper.audit.events import OutcomeLine, RunFinished
from invite_sweeper.counts import Counts, total
from invite_sweeper.endings import WarningCode, WarningLevel
from invite_sweeper.errors import Cancelled, RunError
from invite_sweeper.models import Outcome
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.command import Command, Organization
from invite_sweeper.sweep.discovery import Reader
from invite_sweeper.sweep.executor import delete
from invite_sweeper.sweep.guards import check_clock, check_limits, check_population
from invite_sweeper.sweep.plan import trim
from invite_sweeper.sweep.result import Result, View
from invite_sweeper.sweep.steps import ChangeTracker, KeepOutsidePlan, describe_notice
from invite_sweeper.text import pluralize, shorten_list

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
    result, remark = Result(command, organizations, view), WarningLevel.REMARK
    result.warn_of(WarningCode.POLICY, *command.policy.warnings(command.now.date()), level=remark)
    try:
        log.write(command.run_started(organizations))
        await log.sync()
        result.warn(*log.warnings)

        # 1. Read everything. An organization that fails is a value, and loses nothing.
        compared = command.comparison()
        steps = (compared,) if compared is not None else ()
        await stop.run_unless_stopped(Reader(result, organizations, log, steps).read_all())
        planned = [each for each in organizations if each.is_planned]

        if planned or not organizations:  # of a shard, there may be none
            # 2. One plan over all organizations, complete and on disk.
            if command.limits.over_limit == "trim":
                trim(planned, command)
            for line in (line for each in planned for line in each.stale):
                log.write(line)
            await check_written_plan(log, (line for each in planned for line in each.stale))
            result.plan_made = True
            _report_plan(result, planned, compared)

            # 3. Guards. A refusal ends the run; nothing was deleted.
            _check_guards(command, organizations)

            # 4. Stop here, or ask; then delete, and read again what was deleted.
            if any(each.stale for each in planned) and not command.dry_run:
                await _confirm(result, stop)
                if result.question_s > MAX_QUESTION_S:
                    await _read_anew(result, planned, log, stop)
                await delete(result, planned, log, stop)
    except RunError as error:
        result.error = error
    return await result.finish(log)


def _check_guards(command: Command, organizations: Sequence[Organization]) -> None:
    """Raise GuardRefused if the clock, or what all organizations together show, is refused."""
    for each in organizations:
        skew_s = each.client.server.clock_skew_s
        if each.is_planned or skew_s is not None:  # also by an answer to one that failed
            check_clock(skew_s)
    planned = [each for each in organizations if each.is_planned]
    check_population(planned, command)
    check_limits(planned, command)


async def _confirm(result: Result, stop: StopRequest) -> None:
    """Ask whether to delete.

    Raises:
        RunError: The answer is no, or a stop came. Nothing was deleted.
    """
    asked_s = result.command.clock()
    try:
        agreed = await result.view.confirms(result.finished())
    finally:
        result.question_s = result.command.clock() - asked_s
    if stop.reason is not None:
        raise stop.as_error()
    if not agreed:
        raise Cancelled("Cancelled.")


async def _read_anew(
    result: Result, organizations: Sequence[Organization], log: AuditLog, stop: StopRequest
) -> None:
    """Leave what is still stale, exactly as the question showed it; the rest is `changed`.

    Raises:
        RunError: A guard refuses what is read now, a list of organizations cannot be read, or a
            stop came. Nothing was deleted.
    """
    again = [Organization(each.id, each.client, each.variables) for each in organizations]
    shown = KeepOutsidePlan(line for each in organizations for line in each.stale)
    await stop.run_unless_stopped(Reader(result, again, None, [shown]).read_all())
    for before, now in zip(organizations, again, strict=True):
        before.error = now.error
        unread = [each for each in now.unread if each not in before.unread]
        before.unread += unread
        before.count(projects_unreadable=len(unread))
    _check_guards(result.command, again)
    changed = 0
    for before, now in zip(organizations, again, strict=True):
        still = {each.key for each in now.stale}
        gone = [each for each in before.stale if each.key not in still]
        before.stale = [each for each in before.stale if each.key in still]
        changed += len(gone)
        before.outcomes[Outcome.CHANGED] += len(gone)
        for each in gone:
            log.write(OutcomeLine.of(each, Outcome.CHANGED))
    if changed:
        result.warn_of(
            WarningCode.PLAN_DIFFERS,
            f"{pluralize(changed, 'planned invitation')} changed or left the lists after the plan "
            "was shown: nothing was deleted there, the next run judges them anew.",
        )


def _report_plan(
    result: Result,
    planned: Sequence[Organization],
    compared: ChangeTracker | KeepOutsidePlan | None,
) -> None:
    """Report how the plan differs from an earlier one, what is announced, and unused entries."""
    command, remark = result.command, WarningLevel.REMARK
    # Else an entry may match where nothing was read.
    is_whole = len(planned) == len(result.organizations)
    if isinstance(compared, KeepOutsidePlan):
        result.warn_of(WarningCode.PLAN_DIFFERS, *compared.differences(), level=remark)
    elif compared is not None and is_whole:
        unread = [each for one in planned for each in one.unread]
        result.changes = compared.result(unread, [s for one in planned for s in one.retired])
    counts = total(each.counts for each in planned)
    due = min((each.next_due for each in planned if each.next_due), default=None)
    if due is not None:
        text = describe_notice(counts, due, dry_run=command.dry_run)
        result.warn_of(WarningCode.NOTICE, text, level=remark)
    if command.dry_run and is_whole and counts.invitations_seen:
        unused = tuple(_unused_keep_entries(command, counts))
        result.warn_of(WarningCode.UNUSED_KEEP, *unused, level=remark)


_MAX_UNUSED_NAMED: Final = 3


def _unused_keep_entries(command: Command, counts: Counts) -> Iterator[str]:
    """Yield a sentence about the keep entries that matched no invitation, if there are some."""
    names = [
        repr(entry.name)
        for entry in command.policy.keep
        if entry.is_active(command.now.date())
        and not counts.kept_by_reason.get(f"keep:{entry.name}")
    ]
    if len(names) == 1:
        yield f"The keep entry {names[0]} matched no invitation: check its spelling."
    elif names:
        listed = shorten_list(names, _MAX_UNUSED_NAMED)
        yield f"{len(names):,} keep entries matched no invitation: {listed}. Check their spelling."
