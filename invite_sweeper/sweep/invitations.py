"""Entries to invitations: one invitation is what one DELETE ends.

A row of a list is an entry. Atlas shows one pending membership in several lists: a person in
`org_users`, the same in `org_invites` under another id, and in `users` of each project where a
role waits. Removing the person from the organization ends them all, so they are one invitation
if every one of them is stale. If one is kept, or a list that could hold one was not read, the
organization's invitation is kept; each stale entry of `users` is then an invitation of its
project, ended by a DELETE there.

An entry of `invites` stands for itself: removing the person from the organization does not end
it. Source: `deleteGroupInvite` in Atlas's OpenAPI document, read 2026-08.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

from invite_sweeper.models import (
    SOURCES_OF_USERS,
    Invitation,
    ListUnreadable,
    Source,
    SourceRetired,
)
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.text import casefold_lookalike

PersonKey: TypeAlias = tuple[str, ...]

_DELETE_THROUGH: Final = (Source.ORG_USERS, Source.ORG_INVITES)
"""The list whose DELETE ends the organization's invitation: the first that shows the person."""


def person_key(entry: Invitation) -> PersonKey:
    """Identify the person of an entry in an organization by the name, without one by the entry.

    Names that look the same are the same, as for `keep`: so more is kept.
    """
    if not entry.username:
        return entry.key
    return entry.org_id, casefold_lookalike(entry.username)


def _identities(entry: Invitation) -> tuple[PersonKey, ...]:
    """Return what tells that another entry is the same person's: the name, or the user's id.

    Lists of users show one id of a user in the organization and in its projects, also where one
    of them has no name or an old one.
    """
    if entry.source not in SOURCES_OF_USERS or not entry.invitation_id:
        return (person_key(entry),)
    return person_key(entry), (entry.org_id, "id", entry.invitation_id)


def _people(entries: Iterable[Decision]) -> Iterable[list[Decision]]:
    """Return the entries of each person; two that share a name or a user's id are one person's."""
    people: dict[PersonKey, list[Decision]] = {}
    for decision in entries:
        identities = _identities(decision.invitation)
        known = [people[identity] for identity in identities if identity in people]
        person = known[0] if known else []
        person.append(decision)
        for other in known[1:]:
            if other is not person:
                person += other
                identities += tuple(key for one in other for key in _identities(one.invitation))
        people |= dict.fromkeys(identities, person)
    return {id(person): person for person in people.values()}.values()


def may_show_people(unread: ListUnreadable) -> bool:
    """Return whether a list that was not read may show people of its organization.

    Once Atlas has ended an older list, its people are in the newer ones.
    """
    if isinstance(unread, SourceRetired):
        return not unread.source.replacements
    return unread.source is not Source.INVITES


def combine(entries: Iterable[Decision], *, all_read: bool) -> tuple[Decision, ...]:
    """Return the invitations of one organization; each entry is in exactly one of them.

    Each names the entry that its DELETE names, or for whose sake it is kept, and has the others
    in `entries`.

    Args:
        entries: The decisions about the entries of `users`, `org_users` and `org_invites`.
        all_read: Each list of the policy that could hold another entry was read to its end.
    """
    return tuple(
        invitation
        for person in _people(entries)
        for invitation in _of_person(person, all_read=all_read)
    )


def _of_person(entries: Sequence[Decision], *, all_read: bool) -> Iterator[Decision]:
    """Yield the invitations of one person."""
    entries = sorted(entries, key=_order)
    kept = [each for each in entries if not each.stale]
    of_organization = any(each.invitation.source.is_organization_level for each in entries)
    if kept or (of_organization and not all_read):
        rows = Counter(map(_list_of, entries))
        # A name that a list shows twice may be two people: then nothing of it is deleted.
        alone = (e for e in entries if e.stale and e.invitation.source is Source.USERS)
        ended = [each for each in alone if rows[_list_of(each)] == 1]
        yield from ended
        left = [each for each in entries if each not in ended]
        named = kept[0] if kept else left[0].keep("list_unread")
        others = (e.invitation for e in left if e.invitation is not named.invitation)
        yield named._replace(entries=tuple(others))
    elif of_organization:
        yield from _all_stale(entries)
    else:
        yield from entries


def _all_stale(entries: Sequence[Decision]) -> Iterator[Decision]:
    """Yield the invitations of an organization all of whose entries of a person are stale.

    Each row of the list that the DELETE goes through ends the entries with its id, and the first
    one what has another id; a list that shows the person more often has invitations of its own.
    """
    rows = Counter(map(_list_of, entries))
    count = rows[_list_of(entries[0])]
    ended: dict[str, list[Invitation]] = {
        each.invitation.invitation_id: [] for each in entries[:count]
    }
    first = ended[entries[0].invitation.invitation_id]
    for each in entries[count:]:
        others = ended.get(
            each.invitation.invitation_id, first if rows[_list_of(each)] <= count else None
        )
        if others is None:
            yield each
        else:
            others.append(each.invitation)
    for each in entries[:count]:
        yield each._replace(entries=tuple(ended[each.invitation.invitation_id]))


def _list_of(decision: Decision) -> PersonKey:
    """Return the list that shows an entry."""
    return decision.invitation.key[:3]


def _order(decision: Decision) -> tuple[int, str, str]:
    """Sort the entries of an organization first; independent of the order of the answers."""
    one = decision.invitation
    of_organization = _DELETE_THROUGH.index(one.source) if one.source in _DELETE_THROUGH else 2
    return of_organization, one.scope_id, one.invitation_id
