"""The active members of the organizations, by whom `inviter_gone` is judged."""

from collections.abc import Mapping
from typing import NamedTuple

from invite_sweeper.models import ListUnreadable
from invite_sweeper.policy import Policy
from invite_sweeper.sweep.connection import AtlasReader
from invite_sweeper.sweep.guards import is_drop
from invite_sweeper.sweep.selection import Members


class MemberLists(NamedTuple):
    """What is known about the members of each organization.

    Attributes:
        members: Only of organizations where all are known.
        counts: The numbers to compare later lists with.
        listed: The number of members in each list that could be read.
        problems: A sentence for each organization whose members are not known.
    """

    members: Members
    counts: Mapping[str, int]
    listed: Mapping[str, int]
    problems: tuple[str, ...]


async def read_members(
    reader: AtlasReader, policy: Policy, earlier: Mapping[str, int]
) -> MemberLists:
    """Read the active members of each organization; nothing if no entry has `inviter_gone`.

    A list that shrank by more than `max_population_drop` is not believed, and the earlier number
    stays the one to compare with; `check_members` refuses an organization with many.

    Args:
        earlier: The number of members that each organization last had.

    Raises:
        RunError: No access token is available.
    """
    members: dict[str, frozenset[str]] = {}
    counts: dict[str, int] = {}
    listed: dict[str, int] = {}
    problems: list[str] = []
    judged = any(entry.inviter_gone for entry in (*policy.rules, *policy.keep))
    for org_id in sorted(policy.organization_ids) if judged else ():
        found, last = await reader.active_members(org_id), earlier.get(org_id, 0)
        if isinstance(found, ListUnreadable):
            reason = found.reason
        else:
            listed[org_id] = count = len(found)
            if not is_drop(last, count, policy.limits):
                counts[org_id], members[org_id] = count, found
                continue
            counts[org_id] = last
            reason = f"{count} are listed, {last} were before (--accept-population ignores it)"
        problems.append(
            f"The active members of the organization {org_id} are not known: "
            f"{reason.rstrip('.')}. Nothing is deleted there by inviter_gone."
        )
    return MemberLists(members, counts, listed, tuple(problems))
