"""List projects, then their invitations, concurrently."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from invite_sweeper.errors import AtlasUnavailable, GuardRefused, RunError
from invite_sweeper.models import (
    Invitation,
    ListRef,
    ListUnreadable,
    Project,
    ProjectGone,
    Source,
    SourceRetired,
)
from invite_sweeper.sweep.scope import ProjectFilter, RunScope
from invite_sweeper.text import casefold_visible

# Projects and their invitations, as a stream; and what could not be read.


class ListReader(Protocol):
    """What a walk needs of Atlas."""

    def projects(self) -> AsyncIterator[Project | ListUnreadable]:
        """Give every project that the credentials can see, once each."""
        ...

    async def invitations(
        self, project: Project, source: Source
    ) -> tuple[Invitation, ...] | ListUnreadable | ProjectGone:
        """Give all that one list of a project or organization holds, or why it is not known."""
        ...


@dataclass(frozen=True, slots=True)
class ListedInvitations:
    """One list and all that it holds; complete."""

    list_ref: ListRef
    invitations: tuple[Invitation, ...]


ListOutcome: TypeAlias = ListedInvitations | ListUnreadable | ProjectGone


async def discover_projects(reader: ListReader, project_filter: ProjectFilter) -> RunScope:
    """Read the whole list of projects before anything is asked of one.

    The list is paged by offset, so the shorter the time between its first and last page,
    the fewer projects a rename or a new project can shift out of sight.

    Raises:
        GuardRefused: No project of the policy's organizations is in sight: the credentials
            are of another organization, or the list is not what it seems.
    """
    projects: list[Project] = []
    unreadable: list[ListUnreadable] = []
    organizations: dict[str, None] = {}
    names: dict[str, str] = {}
    async for project in reader.projects():
        if isinstance(project, ListUnreadable):
            unreadable.append(project)
            continue
        names[project.id] = project.name
        if project_filter.in_allowed_organization(project):
            organizations[project.org_id] = None
        if project_filter.includes(project):
            projects.append(project)
    if not organizations:
        raise GuardRefused(
            "No project of the policy's organizations is in sight.",
            hint="Check the ids under organizations, and whose credentials these are "
            "(a credential belongs to one organization).",
        )
    in_scope = frozenset(project.id for project in projects)
    return RunScope(tuple(projects), tuple(unreadable), tuple(organizations), names, in_scope)


async def list_invitations(
    reader: ListReader,
    scope: RunScope,
    sources: Iterable[Source],
    on_list: Callable[[ListOutcome], Awaitable[None]],
    *,
    workers: int,
) -> None:
    """Read list by list, several at a time, and hand each result to `visit`.

    `visit` is called once a list, in no fixed order; not more than `workers` listings are in
    memory. A list that Atlas serves no longer ends its source and no other: the rest of that
    source is not asked for, and `visit` is told once.

    Raises:
        RunError: Reading or `visit` met trouble that is about the run, or Atlas serves none
            of the sources any longer, or knows none of the projects that it has just listed;
            nothing was deleted.
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


class _Workers:
    """What the workers of one walk share: the places left, and the sources that have ended."""

    def __init__(
        self,
        reader: ListReader,
        scope: RunScope,
        on_list: Callable[[ListOutcome], Awaitable[None]],
        list_refs: tuple[ListRef, ...],
    ) -> None:
        self._reader = reader
        self._scope = scope
        self._on_list = on_list
        self._list_counts = Counter(place.source for place in list_refs)
        self._pending = iter(list_refs)
        self._retired: dict[Source, SourceRetired] = {}
        self._projects_gone: Counter[Source] = Counter()

    async def work(self) -> None:
        """Read what is left, one list after another."""
        for project, source in self._pending:
            if source not in self._retired:
                found = await self._reader.invitations(project, source)
                await self._deliver(ListRef(project, source), found)

    async def _deliver(
        self, list_ref: ListRef, found: tuple[Invitation, ...] | ListUnreadable | ProjectGone
    ) -> None:
        self._projects_gone[list_ref.source] += isinstance(found, ProjectGone)
        if isinstance(found, tuple):
            await self._on_list(
                ListedInvitations(list_ref, tuple(map(self._scope.with_project_names, found)))
            )
        elif not isinstance(found, SourceRetired) or self._record_retired(found):
            await self._on_list(found)

    def _record_retired(self, found: SourceRetired) -> bool:
        """Note that a source has ended; whether that is news."""
        return self._retired.setdefault(found.source, found) is found

    def check_any_source_served(self) -> None:
        """Let a walk pass that had at least one list that Atlas serves."""
        if self._retired and self._retired.keys() == self._list_counts.keys():
            raise AtlasUnavailable(
                " ".join(each.reason for each in self._retired.values()),
                hint=" ".join(each.replacement_hint for each in self._retired),
            )

    def check_projects_exist(self) -> None:
        """Let a walk pass that found something in each source.

        A project may go between the survey and its turn. That several do, and all of them,
        is somebody who does not know the call; a run that saw nothing would look clean.
        """
        for source, gone in self._projects_gone.items():
            if 1 < gone == self._list_counts[source]:
                raise AtlasUnavailable(
                    f"Atlas listed {gone} projects, and then knew none of them (404 to {source}).",
                    hint="Check the base URL and the proxy, and what Atlas says of this list.",
                )


def _first_error(errors: BaseExceptionGroup[RunError]) -> RunError:
    """Give one of several: a person mends one thing at a time."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, RunError)  # noqa: S101 - `except*` let nothing else in
    return error


# Counts all lists: those that the policy names, and those that it does not.


MAX_LISTS: Final = 1000
"""So many lists are asked for in one census: as many GETs, and no more."""
_UserKey = tuple[str, str]


@dataclass(slots=True)
class ListCounts:
    """What some lists hold.

    Attributes:
        read: Lists that were read whole, by source.
        pending: Whom they hold, by source; nobody is counted who is a member.
        people: The same as persons, so that one who stands in two lists is one.
        unreadable: Lists that could not be read.
        retired: Lists that Atlas serves no longer.
        passed_over: Lists that were not asked for, as there are too many.
    """

    lists_read: Counter[Source] = field(default_factory=Counter)
    pending: Counter[Source] = field(default_factory=Counter)
    users: dict[Source, set[_UserKey]] = field(default_factory=dict)
    unreadable: list[ListUnreadable] = field(default_factory=list)
    retired: dict[Source, SourceRetired] = field(default_factory=dict)
    skipped: int = 0

    def add(self, list_ref: ListRef, found: object) -> None:
        """Take one answer into account; a project that is gone holds nothing."""
        if isinstance(found, SourceRetired):
            self.retired[list_ref.source] = found
        elif isinstance(found, ListUnreadable):
            self.unreadable.append(found)
        elif isinstance(found, tuple):
            self.lists_read[list_ref.source] += 1
            self.pending[list_ref.source] += len(found)
            self.users.setdefault(list_ref.source, set()).update(map(_user_key, found))


async def count_lists(
    reader: ListReader, list_refs: Sequence[ListRef], *, workers: int
) -> ListCounts:
    """Read lists, several at a time, and count; `MOST_LISTS` of them at most.

    Raises:
        RunError: An answer was about the run.
    """
    counts = ListCounts(skipped=max(0, len(list_refs) - MAX_LISTS))
    queue = iter(list_refs[:MAX_LISTS])

    async def work(shared: Iterator[ListRef]) -> None:
        for place in shared:
            if place.source not in counts.retired:
                counts.add(place, await reader.invitations(place.project, place.source))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(workers, len(list_refs))):
                group.create_task(work(queue))
    except* RunError as errors:
        raise _first_error(errors) from None
    return counts


def _user_key(invitation: Invitation) -> _UserKey:
    who = casefold_visible(invitation.username) if invitation.username else f"#{invitation.id}"
    return invitation.org_id, who
