"""Command `doctor`: run the checks and show their results."""

import os
import shlex
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain, groupby

import typer
from rich.console import Console
from rich.text import Text

from invite_sweeper.atlas import Credentials, read_credentials
from invite_sweeper.audit import History, LogPath, RunLock
from invite_sweeper.audit.files import DEFAULT_LOG
from invite_sweeper.cli.console import run_async, stdout_console
from invite_sweeper.cli.doctor_outputs import file_checks, receiver_checks
from invite_sweeper.cli.json_output import write_json
from invite_sweeper.cli.options import DEFAULT_BASE_URL, LOGGED, Output, RunOptions, takes
from invite_sweeper.cli.run_session import RunSession, split_by_credentials
from invite_sweeper.cli.run_setup import CommandContext, plan_max_age
from invite_sweeper.doctor import log, organization, setup
from invite_sweeper.doctor.checks import AtlasChecks
from invite_sweeper.doctor.diagnosis import (
    Check,
    CheckState,
    Completeness,
    Diagnosis,
    failed,
    ok,
    warning,
)
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import RunError, UsageError
from invite_sweeper.policy import Execution, Policy, loader
from invite_sweeper.program import command
from invite_sweeper.report.tables import RightTrimmed, two_columns
from invite_sweeper.report.webhooks import register_secrets
from invite_sweeper.sweep.previous_runs import read_previous_runs
from invite_sweeper.text import escape_unprintable, organization_label

app = typer.Typer(rich_markup_mode=None)


@app.command()
@takes(
    RunOptions,
    "policy",
    "base_url",
    "audit_log",
    "out",
    "metrics_file",
    "pushgateway",
    *LOGGED,
)
def doctor(options: RunOptions) -> None:
    """Check that a sweep can run.

    Checks everything that a sweep with these options opens or asks: policy, credentials,
    roles, clock, rate limits, audit log, output files and receivers; changes nothing. Exit
    code 0: no problems. Exit code 4: warnings only. Otherwise: the code that a sweep would end
    with.

    Example: invite-sweeper doctor --policy config/policy.yaml
    """
    diagnosis = run_checks(options)
    if options.output is Output.JSON:
        write_json(diagnosis.result())
    else:
        show(stdout_console(), diagnosis, quiet=options.quiet)
    raise typer.Exit(diagnosis.exit_code)


_RETRY_S = 120.0


def run_checks(options: RunOptions, environment: Mapping[str, str] = os.environ) -> Diagnosis:
    """Run all checks; errors are returned as failed checks."""
    return run_async(_Doctor(options, environment).run())


class _Doctor:
    """Runs the checks; earlier ones set up what later ones need."""

    def __init__(self, options: RunOptions, environment: Mapping[str, str]) -> None:
        self._options = options
        self._policy: Policy | None = None
        self._policy_error: RunError | None = None
        try:
            self._policy = loader.load_policy(options.policy)
            register_secrets(self._policy.notify, environment)
        except RunError as error:
            self._policy_error = error
        execution = self._policy.execution if self._policy is not None else Execution()
        self._base_url_error: RunError | None = None
        try:
            self._session = RunSession(options, execution, environment)
        except UsageError as error:
            self._base_url_error = error
            without = options._replace(base_url=DEFAULT_BASE_URL)
            self._session = RunSession(without, execution, environment)
        self._parts: list[tuple[str, Policy | None, Credentials]] = []
        self._log_path: LogPath | None = None
        self._history: History | None = None
        self._names: dict[str, str] = {}
        self._completeness: list[Completeness] = []

    async def run(self) -> Diagnosis:
        """Return all checks, in order."""
        with self._session.last_resort, self._session.working():
            checks = await self._session.stop.run_unless_stopped(self._check_all())
        organizations = self._policy.organizations if self._policy is not None else ()
        names = {each.id: self._names.get(each.id) for each in organizations}
        return Diagnosis(self._session.now, checks, names, self._completeness)

    async def _check_all(self) -> list[Check]:
        return [
            *self._check_policy(),
            *self._check_credentials(),
            *self._check_audit_log(),
            *self._check_files(),
            *[check async for check in self._check_receivers()],
            *self._check_notice(),
            *[check async for check in self._check_atlas()],
        ]

    def _check_policy(self) -> Iterator[Check]:
        if self._policy is not None:
            yield from setup.policy_checks(self._policy, self._options.policy, self._session.now)
        elif self._policy_error is not None:
            found = failed("policy", self._policy_error)
            # The check has only the number of errors.
            validate = command("validate", str(self._options.policy))
            yield found if found.hint else replace(found, hint=f"List them with: {validate}")

    def _check_credentials(self) -> Iterator[Check]:
        if self._base_url_error is None:
            yield ok("base URL", f"Requests go to {self._session.base_url}.")
        else:
            yield failed("base URL", self._base_url_error)
        parts = [("", None)] if self._policy is None else split_by_credentials(self._policy)
        for name, part in parts:
            try:
                credentials = read_credentials(self._session.environment, suffix=name)
            except RunError as error:
                yield _with_credentials_name(name, failed("credentials", error))
                continue
            self._parts.append((name, part, credentials))
            check = setup.credentials_check(credentials, self._session.now)
            yield _with_credentials_name(name, check)

    def _check_audit_log(self) -> Iterator[Check]:
        configured_path = self._policy.audit.path if self._policy is not None else str(DEFAULT_LOG)
        try:
            log_path = self._log_path = LogPath.from_option(
                self._options.audit_log, configured_path
            )
        except RunError as error:
            yield failed("audit log", error)
            return
        lock = RunLock(log_path.lock_path, now=self._session.now, command=shlex.join(sys.argv))
        yield log.lock_check(lock, log_path.lock_path)
        check, self._history = log.earlier_run_check(partial(read_previous_runs, log_path))
        yield check
        path = log_path.path_of_run(now=self._session.now, run_id="run")
        yield from log.log_end_checks(log_path, path)
        yield from log.audit_checks(path)

    def _check_files(self) -> Iterator[Check]:
        policy, log_path = self._policy, self._log_path
        if policy is None or log_path is None:
            return
        max_age = plan_max_age(self._options)
        yield from file_checks(CommandContext(self._session, policy, None, log_path, max_age))

    async def _check_receivers(self) -> AsyncIterator[Check]:
        channels = self._policy.notify if self._policy is not None else ()
        environment = self._session.environment
        async for found in receiver_checks(channels, self._options, environment):
            yield found

    async def _check_atlas(self) -> AsyncIterator[Check]:
        if self._base_url_error is not None or not self._parts:
            yield warning(
                "Atlas", "Not called: the base URL or the credentials are missing or invalid."
            )
            return
        groups = [await self._check_with_credentials(*part) for part in self._parts]
        is_partial = not all(
            any(check.state is CheckState.FAILED for check in group) for group in groups
        )
        for found in chain.from_iterable(groups):
            # Some organizations would be swept, so the sweep would end with 4.
            fails = is_partial and found.state is CheckState.FAILED
            yield replace(found, exit_code=ExitCode.PARTIAL) if fails else found

    async def _check_with_credentials(
        self, name: str, part: Policy | None, credentials: Credentials
    ) -> list[Check]:
        try:
            async with self._session.connect(credentials, retry_for_s=_RETRY_S) as connection:
                atlas_checks = AtlasChecks(
                    connection,
                    part,
                    self._session.now,
                    self._history or History(),
                    str(self._session.base_url),
                )
                checks = [_with_credentials_name(name, each) for each in await atlas_checks.run()]
                self._names |= atlas_checks.names
                self._completeness += atlas_checks.completeness
                return [self._with_organizations(each, part) for each in checks]
        except UsageError as error:
            return [_with_credentials_name(name, failed("proxy", error))]

    def _with_organizations(self, check: Check, part: Policy | None) -> Check:
        """Return the check with the organizations of its credentials, if there are several."""
        if part is None or len(self._parts) == 1:
            return check
        ids = (each.id for each in part.organizations)
        labels = ", ".join(organization_label(each, self._names.get(each)) for each in ids)
        return replace(check, organizations=labels)

    def _check_notice(self) -> Iterator[Check]:
        policy, history = self._policy, self._history
        if policy is not None and policy.notice is not None and history is not None:
            announced = history.announcements(str(self._session.base_url))
            now, wait = self._session.now, policy.notice.wait
            yield organization.notice_check(wait, announced, policy.organization_ids, now)


def _with_credentials_name(name: str, check: Check) -> Check:
    """Return the check with the name of its credentials, if the policy names them."""
    return replace(check, name=f"{check.name} ({name})") if name else check


_STYLES = {
    CheckState.OK: "green",
    CheckState.NOTE: "cyan",
    CheckState.WARNING: "yellow",
    CheckState.FAILED: "bold red",
}
_WIDTH = max(map(len, CheckState))


def show(console: Console, diagnosis: Diagnosis, *, quiet: bool = False) -> None:
    """Write each check with its hint below, and the verdict; control characters are escaped.

    With several sets of credentials, the checks of each have a heading with its organizations.

    A terminal gets lines that are wrapped at words; elsewhere each check is one line. `quiet`
    leaves out what is right, and the verdict if everything is.
    """
    checks = [each for each in diagnosis.checks if not quiet or each.needs_attention]
    if quiet and not checks:
        return
    for organizations, group in groupby(checks, key=lambda check: check.organizations):
        if organizations:
            heading = Text(escape_unprintable(f"organization {organizations}"), "bold")
            console.print(heading, soft_wrap=not console.is_terminal)
        _show_rows(console, group)
    console.print(
        Text(escape_unprintable(diagnosis.verdict), "bold"), soft_wrap=not console.is_terminal
    )


def _show_rows(console: Console, checks: Iterable[Check]) -> None:
    rows = []
    for check in checks:
        name, message = f"{check.name}: ", escape_unprintable(check.message)
        rows.append(
            (
                Text(f"{check.state:<{_WIDTH}}", _STYLES[check.state]),
                Text.assemble((name, "bold"), message),
            )
        )
        if check.hint:
            rows.append((Text(" " * _WIDTH), Text(escape_unprintable(check.hint))))
    if console.is_terminal:
        console.print(RightTrimmed(two_columns(rows)))
    else:
        for row in rows:
            console.print(Text("  ").join(row), soft_wrap=True)
