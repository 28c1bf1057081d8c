"""One invitation is what one DELETE ends: the five rules that make invitations of entries."""

import pytest
from builders import ORG, invitation, object_id
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.models import Source
from invite_sweeper.sweep.invitations import combine
from invite_sweeper.sweep.selection import Decision

A = object_id(801)
B = object_id(802)


def entry(source, place, id_, username="ada@example.com", **changes):
    return invitation(id_, source=source, project_id=place, username=username, **changes)


ENTRIES = {
    "org_user": entry(Source.ORG_USERS, ORG, 1),
    "org_invite": entry(Source.ORG_INVITES, ORG, 2),
    "in_a": entry(Source.USERS, A, 1),
    "in_b": entry(Source.USERS, B, 1),
    "org_user2": entry(Source.ORG_USERS, ORG, 11),
    "org_invite2": entry(Source.ORG_INVITES, ORG, 12),
    "in_a2": entry(Source.USERS, A, 11),
    "spelled_invite": entry(Source.ORG_INVITES, ORG, 22, "\uff21da\u200b@Example.com."),
    "bob_in_a": entry(Source.USERS, A, 21, "bob@example.com"),
    "nameless": entry(Source.ORG_USERS, ORG, 31, None),
    "nameless_in_a": entry(Source.USERS, A, 31, None),
    "unnamed_in_a": entry(Source.USERS, A, 32, ""),
    "old": entry(Source.ORG_USERS, ORG, 51, "old@example.com"),
    "old_invite": entry(Source.ORG_INVITES, ORG, 52, "old@example.com"),
    "new_in_a": entry(Source.USERS, A, 51, "new@example.com"),
    "new_invite": entry(Source.ORG_INVITES, ORG, 53, "new@example.com"),
    "same_id_invite": entry(Source.ORG_INVITES, ORG, 31, "carl@example.com"),
}
NAMES = {one: name for name, one in ENTRIES.items()}


def stale_entry(name):
    return Decision(ENTRIES[name], "r", None)


def kept_entry(name):
    return Decision(ENTRIES[name], None, f"keep:{name}")


UNREAD = ("users of project Vault",)
READ_OR_NOT = st.sampled_from([(), UNREAD])
RULES = """
# Every entry of the person is stale: one DELETE, through org_users where the person is there.
org_user org_invite in_a in_b => org_user org_invite in_a in_b
in_b in_a org_invite org_user => org_user org_invite in_a in_b
org_invite in_a => org_invite in_a
org_user => org_user
org_invite => org_invite
# In no list of the organization: each entry is an invitation of its project.
in_a in_b => in_a | in_b
in_a ! in_b => in_a ! in_b
! in_a in_b => ! in_a in_b
# One is kept: it names the organization's invitation, and projects end alone what is stale.
org_invite in_a in_b ! org_user => in_a | in_b ! org_user org_invite
org_user in_a ! org_invite => in_a ! org_invite org_user
org_user org_invite in_b ! in_a => in_b ! in_a org_user org_invite
org_user ! in_a in_b => ! in_a org_user in_b
! org_user org_invite in_a => ! org_user org_invite in_a
# Names that look the same are one person; others, and entries without a name, are alone.
org_user in_a ! spelled_invite => in_a ! spelled_invite org_user
org_user spelled_invite in_a => org_user spelled_invite in_a
org_user in_a ! bob_in_a => org_user in_a ! bob_in_a
nameless unnamed_in_a ! org_user => nameless | unnamed_in_a ! org_user
# Lists of users that show one id are about one person, whatever name they show.
nameless unnamed_in_a ! nameless_in_a => unnamed_in_a ! nameless_in_a nameless
nameless nameless_in_a ! org_user => nameless nameless_in_a ! org_user
old new_in_a => old new_in_a
old ! new_in_a => ! new_in_a old
new_in_a ! old => new_in_a ! old
old new_in_a ! new_invite => new_in_a ! new_invite old
new_in_a old ! old_invite => new_in_a ! old_invite old
old_invite new_in_a old ! new_invite => new_in_a ! new_invite old old_invite
# Nothing joins the names; and the id of an invitation is not that of a user.
old_invite new_in_a ! new_invite => new_in_a | old_invite ! new_invite
nameless_in_a ! same_id_invite => nameless_in_a ! same_id_invite
# Twice in a list: each row is an invitation of its own, deleted only if all are stale; the
# rows of other lists that are the same membership end with it.
org_user org_user2 => org_user | org_user2
org_user org_user2 org_invite in_a => org_user org_invite in_a | org_user2
org_user org_user2 in_a in_a2 in_b => org_user in_a in_b | org_user2 in_a2
org_user org_user2 org_invite org_invite2 => org_user org_invite org_invite2 | org_user2
org_invite org_invite2 in_a => org_invite in_a | org_invite2
org_user in_a ! org_user2 => in_a ! org_user2 org_user
org_user org_invite org_invite2 => org_invite | org_invite2 | org_user
org_user in_a in_a2 in_b => in_a2 | org_user in_a in_b
org_user in_a in_b ! in_a2 => in_b ! in_a2 org_user in_a
in_a in_a2 => in_a | in_a2
in_a in_b ! in_a2 => in_b ! in_a2 in_a
"""
"""A row is `STALE ! KEPT => DELETED ! LEFT`: entries by their names, and what they make.

Invitations are separated by `|`. Each is the entry that its DELETE names, or for whose sake it is
left, and then its other entries.
"""
UNREAD_RULES = """
org_user org_invite in_a in_b => in_a | in_b ? org_user org_invite
org_invite => ? org_invite
nameless nameless_in_a => nameless_in_a ? nameless
old new_in_a => new_in_a ? old
in_a in_b => in_a | in_b
org_user in_a ! org_invite => in_a ! org_invite org_user
org_user ! in_a => ! in_a org_user
in_a in_a2 org_user => ? org_user in_a in_a2
"""
"""After `?` are the invitations that are left because a list was not read."""


def rows(table):
    return [row for row in table.strip().splitlines() if not row.startswith("#")]


def made(stale, kept, unread=()):
    """Return the invitations that these entries make, as a row has them."""
    found = {"": [], "! ": [], "? ": []}
    for decision in combine([*map(stale_entry, stale), *map(kept_entry, kept)], unread):
        entries = " ".join(NAMES[one] for one in decision.all_entries)
        if decision.stale:
            found[""].append(entries)
        elif decision.keep_reason == "list_unread":
            assert decision.unread == unread
            found["? "].append(entries)
        else:
            assert decision.keep_reason == f"keep:{NAMES[decision.invitation]}"
            found["! "].append(entries)
    return " ".join(sign + " | ".join(sorted(each)) for sign, each in found.items() if each)


@pytest.mark.parametrize(
    ("row", "unread"),
    [*((row, ()) for row in rows(RULES)), *((row, UNREAD) for row in rows(UNREAD_RULES))],
)
def test_entries_make_the_invitations_of_the_rules(row, unread):
    entries, _, expected = row.partition(" => ")
    stale, _, kept = entries.partition("! ")
    assert made(stale.split(), kept.split(), unread) == expected


WORLDS = st.lists(st.sampled_from(list(ENTRIES)), unique=True).flatmap(
    lambda names: st.tuples(*(st.sampled_from([stale_entry(n), kept_entry(n)]) for n in names))
)


OTHERS = {
    "bob_in_a": "bob",
    "same_id_invite": "carl",
    "unnamed_in_a": "unnamed",
    "old_invite": "old",
    "new_invite": "new",
}
OTHERS |= dict.fromkeys(["nameless", "nameless_in_a"], "nameless")
OTHERS |= dict.fromkeys(["old", "new_in_a"], "renamed")


def person(one):
    """Return whose entry it is; the rows with the names of a renamed user may be another's."""
    return OTHERS.get(NAMES[one], "ada")


@given(WORLDS, READ_OR_NOT)
def test_nothing_kept_is_ended_by_a_delete(decisions, unread):
    """Removing a person from the organization ends every entry of the person."""
    found = combine(decisions, unread)
    judged = {each.invitation: each.stale for each in decisions}
    for each in found:
        if each.stale:
            assert all(judged[one] for one in each.all_entries)
            if each.invitation.source.is_organization_level:
                own = [one for one in judged if person(one) == person(each.invitation)]
                assert not unread
                assert all(judged[one] for one in own)


@given(WORLDS, READ_OR_NOT)
def test_more_kept_entries_and_fewer_read_lists_never_delete_more(decisions, unread):
    def ended(decisions, unread):
        found = combine(decisions, unread)
        return {one for each in found if each.stale for one in each.all_entries}

    before = ended(decisions, unread)
    assert ended(decisions, UNREAD) <= before
    for number, decision in enumerate(decisions):
        kept = kept_entry(NAMES[decision.invitation])
        with_one_more = [*decisions[:number], kept, *decisions[number + 1 :]]
        assert ended(with_one_more, unread) <= before
