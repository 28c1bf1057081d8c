"""A process at work: clock, id, signals, deadline, log on stderr, audit directory, clients."""

import math
import os
import secrets
import shlex
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from rich.console import Console

from invite_sweeper import clock
from invite_sweeper.advice import Advisor
from invite_sweeper.atlas import AtlasClient, open_http, open_limiter
from invite_sweeper.atlas.credentials import (
    Credentials,
    credentials_variables,
    read_credentials,
    register_credentials,
)
from invite_sweeper.atlas.http import open_connector, parse_base_url
from invite_sweeper.audit import AuditDirectory, AuditLog, History
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.history import ANNOUNCED_WITHIN
from invite_sweeper.audit.reader import LogReader
from invite_sweeper.audit.search import read_all
from invite_sweeper.cli.console import configure_logging
from invite_sweeper.cli.options import DEFAULT_BASE_URL, RunOptions
from invite_sweeper.cli.streams import audit_copy
from invite_sweeper.errors import DamagedLog, UsageError
from invite_sweeper.files import read_small_file
from invite_sweeper.last_resort import LastResort
from invite_sweeper.policy import MAX_BYTES, Policy, parse_duration_option, parse_policy
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.metrics import check_gateway_url, labels_of, textfile_of
from invite_sweeper.report.receivers import receiver_variables, register_receivers
from invite_sweeper.shutdown import StopRequest, handle_signals
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.plan import AtlasOrganization
from invite_sweeper.sweep.scope import Shard
from invite_sweeper.text import describe_duration, escape_unprintable, shell_command

_T = TypeVar("_T")
_PATIENCE_S: Final = 10.0
"""How long a person at a terminal waits for the first response: the address may be wrong. A
scheduled run outlasts a minute in which Atlas or the proxy is not reachable."""


def read_policy(path: Path, environment: Mapping[str, str] = os.environ) -> bytes:
    """Return the bytes of a policy; every secret of the environment is registered before.

    The file may be that of a token, and the errors of a policy quote it.

    Raises:
        UsageError: A secret is in the wrong variable or in the policy, or it cannot be read.
    """
    register_credentials(environment)
    try:
        data = read_small_file(path, MAX_BYTES)  # at most one more than is allowed
    except OSError as error:
        raise UsageError(
            f"The policy {path} cannot be read: {error.strerror or error}.",
            hint="Set the path with --policy PATH or INVITE_SWEEPER_POLICY, or write a first "
            "policy:",
            command=shell_command("init", "PATH"),
        ) from None
    text = data.decode(errors="replace")
    register_receivers(receiver_variables(text), environment)
    check_has_no_secret(path, text)
    return data


def check_has_no_secret(path: Path, text: str) -> None:
    """Raise UsageError if a policy contains a known secret: each run records its policy."""
    if SECRETS.knows(text):
        lines = [n for n, line in enumerate(text.split("\n"), 1) if SECRETS.knows(line)]
        where = f" in line {lines[0]}" if lines else ""
        raise UsageError(
            f"The policy {path} contains a secret of the environment{where}.",
            hint="Remove it from the file, and replace the secret: others may have read it.",
        )


def load_policy(
    path: Path, environment: Mapping[str, str] = os.environ, *, deadline: str | None = None
) -> Policy:
    """Load a policy as `read_policy` reads it.

    Raises:
        UsageError: See `read_policy`; or the deadline is not a duration.
        InvalidPolicy: The file has errors. It lists all of them.
    """
    policy = parse_policy(read_policy(path, environment), str(path))
    if deadline is None:
        return policy
    changed = {"deadline": parse_duration_option("--deadline", deadline)}
    return policy.model_copy(update={"execution": policy.execution.model_copy(update=changed)})


def read_all_credentials(
    environment: Mapping[str, str], names: Iterable[str]
) -> dict[str, Credentials]:
    """Return sets of credentials by name, "" for the plain variables.

    Raises:
        UsageError: Sets are missing or cannot be read; it names every variable at once.
    """
    credentials: dict[str, Credentials] = {}
    errors: list[UsageError] = []
    for name in names:
        try:
            credentials[name] = read_credentials(environment, suffix=name)
        except UsageError as error:
            errors.append(error)
    if errors:
        messages = dict.fromkeys(error.message for error in errors)  # sets may share one
        hints = [error.parts()["hint"] for error in errors]
        raise UsageError(" ".join(messages), hint=" ".join(hints))
    return credentials


MAX_REASON_LENGTH: Final = 500


def check_reason(text: str | None) -> str | None:
    """Return the reason of a run without blanks around it; None without any other character.

    Raises:
        UsageError: It is too long, or has characters that are not printable, such as a newline.
    """
    reason = (text or "").strip()
    if len(reason) > MAX_REASON_LENGTH:
        raise UsageError(
            f"--reason has {len(reason):,} characters; at most {MAX_REASON_LENGTH} are allowed.",
            hint="Name a ticket that says more.",
        )
    shown = escape_unprintable(reason)
    if shown != reason:
        raise UsageError(
            f"--reason has a character that is not printable: {shown}",
            hint="Write it on one line, without control characters.",
        )
    return reason or None


def shard_of(options: RunOptions, environment: Mapping[str, str]) -> Shard | None:
    """Return the part of the organizations that a command processes; None for all.

    Raises:
        UsageError: It is not a part.
    """
    return Shard.parse(options.shard, completion_index=environment.get("JOB_COMPLETION_INDEX"))


def _terminal() -> Console | None:
    """Return the terminal of stderr; None where it is not one, or a dumb one."""
    if not sys.stderr.isatty():
        return None
    console = Console(stderr=True)
    # On a dumb terminal, each bar would be an empty line.
    return None if console.is_dumb_terminal else console


class Session:
    """What `sweep`, `plan`, `restore`, `explain` and `doctor` need while they run.

    Args:
        policy: With the deadline of the command.

    Attributes:
        policy: With the organizations of the command's shard.
        plan_max_age: Of a plan that is applied.
        shard: Which part of the organizations this is; None for all.
        shards_used: How many shards have an organization, where this one has none.
        labels: Of the metrics, which are written to `metrics_file`; None without one.
        reason: Why or for whom the command runs, as the operator wrote it; None without one.
        base_url: Of Atlas, without trailing slashes.
        directory: The audit directory.
        now: The one instant of the command, aware UTC; `started_s` on the run's clock
            (`invite_sweeper.clock`), as `deadline_s`.
        run_id: Unique, sorts by time.
        history: What earlier runs did; None until it is read.
        terminal: Where progress is shown; None for log lines.
        stop: Requested by a signal, and when the deadline has passed.
        last_resort: Ends the process if it outlives the deadline while it is at work.
    """

    def __init__(
        self, options: RunOptions, policy: Policy, environment: Mapping[str, str] = os.environ
    ) -> None:
        # Before anything can fail: no error shows the address of a receiver.
        for channel in policy.notify:
            register_receivers(filter(None, (channel.url_env, channel.secret_env)), environment)
        if options.pushgateway is not None:
            check_gateway_url(options.pushgateway)

        # What the operator asks for, checked.
        self.options = options
        self.environment = environment
        self.plan_max_age = parse_duration_option("--plan-max-age", options.plan_max_age)
        self.shard = shard_of(options, environment)
        self.policy = policy if self.shard is None else self.shard.part_of_policy(policy)
        self.shards_used: int | None = None
        if not self.policy.organizations:  # there are more shards than organizations
            self.shards_used = len(policy.organizations)
        self.labels = labels_of(options.policy, self.shard, environment)
        self.metrics_file: Path | None = None
        if options.metrics_file is not None:
            self.metrics_file = textfile_of(options.metrics_file, self.labels)
        self.reason = check_reason(options.reason)
        self.base_url = str(parse_base_url(options.base_url))
        in_policy = options.policy.parent / policy.audit.directory
        self.directory = AuditDirectory(options.audit_dir or in_policy)

        # The process at work.
        self.started_s = clock.seconds()
        self.now = datetime.now(UTC)
        self.run_id = f"{self.now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        self.history: History | None = None
        self._reported_damages: set[str] = set()
        quiet = options.quiet or options.is_demo
        self.terminal = None if quiet else _terminal()
        self.log = configure_logging(
            quiet=quiet, verbose=options.verbose, log_format=options.log_format
        )
        self.stop = StopRequest()
        execution = policy.execution
        self.deadline_s = self.started_s + execution.deadline.total_seconds()
        self.last_resort = LastResort(
            started_s=self.started_s,
            deadline_s=execution.deadline.total_seconds(),
            grace_s=execution.grace.total_seconds(),
            as_json=options.output == "json",
        )

    @classmethod
    def of(cls, options: RunOptions, environment: Mapping[str, str] = os.environ) -> "Session":
        """Load the policy of a command and return its session; nothing is opened or sent.

        Raises:
            UsageError: See `load_policy`; or an option is invalid.
            InvalidPolicy: See `load_policy`.
        """
        policy = load_policy(options.policy, environment, deadline=options.deadline)
        return cls(options, policy, environment)

    def current_time(self) -> datetime:
        """Return the time by `now`: a clock set meanwhile cannot hide that `now` was wrong."""
        return self.now + timedelta(seconds=clock.seconds() - self.started_s)

    def read_history(self) -> History:
        """Return what earlier runs of the audit directory did, as far back as a run judges.

        Raises:
            DamagedLog: The log is damaged: a guard that misses a part of it fails.
        """
        self.history = History()
        self.add_history(self.history)
        return self.history

    def add_history(self, history: History) -> None:
        """Add to a history what a run of the policy asks for; raises as `read_history`."""
        # Whether a sweep has used a plan is known only as far back as the plan may be old.
        back = self.plan_max_age
        if self.policy.notice is not None:
            back = max(back, ANNOUNCED_WITHIN)
        period = self.policy.limits.period
        history.add_recent(
            self.directory,
            self.now,
            period=period,
            back=back,
            accepts_missing=self.options.accept_missing,
        )

    def read_sound_history(self) -> History:
        """Return what earlier runs did, as far as the log is sound, for a command that only reads.

        It warns of a damaged log, of which the history has what precedes the damage, and of a file
        that is missing.
        """
        history = History()
        try:
            self.add_history(history)
            self.warn_of_missing_files()
        except DamagedLog as error:
            self._warn_of_damage(error)
        return history

    def warn_of_missing_files(self) -> None:
        """Warn of what the audit directory does not have of earlier runs; raises as its reader."""
        for warning in self.directory.warnings_of_missing_files():
            self.log.warning(warning.message)

    def read_runs(self, read: Callable[[FileChain], Iterable[_T]]) -> Iterator[_T]:
        """Yield what is read of the runs of the directory; as `read_sound_history`, it warns."""
        try:
            reader = self.directory.reader()
        except DamagedLog as error:  # HEAD
            self._warn_of_damage(error)
            reader = LogReader(self.directory.files())
        yield from read_all(reader, read, self._warn_of_damage)

    def _warn_of_damage(self, error: DamagedLog) -> None:
        """Warn of a damage, once of each."""
        if error.message not in self._reported_damages:
            self._reported_damages.add(error.message)
            self.log.warning(
                "the audit log is damaged", reason=error.message, hint=error.parts()["hint"]
            )

    def credentials(self) -> dict[str, Credentials]:
        """Return the sets of credentials of the policy; see `read_all_credentials`."""
        organizations = self.policy.organizations
        # Each set once, in the order of the policy.
        names = dict.fromkeys(organization.credentials or "" for organization in organizations)
        return read_all_credentials(self.environment, names)

    @contextmanager
    def working(self, *, locked: bool = False) -> Iterator[None]:
        """Request a stop on a signal or at the deadline; hold the lock of the audit directory.

        Args:
            locked: Whether the lock is needed: the command writes there.
        """
        too_late = f"the deadline of {describe_duration(self.policy.execution.deadline)} passed"
        lock = self.directory.lock.hold(
            run_id=self.run_id, now=self.now, command=shlex.join(sys.argv)
        )
        with (
            self.last_resort,
            handle_signals(self.stop, self.log, self.last_resort),
            self.stop.at_deadline(self.deadline_s, too_late),
            lock if locked else nullcontext(),
        ):
            yield

    @property
    def asks(self) -> bool:
        """Whether a question is asked before something is deleted or sent."""
        return sys.stdin.isatty() and not self.options.yes

    @property
    def advisor(self) -> Advisor:
        """What makes exact commands of this session."""
        options = self.options
        # What is the default, or in the policy, is left out of a command.
        return Advisor(
            policy=str(options.policy),
            audit_dir=str(options.audit_dir) if options.audit_dir is not None else "",
            base_url="" if self.base_url == DEFAULT_BASE_URL else self.base_url,
        )

    @asynccontextmanager
    async def open_log(self) -> AsyncIterator[AuditLog]:
        """Yield the log of this run, whose lock is held; warn of a failed copy."""
        # By now, the secrets are known that the policy and the options name, too.
        check_has_no_secret(self.options.policy, self.policy.text)
        copy = audit_copy() if self.policy.audit.stdout else None
        # The lines have the time of the machine: only `now` was compared with Atlas's.
        log = AuditLog(self.directory, self.run_id, clock=partial(datetime.now, UTC), copy=copy)
        try:
            yield log
        finally:
            await log.close()
        self._warn_of_failure(
            "the copy of the audit log on standard output is incomplete; the file is complete",
            log.copy_failure,
            log.file.path,
        )
        self._warn_of_failure(
            "HEAD could not be written: the next run goes on after the last line of the file",
            log.head_failure,
            log.file.path,
        )

    def _warn_of_failure(self, text: str, failure: Exception | None, path: Path) -> None:
        if failure is not None:
            reason = getattr(failure, "strerror", None) or "it is closed"
            self.log.warning(text, reason=reason, audit_file=str(path))

    def command(self, history: History, **more: Any) -> Command:
        """Return what a run of this session is given; `more` are further fields."""
        return Command(
            policy=self.policy,
            policy_path=str(self.options.policy),
            now=self.now,
            base_url=self.base_url,
            history=history,
            clock=clock.seconds,
            started_s=self.started_s,
            shard=self.shard,
            shards_used=self.shards_used,
            only_projects=self.options.project,
            reason=self.reason,
            advisor=self.advisor,
            **more,
        )

    @asynccontextmanager
    async def organizations(
        self, history: History, *, retry_for_s: float = math.inf
    ) -> AsyncIterator[Sequence[AtlasOrganization]]:
        """Yield the organizations of the policy, each with the client of its credentials.

        Nothing is sent before a client is used. All clients share their connections and the rate
        limits: `max_requests_per_second` is a ceiling over all of them.

        Args:
            history: Names the organizations until Atlas does.
            retry_for_s: How long requests are retried, at most as long as the command runs.
        """
        base_url = parse_base_url(self.base_url)
        async with AsyncExitStack() as stack:
            connector = await stack.enter_async_context(open_connector())
            limiter = open_limiter(self.policy.execution)
            is_awaited = sys.stdin.isatty() and sys.stderr.isatty()
            patience_s = _PATIENCE_S if is_awaited else math.inf
            clients: dict[str, AtlasClient] = {}  # by the name of their credentials
            for name, credentials in self.credentials().items():
                http = await stack.enter_async_context(open_http(base_url, connector))
                client = AtlasClient(
                    http,
                    credentials,
                    execution=self.policy.execution,
                    limiter=limiter,
                    clock=self.current_time,
                    log=self.log,
                    retry_until_s=clock.seconds() + retry_for_s,
                    answer_until_s=clock.seconds() + patience_s,
                    read_again=partial(read_credentials, self.environment, suffix=name),
                )
                clients[name] = await stack.enter_async_context(client)
            yield tuple(self._organizations_of(clients, history))

    def _organizations_of(
        self, clients: Mapping[str, AtlasClient], history: History
    ) -> Iterator[AtlasOrganization]:
        """Yield the organizations of the policy, each with the client of its credentials."""
        names = history.organization_names()
        variables = credentials_variables(self.environment)
        for settings in self.policy.organizations:
            credentials = settings.credentials or ""
            yield AtlasOrganization(
                settings.id,
                clients[credentials],
                variables.get(credentials, ()),
                names.get(settings.id),
            )
