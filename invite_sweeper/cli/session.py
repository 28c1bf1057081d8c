"""A process at work: signals, deadline, lock, log on stderr, the file of its run, clients."""

import asyncio
import logging
import math
import shlex
import sys
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import structlog
from rich.console import Console
from structlog.typing import FilteringBoundLogger
from yarl import URL

from invite_sweeper import clock
from invite_sweeper.atlas.credentials import credentials_variables
from invite_sweeper.atlas.deleter import AtlasClient, open_limiter
from invite_sweeper.atlas.http import open_connector, open_http
from invite_sweeper.audit import AuditDirectory, AuditLog
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.reader import LogReader
from invite_sweeper.audit.search import read_all
from invite_sweeper.cli.command import check_command, credentials_of, read_history
from invite_sweeper.cli.options import check_has_no_secret
from invite_sweeper.cli.streams import OUTPUTS, audit_copy, coloured, fit_terminal
from invite_sweeper.errors import DamagedLog
from invite_sweeper.shutdown import StopRequest, handle_signals
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.plan import AtlasOrganization
from invite_sweeper.text import describe_duration, escape_unprintable

_T = TypeVar("_T")
_COLOURS: Final = {"error": "red", "warning": "yellow"}


def _terminal() -> Console | None:
    """Return the terminal of stderr; None where it is not one, or a dumb one."""
    if not sys.stderr.isatty():
        return None
    console = Console(stderr=True)
    # On a dumb terminal, each bar would be an empty line.
    return None if console.is_dumb_terminal else console


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """The process at work: its streams, log, terminal and signals.

    Attributes:
        log: Of the program, on stderr; the audit log is separate.
        terminal: Where progress is shown; None for log lines.
        prints_json: Whether the result on stdout is JSON.
        quiet: Whether only what needs attention is printed.
        asks: Whether a question is asked before something is deleted or sent.
        is_demo: Not an option: print neither progress nor messages below a warning, and no command
            that applies the plan, because its Atlas ends with the demo.
        shows_ids: Whether tables have ids, as with `-v`.
        stop: Requested by a signal, and when the deadline has passed.
    """

    environment: Mapping[str, str]
    log: FilteringBoundLogger
    terminal: Console | None
    prints_json: bool
    quiet: bool
    asks: bool
    is_demo: bool
    shows_ids: bool
    stop: StopRequest = msgspec.field(default_factory=StopRequest)
    _reported_damages: set[str] = msgspec.field(default_factory=set)

    @contextmanager
    def working(self, command: Command, *, locked: bool = False) -> Iterator[None]:
        """Request a stop on a signal or at the deadline; hold the lock of the audit directory.

        Args:
            locked: Whether the lock is needed: the command writes there.
        """
        deadline = command.policy.execution.deadline
        too_late = f"the deadline of {describe_duration(deadline)} passed"
        lock = command.directory.lock.hold(
            run_id=command.run_id, now=command.now, command=shlex.join(sys.argv)
        )
        with (
            handle_signals(self.stop, self.log),
            self.stop.at_deadline(command.started_s + deadline.total_seconds(), too_late),
            lock if locked else nullcontext(),
        ):
            yield

    # Earlier runs, for a command that does not judge by them.

    def read_sound_history(self, command: Command) -> None:
        """Add to a command what earlier runs did, as far as the log is sound; it only reads.

        It warns of a damaged log, of which the history has what precedes the damage, and of a file
        that is missing.
        """
        try:
            read_history(command)
            self.warn_of_missing_files(command.directory)
        except DamagedLog as error:
            self._warn_of_damage(error)

    def warn_of_missing_files(self, directory: AuditDirectory) -> None:
        """Warn of what the audit directory does not have of earlier runs; raises as its reader."""
        for warning in directory.warnings_of_missing_files():
            self.log.warning(warning.message)

    def read_runs(
        self, directory: AuditDirectory, read: Callable[[FileChain], Iterable[_T]]
    ) -> Iterator[_T]:
        """Yield what is read of the runs of a directory; as `read_sound_history`, it warns."""
        try:
            reader = directory.reader()
        except DamagedLog as error:  # HEAD
            self._warn_of_damage(error)
            reader = LogReader(directory.files())
        yield from read_all(reader, read, self._warn_of_damage)

    def _warn_of_damage(self, error: DamagedLog) -> None:
        """Warn of a damage, once of each."""
        if error.message not in self._reported_damages:
            self._reported_damages.add(error.message)
            self.log.warning(
                "the audit log is damaged", reason=error.message, hint=error.parts()["hint"]
            )


def begin(
    environment: Mapping[str, str],
    *,
    output: str = "text",
    log_format: str = "auto",
    quiet: bool = False,
    verbose: bool = False,
    yes: bool = False,
    is_demo: bool = False,
    **options: Any,
) -> tuple[Command, Session]:
    """Return what a command is to do, and the process at work, from the options of the command.

    Args:
        options: Those of `check_command`.

    Raises:
        RunError: See `check_command`.
    """
    command = check_command(environment, **options)
    is_silent = quiet or is_demo
    prints_json = output == "json"
    session = Session(
        environment=environment,
        # From now on, errors have the form of the log.
        log=configure_logging(quiet=is_silent, verbose=verbose, log_format=log_format),
        terminal=None if is_silent else _terminal(),
        prints_json=prints_json,
        quiet=quiet,
        asks=sys.stdin.isatty() and not yes,
        is_demo=is_demo,
        shows_ids=verbose,
    )
    return command, session


# The file of this run, and the clients.


@asynccontextmanager
async def begin_log(command: Command, log: FilteringBoundLogger) -> AsyncIterator[AuditLog]:
    """Yield the file of this run, whose lock is held; warn of a failed copy."""
    policy = command.policy
    # By now, the secrets are known that the policy and the options name, too.
    check_has_no_secret(Path(command.policy_path), policy.text)
    copy = audit_copy() if policy.audit.stdout else None
    # The lines have the time of the machine: only `now` was compared with Atlas's.
    machine_time = partial(datetime.now, UTC)
    audit_log = AuditLog(command.directory, command.run_id, clock=machine_time, copy=copy)
    try:
        yield audit_log
    finally:
        await audit_log.close()
    failures = {
        "the copy of the audit log on standard output is incomplete; the file is complete": (
            audit_log.copy_failure
        ),
        "HEAD could not be written: the next run goes on after the last line of the file": (
            audit_log.head_failure
        ),
    }
    for text, failure in failures.items():
        if failure is not None:
            reason = getattr(failure, "strerror", None) or "it is closed"
            log.warning(text, reason=reason, audit_file=str(audit_log.file.path))


@asynccontextmanager
async def connect(
    command: Command,
    environment: Mapping[str, str],
    log: FilteringBoundLogger,
    *,
    retry_for_s: float = math.inf,
) -> AsyncIterator[Sequence[AtlasOrganization]]:
    """Yield the organizations of a command, each with the client of its credentials.

    Nothing is sent before a client is used. All clients share their connections and the rate
    limits: `max_requests_per_second` is a ceiling over all of them.

    Args:
        retry_for_s: How long requests are retried, at most as long as the command runs.
    """
    execution = command.policy.execution
    async with AsyncExitStack() as stack:
        connector = await stack.enter_async_context(open_connector())
        limiter = open_limiter(execution)
        clients: dict[str, AtlasClient] = {}  # by the name of their credentials
        for name, credentials in credentials_of(command, environment).items():
            http = await stack.enter_async_context(open_http(URL(command.base_url), connector))
            client = AtlasClient(
                http,
                credentials,
                execution=execution,
                limiter=limiter,
                clock=command.current_time,
                log=log,
                retry_until_s=clock.seconds() + retry_for_s,
            )
            clients[name] = await stack.enter_async_context(client)
        # An earlier run names the organizations until Atlas does.
        names = command.history.organization_names()
        variables = credentials_variables(environment)
        organizations: list[AtlasOrganization] = []
        for organization in command.policy.organizations:
            credentials_name = organization.credentials or ""
            organizations.append(
                AtlasOrganization(
                    organization.id,
                    clients[credentials_name],
                    variables.get(credentials_name, ()),
                    names.get(organization.id),
                )
            )
        yield organizations


def configure_logging(
    *, quiet: bool, verbose: bool, log_format: str = "auto"
) -> FilteringBoundLogger:
    """Configure and return the program's log; the audit log is separate."""
    level = logging.DEBUG if verbose else logging.INFO
    if quiet:
        level = logging.WARNING
    is_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if is_text else "iso", utc=True),
            # This formatter shows no local variables, tokens included, in tracebacks.
            structlog.processors.format_exc_info,
            _as_text if is_text else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _CurrentStderr(),
        cache_logger_on_first_use=False,
    )
    # Bound once: the logger that `get_logger` returns binds itself anew for each line.
    log: FilteringBoundLogger = structlog.get_logger().bind()
    OUTPUTS.json_log = None if is_text else log
    return log


class _CurrentStderr:
    """Writes log lines to stderr, which a progress bar replaces in order to write above itself."""

    def msg(self, line: str) -> None:
        """Write one line."""
        OUTPUTS.end_question()
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - the lines of the log

    debug = info = warning = error = msg


def _as_text(_log: object, _method: str, fields: structlog.typing.EventDict) -> str:
    """Return an entry as text: control characters are escaped, and no word is broken."""
    level = str(fields.pop("level"))
    when = fields.pop("timestamp")
    exception = str(fields.pop("exception", ""))
    event = str(fields.pop("event"))
    command = str(fields.pop("command", ""))
    others = [f"{name}={value}" for name, value in fields.items()]
    label = f"[{level:<7}]"
    start = f"{when} {label} "
    line = "  ".join((event, *others))
    text = fit_terminal(line, start, " " * len(start), command=command)
    if level in _COLOURS:
        text = text.replace(label, coloured(label, _COLOURS[level]), 1)
    lines = [text]
    lines += [escape_unprintable(line) for line in exception.splitlines()]
    return "\n".join(lines)


_loop_factory: Callable[[], asyncio.AbstractEventLoop] | None
"""That of uvloop if it is installed, else asyncio's default."""
try:
    from uvloop import new_event_loop as _loop_factory
except ImportError:
    _loop_factory = None


def run_async(main: Coroutine[object, object, _T]) -> _T:
    """Run a coroutine to its end and return its result."""
    with asyncio.Runner(loop_factory=_loop_factory) as runner:
        return runner.run(main)
