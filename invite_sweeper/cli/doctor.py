"""Command `doctor`: the steps of a sweep, and where it would stop."""

import os
import shutil
import stat
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.text import Text

from invite_sweeper.atlas import ApiKey, Credentials, ServiceAccount
from invite_sweeper.audit import History, RunRecord
from invite_sweeper.cli.console import run_async, stdout_console, write_json
from invite_sweeper.cli.doctor_atlas import AtlasChecks, Check, Checks, CheckState, Completeness
from invite_sweeper.cli.options import (
    CONNECTED,
    DEFAULT_BASE_URL,
    INTEGRATION,
    Command,
    Output,
    RunOptions,
    option,
    options,
)
from invite_sweeper.cli.session import Session
from invite_sweeper.cli.sweep import check_outputs
from invite_sweeper.endings import UNFINISHED_ADVICE, ExitCode, WarningLevel
from invite_sweeper.errors import RunError, UsageError
from invite_sweeper.files import check_writable, regular_file_target
from invite_sweeper.models import OrganizationName
from invite_sweeper.policy import load_policy
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.metrics import check_gateway_url
from invite_sweeper.report.notify import (
    LIMIT_S,
    find_problem,
    open_session,
    reach,
    register_secrets,
)
from invite_sweeper.report.terminal import RightTrimmed, two_columns
from invite_sweeper.text import (
    describe_duration,
    escape_unprintable,
    organization_label,
    plural_form,
    pluralize,
)

_RETRY_S: Final = 120.0
_MIN_FREE_BYTES: Final = 100 * 1024 * 1024
_GROUP_AND_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_MAX_NAMED: Final = 3


@click.command(cls=Command)
@options(*CONNECTED[:3], "out", *CONNECTED[3:], "metrics_file", "pushgateway")
@option(INTEGRATION, "--notify", is_flag=True, help="Send a test message to each receiver.")
def doctor(notify: bool, **given: Any) -> None:  # noqa: ANN401
    """Check that a sweep can run.

    Takes the steps of a sweep with these options: policy, credentials, audit directory, files,
    receivers, roles, clock, limits. Deletes and writes nothing. Exit code 0: no problems. Exit
    code 4: warnings only. Otherwise: the code that a sweep would end with.

    Example: invite-sweeper doctor --policy config/policy.yaml
    """
    options = RunOptions(**given)
    result = run_async(diagnose(options, os.environ, notify=notify))
    if options.output is Output.JSON:
        write_json(result)
    else:
        show(stdout_console(), result, quiet=options.quiet)
    raise SystemExit(result.exit_code)


class DiagnosisResult(msgspec.Struct, frozen=True):
    """The result of `doctor`.

    Attributes:
        verdict: What the checks mean for the next sweep.
        completeness: Of each organization whose events could be read.
        exit_code: What a sweep would end with; 4 if there are only warnings.
    """

    now: datetime
    verdict: str
    organizations: list[OrganizationName]
    checks: list[Check]
    completeness: list[Completeness]
    exit_code: int

    @classmethod
    def of(
        cls,
        checks: Checks,
        organizations: Iterable[OrganizationName] = (),
        completeness: Iterable[Completeness] = (),
    ) -> "DiagnosisResult":
        """Return the result of these checks, with the verdict."""
        named = list(organizations)
        failed = [each.exit_code for each in checks.found if each.state is CheckState.FAILED]
        states = Counter(each.state for each in checks.found)
        warnings = states[CheckState.WARNING]
        code = ExitCode(failed[0] if failed else ExitCode.PARTIAL if warnings else ExitCode.DONE)
        counts = [pluralize(warnings, "warning")] if warnings else []
        counts += [f"{len(failed)} failed"] if failed else []
        where = ", ".join(organization_label(each.id, each.name) for each in named)
        of = f" of {where if len(named) <= _MAX_NAMED else f'{len(named)} organizations'}"
        end = f"a sweep{of if named else ''} would run"
        if failed:
            end = f"{end.removesuffix('run')}end with exit code {code} ({code.label})"
        elif warnings:
            end += ", but may not do everything that is expected"
        verdict = f"{', '.join(counts) or 'All checks passed'}: {end}."
        return cls(
            datetime.now(UTC), verdict, named, checks.found, list(completeness), exit_code=code
        )


async def diagnose(
    options: RunOptions, environment: Mapping[str, str], *, notify: bool = False
) -> DiagnosisResult:
    """Take the steps of a sweep and return a check for each; what would stop it has failed.

    Args:
        notify: Whether each receiver gets a test message.

    Raises:
        Interrupted: A signal or the deadline stopped the checks.
    """
    checks = Checks()
    try:
        policy = load_policy(options.policy)
    except RunError as error:
        checks.failed("policy", error)
        return DiagnosisResult.of(checks)
    register_secrets(policy.notify, environment)
    calls_atlas = True
    try:
        session = Session(options, policy, environment)
        checks.ok("base URL", f"Requests go to {session.base_url}.")
    except UsageError as error:
        checks.failed("base URL", error)
        calls_atlas = False
        session = Session(options._replace(base_url=DEFAULT_BASE_URL), policy, environment)
    with session.working():
        walk = _Doctor(checks, session, notify=notify)
        return await session.stop.run_unless_stopped(walk.run(calls_atlas=calls_atlas))


class _Doctor:
    """The steps of a sweep on this machine; those that call Atlas are `AtlasChecks`."""

    def __init__(self, checks: Checks, session: Session, *, notify: bool) -> None:
        self._checks = checks
        self._session = session
        self._policy = session.policy
        self._notify = notify

    async def run(self, *, calls_atlas: bool) -> DiagnosisResult:
        """Take each step; an error is a failed check, and the next one is taken."""
        checks, session, policy = self._checks, self._session, self._policy
        history, has_credentials = History(), False
        with checks.step("policy"):
            self._check_policy()
        with checks.step("credentials"):
            for name, each in session.credentials().items():
                checks.ok(f"credentials {name}".rstrip(), _describe_credentials(each))
            has_credentials = True
        self._check_files()
        with checks.step("audit directory"):
            self._check_directory()
        with checks.step("earlier runs"):
            history = session.read_history()
            self._check_earlier_runs(history)
        await self._check_receivers()
        names = [OrganizationName(each.id, None) for each in policy.organizations]
        completeness: list[Completeness] = []
        if not (calls_atlas and has_credentials):
            text = "Not called: the base URL or the credentials are missing or invalid."
            checks.warning("Atlas", text)
            return DiagnosisResult.of(checks, names)
        with checks.step("proxy"):
            async with session.organizations(history, retry_for_s=_RETRY_S) as organizations:
                dry_run = session.command(history, dry_run=True)
                atlas = AtlasChecks(checks, dry_run, organizations, session.log)
                await atlas.run()
                names = [OrganizationName(each.id, each.name) for each in organizations]
                completeness = atlas.completeness
        return DiagnosisResult.of(checks, names, completeness)

    def _check_policy(self) -> None:
        policy, checks = self._policy, self._checks
        entries = pluralize(len(policy.keep), "keep entry", "keep entries")
        checks.ok(
            "policy",
            f"{self._session.options.policy} is valid: {pluralize(len(policy.rules), 'rule')}, "
            f"{entries}, sources {', '.join(policy.sources)} (SHA-256 {policy.sha256}).",
        )
        for sentence in policy.warnings(self._session.now.date()):
            checks.warning("policy", sentence)

    def _check_files(self) -> None:
        """Check the files beside the audit directory as a sweep does before it reads anything."""
        checks, options = self._checks, self._session.options
        with checks.step("outputs"):
            check_outputs(self._session)
        if options.out is not None:
            with checks.step("plan"):
                check_writable(options.out, "The plan")
                checks.ok("plan", f"{options.out} can be written.")
        if (path := options.metrics_file) is not None:
            try:
                if regular_file_target(path) is not None:
                    check_writable(path, "The metrics file")
                checks.ok("metrics file", f"{path} can be written.")
            except OSError as error:
                checks.warning("metrics file", f"{path} cannot be written: {error.strerror}.")
            except UsageError as error:  # a sweep runs without its metrics
                checks.warning("metrics file", error.message, error.hint)

    def _check_directory(self) -> None:
        checks, path = self._checks, self._session.directory.path
        self._session.directory.check()
        existing = next(each for each in (path, *path.parents) if each.exists())
        free_bytes = shutil.disk_usage(existing).free
        mode = stat.S_IMODE(existing.stat().st_mode)
        if free_bytes < _MIN_FREE_BYTES:
            text = f"{path} has only {free_bytes // 1024:,} KiB of free disk space."
            checks.warning("audit directory", text, "Free disk space.")
        elif existing != path:
            text = f"{path} does not exist yet; a run makes it, with access for this user only."
            checks.ok("audit directory", text)
        elif mode & _GROUP_AND_OTHERS:
            text = f"{path} is writable, no run holds its lock; others have access ({mode:04o})."
            checks.ok("audit directory", text)
        else:
            text = f"{path} is writable and private to this user, and no run holds its lock."
            checks.ok("audit directory", text)

    def _check_earlier_runs(self, history: History) -> None:
        """Check where the next run goes on, how the last one ended, and what is announced."""
        checks, name = self._checks, "earlier runs"
        self._session.directory.next_run()
        for warning in self._session.directory.warnings():
            if warning.level != WarningLevel.REMARK:
                checks.warning(
                    name, warning.message, "Restore the file from a copy, if it is not lost."
                )
        last = history.runs[-1] if history.runs else None
        if last is None:
            checks.ok(name, "None yet.")
        elif last.end is None:
            opened = history.open_intents(str(self._session.base_url)).values()
            requests = pluralize(sum(map(len, opened)), "request")
            checks.warning(
                name,
                f"The last run, {last.run_id}, did not finish: it was killed or is still running.",
                f"{requests} without an outcome. {UNFINISHED_ADVICE}",
            )
        else:
            self._check_end(last)
        if self._policy.notice is not None:
            self._check_notice(history)

    def _check_end(self, last: RunRecord) -> None:
        """Repeat why the last run was refused: the next one may be, too."""
        end, code = last.end, last.exit_code
        text = f"The last run, {last.run_id} ({last.mode}), ended with exit code {code}"
        error = end.error if end is not None else None
        if code == ExitCode.REFUSED and error is not None:
            self._checks.warning("earlier runs", f"{text}: {error['message']}", error["hint"])
        else:
            self._checks.ok("earlier runs", f"{text}.")

    def _check_notice(self, history: History) -> None:
        """Show how many invitations wait by the policy's `notice`, and until when."""
        notice, now = self._policy.notice, self._session.now
        assert notice is not None  # noqa: S101 - the caller checked it
        announced = history.announcements(str(self._session.base_url))
        own = self._policy.organization_ids
        instants = [at for (_, org_id, *_), at in announced.items() if org_id in own]
        waiting = sorted(at for at in instants if now - notice.wait < at <= now)
        over = pluralize(sum(at <= now - notice.wait for at in instants), "other")
        until = (
            f", the first until {waiting[0] + notice.wait:%Y-%m-%d %H:%M} UTC" if waiting else ""
        )
        waits = f"{pluralize(len(waiting), 'announced invitation')} "
        waits += f"{plural_form(len(waiting), 'waits', 'wait')}{until}"
        self._checks.ok(
            "notice",
            f"An invitation is deleted {describe_duration(notice.wait)} after its announcement at "
            f"the earliest. {waits}; the notice of {over} is over.",
        )

    async def _check_receivers(self) -> None:
        """Check that each receiver can be reached, or gets a test message."""
        checks, session, gateway = self._checks, self._session, self._session.options.pushgateway
        done = "It accepted a test message." if self._notify else "Its host can be reached."
        async with open_session(LIMIT_S) as http:
            for channel in self._policy.notify:
                name = f"{channel.kind} ({channel.url_env})"
                problem, fix = await find_problem(
                    http, channel, session.environment, session.now, send=self._notify
                )
                if problem:
                    checks.warning(name, f"Would not be notified: {problem}", fix)
                else:
                    checks.ok(name, done)
            if gateway is None:
                return
            with checks.step("pushgateway"):
                SECRETS.add_user_info(gateway)
                check_gateway_url(gateway)
                failure = await reach(http, gateway)
                if failure is not None:
                    text = f"Would not get the metrics: {failure.host}: {failure.reason}."
                    checks.warning("pushgateway", text, failure.fix)
                else:
                    checks.ok("pushgateway", "Its host can be reached. Nothing was pushed.")


def _describe_credentials(credentials: Credentials) -> str:
    """Return the kind and name, never a secret."""
    match credentials:
        case ServiceAccount():
            return f"Service account {credentials.actor}; a run requests and revokes a token."
        case ApiKey():
            return f"API key {credentials.actor}; it does not expire."
        case _:
            return "Access token; it is not renewed."


_STYLES: Final = {
    CheckState.OK: "green",
    CheckState.WARNING: "yellow",
    CheckState.FAILED: "bold red",
}
_WIDTH: Final = max(map(len, CheckState))


def show(console: Console, result: DiagnosisResult, *, quiet: bool = False) -> None:
    """Write each check with its hint below, and the verdict; control characters are escaped.

    With several organizations, the checks of each have a heading. A terminal gets lines that are
    wrapped at words; elsewhere each check is one line.

    Args:
        quiet: Leave out what is right, and the verdict if everything is.
    """
    checks = [each for each in result.checks if not quiet or each.state is not CheckState.OK]
    if quiet and not checks:
        return
    wraps = console.is_terminal
    labels = {each.id: organization_label(each.id, each.name) for each in result.organizations}
    for org_id, group in groupby(checks, key=lambda check: check.organization):
        if org_id is not None and len(labels) > 1:
            heading = Text(escape_unprintable(f"organization {labels[org_id]}"), "bold")
            console.print(heading, soft_wrap=not wraps)
        _show_rows(console, list(group))
    console.print(Text(escape_unprintable(result.verdict), "bold"), soft_wrap=not wraps)


def _show_rows(console: Console, checks: Sequence[Check]) -> None:
    rows = []
    for check in checks:
        state = Text(f"{check.state:<{_WIDTH}}", _STYLES[check.state])
        first, *lines = check.message.split("\n")
        text = Text.assemble((f"{check.check}: ", "bold"), escape_unprintable(first))
        rows.append((state, text))
        more = filter(None, (*lines, check.hint))
        rows += [(Text(" " * _WIDTH), Text(escape_unprintable(line))) for line in more]
    if console.is_terminal:
        console.print(RightTrimmed(two_columns(rows)))
        return
    for row in rows:
        console.print(Text("  ").join(row), soft_wrap=True)
