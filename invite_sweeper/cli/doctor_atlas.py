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
from invite_sweeper.counts import total
from invite_sweeper.endings import Reason, WarningCode, WarningLevel
from invite_sweeper.errors import (
    AddressRefused,
    AtlasUnavailable,
    CredentialsRefused,
    Interrupted,
    RunError,
)
from invite_sweeper.models import (
    InvitationList,
    ListRef,
    ListUnreadable,
    Source,
    SourceRetired,
    UserKey,
    is_permission_error,
)
from invite_sweeper.report.progress import Progress
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.discovery import Reader, list_invitations
from invite_sweeper.sweep.guards import check_limits, check_population
from invite_sweeper.sweep.organization import Organization
from invite_sweeper.sweep.plan import ListOutcome, trim
from invite_sweeper.sweep.result import Result
from invite_sweeper.sweep.scope import RunScope
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.sweep.sunset import secret_warnings, sunset_warnings
from invite_sweeper.text import describe_duration, plural_form, pluralize, shorten_list


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

    def ok(self, name: str, message: str) -> None:
        """Add a check that passed."""
        self.found.append(Check(name, CheckState.OK, message, organization=self.organization))

    def warning(self, name: str, message: str, hint: str = "") -> None:
        """Add a check that warns."""
        self.found.append(Check(name, CheckState.WARNING, message, hint, self.organization))

    def failed(self, name: str, error: RunError, exit_code: int | None = None) -> None:
        """Add a check that failed with the error that a sweep would end with."""
        code = int(error.exit_code) if exit_code is None else exit_code
        message, hint = error.message, error.hint
        self.found.append(Check(name, CheckState.FAILED, message, hint, self.organization, code))

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
_MAX_LISTS: Final = 1000
"""Lists of a source, and so GET requests, that are counted beside those of a sweep."""
_MAX_NAMED: Final = 10
_CLOCK_WARNING_S: Final = 60.0
_INVITED, _JOINED = "INVITED_TO_ORG", "JOINED_ORG"
_NAMES: Final = {
    Reason.CLOCK: "clock",
    Reason.MAX_POPULATION_DROP: "baselines",
    Reason.NO_VISIBLE_PROJECT: "organizations",
}
_OWN_CHECKS: Final = frozenset({WarningCode.POLICY, WarningCode.SUNSET})
"""Warnings of a run that a check says itself."""


@dataclass(slots=True)
class _Counted:
    """What is in lists that a sweep does not read.

    Attributes:
        skipped: Lists that were not read because there are more than `_MAX_LISTS`.
    """

    lists: Counter[Source] = field(default_factory=Counter)
    pending: int = 0
    users: dict[Source, set[UserKey]] = field(default_factory=dict)
    unread: list[ListUnreadable] = field(default_factory=list)
    retired: set[Source] = field(default_factory=set)
    skipped: int = 0

    async def add(self, ref: ListRef, found: ListOutcome) -> None:
        """Count one list."""
        if isinstance(found, SourceRetired):
            self.retired.add(found.source)
        elif isinstance(found, ListUnreadable):
            self.unread.append(found)
        elif isinstance(found, InvitationList):
            self.lists[ref.source] += 1
            self.pending += len(found)
            users = self.users.setdefault(ref.source, set())
            users.update(each.user_key for each in found)

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
        name = str(warning.code).replace("_", " ")
        is_expected = warning.code == WarningCode.RETIRED_SOURCE
        if is_expected and warning.level == WarningLevel.REMARK:
            self._checks.ok(name, warning.message)
        else:
            self._checks.warning(name, warning.message)


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
        self._reader = Reader(
            command, organizations, None, self._result, _View(log, checks), observe=self._observe
        )

    async def run(self) -> None:
        """Read as a sweep does, then check the guards and each organization."""
        await self._reader.read_all()
        self._check_sunsets()
        planned = [each for each in self._organizations if each.is_planned]
        if planned:
            self._check_guards(planned)
        told: set[int] = set()  # organizations with the same credentials share an error
        clients: set[int] = set()
        for each in self._organizations:
            self._checks.organization = each.id
            if each.error is not None:
                if id(each.error) not in told:
                    code = self._result.finished().exit_code
                    self._checks.failed(_error_name(each.error), each.error, code)
                told.add(id(each.error))
            elif each.scope is not None and each.visible:
                await self._check_organization(each, each.scope)
            if each.error is None and id(each.client) not in clients:
                await self._check_client(each)
            clients.add(id(each.client))
        self._checks.organization = None

    def _observe(self, _by_policy: Decision, decision: Decision) -> None:
        for entry in decision.all_entries:
            self._users[entry.org_id].add(entry.user_key)

    def _check_sunsets(self) -> None:
        """Show until when Atlas serves each list; warn if the policy needs one that ends."""
        sources, today = self._command.policy.sources, self._command.now.date()
        sunsets = {s: day for each in self._organizations for s, day in each.client.sunsets.items()}
        for source, day in sorted(sunsets.items()):
            name = f"sunset {source}"
            warnings = sunset_warnings({source: day}, sources, today) if source in sources else ()
            message = " ".join(each.message for each in warnings)
            if message and not source.is_replaced_by(sources):
                self._checks.warning(name, message)
            else:
                text = f"Atlas announced {day} as the last day of this list."
                self._checks.ok(name, message or text)

    def _check_guards(self, planned: Sequence[Organization]) -> None:
        command, checks = self._command, self._checks
        before, recent = command.before, command.recent
        with checks.step("baselines"):
            if before is None:
                checks.ok("baselines", "No complete run yet with which a sweep is compared.")
            else:
                check_population(planned, before, command.policy)
                found = sum(sum(each.entries.values()) for each in planned)
                left = pluralize(sum(before.entries.values()), "entry", "entries")
                checks.ok("baselines", f"{found:,} found; the last complete run left {left}.")
        if command.limits.over_limit == "trim":
            trim(planned, command.limits, recent)
        with checks.step("limits"):
            check_limits(planned, command.limits, recent)
            counts = total(each.counts for each in planned)
            stale = f"{counts.stale:,} of {pluralize(counts.invitations_seen, 'invitation')}"
            text = f"{stale} {plural_form(counts.stale, 'is', 'are')} stale, within the limits"
            if counts.trimmed:
                text = f"{text}; {counts.trimmed:,} are left for a later run"
            if recent.total:
                period = describe_duration(command.limits.period)
                text = f"{text}, with {recent.total:,} deleted within {period} (limits.period)"
            checks.ok("limits", f"{text}.")

    async def _check_client(self, organization: Organization) -> None:
        """Check what one set of credentials knows: the clock, and when its secret ends."""
        checks, client, now = self._checks, organization.client, self._command.now
        skew_s = client.clock_skew_s or 0.0
        difference = describe_duration(timedelta(seconds=abs(skew_s)))
        direction = "ahead of" if skew_s > 0 else "behind"
        text = f"This machine's clock is {difference} {direction} Atlas's."
        if abs(skew_s) < 1:
            text = "This machine's clock agrees with Atlas's."
        if abs(skew_s) > _CLOCK_WARNING_S:
            checks.warning("clock", text, "Synchronize this machine's clock with NTP.")
        else:
            checks.ok("clock", text)
        with checks.step("secret"):
            expiries = await client.reader.secret_expiries(organization.id)
            if isinstance(expiries, ListUnreadable):
                checks.ok("secret", f"Not known. {expiries.reason}")
            elif (live := [day for day in expiries if day > now]) and not secret_warnings(
                expiries, now
            ):
                day = f"{live[0]:%Y-%m-%d}"
                checks.ok("secret", f"The secret of the service account ends on {day}.")

    async def _check_organization(self, organization: Organization, scope: RunScope) -> None:
        sources = tuple(self._command.policy.sources)
        others = [source for source in Source if source not in sources]
        excluded_scope = replace(scope, projects=scope.excluded, organizations=())
        with self._checks.step("lists"):
            beside = await self._count(organization, scope, others)
            excluded = await self._count(organization, excluded_scope, sources)
            self._check_scope(organization, scope, excluded)
            for source in sources:
                if source not in organization.retired:  # the run has warned
                    self._check_list(source, organization, beside)
            known = self._users[organization.id] | excluded.everyone
            self._check_beside(beside, known)
            await self._check_events(organization, (beside, excluded))

    async def _count(
        self, organization: Organization, scope: RunScope, sources: Iterable[Source]
    ) -> _Counted:
        """Read lists that a sweep does not read, and count the people in them."""
        counted, workers = _Counted(), self._reader.workers
        part = replace(scope, projects=scope.projects[:_MAX_LISTS], team_projects=())
        for source in sources:
            if not source.is_organization_level:
                counted.skipped += len(scope.projects) - len(part.projects)
            try:
                await list_invitations(
                    organization.client.reader, part, [source], counted.add, workers=workers
                )
            except AtlasUnavailable as error:
                if source not in counted.retired:
                    lost = ListUnreadable(organization.id, "", error.message, source=source)
                    counted.unread.append(lost)
        return counted

    def _check_scope(self, organization: Organization, scope: RunScope, excluded: _Counted) -> None:
        everything = pluralize(len(scope.projects) + len(scope.excluded), "project")
        are = plural_form(len(scope.projects), "is", "are")
        text = f"{len(scope.projects)} of {everything} {are} in scope."
        if scope.excluded:
            names = shorten_list([each.name for each in scope.excluded], _MAX_NAMED)
            lost = f", {len(excluded.unread)} could not be read" if excluded.unread else ""
            text = f"{text} Out of scope: {names}; {excluded.pending:,} pending there{lost}."
        self._checks.ok("scope", text)
        if organization.members is not None:
            members = pluralize(len(organization.members), "active member")
            self._checks.ok("members", f"{members}, by whom inviter_gone is judged.")

    def _check_list(self, source: Source, organization: Organization, beside: _Counted) -> None:
        """Check that a list of the policy can be read, and that its invitations be deleted."""
        checks, name = self._checks, f"list {source}"
        reading, deleting = source.roles
        unread = [each for each in organization.unread if each.source is source]
        if unread:
            where = _places(unread)
            if not any(map(_is_missing_role, unread)):
                text = f"{len(unread)} cannot be read: {where}. {unread[0].reason}"
                checks.warning(name, text)
                return
            kind, instead = "project", "exclude the projects"
            if source.is_organization_level:
                kind, instead = "organization", f"remove {source} from sources"
            hint = f"Grant the credentials the role {deleting} there, or {instead}."
            text = f"The role is missing in {pluralize(len(unread), kind)}: {where}."
            checks.warning(name, text, hint)
            return
        counts = [n for ref, n in organization.entries.items() if ref.source is source]
        text = f"{sum(counts):,} pending in {pluralize(len(counts), 'list')}"
        if reading == deleting:
            checks.ok(name, f"{text}; the role {deleting} is granted.")
            return
        # The older list of the same project or organization is shown only to its owners.
        older = Source.ORG_INVITES if source.is_organization_level else Source.INVITES
        owner, _ = older.roles
        unread = [each for each in (*organization.unread, *beside.unread) if each.source is older]
        refused = [each for each in unread if _is_missing_role(each)]
        if refused:
            checks.warning(
                name,
                f"{text}, but the credentials can probably not delete: the role {owner}, which "
                f"shows the list {older}, is missing in {_places(refused)}.",
                f"Grant the credentials the role {owner} there.",
            )
        elif beside.lists[older] or any(ref.source is older for ref in organization.entries):
            checks.ok(name, f"{text}; the role {owner} is granted.")
        else:
            checks.ok(name, f"{text}; deleting requires {deleting}: only a deletion can prove it.")

    def _check_beside(self, beside: _Counted, known: Collection[UserKey]) -> None:
        """Check whether people are pending only in lists that the policy does not read."""
        for source, users in beside.users.items():
            count = len(users - set(known))
            are = f"{pluralize(count, 'user')} {plural_form(count, 'is', 'are')}"
            text = f"{are} pending only in the list {source}, which is not among sources."
            if count:
                self._checks.warning("coverage", text, f"Add {source} to sources.")
            else:
                self._checks.ok("coverage", text)
        for source, count in Counter(each.source for each in beside.unread).items():
            text = f"The list {source}, not among sources, cannot be read in {count}."
            self._checks.ok("coverage", text)
        if beside.skipped:
            text = (
                f"At most {_MAX_LISTS:,} lists of a source are read: {beside.skipped:,} were not."
            )
            self._checks.warning("coverage", text)

    async def _check_events(self, organization: Organization, counted: Sequence[_Counted]) -> None:
        """Check that each person whom Atlas's events name is in a list, joined or was deleted.

        The events are an account of who was invited that does not depend on any list.
        """
        checks, reader, org_id = self._checks, organization.client.reader, organization.id
        since = self._command.now - timedelta(days=EVENT_DAYS)
        events = await reader.invitation_events(org_id, since)
        if isinstance(events, ListUnreadable):
            checks.ok("events", f"Not known. {events.reason}")
            return
        found = explain_invited(
            org_id,
            events,
            self._users[org_id].union(*(each.everyone for each in counted)),
            self._command.history.is_gone,
            lists_complete=not organization.unread
            and not any(each.unread or each.skipped for each in counted),
        )
        self.completeness.append(found)
        text = (
            f"Atlas's events of the last {EVENT_DAYS} days name "
            f"{pluralize(found.invited, 'address', 'addresses')} as invited: {found.listed} in "
            f"the lists, {found.joined} joined, {found.deleted} deleted according to the audit log"
        )
        if not (left := found.unexplained):
            checks.ok("events", f"{text}.")
            return
        where = "no list" if found.lists_complete else "no list that could be read"
        are = f"{len(left)} {plural_form(len(left), 'is', 'are')}"
        checks.warning(
            "events",
            f"{text}; {are} in {where}: {shorten_list(left, _MAX_NAMED)}.",
            "Deletions with an API key or a service account are not among the events: ask who "
            "else deletes invitations.",
        )


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
    by_kind: dict[str, set[str]] = {_INVITED: set(), _JOINED: set()}
    for event in events:
        if event.subject is not None and event.kind in by_kind:
            by_kind[event.kind].add(event.subject)
    invited, joined = by_kind[_INVITED], by_kind[_JOINED]
    in_lists = invited & {name for each, name in listed if each == org_id}
    joined = (invited & joined) - in_lists
    rest = invited - in_lists - joined
    gone = {name for name in rest if is_gone((org_id, name))}
    return Completeness(
        org_id,
        invited=len(invited),
        listed=len(in_lists),
        joined=len(joined),
        deleted=len(gone),
        unexplained=tuple(sorted(rest - gone)),
        lists_complete=lists_complete,
    )


def _error_name(error: RunError) -> str:
    """Return the check in which an organization failed."""
    if isinstance(error, AddressRefused):
        return "access list"
    if isinstance(error, CredentialsRefused):
        return "credentials"
    return next((_NAMES[each] for each in error.reasons if each in _NAMES), "Atlas")


def _is_missing_role(unread: ListUnreadable) -> bool:
    return is_permission_error(unread.http_status, unread.error_code)


def _places(unread: Iterable[ListUnreadable]) -> str:
    names = [each.project_name or each.project_id for each in unread]
    return shorten_list(names, _MAX_NAMED)
