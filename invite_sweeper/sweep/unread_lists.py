"""People who are invited in lists that the policy does not read."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from types import MappingProxyType
from typing import Final

from invite_sweeper.endings import RunWarning, WarningCode, WarningLevel
from invite_sweeper.errors import RunError
from invite_sweeper.models import ListRef, MembershipStatus, Source, organization_list_ref
from invite_sweeper.sweep.connection import AtlasReader
from invite_sweeper.sweep.discovery import ListCounts, count_lists
from invite_sweeper.sweep.sunset import LAST_KNOWN_SUNSETS
from invite_sweeper.text import plural_form, pluralize

NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})
LIMIT_S: Final = 10.0
"""What is read for a remark alone must not hold up the deletions."""
_WORKERS: Final = 4
_STATUSES: Final = {
    MembershipStatus.PENDING.value: "pending",
    MembershipStatus.INVITATION_EXPIRED.value: "expired",
    MembershipStatus.INVITATION_REJECTED.value: "rejected",
}


def unread_lists(sources: Iterable[Source], organizations: Iterable[str]) -> tuple[ListRef, ...]:
    """Return the list of users of each organization, if the policy does not read it.

    It takes one request, and everyone in a project's list of users is in it, too. A list of
    invitations is not read for this: what ends soon should not be added to a policy.
    """
    if Source.ORG_USERS in sources:
        return ()
    return tuple(organization_list_ref(org_id, Source.ORG_USERS) for org_id in organizations)


async def look_beyond(
    reader: AtlasReader,
    sources: Iterable[Source],
    organizations: Iterable[str],
    seen: Mapping[Source, AbstractSet[int]],
    sunsets: Mapping[Source, date],
    labels: Mapping[str, str],
) -> tuple[RunWarning, ...]:
    """Return remarks on the people whom no list of the policy shows; () if that fails."""
    read = frozenset(sources)
    try:
        async with asyncio.timeout(LIMIT_S):
            found = await count_lists(reader, unread_lists(read, organizations), workers=_WORKERS)
    except (TimeoutError, RunError):
        return ()
    ends = LAST_KNOWN_SUNSETS | dict(sunsets)
    ends = {source: day for source, day in ends.items() if source in read}
    return unread_warnings(found, seen, ends, labels)


def unread_warnings(
    found: ListCounts,
    seen: Mapping[Source, AbstractSet[int]],
    ends: Mapping[Source, date],
    labels: Mapping[str, str] = NO_LABELS,
) -> tuple[RunWarning, ...]:
    """Remark on the people whom no list of the policy shows.

    Args:
        found: The lists of `unread_lists`.
        seen: Hashes of the keys of the users in the policy's lists, by source.
        ends: The announced end of each of the policy's lists that has one.
        labels: Of the organizations, by id.
    """
    everyone = set[int]().union(*seen.values())
    messages: list[str] = []
    users = {hash(each): each for each in found.users.get(Source.ORG_USERS, ())}
    unseen = users.keys() - everyone
    if unseen:
        count = pluralize(len(unseen), "person", "people")
        statuses = Counter(found.statuses.get(users[each], "") for each in unseen)
        parts = (f"{statuses[each]:,} {name}" for each, name in _STATUSES.items() if statuses[each])
        message = (
            f"{count} ({', '.join(parts)}) {plural_form(len(unseen), 'is', 'are')} invited "
            "only in the list org_users, which the policy does not read."
        )
        if ends:
            left = set[int]().union(*(u for source, u in seen.items() if source not in ends))
            message += (
                f" After {max(ends.values())} this policy would see {len(left):,} of "
                f"{len(everyone | unseen):,}."
            )
        messages.append(message)
    messages += (
        "Who is invited in the list org_users of organization "
        f"{labels.get(each.project_id, each.project_id)} is not known. {each.reason}"
        for each in found.unreadable
    )
    return tuple(
        RunWarning(WarningCode.UNREAD_LISTS, each, WarningLevel.REMARK) for each in messages
    )
