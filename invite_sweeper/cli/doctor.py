"""Command `doctor`: the steps of a sweep, and where it would stop. Atlas gets GET requests only."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, Literal

import click
from typing_extensions import override

from invite_sweeper.atlas.credentials import CredentialsKind
from invite_sweeper.atlas.responses import is_role_missing
from invite_sweeper.audit.events import RunWarning
from invite_sweeper.audit.reader import read_run
from invite_sweeper.audit.record import Fold
from invite_sweeper.cli.command import credentials_of, read_history
from invite_sweeper.cli.options import CONNECTED, SectionedCommand, option, options
from invite_sweeper.cli.progress import Progress
from invite_sweeper.cli.session import Session, begin, connect, run_async
from invite_sweeper.cli.streams import OUTPUTS
from invite_sweeper.cli.sweep import check_outputs
from invite_sweeper.endings import ExitCode, WarningCode, WarningLevel
from invite_sweeper.errors import Interrupted, RunError
from invite_sweeper.files import check_writable
from invite_sweeper.json_text import json_line
from invite_sweeper.models import ListUnreadable, Project, Source
from invite_sweeper.report.document import describe_instant
from invite_sweeper.report.nights import (
    CHECK_SCHEDULE,
    DEFAULT_NIGHTS,
    NIGHT,
    describe_endings,
    night_run,
    nights_since_newest,
    recent_nights,
    were_all_done,
)
from invite_sweeper.report.notify import check_message, receiver_name
from invite_sweeper.report.people import OrganizationName
from invite_sweeper.report.sending import Message, NotSent, open_session, request
from invite_sweeper.report.story import describe_stale, story_of
from invite_sweeper.report.terminal import show_document, stdout_console
from invite_sweeper.report.verdicts import (
    Check,
    DiagnosisResult,
    State,
    diagnosis_of,
    document_of_checks,
)
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.discovery import read_and_decide
from invite_sweeper.sweep.guards import check_limits
from invite_sweeper.sweep.plan import (
    AtlasOrganization,
    Decided,
    backlog,
    make_plans,
)
from invite_sweeper.sweep.result import Result
from invite_sweeper.sweep.scope import RunScope
from invite_sweeper.text import (
    Hint,
    describe_duration,
    escape_unprintable,
    pluralize,
    shorten_list,
)

_RETRY_S: Final = 120.0
_CLOCK_WARNING: Final = timedelta(minutes=1)
_MAX_NAMED: Final = 10
_TEST_MESSAGE: Final = "This is a test message of `invite-sweeper doctor --notify`."
_KINDS: Final = {
    CredentialsKind.SERVICE_ACCOUNT: "Service account {}; a run requests and revokes a token.",
    CredentialsKind.API_KEY: "API key {}; it does not expire.",
    CredentialsKind.ACCESS_TOKEN: "Access token; it is not renewed.",
}


@click.command(cls=SectionedCommand)
@options(*CONNECTED, "out", "metrics_file", "pushgateway")
@option("Integration", "--notify", is_flag=True, help="Send a test message to each receiver.")
def doctor(notify: bool, **given: Any) -> None:
    """Check that a sweep can run.

    Takes the steps of a sweep with these options: policy, credentials, audit directory, files,
    receivers, roles, clock, limits. Deletes and writes nothing. Exit code 0: no problems. Exit
    code 4: warnings only. Otherwise: the code that a sweep would end with.

    Example: invite-sweeper doctor --policy policy.yaml
    """
    result = run_async(diagnose(os.environ, notify=notify, **given))
    if given["output"] == "json":
        OUTPUTS.write(json_line(result))
    elif result.exit_code or not given["quiet"]:
        document = document_of_checks(result, with_passed=not given["quiet"])
        show_document(stdout_console(), document)
    raise SystemExit(result.exit_code)


async def diagnose(
    environment: Mapping[str, str],
    *,
    notify: bool = False,
    **given: Any,
) -> DiagnosisResult:
    """Take the steps of a sweep and return a check for each; what would stop it has failed.

    Args:
        notify: Whether each receiver gets a test message.

    Raises:
        UsageError: The policy or an option is invalid.
        Interrupted: A signal or the deadline stopped the checks.
    """
    command, session = begin(environment, dry_run=True, **given)
    checks = _Doctor(command, session).run(notify=notify)
    with session.working(command):
        return await session.stop.run_unless_stopped(checks)


class _SilentProgress(Progress):
    """Shows no warning of the run: each becomes a check."""

    @override
    def warn(self, warning: RunWarning) -> None:
        """Show nothing."""


class _Doctor:
    """Takes the steps of a sweep; an error is a failed check, and the next step is taken."""

    def __init__(self, command: Command, session: Session) -> None:
        self._command = command
        self._session = session
        self._checks: list[Check] = []
        self._organization: str | None = None  # that of the checks that follow; None: of all

    def _add(self, name: str, message: str, advice: Hint | None = None, code: int = 0) -> None:
        """Add a check.

        Args:
            advice: None for one that passed; without words where nothing can be done.
            code: What a sweep would end with; 0 unless the check failed.
        """
        state: State = "ok" if advice is None else "warning"
        if code:
            state = "failed"
        text, command = advice or Hint()
        check = Check(name, state, message, text, self._organization, code, command)
        self._checks.append(check)

    def _fail(self, name: str, error: RunError, code: int) -> None:
        """Add a check that failed with the error that a sweep would end with, each once."""
        if all(check.message != error.message for check in self._checks):
            self._add(name, error.message, Hint(error.hint, error.command), code)

    @contextmanager
    def _step(self, name: str, *, warns: bool = False) -> Iterator[None]:
        """Take a step of a sweep: an error is a failed check, and the rest of the step is left.

        Args:
            warns: A sweep only warns of the error and continues, as of a message that is not sent.
        """
        try:
            yield
        except Interrupted:
            raise
        except NotSent as error:
            self._add(name, f"It would get nothing: {error}.", Hint(error.fix))
        except RunError as error:
            self._fail(name, error, 0 if warns else int(error.exit_code))

    async def run(self, *, notify: bool) -> DiagnosisResult:
        """Check this machine and the receivers, then make a dry run without a log."""
        command = self._command
        policy = command.policy
        self._add(
            "policy",
            f"{command.policy_path} is valid: {pluralize(len(policy.rules), 'rule')}, "
            f"{pluralize(len(policy.keep), 'keep entry', 'keep entries')}, "
            f"sources {', '.join(policy.sources)} (SHA-256 {policy.sha256}).",
        )
        for text in policy.warnings(command.now.date()):
            self._add("policy", text, Hint())
        self._check_files()
        with self._step("earlier runs"):
            read_history(command)
            self._check_earlier_runs()
        await self._check_receivers(notify=notify)
        with self._step("credentials"):
            for name, credentials in credentials_of(command, self._session.environment).items():
                text = _KINDS[credentials.kind].format(credentials.actor)
                self._add(f"credentials {name}".rstrip(), text)
        decided: Sequence[Decided] = ()
        # Credentials that are missing have failed above. What else fails when clients are opened is
        # the proxy of the environment.
        with self._step("proxy"):
            connected = connect(
                command, self._session.environment, self._session.log, retry_for_s=_RETRY_S
            )
            async with connected as organizations:
                decided = await self._check_atlas(organizations)
        names = {each.id: each.organization.name for each in decided}
        labels = [OrganizationName(each.id, names.get(each.id)) for each in policy.organizations]
        return diagnosis_of(self._checks, command.now, labels)

    def _check_files(self) -> None:
        directory = self._command.directory
        with self._step("outputs"):
            check_outputs(self._command)
        path = self._command.metrics_file
        if path is not None:
            with self._step("metrics file", warns=True):
                check_writable(path, "The metrics file")
                self._add("metrics file", f"{path} can be written.")
        with self._step("audit directory"):
            directory.check()
            self._add("audit directory", f"{directory.path} can be written; no run holds its lock.")

    def _check_earlier_runs(self) -> None:
        """Check the nights of the last weeks, and what the last run says of the next one."""
        name = "earlier runs"
        command = self._command
        directory = command.directory
        for warning in directory.warnings_of_missing_files():
            advice = Hint("Restore the file from a copy, if it is not lost.")
            self._add(name, warning.message, advice)
        fold = Fold()
        runs = [read_run(c, fold) for c in directory.recent(command.now - DEFAULT_NIGHTS * NIGHT)]
        if not runs:
            self._add(name, "None yet.")
            return
        nights = recent_nights([night_run(run) for run in runs], command.now)
        if len(nights) > 1:
            what = CHECK_SCHEDULE if nights_since_newest(nights) else "To list the runs:"
            advice = Hint(what, command.advisor.list_runs())
            is_well = were_all_done(nights)
            self._add("nights", describe_endings(nights), None if is_well else advice)
        last = runs[-1]
        story = story_of(last, command.advisor)
        found = f"{story.headline.sentence}."
        advice_of_last = None
        # What stopped the last run, killed or refused, may stop the next one, too.
        if last.end is None or last.exit_code == ExitCode.REFUSED:
            found += f"\n{story.attention[0].text}"
            advice_of_last = story.attention[0].hint
        when = describe_instant(last.start.now)
        self._add(name, f"The last run, {last.file.number} of {when}: {found}", advice_of_last)

    async def _check_receivers(self, *, notify: bool) -> None:
        command = self._command
        text = "It accepted a test message." if notify else "Its host can be reached."
        method: Literal["POST", "HEAD"] = "POST" if notify else "HEAD"
        async with open_session() as http:
            for receiver in command.policy.notify:
                name = receiver_name(receiver)
                with self._step(name):
                    message = check_message(
                        receiver, self._session.environment, _TEST_MESSAGE, command.now
                    )
                    await request(http, method, message, receiver.url_env)
                    self._add(name, text)
            gateway = self._command.pushgateway
            if gateway is not None:
                with self._step("pushgateway"):
                    await request(http, "HEAD", Message(gateway), "--pushgateway")
                    self._add("pushgateway", "Its host can be reached. Nothing was pushed.")

    # What Atlas shows: a dry run without a log, and what lies beside it.

    async def _check_atlas(self, organizations: Sequence[AtlasOrganization]) -> Sequence[Decided]:
        """Read as a sweep does, check the guards and each organization; return what was decided."""
        command = self._command
        result = Result(command, organizations, _SilentProgress(self._session.log, None))
        result.decided = await read_and_decide(result, None)
        read = result.finished()
        for source, day in sorted(read.sunsets.items()):
            self._add(f"sunset {source}", f"Atlas announced {day} as the last day of this list.")
        # The end of a list that the policy does not need is a remark.
        remarks = {WarningCode.RETIRED_SOURCE}
        if read.sunset is None:
            remarks.add(WarningCode.SUNSET)
        for warning in result.warnings:
            is_remark = warning.level == WarningLevel.REMARK and warning.code in remarks
            name = warning.code.replace("_", " ")
            self._add(name, warning.message, None if is_remark else Hint())
        plans = make_plans(result.decided, command.limits, command.now)
        if plans:
            result.plans = plans
            result.plan_made = True
            result.backlog = backlog(plans, command.limits)
            self._check_clock(organizations)
            with self._step("limits"):
                check_limits(plans, command)
                end = result.finished()
                seen = pluralize(end.invitations_seen, "invitation")
                self._add("limits", f"Within the limits. {seen}; stale {describe_stale(end)}.")
        for decided in result.decided:
            self._organization = decided.id
            if decided.error is not None:
                name = decided.error.reasons[0].replace("_", " ")
                self._fail(name, decided.error, result.finished().exit_code)
            elif decided.scope is not None:
                with self._step("lists", warns=True):  # a sweep has read its own
                    await self._check_organization(decided, decided.scope)
        self._organization = None
        return result.decided

    def _check_clock(self, organizations: Iterable[AtlasOrganization]) -> None:
        """Warn of a clock that is off; one that is further off has failed while it was read."""
        servers = [organization.client.server for organization in organizations]
        skew = timedelta(seconds=max(abs(server.clock_skew_s or 0.0) for server in servers))
        text = f"This machine's clock differs from Atlas's by {describe_duration(skew)}."
        advice = Hint("Synchronize the clock with NTP.")
        self._add("clock", text, advice if skew > _CLOCK_WARNING else None)

    async def _check_organization(self, decided: Decided, scope: RunScope) -> None:
        """Check the projects, the lists with the roles that they need, and the secret."""
        projects = pluralize(len(scope.projects) + len(scope.excluded), "project")
        text = f"{len(scope.projects)} of {projects} in scope."
        if scope.excluded:
            text = f"{text} Out of scope: {_shorten(project.name for project in scope.excluded)}."
        self._add("scope", text)
        refused = {list_.source for list_ in decided.lists.unread if is_role_missing(list_)}
        shown = {ref.source for ref in decided.lists.entries}
        sources = self._command.policy.sources
        reader = decided.organization.client.reader
        if Source.ORG_USERS in sources and Source.ORG_INVITES not in sources:
            organization = Project.of_organization(decided.id)
            answer = await reader.invitations(organization, Source.ORG_INVITES)
            if isinstance(answer, ListUnreadable) and is_role_missing(answer):
                refused.add(Source.ORG_INVITES)
            elif isinstance(answer, tuple):
                shown.add(Source.ORG_INVITES)
        for source in sources:
            if source not in decided.lists.retired:  # the run has warned
                self._check_list(source, decided, shown - refused, refused)
        expiries = await reader.secret_expiries(decided.id)
        if isinstance(expiries, ListUnreadable):
            self._add("secret", f"Not checked. {expiries.reason}")
            return
        live = [ends_at for ends_at in expiries if ends_at > self._command.now]
        if live:  # the run has warned of one that ends soon
            self._add("secret", f"The secret of the service account ends on {live[0]:%Y-%m-%d}.")

    def _check_list(
        self,
        source: Source,
        decided: Decided,
        shown: AbstractSet[Source],
        refused: AbstractSet[Source],
    ) -> None:
        """Check that a list of the policy can be read, and its invitations can be deleted.

        Args:
            shown: The lists that were shown in each place.
            refused: Those for which a role is missing.
        """
        name = f"list {source}"
        deleting = source.roles.deleting
        unread = [list_ for list_ in decided.lists.unread if list_.source is source]
        if unread:
            advice = Hint()
            if source in refused:
                advice = Hint(f"Grant the credentials the role {deleting} there, or exclude it.")
            text = f"{pluralize(len(unread), 'list')} cannot be read: {_places(unread)}."
            self._add(name, f"{text} {unread[0].reason}", advice)
            return
        counts = [count for ref, count in decided.lists.entries.items() if ref.source is source]
        entries = pluralize(sum(counts), "entry", "entries")
        found = f"{entries} in {pluralize(len(counts), 'list')}"
        # No list shows who may delete. But the older list of the same place is shown to its owners
        # alone, who may. In a project another role may, too, which no request shows.
        older = Source.ORG_INVITES if source.is_organization_level else Source.INVITES
        if older in shown:
            self._add(name, f"{found}; the role {older.roles.listing} is granted.")
        elif older in refused and source.is_organization_level:
            text = f"{found}, but deleting requires {deleting}, and Atlas refused the list {older}."
            self._add(name, text, Hint(f"Grant the credentials the role {deleting}."))
        else:
            self._add(name, f"{found}; only a deletion can prove the role {deleting}.")


def _places(unread: Iterable[ListUnreadable]) -> str:
    return _shorten(list_.project_name or list_.place_id for list_ in unread)


def _shorten(names: Iterable[str]) -> str:
    """Return the first names, each on one line: a secret in them is masked as a whole."""
    return shorten_list([*map(escape_unprintable, names)], _MAX_NAMED)
