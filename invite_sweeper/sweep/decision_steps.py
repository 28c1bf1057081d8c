"""The steps that follow the policy's decision about an invitation: each can only keep more.

A step returns the decision unchanged, or keeps a stale invitation. A step may also record what
it sees at its place among the others.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from invite_sweeper.audit.history import DeletionCounts
from invite_sweeper.audit.limits import is_recordable
from invite_sweeper.sweep.saved_plan import SavedPlanFilter
from invite_sweeper.sweep.selection import Decision

Step: TypeAlias = Callable[[Decision], Decision]


def apply_steps(steps: Iterable[Step], decision: Decision) -> Decision:
    """Return the decision after all steps."""
    for step in steps:
        decision = step(decision)
    return decision


def standing_steps(deletions: DeletionCounts | None, max_bounces: int) -> tuple[Step, ...]:
    """Return the steps of every run.

    Args:
        deletions: Earlier deletions; None to not check for bounces.
    """
    if deletions is None:
        return (keep_unrecordable,)
    return (keep_unrecordable, KeepBounced(deletions, max_bounces))


def keep_unrecordable(decision: Decision) -> Decision:
    """Keep what the audit log cannot record."""
    if decision.stale and not is_recordable(decision.invitation):
        return decision._replace(rule=None, keep_reason="unrecordable")
    return decision


@dataclass(frozen=True, slots=True)
class KeepBounced:
    """Keeps what was deleted `max_bounces` times: another program may re-create it each time."""

    deletions: DeletionCounts
    max_bounces: int

    def __call__(self, decision: Decision) -> Decision:
        """Keep the invitation, or mark it with the number of its deletions."""
        invitation = decision.invitation
        if not decision.stale:
            return decision
        count = self.deletions.count(invitation)
        if count >= self.max_bounces and count > 0:
            return Decision(invitation, None, "bounced", count)
        return decision._replace(bounced=count) if count else decision


@dataclass(frozen=True, slots=True)
class KeepOutsidePlan:
    """Keeps what a saved plan does not list, or lists with other evidence."""

    plan_filter: SavedPlanFilter

    def __call__(self, decision: Decision) -> Decision:
        """Keep the invitation, or record why one is kept that the plan may list."""
        if decision.keep_reason is not None:
            self.plan_filter.record_kept(decision.invitation, decision.keep_reason)
            return decision
        reason = self.plan_filter.find_keep_reason(decision.invitation, decision.rule or "")
        if reason is not None:
            return Decision(decision.invitation, None, reason, decision.bounced)
        return decision
