"""Command `restore`: re-invite people whose invitations a run deleted."""

from functools import partial
from itertools import chain
from typing import Any, Final

import click
from rich.console import Console

from invite_sweeper.audit import History, RunFile
from invite_sweeper.audit.events import OutcomeLine
from invite_sweeper.cli.console import run_async, stdout_console, write_json
from invite_sweeper.cli.options import CONNECTED, Command, RunOptions, options
from invite_sweeper.cli.session import Session, load_policy
from invite_sweeper.cli.view import Progress, confirm
from invite_sweeper.endings import WarningLevel
from invite_sweeper.errors import Cancelled, DamagedLog, GuardRefused, RunError, UsageError
from invite_sweeper.report import terminal
from invite_sweeper.restore import RestorePlan, Restorer, plan_restore, read_deletions
from invite_sweeper.sweep.result import Result
from invite_sweeper.text import pluralize

_NOTHING_INVITED: Final = "No one was invited."


@click.command(cls=Command)
@click.argument(
    "run", help="The run to undo: its number, id or file; without it the last sweep.",
    required=False, metavar="[RUN]",
)  # fmt: skip
@options(*CONNECTED, "deadline", "yes", "reason")
@click.option("--dry-run", is_flag=True, help="Show who would be invited; write nothing.")
@click.option("--username", metavar="GLOB", help="Only people with this address.")
@click.option("--include-unconfirmed", is_flag=True,
        help="Also deletions that Atlas did not confirm, such as before a kill.")  # fmt: skip
def restore(
    run: str | None,
    username: str | None,
    *,
    include_unconfirmed: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Re-invite people whose invitations a run deleted.

    At most ten a minute. Leaves out who is invited or a member already. In a federated
    organization Atlas adds people at once as active members: the exit code is then 4.

    Example: invite-sweeper restore 42 --dry-run
    """
    options = RunOptions(**given)
    session = Session(options, load_policy(options.policy, deadline=options.deadline))
    try:
        code = run_async(_restore(session, run, username, unconfirmed=include_unconfirmed))
    except UsageError:
        raise
    except RunError as error:  # the errors after the first invitation are part of the result
        raise error.having(consequence=_NOTHING_INVITED) from error
    raise SystemExit(code)


async def _restore(
    session: Session, run: str | None, username: str | None, *, unconfirmed: bool
) -> int:
    """Restore, report, and return the exit code; a dry run writes nothing."""
    with session.working(locked=not session.options.dry_run):
        history = session.read_history()
        for warning in session.directory.warnings():
            if warning.level != WarningLevel.REMARK:
                session.log.warning(warning.message)
        file = session.directory.find(run) if run is not None else _last_sweep(session, history)
        deletions = read_deletions(file, username=username, unconfirmed=unconfirmed)
        base_url = str(session.base_url)
        if deletions.start.base_url != base_url:
            raise GuardRefused(
                f"Run {deletions.run_id} used {deletions.start.base_url}, not {base_url}.",
                hint="Set --base-url to the URL of that run.",
            )
        async with session.organizations(history) as organizations:
            plan = await session.stop.run_unless_stopped(plan_restore(organizations, deletions))
            if session.options.dry_run:
                _show_plan(session, plan)
                return plan.exit_code
            if plan.to_invite and not await confirm(session, partial(_ask, plan)):
                raise Cancelled("Cancelled.")
            command = session.command(history, restores=deletions.run_id)
            result = Result(command, organizations, Progress(session.log, None))
            async with session.run(command, organizations) as (log, record):
                restorer = Restorer(result, log, session.stop, partial(_report, session))
                opened = chain.from_iterable(history.open_intents(base_url).values())
                record.end = end = await restorer.run(plan, opened)
            session.last_resort.exit_code = end.exit_code
            session.show(record)
            return end.exit_code


def _last_sweep(session: Session, history: History) -> RunFile:
    """Return the file of the last sweep.

    Raises:
        UsageError: No sweep is known.
        DamagedLog: The file of the last run is missing: which sweep was the last is not known.
    """
    last, reader = history.last_sweep, session.directory.reader()
    if reader.head is not None and reader.is_last_file_missing:
        hint = "Name the run to undo; list the runs with `audit show`."
        if last is not None:
            hint = f"To undo the last sweep that is known, name it: restore {last.number}"
        raise DamagedLog(
            f"The file of the last run, {reader.head.file}, is missing in "
            f"{session.directory.path}: it may be that of the last sweep.",
            hint=hint,
        )
    if last is None:
        hint = "List the runs with `audit show`."
        raise UsageError("The audit directory has no sweep to undo.", hint=hint)
    return last


def _report(session: Session, line: OutcomeLine, reason: str) -> None:
    loud = line.outcome in {"active", "failed", "unknown"}
    say = session.log.warning if loud else session.log.info
    more = {"reason": reason} if reason else {}
    place = line.project_name or line.org_id
    say(line.outcome.replace("_", " "), user=line.username, place=place, **more)


def _show_plan(session: Session, plan: RestorePlan) -> None:
    if session.options.output == "json":
        write_json(plan)
    elif not session.options.quiet:
        console = stdout_console()
        terminal.show_people(console, plan.to_invite)
        console.print(
            f"Dry run: {pluralize(len(plan.to_invite), 'person', 'people')} would be invited "
            f"again, {len(plan.already_there):,} there already. {_NOTHING_INVITED}",
            soft_wrap=True,
        )
    for each in plan.barred:
        session.log.warning("would not be invited", user=each.username, reason=each.reason)


def _ask(plan: RestorePlan, console: Console) -> None:
    terminal.show_people(console, plan.to_invite)
    count = pluralize(len(plan.to_invite), "person", "people")
    console.print(f"Invite {count} again? Atlas sends each an e-mail.", style="bold")
