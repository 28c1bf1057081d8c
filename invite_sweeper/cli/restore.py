"""Command `restore`: re-invite people whose invitations a run deleted."""

import asyncio
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from invite_sweeper import __version__
from invite_sweeper.atlas import Credentials, read_credentials
from invite_sweeper.atlas.credentials import credentials_variables
from invite_sweeper.audit import AuditLog, History, LogPath, RunStarted, in_order, read_history
from invite_sweeper.cli.confirm import Confirmation
from invite_sweeper.cli.console import run_async, stdout_console
from invite_sweeper.cli.json_output import write_json
from invite_sweeper.cli.options import (
    DEFAULT_BASE_URL,
    LOGGED,
    SAFETY,
    TARGET,
    Output,
    RunOptions,
    flag,
    takes,
    value,
)
from invite_sweeper.cli.run_session import RunSession
from invite_sweeper.cli.streams import print_error as explain
from invite_sweeper.endings import Advisor
from invite_sweeper.errors import CredentialsRefused, RunError
from invite_sweeper.policy import Execution, loader
from invite_sweeper.report.restore_tables import show_restore_plan, show_result
from invite_sweeper.restore.deletions import (
    NOTHING_INVITED,
    DeletedInvitation,
    DeletionLog,
    RestoreResult,
    check_log_intact,
    count_in_other_organizations,
    count_other_doubtful,
    describe_organizations,
    find_deletions,
    read_deletion_log,
)
from invite_sweeper.restore.report import RestoreReport, is_added
from invite_sweeper.restore.restorer import InviteRateLimit
from invite_sweeper.restore.run import MAX_INVITATIONS, RestoreRun
from invite_sweeper.shutdown import NOTHING_DELETED
from invite_sweeper.text import pluralize

app = typer.Typer(rich_markup_mode=None)


class Deletions(NamedTuple):
    """The deletions to restore, and how: the command's own options."""

    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Audit logs with the deletions.")
    ]
    run: Annotated[
        str | None,
        value(
            TARGET, "ID", "The run to undo: its id or the start of it; required if several match."
        ),
    ] = None
    username: Annotated[str | None, value(TARGET, "GLOB", "Restore only addresses that match.")] = (
        None
    )
    include_recovered: Annotated[
        bool,
        flag(
            TARGET,
            "Also restore what the run may have deleted, such as before a kill.",
            "--include-recovered",
        ),
    ] = False
    max_invitations: Annotated[
        int, value(SAFETY, "N", "Invite no one if there are more.", "--max", min=0)
    ] = MAX_INVITATIONS
    credentials: Annotated[
        str | None,
        value(TARGET, "NAME", "Name of the credentials in the policy; default: those of the run."),
    ] = None


@app.command()
@takes(
    RunOptions,
    "base_url",
    "yes",
    *LOGGED,
    audit_log="The log of this run; default: newest FILE.",
    dry_run="Show who would be invited; invite no one.",
    deadline="Stop after this time, such as 30m; 1h by default.",
)
@takes(Deletions)
def restore(deletions: Deletions, options: RunOptions) -> None:
    """Re-invite people whose invitations a run deleted.

    Sends each user a new invitation email with the same roles and teams, at most 10 a minute.
    Skips users who are invited or members again, so the command can be repeated. On a terminal
    it asks for confirmation first. A dry run writes nothing.

    Atlas adds users of a federated organization at once as active members. Each one is
    reported, and the exit code is then 4.

    Example: invite-sweeper restore audit/invite-sweeper.jsonl --dry-run
    """
    try:
        raise typer.Exit(run_restore(deletions, options))
    except RunError as error:
        if error.consequence == NOTHING_DELETED:
            error.consequence = NOTHING_INVITED
        raise


def run_restore(
    deletions: Deletions, options: RunOptions, environment: Mapping[str, str] = os.environ
) -> int:
    """Run a restore, show its result and return the exit code."""
    return run_async(_RestoreSession(deletions, options, environment).run())


class _RestoreSession:
    """One restore: lock, logs, connection, result."""

    def __init__(
        self, deletions: Deletions, options: RunOptions, environment: Mapping[str, str]
    ) -> None:
        execution = loader.with_deadline(Execution(), options.deadline)
        self._session = session = RunSession(options, execution, environment)
        self._options = options
        self._deletions = deletions
        self._base_url = session.base_url
        self._variable: str | None = None
        self._name = ""
        self._files = in_order(deletions.files)
        own_log = LogPath.of_file(self._files[-1])
        self._log_path = LogPath.from_option(options.audit_log, own_log.template)

    async def run(self) -> int:
        """Restore while the lock is held, then show the result."""
        session = self._session
        lock = None if self._options.dry_run else self._log_path
        with session.last_resort, session.working(lock):
            for warning in (warnings := check_log_intact(self._files)):
                session.log.warning(warning)
            log = read_deletion_log(self._files, session.check_deadline)
            report = self._report_of(log, warnings)
            name = self._deletions.credentials
            start = _start_of(log.history, report.undone_run)
            if name is None:
                name = (start.credentials if start is not None else None) or ""
            self._name = name
            credentials = read_credentials(session.environment, suffix=name)
            async with AsyncExitStack() as stack:
                audit = None
                own = read_history(self._log_path.files(), check=session.check_deadline)
                if not self._options.dry_run:
                    audit = session.open_log(self._log_path)
                    stack.push_async_callback(audit.close)
                    report.audit_log = str(audit.path)
                await self._run_with_connection(report, audit, own, start, credentials)
            session.last_resort.result_known(report.exit_code)
            return self._report(report)

    def _report_of(self, log: DeletionLog, warnings: Sequence[str]) -> RestoreReport:
        """Return the report of a restore that has not begun."""
        found = find_deletions(
            log,
            base_url=str(self._base_url),
            run=self._deletions.run,
            username=self._deletions.username,
        )
        left_out = (*self._doubtful_runs(log, found), *self._other_organizations(log, found))
        for warning in left_out:
            self._session.log.warning(warning)
        warnings = (*warnings, *left_out)
        include_all = self._deletions.include_recovered
        deletions = [each for each in found if include_all or not each.doubt]
        return RestoreReport(
            self._session.run_id,
            self._session.now,
            self._options.dry_run,
            str(self._files[-1]),
            deletions,
            base_url=str(self._base_url),
            advisor=Advisor(
                base_url="" if str(self._base_url) == DEFAULT_BASE_URL else str(self._base_url)
            ),
            uncertain=[each for each in found if each.doubt and not include_all],
            warnings=list(warnings),
            organization_names=log.history.organization_names(),
        )

    def _doubtful_runs(self, log: DeletionLog, found: Sequence[DeletedInvitation]) -> Iterator[str]:
        """Yield a warning for each other run that may have deleted more, unless one was named."""
        if self._deletions.run is not None:
            return
        selected = next((each.run_id for each in found), None)
        for run_id, count in count_other_doubtful(log, selected).items():
            invitations = pluralize(count, "invitation")
            yield (
                f"Run {run_id} may have deleted {invitations}, which this restore leaves out; "
                f"--run {run_id} --include-recovered restores those that are missing."
            )

    def _other_organizations(
        self, log: DeletionLog, found: Sequence[DeletedInvitation]
    ) -> Iterator[str]:
        """Yield a warning for each other run of the same command that deleted something."""
        for selected in dict.fromkeys(each.run_id for each in found):
            for run_id, count in count_in_other_organizations(log, selected).items():
                yield (
                    f"The same command deleted {pluralize(count, 'invitation')} of "
                    f"{describe_organizations(log.history, run_id)}, which this restore leaves "
                    f"out; --run {run_id} restores them."
                )

    async def _run_with_connection(
        self,
        report: RestoreReport,
        audit: AuditLog | None,
        own: History,
        start: RunStarted | None,
        credentials: Credentials,
    ) -> None:
        unresolved = tuple(intent for intent in own.open_intents() if intent.from_restore)
        async with self._session.connect(credentials) as atlas:
            restore_run = RestoreRun(
                atlas,
                audit,
                report,
                self._session.stop,
                InviteRateLimit(time.monotonic, self._sleep),
                self._run_started(report, credentials),
                self._confirm if Confirmation.is_interactive() and not self._options.yes else None,
                unresolved,
                self._deletions.max_invitations,
                self._on_result,
                start.actor if start is not None else None,
            )
            error = await restore_run.run()
        counters = atlas.counters
        report.requests, report.retries = counters.requests, counters.retries
        report.rate_limited = counters.rate_limited
        report.duration_s = round(time.monotonic() - self._session.started_s, 3)
        if isinstance(error, CredentialsRefused):
            error.name_variables(credentials_variables(self._session.environment, self._name))
        await report.finish(audit, error)

    def _run_started(self, report: RestoreReport, credentials: Credentials) -> RunStarted:
        return RunStarted(
            mode="restore",
            tool_version=__version__,
            policy_sha256=None,
            policy_path=None,
            base_url=str(self._base_url),
            actor=credentials.actor,
            now=self._session.now.isoformat().replace("+00:00", "Z"),
            shard=None,
            organizations=report.organizations,
            dry_run=False,
            files=tuple(str(path) for path in self._files),
        )

    def _on_result(self, deleted: DeletedInvitation, result: RestoreResult) -> None:
        """Report a user who became an active member immediately."""
        if is_added(deleted, result):
            invitation = deleted.invitation
            project = {"project": invitation.project_name} if invitation.project_name else {}
            message = (
                f"{invitation.username} is an active member now: Atlas added the user at once, "
                "without an acceptance"
            )
            self._session.log.error(message, **project, organization=invitation.org_id)

    async def _confirm(self, report: RestoreReport) -> bool:
        question = Confirmation(self._session.stop, show_restore_plan, consequence=NOTHING_INVITED)
        return await question(report)

    async def _sleep(self, seconds: float) -> None:
        """Wait for a number of seconds, or until a stop is requested."""
        if seconds > 1:
            self._session.log.info("waiting for the invitation rate limit", seconds=round(seconds))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._session.stop.requested.wait(), seconds)

    def _report(self, report: RestoreReport) -> int:
        if self._options.output is Output.JSON:
            write_json(report.summary())
        elif report.reached_atlas and not (self._options.quiet or report.declined):
            show_result(stdout_console(), report)
        if report.error is not None:
            explain(report.error)
        return report.exit_code


def _start_of(history: History, run_id: str | None) -> RunStarted | None:
    """Return the first line of a run; None if it is not known."""
    record = history.run(run_id) if run_id is not None else None
    return record.start if record is not None else None
