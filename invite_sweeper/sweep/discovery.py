"""Read organizations: projects, lists, members; decide invitations, and recover open intents.

Organizations are read at the same time, a few at once. An error that concerns one list or
one organization is a value; an error that concerns the run is raised.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

from msgspec import structs

from invite_sweeper.atlas.reader import AtlasReader, contradicted_404
from invite_sweeper.audit import AuditLog, OpenIntent
from invite_sweeper.endings import Reason, WarningCode, WarningLevel
from invite_sweeper.errors import (
    AtlasUnavailable,
    AuditLogError,
    GuardRefused,
    Interrupted,
    RunError,
)
from invite_sweeper.models import (
    Invitation,
    ListRef,
    ListUnreadable,
    Project,
    ProjectGone,
    Source,
    SourceRetired,
    hint_without,
)
from invite_sweeper.sweep.dates import secret_warnings
from invite_sweeper.sweep.guards import check_clock
from invite_sweeper.sweep.plan import AtlasOrganization, Reading
from invite_sweeper.sweep.reading import ListOutcome, MemberCheck, ReadingBuilder
from invite_sweeper.sweep.recovery import Recovery
from invite_sweeper.sweep.result import Result
from invite_sweeper.sweep.scope import ProjectFilter, RunScope, unmatched_organizations
from invite_sweeper.text import pluralize

ItemT = TypeVar("ItemT")


async def for_each(
    items: Iterable[ItemT], work: Callable[[ItemT], Awaitable[None]], *, workers: int
) -> None:
    """Await `work` for each item, a few at a time.

    Raises:
        RunError: The first one that is raised; the others are cancelled.
    """
    pending = iter(items)

    async def worker() -> None:
        for item in pending:
            await work(item)

    tasks = [asyncio.create_task(worker()) for _ in range(workers)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def discover_projects(
    reader: AtlasReader, project_filter: ProjectFilter, org_id: str
) -> RunScope:
    """Return the projects of an organization, listed before any of its invitations is read.

    A list of projects that changed in each reading may hide one, so it counts as unreadable.

    Raises:
        GuardRefused: No project of the organization is visible: the credentials belong to
            another organization, or the list is incomplete.
    """
    scope = RunScope(org_id, is_narrowed=bool(project_filter.only))
    for project in await reader.projects():
        if isinstance(project, ListUnreadable):
            source = project_filter.unplaced_source
            scope.unreadable.append(structs.replace(project, source=source))
            continue
        scope.project_names[project.id] = project.name
        if project.org_id != org_id:
            continue
        is_included = project_filter.includes(project)
        if is_included:
            scope.projects.append(project)
        else:
            scope.excluded.append(project)
        if not is_included or project_filter.names_projects_in_entries:
            scope.team_projects.append(project)
    if not (scope.projects or scope.excluded):
        raise GuardRefused(
            f"No project of the organization {org_id} is visible.",
            hint="Check the id under organizations, and that the credentials belong to it "
            "(credentials belong to a single organization).",
            reasons=(Reason.NO_VISIBLE_PROJECT,),
        )
    return scope


_OPTIONAL_TIMEOUT_S: Final = 3.0


async def _optional(answer: Awaitable[ItemT]) -> ItemT | None:
    """Return what is read; None if that fails or takes long, as the run goes on without it."""
    with suppress(TimeoutError, RunError):
        async with asyncio.timeout(_OPTIONAL_TIMEOUT_S):
            return await answer
    return None


async def list_invitations(
    reader: AtlasReader,
    scope: RunScope,
    sources: Iterable[Source],
    on_list: Callable[[ListRef, ListOutcome], Awaitable[None]],
    *,
    workers: int,
) -> tuple[str, ...]:
    """Read the lists of a scope concurrently, pass each result to `on_list`, return warnings.

    `on_list` is called once per list, in any order. When Atlas has retired a source (410), the
    remaining lists of that source are skipped and `on_list` is called once for all of them.

    A 404 means that the project is gone. It is believed if neither `/groups`, read once more at the
    end, shows the project, nor an invitation of the organization a role in it.

    Args:
        workers: The number of lists to read at a time, and so to hold in memory.

    Raises:
        RunError: An error concerned the run and not one list, Atlas no longer serves any of
            the sources, or it returned 404 for every project that it had just listed.
    """
    lists = scope.lists(sources)
    teams = TeamAccess(reader, scope, workers=workers)
    retired: dict[Source, SourceRetired] = {}
    not_found: list[ListRef] = []  # answered with 404
    shown_elsewhere: set[str] = set()  # the ids of the projects that another list shows

    async def read(ref: ListRef) -> None:
        if ref.source in retired:
            return
        answer = await reader.invitations(ref.project, ref.source)
        if isinstance(answer, SourceRetired):
            if ref.source in retired:  # another list of the source was answered so meanwhile
                return
            retired[ref.source] = answer
        if isinstance(answer, ProjectGone):  # whether it is believed is known at the end
            not_found.append(ref)
            return
        if isinstance(answer, tuple) and ref.source.is_organization_level:
            shown_elsewhere.update(_linked_project_ids(answer))
            answer = await teams.link(answer)
        await on_list(ref, answer)

    await for_each(lists, read, workers=workers)
    counts = Counter(ref.source for ref in lists)
    _check_not_all_retired(retired, counts)
    _check_not_all_gone(not_found, counts)
    if not_found:
        shown_elsewhere |= await _shown_projects(reader)
    for ref in not_found:
        is_shown = ref.project.id in shown_elsewhere
        await on_list(ref, contradicted_404(ref) if is_shown else ProjectGone(ref.project.id))
    return tuple(teams.warnings())


def _linked_project_ids(invitations: Iterable[Invitation]) -> Iterator[str]:
    """Yield the ids of the projects in which invitations of the organization name a role."""
    for invitation in invitations:
        for project_id, _ in invitation.linked_projects:
            yield project_id


def _check_not_all_retired(
    retired: Mapping[Source, SourceRetired], counts: Mapping[Source, int]
) -> None:
    """Raise AtlasUnavailable if Atlas no longer serves any of the lists."""
    if retired and retired.keys() == counts.keys():
        raise AtlasUnavailable(
            " ".join(event.reason for event in retired.values()),
            hint=hint_without(retired, retired),
        )


def _check_not_all_gone(not_found: Iterable[ListRef], counts: Mapping[Source, int]) -> None:
    """Raise AtlasUnavailable if each of several projects answered 404 to a list."""
    for source, count in Counter(ref.source for ref in not_found).items():
        # A single project may have been deleted since it was listed. When all of several are
        # missing, the server does not know the endpoint, and nothing would seem to be stale.
        if count > 1 and count == counts[source]:
            raise AtlasUnavailable(
                f"Atlas listed {count} projects, then answered 404 to {source} for each one.",
                hint="Check the base URL, the proxy, and Atlas's documentation of this list.",
            )


async def _shown_projects(reader: AtlasReader) -> set[str]:
    """Return the ids of the projects that Atlas lists now.

    Raises:
        AtlasUnavailable: The list of projects is not known to be complete.
    """
    shown: set[str] = set()
    for project in await reader.projects():
        if isinstance(project, ListUnreadable):
            raise AtlasUnavailable(project.reason, hint="Run the command again.")
        shown.add(project.id)
    return shown


class TeamAccess:
    """Links the invitations of an organization to the projects that their teams have access to.

    The teams of its projects are read once, and only if one of its invitations has a team and is
    not out of scope already.
    """

    def __init__(self, reader: AtlasReader, scope: RunScope, *, workers: int) -> None:
        self._reader = reader
        self._scope = scope
        self._workers = workers
        self._lock = asyncio.Lock()
        self._teams: dict[str, frozenset[str] | ListUnreadable] = {}

    async def link(self, invitations: tuple[Invitation, ...]) -> tuple[Invitation, ...]:
        """Return the invitations of one list with all projects that they link."""
        # First without the teams: few invitations have one, and some are out of scope already.
        linked = tuple(self._scope.with_links(invitation, {}) for invitation in invitations)
        if not any(_needs_teams(invitation) for invitation in linked):
            return linked
        async with self._lock:
            if not self._teams:
                self._teams = await self._read()  # all or none
        return tuple(self._scope.with_links(invitation, self._teams) for invitation in linked)

    async def _read(self) -> dict[str, frozenset[str] | ListUnreadable]:
        """Return the ids of the teams of each project, by project id."""
        by_project: dict[str, frozenset[str] | ListUnreadable] = {}

        async def read(project: Project) -> None:
            by_project[project.id] = await self._reader.project_teams(project)

        await for_each(self._scope.team_projects, read, workers=self._workers)
        return by_project

    def warnings(self) -> Iterator[str]:
        """Yield a warning about the projects with unreadable teams, or nothing."""
        unread = [teams for teams in self._teams.values() if isinstance(teams, ListUnreadable)]
        if unread:
            yield (
                f"The teams of {pluralize(len(unread), 'project')} could not be read, so every "
                f"invitation with a team is kept. {unread[0].project_name}: {unread[0].reason} "
                "Reading teams requires the role Project Read Only."
            )


def _needs_teams(invitation: Invitation) -> bool:
    """Return whether the projects of its teams can make a difference to an invitation."""
    return bool(invitation.team_ids) and not invitation.links_out_of_scope


class InviterNames:
    """The names of the API keys that invited people to an organization.

    Read once, and only if an invitation has a key as its inviter. Where they cannot be read, the
    id alone is shown: nothing is decided by the name.
    """

    def __init__(self, reader: AtlasReader, org_id: str) -> None:
        self._reader = reader
        self._org_id = org_id
        self._lock = asyncio.Lock()
        self._names: Mapping[str, str] | None = None

    async def add_to(self, invitations: tuple[Invitation, ...]) -> tuple[Invitation, ...]:
        """Return the invitations of one list with the names of their inviters."""
        inviters = {invitation.inviter for invitation in invitations}
        if not any(_is_key(inviter) for inviter in inviters):
            return invitations
        if self._names is None:
            await self._read_names()
        if not self._names:
            return invitations
        return tuple(
            structs.replace(invitation, inviter_name=self._names.get(invitation.inviter or ""))
            for invitation in invitations
        )

    async def _read_names(self) -> None:
        """Read the names once, however many lists wait for them."""
        async with self._lock:
            if self._names is None:
                names = await _optional(self._reader.api_key_names(self._org_id))
                if names is None or isinstance(names, ListUnreadable):
                    names = {}
                self._names = names


def _is_key(inviter: str | None) -> bool:
    """Return whether an inviter may be an API key: a person has an address, a key has none."""
    if not inviter:
        return False
    return "@" not in inviter


def leave_out_moving(builders: Iterable[ReadingBuilder], sources: Iterable[Source]) -> None:
    """Count the lists of projects as unreadable that two organizations show: they move.

    Atlas moves a project while a run reads, so that both may list it. Its invitations would be
    counted in both, and get two DELETEs.

    Args:
        builders: Of organizations whose projects are listed, or could not be.
        sources: Of the policy.
    """
    scopes = [builder.scope for builder in builders if builder.scope is not None]
    times_shown = Counter[str]()
    for scope in scopes:
        times_shown.update(project.id for project in (*scope.projects, *scope.excluded))
    of_projects = [source for source in sources if not source.is_organization_level]
    for scope in scopes:
        moving = [project for project in scope.projects if times_shown[project.id] > 1]
        for project in moving:
            scope.projects.remove(project)
            for source in of_projects:
                scope.unreadable.append(
                    ListUnreadable(
                        project.id, project.name, _MOVING, source=source, org_id=scope.org_id
                    )
                )


_MOVING: Final = "Two organizations show the project: it is being moved."
_MAX_ORGANIZATIONS_AT_A_TIME: Final = 4
"""Organizations that are read at the same time; together they have `execution.concurrency`
requests in flight."""


class OrganizationReader:
    """Reads organizations: each becomes a `Reading`.

    Args:
        log: None for a reading that writes nothing.
    """

    def __init__(
        self,
        result: Result,
        organizations: Sequence[AtlasOrganization],
        log: AuditLog | None,
    ) -> None:
        command = result.command
        self._result = result
        self._command = command
        self._organizations = organizations
        self._write = log.write if log is not None else lambda _event: None
        self._filter = ProjectFilter(command.policy, command.projects)
        # What a killed run left open is for a sweep to recover, by the reading that writes lines.
        recovers_intents = log is not None and not command.dry_run
        self._open_intents: Mapping[str, Sequence[OpenIntent]] = {}
        if recovers_intents:
            self._open_intents = command.history.open_intents(command.base_url)
        concurrency = command.policy.execution.concurrency
        most = min(_MAX_ORGANIZATIONS_AT_A_TIME, len(organizations), concurrency)
        self._organizations_at_a_time = max(1, most)  # also for a shard without organizations
        self._workers = max(1, concurrency // self._organizations_at_a_time)

    async def read_all(self) -> tuple[Reading, ...]:
        """Read every organization; return the readings in the order of the organizations.

        Raises:
            RunError: The audit log failed, or a stop was requested. Nothing was deleted.
        """
        builders = [
            ReadingBuilder(organization, self._command, self._write, self._result.steps)
            for organization in self._organizations
        ]
        try:
            at_a_time = self._organizations_at_a_time
            await for_each(builders, self._list_projects, workers=at_a_time)
            if all(builder.scope is not None for builder in builders):
                self._filter.check_found()
            leave_out_moving(builders, self._command.policy.sources)
            await for_each(builders, self._read, workers=at_a_time)
        finally:  # what Atlas announced until an error is reported, too
            readings = tuple(builder.reading() for builder in builders)
            self._result.report_ends(readings)
        # A pattern that matched nothing may match where the projects are not known.
        if all(reading.scope is not None for reading in readings):
            unused = self._filter.unused_patterns()
            self._result.warn_of(WarningCode.UNUSED_PATTERN, *unused, level=WarningLevel.REMARK)
        names = [reading.returned_name for reading in readings if reading.returned_name]
        # A glob may be the name of an organization of another shard, or of one that did not answer.
        are_all_known = self._command.shard is None and len(names) == len(self._organizations)
        if are_all_known:
            unmatched = unmatched_organizations(self._command.policy, names)
            self._result.warn_of(WarningCode.UNUSED_PATTERN, *unmatched)
        return readings

    @contextmanager
    def _errors_kept_in(self, builder: ReadingBuilder) -> Iterator[None]:
        """Let an error end the reading of one organization; raise that of the whole run."""
        try:
            yield
        except (AuditLogError, Interrupted):
            raise
        except RunError as error:
            builder.error = self._result.error_in(builder.organization, error)

    async def _list_projects(self, builder: ReadingBuilder) -> None:
        """List the projects of an organization, and check the clock by the answer."""
        organization = builder.organization
        client = organization.client
        with self._errors_kept_in(builder):
            scope = await discover_projects(client.reader, self._filter, organization.id)
            check_clock(client.server.clock_skew_s)
            await self._add_optional_facts(builder)
            seen = len(scope.projects) + len(scope.unreadable)
            builder.count(projects_seen=seen)
            self._warn_of_fewer_projects(builder.organization, seen)
            # Last: of an organization without a scope, as after an error, no list is read.
            builder.scope = scope

    def _warn_of_fewer_projects(self, organization: AtlasOrganization, seen: int) -> None:
        """Warn where the credentials see fewer projects than before, by more than a tenth."""
        before = self._command.projects_seen_before(organization.id)
        if 10 * seen < 9 * before:
            self._result.warn_of(
                WarningCode.FEWER_PROJECTS,
                f"The credentials of the organization {organization.label} see "
                f"{pluralize(seen, 'project')} in scope, and the last run saw {before:,}. If they "
                "still exist, check the roles of the credentials.",
                level=WarningLevel.URGENT,
            )

    async def _add_optional_facts(self, builder: ReadingBuilder) -> None:
        """Add the name of an organization, and when the secrets of its account end."""
        organization = builder.organization
        reader = organization.client.reader
        names, expiries = await asyncio.gather(
            _optional(reader.organizations()),
            _optional(reader.secret_expiries(organization.id)),
        )
        if isinstance(expiries, tuple):
            live = [expiry for expiry in expiries if expiry > self._command.now]
            first_end = min(live, default=None)
            builder.dates = structs.replace(builder.dates, credentials_expire=first_end)
            self._result.warn(*secret_warnings(live, self._command.now))
        name = names.get(organization.id) if names is not None else None
        if name:
            builder.know_name(name)

    async def _read(self, builder: ReadingBuilder) -> None:
        """Read the lists of one organization, unless its projects could not be listed."""
        if builder.scope is None:
            return
        with self._errors_kept_in(builder):
            await self._read_lists(builder, builder.scope)

    async def _read_lists(self, builder: ReadingBuilder, scope: RunScope) -> None:
        """Read the lists of one organization, and recover its open intents."""
        organization = builder.organization
        sources = self._command.policy.sources
        for project in scope.unreadable:
            builder.add_unreadable(project)
        open_intents = self._open_intents.get(organization.id, ())
        recovery = Recovery(self._result, builder, self._write, open_intents)
        # Before any list is decided: `inviter_gone` goes by the active members.
        members = MemberCheck(self._result, builder)
        await members.read()
        lists = scope.lists(sources)
        self._result.view.started("Reading lists", len(lists), organization.label)

        reader = organization.client.reader
        inviters = InviterNames(reader, organization.id)

        async def add_list(ref: ListRef, answer: ListOutcome) -> None:
            if isinstance(answer, tuple):
                answer = await inviters.add_to(answer)
                recovery.recover_list(ref, answer)
                await members.ask_for_inviters(answer)
            builder.add(ref, answer)  # decides, so all that it goes by is known
            self._result.view.done()

        warnings = await list_invitations(reader, scope, sources, add_list, workers=self._workers)
        self._result.warn_of(WarningCode.TEAMS, *warnings)
        members.report()
        await recovery.recover_rest()
        builder.finish(ended=list(filter(self._result.has_ended, sources)))
