"""Read organizations: projects, lists, members; decide their invitations, and settle what is open.

Sets of credentials are read at the same time, a few at once. An error that concerns one list or
one organization is a value; an error that concerns the run is raised.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final, TypeAlias, TypeVar

from msgspec import structs

from invite_sweeper.atlas.reader import AtlasReader
from invite_sweeper.audit import AuditLog
from invite_sweeper.endings import Reason, WarningCode, WarningLevel
from invite_sweeper.errors import (
    AtlasUnavailable,
    AuditLogError,
    CredentialsRefused,
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
)
from invite_sweeper.shutdown import NOTHING_DELETED
from invite_sweeper.sweep.command import Organization
from invite_sweeper.sweep.guards import check_clock, check_members, check_population
from invite_sweeper.sweep.plan import ListOutcome, Observer, Planner
from invite_sweeper.sweep.recovery import Recovery
from invite_sweeper.sweep.result import Result, secret_warnings
from invite_sweeper.sweep.scope import ProjectFilter, RunScope
from invite_sweeper.sweep.steps import Step
from invite_sweeper.text import pluralize

ItemT = TypeVar("ItemT")
OnList: TypeAlias = Callable[[ListRef, ListOutcome], Awaitable[None]]


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
    reader: AtlasReader, project_filter: ProjectFilter, org_ids: Iterable[str]
) -> dict[str, RunScope]:
    """List the projects of organizations before reading any of their invitations.

    Atlas pages the list by offset: a project that is added or renamed between two pages can
    hide another one. A hidden project is read by the next run; but its teams would seem to give
    access to nothing, so where teams decide, the list must not change while it is read.

    Raises:
        GuardRefused: No project of the organizations is visible: the credentials belong to
            another organization, or the list is incomplete.
    """
    names: dict[str, str] = {}
    unreadable: list[ListUnreadable] = []
    found = {
        org_id: RunScope(org_id, visible=False, unreadable=unreadable, project_names=names)
        for org_id in org_ids
    }
    for project in await reader.projects(stable=project_filter.teams_decide):
        if isinstance(project, ListUnreadable):
            unreadable.append(structs.replace(project, source=project_filter.unplaced_source))
            continue
        names[project.id] = project.name
        if (scope := found.get(project.org_id)) is None:
            continue
        scope.visible, is_included = True, project_filter.includes(project)
        (scope.projects if is_included else scope.excluded).append(project)
        if not is_included or project_filter.names_projects_in_entries:
            scope.team_projects.append(project)
    if not any(scope.visible for scope in found.values()):
        raise GuardRefused(
            "No project of the policy's organizations is visible.",
            hint="Check the ids under organizations, and that the credentials belong to one of "
            "them (credentials belong to a single organization).",
            reasons=(Reason.NO_VISIBLE_PROJECT,),
        )
    return found


async def _optional(reading: Awaitable[ItemT]) -> ItemT | None:
    """Return what is read; None if that fails or takes long, as the run goes on without it."""
    with suppress(TimeoutError, RunError):
        async with asyncio.timeout(_OPTIONAL_TIMEOUT_S):
            return await reading
    return None


async def list_invitations(
    reader: AtlasReader,
    scope: RunScope,
    sources: Iterable[Source],
    on_list: OnList,
    *,
    workers: int,
) -> tuple[str, ...]:
    """Read the lists of a scope concurrently, pass each result to `on_list`, return warnings.

    `on_list` is called once per list, in any order. When Atlas has retired a source (410), the
    remaining lists of that source are skipped and `on_list` is called once for all of them.

    Args:
        workers: The number of lists to read at a time, and so to hold in memory.

    Raises:
        RunError: An error concerned the run and not one list, Atlas no longer serves any of
            the sources, or it returned 404 for every project that it had just listed.
    """
    lists = scope.lists(sources)
    teams = TeamAccess(reader, scope, workers=workers)
    retired: dict[Source, SourceRetired] = {}
    gone: Counter[Source] = Counter()

    async def read(ref: ListRef) -> None:
        if ref.source in retired:
            return
        found = await reader.invitations(ref.project, ref.source)
        if isinstance(found, SourceRetired) and retired.setdefault(ref.source, found) is not found:
            return
        gone[ref.source] += isinstance(found, ProjectGone)
        if isinstance(found, tuple):
            found = await teams.link(tuple(map(scope.with_project_names, found)))
        await on_list(ref, found)

    await for_each(lists, read, workers=workers)
    counts = Counter(each.source for each in lists)
    if retired and retired.keys() == counts.keys():
        raise AtlasUnavailable(
            " ".join(each.reason for each in retired.values()),
            hint=" ".join(each.replacement_hint() for each in retired),
        )
    for source, count in gone.items():
        # A single project may have been deleted since it was listed. When all of several are
        # missing, the server does not know the endpoint, and nothing would seem to be stale.
        if 1 < count == counts[source]:
            raise AtlasUnavailable(
                f"Atlas listed {count} projects, then answered 404 to {source} for each one.",
                hint="Check the base URL, the proxy, and Atlas's documentation of this list.",
            )
    return teams.warnings()


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
        self._teams: dict[str, frozenset[str] | ListUnreadable] | None = None

    async def link(self, invitations: tuple[Invitation, ...]) -> tuple[Invitation, ...]:
        """Return the invitations of one list with the projects of their teams linked."""
        if not any(each.team_ids and not each.links_out_of_scope for each in invitations):
            return invitations
        async with self._lock:
            if self._teams is None:
                self._teams = await self._read()
        known = self._teams
        return tuple(self._scope.with_team_projects(each, known) for each in invitations)

    async def _read(self) -> dict[str, frozenset[str] | ListUnreadable]:
        teams: dict[str, frozenset[str] | ListUnreadable] = {}

        async def read(project: Project) -> None:
            teams[project.id] = await self._reader.project_teams(project)

        await for_each(self._scope.team_projects, read, workers=self._workers)
        return teams

    def warnings(self) -> tuple[str, ...]:
        """Return a warning about the projects with unreadable teams, or nothing."""
        known = (self._teams or {}).values()
        unread = [each for each in known if isinstance(each, ListUnreadable)]
        if not unread:
            return ()
        message = (
            f"The teams of {pluralize(len(unread), 'project')} could not be read, so every "
            f"invitation with a team is kept. {unread[0].project_name}: {unread[0].reason} Reading "
            "teams requires the role Project Read Only."
        )
        return (message,)


_AT_A_TIME: Final = 4
_OPTIONAL_TIMEOUT_S: Final = 3.0
"""Sets of credentials that are read at the same time; together they have
`execution.concurrency` requests in flight."""


class Reader:
    """Reads organizations into their counts and `stale`.

    Args:
        organizations: Those with the same client share their credentials.
        log: None for a look that writes nothing.
        more_steps: Further steps of the plan, after those of the command.
        observe: Sees each invitation.
    """

    def __init__(
        self,
        result: Result,
        organizations: Sequence[Organization],
        log: AuditLog | None,
        more_steps: Iterable[Step] = (),
        observe: Observer | None = None,
    ) -> None:
        self._result = result
        self._command = command = result.command
        self._organizations = organizations
        self._write = log.write if log is not None else lambda _event: None
        self._observe = observe
        self._filter = ProjectFilter(command.policy)
        self._steps = (*command.steps(), *more_steps)
        is_look = log is None or command.dry_run
        self._opened = {} if is_look else command.history.open_intents(command.base_url)
        clients: defaultdict[int, list[Organization]] = defaultdict(list)
        for each in organizations:
            clients[id(each.client)].append(each)
        self._by_client = tuple(clients.values())
        execution = command.policy.execution
        # A ceiling of one's own holds for all requests together: each client counts alone.
        at_a_time = 1 if execution.max_requests_per_second else _AT_A_TIME
        self._at_a_time = max(1, min(at_a_time, len(self._by_client), execution.concurrency))
        self.workers = max(1, execution.concurrency // self._at_a_time)

    async def read_all(self) -> None:
        """Read every organization.

        Raises:
            RunError: The audit log failed, or a stop was requested. Nothing was deleted.
        """
        try:
            await for_each(self._by_client, self._read_client, workers=self._at_a_time)
        finally:
            self._result.report_ends(self._organizations)
        if all(each.scope is not None for each in self._organizations):  # else they may match there
            unused = self._filter.unused_patterns()
            self._result.warn_of(WarningCode.UNUSED_PATTERN, *unused, level=WarningLevel.REMARK)

    async def _read_client(self, organizations: Sequence[Organization]) -> None:
        """Read the organizations of one set of credentials; raise an error of the whole run."""
        try:
            await self._list_projects(organizations)
        except RunError as error:
            self._fail(organizations, error)
            return
        for each in organizations:
            try:
                await self._read(each)
            except RunError as error:
                self._fail([each], error)

    def _fail(self, organizations: Sequence[Organization], error: RunError) -> None:
        """Record an error of organizations; raise one that concerns the whole run."""
        if isinstance(error, (AuditLogError, Interrupted)):
            raise error
        if isinstance(error, CredentialsRefused):
            error = error.of_variables(organizations[0].variables)
        if len(self._organizations) > 1:
            names = ", ".join(each.label for each in organizations)
            noun = "Organization" if len(organizations) == 1 else "Organizations"
            there = "Nothing was deleted there." if error.consequence == NOTHING_DELETED else None
            error = error.having(message=f"{noun} {names}: {error.message}", consequence=there)
        for each in organizations:
            each.error = error
            each.stale.clear()

    async def _list_projects(self, organizations: Sequence[Organization]) -> None:
        """List the projects of one set of credentials, and give each organization its own."""
        command, result, client = self._command, self._result, organizations[0].client
        org_ids = [each.id for each in organizations]
        found = await discover_projects(client.reader, self._filter, org_ids)
        check_clock(client.server.clock_skew_s)
        visible = [org_id for org_id, scope in found.items() if scope.visible]
        names, expiries = await asyncio.gather(
            _optional(client.reader.organizations()),
            _optional(client.reader.secret_expiries(visible[0])),
        )
        if isinstance(expiries, tuple):
            result.warn(*secret_warnings(expiries, command.now))
        for each in organizations:
            each.name = (names or {}).get(each.id, each.name)
            each.scope, each.visible = found[each.id], each.id in visible
            each.count(projects_seen=len(each.scope.projects))
            if not each.visible:
                which = " and ".join(each.variables)
                result.warn_of(
                    WarningCode.ABSENT_ORGANIZATION,
                    f"No project of organization {each.label} is visible"
                    f"{f' with the credentials of {which}' if which else ''}: check the id, and "
                    "that the credentials belong to it.",
                )
        planner = Planner(organizations[0], command, self._write)
        for project in found[org_ids[0]].unreadable:  # of an unknown organization: counted once
            organizations[0].count(projects_seen=1)
            planner.add_unreadable(project)

    async def _read(self, organization: Organization) -> None:
        """Read the lists of one organization, settle what is open there, and plan."""
        scope = organization.scope
        assert scope is not None  # noqa: S101 - its projects were listed
        command, result = self._command, self._result
        sources, reader = command.policy.sources, organization.client.reader
        await self._read_members(organization)
        planner = Planner(organization, command, self._write, self._steps, self._observe)
        opened = self._opened.get(organization.id, ())
        recovery = Recovery(result, organization, self._write, opened)
        result.view.lists_found(len(scope.lists(sources)), organization.label)

        async def add_list(ref: ListRef, found: ListOutcome) -> None:
            if isinstance(found, tuple):
                await recovery.settle(ref, found)
            planner.add(ref, found)
            result.view.list_done()

        found = await list_invitations(reader, scope, sources, add_list, workers=self.workers)
        result.warn_of(WarningCode.TEAMS, *found)
        await recovery.settle_rest()
        planner.finish()
        check_population([organization], command)

    async def _read_members(self, organization: Organization) -> None:
        policy = self._command.policy
        if not any(entry.inviter_gone for entry in (*policy.rules, *policy.keep)):
            return
        found = await organization.client.reader.active_members(organization.id)
        if isinstance(found, ListUnreadable):
            self._result.warn_of(
                WarningCode.MEMBERS,
                f"The active members of the organization {organization.label} are not known: "
                f"{found.reason.rstrip('.')}. Nothing is deleted there by inviter_gone.",
            )
            return
        check_members(organization, len(found), self._command)
        organization.members = found
