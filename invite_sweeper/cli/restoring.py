"""One restore from the command line: lock, logs, connection, result."""

import asyncio
import os
import secrets
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from invite_sweeper import __version__
from invite_sweeper.atlas import credentials_from, parse_base_url
from invite_sweeper.atlas.client import connected
from invite_sweeper.audit import AuditLock, AuditLog, AuditTarget, in_order, unfinished_intents
from invite_sweeper.cli import messages
from invite_sweeper.cli.asking import Question
from invite_sweeper.cli.exits import explain
from invite_sweeper.cli.loop import event_loop
from invite_sweeper.cli.options import Output
from invite_sweeper.cli.order import RunOptions
from invite_sweeper.cli.restored import show, show_plan
from invite_sweeper.cli.results import stdout_console, write_json
from invite_sweeper.cli.signals import heard_as
from invite_sweeper.policy import Execution, loader
from invite_sweeper.restore import Account, Course, Deleted, Pace, deletions, raise_if_damaged
from invite_sweeper.stop import Stop
from invite_sweeper.totals import RunSummary


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


def restore(
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
        self._log = messages.configure(quiet=options.quiet, verbose=options.verbose)
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
