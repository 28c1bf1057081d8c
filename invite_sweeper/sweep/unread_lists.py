"""People who are invited in lists that the policy does not read."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from typing import Final, TypeAlias

from invite_sweeper.audit.events import UnreadList, Unseen
from invite_sweeper.errors import RunError
from invite_sweeper.models import (
    Invitation,
    InvitationList,
    ListRef,
    ListUnreadable,
    MembershipStatus,
    ProjectGone,
    Source,
    SourceRetired,
    organization_list_ref,
)
from invite_sweeper.sweep.connection import AtlasReader
from invite_sweeper.sweep.scope import RunScope
from invite_sweeper.sweep.sunset import ended_lists

LIMIT_S: Final = 10.0
"""What is read for a remark alone must not hold up the deletions."""
_WORKERS: Final = 4
_PER_PROJECT: Final = "Reading it takes a request for each project; `doctor` counts it."
_Found: TypeAlias = InvitationList | ListUnreadable | ProjectGone


def unread_lists(
    sources: Collection[Source], organizations: Iterable[str], ended: Collection[Source]
) -> tuple[ListRef, ...]:
    """Return the lists of organizations to read: at most two requests, and none per project.

    Everyone in a project's list of users is in its organization's, too.

    Args:
        sources: Of the policy.
        organizations: Ids.
        ended: Sources whose announced last day has come.
    """
    wanted = [
        source
        for source in (Source.ORG_USERS, Source.ORG_INVITES)
        if source not in sources and source not in ended
    ]
    return tuple(organization_list_ref(each, s) for each in organizations for s in wanted)


async def find_unseen(
    reader: AtlasReader,
    sources: Collection[Source],
    scope: RunScope,
    seen: Mapping[Source, AbstractSet[int]],
    ends: Mapping[Source, date],
    today: date,
) -> Unseen | None:
    """Return whom no list of the policy shows; None if no list is left that could show them.

    A list that is not read in time, or that the credentials may not read, is not known: this
    never fails a run.

    Args:
        reader: Reads the lists of organizations.
        sources: Of the policy.
        scope: Of the run.
        seen: Hashes of the keys of the users in the policy's lists, by source.
        ends: The last day of each list that has one.
        today: The day of the run.
    """
    ended = ended_lists(ends, today)
    slots, deadline_s = asyncio.Semaphore(_WORKERS), asyncio.get_running_loop().time() + LIMIT_S

    async def read(list_ref: ListRef) -> _Found:
        org_id = list_ref.project.id
        try:
            async with asyncio.timeout_at(deadline_s), slots:
                return await reader.invitations(list_ref.project, list_ref.source)
        except TimeoutError:
            return ListUnreadable(org_id, "", f"Atlas took more than {LIMIT_S:g} s.")
        except RunError as error:
            return ListUnreadable(org_id, "", error.message)

    refs = unread_lists(sources, scope.organizations, ended)
    found = dict(zip(refs, await asyncio.gather(*map(read, refs)), strict=True))
    everyone = set[int]().union(*seen.values())
    lists = [each for ref, rows in found.items() for each in _counts(ref, rows, everyone)]
    if Source.USERS not in sources:
        for ref, rows in found.items():
            if ref.source is Source.ORG_USERS:
                users = ListRef(ref.project, Source.USERS)
                lists += _counts(users, _in_projects(rows, scope.in_scope_ids), everyone)
    if Source.INVITES not in sources and Source.INVITES not in ended:
        lists.append(UnreadList(None, Source.INVITES, reason=_PER_PROJECT))
    if not lists:
        return None
    in_lists = (rows for rows in found.values() if isinstance(rows, InvitationList))
    unseen = {hash(each.user_key) for rows in in_lists for each in rows} - everyone
    days = [day for source, day in ends.items() if source in sources and source not in ended]
    left = set[int]().union(*(keys for source, keys in seen.items() if source not in ends))
    return Unseen(
        tuple(sorted(lists, key=lambda each: list(Source).index(each.source))),
        people=len(unseen),
        after=max(days).isoformat() if days else None,
        seen_after=len(left),
        everyone=len(everyone | unseen),
        all_end=all(source in ends for source in sources),
    )


def _counts(list_ref: ListRef, found: _Found, seen: AbstractSet[int]) -> Iterator[UnreadList]:
    """Yield the people of a list whom the policy does not see; nothing for a retired list."""
    org_id, source = list_ref.project.id, list_ref.source
    if isinstance(found, InvitationList):
        people = {each.user_key: each.status for each in found if hash(each.user_key) not in seen}
        by_status = Counter(people.values())
        yield UnreadList(
            org_id,
            source,
            people=len(people),
            pending=by_status[MembershipStatus.PENDING],
            expired=by_status[MembershipStatus.INVITATION_EXPIRED],
            rejected=by_status[MembershipStatus.INVITATION_REJECTED],
        )
    elif isinstance(found, ListUnreadable) and not isinstance(found, SourceRetired):
        yield UnreadList(org_id, source, reason=found.reason)


def _in_projects(found: _Found, in_scope: AbstractSet[str]) -> _Found:
    """Return those users of an organization who have a role in a project in scope."""

    def has_role(user: Invitation) -> bool:
        return any(project_id in in_scope for project_id, _ in user.linked_projects)

    return InvitationList(filter(has_role, found)) if isinstance(found, InvitationList) else found
