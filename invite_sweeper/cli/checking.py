"""The looks of `doctor`, in the order in which a sweep comes upon what they tell of."""

import os
import shlex
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from yarl import URL

from invite_sweeper.atlas import Credentials, credentials_from, parse_base_url
from invite_sweeper.atlas.client import connected
from invite_sweeper.audit import AuditLock, AuditTarget
from invite_sweeper.audit.paths import DEFAULT_LOG
from invite_sweeper.cli import messages
from invite_sweeper.cli.dividing import divided
from invite_sweeper.cli.loop import event_loop
from invite_sweeper.cli.order import RunOptions
from invite_sweeper.cli.precedents import Precedents
from invite_sweeper.cli.visiting import Visit
from invite_sweeper.doctor import (
    Check,
    Checkup,
    State,
    audit_checks,
    credentials_check,
    earlier_runs,
    failed,
    lock_check,
    ok,
    policy_checks,
    quarantine_check,
    warning,
)
from invite_sweeper.errors import ExitCode, RunError, UsageFault
from invite_sweeper.policy import Execution, Policy, loader

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
        self._log = messages.configure(quiet=options.quiet, verbose=options.verbose)
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
