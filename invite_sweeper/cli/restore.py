"""Command `restore`: re-invite people whose invitations a run deleted."""

import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import click
import msgspec
from rich.console import Console

from invite_sweeper import __version__
from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.events import InvitationFields, Planned
from invite_sweeper.cli.confirm import confirm
from invite_sweeper.cli.console import run_async, stdout_console
from invite_sweeper.cli.json_output import write_json
from invite_sweeper.cli.options import (
    CONNECTED,
    Command,
    Output,
    RunOptions,
    option,
    options,
)
from invite_sweeper.cli.session import Session
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import Cancelled, GuardRefused, RunError
from invite_sweeper.policy import loader
from invite_sweeper.report import terminal
from invite_sweeper.restore import (
    NOTHING_INVITED,
    Deleted,
    Missing,
    Pace,
    Restorer,
    find_missing,
    find_run,
    finished,
    read_deletions,
    run_started,
)
from invite_sweeper.sweep.command import Organization
from invite_sweeper.text import pluralize


class RestorePlan(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `restore --dry-run`.

    Attributes:
        restores: The run to undo.
        to_invite: Who would be invited again.
        already_there: Who is invited or a member already.
        barred: Who gets no invitation: the list of members could not be read, or a project is in
            another organization now.
    """

    restores: str
    to_invite: tuple[Planned, ...]
    already_there: tuple[Planned, ...]
    barred: tuple[Planned, ...]
    exit_code: int


@click.command(cls=Command)
@click.argument(
    "run",
    help="The run to undo: its number, id or file; without it the last sweep.",
    required=False,
    metavar="[RUN]",
)
@options(*CONNECTED, "deadline", "yes")
@option("Options", "--dry-run", is_flag=True, help="Show who would be invited; write nothing.")
@option("Options", "--username", metavar="GLOB", help="Only people with this address.")
@option("Options", "--include-unconfirmed", is_flag=True,
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
    command = _RestoreCommand(RunOptions(**given), run, username, include_unconfirmed, os.environ)
    try:
        code = run_async(command.run())
    except RunError as error:
        if error.consequence == "Nothing was deleted.":
            raise error.having(consequence=NOTHING_INVITED) from error
        raise
    raise SystemExit(code)


class _RestoreCommand:
    """One restore."""

    def __init__(
        self,
        options: RunOptions,
        run: str | None,
        username: str | None,
        unconfirmed: bool,
        environment: Mapping[str, str],
    ) -> None:
        self._options = options
        self._run_name = run
        self._username = username
        self._unconfirmed = unconfirmed
        policy = loader.load_policy(options.policy, deadline=options.deadline)
        self._session = Session(options, policy, environment)

    async def run(self) -> int:
        """Restore, report, and return the exit code; a dry run writes nothing."""
        session, dry_run = self._session, self._options.dry_run
        with session.last_resort, session.working(locked=not dry_run):
            file = session.directory.find(self._run_name) if self._run_name else None
            files = session.directory.files()
            if file is not None and file not in files:
                files = (file,)  # of another directory
            history = session.read_history(files)
            undone = find_run(history, file)
            self._check_base_url(undone)
            deletions = read_deletions(
                files,
                undone.run_id,
                username=self._username,
                unconfirmed=self._unconfirmed,
                check=session.check_deadline,
            )
            async with session.organizations(history) as organizations:
                self._check_organizations(organizations, deletions)
                missing = await session.stop.run_unless_stopped(
                    find_missing(organizations, deletions), consequence=NOTHING_INVITED
                )
                if dry_run:
                    return self._show_plan(undone, missing)
                return await self._restore(undone, organizations, missing)

    async def _restore(
        self, undone: RunRecord, organizations: Sequence[Organization], missing: Missing
    ) -> int:
        session = self._session
        if missing.to_invite and not self._options.yes and sys.stdin.isatty():
            agreed = await confirm(
                lambda console: _ask(console, missing), session.stop, consequence=NOTHING_INVITED
            )
            if session.stop.reason is not None:
                raise session.stop.as_error(consequence=NOTHING_INVITED)
            if not agreed:
                raise Cancelled("Cancelled.", consequence=NOTHING_INVITED)
        log = session.begin_log()
        assert undone.start is not None  # noqa: S101 - `find_run` checked it
        start = run_started(
            undone.start,
            undone.run_id,
            tool_version=__version__,
            now=session.now.isoformat().replace("+00:00", "Z"),
            actors={each.id: each.client.actor for each in organizations},
        )
        record = RunRecord(log.file, start=start)
        restorer = Restorer(
            organizations,
            log,
            session.stop,
            Pace(time.monotonic, self._sleep),
            session.policy.execution.grace.total_seconds(),
            self._report,
        )
        try:
            log.write(start)
            await restorer.run(missing)
            error = restorer.error
            skipped = any(each["skipped"] or each["unknown"] for each in restorer.outcomes.values())
            if session.stop.reason is not None and skipped:
                error = session.stop.as_error(consequence="The audit log is complete.")
            duration_s = time.monotonic() - session.started_s
            record.end = finished(organizations, restorer.outcomes, error, duration_s)
            await log.finish(record.end)
        finally:
            await log.close()
        record.last_hash = log.last_hash
        session.last_resort.result_known(record.end.exit_code)
        session.show(record)
        return record.end.exit_code

    async def _sleep(self, seconds: float) -> None:
        """Wait, or until the run must stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._session.stop.requested.wait(), seconds)

    def _report(self, deleted: Deleted, outcome: str, reason: str) -> None:
        one, log = deleted.invitation, self._session.log
        report = log.warning if outcome in {"active", "failed", "unknown"} else log.info
        more = {"reason": reason} if reason else {}
        place = one.project_name or one.org_id
        report(outcome.replace("_", " "), user=one.username, place=place, **more)

    def _check_base_url(self, undone: RunRecord) -> None:
        base_url = str(self._session.base_url)
        if undone.base_url != base_url:
            raise GuardRefused(
                f"Run {undone.run_id} used {undone.base_url}, not {base_url}.",
                consequence=NOTHING_INVITED,
                hint="Set --base-url to the URL of that run.",
            )

    def _check_organizations(
        self, organizations: Sequence[Organization], deletions: Sequence[Deleted]
    ) -> None:
        known = {each.id for each in organizations}
        others = sorted({each.invitation.org_id for each in deletions} - known)
        if others:
            raise GuardRefused(
                f"The policy does not name the organizations {', '.join(others)} of the run.",
                consequence=NOTHING_INVITED,
                hint="Use the policy of that run.",
            )

    def _show_plan(self, undone: RunRecord, missing: Missing) -> int:
        """Show who would be invited again."""
        code = ExitCode.PARTIAL if missing.barred else ExitCode.DONE
        if self._options.output is Output.JSON:
            write_json(
                RestorePlan(
                    restores=undone.run_id,
                    to_invite=tuple(map(_planned, missing.to_invite)),
                    already_there=tuple(map(_planned, missing.there)),
                    barred=tuple(_planned(each) for each, _ in missing.barred),
                    exit_code=int(code),
                )
            )
        elif not self._options.quiet:
            console = stdout_console()
            terminal.show_people(console, [each.line for each in missing.to_invite])
            console.print(
                f"Dry run: {pluralize(len(missing.to_invite), 'person', 'people')} would be "
                f"invited again, {len(missing.there):,} there already. {NOTHING_INVITED}",
                soft_wrap=True,
            )
        for deleted, reason in missing.barred:
            self._session.log.warning(
                "would not be invited", user=deleted.invitation.username, reason=reason
            )
        return int(code)


def _planned(deleted: Deleted) -> Planned:
    return deleted.line.as_event(Planned, rule=deleted.rule)


def _ask(console: Console, missing: Missing) -> None:
    lines: list[InvitationFields] = [each.line for each in missing.to_invite]
    terminal.show_people(console, lines)
    count = pluralize(len(lines), "person", "people")
    console.print(f"Invite {count} again? Atlas sends each an e-mail.", style="bold")
