"""The active members of an organization, by whom `inviter_gone` is judged."""

from fractions import Fraction

from invite_sweeper.atlas import AtlasReader
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import ListUnreadable
from invite_sweeper.policy import Limits, Policy
from invite_sweeper.text import pluralize


def judges_by_members(policy: Policy) -> bool:
    """Return whether a rule or keep entry has `inviter_gone`."""
    return any(entry.inviter_gone for entry in (*policy.rules, *policy.keep))


async def read_members(
    reader: AtlasReader, org_id: str, *, earlier: int, limits: Limits
) -> frozenset[str] | ListUnreadable:
    """Return the active members of an organization, or why they are not known.

    Args:
        earlier: How many the last complete run found; 0 to ignore a drop.

    Raises:
        GuardRefused: The list is smaller than the last one by more than `max_population_drop`:
            it may be incomplete, and every invitation by a missing member would be stale.
        RunError: No access token is available.
    """
    found = await reader.active_members(org_id)
    if isinstance(found, ListUnreadable):
        return found
    if earlier - len(found) > Fraction(str(limits.max_population_drop)) * earlier:
        raise GuardRefused(
            f"{pluralize(len(found), 'active member')} of the organization {org_id} "
            f"are listed, {earlier:,} were before: the drop is over max_population_drop: "
            f"{limits.max_population_drop}.",
            hint=Reason.MAX_POPULATION_DROP.advice,
            reasons=(Reason.MAX_POPULATION_DROP,),
        )
    return found
