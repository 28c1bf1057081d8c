"""Keep entries that end: how many people they keep, and would still keep.

From 7 days before the last day of an entry, each run in which it keeps an invitation names it;
until 7 days after it, each run in which it would still keep one, or whose earlier runs show that
it did in those days. People are counted, not invitations.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import Final

from invite_sweeper.models import Invitation, PersonKey
from invite_sweeper.policy import Keep, Policy
from invite_sweeper.sweep.selection import Selector
from invite_sweeper.text import plural_form, pluralize

_NEAR: Final = timedelta(days=7)
"""How long before and after its last day an entry is named."""


def ending_entries(policy: Policy, today: date) -> tuple[Keep, ...]:
    """Return the keep entries whose last day is at most 7 days away, in the future or past."""
    return tuple(entry for entry in policy.keep if _is_near(entry.until, today))


def _is_near(last_day: date | None, today: date) -> bool:
    return last_day is not None and abs(last_day - today) <= _NEAR


class KeepEnds:
    """Finds the people of one organization that an entry which ends keeps, or would still keep.

    A person whom another entry keeps, too, loses nothing: such a person does not count for an
    entry that has ended.

    Args:
        today: The day of the run, in UTC.
        selector_of: Makes what decides by another policy at the instant of the run.
    """

    def __init__(
        self, policy: Policy, today: date, selector_of: Callable[[Policy], Selector]
    ) -> None:
        ending = ending_entries(policy, today)
        self._name_by_reason = {f"keep:{entry.name}": entry.name for entry in ending}
        self._people: dict[str, set[PersonKey]] = {entry.name: set() for entry in ending}
        self._selector_of = selector_of
        # An entry that has ended would still keep what it keeps if its last day were today. Such
        # entries come last: the first entry that matches keeps, so theirs is what no other keeps.
        active = [entry for entry in policy.keep if entry.is_active(today)]
        ended_entries = [entry for entry in ending if not entry.is_active(today)]
        prolonged = [entry.model_copy(update={"until": today}) for entry in ended_entries]
        self._prolonged = policy.model_copy(update={"keep": (*active, *prolonged)})

    def add(self, entries: Iterable[Invitation]) -> None:
        """Add the entries of a list."""
        if not self._name_by_reason:
            return
        # Made for each list: members may be known by now that were not for the list before.
        selector = self._selector_of(self._prolonged)
        for entry in entries:
            reason = selector.decide(entry).keep_reason
            if reason in self._name_by_reason:
                name = self._name_by_reason[reason]
                self._people[name].add(entry.person)

    @property
    def people(self) -> Mapping[str, frozenset[PersonKey]]:
        """The people so far, by the name of the keep entry; entries without people, too."""
        return {name: frozenset(people) for name, people in self._people.items()}


def count_by_entry(
    organizations: Iterable[Mapping[str, frozenset[PersonKey]]],
) -> dict[str, int]:
    """Return how many people all organizations together have for each entry.

    Args:
        organizations: `KeepEnds.people` of each.
    """
    together: dict[str, set[PersonKey]] = {}
    for people_by_entry in organizations:
        for name, people in people_by_entry.items():
            together.setdefault(name, set()).update(people)
    return {name: len(people) for name, people in together.items()}


def count_before(
    policy: Policy, today: date, seen: Mapping[tuple[str, str], int]
) -> dict[str, int]:
    """Return how many people earlier runs saw behind each entry that has ended.

    Args:
        seen: By the name and the last day of the entry, as `History.people_of_keep_entries`.
    """
    people_before: dict[str, int] = {}
    for entry in ending_entries(policy, today):
        if not entry.is_active(today):
            last_day = str(entry.until)
            people_before[entry.name] = seen.get((entry.name, last_day), 0)
    return people_before


def describe_ends(
    policy: Policy,
    today: date,
    people_now: Mapping[str, int],
    people_before: Mapping[str, int],
) -> Iterator[str]:
    """Yield a sentence for each keep entry that ends or has ended with people behind it.

    Args:
        people_now: How many people this run saw, by the name of the entry.
        people_before: How many people earlier runs saw in these days.
    """
    for entry in ending_entries(policy, today):
        people = people_now.get(entry.name, 0)
        if entry.is_active(today):
            yield from _ends_soon(entry, people, today)
        else:
            yield from _has_ended(entry, people, people_before.get(entry.name, 0))


def _ends_soon(entry: Keep, people: int, today: date) -> Iterator[str]:
    """Yield a sentence about an entry that holds still and keeps people."""
    if entry.until is None or not people:
        return
    days_left = (entry.until - today).days
    when = f"in {pluralize(days_left, 'day')}" if days_left else "today"
    yield (
        f"The keep entry {entry.name!r} ends on {entry.until}, {when}: "
        f"it keeps {pluralize(people, 'person', 'people')} until then. "
        "Move `until` if it should keep them longer."
    )


def _has_ended(entry: Keep, people: int, people_before: int) -> Iterator[str]:
    """Yield a sentence about an entry that has ended, if it would keep people, or did."""
    ended = f"The keep entry {entry.name!r} ended on {entry.until}"
    if people:
        are = plural_form(people, "is", "are")
        yield (
            f"{ended}: {pluralize(people, 'person', 'people')} {are} not kept by it any more. "
            "Move `until` if it should keep them longer."
        )
    elif people_before:
        kept = pluralize(people_before, "person", "people")
        yield f"{ended}: it kept {kept} in its last days."
