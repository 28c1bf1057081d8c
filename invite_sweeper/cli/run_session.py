"""A process at work: clock, id, lock, signals, deadline, log on stderr, audit log, connection."""

import asyncio
import os
import secrets
import shlex
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial

from aiohttp import BaseConnector
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from invite_sweeper.atlas import (
    Credentials,
    RateLimitedAtlasClient,
    parse_base_url,
    read_credentials,
)
from invite_sweeper.atlas.connection import connect_for_run, open_connector
from invite_sweeper.atlas.credentials import credentials_variables
from invite_sweeper.audit import AuditLog, LogPath, RunLock
from invite_sweeper.cli.log import configure_logging
from invite_sweeper.cli.options import Output, RunOptions
from invite_sweeper.cli.streams import audit_copy_stream
from invite_sweeper.errors import CredentialsRefused, UsageError
from invite_sweeper.last_resort import LastResort
from invite_sweeper.policy import Execution, Policy
from invite_sweeper.shutdown import NOTHING_DELETED, StopRequest, handle_signals
from invite_sweeper.text import describe_duration


def split_by_credentials(policy: Policy) -> Iterator[tuple[str, Policy]]:
    """Yield each credential's name, "" for the default, and the policy for its organizations."""
    groups: dict[str, list[str]] = {}
    for organization in policy.organizations:
        groups.setdefault(organization.credentials or "", []).append(organization.id)
    for name, ids in groups.items():
        organizations = tuple(o for o in policy.organizations if o.id in ids)
        yield name, policy.model_copy(update={"organizations": organizations})


class RunSession:
    """What `sweep`, `plan`, `restore`, `explain` and `doctor` need while they run.

    Args:
        execution: The limits of the policy, with the deadline of the command.

    Attributes:
        now: The one instant of the command, aware UTC; `started_s` on the monotonic clock.
        run_id: Unique, sorts by time.
        stop: Requested by a signal, and when the deadline has passed.
        last_resort: Ends the process if it outlives the deadline; the command enters it.
    """

    def __init__(
        self, options: RunOptions, execution: Execution, environment: Mapping[str, str] = os.environ
    ) -> None:
        self.options = options
        self.execution = execution
        self.environment = environment
        self.started_s = time.monotonic()
        self.now = datetime.now(UTC)
        self.run_id = self.new_run_id()
        self.base_url = parse_base_url(options.base_url)
        self.log = configure_logging(
            quiet=options.quiet or options.quiet_progress,
            verbose=options.verbose,
            log_format=options.log_format,
        )
        self._connector: BaseConnector | None = None
        self.stop = StopRequest()
        self.last_resort = LastResort(
            started_s=self.started_s,
            deadline_s=execution.deadline.total_seconds(),
            grace_s=execution.grace.total_seconds(),
            as_json=options.output is Output.JSON,
        )

    @property
    def deadline_s(self) -> float:
        """The deadline on the monotonic clock."""
        return self.started_s + self.execution.deadline.total_seconds()

    @property
    def _deadline_reason(self) -> str:
        return f"the deadline of {describe_duration(self.execution.deadline)} passed"

    def check_deadline(self) -> None:
        """Raise Interrupted if the deadline has passed: work that waits for nothing asks for it."""
        if time.monotonic() >= self.deadline_s:
            self.stop.request(self._deadline_reason)
            raise self.stop.as_error(consequence=NOTHING_DELETED)

    def new_run_id(self) -> str:
        """Return another run id of this instant."""
        return f"{self.now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"

    def credentials(self, names: Iterable[str]) -> dict[str, Credentials]:
        """Return the sets of credentials by name, "" for the plain variables.

        Raises:
            UsageError: Sets are missing or cannot be read; it names every variable at once.
        """
        found: dict[str, Credentials] = {}
        errors: dict[str, UsageError] = {}
        for name in names:
            try:
                found[name] = read_credentials(self.environment, suffix=name)
            except UsageError as error:
                errors[name] = error
        if len(errors) == 1:
            raise next(iter(errors.values()))
        if errors:
            raise UsageError(
                " ".join(
                    f"{f'Credentials {name}' if name else 'Credentials without a name'}: "
                    f"{error.message}"
                    for name, error in errors.items()
                ),
                hint=" ".join(error.hint for error in errors.values()),
            )
        return found

    def parts(self, policy: Policy) -> tuple[tuple[Policy, Credentials], ...]:
        """Return each part of the policy with its credentials."""
        parts = dict(split_by_credentials(policy))
        credentials = self.credentials(parts)
        return tuple((part, credentials[name]) for name, part in parts.items())

    @contextmanager
    def working(self, log_path: LogPath | None = None) -> Iterator[None]:
        """Request a stop on a signal or at the deadline; hold the lock of the audit log, if any."""
        lock = (
            RunLock(log_path.lock_path, now=self.now, command=shlex.join(sys.argv))
            if log_path is not None
            else nullcontext()
        )
        with lock, handle_signals(self.stop, self.log, self.last_resort):
            timer = asyncio.get_running_loop().call_later(
                self.deadline_s - time.monotonic(), self.stop.request, self._deadline_reason
            )
            try:
                yield
            finally:
                timer.cancel()

    def open_log(self, log_path: LogPath, signing_key: Ed25519PrivateKey | None) -> AuditLog:
        """Open the audit log for the runs of this command."""
        audit = AuditLog.open(
            log_path.path_of_run(now=self.now, run_id=self.run_id),
            run_id=self.run_id,
            clock=partial(datetime.now, UTC),
            copy=audit_copy_stream() if log_path.copy_to_stdout else None,
            log_path=log_path,
            new_log=self.options.new_log,
            signing_key=signing_key,
        )
        if audit.torn_copy is not None:
            self.log.warning("a torn last line was moved to a file", file=str(audit.torn_copy))
        if audit.missing:
            self.log.warning(audit.missing)
        return audit

    @asynccontextmanager
    async def shared_connections(self) -> AsyncIterator[None]:
        """Let all clients of Atlas share their connections: those of idle runs need memory."""
        async with open_connector() as self._connector:
            yield

    @asynccontextmanager
    async def connect(
        self, credentials: Credentials, *, name: str = "", retry_for_s: float | None = None
    ) -> AsyncIterator[RateLimitedAtlasClient]:
        """Open a client of Atlas; nothing is sent before it is used.

        Args:
            name: Of the set of credentials, to say which variables Atlas refused.
            retry_for_s: How long requests are retried; None until the deadline.
        """
        deadline_s = self.deadline_s if retry_for_s is None else time.monotonic() + retry_for_s
        try:
            async with connect_for_run(
                self.base_url,
                credentials,
                self.execution,
                now=self.now,
                started_s=self.started_s,
                deadline_s=deadline_s,
                log=self.log,
                connector=self._connector,
            ) as connection:
                yield connection
        except CredentialsRefused as error:
            error.name_variables(credentials_variables(self.environment, name))
            raise
