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
from typing import Final, TypeVar

import structlog
from rich.console import Console

from invite_sweeper import clock
from invite_sweeper.atlas.credentials import credentials_variables, read_credentials
from invite_sweeper.atlas.deleter import AtlasClient, open_limiter
from invite_sweeper.atlas.http import open_connector, open_http, parse_base_url
from invite_sweeper.audit import AuditLog, History
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.reader import LogReader
from invite_sweeper.audit.search import read_all
from invite_sweeper.cli.options import check_has_no_secret
from invite_sweeper.cli.settings import Settings
from invite_sweeper.cli.streams import OUTPUTS, audit_copy, coloured, fit_terminal
from invite_sweeper.errors import DamagedLog
from invite_sweeper.last_resort import LastResort
from invite_sweeper.shutdown import StopRequest, handle_signals
from invite_sweeper.sweep.plan import AtlasOrganization
from invite_sweeper.text import describe_duration, escape_unprintable

_T = TypeVar("_T")
_COLOURS: Final = {"error": "red", "warning": "yellow"}
_PATIENCE_S: Final = 10.0
"""How long a person at a terminal waits for the first response: the address may be wrong. A
scheduled run outlasts a minute in which Atlas or the proxy is not reachable."""


def _terminal() -> Console | None:
    """Return the terminal of stderr; None where it is not one, or a dumb one."""
    if not sys.stderr.isatty():
        return None
    console = Console(stderr=True)
    # On a dumb terminal, each bar would be an empty line.
    return None if console.is_dumb_terminal else console


class Session:
    """The process at work: log, stop, the run's file, the clients.

    Attributes:
        terminal: Where progress is shown; None for log lines.
        stop: Requested by a signal, and when the deadline has passed.
        last_resort: Ends the process if it outlives the deadline while it is at work.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        options = settings.options
        quiet = options.quiet or options.is_demo
        self.terminal = None if quiet else _terminal()
        self.log = configure_logging(
            quiet=quiet, verbose=options.verbose, log_format=options.log_format
        )
        self.stop = StopRequest()
        execution = settings.policy.execution
        self.last_resort = LastResort(
            started_s=settings.started_s,
            deadline_s=execution.deadline.total_seconds(),
            grace_s=execution.grace.total_seconds(),
            as_json=options.output == "json",
        )
        self._reported_damages: set[str] = set()

    @contextmanager
    def working(self, *, locked: bool = False) -> Iterator[None]:
        """Request a stop on a signal or at the deadline; hold the lock of the audit directory.

        Args:
            locked: Whether the lock is needed: the command writes there.
        """
        settings = self.settings
        deadline = settings.policy.execution.deadline
        too_late = f"the deadline of {describe_duration(deadline)} passed"
        lock = settings.directory.lock.hold(
            run_id=settings.run_id, now=settings.now, command=shlex.join(sys.argv)
        )
        with (
            self.last_resort,
            handle_signals(self.stop, self.log, self.last_resort),
            self.stop.at_deadline(settings.started_s + deadline.total_seconds(), too_late),
            lock if locked else nullcontext(),
        ):
            yield

    # Earlier runs, for a command that does not judge by them.

    def read_sound_history(self) -> History:
        """Return what earlier runs did, as far as the log is sound, for a command that only reads.

        It warns of a damaged log, of which the history has what precedes the damage, and of a file
        that is missing.
        """
        history = History()
        try:
            self.settings.add_history(history)
            self.warn_of_missing_files()
        except DamagedLog as error:
            self._warn_of_damage(error)
        return history

    def warn_of_missing_files(self) -> None:
        """Warn of what the audit directory does not have of earlier runs; raises as its reader."""
        for warning in self.settings.directory.warnings_of_missing_files():
            self.log.warning(warning.message)

    def read_runs(self, read: Callable[[FileChain], Iterable[_T]]) -> Iterator[_T]:
        """Yield what is read of the runs of the directory; as `read_sound_history`, it warns."""
        directory = self.settings.directory
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

    # The file of this run, and the clients.

    @asynccontextmanager
    async def open_log(self) -> AsyncIterator[AuditLog]:
        """Yield the log of this run, whose lock is held; warn of a failed copy."""
        settings = self.settings
        # By now, the secrets are known that the policy and the options name, too.
        check_has_no_secret(settings.options.policy, settings.policy.text)
        copy = audit_copy() if settings.policy.audit.stdout else None
        # The lines have the time of the machine: only `now` was compared with Atlas's.
        machine_time = partial(datetime.now, UTC)
        log = AuditLog(settings.directory, settings.run_id, clock=machine_time, copy=copy)
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
        settings = self.settings
        base_url = parse_base_url(settings.base_url)
        async with AsyncExitStack() as stack:
            connector = await stack.enter_async_context(open_connector())
            limiter = open_limiter(settings.policy.execution)
            is_awaited = sys.stdin.isatty() and sys.stderr.isatty()
            patience_s = _PATIENCE_S if is_awaited else math.inf
            clients: dict[str, AtlasClient] = {}  # by the name of their credentials
            for name, credentials in settings.credentials().items():
                http = await stack.enter_async_context(open_http(base_url, connector))
                client = AtlasClient(
                    http,
                    credentials,
                    execution=settings.policy.execution,
                    limiter=limiter,
                    clock=settings.current_time,
                    log=self.log,
                    retry_until_s=clock.seconds() + retry_for_s,
                    answer_until_s=clock.seconds() + patience_s,
                    read_again=partial(read_credentials, settings.environment, suffix=name),
                )
                clients[name] = await stack.enter_async_context(client)
            yield tuple(self._organizations_of(clients, history))

    def _organizations_of(
        self, clients: Mapping[str, AtlasClient], history: History
    ) -> Iterator[AtlasOrganization]:
        """Yield the organizations of the policy, each with the client of its credentials."""
        names = history.organization_names()
        variables = credentials_variables(self.settings.environment)
        for organization in self.settings.policy.organizations:
            credentials = organization.credentials or ""
            yield AtlasOrganization(
                organization.id,
                clients[credentials],
                variables.get(credentials, ()),
                names.get(organization.id),
            )


def configure_logging(
    *, quiet: bool, verbose: bool, log_format: str = "auto"
) -> structlog.typing.FilteringBoundLogger:
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
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind()
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
