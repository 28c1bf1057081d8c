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
from invite_sweeper.models import Invitation, ListRef, Project, Source, UserKey
from invite_sweeper.outcomes import Outcome
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.discovery import for_each
from invite_sweeper.sweep.organization import AtlasOrganization, Swept
from invite_sweeper.sweep.result import Result

WAITS_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
"""How long a run waits before it reads a list once more, in all of its organizations together:
what the later ones deleted is older by then."""
_Numbers: TypeAlias = dict[str, int]
"""By the ids of entries of one list, the numbers of the deletions that should have ended them: a
deletion is known by its place in the sequence of all."""


class Ended(NamedTuple):
    """A deletion after which its invitation should be gone, or may be: its answer was lost.

    Attributes:
        http_status: Of the answer that said so; None if no answer did.
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
    lists = _lists_of(deletions)
    shown: dict[ListRef, set[int]] = {}
    if deletions and stop.reason is None:
        reading = _read_until_gone(result, organization, lists, deletions, shown, waits_s)
        # An error of Atlas or of the credentials, or a stop: what is not in `shown` was not read.
        with contextlib.suppress(RunError):
            await stop.run_unless_stopped(reading)
    still_listed: set[int] = set()
    unread: set[int] = set()
    for ref, numbers in lists.items():
        if ref in shown:
            still_listed |= shown[ref]
        else:
            unread.update(numbers.values())
    outcomes = Counter[str]()
    people: set[UserKey] = set()
    verified = 0
    for number, deletion in enumerate(deletions):
        if number in still_listed:
            log.write(_contradiction(deletion))
            outcomes[deletion.outcome] -= 1
            outcomes[Outcome.FAILED] += 1
        elif deletion.outcome is Outcome.DELETED:
            verified += number not in unread
            if deletion.planned.source is Source.USERS:
                people.add(deletion.planned.user_key)
    contradictions = [deletions[number] for number in sorted(still_listed)]
    # A lost answer did not claim anything that a list could contradict.
    contradicted = [each.planned for each in contradictions if each.outcome is not Outcome.UNKNOWN]
    result.still_listed(contradicted)
    leaves_invited = result.command.policy.leaves_invited
    counts = Counts(
        verified=verified,
        still_there=len(contradicted),
        still_invited=len(people) if leaves_invited else 0,
    )
    return Swept(outcomes, counts)


def _lists_of(deletions: Iterable[Ended]) -> Mapping[ListRef, _Numbers]:
    """Return the lists that showed the deleted invitations, with their entries there."""
    lists: defaultdict[ListRef, _Numbers] = defaultdict(dict)
    for number, deletion in enumerate(deletions):
        for source, org_id, place, entry_id in deletion.planned.keys:
            # Without a name: two lines may name a project that was renamed, and have one list.
            project = Project(place, "", org_id)
            numbers = lists[ListRef(project, Source(source))]
            numbers[entry_id] = number
    return lists


async def _read_until_gone(
    result: Result,
    organization: AtlasOrganization,
    lists: Mapping[ListRef, _Numbers],
    deletions: Sequence[Ended],
    shown: dict[ListRef, set[int]],
    waits_s: Iterator[float],
) -> None:
    """Read lists until none shows a deleted invitation any more, or no wait is left.

    Args:
        shown: Gets the numbers of the deletions that each list still shows. A list that was not
            read, or that still showed some when a wait was cancelled, is not in it.
    """
    command = result.command
    reader = organization.client.reader

    async def read(ref: ListRef) -> None:
        entries = await reader.invitations(ref.project, ref.source)
        if isinstance(entries, tuple):  # else the list could not be read
            shown[ref] = set(_shown(entries, lists[ref], deletions, command.now))

    left = tuple(lists)
    while True:
        await for_each(left, read, workers=command.policy.execution.concurrency)
        left = tuple(ref for ref in left if shown.get(ref))
        wait_s = next(waits_s, None) if left else None
        if wait_s is None:
            return
        result.view.started("Waiting for Atlas's lists", len(left), organization.label)
        for ref in left:
            del shown[ref]
        await asyncio.sleep(wait_s)


def _shown(
    entries: Iterable[Invitation], numbers: _Numbers, deletions: Sequence[Ended], now: datetime
) -> Iterator[int]:
    """Yield the numbers of the deletions whose entries a list still shows."""
    for entry in entries:
        number = numbers.get(entry.invitation_id)
        if number is not None and _is_same(deletions[number].planned, entry, now):
            yield number


def _is_same(planned: Planned, entry: Invitation, now: datetime) -> bool:
    """Return whether an entry is not that of a person who was invited again meanwhile.

    The entry that the DELETE named keeps its date. Of the others it is enough that they were
    there when the run began.
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
