"""One invitation is what one DELETE ends: the five rules that make invitations of entries."""

from typing import NamedTuple

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


class Case(NamedTuple):
    """Entries, by their names in `ENTRIES`, and the invitations that they make.

    An invitation is the entry that its DELETE names, or for whose sake it is kept, and then its
    other entries.

    Attributes:
        stale: The entries that are stale.
        kept: The entries that the policy keeps.
        deleted: The invitations whose entries are all stale.
        left: The invitations that stay, because the entry that they name is kept.
        left_unread: The invitations that stay, because a list was not read.
    """

    stale: list[str]
    kept: list[str]
    deleted: set[str]
    left: set[str]
    left_unread: set[str]

    def __str__(self):
        return f"stale: {' '.join(self.stale)}, kept: {' '.join(self.kept)}"


def case(*, stale="", kept="", deleted=(), left=(), left_unread=()):
    return Case(stale.split(), kept.split(), set(deleted), set(left), set(left_unread))


def stale_entry(name):
    return Decision(ENTRIES[name], "r", None)


def kept_entry(name):
    return Decision(ENTRIES[name], None, f"keep:{name}")


UNREAD = ("users of project Vault",)
READ_OR_NOT = st.sampled_from([(), UNREAD])


def combined(stale, kept, unread=()):
    """Return the case that these entries are."""
    found = case(stale=" ".join(stale), kept=" ".join(kept))
    decisions = [*map(stale_entry, stale), *map(kept_entry, kept)]
    for decision in combine(decisions, unread):
        entries = " ".join(NAMES[one] for one in decision.all_entries)
        if decision.stale:
            found.deleted.add(entries)
        elif decision.keep_reason == "list_unread":
            assert decision.unread == unread
            found.left_unread.add(entries)
        else:
            assert decision.keep_reason == f"keep:{NAMES[decision.invitation]}"
            found.left.add(entries)
    return found


RULES = [
    # Every entry of the person is stale: one DELETE, through org_users where the person is there.
    case(stale="org_user org_invite in_a in_b", deleted=["org_user org_invite in_a in_b"]),
    case(stale="in_b in_a org_invite org_user", deleted=["org_user org_invite in_a in_b"]),
    case(stale="org_invite in_a", deleted=["org_invite in_a"]),
    case(stale="org_user", deleted=["org_user"]),
    case(stale="org_invite", deleted=["org_invite"]),
    # In no list of the organization: each entry is an invitation of its project.
    case(stale="in_a in_b", deleted=["in_a", "in_b"]),
    case(stale="in_a", kept="in_b", deleted=["in_a"], left=["in_b"]),
    case(kept="in_a in_b", left=["in_a in_b"]),
    # One is kept: it names the organization's invitation, and projects end alone what is stale.
    case(
        stale="org_invite in_a in_b",
        kept="org_user",
        deleted=["in_a", "in_b"],
        left=["org_user org_invite"],
    ),
    case(stale="org_user in_a", kept="org_invite", deleted=["in_a"], left=["org_invite org_user"]),
    case(
        stale="org_user org_invite in_b",
        kept="in_a",
        deleted=["in_b"],
        left=["in_a org_user org_invite"],
    ),
    case(stale="org_user", kept="in_a in_b", left=["in_a org_user in_b"]),
    case(kept="org_user org_invite in_a", left=["org_user org_invite in_a"]),
    # Names that look the same are one person; others, and entries without a name, are alone.
    case(
        stale="org_user in_a",
        kept="spelled_invite",
        deleted=["in_a"],
        left=["spelled_invite org_user"],
    ),
    case(stale="org_user spelled_invite in_a", deleted=["org_user spelled_invite in_a"]),
    case(stale="org_user in_a", kept="bob_in_a", deleted=["org_user in_a"], left=["bob_in_a"]),
    case(
        stale="nameless unnamed_in_a",
        kept="org_user",
        deleted=["nameless", "unnamed_in_a"],
        left=["org_user"],
    ),
    # Lists of users that show one id are about one person, whatever name they show.
    case(
        stale="nameless unnamed_in_a",
        kept="nameless_in_a",
        deleted=["unnamed_in_a"],
        left=["nameless_in_a nameless"],
    ),
    case(
        stale="nameless nameless_in_a",
        kept="org_user",
        deleted=["nameless nameless_in_a"],
        left=["org_user"],
    ),
    case(stale="old new_in_a", deleted=["old new_in_a"]),
    case(stale="old", kept="new_in_a", left=["new_in_a old"]),
    case(stale="new_in_a", kept="old", deleted=["new_in_a"], left=["old"]),
    case(stale="old new_in_a", kept="new_invite", deleted=["new_in_a"], left=["new_invite old"]),
    case(stale="new_in_a old", kept="old_invite", deleted=["new_in_a"], left=["old_invite old"]),
    case(
        stale="old_invite new_in_a old",
        kept="new_invite",
        deleted=["new_in_a"],
        left=["new_invite old old_invite"],
    ),
    case(
        stale="old_invite new_in_a",
        kept="new_invite",
        deleted=["old_invite", "new_in_a"],
        left=["new_invite"],
    ),  # nothing joins the names
    case(
        stale="nameless_in_a",
        kept="same_id_invite",
        deleted=["nameless_in_a"],
        left=["same_id_invite"],
    ),  # the id of an invitation is not that of a user
    # Twice in a list: each row is an invitation of its own, deleted only if all are stale; the
    # rows of other lists that are the same membership end with it.
    case(stale="org_user org_user2", deleted=["org_user", "org_user2"]),
    case(
        stale="org_user org_user2 org_invite in_a",
        deleted=["org_user org_invite in_a", "org_user2"],
    ),
    case(
        stale="org_user org_user2 in_a in_a2 in_b",
        deleted=["org_user in_a in_b", "org_user2 in_a2"],
    ),
    case(
        stale="org_user org_user2 org_invite org_invite2",
        deleted=["org_user org_invite org_invite2", "org_user2"],
    ),
    case(stale="org_invite org_invite2 in_a", deleted=["org_invite in_a", "org_invite2"]),
    case(stale="org_user in_a", kept="org_user2", deleted=["in_a"], left=["org_user2 org_user"]),
    case(
        stale="org_user org_invite org_invite2", deleted=["org_user", "org_invite", "org_invite2"]
    ),
    case(stale="org_user in_a in_a2 in_b", deleted=["in_a2", "org_user in_a in_b"]),
    case(stale="org_user in_a in_b", kept="in_a2", deleted=["in_b"], left=["in_a2 org_user in_a"]),
    case(stale="in_a in_a2", deleted=["in_a", "in_a2"]),
    case(stale="in_a in_b", kept="in_a2", deleted=["in_b"], left=["in_a2 in_a"]),
]


@pytest.mark.parametrize("expected", RULES, ids=str)
def test_entries_make_the_invitations_of_the_rules(expected):
    assert combined(expected.stale, expected.kept) == expected


@pytest.mark.parametrize(
    "expected",
    [
        case(
            stale="org_user org_invite in_a in_b",
            deleted=["in_a", "in_b"],
            left_unread=["org_user org_invite"],
        ),
        case(stale="org_invite", left_unread=["org_invite"]),
        case(stale="nameless nameless_in_a", deleted=["nameless_in_a"], left_unread=["nameless"]),
        case(stale="old new_in_a", deleted=["new_in_a"], left_unread=["old"]),
        case(stale="in_a in_b", deleted=["in_a", "in_b"]),
        case(
            stale="org_user in_a", kept="org_invite", deleted=["in_a"], left=["org_invite org_user"]
        ),
        case(stale="org_user", kept="in_a", left=["in_a org_user"]),
        case(stale="in_a in_a2 org_user", left_unread=["org_user in_a in_a2"]),
    ],
    ids=str,
)
def test_unread_list_keeps_the_invitation_of_the_organization(expected):
    assert combined(expected.stale, expected.kept, UNREAD) == expected


WORLDS = st.lists(st.sampled_from(list(ENTRIES)), unique=True).flatmap(
    lambda names: st.tuples(*(st.sampled_from([stale_entry(n), kept_entry(n)]) for n in names))
)


@given(WORLDS, READ_OR_NOT, st.randoms())
def test_each_entry_is_in_exactly_one_invitation_whatever_the_order(decisions, unread, dice):
    found = combine(decisions, unread)
    ids = [one.key for each in found for one in each.all_entries]
    assert sorted(ids) == sorted(each.invitation.key for each in decisions)
    shuffled = list(decisions)
    dice.shuffle(shuffled)
    assert set(combine(shuffled, unread)) == set(found)


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
