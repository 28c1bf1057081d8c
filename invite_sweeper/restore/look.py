"""Who of the deleted is gone still: what is pending or active again is left alone."""

from collections.abc import Sequence
from typing import Protocol

from invite_sweeper.inventory import Invitation, Source, Unreadable
from invite_sweeper.matching import fold
from invite_sweeper.restore.values import Deleted, End, Restored

_Where = tuple[Source, str, str]


class Roll(Protocol):
    """Who is there already."""

    async def present(self, invitation: Invitation) -> frozenset[str] | Unreadable:
        """Give the folded addresses of all who are pending or active where it invites to."""
        ...


async def missing(
    roll: Roll, wanted: Sequence[Deleted]
) -> tuple[tuple[Deleted, ...], dict[Deleted, End]]:
    """Tell who is gone still, in the order given, and what there is to say of the others.

    Each list is read once.

    Raises:
        RunError: Atlas's answer was about the run. Nobody was invited.
    """
    known: dict[_Where, frozenset[str] | Unreadable] = {}
    gone: list[Deleted] = []
    settled: dict[Deleted, End] = {}
    for each in wanted:
        invitation = each.invitation
        where = (invitation.source, invitation.org_id, invitation.project_id)
        if where not in known:
            known[where] = await roll.present(invitation)
        end = _settled(invitation, known[where])
        if end is None:
            gone.append(each)
        else:
            settled[each] = end
    return tuple(gone), settled


def _settled(invitation: Invitation, present: frozenset[str] | Unreadable) -> End | None:
    if isinstance(present, Unreadable):
        return End(
            Restored.FAILED,
            http_status=present.http_status,
            error_code=present.error_code,
            reason=present.reason,
        )
    if not invitation.username or not invitation.roles:
        return End(Restored.FAILED, reason="The log holds no address or no roles to invite with.")
    return End(Restored.ALREADY_THERE) if fold(invitation.username) in present else None
