"""The plan: what is deleted of what was read, within the limits, and after a second reading.

A plan has what is stale in an organization that was read without an error. With `over_limit: trim`
the oldest invitations over all organizations stay in it, as far as each limit allows. A second
reading, after a long question, can only make it smaller.

Each function returns plans and changes none. The order in which lists were read decides nothing.
"""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from invite_sweeper.audit.events import OutcomeLine, Planned
from invite_sweeper.counts import Counts, total
from invite_sweeper.models import Invitation, InvitationKey, ListUnreadable
from invite_sweeper.outcomes import Outcome
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.guards import share_limit
from invite_sweeper.sweep.organization import OrganizationPlan, Reading, Swept, all_deletions
from invite_sweeper.sweep.reading import unread_counts
from invite_sweeper.sweep.steps import UNKNOWN_REASONS


def make_plans(readings: Iterable[Reading], command: Command) -> tuple[OrganizationPlan, ...]:
    """Return the plans of a run: with `over_limit: trim`, the oldest within the limits."""
    plans = plan_all(readings)
    return _trimmed(plans, command) if command.limits.over_limit == "trim" else plans


def plan_all(readings: Iterable[Reading]) -> tuple[OrganizationPlan, ...]:
    """Return a plan of all that is stale for each organization that was read without an error."""
    return tuple(
        OrganizationPlan(reading, reading.stale) for reading in readings if reading.error is None
    )


def _trimmed(plans: Sequence[OrganizationPlan], command: Command) -> tuple[OrganizationPlan, ...]:
    """Return plans of the oldest stale invitations over all organizations, within the limits.

    The others are counted as `trimmed`. `guards` applies the same limits to the result.
    """
    recent = command.recent
    counts = total(plan.counts for plan in plans)
    most = most_deletions(command, seen=counts.invitations_seen, stale=counts.stale, recent=recent)
    oldest = oldest_first(all_deletions(plans), command.now)
    chosen = within_limits(oldest, most, command, recent)
    trimmed_plans: list[OrganizationPlan] = []
    for plan in plans:
        deletions = tuple(planned for planned in plan.deletions if planned.key in chosen)
        trimmed = len(plan.deletions) - len(deletions)
        trimmed_plans.append(replace(plan, deletions=deletions, trimmed=trimmed))
    return tuple(trimmed_plans)


def oldest_first(invitations: Iterable[Invitation], now: datetime) -> list[Invitation]:
    """Return invitations in the order in which the limits let them go; those without a date last.

    Of two that were sent at the same instant, the ids decide: each run takes the same ones.
    """

    def age(invitation: Invitation) -> tuple[datetime, str, InvitationKey]:
        return invitation.sent_at or now, invitation.invitation_id, invitation.key

    return sorted(invitations, key=age)


def most_deletions(command: Command, *, seen: int, stale: int, recent: Counter[str]) -> int:
    """Return how many of the stale invitations one sweep may delete, by the limits of all places.

    Args:
        recent: What earlier runs deleted within `limits.period`, by place.
    """
    by_number = max(0, command.limits.max_deletions - recent.total())
    by_share = share_limit(command, seen=seen, stale=stale, recent=recent.total())
    return by_number if by_share is None else min(by_number, by_share)


def within_limits(
    stale: Iterable[Invitation], most: int, command: Command, recent: Counter[str]
) -> set[InvitationKey]:
    """Return the first invitations that the limits of all places and of each place allow.

    Args:
        stale: The oldest first.
        most: How many in all places together.
        recent: What earlier runs deleted within `limits.period`, by place.
    """
    chosen: set[InvitationKey] = set()
    deleted_in_place = recent.copy()
    for invitation in stale:
        if len(chosen) >= most:
            break
        place = invitation.scope_id
        if deleted_in_place[place] < command.limits.max_deletions_per_project:
            deleted_in_place[place] += 1
            chosen.add(invitation.key)
    return chosen


def lost_since(first: Reading, second: Reading) -> Swept:
    """Return the lists that a second reading could not read and the first could; and its error."""
    # A list may fail with 503 in one reading and with 500 in the other: the answers may differ.
    unread_before = {unreadable.list_key for unreadable in first.unread}
    lost: list[ListUnreadable] = []
    counts = Counts()
    for unreadable in second.unread:
        if unreadable.list_key not in unread_before:
            lost.append(unreadable)
            counts += unread_counts(unreadable)
    return Swept(counts=counts, error=second.error, unread=tuple(lost))


_OVER_LIMIT: Final = "the limits leave it for a later run: fewer invitations are seen now"


class Confirmed(NamedTuple):
    """A plan after its organization was read again.

    Attributes:
        plan: What both readings show, exactly as the plan lists it, within the limits.
        left_out: The outcome of each planned deletion that was left out; nothing was sent.
        over_limit: How many of them the limits leave for a later run.
    """

    plan: OrganizationPlan
    left_out: tuple[OutcomeLine, ...]
    over_limit: int


def confirm_plan(
    plan: OrganizationPlan,
    second: Reading,
    keep_reasons: Mapping[InvitationKey, str],
    planned_again: Container[InvitationKey],
) -> Confirmed:
    """Cut a plan to what a second reading shows, too.

    What is not stale any more, or not as it was, is `changed`. What could not be read again is
    `skipped`: nothing is known of it, as where the second reading ended with an error. So is what
    `trim` leaves for a later run, as the share of fewer invitations is smaller.

    Args:
        second: The second reading, which keeps what the plan does not list as it is now.
        keep_reasons: Why the second reading keeps planned invitations, by the key of the entry
            that names them.
        planned_again: What the second readings of all organizations show stale, within the limits.
    """
    still_stale = {planned.key for planned in second.stale}
    deletions: list[Planned] = []
    left_out: list[OutcomeLine] = []
    over_limit = 0
    for planned in plan.deletions:
        keep_reason = keep_reasons.get(planned.key)
        if planned.key in planned_again:
            deletions.append(planned)
        elif planned.key in still_stale:
            over_limit += 1
            left_out.append(OutcomeLine.of(planned, Outcome.SKIPPED, reason=_OVER_LIMIT))
        elif keep_reason in UNKNOWN_REASONS or not _was_read(planned, second):
            left_out.append(OutcomeLine.of(planned, Outcome.SKIPPED))
        else:
            left_out.append(OutcomeLine.of(planned, Outcome.CHANGED))
    return Confirmed(replace(plan, deletions=tuple(deletions)), tuple(left_out), over_limit)


def _was_read(planned: Planned, second: Reading) -> bool:
    """Return whether a second reading has read every list that showed an entry of an invitation."""
    if second.error is not None:
        return False
    unread = {unreadable.list_key for unreadable in second.unread}
    for source, org_id, place, _ in planned.keys:
        if source in second.retired or (source, org_id, place) in unread:
            return False
    return True
