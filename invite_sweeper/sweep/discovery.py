"""List projects, then their invitations, concurrently; after a sweep, check what is still there.

An error that concerns one list is a value; an error that concerns the run is raised.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias

from invite_sweeper.atlas import AtlasReader
from invite_sweeper.audit.events import Planned
from invite_sweeper.endings import Reason
from invite_sweeper.errors import AtlasUnavailable, GuardRefused, Interrupted, RunError
from invite_sweeper.models import (
    DeletionResult,
    Invitation,
    InvitationList,
    ListRef,
    ListUnreadable,
    Outcome,
    Project,
    ProjectGone,
    Source,
    SourceRetired,
)
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.scope import ProjectFilter, RunScope
from invite_sweeper.text import pluralize


@dataclass(frozen=True, slots=True)
class ListedInvitations:
    """A list that was read completely, and its invitations."""

    list_ref: ListRef
    invitations: InvitationList


ListOutcome: TypeAlias = ListedInvitations | ListUnreadable | ProjectGone


async def discover_projects(reader: AtlasReader, project_filter: ProjectFilter) -> RunScope:
    """List all projects before reading any of their invitations.

    Atlas pages the list by offset: a project that is added or renamed between two pages can
    hide another one. A hidden project is read by the next run; but its teams would seem to give
    access to nothing, so where teams decide, the list must not change while it is read.

    Raises:
        GuardRefused: No project of the policy's organizations is visible: the credentials
            belong to another organization, or the list is incomplete.
    """
    projects: list[Project] = []
    excluded: list[Project] = []
    unreadable: list[ListUnreadable] = []
    organizations: dict[str, None] = {}
    names: dict[str, str] = {}
    team_projects: list[Project] = []
    for project in await reader.projects(stable=project_filter.teams_decide):
        if isinstance(project, ListUnreadable):
            unreadable.append(project)
            continue
        names[project.id] = project.name
        is_included = project_filter.includes(project)
        if project_filter.in_allowed_organization(project):
            organizations[project.org_id] = None
            (projects if is_included else excluded).append(project)
        if not is_included or project_filter.names_projects_in_entries:
            team_projects.append(project)
    if not organizations:
        raise GuardRefused(
            "No project of the policy's organizations is visible.",
            hint="Check the ids under organizations, and that the credentials belong to one of "
            "them (credentials belong to a single organization).",
            reasons=(Reason.NO_VISIBLE_PROJECT,),
        )
    in_scope = frozenset(project.id for project in projects)
    return RunScope(
        projects=tuple(projects),
        unreadable=tuple(unreadable),
        organizations=tuple(organizations),
        excluded=tuple(excluded),
        project_names=names,
        in_scope_ids=in_scope,
        team_projects=tuple(each for each in team_projects if each.org_id in organizations),
        all_ids_readable=not unreadable,
    )


async def list_invitations(
    reader: AtlasReader,
    scope: RunScope,
    sources: Iterable[Source],
    on_list: Callable[[ListOutcome], Awaitable[None]],
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
    list_refs = scope.lists(sources)
    shared = _Workers(reader, scope, on_list, list_refs)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(workers, len(list_refs))):
                group.create_task(shared.work())
    except* RunError as errors:
        raise _first_error(errors) from None
    shared.check_any_source_served()
    shared.check_projects_exist()
    return shared.teams.warnings()


class TeamAccess:
    """Links the invitations of organizations to the projects that their teams have access to.

    The teams of an organization's projects are read once, and only if one of its invitations has
    a team and is not out of scope already.
    """

    def __init__(self, reader: AtlasReader, scope: RunScope) -> None:
        self._reader = reader
        self._scope = scope
        self._lock = asyncio.Lock()
        self._teams: dict[str, dict[str, frozenset[str] | None]] = {}
        self._unreadable: list[ListUnreadable] = []

    async def link(self, invitations: tuple[Invitation, ...]) -> tuple[Invitation, ...]:
        """Return the invitations of one list with the projects of their teams linked."""
        with_teams = [each for each in invitations if each.source.is_organization_level]
        if not any(each.team_ids and not each.links_out_of_scope for each in with_teams):
            return invitations
        teams = await self._teams_of(with_teams[0].org_id)
        return tuple(self._scope.with_team_projects(each, teams) for each in invitations)

    def warnings(self) -> tuple[str, ...]:
        """Return one warning about the projects with unreadable teams, or nothing."""
        if not self._unreadable:
            return ()
        count, first = len(self._unreadable), self._unreadable[0]
        message = (
            f"The teams of {pluralize(count, 'project')} could not be read, so every invitation "
            f"with a team is kept. {first.project_name}: {first.reason} Reading teams requires "
            "the role Project Read Only."
        )
        return (message,)

    async def _teams_of(self, org_id: str) -> dict[str, frozenset[str] | None]:
        async with self._lock:
            if org_id not in self._teams:
                of_org = [each for each in self._scope.team_projects if each.org_id == org_id]
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._read(each)) for each in of_org]
                self._teams[org_id] = {
                    project.id: task.result() for project, task in zip(of_org, tasks, strict=True)
                }
            return self._teams[org_id]

    async def _read(self, project: Project) -> frozenset[str] | None:
        found = await self._reader.project_teams(project)
        if isinstance(found, ListUnreadable):
            self._unreadable.append(found)
            return None
        return found


class _Workers:
    """The state that the workers share: the lists left to read and the retired sources."""

    def __init__(
        self,
        reader: AtlasReader,
        scope: RunScope,
        on_list: Callable[[ListOutcome], Awaitable[None]],
        list_refs: tuple[ListRef, ...],
    ) -> None:
        self._reader = reader
        self._scope = scope
        self._on_list = on_list
        self.teams = TeamAccess(reader, scope)
        self._list_counts = Counter(list_ref.source for list_ref in list_refs)
        self._pending = iter(list_refs)
        self._retired: dict[Source, SourceRetired] = {}
        self._projects_gone: Counter[Source] = Counter()

    async def work(self) -> None:
        """Read pending lists until none is left."""
        for project, source in self._pending:
            if source not in self._retired:
                found = await self._reader.invitations(project, source)
                await self._deliver(ListRef(project, source), found)

    async def _deliver(
        self, list_ref: ListRef, found: InvitationList | ListUnreadable | ProjectGone
    ) -> None:
        self._projects_gone[list_ref.source] += isinstance(found, ProjectGone)
        if isinstance(found, InvitationList):
            named = tuple(map(self._scope.with_project_names, found))
            linked = InvitationList(await self.teams.link(named), found.rows)
            await self._on_list(ListedInvitations(list_ref, linked))
        elif not isinstance(found, SourceRetired) or self._record_retired(found):
            await self._on_list(found)

    def _record_retired(self, found: SourceRetired) -> bool:
        """Record that Atlas retired a source; return whether this is the first report of it."""
        return self._retired.setdefault(found.source, found) is found

    def check_any_source_served(self) -> None:
        """Raise AtlasUnavailable if Atlas has retired every source."""
        if self._retired and self._retired.keys() == self._list_counts.keys():
            raise AtlasUnavailable(
                " ".join(each.reason for each in self._retired.values()),
                hint=" ".join(each.replacement_hint() for each in self._retired),
            )

    def check_projects_exist(self) -> None:
        """Raise AtlasUnavailable if each of several projects returned 404.

        A single project may have been deleted since it was listed. When all of several are
        missing, the server does not know the endpoint, and the run would seem to have
        nothing to do.
        """
        for source, gone in self._projects_gone.items():
            if 1 < gone == self._list_counts[source]:
                raise AtlasUnavailable(
                    f"Atlas listed {gone} projects, then answered 404 to {source} for each one.",
                    hint="Check the base URL, the proxy, and Atlas's documentation of this list.",
                )


def _first_error(errors: BaseExceptionGroup[RunError]) -> RunError:
    """Return the first of the errors: the operator can fix one at a time."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, RunError)  # noqa: S101 - `except*` selects only this type
    return error


MAX_LISTS_VERIFIED: Final = 500
"""Lists that are read again. Atlas allows 250 projects in an organization by default."""
MAX_DELETIONS_VERIFIED: Final = 10_000
"""Deletions that are remembered, so that memory stays flat."""


class StillListed(NamedTuple):
    """A deletion that Atlas's lists contradict.

    Attributes:
        outcome: What the answer to its DELETE said.
        lists: The lists that still show an entry of it.
    """

    planned: Planned
    outcome: Outcome
    lists: list[ListRef]


class DeletionVerifier:
    """Reads each list again that showed a deleted invitation, once.

    A list that cannot be read again, or not before a stop, proves nothing about its deletions.

    Args:
        now: The instant of the run.

    Attributes:
        verified: Deletions that Atlas confirmed and that each of their lists shows no more.
        still_listed: Deletions with an entry that is still in its list.
    """

    def __init__(self, reader: AtlasReader, stop: StopRequest, now: datetime) -> None:
        self._reader = reader
        self._stop = stop
        self._now = now
        self._deleted: list[tuple[Planned, Outcome]] = []
        self._entries: dict[ListRef, dict[str, int]] = {}  # ids, with the number of the deletion
        self._unread: Counter[int] = Counter()  # entries of each deletion
        self._found: dict[int, list[ListRef]] = {}
        self.verified = 0
        self.still_listed: list[StillListed] = []

    def record(self, planned: Planned, result: DeletionResult) -> None:
        """Record the result of one deletion."""
        number, is_full = len(self._deleted), len(self._deleted) >= MAX_DELETIONS_VERIFIED
        if result.outcome not in {Outcome.DELETED, Outcome.ALREADY_GONE} or is_full:
            return
        self._deleted.append((planned, result.outcome))
        for source, org_id, place, id_ in planned.keys:
            # Without a name, so that each list is read once, whatever line names it.
            ref = ListRef(Project(place, "", org_id), Source(source))
            self._entries.setdefault(ref, {})[id_] = number
            self._unread[number] += 1

    async def run(self, *, workers: int) -> None:
        """Read the lists again, until all are read or a stop is requested; nothing is raised.

        Args:
            workers: The number of lists to read at a time.
        """
        if self._deleted and self._stop.reason is None:
            with suppress(Interrupted):  # the rest is not verified
                await self._stop.run_unless_stopped(self._read_all(workers))
        for number, (planned, outcome) in enumerate(self._deleted):
            if number in self._found:
                self.still_listed.append(StillListed(planned, outcome, self._found[number]))
            elif not self._unread[number]:
                self.verified += outcome is Outcome.DELETED

    async def _read_all(self, workers: int) -> None:
        pending = iter(list(self._entries.items())[:MAX_LISTS_VERIFIED])
        async with asyncio.TaskGroup() as group:
            for _ in range(min(workers, len(self._entries))):
                group.create_task(self._work(pending))

    async def _work(self, pending: Iterator[tuple[ListRef, dict[str, int]]]) -> None:
        with suppress(RunError):  # Atlas or the credentials are gone: the rest is not verified
            for ref, entries in pending:
                found = await self._reader.invitations(ref.project, ref.source)
                if not isinstance(found, InvitationList):
                    continue
                self._unread.subtract(entries.values())
                for one in found:
                    if (number := entries.get(one.id)) is not None and self._is_same(number, one):
                        self._found.setdefault(number, []).append(ref)

    def _is_same(self, number: int, found: Invitation) -> bool:
        """Return whether an entry is not that of a person who was invited again meanwhile.

        Of other entries than the named one no date is known: they are older than the run.
        """
        planned, _ = self._deleted[number]
        if found.key == planned.key:
            return found.is_dated(planned.invitation().created_at)
        return not isinstance(found.created_at, datetime) or found.created_at <= self._now
