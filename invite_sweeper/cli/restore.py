"""Command `restore`: re-invite people whose invitations a run deleted."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final

import click
from rich.console import Console

from invite_sweeper.audit.events import OutcomeLine
from invite_sweeper.cli.console import run_async, stdout_console, write_json
from invite_sweeper.cli.options import CONNECTED, RunOptions, SectionedCommand, options
from invite_sweeper.cli.session import Session
from invite_sweeper.cli.view import Progress, confirm
from invite_sweeper.endings import WarningLevel
from invite_sweeper.errors import Cancelled, RunError, UsageError
from invite_sweeper.models import Invitation
from invite_sweeper.report import listings
from invite_sweeper.report.readback import RecordedRun
from invite_sweeper.restore import (
    Deletions,
    RestorePlan,
    Restorer,
    Wanted,
    count_people,
    find_deletions,
    plan_restore,
)
from invite_sweeper.sweep.result import Result
from invite_sweeper.text import plural_form, pluralize, shorten_list

_NOTHING_INVITED: Final = "No one was invited."
_MAX_RUNS: Final = 10


@click.command(cls=SectionedCommand)
@click.argument(
    "run", help="The run to undo: its number, id or file; default: the last that deleted them.",
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

    Without RUN, what the last sweep deleted that deleted any; with --username, what was last
    deleted of each person, by whichever run.
    At most ten a minute. Leaves out who is invited or a member already. In a federated
    organization Atlas adds people at once as active members: the exit code is then 4.

    Example: invite-sweeper restore --username 'ada.*' --dry-run
    """
    options = RunOptions(**given)
    session = Session.of(options)
    try:
        code = run_async(_restore(session, Wanted(run, username, include_unconfirmed)))
    except UsageError:
        raise
    except RunError as error:  # the errors after the first invitation are part of the result
        raise error.having(consequence=_NOTHING_INVITED) from error
    raise SystemExit(code)


async def _restore(session: Session, wanted: Wanted) -> int:
    """Restore, report, and return the exit code; a dry run writes nothing."""
    with session.working(locked=not session.options.dry_run):
        history = session.read_history()
        for warning in session.directory.warnings():
            if warning.level != WarningLevel.REMARK:
                session.log.warning(warning.message)
        base_url = str(session.base_url)
        deletions = find_deletions(session.directory, wanted, base_url, session.advisor)
        if deletions.left_out:
            session.log.warning(
                "deletions that Atlas did not confirm are left out",
                count=deletions.left_out,
                hint="To invite these people again, too: --include-unconfirmed",
            )
        async with session.organizations(history) as organizations:
            plan = await session.stop.run_unless_stopped(plan_restore(organizations, deletions))
            show_people = partial(_show_people, plan, deletions, history.organization_names())
            if session.options.dry_run:
                _show_plan(session, plan, show_people)
                return plan.exit_code
            has_asked = False

            def ask(console: Console) -> None:
                nonlocal has_asked
                has_asked = True
                _ask(plan, show_people, console)

            if plan.to_invite and not await confirm(session, ask):
                raise Cancelled("Cancelled.")
            command = session.command(history, restores=deletions.run_ids)
            result = Result(command, organizations, Progress(session.log, None))
            async with session.run(command, organizations) as (log, record):
                restorer = Restorer(result, log, session.stop, partial(_report, session))
                opened = chain.from_iterable(history.open_intents(base_url).values())
                end = await restorer.run(plan, opened)
                record.end = end
            session.last_resort.exit_code = end.exit_code
            session.print_result(RecordedRun(record), has_shown_plan=has_asked)
            return end.exit_code


def _report(session: Session, line: OutcomeLine, reason: str) -> None:
    needs_attention = line.outcome in {"active", "failed", "unknown"}
    say = session.log.warning if needs_attention else session.log.info
    more = {"reason": reason} if reason else {}
    place = line.project_name or line.org_id
    say(line.outcome.replace("_", " "), user=line.username, place=place, **more)


def _show_plan(session: Session, plan: RestorePlan, show_people: Callable[[Console], None]) -> None:
    if session.options.output == "json":
        write_json(plan)
    elif not session.options.quiet:
        console = stdout_console()
        show_people(console)
        console.print(
            f"Dry run: {_describe_people(plan.to_invite)} would be invited again, "
            f"{count_people(plan.already_there):,} there already. {_NOTHING_INVITED}",
            soft_wrap=True,
        )
    for barred in plan.barred:
        session.log.warning("would not be invited", user=barred.username, reason=barred.reason)


def _show_people(
    plan: RestorePlan, deletions: Deletions, names: Mapping[str, str], console: Console
) -> None:
    """Print who is to be invited again, and which runs deleted them."""
    listings.show_people(console, plan.to_invite, names)
    runs = [str(run.number or run.run_id or run.path.name) for run in deletions.runs]
    noun = plural_form(len(runs), "run", "runs")
    console.print(f"Deleted by {noun} {shorten_list(runs, _MAX_RUNS)}.", soft_wrap=True)


def _ask(plan: RestorePlan, show_people: Callable[[Console], None], console: Console) -> None:
    show_people(console)
    people = _describe_people(plan.to_invite)
    mails = pluralize(len(plan.to_invite), "e-mail")
    console.print(f"Invite {people} again? Atlas sends {mails}.", style="bold")


def _describe_people(invitations: Sequence[Invitation]) -> str:
    """Return how many people are invited, and how often where one is to several places."""
    count = count_people(invitations)
    people = pluralize(count, "person", "people")
    if count == len(invitations):
        return people
    return f"{people} ({pluralize(len(invitations), 'invitation')})"
