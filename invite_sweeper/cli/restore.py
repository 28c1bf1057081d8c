"""`restore`: re-invite people whose invitations a run deleted."""

import asyncio
import os
import secrets
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from invite_sweeper import __version__
from invite_sweeper.atlas import credentials_from, parse_base_url
from invite_sweeper.atlas.client import connected
from invite_sweeper.audit import AuditLock, AuditLog, AuditTarget, in_order, unfinished_intents
from invite_sweeper.cli import console
from invite_sweeper.cli.confirm import Question
from invite_sweeper.cli.console import event_loop, stdout_console
from invite_sweeper.cli.options import (
    DEFAULT_BASE_URL,
    BaseUrl,
    Format,
    Output,
    Quiet,
    RunOptions,
    Verbose,
)
from invite_sweeper.cli.results import write_json
from invite_sweeper.cli.streams import print_error as explain
from invite_sweeper.policy import Execution, loader
from invite_sweeper.restore import (
    A_MINUTE,
    Account,
    Course,
    Deleted,
    Pace,
    deletions,
    raise_if_damaged,
)
from invite_sweeper.shutdown import Stop, heard_as
from invite_sweeper.sweep.summary import RunSummary
from invite_sweeper.text import counted, fitting, visible

app = typer.Typer(rich_markup_mode=None)

# `restore`: invites again those that a run deleted.


@app.command()
def restore(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Audit logs that tell what was deleted.")
    ],
    run: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="The run to undo: its id, or its beginning; needed where there are two.",
        ),
    ] = None,
    username: Annotated[
        str | None, typer.Option(metavar="GLOB", help="On the addresses to invite again.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say who would be invited, and invite nobody.")
    ] = False,
    base_url: BaseUrl = DEFAULT_BASE_URL,
    audit_log: Annotated[
        str | None,
        typer.Option("--audit-log", help="Where this is told; the newest FILE.", metavar="PATH"),
    ] = None,
    credentials: Annotated[
        str | None,
        typer.Option(
            "--credentials", help="The organization's, by its name in the policy.", metavar="NAME"
        ),
    ] = None,
    deadline: Annotated[
        str | None,
        typer.Option(
            "--deadline", help="End after this long, as 30m; 1h by default.", metavar="DURATION"
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask no question on a terminal.")] = False,
    output: Format = Output.TEXT,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Re-invite people whose invitations a run deleted.

    With their roles and teams, 10 a minute. Each gets a new invitation and a new mail. Whoever
    is invited or a member again is left alone, so that the same command twice invites nobody
    twice. On a terminal they are shown first, and a question asked.

    Example: invite-sweeper restore audit/invite-sweeper.jsonl --dry-run
    """
    options = RunOptions(
        base_url=base_url,
        audit_log=audit_log,
        dry_run=dry_run,
        deadline=deadline,
        yes=yes,
        output=output,
        quiet=quiet,
        verbose=verbose,
    )
    raise typer.Exit(run_restore(Deletions(files, run, username, credentials), options))


# A restore on the terminal.


_STYLES = {"restored": "green", "failed": "bold red", "unknown": "bold red", "skipped": "yellow"}


def show(console: Console, account: Account) -> None:
    """Write what became of each, and the totals; names cannot move the cursor."""
    if account.wanted:
        console.print(_table(account, account.wanted))
    else:
        console.print("Nothing to invite again: the log tells of no such deletion.")
    for line in _totals(account):
        console.print(line, soft_wrap=True)


def show_plan(console: Console, account: Account) -> None:
    """Write whom a yes would invite, before the question."""
    console.print(_table(account, account.gone))
    minutes = (len(account.gone) - 1) // A_MINUTE
    takes = f", which takes {counted(minutes, 'minute')} at {A_MINUTE} a minute" if minutes else ""
    people = counted(len(account.gone), "person", "people")
    who = fitting(len(account.gone), "this", "these") + f" {people}"
    console.print(f"Invite {who} again{takes}?", soft_wrap=True)


def _table(account: Account, shown: Sequence[Deleted]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("INVITED", "TO", "ROLES", "LIST", "OUTCOME"):
        table.add_column(heading, overflow="fold")
    for deleted in shown:
        table.add_row(*_cells(account, deleted))
    return table


def _cells(account: Account, deleted: Deleted) -> Iterator[Text]:
    invitation, said, end = deleted.invitation, account.said_of(deleted), account.ends.get(deleted)
    yield Text(visible(invitation.username or "(no address)"))
    yield Text(visible(invitation.project_name) or invitation.org_id)
    yield Text(visible(", ".join(invitation.roles)))
    yield Text(invitation.source)
    detail = end.reason or end.error_code or "" if end is not None else ""
    yield Text(visible(f"{said.replace('_', ' ')} {detail}".strip()), style=_STYLES.get(said, ""))


def _totals(account: Account) -> Iterator[Text]:
    tally = ", ".join(
        f"{count:,} {outcome.value.replace('_', ' ')}" for outcome, count in account.tally.items()
    )
    if account.dry_run:
        yield Text.assemble(
            ("Dry run: ", "bold"),
            f"nobody was invited; {len(account.gone):,} of {len(account.wanted):,} would be",
        )
    if tally:
        yield Text.assemble(("Done: ", "bold"), tally)
    yield Text.assemble(("Audit: ", "bold"), visible(account.audit_log))


# One restore from the command line: lock, logs, connection, result.


class Deletions(NamedTuple):
    """The deletions to restore, as typed.

    Attributes:
        files: Audit logs that record them.
        credentials: The suffix of the credentials in the environment, as the policy names it.
    """

    files: Sequence[Path]
    run: str | None
    username: str | None
    credentials: str | None


def run_restore(
    wanted: Deletions, options: RunOptions, environment: Mapping[str, str] = os.environ
) -> int:
    """Invite again, show what became of it, and give the exit code.

    Raises:
        RunError: It did not come to a restore: usage, lock, a damaged log.
    """
    return event_loop(_OneRestore(wanted, options, environment).run())


class _OneRestore:
    """One restore's parts, made from what was typed and the environment."""

    def __init__(
        self, wanted: Deletions, options: RunOptions, environment: Mapping[str, str]
    ) -> None:
        self._started_s = time.monotonic()
        self._options = options
        self._deletions = wanted
        self._now = now = datetime.now(UTC)
        self._execution = loader.with_deadline(Execution(), options.deadline)
        self._base_url = parse_base_url(options.base_url)
        self._credentials = credentials_from(
            environment, Path.read_bytes, suffix=wanted.credentials or ""
        )
        self._run_id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        self._files = in_order(wanted.files)
        self._target = AuditTarget.chosen(options.audit_log, str(self._files[-1]))
        self._log = console.configure(quiet=options.quiet, verbose=options.verbose)
        self._stop = Stop()

    async def run(self) -> int:
        """Carry out the restore between the lock and the result."""
        with (
            AuditLock(self._target.lock_path, now=self._now, command=shlex.join(sys.argv)),
            heard_as(self._stop, self._log),
        ):
            wanted = self._wanted()
            path = self._target.path(now=self._now, run_id=self._run_id)
            audit = AuditLog.open(path, run_id=self._run_id, clock=partial(datetime.now, UTC))
            async with AsyncExitStack() as stack:
                stack.push_async_callback(audit.close)
                account = await self._against_atlas(wanted, audit)
        return self._tell(account)

    def _wanted(self) -> tuple[Deleted, ...]:
        for warning in raise_if_damaged(self._files):
            self._log.warning(warning)
        return deletions(
            self._files,
            base_url=str(self._base_url),
            run=self._deletions.run,
            username=self._deletions.username,
        )

    async def _against_atlas(self, wanted: Sequence[Deleted], audit: AuditLog) -> Account:
        account = Account(self._run_id, self._now, self._options.dry_run, str(audit.path), wanted)
        earlier = unfinished_intents(*self._target.files())
        unsettled = tuple(intent for intent in earlier if intent.of_restore)
        deadline = self._execution.deadline
        alarm = asyncio.get_running_loop().call_later(
            deadline.total_seconds(), self._stop.ask, f"the deadline of {deadline} came"
        )
        try:
            async with connected(
                self._base_url,
                self._credentials,
                self._execution,
                deadline_s=self._started_s + deadline.total_seconds(),
                shards=1,
                log=self._log,
            ) as atlas:
                course = Course(
                    atlas,
                    audit,
                    account,
                    self._stop,
                    Pace(time.monotonic, self._rest),
                    self._ask if Question.is_due() and not self._options.yes else None,
                    self._preamble(),
                    unsettled,
                )
                error = await course.run()
        finally:
            alarm.cancel()
        counters = atlas.counters
        account.requests, account.retries = counters.requests, counters.retries
        account.rate_limited = counters.rate_limited
        account.duration_s = round(time.monotonic() - self._started_s, 3)
        await account.close(audit, error)
        return account

    def _preamble(self) -> Mapping[str, object]:
        return {
            "mode": "restore",
            "tool_version": __version__,
            "policy_sha256": None,
            "policy_path": None,
            "base_url": str(self._base_url),
            "actor": self._credentials.actor,
            "now": self._now.isoformat().replace("+00:00", "Z"),
            "shard": None,
            "dry_run": self._options.dry_run,
            "files": [str(path) for path in self._files],
        }

    async def _ask(self, account: Account) -> bool:
        def present(console: Console, _summary: RunSummary) -> None:
            show_plan(console, account)

        summary = RunSummary(run_id=self._run_id, mode="restore", now=self._now.isoformat())
        return await Question(self._stop, present)(summary)

    async def _rest(self, seconds: float) -> None:
        """Wait, or until the restore has to end."""
        if seconds > 1:
            self._log.info("waiting for a turn to invite", seconds=round(seconds))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.asked.wait(), seconds)

    def _tell(self, account: Account) -> int:
        if account.begun:
            if self._options.output is Output.JSON:
                write_json(account.to_json())
            elif not self._options.quiet:
                show(stdout_console(), account)
        if account.error is not None:
            explain(account.error)
        return account.exit_code
