"""The plan: what is deleted of what was read, within the limits.

A plan has what is stale in an organization that was read without an error. With `over_limit: trim`
the oldest invitations over all organizations stay in it, as far as each limit allows.

Each function returns plans and changes none. The order in which lists were read decides nothing.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from math import ceil, inf

from invite_sweeper.audit.events import Planned
from invite_sweeper.counts import total
from invite_sweeper.models import InvitationKey
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.guards import describe_place, organization_labels, share_limit
from invite_sweeper.sweep.organization import Backlog, OrganizationPlan, Reading, all_deletions


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
    counts = total(plan.counts for plan in plans)
    most = _most_deletions(command, seen=counts.invitations_seen, stale=counts.stale)
    oldest = _oldest_first(all_deletions(plans), command.now)
    chosen = _within_limits(oldest, most, command)
    trimmed_plans: list[OrganizationPlan] = []
    for plan in plans:
        deletions = tuple(planned for planned in plan.deletions if planned.key in chosen)
        trimmed = len(plan.deletions) - len(deletions)
        trimmed_plans.append(replace(plan, deletions=deletions, trimmed=trimmed))
    return tuple(trimmed_plans)


def _oldest_first(invitations: Iterable[Planned], now: datetime) -> list[Planned]:
    """Return invitations in the order in which the limits let them go; those without a date last.

    Of two that were sent at the same instant, the ids decide: each run takes the same ones.
    """

    def age(invitation: Planned) -> tuple[datetime, str, InvitationKey]:
        return invitation.sent_at or now, invitation.invitation_id, invitation.key

    return sorted(invitations, key=age)


def _most_deletions(command: Command, *, seen: int, stale: int) -> int:
    """Return how many of the stale invitations a run may delete, by the limits of all places."""
    recent = command.history.sent.total()
    by_number = max(0, command.limits.max_deletions - recent)
    by_share = share_limit(command, seen=seen, stale=stale, recent=recent)
    return by_number if by_share is None else min(by_number, by_share)


def _within_limits(stale: Iterable[Planned], most: int, command: Command) -> set[InvitationKey]:
    """Return the first invitations that the limits of all places and of each place allow.

    Args:
        stale: The oldest first.
        most: How many in all places together.
    """
    chosen: set[InvitationKey] = set()
    deleted_in_place = command.history.sent.copy()
    for invitation in stale:
        if len(chosen) >= most:
            break
        place = invitation.scope_id
        if deleted_in_place[place] < command.limits.max_deletions_per_project:
            deleted_in_place[place] += 1
            chosen.add(invitation.key)
    return chosen


def backlog(plans: Sequence[OrganizationPlan], command: Command) -> Backlog | None:
    """Return how long the limits take for what they leave; None where nothing is left."""
    planned = {deletion.key for deletion in all_deletions(plans)}
    left: list[Planned] = []
    for plan in plans:
        left += (stale for stale in plan.reading.stale if stale.key not in planned)
    if not left:
        return None
    counts = total(plan.counts for plan in plans)
    share = share_limit(command, seen=counts.invitations_seen, stale=counts.stale, recent=0)
    by_place = Counter(stale.scope_id for stale in left)
    fullest = max(left, key=lambda stale: by_place[stale.scope_id])
    where = describe_place(fullest.place, organization_labels(plans))
    limits = command.limits
    paces = [
        _pace("max_deletions", len(left), limits.max_deletions),
        _pace(
            f"max_deletions_per_project in {where}",
            by_place[fullest.scope_id],
            limits.max_deletions_per_project,
        ),
    ]
    if share is not None:
        paces.append(_pace("max_share", len(left), share))
    return max(paces, key=lambda pace: inf if pace.nights is None else pace.nights)


def _pace(limit: str, left: int, most: int) -> Backlog:
    """Return how long a limit takes if each run may delete the most that it allows."""
    return Backlog(limit, ceil(left / most) if most else None)
