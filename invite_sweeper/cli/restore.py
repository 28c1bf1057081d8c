"""Command `restore`: re-invite people whose invitations a run deleted."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final

import click
from msgspec import structs
from structlog.typing import FilteringBoundLogger

from invite_sweeper.audit.events import OutcomeLine
from invite_sweeper.audit.reader import read_back
from invite_sweeper.cli.command import read_history
from invite_sweeper.cli.options import (
    CONNECTED,
    SectionedCommand,
    option_once,
    options,
)
from invite_sweeper.cli.progress import Progress, confirm, print_result
from invite_sweeper.cli.session import Session, begin, begin_log, connect, run_async
from invite_sweeper.cli.streams import OUTPUTS
from invite_sweeper.errors import Cancelled, RunError, UsageError
from invite_sweeper.json_text import json_line
from invite_sweeper.models import Invitation
from invite_sweeper.outcomes import Outcome
from invite_sweeper.report import people, terminal
from invite_sweeper.report.document import Document, Fact, with_content
from invite_sweeper.report.terminal import stdout_console
from invite_sweeper.restore import (
    Deletions,
    RestorePlan,
    Restorer,
    Wanted,
    count_people,
    find_deletions,
    plan_restore,
)
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.result import Result
from invite_sweeper.text import plural_form, pluralize, shorten_list

_NOTHING_INVITED: Final = "No one was invited."
_NEEDING_ATTENTION: Final = frozenset({Outcome.ACTIVE, Outcome.FAILED, Outcome.UNKNOWN})
_MAX_RUNS: Final = 10


@click.command(cls=SectionedCommand)
@click.argument(
    "run",
    help="The run to undo: its number, day, id or file, or last; default: the last that deleted "
    "them.",
    required=False, metavar="[RUN]",
)  # fmt: skip
@options(*CONNECTED, "deadline", "yes", "reason")
@click.option("--dry-run", is_flag=True, help="Show who would be invited; write nothing.")
@option_once("Options", "--username", metavar="GLOB", help="Only people with this address.")
@click.option(
    "--include-unconfirmed", is_flag=True,
    help="Also deletions that Atlas did not confirm, such as before a kill.",
)  # fmt: skip
def restore(
    run: str | None, username: str | None, *, include_unconfirmed: bool, **given: Any
) -> None:
    """Re-invite people whose invitations a run deleted.

    Without RUN, what the last sweep deleted that deleted any; with --username, what was last
    deleted of each person, by any run.
    At most ten a minute. Leaves out who is invited or a member already. In a federated
    organization Atlas adds people at once as active members: the exit code is then 4.

    Example: invite-sweeper restore --username 'ada.*' --dry-run
    """
    command, session = begin(os.environ, **given)
    try:
        code = run_async(_restore(command, session, Wanted(run, username, include_unconfirmed)))
    except UsageError:
        raise
    except RunError as error:  # the errors after the first invitation are part of the result
        raise error.having(consequence=_NOTHING_INVITED) from error
    raise SystemExit(code)


async def _restore(command: Command, session: Session, wanted: Wanted) -> int:
    """Restore, report, and return the exit code; a dry run writes nothing."""
    history = command.history
    with session.working(command, locked=not command.dry_run):
        read_history(command)
        session.warn_of_missing_files(command.directory)
        deletions = find_deletions(command.directory, wanted, command.base_url, command.advisor)
        _warn_of_left_out(session.log, deletions)
        names = history.organization_names()
        async with connect(command, session.environment, session.log) as organizations:
            plan = await session.stop.run_unless_stopped(plan_restore(organizations, deletions))
            if command.dry_run:
                if session.prints_json:
                    OUTPUTS.write(json_line(plan))
                elif not session.quiet:
                    shown = _document_of(plan, deletions, names, _end_of_dry_run(plan))
                    terminal.show_document(stdout_console(), shown, with_ids=session.shows_ids)
                _warn_of_barred(session.log, plan, names)
                return plan.exit_code
            asks = session.asks and bool(plan.to_invite)
            question = _document_of(plan, deletions, names, _question(plan))
            if asks and not await confirm(session.stop, question):
                raise Cancelled("Cancelled.")
            command = structs.replace(command, restores=deletions.runs)
            result = Result(command, organizations, Progress(session.log, None))
            report = partial(_report, session.log, names)
            async with begin_log(command, session.log) as log:
                report_wait = partial(_report_wait, session.log)
                restorer = Restorer(result, log, session.stop, report, report_wait)
                # What a killed restore left open: these people may be invited already.
                opened = chain.from_iterable(history.open_intents(command.base_url).values())
                record = await restorer.run(plan, opened)
            code = record.exit_code or 0
            print_result(command, session, read_back(record), has_shown_plan=asks)
            return code


def _warn_of_left_out(log: FilteringBoundLogger, deletions: Deletions) -> None:
    """Warn of deletions that Atlas did not confirm."""
    if deletions.left_out:
        log.warning(
            "deletions that Atlas did not confirm are left out",
            count=deletions.left_out,
            hint="To invite these people again, too: --include-unconfirmed",
        )


def _report(log: FilteringBoundLogger, names: Mapping[str, str], line: OutcomeLine) -> None:
    """Log what became of one invitation.

    Args:
        names: Of the organizations, by id.
    """
    fields = {"user": line.username, "place": _place(line, names)}
    if line.reason is not None:
        fields["reason"] = line.reason
    if line.recovers is not None:
        fields["sent_by"] = line.recovers
    words = line.outcome.replace("_", " ")
    if line.outcome in _NEEDING_ATTENTION:
        log.warning(words, **fields)
    else:
        log.info(words, **fields)


def _place(invitation: Invitation, names: Mapping[str, str]) -> str:
    """Return the name of the project, else of the organization."""
    return invitation.project_name or names.get(invitation.org_id, invitation.org_id)


def _report_wait(log: FilteringBoundLogger, seconds: float) -> None:
    """Log that the restore waits, and for how long."""
    log.info("waiting until Atlas accepts another invitation", seconds=round(seconds))


def _warn_of_barred(log: FilteringBoundLogger, plan: RestorePlan, names: Mapping[str, str]) -> None:
    """Warn of the people whom a restore would not invite."""
    for barred in plan.barred:
        place = _place(barred, names)
        log.warning("would not be invited", user=barred.username, place=place, reason=barred.reason)


def _document_of(
    plan: RestorePlan, deletions: Deletions, names: Mapping[str, str], last: Fact
) -> Document:
    """Return who is to be invited again, which runs deleted them, and the last sentence."""
    runs = [str(run.number) for run in deletions.runs]
    noun = plural_form(len(runs), "run", "runs")
    deleted_by = Fact("Deleted by", f"{noun} {shorten_list(runs, _MAX_RUNS)}")
    section = people.section_of_people(plan.to_invite, names)
    return Document(facts=(deleted_by, last), sections=with_content((section,)))


def _end_of_dry_run(plan: RestorePlan) -> Fact:
    counts = f"{count_people(plan.already_there):,} there already"
    if plan.barred:
        counts += f", {count_people(plan.barred):,} cannot be invited"
    invited = _describe_people(plan.to_invite)
    return Fact("Dry run", f"{invited} would be invited again, {counts}. {_NOTHING_INVITED}")


def _question(plan: RestorePlan) -> Fact:
    mails = pluralize(len(plan.to_invite), "e-mail")
    text = f"Invite {_describe_people(plan.to_invite)} again? Atlas sends {mails}."
    return Fact("", text, "strong")


def _describe_people(invitations: Sequence[Invitation]) -> str:
    """Return how many people are invited, and how often where one is to several places."""
    count = count_people(invitations)
    text = pluralize(count, "person", "people")
    if count == len(invitations):
        return text
    return f"{text} ({pluralize(len(invitations), 'invitation')})"
