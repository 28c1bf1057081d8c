"""List projects, then their invitations, concurrently."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from invite_sweeper.errors import AtlasUnavailable, GuardRefused, RunError
from invite_sweeper.models import Gone, Invitation, Place, Project, Retired, Source, Unreadable
from invite_sweeper.sweep.scope import Scope, Territory
from invite_sweeper.text import fold

# Projects and their invitations, as a stream; and what could not be read.


class Reader(Protocol):
    """What a walk needs of Atlas."""

    def projects(self) -> AsyncIterator[Project | Unreadable]:
        """Give every project that the credentials can see, once each."""
        ...

    async def invitations(
        self, project: Project, source: Source
    ) -> tuple[Invitation, ...] | Unreadable | Gone:
        """Give all that one list of a project or organization holds, or why it is not known."""
        ...


@dataclass(frozen=True, slots=True)
class Listing:
    """One list and all that it holds; complete."""

    place: Place
    invitations: tuple[Invitation, ...]


Found: TypeAlias = Listing | Unreadable | Gone


async def survey(reader: Reader, scope: Scope) -> Territory:
    """Read the whole list of projects before anything is asked of one.

    The list is paged by offset, so the shorter the time between its first and last page,
    the fewer projects a rename or a new project can shift out of sight.

    Raises:
        GuardRefused: No project of the policy's organizations is in sight: the credentials
            are of another organization, or the list is not what it seems.
    """
    projects: list[Project] = []
    unreadable: list[Unreadable] = []
    owners: dict[str, None] = {}
    names: dict[str, str] = {}
    async for project in reader.projects():
        if isinstance(project, Unreadable):
            unreadable.append(project)
            continue
        names[project.id] = project.name
        if scope.owns(project):
            owners[project.org_id] = None
        if scope.holds(project):
            projects.append(project)
    if not owners:
        raise GuardRefused(
            "No project of the policy's organizations is in sight.",
            hint="Check the ids under organizations, and whose credentials these are "
            "(a credential belongs to one organization).",
        )
    in_scope = frozenset(project.id for project in projects)
    return Territory(tuple(projects), tuple(unreadable), tuple(owners), names, in_scope)


async def walk(
    reader: Reader,
    territory: Territory,
    sources: Iterable[Source],
    visit: Callable[[Found], Awaitable[None]],
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
    places = territory.places(sources)
    steps = _Steps(reader, territory, visit, places)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(workers, len(places))):
                group.create_task(steps.work())
    except* RunError as errors:
        raise _first(errors) from None
    steps.raise_if_nothing_is_served()
    steps.raise_if_all_is_gone()


class _Steps:
    """What the workers of one walk share: the places left, and the sources that have ended."""

    def __init__(
        self,
        reader: Reader,
        territory: Territory,
        visit: Callable[[Found], Awaitable[None]],
        places: tuple[Place, ...],
    ) -> None:
        self._reader = reader
        self._territory = territory
        self._visit = visit
        self._asked = Counter(place.source for place in places)
        self._left = iter(places)
        self._retired: dict[Source, Retired] = {}
        self._gone: Counter[Source] = Counter()

    async def work(self) -> None:
        """Read what is left, one list after another."""
        for project, source in self._left:
            if source not in self._retired:
                found = await self._reader.invitations(project, source)
                await self._hand_over(Place(project, source), found)

    async def _hand_over(
        self, place: Place, found: tuple[Invitation, ...] | Unreadable | Gone
    ) -> None:
        self._gone[place.source] += isinstance(found, Gone)
        if isinstance(found, tuple):
            await self._visit(Listing(place, tuple(map(self._territory.located, found))))
        elif not isinstance(found, Retired) or self._ends(found):
            await self._visit(found)

    def _ends(self, found: Retired) -> bool:
        """Note that a source has ended; whether that is news."""
        return self._retired.setdefault(found.source, found) is found

    def raise_if_nothing_is_served(self) -> None:
        """Let a walk pass that had at least one list that Atlas serves."""
        if self._retired and self._retired.keys() == self._asked.keys():
            raise AtlasUnavailable(
                " ".join(each.reason for each in self._retired.values()),
                hint=" ".join(each.replacement_hint for each in self._retired),
            )

    def raise_if_all_is_gone(self) -> None:
        """Let a walk pass that found something in each source.

        A project may go between the survey and its turn. That several do, and all of them,
        is somebody who does not know the call; a run that saw nothing would look clean.
        """
        for source, gone in self._gone.items():
            if 1 < gone == self._asked[source]:
                raise AtlasUnavailable(
                    f"Atlas listed {gone} projects, and then knew none of them (404 to {source}).",
                    hint="Check the base URL and the proxy, and what Atlas says of this list.",
                )


def _first(errors: BaseExceptionGroup[RunError]) -> RunError:
    """Give one of several: a person mends one thing at a time."""
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, RunError)  # noqa: S101 - `except*` let nothing else in
    return found


# Counts all lists: those that the policy names, and those that it does not.


MOST_LISTS: Final = 1000
"""So many lists are asked for in one census: as many GETs, and no more."""
_Person = tuple[str, str]


@dataclass(slots=True)
class Census:
    """What some lists hold.

    Attributes:
        read: Lists that were read whole, by source.
        pending: Whom they hold, by source; nobody is counted who is a member.
        people: The same as persons, so that one who stands in two lists is one.
        unreadable: Lists that could not be read.
        retired: Lists that Atlas serves no longer.
        passed_over: Lists that were not asked for, as there are too many.
    """

    read: Counter[Source] = field(default_factory=Counter)
    pending: Counter[Source] = field(default_factory=Counter)
    people: dict[Source, set[_Person]] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)
    retired: dict[Source, Retired] = field(default_factory=dict)
    passed_over: int = 0

    def note(self, place: Place, found: object) -> None:
        """Take one answer into account; a project that is gone holds nothing."""
        if isinstance(found, Retired):
            self.retired[place.source] = found
        elif isinstance(found, Unreadable):
            self.unreadable.append(found)
        elif isinstance(found, tuple):
            self.read[place.source] += 1
            self.pending[place.source] += len(found)
            self.people.setdefault(place.source, set()).update(map(_person, found))


async def count_lists(reader: Reader, places: Sequence[Place], *, workers: int) -> Census:
    """Read lists, several at a time, and count; `MOST_LISTS` of them at most.

    Raises:
        RunError: An answer was about the run.
    """
    census = Census(passed_over=max(0, len(places) - MOST_LISTS))
    queue = iter(places[:MOST_LISTS])

    async def work(shared: Iterator[Place]) -> None:
        for place in shared:
            if place.source not in census.retired:
                census.note(place, await reader.invitations(place.project, place.source))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(workers, len(places))):
                group.create_task(work(queue))
    except* RunError as errors:
        raise _first(errors) from None
    return census


def _person(invitation: Invitation) -> _Person:
    who = fold(invitation.username) if invitation.username else f"#{invitation.id}"
    return invitation.org_id, who
