"""What the nights after a run bring: in which one an invitation goes, when a limit is free again.

A night is a sweep at the hour of this one, each day. With `over_limit: refuse` an invitation goes
when it is stale and its notice is over; with `trim` the oldest go first, as far as each limit
allows, and what was sent within `limits.period` counts. Only the dates that the plan has and the
limits of the policy are used: who will be invited, accept or leave is not foretold.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from invite_sweeper.audit.events import Forecast
from invite_sweeper.audit.history import SentDeletion
from invite_sweeper.counts import total
from invite_sweeper.models import Invitation, InvitationKey
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.dates import NIGHT, StaleDates, first_night
from invite_sweeper.sweep.organization import OrganizationPlan
from invite_sweeper.sweep.plan import most_deletions, oldest_first, within_limits
from invite_sweeper.sweep.selection import Decision


class DueInvitation(NamedTuple):
    """An invitation that a sweep will delete if nothing changes.

    Attributes:
        night: The first sweep that finds it stale with its notice over; 0 is that of now.
    """

    invitation: Invitation
    night: int


def due_night(
    by_policy: Decision, decision: Decision, dates: StaleDates, command: Command
) -> int | None:
    """Return the first sweep that may delete an invitation; 0 is that of now.

    Args:
        by_policy: The decision about it, before the steps of a run.
        decision: After them.

    Returns:
        None where nothing foretells it: it never is stale, or a step keeps it for good.
    """
    now = command.now
    if decision.stale:
        return 0
    announcement = decision.announcement
    if announcement is not None and announcement.deletable_from is not None:
        return first_night(announcement.deletable_from, now)
    stale = None if by_policy.stale else dates.stale_from(by_policy)
    if stale is None:
        return None
    night = first_night(stale.instant, now)
    if command.policy.notice is not None:  # that sweep announces it
        night += first_night(now + command.policy.notice.wait, now)
    return night


def nights(
    due: Sequence[DueInvitation], command: Command, *, seen: int
) -> dict[InvitationKey, int]:
    """Return in which night each invitation goes; 0 is the sweep of now.

    Args:
        seen: The invitations in scope, for `max_share`.

    Returns:
        The numbers by the key of the entry that names the invitation, without those that no
        night takes: a limit is 0.
    """
    night_of = {item.invitation.key: item.night for item in due}
    if command.limits.over_limit != "trim":
        return night_of
    left = oldest_first((item.invitation for item in due), command.now)
    sent = list(command.sent)
    gone: dict[InvitationKey, int] = {}
    night = 0
    while left:
        instant = command.now + night * NIGHT
        recent = _counted_at(instant, sent, command)
        ready = [invitation for invitation in left if night_of[invitation.key] <= night]
        most = most_deletions(command, seen=seen - len(gone), stale=len(ready), recent=recent)
        chosen = within_limits(ready, most, command, recent)
        if not chosen and len(ready) == len(left) and not recent:
            break  # what this night does not take, no other one will
        gone |= dict.fromkeys(chosen, night)
        sent += (SentDeletion(instant, each.scope_id) for each in ready if each.key in chosen)
        left = [invitation for invitation in left if invitation.key not in chosen]
        night += 1
    return gone


def _counted_at(instant: datetime, sent: Iterable[SentDeletion], command: Command) -> Counter[str]:
    """Return the deletions that count for the limits at an instant, by place."""
    period = command.limits.period
    if not period:
        return Counter()
    return Counter(deletion.place for deletion in sent if deletion.instant > instant - period)


def nights_left(plans: Sequence[OrganizationPlan], command: Command) -> int | None:
    """Return how many more nights the stale invitations take that the limits leave for later.

    None where none are left, and where no night will take all of them.
    """
    counts = total(plan.counts for plan in plans)
    if not counts.trimmed:
        return None
    stale = [line for plan in plans for line in plan.reading.stale]
    due = [DueInvitation(line, 0) for line in stale]
    found = nights(due, command, seen=counts.invitations_seen)
    return max(found.values()) if len(found) == len(stale) else None


def limit_free_at(plans: Sequence[OrganizationPlan], command: Command) -> datetime | None:
    """Return the earliest instant at which one more invitation may go.

    Returns:
        None where nothing waits for the limits, and where no deletion of an earlier run reduced
        one of them.
    """
    limits = command.limits
    planned = [line.scope_id for plan in plans for line in plan.deletions]
    is_refused = _exceeds_limits(planned, command)
    places = set(planned) if is_refused else _trimmed_places(plans)
    if not places or not command.sent:
        return None
    sent = list(command.sent)
    if not is_refused:
        sent += (SentDeletion(command.now, place) for place in planned)
    for instant in sorted({deletion.instant + limits.period for deletion in sent}):
        recent = _counted_at(instant, sent, command)
        has_room = recent.total() < limits.max_deletions
        if has_room and any(recent[place] < limits.max_deletions_per_project for place in places):
            return instant
    return None


def _exceeds_limits(planned: Sequence[str], command: Command) -> bool:
    """Return whether earlier deletions and these together exceed a limit of their number."""
    limits = command.limits
    together = command.recent + Counter(planned)
    in_place = (together[place] for place in planned)
    most_in_place = max(in_place, default=0)
    return bool(planned) and (
        together.total() > limits.max_deletions or most_in_place > limits.max_deletions_per_project
    )


def _trimmed_places(plans: Iterable[OrganizationPlan]) -> set[str]:
    """Return the places of the stale invitations that the limits leave for later."""
    places: set[str] = set()
    for plan in plans:
        planned = {line.key for line in plan.deletions}
        places.update(line.scope_id for line in plan.reading.stale if line.key not in planned)
    return places


def forecast(plans: Iterable[OrganizationPlan], nights_of_rest: int | None) -> Forecast:
    """Return what becomes stale within 7 and 30 days, and the nights that the rest takes."""
    readings = [plan.reading for plan in plans]
    return Forecast(
        stale_within_7d=sum(reading.stale_within_7d for reading in readings),
        stale_within_30d=sum(reading.stale_within_30d for reading in readings),
        nights=nights_of_rest,
    )
