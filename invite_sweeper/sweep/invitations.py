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
from typing import Final

from msgspec import structs

from invite_sweeper.models import (
    SOURCES_OF_USERS,
    Invitation,
    ListKey,
    ListUnreadable,
    PersonKey,
    Source,
    SourceRetired,
)
from invite_sweeper.sweep.selection import Decision

_DELETE_THROUGH: Final = (Source.ORG_USERS, Source.ORG_INVITES)
"""The list whose DELETE ends the organization's invitation: the first that shows the person."""


def identities(entry: Invitation) -> tuple[PersonKey, ...]:
    """Return what another entry of the same person shares: the name, or the user's id.

    Lists of users show one id of a user in the organization and in its projects, also where one
    of them has no name or an old one.
    """
    if entry.source not in SOURCES_OF_USERS or not entry.invitation_id:
        return (entry.person,)
    return entry.person, (entry.org_id, "id", entry.invitation_id)


def _people(entries: Iterable[Decision]) -> Iterable[list[Decision]]:
    """Return the entries of each person; two that share a name or a user's id are one person's."""
    people: dict[PersonKey, list[Decision]] = {}  # a person is in it under each identity
    for entry in entries:
        own = list(identities(entry.invitation))
        known_people = [people[identity] for identity in own if identity in people]
        person = known_people[0] if known_people else []
        person.append(entry)
        # An entry with the name of one person and the id of another shows that both are one: the
        # entries of the second join those of the first, under all of their names and ids.
        for second_person in known_people[1:]:
            if second_person is person:
                continue
            person += second_person
            for joined_entry in second_person:
                own += identities(joined_entry.invitation)
        for identity in own:
            people[identity] = person
    distinct = {id(person): person for person in people.values()}
    return distinct.values()


def may_show_people(unread: ListUnreadable) -> bool:
    """Return whether a list that was not read may show people of its organization.

    Once Atlas has ended an older list, its people are in the newer ones.
    """
    if isinstance(unread, SourceRetired):
        return not unread.source.replacements
    return not unread.source.stands_for_itself


def combine(entries: Iterable[Decision], unread: tuple[str, ...] = ()) -> tuple[Decision, ...]:
    """Return the invitations of one organization; each entry is in exactly one of them.

    Each names the entry that its DELETE names, or for whose sake it is kept, and has the others
    in `entries`.

    Args:
        entries: The decisions about the entries of lists that do not stand for themselves.
        unread: The lists of the policy that could hold another entry and were not read to their
            end.
    """
    invitations: list[Decision] = []
    for unsorted_person in _people(entries):
        person = sorted(unsorted_person, key=_order)
        of_person = list(_of_person(person, unread))
        if len(of_person) > 1 and _is_of_organization(person):
            all_entries = tuple(entry.invitation for entry in person)
            of_person = [structs.replace(each, person=all_entries) for each in of_person]
        invitations += of_person
    return tuple(invitations)


def _is_of_organization(entries: Iterable[Decision]) -> bool:
    """Return whether a list of the organization shows a person."""
    return any(entry.invitation.source.is_organization_level for entry in entries)


def _of_person(entries: Sequence[Decision], unread: tuple[str, ...]) -> Iterator[Decision]:
    """Yield the invitations of one person, whose entries are sorted by `_order`."""
    is_all_stale = all(entry.stale for entry in entries)
    of_organization = _is_of_organization(entries)
    if unread or not is_all_stale:
        yield from _kept(entries, unread)
    elif of_organization:
        yield from _all_stale(entries)
    else:  # in no list of the organization: each waits in a project of its own
        yield from entries


def _kept(entries: Sequence[Decision], unread: tuple[str, ...]) -> Iterator[Decision]:
    """Yield the invitations of a person whose invitation of the organization is kept.

    A stale role in a project is an invitation of that project. Everything else is one kept
    invitation, so that a person who is kept is counted once.
    """
    rows_in = _rows_by_list(entries)
    kept_entries: list[Decision] = []
    for entry in entries:
        # A name that a list shows twice may be two people: then nothing of it is deleted.
        is_only_row = rows_in[_list_of(entry)] == 1
        if entry.stale and entry.invitation.source is Source.USERS and is_only_row:
            yield entry
        else:
            kept_entries.append(entry)
    if not kept_entries:
        return
    # The invitation has the reason of the first entry that the policy keeps. Where it keeps none,
    # a list that was not read does: then an entry of the organization is first.
    kept_by_policy = [entry for entry in kept_entries if not entry.stale]
    if kept_by_policy:
        named = kept_by_policy[0]
    else:
        named = structs.replace(kept_entries[0].keep("list_unread"), unread=unread)
    shown = [entry.invitation for entry in kept_entries]
    other_entries = tuple(entry for entry in shown if entry is not named.invitation)
    yield structs.replace(named, entries=other_entries)


def _all_stale(entries: Sequence[Decision]) -> Iterator[Decision]:
    """Yield the invitations of a person of the organization all of whose entries are stale.

    The DELETE goes through the first list that shows the person, and each row of that list is an
    invitation. Its DELETE ends what other lists show under its id. What they show under another
    id ends with the first row, unless such a list shows the person more often than the first one
    does: then it is not known whose row is whose, and each of them is an invitation of its own.
    """
    rows_in = _rows_by_list(entries)
    # The entries are sorted by `_order`: the list through which the DELETE goes comes first.
    deleted_count = rows_in[_list_of(entries[0])]
    deleted_rows = entries[:deleted_count]
    other_entries = entries[deleted_count:]
    ends_with: dict[str, list[Invitation]] = {}  # what the DELETE of each row ends, by its id
    for row in deleted_rows:
        ends_with[row.invitation.invitation_id] = []
    first_id = deleted_rows[0].invitation.invitation_id
    for entry in other_entries:
        entry_id = entry.invitation.invitation_id
        if entry_id in ends_with:
            ends_with[entry_id].append(entry.invitation)
        elif rows_in[_list_of(entry)] <= deleted_count:
            ends_with[first_id].append(entry.invitation)
        else:
            yield entry
    for row in deleted_rows:
        yield structs.replace(row, entries=tuple(ends_with[row.invitation.invitation_id]))


def _rows_by_list(entries: Iterable[Decision]) -> Counter[ListKey]:
    """Return how many entries each list shows."""
    return Counter(_list_of(entry) for entry in entries)


def _list_of(entry: Decision) -> ListKey:
    """Return the list that shows an entry."""
    return entry.invitation.list_key


def _order(entry: Decision) -> tuple[int, str, str]:
    """Sort the list through which the DELETE goes first: lists are read in any order."""
    invitation = entry.invitation
    lists = [*_DELETE_THROUGH, Source.USERS]
    return lists.index(invitation.source), invitation.place_id, invitation.invitation_id
