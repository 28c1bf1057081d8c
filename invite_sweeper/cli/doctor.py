"""Command `doctor`: the steps of a sweep, and where it would stop. Atlas gets GET requests only."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any, Final, Literal, NamedTuple

import click
from structlog.typing import FilteringBoundLogger
from typing_extensions import override

from invite_sweeper.atlas.credentials import CredentialsKind
from invite_sweeper.atlas.responses import is_role_missing
from invite_sweeper.audit import History, RunRecord
from invite_sweeper.audit.events import RunWarning
from invite_sweeper.audit.reader import read_run
from invite_sweeper.audit.record import Fold
from invite_sweeper.cli.options import CONNECTED, RunOptions, SectionedCommand, option, options
from invite_sweeper.cli.progress import Progress
from invite_sweeper.cli.session import Session, run_async
from invite_sweeper.cli.settings import check_options
from invite_sweeper.cli.streams import OUTPUTS
from invite_sweeper.cli.sweep import check_outputs
from invite_sweeper.endings import ExitCode, WarningCode, WarningLevel
from invite_sweeper.errors import Interrupted, RunError
from invite_sweeper.files import check_writable
from invite_sweeper.json_text import json_line
from invite_sweeper.models import ListRef, ListUnreadable, Source
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
from invite_sweeper.report.people import OrganizationName
from invite_sweeper.report.receivers import receiver_of
from invite_sweeper.report.receivers.sending import LIMIT_S, Message, NotSent, open_session, request
from invite_sweeper.report.story import describe_stale, story_of
from invite_sweeper.report.terminal import show_document, stdout_console
from invite_sweeper.report.verdicts import (
    Check,
    DiagnosisResult,
    State,
    diagnosis_of,
    document_of_checks,
)
from invite_sweeper.sweep.dates import sunset_warnings
from invite_sweeper.sweep.discovery import OrganizationReader, list_invitations
from invite_sweeper.sweep.guards import check_limits
from invite_sweeper.sweep.plan import (
    AtlasOrganization,
    Command,
    OrganizationPlan,
    Reading,
    backlog,
    make_plans,
)
from invite_sweeper.sweep.reading import ListOutcome
from invite_sweeper.sweep.result import Result
from invite_sweeper.sweep.scope import RunScope
from invite_sweeper.text import (
    Hint,
    describe_duration,
    escape_unprintable,
    plural_form,
    pluralize,
    shorten_list,
)

_RETRY_S: Final = 120.0
_CLOCK_WARNING_S: Final = 60.0
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
    options = RunOptions(**given)
    result = run_async(diagnose(options, os.environ, notify=notify))
    if options.output == "json":
        OUTPUTS.write(json_line(result))
    elif result.exit_code or not options.quiet:
        document = document_of_checks(result, with_passed=not options.quiet)
        show_document(stdout_console(), document)
    raise SystemExit(result.exit_code)


async def diagnose(
    options: RunOptions, environment: Mapping[str, str], *, notify: bool = False
) -> DiagnosisResult:
    """Take the steps of a sweep and return a check for each; what would stop it has failed.

    Args:
        notify: Whether each receiver gets a test message.

    Raises:
        UsageError: The policy or an option is invalid.
        Interrupted: A signal or the deadline stopped the checks.
    """
    session = Session(check_options(options, environment))
    with session.working():
        return await session.stop.run_unless_stopped(_Doctor(session).run(notify=notify))


class Checks:
    """Collects checks, in their order.

    Attributes:
        checks: Those so far.
        organization: That of the checks that follow; None if they are about all.
    """

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self.organization: str | None = None

    def add(
        self, name: str, message: str, hint: str = "", command: str = "", *, warns: bool = False
    ) -> None:
        """Add a check that passed, or that warns; only one that warns has a hint."""
        if warns:
            self._add(name, "warning", message, hint, command)
        else:
            self._add(name, "ok", message)

    def failed(self, name: str, error: RunError, exit_code: int) -> None:
        """Add a check that failed with the error that a sweep would end with, each once."""
        if all(check.message != error.message for check in self.checks):
            self._add(name, "failed", error.message, error.hint, error.command, exit_code)

    def _add(
        self,
        name: str,
        state: State,
        message: str,
        hint: str = "",
        command: str = "",
        exit_code: int = 0,
    ) -> None:
        hint = Hint(hint, command).sentence
        check = Check(name, state, message, hint, self.organization, exit_code, command)
        self.checks.append(check)

    @contextmanager
    def step(self, name: str, *, warns: bool = False) -> Iterator[None]:
        """Take a step of a sweep: an error is a failed check, and the rest of the step is left.

        Args:
            warns: A sweep only warns of the error and continues, as of a message that is not sent.
        """
        try:
            yield
        except Interrupted:
            raise
        except NotSent as error:
            self.add(name, f"It would get nothing: {error}.", error.fix, warns=True)
        except RunError as error:
            if warns:
                self.add(name, error.message, error.hint, error.command, warns=True)
            else:
                self.failed(name, error, int(error.exit_code))


class _WarningChecks(Progress):
    """Makes checks of the warnings of a run."""

    def __init__(self, checks: Checks, log: FilteringBoundLogger) -> None:
        super().__init__(log, None)
        self._checks = checks

    @override
    def warn(self, warning: RunWarning) -> None:
        if warning.code == WarningCode.SUNSET:  # has a check of its own
            return
        # A remark is about a list that has ended and that the policy does not need.
        is_retired = warning.code == WarningCode.RETIRED_SOURCE
        is_harmless = is_retired and warning.level == WarningLevel.REMARK
        self._checks.add(warning.code.replace("_", " "), warning.message, warns=not is_harmless)


class _Owners(NamedTuple):
    """What the older lists show, which only owners of a project or organization may read.

    Attributes:
        sources: Those of which at least one list could be read.
        refused: The lists that the credentials may not read.
    """

    sources: set[Source]
    refused: list[ListUnreadable]


class _Doctor(Checks):
    """Takes each step: an error is a failed check, and the next one is taken."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._settings = session.settings

    async def run(self, *, notify: bool) -> DiagnosisResult:
        """Check this machine and the receivers, then make a dry run without a log."""
        settings = self._settings
        policy = settings.policy
        self.add(
            "policy",
            f"{settings.options.policy} is valid: {pluralize(len(policy.rules), 'rule')}, "
            f"{pluralize(len(policy.keep), 'keep entry', 'keep entries')}, "
            f"sources {', '.join(policy.sources)} (SHA-256 {policy.sha256}).",
        )
        for text in policy.warnings(settings.now.date()):
            self.add("policy", text, warns=True)
        self._check_files()
        history = History()
        with self.step("earlier runs"):
            settings.add_history(history)
            self._check_earlier_runs()
        await self._check_receivers(notify=notify)
        with self.step("credentials"):
            for name, credentials in settings.credentials().items():
                text = _KINDS[credentials.kind].format(credentials.actor)
                self.add(f"credentials {name}".rstrip(), text)
        names = [OrganizationName(organization.id, None) for organization in policy.organizations]
        # Credentials that are missing have failed above. What else fails when clients are opened is
        # the proxy of the environment.
        with self.step("proxy"):
            async with self._session.organizations(history, retry_for_s=_RETRY_S) as organizations:
                command = settings.command(history, dry_run=True)
                readings = await self._check_atlas(command, organizations)
                names = [
                    OrganizationName(reading.id, reading.organization.name) for reading in readings
                ]
        return diagnosis_of(self.checks, settings.now, names)

    def _check_files(self) -> None:
        directory = self._settings.directory
        with self.step("outputs"):
            check_outputs(self._settings)
        path = self._settings.metrics_file
        if path is not None:
            with self.step("metrics file", warns=True):
                check_writable(path, "The metrics file")
                self.add("metrics file", f"{path} can be written.")
        with self.step("audit directory"):
            directory.check()
            self.add("audit directory", f"{directory.path} can be written; no run holds its lock.")

    def _check_earlier_runs(self) -> None:
        name = "earlier runs"
        settings = self._settings
        directory = settings.directory
        for warning in directory.warnings_of_missing_files():
            advice = "Restore the file from a copy, if it is not lost."
            self.add(name, warning.message, advice, warns=True)
        files = directory.files()
        if not files:
            self.add(name, "None yet.")
            return
        fold = Fold()
        since = settings.now - DEFAULT_NIGHTS * NIGHT
        runs = [read_run(chain, fold) for chain in directory.recent(since)]
        self._check_nights(runs)
        last = runs[-1]
        name_of_last = f"The last run, {last.file.number} of {describe_instant(last.start.now)}"
        story = story_of(last, settings.advisor)
        text = f"{story.headline.label}: {story.headline.text}."
        hint = Hint()
        # What stopped the last run, killed or refused, may stop the next one, too.
        may_repeat = last.end is None or last.exit_code == ExitCode.REFUSED
        if may_repeat:
            text = story.attention[0].text
            hint = story.attention[0].hint
        self.add(name, f"{name_of_last}: {text}", *hint, warns=may_repeat)

    def _check_nights(self, runs: Sequence[RunRecord]) -> None:
        """Check that each night was done, and that a nightly job has run up to now."""
        settings = self._settings
        begun = settings.directory.begun_without_file()
        nights = recent_nights([night_run(run) for run in runs], settings.now, begun)
        if len(nights) > 1:
            is_well = were_all_done(nights)
            hint = CHECK_SCHEDULE if nights_since_newest(nights) else "To list the runs:"
            command = settings.advisor.list_runs()
            self.add("nights", describe_endings(nights), hint, command, warns=not is_well)

    async def _check_receivers(self, *, notify: bool) -> None:
        settings = self._settings
        text = "It accepted a test message." if notify else "Its host can be reached."
        method: Literal["POST", "HEAD"] = "POST" if notify else "HEAD"
        async with open_session(LIMIT_S) as http:
            for channel in settings.policy.notify:
                receiver = receiver_of(channel, settings.environment)
                with self.step(receiver.name):
                    message = receiver.test_message(_TEST_MESSAGE, settings.now)
                    await request(http, method, message, channel.url_env)
                    self.add(receiver.name, text)
            gateway = settings.options.pushgateway
            if gateway is not None:
                with self.step("pushgateway"):
                    await request(http, "HEAD", Message(gateway), "--pushgateway")
                    self.add("pushgateway", "Its host can be reached. Nothing was pushed.")

    # What Atlas shows: a dry run without a log, and what lies beside it.

    async def _check_atlas(
        self, command: Command, organizations: Sequence[AtlasOrganization]
    ) -> Sequence[Reading]:
        """Read as a sweep does, check the guards and each organization; return the readings."""
        result = Result(command, organizations, _WarningChecks(self, self._session.log))
        result.readings = await OrganizationReader(result, organizations, None).read_all()
        self._check_sunsets(organizations)
        plans = make_plans(result.readings, command.limits, command.now)
        if plans:
            result.plans = plans
            result.plan_made = True
            result.backlog = backlog(plans, command.limits)
            self._check_guards(result)
        for reading in result.readings:
            self.organization = reading.id
            if reading.error is not None:
                name = str(reading.error.reasons[0]).replace("_", " ")
                self.failed(name, reading.error, result.finished().exit_code)
            elif reading.scope is not None:
                with self.step("lists", warns=True):  # a sweep has read its own
                    await self._check_organization(reading, reading.scope)
        self.organization = None
        return result.readings

    def _check_sunsets(self, organizations: Iterable[AtlasOrganization]) -> None:
        """Show until when Atlas serves each list; warn if the policy needs one that ends."""
        sources = self._settings.policy.sources
        today = self._settings.now.date()
        sunsets: dict[Source, date] = {}
        for organization in organizations:
            sunsets |= organization.client.server.sunsets
        for source, day in sorted(sunsets.items()):
            text = f"Atlas announced {day} as the last day of this list."
            warns = False
            if source in sources:
                # None if the day is far off.
                for warning in sunset_warnings({source: day}, sources, today):
                    text = warning.message
                    warns = not source.is_replaced_by(sources)
            self.add(f"sunset {source}", text, warns=warns)

    def _check_guards(self, result: Result) -> None:
        """Check what the guards of a sweep check of all organizations together."""
        command = result.command
        plans = result.plans
        self._check_clock(plans)
        with self.step("limits"):
            check_limits(plans, command)
            end = result.finished()
            seen = pluralize(end.invitations_seen, "invitation")
            text = f"Within the limits. {seen}; stale {describe_stale(end)}."
            self.add("limits", text)

    def _check_clock(self, plans: Iterable[OrganizationPlan]) -> None:
        """Warn of a clock that is off; one that is further off has failed while it was read."""
        skews_s = [plan.organization.client.server.clock_skew_s or 0.0 for plan in plans]
        skew_s = abs(max(skews_s, key=abs))
        difference = describe_duration(timedelta(seconds=skew_s))
        text = f"This machine's clock differs from Atlas's by {difference}."
        is_off = skew_s > _CLOCK_WARNING_S
        self.add("clock", text, "Synchronize the clock with NTP.", warns=is_off)

    async def _check_organization(self, reading: Reading, scope: RunScope) -> None:
        """Check the lists of a sweep with the roles that they need, and the secret."""
        self._check_scope(scope)
        owners = await self._find_owners(reading, scope)
        for source in self._settings.policy.sources:
            if source not in reading.lists.retired:  # the run has warned
                self._check_list(source, reading, owners)
        await self._check_secret(reading)

    async def _find_owners(self, reading: Reading, scope: RunScope) -> _Owners:
        """Return what the older lists show of those places that the policy reads."""
        owners = _Owners(
            {ref.source for ref in reading.lists.entries},
            list(filter(is_role_missing, reading.lists.unread)),
        )

        async def add(ref: ListRef, outcome: ListOutcome) -> None:
            if isinstance(outcome, tuple):
                owners.sources.add(ref.source)
            elif isinstance(outcome, ListUnreadable) and is_role_missing(outcome):
                owners.refused.append(outcome)

        sources = self._settings.policy.sources
        beside = {_older(source) for source in sources}.difference(sources)
        reader = reading.organization.client.reader
        workers = self._settings.policy.execution.concurrency
        await list_invitations(reader, scope, beside, add, workers=workers)
        return owners

    def _check_scope(self, scope: RunScope) -> None:
        """Show how many projects are in scope, and which are not."""
        count = len(scope.projects)
        are = plural_form(count, "is", "are")
        projects = pluralize(count + len(scope.excluded), "project")
        text = f"{count} of {projects} {are} in scope."
        if scope.excluded:
            names = _shorten(project.name for project in scope.excluded)
            text = f"{text} Out of scope: {names}."
        self.add("scope", text)

    async def _check_secret(self, reading: Reading) -> None:
        """Show when the secret of the service account ends; the run has warned of one that does."""
        expiries = await reading.organization.client.reader.secret_expiries(reading.id)
        if isinstance(expiries, ListUnreadable):
            self.add("secret", f"Not checked. {expiries.reason}")
            return
        live = [ends_at for ends_at in expiries if ends_at > self._settings.now]
        if live:
            self.add("secret", f"The secret of the service account ends on {live[0]:%Y-%m-%d}.")

    def _check_list(self, source: Source, reading: Reading, owners: _Owners) -> None:
        """Check that a list of the policy can be read, and its invitations can be deleted."""
        unread = [list_ for list_ in reading.lists.unread if list_.source is source]
        if unread:
            self._warn_of_unread(source, unread)
            return
        counts = [count for ref, count in reading.lists.entries.items() if ref.source is source]
        entries = pluralize(sum(counts), "entry", "entries")
        text = f"{entries} in {pluralize(len(counts), 'list')}"
        # No list shows who may delete. But the older list of the same project or organization is
        # shown only to its owners, who may. Where another role may, too, credentials without the
        # owner's role may have that one: no request shows the roles of credentials in projects.
        deleting = source.roles.deleting
        older = _older(source)
        owner = older.roles.listing
        refused = [list_ for list_ in owners.refused if list_.source is older]
        if refused and deleting == owner:
            text += (
                f", but deleting requires {deleting}, and the role {owner}, which shows the list "
                f"{older}, is missing in {_places(refused)}."
            )
            hint = f"Grant the credentials the role {deleting} there."
            self.add(f"list {source}", text, hint, warns=True)
        elif refused or older not in owners.sources:
            self.add(f"list {source}", f"{text}; only a deletion can prove the role {deleting}.")
        else:
            self.add(f"list {source}", f"{text}; the role {owner} is granted.")

    def _warn_of_unread(self, source: Source, unread: Sequence[ListUnreadable]) -> None:
        """Warn of the lists of a source that a sweep could not read, and so would leave alone."""
        why = unread[0].reason
        hint = ""
        if any(map(is_role_missing, unread)):
            why = "The role is missing."
            instead = "exclude the projects"
            if source.is_organization_level:
                instead = f"remove {source} from sources"
            hint = f"Grant the credentials the role {source.roles.deleting} there, or {instead}."
        text = f"{pluralize(len(unread), 'list')} cannot be read: {_places(unread)}. {why}"
        self.add(f"list {source}", text, hint, warns=True)


def _older(source: Source) -> Source:
    """Return the older list of the same project or organization."""
    return Source.ORG_INVITES if source.is_organization_level else Source.INVITES


def _places(unread: Iterable[ListUnreadable]) -> str:
    return _shorten(list_.project_name or list_.place_id for list_ in unread)


def _shorten(names: Iterable[str]) -> str:
    """Return the first names, each on one line: a secret in them is masked as a whole."""
    return shorten_list([*map(escape_unprintable, names)], _MAX_NAMED)
