"""The plan: what is deleted of what was read, within the limits.

A plan has what is deletable in an organization that was read without an error. With `over_limit:
trim` the oldest invitations over all organizations stay in it, as far as each limit allows.

Each function returns plans and changes none. The order in which lists were read decides nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from invite_sweeper.audit.events import Planned
from invite_sweeper.counts import total
from invite_sweeper.models import InvitationKey
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.limits import Backlog, Limit
from invite_sweeper.sweep.organization import (
    OrganizationPlan,
    Reading,
    all_deletions,
    count_deletable,
)


def make_plans(readings: Iterable[Reading], command: Command) -> tuple[OrganizationPlan, ...]:
    """Return the plans of a run: with `over_limit: trim`, the oldest within the limits."""
    plans = plan_all(readings)
    return _trimmed(plans, command) if command.policy.limits.over_limit == "trim" else plans


def plan_all(readings: Iterable[Reading]) -> tuple[OrganizationPlan, ...]:
    """Return a plan of all that is deletable, of each organization without an error."""
    return tuple(
        OrganizationPlan(reading, reading.deletable)
        for reading in readings
        if reading.error is None
    )


def _trimmed(plans: Sequence[OrganizationPlan], command: Command) -> tuple[OrganizationPlan, ...]:
    """Return plans of the oldest deletable invitations, within the limits."""
    seen = total(plan.counts for plan in plans).invitations_seen
    left = command.limits.trim(all_deletions(plans), seen, command.now)
    trimmed_plans: list[OrganizationPlan] = []
    for plan in plans:
        deletions: list[Planned] = []
        left_there: dict[InvitationKey, Limit] = {}
        for planned in plan.deletions:
            if planned.key in left:
                left_there[planned.key] = left[planned.key]
            else:
                deletions.append(planned)
        trimmed_plans.append(replace(plan, deletions=tuple(deletions), left=left_there))
    return tuple(trimmed_plans)


def awaited_limits(
    plans: Sequence[OrganizationPlan], command: Command
) -> Mapping[InvitationKey, Limit]:
    """Return the limit that each deletable invitation waits for which no run may delete now.

    With `over_limit: refuse`, all of them wait for the limits that they exceed.
    """
    seen = total(plan.counts for plan in plans).invitations_seen
    deletions = all_deletions(plans)
    exceeded = next(command.limits.exceeded(deletions, seen, count_deletable(plans)), None)
    if exceeded is not None:
        return {deletion.key: exceeded.limit for deletion in deletions}
    return {key: limit for plan in plans for key, limit in plan.left.items()}


def backlog(plans: Sequence[OrganizationPlan], command: Command) -> Backlog | None:
    """Return how long the limits take for what they leave; None where nothing is left."""
    left = {key: limit for plan in plans for key, limit in plan.left.items()}
    seen = total(plan.counts for plan in plans).invitations_seen
    return command.limits.backlog(left, seen, count_deletable(plans))
