"""Command `doctor`: the steps of a sweep, and where it would stop."""

import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.text import Text

from invite_sweeper.atlas.credentials import CredentialsKind
from invite_sweeper.audit import History
from invite_sweeper.cli.console import run_async, stdout_console, write_json
from invite_sweeper.cli.doctor_atlas import AtlasChecks, Check, Checks, CheckState, Completeness
from invite_sweeper.cli.options import (
    CONNECTED,
    INTEGRATION,
    Command,
    Output,
    RunOptions,
    option,
    options,
)
from invite_sweeper.cli.session import Session
from invite_sweeper.cli.sweep import check_outputs
from invite_sweeper.endings import ExitCode, WarningLevel
from invite_sweeper.errors import RunError
from invite_sweeper.files import check_writable, regular_file_target, write_error
from invite_sweeper.models import OrganizationName
from invite_sweeper.policy import load_policy
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.metrics import check_gateway_url
from invite_sweeper.report.notify import (
    LIMIT_S,
    Message,
    NotSent,
    check_message,
    open_session,
    register_secrets,
    request,
)
from invite_sweeper.report.story import tell
from invite_sweeper.report.terminal import print_trimmed, two_columns
from invite_sweeper.text import escape_unprintable, organization_label, plural_form, pluralize

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
    organizations: Sequence[OrganizationName]
    checks: Sequence[Check]
    completeness: Sequence[Completeness]
    exit_code: int

    @classmethod
    def of(
        cls,
        checks: Sequence[Check],
        organizations: Sequence[OrganizationName] = (),
        completeness: Sequence[Completeness] = (),
    ) -> "DiagnosisResult":
        """Return the result of these checks, with the verdict."""
        failed = [each for each in checks if each.state is CheckState.FAILED]
        warnings = sum(each.state is CheckState.WARNING for each in checks)
        code = ExitCode.PARTIAL if warnings else ExitCode.DONE
        code = ExitCode(failed[0].exit_code) if failed else code
        counts = [pluralize(warnings, "warning")] if warnings else []
        counts += [f"{len(failed)} failed"] if failed else []
        named = ", ".join(organization_label(each.id, each.name) for each in organizations)
        if len(organizations) > _MAX_NAMED:
            named = f"{len(organizations)} organizations"
        does = "run"
        if failed:
            does = f"end with exit code {code} ({code.label})"
        elif warnings:
            does = "run, but may not do everything that is expected"
        found = ", ".join(counts) or "All checks passed"
        verdict = f"{found}: a sweep{f' of {named}' if named else ''} would {does}."
        return cls(datetime.now(UTC), verdict, organizations, checks, completeness, code)


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
    step = "policy"
    try:
        policy = load_policy(options.policy)
        step = "base URL"
        session = Session(options, policy, environment)
    except RunError as error:
        checks.failed(step, error)
        return DiagnosisResult.of(checks.found)
    register_secrets(policy.notify, environment)
    with session.working():
        steps = _Doctor(checks, session, notify=notify).run()
        return await session.stop.run_unless_stopped(steps)


class _Doctor:
    """The steps of a sweep on this machine; those that call Atlas are `AtlasChecks`."""

    def __init__(self, checks: Checks, session: Session, *, notify: bool) -> None:
        self._checks = checks
        self._session = session
        self._policy = session.policy
        self._notify = notify

    async def run(self) -> DiagnosisResult:
        """Take each step; an error is a failed check, and the next one is taken."""
        checks, session, policy = self._checks, self._session, self._policy
        checks.add("base URL", f"Requests go to {session.base_url}.")
        entries = pluralize(len(policy.keep), "keep entry", "keep entries")
        checks.add(
            "policy",
            f"{session.options.policy} is valid: {pluralize(len(policy.rules), 'rule')}, "
            f"{entries}, sources {', '.join(policy.sources)} (SHA-256 {policy.sha256}).",
        )
        for sentence in policy.warnings(session.now.date()):
            checks.add("policy", sentence, warns=True)
        self._check_files()
        with checks.step("audit directory"):
            self._check_directory()
        history = History()
        with checks.step("earlier runs"):
            history = session.read_history()
            self._check_earlier_runs(history)
        await self._check_receivers()
        names = [OrganizationName(each.id, None) for each in policy.organizations]
        completeness: list[Completeness] = []
        with checks.step("credentials"):
            for name, each in session.credentials().items():
                checks.add(f"credentials {name}".rstrip(), _KINDS[each.kind].format(each.actor))
            with checks.step("proxy"):
                async with session.organizations(history, retry_for_s=_RETRY_S) as organizations:
                    dry_run = session.command(history, dry_run=True)
                    atlas = AtlasChecks(checks, dry_run, organizations, session.log)
                    await atlas.run()
                    names = [OrganizationName(one.id, one.name) for one in organizations]
                    completeness = atlas.completeness
        return DiagnosisResult.of(checks.found, names, completeness)

    def _check_files(self) -> None:
        """Check the files beside the audit directory as a sweep does before it reads anything."""
        checks, options = self._checks, self._session.options
        with checks.step("outputs"):
            check_outputs(self._session)
        if options.out is not None:
            with checks.step("plan"):
                check_writable(options.out, "The plan")
                checks.add("plan", f"{options.out} can be written.")
        path, what = options.metrics_file, "The metrics file"
        if path is not None:
            try:
                if regular_file_target(path) is not None:  # a pipe is not replaced
                    check_writable(path, what)
                checks.add("metrics file", f"{path} can be written.")
            except (OSError, RunError) as error:  # a sweep runs without its metrics
                lost = error if isinstance(error, RunError) else write_error(what, path, error)
                checks.add("metrics file", lost.message, lost.hint, warns=True)

    def _check_directory(self) -> None:
        checks, path = self._checks, self._session.directory.path
        self._session.directory.check()
        existing = next(each for each in (path, *path.parents) if each.exists())
        free_bytes = shutil.disk_usage(existing).free
        mode = stat.S_IMODE(existing.stat().st_mode)
        text = f"{path} is writable, and no run holds its lock."
        if free_bytes < _MIN_FREE_BYTES:
            text = f"{path} has only {free_bytes // 1024:,} KiB of free disk space."
            checks.add("audit directory", text, "Free disk space.", warns=True)
            return
        if existing != path:
            text = f"{path} does not exist yet; a run makes it, with access for this user only."
        elif mode & _GROUP_AND_OTHERS:
            text += f" Others have access ({mode:04o})."
        checks.add("audit directory", text)

    def _check_earlier_runs(self, history: History) -> None:
        """Check where the next run goes on, how the last one ended, and what is announced."""
        checks, name = self._checks, "earlier runs"
        self._session.directory.next_run()
        for warning in self._session.directory.warnings():
            if warning.level != WarningLevel.REMARK:
                hint = "Restore the file from a copy, if it is not lost."
                checks.add(name, warning.message, hint, warns=True)
        if not history.runs:
            checks.add(name, "None yet.")
            return
        last = history.runs[-1]
        story = tell(last, self._session.advisor)
        text, hint = f"{story.headline.label}: {story.headline.text}.", ""
        may_repeat = last.end is None or last.exit_code == ExitCode.REFUSED
        if may_repeat:
            text, hint = story.attention[0].text, story.attention[0].advice
        checks.add(name, f"The last run, {last.run_id}: {text}", hint, warns=may_repeat)
        if (notice := self._policy.notice) is not None:
            announced = history.announcements(str(self._session.base_url)).items()
            own = self._policy.organization_ids
            now = self._session.now
            held = [at for (_, org_id, *_), at in announced if org_id in own and at <= now]
            due = sorted(at + notice.wait for at in held)
            waiting = [each for each in due if each > now]
            until = f", the first until {waiting[0]:%Y-%m-%d %H:%M} UTC" if waiting else ""
            text = f"{pluralize(len(waiting), 'announced invitation')} "
            text += f"{plural_form(len(waiting), 'waits', 'wait')}{until}"
            over = pluralize(len(due) - len(waiting), "other")
            checks.add("notice", f"{text}; the notice of {over} is over.")

    async def _check_receivers(self) -> None:
        """Check that each receiver can be reached, or gets a test message."""
        checks, session, gateway = self._checks, self._session, self._session.options.pushgateway
        reached = "Its host can be reached."
        async with open_session(LIMIT_S) as http:
            for channel in self._policy.notify:
                name = f"{channel.kind} ({channel.url_env})"
                try:
                    message = check_message(channel, session.environment, session.now)
                    await request(
                        http, "POST" if self._notify else "HEAD", message, channel.url_env
                    )
                except NotSent as error:
                    text = f"Would not be notified: {error}."
                    checks.add(name, text, error.fix, warns=True)
                else:
                    text = "It accepted a test message." if self._notify else reached
                    checks.add(name, text)
            if gateway is None:
                return
            with checks.step("pushgateway"):
                SECRETS.add_user_info(gateway)
                check_gateway_url(gateway)
                try:
                    await request(http, "HEAD", Message(gateway), "--pushgateway")
                except NotSent as error:
                    text = f"Would not get the metrics: {error}."
                    checks.add("pushgateway", text, error.fix, warns=True)
                else:
                    checks.add("pushgateway", f"{reached} Nothing was pushed.")


_KINDS: Final = {
    CredentialsKind.SERVICE_ACCOUNT: "Service account {}; a run requests and revokes a token.",
    CredentialsKind.API_KEY: "API key {}; it does not expire.",
    CredentialsKind.ACCESS_TOKEN: "Access token; it is not renewed.",
}
_STYLES: Final = {
    CheckState.OK: "green",
    CheckState.WARNING: "yellow",
    CheckState.FAILED: "bold red",
}
_WIDTH: Final = max(map(len, CheckState))
_UNWRAPPED: Final = 1_000_000


def show(console: Console, result: DiagnosisResult, *, quiet: bool = False) -> None:
    """Write each check with its hint below, and the verdict; control characters are escaped.

    With several organizations, the checks of each have a heading. A terminal gets lines that are
    wrapped at words; elsewhere no line is.

    Args:
        quiet: Leave out what is right, and the verdict if everything is.
    """
    checks = [each for each in result.checks if not quiet or each.state is not CheckState.OK]
    if quiet and not checks:
        return
    if not console.is_terminal:
        console.width = _UNWRAPPED
    labels = {each.id: organization_label(each.id, each.name) for each in result.organizations}
    for org_id, group in groupby(checks, key=lambda check: check.organization):
        if org_id is not None and len(labels) > 1:
            console.print(Text(escape_unprintable(f"organization {labels[org_id]}"), "bold"))
        print_trimmed(console, two_columns(map(_row, group), width=_WIDTH))
    console.print(Text(escape_unprintable(result.verdict), "bold"))


def _row(check: Check) -> tuple[Text, Text]:
    lines = filter(None, (*check.message.split("\n"), check.hint))
    text = "\n".join(map(escape_unprintable, lines))
    return Text(check.state, _STYLES[check.state]), Text.assemble(
        (f"{check.check}: ", "bold"), text
    )
