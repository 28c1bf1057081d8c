"""The steps that follow the policy's decision about an invitation: each can only keep more.

`keep_unrecordable` follows the decision about each entry, the others that about an invitation.
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
        if not decision.stale:
            return decision
        count = max(map(self.deletions.count, decision.all_entries))
        if count >= self.max_bounces and count > 0:
            return decision._replace(rule=None, keep_reason="bounced", bounced=count)
        return decision._replace(bounced=count) if count else decision


@dataclass(frozen=True, slots=True)
class KeepOutsidePlan:
    """Keeps what a saved plan does not list, or lists with other evidence."""

    plan_filter: SavedPlanFilter

    def __call__(self, decision: Decision) -> Decision:
        """Keep the invitation, or record why one is kept that the plan may list."""
        if decision.keep_reason is not None:
            self.plan_filter.record_kept(decision, decision.keep_reason)
            return decision
        reason = self.plan_filter.find_keep_reason(decision)
        return decision if reason is None else decision._replace(rule=None, keep_reason=reason)
