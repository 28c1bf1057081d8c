"""One invitation is what one DELETE ends: the five rules that make invitations of entries.

An entry is written as `KEY+` if it is stale and as `KEY-` if it is kept, a name of `ENTRIES` and
a sign. An invitation is the entry that it names, then its other entries.
"""

import pytest
from builders import ORG, invitation, object_id
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.models import Source
from invite_sweeper.sweep.invitations import combine
from invite_sweeper.sweep.selection import Decision

A, B = object_id(801), object_id(802)


def entry(source, place, id_, username="ada@example.com", **changes):
    return invitation(id_, source=source, project_id=place, username=username, **changes)


ENTRIES = {
    "user": entry(Source.ORG_USERS, ORG, 1),
    "invite": entry(Source.ORG_INVITES, ORG, 2),
    "a": entry(Source.USERS, A, 1),
    "b": entry(Source.USERS, B, 1),
    "user2": entry(Source.ORG_USERS, ORG, 11),
    "invite2": entry(Source.ORG_INVITES, ORG, 12),
    "a2": entry(Source.USERS, A, 11),
    "spelled": entry(Source.ORG_INVITES, ORG, 22, "\uff21da\u200b@Example.com."),
    "bob": entry(Source.USERS, A, 21, "bob@example.com"),
    "nameless": entry(Source.ORG_USERS, ORG, 31, None),
    "nameless_a": entry(Source.USERS, A, 31, None),
    "unnamed": entry(Source.USERS, A, 32, ""),
    "old": entry(Source.ORG_USERS, ORG, 51, "old@example.com"),
    "old_invite": entry(Source.ORG_INVITES, ORG, 52, "old@example.com"),
    "new": entry(Source.USERS, A, 51, "new@example.com"),
    "new_invite": entry(Source.ORG_INVITES, ORG, 53, "new@example.com"),
    "same_id": entry(Source.ORG_INVITES, ORG, 31, "carl@example.com"),
}
NAMES = {one: name for name, one in ENTRIES.items()}


def decision(text):
    one, is_stale = ENTRIES[text[:-1]], text.endswith("+")
    return Decision(one, "r" if is_stale else None, None if is_stale else f"keep:{text[:-1]}")


def combined(texts, *, all_read=True):
    """Return each invitation as its entries, with the sign or the reason other than an entry's."""
    found = combine(map(decision, texts), all_read=all_read)
    return {" ".join(NAMES[one] for one in each.all_entries) + sign(each) for each in found}


def sign(found):
    if found.stale:
        return " +"
    own = found.keep_reason == f"keep:{NAMES[found.invitation]}"
    return " -" if own else f" {found.keep_reason}"


# `"user+ a- b-", "a user b -"`: in a list the user is stale, and the entries of the projects A and
# B are kept. They make one invitation, which is kept (`-`); it has the name of the entry `a`, and
# its other entries are `user` and `b`. `|` stands between two invitations.
RULES = [
    # Every entry of the person is stale: one DELETE, through org_users where the person is there.
    ("user+ invite+ a+ b+", "user invite a b +"),
    ("b+ a+ invite+ user+", "user invite a b +"),
    ("invite+ a+", "invite a +"),
    ("user+", "user +"),
    ("invite+", "invite +"),
    # In no list of the organization: each entry is an invitation of its project.
    ("a+ b+", "a +|b +"),
    ("a+ b-", "a +|b -"),
    ("a- b-", "a b -"),
    # One is kept: it names the organization's invitation, and projects end alone what is stale.
    ("user- invite+ a+ b+", "user invite -|a +|b +"),
    ("user+ invite- a+", "invite user -|a +"),
    ("user+ invite+ a- b+", "a user invite -|b +"),
    ("user+ a- b-", "a user b -"),
    ("user- invite- a-", "user invite a -"),
    # Names that look the same are one person; others, and entries without a name, are alone.
    ("user+ spelled- a+", "spelled user -|a +"),
    ("user+ spelled+ a+", "user spelled a +"),
    ("user+ a+ bob-", "user a +|bob -"),
    ("nameless+ unnamed+ user-", "nameless +|unnamed +|user -"),
    # Lists of users that show one id are about one person, whatever name they show.
    ("nameless+ nameless_a- unnamed+", "nameless_a nameless -|unnamed +"),
    ("user- nameless+ nameless_a+", "user -|nameless nameless_a +"),
    ("old+ new+", "old new +"),
    ("old+ new-", "new old -"),
    ("old- new+", "old -|new +"),
    ("old+ new+ new_invite-", "new_invite old -|new +"),
    ("new+ old_invite- old+", "old_invite old -|new +"),
    ("new_invite- old_invite+ new+ old+", "new_invite old old_invite -|new +"),
    ("old_invite+ new+ new_invite-", "old_invite +|new_invite -|new +"),  # nothing joins the names
    ("same_id- nameless_a+", "same_id -|nameless_a +"),  # the id of an invitation is no user's
    # Twice in a list: each row is an invitation of its own, deleted only if all are stale; the
    # rows of other lists that are the same membership end with it.
    ("user+ user2+", "user +|user2 +"),
    ("user+ user2+ invite+ a+", "user invite a +|user2 +"),
    ("user+ user2+ a+ a2+ b+", "user a b +|user2 a2 +"),
    ("user+ user2+ invite+ invite2+", "user invite invite2 +|user2 +"),
    ("invite+ invite2+ a+", "invite a +|invite2 +"),
    ("user+ user2- a+", "user2 user -|a +"),
    ("user+ invite+ invite2+", "user +|invite +|invite2 +"),
    ("user+ a+ a2+ b+", "a2 +|user a b +"),
    ("user+ a+ a2- b+", "a2 user a -|b +"),
    ("a+ a2+", "a +|a2 +"),
    ("a+ a2- b+", "a2 a -|b +"),
]


@pytest.mark.parametrize(("entries", "invitations"), RULES)
def test_entries_make_the_invitations_of_the_rules(entries, invitations):
    assert combined(entries.split()) == set(invitations.split("|"))


@pytest.mark.parametrize(
    ("entries", "invitations"),
    [
        ("user+ invite+ a+ b+", "user invite list_unread|a +|b +"),
        ("invite+", "invite list_unread"),
        ("nameless+ nameless_a+", "nameless list_unread|nameless_a +"),
        ("old+ new+", "old list_unread|new +"),
        ("a+ b+", "a +|b +"),
        ("user+ invite- a+", "invite user -|a +"),
        ("user+ a-", "a user -"),
        ("a+ a2+ user+", "user a a2 list_unread"),
    ],
)
def test_unread_list_keeps_the_invitation_of_the_organization(entries, invitations):
    assert combined(entries.split(), all_read=False) == set(invitations.split("|"))


WORLDS = st.lists(st.sampled_from(list(ENTRIES)), unique=True).flatmap(
    lambda names: st.tuples(*(st.sampled_from([f"{name}+", f"{name}-"]) for name in names))
)


@given(WORLDS, st.booleans(), st.randoms())
def test_each_entry_is_in_exactly_one_invitation_whatever_the_order(texts, all_read, dice):
    found = combine(map(decision, texts), all_read=all_read)
    ids = [one.key for each in found for one in each.all_entries]
    assert sorted(ids) == sorted(decision(each).invitation.key for each in texts)
    shuffled = list(texts)
    dice.shuffle(shuffled)
    assert combined(shuffled, all_read=all_read) == combined(texts, all_read=all_read)


OTHERS = {
    "bob": "bob",
    "same_id": "carl",
    "unnamed": "unnamed",
    "old_invite": "old",
    "new_invite": "new",
}
OTHERS |= dict.fromkeys(["nameless", "nameless_a"], "nameless")
OTHERS |= dict.fromkeys(["old", "new"], "renamed")


def person(one):
    """Return whose entry it is; the rows with the names of a renamed user may be another's."""
    return OTHERS.get(NAMES[one], "ada")


@given(WORLDS, st.booleans())
def test_nothing_kept_is_ended_by_a_delete(texts, all_read):
    """Removing a person from the organization ends every entry of the person."""
    found = combine(map(decision, texts), all_read=all_read)
    judged = {each.invitation: each.stale for each in map(decision, texts)}
    for each in found:
        if each.stale:
            assert all(judged[one] for one in each.all_entries)
            if each.invitation.source.is_organization_level:
                own = [one for one in judged if person(one) == person(each.invitation)]
                assert all_read
                assert all(judged[one] for one in own)


@given(WORLDS, st.booleans())
def test_more_kept_entries_and_fewer_read_lists_never_delete_more(texts, all_read):
    def ended(texts, *, all_read):
        found = combine(map(decision, texts), all_read=all_read)
        return {one for each in found if each.stale for one in each.all_entries}

    before = ended(texts, all_read=all_read)
    assert ended(texts, all_read=False) <= before
    for number, text in enumerate(texts):
        kept = [*texts[:number], f"{text[:-1]}-", *texts[number + 1 :]]
        assert ended(kept, all_read=all_read) <= before
