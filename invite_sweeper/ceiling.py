"""A saved plan as a ceiling: what it lets through, and what has become of the rest. Pure."""

from collections.abc import Iterator
from datetime import datetime

from invite_sweeper.inventory import Invitation
from invite_sweeper.plan import Key, SavedPlan, instant
from invite_sweeper.plural import fitting


class Ceiling:
    """What a plan lets through, and what has become of the rest.

    Attributes:
        kept: Of the planned ones, how many are seen but kept now, by reason.
    """

    def __init__(self, saved: SavedPlan) -> None:
        self._left = dict(saved.evidence)
        self.kept: dict[str, int] = {}

    def admits(self, invitation: Invitation) -> bool:
        """Tell whether a stale invitation is in the plan, and the one that was meant."""
        evidence = self._left.pop(_key(invitation), None)
        if evidence is None:
            return False
        created_at = invitation.created_at
        same = isinstance(created_at, datetime) and evidence[0] is not None
        return (
            same and evidence[1] == invitation.username and created_at == instant(evidence[0] or "")
        )

    def note_kept(self, invitation: Invitation, reason: str) -> None:
        """Take into account that an invitation is kept now, whatever the plan says."""
        if self._left.pop(_key(invitation), None) is not None:
            self.kept[reason] = self.kept.get(reason, 0) + 1

    @property
    def unseen(self) -> int:
        """How many planned ones were not seen: gone, or in a list that was not read."""
        return len(self._left)

    def left_out(self) -> Iterator[str]:
        """Say what the plan lists and this run does not delete."""
        for reason, count in sorted(self.kept.items()):
            are = fitting(count, "is", "are")
            yield f"{count:,} of the plan's invitations {are} kept now: {reason}."
        if self.unseen:
            yield (
                f"{self.unseen:,} of the plan's invitations "
                f"{fitting(self.unseen, 'was', 'were')} not seen: "
                "gone, or in a list that was not read."
            )


def _key(invitation: Invitation) -> Key:
    return invitation.source.value, invitation.project_id, invitation.id
