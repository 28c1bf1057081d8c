"""What complete runs read: the numbers with which the population guard compares a new reading.

A list that suddenly has far fewer entries than the program left in it was probably not read to its
end, or the credentials see less than they did, and then nothing may be deleted by it. So what is
kept are the numbers of runs that read everything, less what runs ended since and what expired.

Lists lag behind deletions: an entry that a run of the last day ended, or may have ended, may be
listed still. A run records how many there are of them (`may_be_gone`), and they are not counted.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Final, NamedTuple, TypeAlias

from invite_sweeper.audit.compact import EntryLog, Fate
from invite_sweeper.audit.record import RunRecord
from invite_sweeper.audit.totals import ListResult, RunFinished, expired_by
from invite_sweeper.endings import COMPLETE_EXIT_CODES
from invite_sweeper.models import Invitation, InvitationKey, ListKey


class CompleteRun(NamedTuple):
    """What the last complete runs left, the projects by organization.

    Attributes:
        entries: By list; without those that a run has ended since, or that expired; only lists
            that have some.
            Where the last run could not read a list, the number is that of the one before.
        other_scope: The organizations that only runs with other projects or sources read.
    """

    projects: Mapping[str, int]
    entries: Mapping[ListKey, int]
    other_scope: frozenset[str] = frozenset()


class _ListRead(NamedTuple):
    """What a list had when it was last read.

    Attributes:
        position: In the log of entries, then.
        expiring: How many entries reach their `expires_at` on each day.
        may_be_gone: How many of them an earlier run may have ended, by the same day.
    """

    entries: int
    position: int
    expiring: Mapping[str, int]
    may_be_gone: Mapping[str, int]

    def left(self, ended: int, today: date) -> int:
        """Return how many entries it should still have.

        Those that may be gone can be among those that ended since, where a run tried again. Only
        the larger number is subtracted, so that the guard never compares with too few.

        Args:
            ended: How many ended since, without those that have expired by today.
        """
        expired = expired_by(self.expiring, today)
        may_be_gone = sum(self.may_be_gone.values()) - expired_by(self.may_be_gone, today)
        return self.entries - expired - max(ended, may_be_gone)


_Lists: TypeAlias = dict[ListKey, _ListRead]
_ANY_SCOPE: Final = None
"""In place of the hash of a scope: after a change of the policy, what both read is compared."""


class _LastReading(NamedTuple):
    """What runs of one kind last read of an organization.

    Attributes:
        by_sweep: Whether it was a sweep; else a dry run.
        projects: Those that it saw.
    """

    by_sweep: bool
    projects: int
    lists: _Lists


class EndedEntry(NamedTuple):
    """An entry that a run ended, or may have ended.

    Attributes:
        instant: The `now` of that run.
        created_at: As the run recorded it: a user who is invited anew keeps the id.
    """

    instant: datetime
    created_at: str | None


class LastReadings:
    """What runs against one base URL read there.

    Attributes:
        ended: The entries that runs ended, or may have ended. An intent counts with any outcome:
            lists lag behind deletions, and answers get lost.
        may_be_gone: Those of the last day, which a list may still show.
    """

    def __init__(self) -> None:
        self.ended = EntryLog()
        self.may_be_gone: dict[InvitationKey, EndedEntry] = {}
        # By scope, or `_ANY_SCOPE`, and by organization.
        self._readings: dict[str | None, dict[str, _LastReading]] = {}

    def add_ended(self, request: Invitation, fate: Fate, ended_at: datetime | None) -> None:
        """Add the entries that a request ended, or may have ended.

        Args:
            ended_at: The `now` of its run; None where that is over a day ago, so that no list
                shows them any more.
        """
        self.ended.add(request, fate)
        if ended_at is None:
            return
        self.may_be_gone[request.key] = EndedEntry(ended_at, request.created_at)
        for entry in request.entries:
            key = entry.key(request.org_id)
            self.may_be_gone[key] = EndedEntry(ended_at, entry.created_at)

    def add(self, run: RunRecord, end: RunFinished, position: int) -> None:
        """Add what a run read of each organization, if it is complete there.

        Args:
            position: In the log of entries when the run read its lists: before what it ended.
        """
        for org_id, projects in _count_projects(run, end).items():
            self._add_reading(run, end, org_id, projects, position)

    def _add_reading(
        self, run: RunRecord, end: RunFinished, org_id: str, projects: int, position: int
    ) -> None:
        """Add what a complete run read of an organization, for its scope and for any scope.

        The first sweep takes the place of all dry runs, and after it no dry run counts: one with
        `--accept-population` must not become what sweeps are compared with.
        """
        is_sweep = run.mode == "sweep"
        for scope_sha256 in {run.start.scope_sha256, _ANY_SCOPE}:
            readings = self._readings.setdefault(scope_sha256, {})
            before = readings.get(org_id)
            if before is not None and before.by_sweep and not is_sweep:
                continue
            earlier_lists: _Lists = {}
            if before is not None and before.by_sweep == is_sweep:
                earlier_lists = before.lists
            lists = _read_lists(earlier_lists, end, org_id, position)
            readings[org_id] = _LastReading(is_sweep, projects, lists)

    def last_complete(self, scope_sha256: str, today: date) -> CompleteRun | None:
        """Return what the last complete runs left; None without one.

        A run is complete if it ended with exit code 0, 4 or 10: it was neither refused nor
        stopped. The same holds for each organization in it: one that a guard kept out, or that
        failed, has the numbers of the run before. A dry run counts until there is a sweep. Runs of
        another scope count until there is one of this scope: after a change of the policy, the
        projects that both read can still be compared.
        """
        same = self._readings.get(scope_sha256, {})
        # An organization that this scope has read counts as it was read there.
        readings = self._readings.get(_ANY_SCOPE, {}) | same
        if not readings:
            return None
        lists: _Lists = {}
        for reading in readings.values():
            lists |= reading.lists
        return CompleteRun(
            projects={org_id: reading.projects for org_id, reading in readings.items()},
            entries=self._entries_left(lists, today),
            other_scope=frozenset(readings.keys() - same.keys()),
        )

    def _entries_left(self, lists: _Lists, today: date) -> dict[ListKey, int]:
        """Return how many entries each list should still have, without lists that have none.

        Each list has a position of its own: one that the last run could not read has the number
        of an earlier run, and what ended in between is missing in it, too.
        """
        positions = {list_key: read.position for list_key, read in lists.items()}
        ended = self.ended.ended_since(positions, today)
        entries: dict[ListKey, int] = {}
        for list_key, read in lists.items():
            left = read.left(ended[list_key], today)
            if left > 0:
                entries[list_key] = left
        return entries


def _count_projects(run: RunRecord, end: RunFinished) -> dict[str, int]:
    """Return how many projects each organization has that a run read, and that no guard kept out.

    Empty where the run is not complete.
    """
    if end.exit_code not in COMPLETE_EXIT_CODES or run.mode == "restore":
        return {}
    projects: dict[str, int] = {}
    for organization in end.organizations:
        if organization.plan_made and organization.exit_code in COMPLETE_EXIT_CODES:
            projects[organization.id] = organization.projects_seen - organization.projects_gone
    return projects


def _read_lists(before: _Lists, end: RunFinished, org_id: str, position: int) -> _Lists:
    """Return the lists after a run that read those of an organization; an unread one stays.

    A source that the run did not read stays whole. Of one that it read, only the lists that it
    could not read stay: the others are as it found them, and gone where they had nothing.
    """
    lists = dict(before)
    for result in end.lists:
        if result.org_id == org_id:
            _replace_lists(lists, result, position)
    return lists


def _replace_lists(lists: _Lists, result: ListResult, position: int) -> None:
    """Replace the lists of a source by what a run read of them, but for those it could not read."""
    source = result.source.value
    org_id = result.org_id
    unread = frozenset(result.unread)
    for list_key in tuple(lists):
        list_source, list_org_id, place = list_key
        is_of_source = list_source == source and list_org_id == org_id
        if is_of_source and place not in unread:
            del lists[list_key]
    entries_by_place = result.by_project
    if result.source.is_organization_level:
        entries_by_place = {org_id: result.entries}
    for place, entries in entries_by_place.items():
        if place not in unread:
            lists[source, org_id, place] = _ListRead(
                entries=entries,
                position=position,
                expiring=result.expiring.get(place, {}),
                may_be_gone=result.may_be_gone.get(place, {}),
            )
