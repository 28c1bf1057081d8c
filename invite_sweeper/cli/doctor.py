"""`doctor`: run the checks, and show them."""

import os
import shlex
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text
from yarl import URL

from invite_sweeper.atlas import AtlasClient, Credentials, credentials_from, parse_base_url
from invite_sweeper.atlas.client import connected
from invite_sweeper.audit import AuditLock, AuditTarget
from invite_sweeper.audit.paths import DEFAULT_LOG
from invite_sweeper.cli import console
from invite_sweeper.cli.console import event_loop, stdout_console
from invite_sweeper.cli.options import (
    DEFAULT_BASE_URL,
    DEFAULT_POLICY,
    AuditPath,
    BaseUrl,
    Format,
    Output,
    PolicyPath,
    Quiet,
    RunOptions,
    Verbose,
)
from invite_sweeper.cli.results import write_json
from invite_sweeper.cli.session import divided
from invite_sweeper.doctor import (
    Check,
    Checkup,
    State,
    atlas_trouble,
    audit_checks,
    clock_check,
    coverage_checks,
    credentials_check,
    earlier_runs,
    failed,
    list_checks,
    lock_check,
    ok,
    organization_checks,
    policy_checks,
    quarantine_check,
    rate_limit_checks,
    sunset_checks,
    warning,
)
from invite_sweeper.errors import ExitCode, RunError, UsageFault
from invite_sweeper.models import Project, Source
from invite_sweeper.policy import Execution, Policy, loader
from invite_sweeper.sweep.discovery import count_lists, survey
from invite_sweeper.sweep.previous_runs import Precedents
from invite_sweeper.sweep.scope import NotingScope, Territory
from invite_sweeper.text import counted, visible

app = typer.Typer(rich_markup_mode=None)

# `doctor`: everything that a sweep stands on, each line with its mend.


@app.command()
def doctor(
    policy: PolicyPath = DEFAULT_POLICY,
    base_url: BaseUrl = DEFAULT_BASE_URL,
    audit_log: AuditPath = None,
    output: Format = Output.TEXT,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Check that a sweep can run.

    Policy, credentials, roles, clock, limits, audit log. It reads only. Ends with 0 where all
    is well, with 4 where something is worth a look, and else with the code that a sweep would
    end with.

    Example: invite-sweeper doctor --policy config/policy.yaml
    """
    checkup = check(RunOptions(policy, base_url, audit_log=audit_log, quiet=quiet, verbose=verbose))
    if output is Output.JSON:
        write_json(checkup.to_json())
    else:
        show(stdout_console(), checkup)
    raise typer.Exit(checkup.exit_code)


# What `doctor` asks of Atlas: GETs alone, and what they tell.


_DEFAULT_SOURCES = (Source.INVITES,)


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit to Atlas.

    Attributes:
        policy: None where it has faults; then only what needs none is looked at.
    """

    connection: AtlasClient
    policy: Policy | None
    now: datetime

    async def checks(self) -> AsyncIterator[Check]:
        """Give one line after another; trouble ends it with a line of its own."""
        try:
            if self.policy is None:
                yield await self._in_sight()
            else:
                async for found in self._by_policy(self.policy):
                    yield found
            yield clock_check(self.connection.clock_skew_s)
            async for found in self._of_rate_limits():
                yield found
        except RunError as error:
            yield atlas_trouble(error)

    async def _in_sight(self) -> Check:
        seen = [each async for each in self.connection.reader.projects()]
        owners = sorted({each.org_id for each in seen if isinstance(each, Project)})
        return ok(
            "organizations",
            f"Atlas takes the credentials; {counted(len(seen), 'project')} "
            f"of {', '.join(owners) or 'none'}.",
        )

    async def _by_policy(self, policy: Policy) -> AsyncIterator[Check]:
        scope = NotingScope(policy)
        territory = await survey(self.connection.reader, scope)
        yield ok("access list", "Atlas takes the credentials from this address.")
        for found in organization_checks(policy, territory, scope.foreign):
            yield found
        for sentence in scope.unmatched_globs():
            yield warning("policy", sentence)
        async for found in self._of_lists(policy, territory, scope):
            yield found

    async def _of_lists(
        self, policy: Policy, territory: Territory, scope: NotingScope
    ) -> AsyncIterator[Check]:
        reader, workers = self.connection.reader, policy.execution.concurrency
        sources = tuple(policy.sources)
        others = [source for source in Source if source not in sources]
        covered = await count_lists(reader, territory.places(sources), workers=workers)
        covered.unreadable.extend(territory.unreadable)
        for found in list_checks(sources, covered, policy.limits):
            yield found
        unnamed = await count_lists(reader, territory.places(others), workers=workers)
        apart = replace(territory, projects=tuple(scope.left_alone), organizations=())
        outside = await count_lists(reader, apart.places(sources), workers=workers)
        in_scope = len(territory.projects)
        for found in coverage_checks(in_scope, scope.left_alone, outside, covered, unnamed):
            yield found
        for found in sunset_checks(self.connection.sunsets, sources, self.now.date()):
            yield found

    async def _of_rate_limits(self) -> AsyncIterator[Check]:
        policy = self.policy
        sources = tuple(policy.sources) if policy is not None else _DEFAULT_SOURCES
        reserve = (policy.execution if policy is not None else Execution()).reserve
        told = await self.connection.reader.rate_limits()
        for found in rate_limit_checks(told, sources, reserve):
            yield found


# The looks of `doctor`, in the order in which a sweep comes upon what they tell of.


_PATIENCE_S = 120.0


def check(options: RunOptions, environment: Mapping[str, str] = os.environ) -> Checkup:
    """Look at everything; what is wrong is in what it gives, and never raised."""
    box: list[Checkup] = []

    async def work() -> int:
        doctor = _Doctor(options, environment)
        box.append(Checkup(doctor.now, [check async for check in doctor.checks()]))
        return 0

    event_loop(work())
    return box[0]


class _Doctor:
    """What one checkup has found out so far."""

    def __init__(self, options: RunOptions, environment: Mapping[str, str]) -> None:
        self.now = datetime.now(UTC)
        self._options = options
        self._environment = environment
        self._log = console.configure(quiet=options.quiet, verbose=options.verbose)
        self._policy: Policy | None = None
        self._base_url: URL | None = None
        self._parts: list[tuple[str, Policy | None, Credentials]] = []
        self._target: AuditTarget | None = None

    async def checks(self) -> AsyncIterator[Check]:
        """Give one line after another."""
        for each in (self._of_policy, self._of_credentials, self._of_audit):
            for found in each():
                yield found
        async for found in self._of_atlas():
            yield found
        for found in self._of_quarantine():
            yield found

    def _of_policy(self) -> Iterator[Check]:
        try:
            self._policy = loader.read(self._options.policy)
        except RunError as error:
            found = failed("policy", error)
            yield found if found.hint else replace(found, hint=self._validate())
            return
        yield from policy_checks(self._policy, self._options.policy, self.now)

    def _validate(self) -> str:
        """Say where the faults are told, of which a line of the doctor's gives the number."""
        command = ["invite-sweeper", "validate", str(self._options.policy)]
        return f"See each, and its mend: {shlex.join(command)}"

    def _of_credentials(self) -> Iterator[Check]:
        try:
            self._base_url = parse_base_url(self._options.base_url)
            yield ok("base URL", f"Atlas is asked at {self._base_url}.")
        except RunError as error:
            yield failed("base URL", error)
        parts = [("", None)] if self._policy is None else divided(self._policy)
        for name, part in parts:
            try:
                credentials = credentials_from(self._environment, Path.read_bytes, suffix=name)
            except RunError as error:
                yield _named(name, failed("credentials", error))
                continue
            self._parts.append((name, part, credentials))
            yield _named(name, credentials_check(credentials, self.now))

    def _of_audit(self) -> Iterator[Check]:
        named = self._policy.audit.path if self._policy is not None else str(DEFAULT_LOG)
        try:
            target = self._target = AuditTarget.chosen(self._options.audit_log, named)
        except RunError as error:
            yield failed("audit log", error)
            return
        lock = AuditLock(target.lock_path, now=self.now, command=shlex.join(sys.argv))
        yield lock_check(lock, target.lock_path)
        yield from earlier_runs(target.files())
        yield from audit_checks(target.path(now=self.now, run_id="run"))

    async def _of_atlas(self) -> AsyncIterator[Check]:
        if self._base_url is None or not self._parts:
            yield warning("Atlas", "It was not asked: there is no address or no credentials.")
            return
        visits = [await self._visit(*part) for part in self._parts]
        partly = not all(any(c.state is State.FAILED for c in visit) for visit in visits)
        for found in chain.from_iterable(visits):
            # One organization that fails does not stop the others, and the whole ends with 4.
            fails = partly and found.state is State.FAILED
            yield replace(found, code=ExitCode.PARTLY) if fails else found

    async def _visit(self, name: str, part: Policy | None, credentials: Credentials) -> list[Check]:
        assert self._base_url is not None  # noqa: S101 - looked at by whoever calls
        try:
            async with connected(
                self._base_url,
                credentials,
                part.execution if part is not None else Execution(),
                deadline_s=time.monotonic() + _PATIENCE_S,
                shards=1,
                log=self._log,
            ) as connection:
                visit = Visit(connection, part, self.now)
                return [_named(name, found) async for found in visit.checks()]
        except UsageFault as error:
            return [_named(name, failed("proxy", error))]

    def _of_quarantine(self) -> Iterator[Check]:
        if self._policy is None or self._target is None:
            return
        try:
            last = Precedents.of(self._target).last_policy_sha256()
        except RunError:
            return  # said already
        yield quarantine_check(self._policy, last)


def _named(name: str, check: Check) -> Check:
    """Say which credentials of the policy a line is about, where it names any."""
    return replace(check, name=f"{check.name} ({name})") if name else check


# A checkup on the terminal.


_STYLES = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "bold red"}
_WIDTH = len(State.WARNING)


def show(console: Console, checkup: Checkup) -> None:
    """Write one line a check, its mend below it; names cannot move the cursor."""
    for check in checkup.checks:
        line = Text.assemble(
            (f"{check.state:<{_WIDTH}}", _STYLES[check.state]),
            (f"  {check.name}: ", "bold"),
            visible(check.message),
        )
        console.print(line, soft_wrap=True)
        if check.hint:
            console.print(Text(f"{'':<{_WIDTH}}  {visible(check.hint)}"), soft_wrap=True)
