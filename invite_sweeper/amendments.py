"""What else may keep a stale invitation: it comes back again and again, or no plan lists it."""

from collections.abc import Callable
from typing import Protocol

from invite_sweeper.ceiling import Ceiling
from invite_sweeper.selection import Decision

BOUNCED = "bounced"
NOT_IN_PLAN = "not_in_plan"


class Bounces(Protocol):
    """What is known of earlier deletions."""

    def count(self, username: str, project_id: str) -> int:
        """Give how often this person's invitation to this project was deleted."""
        ...


def as_decided(decision: Decision) -> Decision:
    """Leave a decision as it is."""
    return decision


def amendments(
    *, bounces: Bounces | None, max_bounces: int, ceiling: Ceiling | None
) -> Callable[[Decision], Decision]:
    """Give the second look at a decision; it only ever keeps more."""

    def amend(decision: Decision) -> Decision:
        if bounces is not None:
            decision = _bounced(decision, bounces, max_bounces)
        if ceiling is not None:
            decision = _capped(decision, ceiling)
        return decision

    return amend


def _bounced(decision: Decision, bounces: Bounces, max_bounces: int) -> Decision:
    """Keep what was deleted `max_bounces` times and is back: two robots must not fight for ever."""
    invitation = decision.invitation
    username = invitation.username
    if decision.rule is None or username is None:
        return decision
    count = bounces.count(username, invitation.project_id)
    if count >= max_bounces and count > 0:
        return Decision(invitation, None, BOUNCED, count)
    return decision._replace(bounced=count) if count else decision


def _capped(decision: Decision, ceiling: Ceiling) -> Decision:
    if decision.kept is not None:
        ceiling.note_kept(decision.invitation, decision.kept)
    elif not ceiling.admits(decision.invitation):
        return Decision(decision.invitation, None, NOT_IN_PLAN, decision.bounced)
    return decision
