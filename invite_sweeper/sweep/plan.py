"""The plan: what is deleted of what was read, within the limits.

A plan has what is stale in an organization that was read without an error. With `over_limit: trim`
the oldest invitations over all organizations stay in it, as far as each limit allows.

Each function returns plans and changes none. The order in which lists were read decides nothing.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from invite_sweeper.counts import total
from invite_sweeper.models import Invitation, InvitationKey
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.guards import share_limit
from invite_sweeper.sweep.organization import OrganizationPlan, Reading, all_deletions


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
