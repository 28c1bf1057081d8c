"""The population guard: nothing is deleted by lists that suddenly show far less than before.

A list that lost a page, or credentials that see less than yesterday, look like an organization
that became smaller. So the projects of an organization, and the entries of each list, are compared
with what the last complete run left there. Where one of these numbers dropped by more than
`limits.max_population_drop`, the run deletes nothing.

- Before: what that run read, without what runs ended since, or had ended just before while the list
  still showed it (`History.last_complete`): what the program deleted itself is not a drop. Without
  such a run only projects are compared, with those that this run listed before it read them.
- Now: what this run read. Lists that it could not read are left out on both sides, because
  `max_unreadable_projects` judges them.
- Entries that have expired are left out on both sides: they leave their lists by themselves.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Final, NamedTuple

from invite_sweeper.audit import CompleteRun
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import ListRef, Source
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.organization import Reading
from invite_sweeper.text import plural_form, pluralize

_MAX_NOT_COMPARED: Final = 10
"""Numbers of projects and entries up to this one are not compared: of 10 entries, a single person
who accepts is a tenth."""


class _Counted(NamedTuple):
    """What is counted, before and now.

    Attributes:
        singular: What one of them is called.
        where: In which list, as it follows their name; "" for all lists together.
    """

    singular: str
    plural: str
    where: str = ""


_PROJECTS: Final = _Counted("project", "projects")
_ENTRIES: Final = _Counted("unexpired entry", "unexpired entries")
_MEMBERS: Final = _Counted("active member", "active members")


class _Comparison(NamedTuple):
    """A number of one organization, or of several together, before and now."""

    counted: _Counted
    before: int
    now: int


def check_population(readings: Iterable[Reading], command: Command) -> None:
    """Raise GuardRefused if projects or entries dropped by more than `max_population_drop`.

    It is checked twice: of each organization once it is read, where a drop keeps this organization
    out, and of all that are left together, where a drop refuses the run. Together they may reach
    numbers that are compared where each of them is too small.

    Args:
        readings: Of one organization, or of all that are left, whose numbers are added up.
    """
    if command.accept_population:
        return
    before = Counter[_Counted]()
    now = Counter[_Counted]()
    for reading in readings:
        for comparison in _compare(reading, command):
            before[comparison.counted] += comparison.before
            now[comparison.counted] += comparison.now
    for counted, count_before in before.items():
        if count_before <= _MAX_NOT_COMPARED:
            continue
        drop = _describe_drop(counted, count_before, now[counted], command)
        if drop:
            reason = Reason.MAX_POPULATION_DROP
            raise GuardRefused(drop, hint=reason.advice, reasons=(reason,))


def _compare(reading: Reading, command: Command) -> Iterator[_Comparison]:
    """Yield what is compared in one organization."""
    last_run = command.last_complete or CompleteRun(projects={}, entries={})
    yield _compare_projects(reading, last_run)
    unexpired = reading.unexpired(command.now.date())
    for source in command.policy.sources:
        # Atlas may have retired a list (410): the run reports it, and deletes nothing there.
        if source in reading.retired:
            continue
        lists_before = _lists_before(reading, source, last_run)
        # A list in which the last run left nothing cannot drop.
        if not lists_before:
            continue
        # A run of another scope may not have read the lists of all projects that are read now.
        # What those have must not hide what another list lost, so they do not count.
        is_of_other_scope = reading.id in last_run.other_scope
        only = lists_before if is_of_other_scope else None
        before = sum(lists_before.values())
        now = _count_entries(unexpired, source, only=only)
        # All sources together, because lists that are too small to be compared may all be short;
        # and each by itself, because what one lost hides among the others.
        yield _Comparison(_ENTRIES, before, now)
        yield _Comparison(_ENTRIES._replace(where=f" in the list {source}"), before, now)


def _compare_projects(reading: Reading, last_run: CompleteRun) -> _Comparison:
    """Compare the projects of an organization with those that the last complete run saw.

    A project that answers 404 to a list is gone, although Atlas listed it a moment ago. It may be
    one that the credentials see no longer, so what was listed is a number before, too: all that
    are gone now are a drop, also in the first run.
    """
    listed = reading.counts.projects_seen
    if reading.id in last_run.other_scope:
        # That run may have seen projects that the policy leaves out now. They are listed still.
        listed += len(_excluded_ids(reading))
    before = max(listed, last_run.projects.get(reading.id, 0))
    return _Comparison(_PROJECTS, before, listed - reading.counts.projects_gone)


def _lists_before(reading: Reading, source: Source, last_run: CompleteRun) -> dict[str, int]:
    """Return the entries that the last complete run left in the lists of a source.

    Left out are the lists that this run could not read and, after a run of another scope, those of
    projects that the policy leaves out now.

    Returns:
        The numbers by the id of the project, or of the organization for its own list.
    """
    left_out: set[str] = set()
    for unreadable in reading.unread:
        if unreadable.source is source:
            left_out.add(unreadable.scope_id)
    if reading.id in last_run.other_scope:
        left_out |= _excluded_ids(reading)
    lists: dict[str, int] = {}
    for (list_source, org_id, place), count in last_run.entries.items():
        if (list_source, org_id) == (source.value, reading.id) and place not in left_out:
            lists[place] = count
    return lists


def _count_entries(
    entries: Mapping[ListRef, int], source: Source, *, only: Container[str] | None
) -> int:
    """Return how many entries the lists of a source have.

    Args:
        only: The ids of the projects whose lists count; None for all.
    """
    total = 0
    for ref, count in entries.items():
        is_counted = only is None or ref.project.id in only
        if ref.source is source and is_counted:
            total += count
    return total


def _excluded_ids(reading: Reading) -> set[str]:
    """Return the ids of the projects that were listed and that the policy leaves out."""
    if reading.scope is None:
        return set()
    return {project.id for project in reading.scope.excluded}


def drop_of_members(org_id: str, count: int, command: Command) -> str:
    """Return a sentence if active members dropped by more than `max_population_drop`, else "".

    The list may be incomplete, and each inviter who is missing in it would seem to be gone. So
    small numbers are compared, too. A drop concerns `inviter_gone` alone: it keeps the invitations
    that this condition would delete, and refuses nothing.
    """
    if command.accept_population:
        return ""
    before = command.history.members(command.base_url)
    return _describe_drop(_MEMBERS, before.get(org_id, 0), count, command)


def _describe_drop(counted: _Counted, before: int, now: int, command: Command) -> str:
    """Return a sentence if a number dropped by more than `max_population_drop`, else "".

    Exact: 0.29 of 100 is 29, which floating-point multiplication misses.
    """
    max_drop = command.limits.max_population_drop
    if before - now <= Fraction(str(max_drop)) * before:
        return ""
    number_now = pluralize(now, counted.singular, counted.plural)
    were = plural_form(now, "was", "were")
    return (
        f"{number_now}{counted.where} {were} found, {before:,} before: "
        f"the drop is over max_population_drop: {max_drop}."
    )
