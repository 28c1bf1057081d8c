"""A changed policy, held against the one before on tonight's data. Pure."""

from dataclasses import dataclass, field

from invite_sweeper.errors import GuardRefused
from invite_sweeper.plural import counted
from invite_sweeper.selection import Decision, Selector

_MOST = 1000


@dataclass(slots=True)
class Comparison:
    """What a new policy adds to the stale invitations, and what it takes away.

    Attributes:
        before: The policy of the last sweep; None where no copy of it was kept.
        added: Stale by the new policy alone; the first of them, as `project: username`.
        removed: Stale by the old policy alone; the first of them.
    """

    before: Selector | None
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    added_count: int = 0
    removed_count: int = 0

    def look(self, decision: Decision) -> Decision:
        """Take one decision into account; it stays as it is."""
        was_stale = self.before is not None and self.before.decide(decision.invitation).stale
        who = f"{decision.invitation.project_name}: {decision.invitation.username or '?'}"
        if decision.stale and not was_stale:
            self.added_count += 1
            self.added.extend([who] * (len(self.added) < _MOST))
        elif was_stale and not decision.stale:
            self.removed_count += 1
            self.removed.extend([who] * (len(self.removed) < _MOST))
        return decision

    def refusal(self, policy_sha256: str) -> GuardRefused:
        """Give the refusal that a changed policy ends with, once its effect was shown."""
        return GuardRefused(
            "The policy has changed since the last sweep (quarantine). "
            f"It adds {counted(self.added_count, 'stale invitation')} "
            f"and takes {self.removed_count:,} away.",
            hint=f"Read the plan; then lift it once with --accept-policy {policy_sha256}",
        )
