"""Read again what was deleted: what a list shows counts, and not the answer to the DELETE.

Atlas's lists lag behind its deletions by seconds. So a list that still shows an invitation is
read again for half a minute, before it contradicts the answer to the DELETE. A list that could not
be read again, or not in time, proves nothing: its deletions are counted as not verified. Where the
answer was lost, a list that does not show the invitation proves nothing either: the person may have
accepted.
"""

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias

from invite_sweeper.audit import AuditLog
from invite_sweeper.audit.events import OutcomeLine, Planned
from invite_sweeper.counts import Counts
from invite_sweeper.errors import RunError
from invite_sweeper.models import (
    Invitation,
    InvitationKey,
    ListRef,
    Project,
    Source,
    UserKey,
)
from invite_sweeper.outcomes import Outcome
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.discovery import for_each
from invite_sweeper.sweep.organization import AtlasOrganization, Swept
from invite_sweeper.sweep.result import Result

WAITS_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
"""The waits of a run, after each of which it reads once more the lists that still show something.
Its organizations share them: in the later ones the deletions are older by then."""
_DeletedEntries: TypeAlias = dict[str, Planned]
"""The entries of one list that should be gone: their ids, each with the deletion that ended it."""


class Ended(NamedTuple):
    """A deletion after which its invitation should be gone, or may be: its answer was lost.

    Attributes:
        http_status: Of the answer by which it is gone; None without one.
    """

    planned: Planned
    outcome: Outcome
    http_status: int | None = None


async def read_again(
    result: Result,
    organization: AtlasOrganization,
    deletions: Sequence[Ended],
    log: AuditLog,
    stop: StopRequest,
    waits_s: Iterator[float],
) -> Swept:
    """Read each list again that showed a deleted invitation; return what that changes.

    What is still listed is written as `failed`, with the outcome that it replaces.

    Args:
        waits_s: The waits that are left of the run's.

    Raises:
        AuditLogError: A line could not be written.
    """
    deleted_entries = _deleted_entries_by_list(deletions)
    still_shown = await _still_shown_by_list(result, organization, deleted_entries, stop, waits_s)
    still_listed: set[InvitationKey] = set()
    not_verified: set[InvitationKey] = set()
    for ref, entries in deleted_entries.items():
        if ref in still_shown:
            still_listed |= still_shown[ref]
        else:  # the list was not read
            not_verified.update(planned.key for planned in entries.values())
    outcomes = Counter[str]()
    contradicted: list[Planned] = []
    people: set[UserKey] = set()
    verified = 0
    for deletion in deletions:
        planned = deletion.planned
        if planned.key in still_listed:
            log.write(_contradiction(deletion))
            outcomes[deletion.outcome] -= 1
            outcomes[Outcome.FAILED] += 1
            # A lost answer did not claim anything that a list could contradict.
            if deletion.outcome is not Outcome.UNKNOWN:
                contradicted.append(planned)
        elif deletion.outcome is Outcome.DELETED:
            verified += planned.key not in not_verified
            if planned.source is Source.USERS:
                people.add(planned.user_key)
    result.still_listed(contradicted)
    leaves_invited = result.command.policy.leaves_invited
    counts = Counts(
        verified=verified,
        still_there=len(contradicted),
        still_invited=len(people) if leaves_invited else 0,
    )
    return Swept(outcomes, counts)


def _deleted_entries_by_list(deletions: Iterable[Ended]) -> Mapping[ListRef, _DeletedEntries]:
    """Return the lists that showed the deleted invitations, with their entries there."""
    by_list: defaultdict[ListRef, _DeletedEntries] = defaultdict(dict)
    for deletion in deletions:
        for source, org_id, place, entry_id in deletion.planned.keys:
            # Without a name: two lines may name a project that was renamed, and have one list.
            project = Project(place, "", org_id)
            entries = by_list[ListRef(project, Source(source))]
            entries[entry_id] = deletion.planned
    return by_list


async def _still_shown_by_list(
    result: Result,
    organization: AtlasOrganization,
    deleted_entries: Mapping[ListRef, _DeletedEntries],
    stop: StopRequest,
    waits_s: Iterator[float],
) -> Mapping[ListRef, set[InvitationKey]]:
    """Return the deleted invitations that each list still shows, without lists that were not read.

    After an error of Atlas or of the credentials, or a stop, no further list is read.
    """
    still_shown: dict[ListRef, set[InvitationKey]] = {}
    if deleted_entries and stop.reason is None:
        reading = _read_until_gone(result, organization, deleted_entries, still_shown, waits_s)
        with contextlib.suppress(RunError):
            await stop.run_unless_stopped(reading)
    return still_shown


async def _read_until_gone(
    result: Result,
    organization: AtlasOrganization,
    deleted_entries: Mapping[ListRef, _DeletedEntries],
    still_shown: dict[ListRef, set[InvitationKey]],
    waits_s: Iterator[float],
) -> None:
    """Read lists until none shows a deleted invitation any more, or no wait is left.

    Args:
        still_shown: Gets the deleted invitations that each list still shows. A list that was not
            read, or that still showed some when a wait was cancelled, is not in it.
    """
    command = result.command
    reader = organization.client.reader

    async def read(ref: ListRef) -> None:
        entries = await reader.invitations(ref.project, ref.source)
        if isinstance(entries, tuple):  # else the list could not be read
            still_shown[ref] = set(_still_shown_keys(entries, deleted_entries[ref], command.now))

    lists = tuple(deleted_entries)
    while True:
        await for_each(lists, read, workers=command.policy.execution.concurrency)
        lists = tuple(ref for ref in lists if still_shown.get(ref))
        wait_s = next(waits_s, None) if lists else None
        if wait_s is None:
            return
        result.view.started("Waiting for Atlas's lists", len(lists), organization.label)
        for ref in lists:
            del still_shown[ref]
        await asyncio.sleep(wait_s)


def _still_shown_keys(
    entries: Iterable[Invitation], deleted_entries: _DeletedEntries, now: datetime
) -> Iterator[InvitationKey]:
    """Yield the keys of the deleted invitations that a list still shows by one of its entries."""
    for entry in entries:
        planned = deleted_entries.get(entry.invitation_id)
        if planned is not None and _is_same(planned, entry, now):
            yield planned.key


def _is_same(planned: Planned, entry: Invitation, now: datetime) -> bool:
    """Return whether an entry is that of the deleted invitation.

    It is not where the person was invited again after the DELETE. The entry that the DELETE named
    keeps its date. Of its other entries it is enough that they were there when the run began.
    """
    if entry.key == planned.key:
        return entry.matches_date(planned.sent_at)
    return entry.sent_at is None or entry.sent_at <= now


def _contradiction(deletion: Ended) -> OutcomeLine:
    """Return the line of a deletion whose invitation is still listed."""
    answer = str(deletion.http_status or deletion.outcome)
    if deletion.outcome is Outcome.UNKNOWN:
        answer = "a lost answer"
    return OutcomeLine.of(
        deletion.planned,
        Outcome.FAILED,
        replaces=deletion.outcome,
        reason=f"still listed after {answer}",
    )
