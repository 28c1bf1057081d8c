"""Projects and their invitations, as a stream; and what could not be read."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from invite_sweeper.errors import GuardRefused, RunError
from invite_sweeper.inventory import Gone, Invitation, Project, Unreadable
from invite_sweeper.scope import Scope


class Reader(Protocol):
    """What a walk needs of Atlas."""

    def projects(self) -> AsyncIterator[Project | Unreadable]:
        """Give every project that the credentials can see, once each."""
        ...

    async def invitations(self, project: Project) -> tuple[Invitation, ...] | Unreadable | Gone:
        """Give all pending invitations of one project, or why that is not known."""
        ...


@dataclass(frozen=True, slots=True)
class Listing:
    """One project and all of its pending invitations; complete."""

    project: Project
    invitations: tuple[Invitation, ...]


Found: TypeAlias = Listing | Unreadable | Gone


@dataclass(frozen=True, slots=True)
class Territory:
    """The projects to walk.

    Attributes:
        projects: Those in scope, in Atlas's order.
        unreadable: Projects that were listed in a form that nobody can ask about.
    """

    projects: tuple[Project, ...]
    unreadable: tuple[Unreadable, ...]


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
    owned = 0
    async for project in reader.projects():
        if isinstance(project, Unreadable):
            unreadable.append(project)
            continue
        owned += scope.owns(project)
        if scope.holds(project):
            projects.append(project)
    if not owned:
        raise GuardRefused(
            "No project of the policy's organizations is in sight.",
            mend="Check the ids under organizations, and whose credentials these are "
            "(a credential belongs to one organization).",
        )
    return Territory(tuple(projects), tuple(unreadable))


async def walk(
    reader: Reader,
    projects: tuple[Project, ...],
    visit: Callable[[Found], Awaitable[None]],
    *,
    workers: int,
) -> None:
    """Read each project's invitations, several at a time, and hand each result to `visit`.

    `visit` is called once a project, in no fixed order; not more than `workers` listings are
    in memory.

    Raises:
        RunError: Reading or `visit` met trouble that is about the run; nothing was deleted.
    """
    queue = iter(projects)

    async def work(shared: Iterator[Project]) -> None:
        for project in shared:
            found = await reader.invitations(project)
            await visit(Listing(project, found) if isinstance(found, tuple) else found)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(workers, len(projects))):
                group.create_task(work(queue))
    except* RunError as errors:
        raise _first(errors) from None


def _first(errors: BaseExceptionGroup[RunError]) -> RunError:
    """Give one of several: a person mends one thing at a time."""
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, RunError)  # noqa: S101 - `except*` let nothing else in
    return found
