"""What the nights after a run bring: in which one an invitation goes, when a limit is free again.

A night is a sweep at the hour of this one, each day. With `over_limit: refuse` an invitation goes
when it is stale and its notice is over; with `trim` the oldest go first, as far as each limit
allows, and what was sent within `limits.period` counts. Only the dates that the plan has and the
limits of the policy are used: who will be invited, accept or leave is not foretold.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain

from invite_sweeper.audit.history import SentDeletion
from invite_sweeper.audit.totals import Forecast
from invite_sweeper.counts import total
from invite_sweeper.models import InvitationKey
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.dates import NIGHT
from invite_sweeper.sweep.due import DueInvitation, last_night
from invite_sweeper.sweep.organization import OrganizationPlan
from invite_sweeper.sweep.plan import most_deletions, oldest_first, within_limits


def nights(
    due: Sequence[DueInvitation], command: Command, *, seen: int
) -> dict[InvitationKey, int]:
    """Return in which night each invitation goes; 0 is the sweep of now.

    Args:
        seen: The invitations in scope, for `max_share`.

    Returns:
        The numbers by the key of the entry that names the invitation, without those that no
        night takes, as where a limit is 0.
    """
    first_nights = {invitation.key: night for invitation, night in due}
    if command.limits.over_limit != "trim":
        return first_nights
    oldest = oldest_first((invitation for invitation, _ in due), command.now)
    waiting = {invitation.key: invitation for invitation in oldest}
    sent = list(command.sent)
    gone_in: dict[InvitationKey, int] = {}
    night = 0
    while waiting and night <= last_night(command.now):
        instant = command.now + night * NIGHT
        sent = _still_counted(sent, instant, command)
        recent = Counter(deletion.place for deletion in sent)
        stale = [invitation for key, invitation in waiting.items() if first_nights[key] <= night]
        most = most_deletions(command, seen=seen - len(gone_in), stale=len(stale), recent=recent)
        chosen = within_limits(stale, most, command, recent)
        for key in chosen:
            gone_in[key] = night
            sent.append(SentDeletion(instant, waiting.pop(key).scope_id))
        if chosen or recent:
            night += 1
            continue
        # No earlier deletion uses the limits up, and still they let none go: that changes only
        # when one more is due. Where none is, no night will take what is left.
        later_nights = [first_nights[key] for key in waiting if first_nights[key] > night]
        if not later_nights:
            break
        night = min(later_nights)
    return gone_in


def _still_counted(
    sent: Iterable[SentDeletion], instant: datetime, command: Command
) -> list[SentDeletion]:
    """Return the deletions that count for the limits of a sweep at an instant."""
    period = command.limits.period
    if not period:
        return []
    return [deletion for deletion in sent if deletion.instant > instant - period]


def nights_left(plans: Sequence[OrganizationPlan], command: Command) -> int | None:
    """Return how many more nights the stale invitations take that the limits leave for later.

    None where none are left, and where no night will take all of them.
    """
    counts = total(plan.counts for plan in plans)
    if not counts.trimmed:
        return None
    # What becomes stale meanwhile counts, too: where it is older, it goes first.
    due = list(chain.from_iterable(plan.reading.due for plan in plans))
    gone_in = nights(due, command, seen=counts.invitations_seen)
    last_of_all = 0
    for stale in chain.from_iterable(plan.reading.stale for plan in plans):
        if stale.key not in gone_in:
            return None
        last_of_all = max(last_of_all, gone_in[stale.key])
    return last_of_all


def limit_free_at(plans: Sequence[OrganizationPlan], command: Command) -> datetime | None:
    """Return the earliest instant at which one more invitation may go.

    Returns:
        None where nothing waits for the limits, and where no deletion of an earlier run reduced
        one of them.
    """
    limits = command.limits
    planned = _planned_in_places(plans)
    is_refused = _exceeds_limits(planned, command)
    waiting_places = set(planned) if is_refused else _trimmed_places(plans)
    if not waiting_places or not command.sent:
        return None
    sent = list(command.sent)
    if not is_refused:  # then this run sends what is planned
        sent += (SentDeletion(command.now, place) for place in planned.elements())
    # A limit has room again at the instant from which one of these deletions does not count.
    for instant in sorted({deletion.instant + limits.period for deletion in sent}):
        recent = Counter(deletion.place for deletion in _still_counted(sent, instant, command))
        if recent.total() >= limits.max_deletions:
            continue
        if any(recent[place] < limits.max_deletions_per_project for place in waiting_places):
            return instant
    return None


def _planned_in_places(plans: Iterable[OrganizationPlan]) -> Counter[str]:
    """Return how many deletions are planned in each place."""
    planned = Counter[str]()
    for plan in plans:
        planned.update(deletion.scope_id for deletion in plan.deletions)
    return planned


def _exceeds_limits(planned: Counter[str], command: Command) -> bool:
    """Return whether earlier deletions and these together exceed a limit of their number."""
    if not planned:  # nothing is exceeded, however much earlier runs deleted
        return False
    together = command.recent + planned
    most_in_place = max(together[place] for place in planned)
    exceeds_total = together.total() > command.limits.max_deletions
    return exceeds_total or most_in_place > command.limits.max_deletions_per_project


def _trimmed_places(plans: Iterable[OrganizationPlan]) -> set[str]:
    """Return the places of the stale invitations that the limits leave for later."""
    places: set[str] = set()
    for plan in plans:
        planned = {deletion.key for deletion in plan.deletions}
        for stale in plan.reading.stale:
            if stale.key not in planned:
                places.add(stale.scope_id)
    return places


def forecast(plans: Iterable[OrganizationPlan], nights_of_rest: int | None) -> Forecast:
    """Return how many become stale within 7 and 30 days, and the nights that the rest takes."""
    readings = [plan.reading for plan in plans]
    return Forecast(
        stale_within_7d=sum(reading.stale_within_7d for reading in readings),
        stale_within_30d=sum(reading.stale_within_30d for reading in readings),
        nights=nights_of_rest,
    )
