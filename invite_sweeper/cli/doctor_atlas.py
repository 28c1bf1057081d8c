"""What `doctor` asks Atlas: a dry run without a log, and what lies beside it. GET requests only."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final

import msgspec
from structlog.typing import FilteringBoundLogger
from typing_extensions import override

from invite_sweeper.atlas.lists import OrgEvent
from invite_sweeper.audit.events import RunWarning
from invite_sweeper.cli.view import Progress
from invite_sweeper.counts import total
from invite_sweeper.endings import Reason, WarningCode, WarningLevel
from invite_sweeper.errors import AtlasUnavailable, Interrupted, RunError
from invite_sweeper.models import (
    ListRef,
    ListUnreadable,
    Source,
    SourceRetired,
    UserKey,
    is_permission_error,
)
from invite_sweeper.sweep.command import Command, Organization
from invite_sweeper.sweep.discovery import Reader, list_invitations
from invite_sweeper.sweep.guards import check_limits, check_population
from invite_sweeper.sweep.plan import ListOutcome, trim
from invite_sweeper.sweep.result import Result, secret_warnings, sunset_warnings
from invite_sweeper.sweep.scope import RunScope
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.text import (
    describe_duration,
    escape_unprintable,
    plural_form,
    pluralize,
    shorten_list,
)


class CheckState(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"
    """A sweep would run, but may not do everything that is expected."""
    FAILED = "failed"
    """A sweep would end with the check's exit code."""


class Check(msgspec.Struct, frozen=True):
    """One check of `doctor`.

    Attributes:
        check: What was checked.
        message: What was found.
        hint: What to do about it; empty if nothing.
        organization: The id of the organization that it is about; None if about all.
        exit_code: What a sweep would end with; 0 unless failed.
    """

    check: str
    state: CheckState
    message: str
    hint: str = ""
    organization: str | None = None
    exit_code: int = 0


class Checks:
    """The checks so far, in order.

    Attributes:
        organization: That of the checks that follow; None if they are about all.
    """

    def __init__(self) -> None:
        self.found: list[Check] = []
        self.organization: str | None = None

    def add(self, name: str, message: str, hint: str = "", *, warns: bool = False) -> None:
        """Add a check that passed, or that warns; only one that warns has a hint."""
        state, hint = (CheckState.WARNING, hint) if warns else (CheckState.OK, "")
        self.found.append(Check(name, state, message, hint, self.organization))

    def failed(self, name: str, error: RunError, exit_code: int | None = None) -> None:
        """Add a check that failed with the error that a sweep would end with, each once."""
        code = int(error.exit_code) if exit_code is None else exit_code
        parts = error.to_json()
        where = self.organization
        check = Check(name, CheckState.FAILED, parts["message"], parts["hint"], where, code)
        if all(each.message != check.message for each in self.found):
            self.found.append(check)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Take a step of a sweep: an error is a failed check, and the rest of the step is left."""
        try:
            yield
        except Interrupted:
            raise
        except RunError as error:
            self.failed(name, error)


class Completeness(msgspec.Struct, frozen=True):
    """Whom Atlas's events of the last 30 days name as invited, and what became of them.

    Attributes:
        organization: Its id.
        invited: Addresses that were invited.
        listed: Those that a list shows.
        joined: Those of the others that joined.
        deleted: Those of the rest whose invitation the audit log says was deleted.
        unexplained: The addresses that are left.
        lists_complete: Whether every list could be read.
    """

    organization: str
    invited: int
    listed: int
    joined: int
    deleted: int
    unexplained: tuple[str, ...]
    lists_complete: bool


EVENT_DAYS: Final = 30
"""The lifetime of an invitation: users invited earlier have joined, or can no longer."""
_MAX_NAMED: Final = 10
_CLOCK_WARNING_S: Final = 60.0
_NAMES: Final = {
    Reason.CLOCK: "clock",
    Reason.CREDENTIALS: "credentials",
    Reason.MAX_POPULATION_DROP: "baselines",
    Reason.NO_VISIBLE_PROJECT: "organizations",
}
_OWN_CHECKS: Final = frozenset({WarningCode.POLICY, WarningCode.SUNSET})
"""Warnings of a run that a check says itself."""


@dataclass(slots=True)
class _Counted:
    """Who is in lists that a sweep does not read; a list that was read has users, maybe none."""

    users: dict[Source, set[UserKey]] = field(default_factory=dict)
    unread: list[ListUnreadable] = field(default_factory=list)

    async def add(self, ref: ListRef, found: ListOutcome) -> None:
        """Count one list; one that is retired or gone is empty."""
        if isinstance(found, tuple):
            users = self.users.setdefault(ref.source, set())
            users.update(each.user_key for each in found)
        elif isinstance(found, ListUnreadable) and not isinstance(found, SourceRetired):
            self.unread.append(found)

    @property
    def everyone(self) -> set[UserKey]:
        """The users of all lists."""
        return set().union(*self.users.values())


class _View(Progress):
    """Makes checks of the warnings of a run."""

    def __init__(self, log: FilteringBoundLogger, checks: Checks) -> None:
        super().__init__(log, None)
        self._checks = checks

    @override
    def warn(self, warning: RunWarning) -> None:
        if warning.code in _OWN_CHECKS:
            return
        expected = warning.code == WarningCode.RETIRED_SOURCE and (
            warning.level == WarningLevel.REMARK
        )
        name = str(warning.code).replace("_", " ")
        self._checks.add(name, warning.message, warns=not expected)


class AtlasChecks:
    """Walks the steps of a dry run, and counts what lies beside them.

    Attributes:
        completeness: Of each organization whose events could be read.
    """

    def __init__(
        self,
        checks: Checks,
        command: Command,
        organizations: Sequence[Organization],
        log: FilteringBoundLogger,
    ) -> None:
        self.completeness: list[Completeness] = []
        self._checks = checks
        self._command = command
        self._organizations = organizations
        self._users: defaultdict[str, set[UserKey]] = defaultdict(set)
        self._result = Result(command, organizations, _View(log, checks))
        self._reader = Reader(self._result, organizations, None, observe=self._observe)

    async def run(self) -> None:
        """Read as a sweep does, then check the guards and each organization."""
        await self._reader.read_all()
        self._check_sunsets()
        planned = [each for each in self._organizations if each.is_planned]
        if planned:
            self._check_clock(planned)
            self._check_guards(planned)
        for each in self._organizations:
            self._checks.organization = each.id
            if each.error is not None:
                name = next((_NAMES[r] for r in each.error.reasons if r in _NAMES), "Atlas")
                self._checks.failed(name, each.error, self._result.finished().exit_code)
            elif each.scope is not None:
                await self._check_organization(each, each.scope)
        self._checks.organization = None

    def _observe(self, _by_policy: Decision, decision: Decision) -> None:
        for entry in decision.all_entries:
            self._users[entry.org_id].add(entry.user_key)

    def _check_sunsets(self) -> None:
        """Show until when Atlas serves each list; warn if the policy needs one that ends."""
        sources, today = self._command.policy.sources, self._command.now.date()
        sunsets = {s: day for each in self._organizations for s, day in each.client.sunsets.items()}
        for source, day in sorted(sunsets.items()):
            warnings = sunset_warnings({source: day}, sources, today)
            message = " ".join(each.message for each in warnings if source in sources)
            needed = bool(message) and not source.is_replaced_by(sources)
            text = message or f"Atlas announced {day} as the last day of this list."
            self._checks.add(f"sunset {source}", text, warns=needed)

    def _check_clock(self, planned: Iterable[Organization]) -> None:
        """Check the clock more closely than a sweep, which has not refused it."""
        skew_s = max((each.client.clock_skew_s or 0.0 for each in planned), key=abs)
        difference = describe_duration(timedelta(seconds=abs(skew_s)))
        text = f"This machine's clock differs from Atlas's by {difference}."
        is_off = abs(skew_s) > _CLOCK_WARNING_S
        self._checks.add("clock", text, "Synchronize the clock with NTP.", warns=is_off)

    def _check_guards(self, planned: Sequence[Organization]) -> None:
        command, checks = self._command, self._checks
        before = command.before
        with checks.step("baselines"):
            if before is None:
                checks.add("baselines", "No complete run yet with which a sweep is compared.")
            else:
                check_population(planned, command)
                found = sum(sum(each.entries.values()) for each in planned)
                left = pluralize(sum(before.entries.values()), "entry", "entries")
                checks.add("baselines", f"{found:,} found; the last complete run left {left}.")
        if command.limits.over_limit == "trim":
            trim(planned, command)
        with checks.step("limits"):
            check_limits(planned, command)
            counts = total(each.counts for each in planned)
            stale = f"{counts.stale:,} of {pluralize(counts.invitations_seen, 'invitation')}"
            text = f"{stale} {plural_form(counts.stale, 'is', 'are')} stale, within the limits"
            if counts.trimmed:
                text = f"{text}; {counts.trimmed:,} are left for a later run"
            checks.add("limits", f"{text}.")

    async def _check_organization(self, organization: Organization, scope: RunScope) -> None:
        sources = self._command.policy.sources
        others = [source for source in Source if source not in sources]
        excluded_scope = replace(scope, projects=scope.excluded)
        of_projects = [source for source in sources if not source.is_organization_level]
        with self._checks.step("lists"):
            beside = await self._count(organization, scope, others)
            excluded = await self._count(organization, excluded_scope, of_projects)
            everything = pluralize(len(scope.projects) + len(scope.excluded), "project")
            are = plural_form(len(scope.projects), "is", "are")
            text = f"{len(scope.projects)} of {everything} {are} in scope."
            if scope.excluded:
                names = _shorten([each.name for each in scope.excluded])
                text += f" Out of scope: {names}; {len(excluded.everyone):,} pending there."
            self._checks.add("scope", text)
            for source in sources:
                if source not in organization.retired:  # the run has warned
                    self._check_list(source, organization, beside)
            self._check_beside(beside, self._users[organization.id] | excluded.everyone)
            await self._check_events(organization, (beside, excluded))
        with self._checks.step("secret"):
            await self._check_secret(organization)

    async def _count(
        self, organization: Organization, scope: RunScope, sources: Iterable[Source]
    ) -> _Counted:
        """Read lists that a sweep does not read, and count the people in them."""
        counted, reader = _Counted(), organization.client.reader
        scope = replace(scope, team_projects=[])
        try:
            await list_invitations(
                reader, scope, sources, counted.add, workers=self._reader.workers
            )
        except AtlasUnavailable as error:
            self._checks.add("coverage", error.message)
        return counted

    def _check_list(self, source: Source, organization: Organization, beside: _Counted) -> None:
        """Check that a list of the policy can be read, and that its invitations be deleted."""
        checks, name, deleting = self._checks, f"list {source}", source.roles[1]
        unread = [each for each in organization.unread if each.source is source]
        if unread:
            instead, hint, why = "exclude the projects", "", unread[0].reason
            if source.is_organization_level:
                instead = f"remove {source} from sources"
            if any(map(_is_missing_role, unread)):
                hint = f"Grant the credentials the role {deleting} there, or {instead}."
                why = "The role is missing."
            text = f"{pluralize(len(unread), 'list')} cannot be read: {_places(unread)}. {why}"
            checks.add(name, text, hint, warns=True)
            return
        counts = [n for ref, n in organization.entries.items() if ref.source is source]
        text = f"{sum(counts):,} pending in {pluralize(len(counts), 'list')}"
        # The older list of the same project or organization is shown only to its owners.
        older = Source.ORG_INVITES if source.is_organization_level else Source.INVITES
        owner = older.roles[1]
        refused = [
            each
            for each in (*organization.unread, *beside.unread)
            if each.source is older and _is_missing_role(each)
        ]
        if refused:
            checks.add(
                name,
                f"{text}, but the credentials can probably not delete: the role {owner}, which "
                f"shows the list {older}, is missing in {_places(refused)}.",
                f"Grant the credentials the role {owner} there.",
                warns=True,
            )
        elif older in beside.users or any(ref.source is older for ref in organization.entries):
            checks.add(name, f"{text}; the role {owner} is granted.")
        else:
            checks.add(name, f"{text}; deleting requires {deleting}: only a deletion can prove it.")

    def _check_beside(self, beside: _Counted, known: Collection[UserKey]) -> None:
        """Check whether people are pending only in lists that the policy does not read."""
        for source, users in beside.users.items():
            count = len(users - set(known))
            are = f"{pluralize(count, 'user')} {plural_form(count, 'is', 'are')}"
            text = f"{are} pending only in the list {source}, which is not among sources."
            hint = f"Add {source} to sources."
            self._checks.add("coverage", text, hint, warns=count > 0)
        for source, count in Counter(each.source for each in beside.unread).items():
            text = f"The list {source}, not among sources, cannot be read in {count}."
            self._checks.add("coverage", text)

    async def _check_events(self, organization: Organization, counted: Sequence[_Counted]) -> None:
        """Check that each person whom Atlas's events name is in a list, joined or was deleted.

        The events are an account of who was invited that does not depend on any list.
        """
        checks, reader, org_id = self._checks, organization.client.reader, organization.id
        since = self._command.now - timedelta(days=EVENT_DAYS)
        events = await reader.invitation_events(org_id, since)
        if isinstance(events, ListUnreadable):
            checks.add("events", f"Not known. {events.reason}")
            return
        found = explain_invited(
            org_id,
            events,
            self._users[org_id].union(*(each.everyone for each in counted)),
            self._command.history.is_gone,
            lists_complete=not organization.unread and not any(each.unread for each in counted),
        )
        self.completeness.append(found)
        text = (
            f"Atlas's events of the last {EVENT_DAYS} days name "
            f"{pluralize(found.invited, 'address', 'addresses')} as invited: {found.listed} in "
            f"the lists, {found.joined} joined, {found.deleted} deleted according to the audit log"
        )
        if left := found.unexplained:
            where = "no list" if found.lists_complete else "no list that could be read"
            are = f"{len(left)} {plural_form(len(left), 'is', 'are')}"
            text = f"{text}; {are} in {where}: {_shorten(left)}"
        hint = (
            "Deletions with an API key or a service account are not among the events: ask who "
            "else deletes invitations."
        )
        checks.add("events", f"{text}.", hint, warns=bool(left))

    async def _check_secret(self, organization: Organization) -> None:
        """Show when the secret ends; the run has warned if it is soon."""
        now = self._command.now
        expiries = await organization.client.reader.secret_expiries(organization.id)
        if isinstance(expiries, ListUnreadable):
            self._checks.add("secret", f"Not known. {expiries.reason}")
        elif (live := [each for each in expiries if each > now]) and not secret_warnings(live, now):
            text = f"The secret of the service account ends on {live[0]:%Y-%m-%d}."
            self._checks.add("secret", text)


def explain_invited(
    org_id: str,
    events: Iterable[OrgEvent],
    listed: Collection[UserKey],
    is_gone: Callable[[UserKey], bool],
    *,
    lists_complete: bool,
) -> Completeness:
    """Return what became of the users that the events of an organization name as invited.

    Args:
        listed: Whom any list shows.
        is_gone: Returns whether the audit log says that a user's invitation was deleted.
    """
    named = {(each.kind, (org_id, each.subject)) for each in events if each.subject is not None}
    invited = {user for kind, user in named if kind == "INVITED_TO_ORG"}
    in_lists = invited & set(listed)
    joined = {user for user in invited - in_lists if ("JOINED_ORG", user) in named}
    rest = invited - in_lists - joined
    gone = set(filter(is_gone, rest))
    return Completeness(
        org_id,
        invited=len(invited),
        listed=len(in_lists),
        joined=len(joined),
        deleted=len(gone),
        unexplained=tuple(sorted(name for _, name in rest - gone)),
        lists_complete=lists_complete,
    )


def _is_missing_role(unread: ListUnreadable) -> bool:
    return is_permission_error(unread.http_status, unread.error_code)


def _places(unread: Iterable[ListUnreadable]) -> str:
    return _shorten([each.project_name or each.list_key[2] for each in unread])


def _shorten(names: Sequence[str]) -> str:
    """Return the first names, each on one line: a secret in them is masked as a whole."""
    return shorten_list([*map(escape_unprintable, names)], _MAX_NAMED)
