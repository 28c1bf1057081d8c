"""Counts all lists: those that the policy names, and those that it does not."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from invite_sweeper.errors import RunError
from invite_sweeper.inventory import Invitation, Place, Retired, Source, Unreadable
from invite_sweeper.matching import fold
from invite_sweeper.walk import Reader

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


def _first(errors: BaseExceptionGroup[RunError]) -> RunError:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, RunError)  # noqa: S101 - `except*` let nothing else in
    return found
