"""`inviter_gone` matches a person who has left, and no inviter who may still be a member."""

from datetime import timedelta

import pytest
from builders import NOW, ORG, OTHER_ORG, invitation, policy

from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import Source
from invite_sweeper.sweep.guards import check_members
from invite_sweeper.sweep.selection import Selector

RULES = [{"name": "left", "inviter_gone": True}]
MEMBERS = {ORG: frozenset({"ada@example.com", "zoë@example.com", "bo@example.com"})}


def decide(inviter, *, members=MEMBERS, rules=RULES, **changes):
    one = invitation(
        inviter=inviter, age=timedelta(minutes=1), **{"source": Source.INVITES, **changes}
    )
    return Selector(policy(rules=rules), NOW, members).decide(one)


@pytest.mark.parametrize("inviter", ["gone@example.com", " Gone@Example.com ", "a.b+c@x.example"])
def test_person_who_is_no_active_member_is_gone(inviter):
    decision = decide(inviter)
    assert (decision.rule, decision.members_read) == ("left", 3)


@pytest.mark.parametrize(
    "inviter",
    [
        "ada@example.com",
        "ADA@example.com ",
        "zoe\u0308@example.com",
        "\uff41da@example.com",
        "ada\u200b@example.com",
        "ada@example.com.",
    ],
)
def test_active_member_in_any_spelling_is_not_gone(inviter):
    assert decide(inviter).keep_reason == "no_rule"


@pytest.mark.parametrize(
    "inviter", [None, "", " ", "nmtxqlkl", "mdb_sa_id_5efda682a3f2ed2e7dd6cde4", "a@b", "a b@c.d"]
)
def test_inviter_that_is_no_address_is_unknown(inviter):
    assert decide(inviter).keep_reason == "inviter_unknown"


@pytest.mark.parametrize("members", [{}, {OTHER_ORG: frozenset({"x@y.z"})}, {ORG: frozenset()}])
def test_inviter_is_unknown_where_the_members_are(members):
    assert decide("gone@example.com", members=members).keep_reason == "inviter_unknown"


@pytest.mark.parametrize("source", Source)
def test_keep_entry_for_an_inviter_who_left_keeps_and_one_for_an_unknown_inviter_too(source):
    keep = [{"name": "k", "inviter_gone": True}]
    for inviter, reason in (("gone@example.com", "keep:k"), ("nmtxqlkl", "inviter_unknown")):
        selector = Selector(policy(keep=keep), NOW, MEMBERS)
        assert selector.decide(invitation(inviter=inviter, source=source)).keep_reason == reason
        (entry, _) = selector.explain(invitation(inviter=inviter, source=source))
        assert [key for key, _ in entry.conditions] == ["inviter_gone"]


def test_other_conditions_of_the_rule_must_hold_too():
    rules = [{"name": "left", "inviter_gone": True, "older_than": "1d"}]
    assert not decide("gone@example.com", rules=rules).stale
    assert decide("gone@example.com", rules=[{"name": "r", "older_than": "1s"}]).members_read == 0
    assert not decide("gone@example.com", rules=rules, members={}).stale


@pytest.mark.parametrize(
    ("inviter", "stale"), [("gone@example.com", True), ("ada@example.com", False)]
)
def test_invitation_that_a_person_sent_themselves_is_stale_only_once_the_person_left(
    inviter, stale
):
    assert decide(inviter, username=inviter).stale is stale


@pytest.mark.parametrize(
    ("listed", "before", "drop", "believed"),
    [
        *((70, 100, 0.3, True), (69, 100, 0.3, False), (71, 100, 0.29, True)),
        *((70, 100, 0.29, False), (3, 4, 0.3, True), (2, 4, 0.3, False), (0, 1, 1, True)),
        *((200, 100, 0, True), (99, 100, 0, False), (100, 100, 0, True), (0, 0, 0, True)),
    ],
)
def test_list_that_shrank_by_more_than_the_policy_allows_is_not_believed(
    listed, before, drop, believed
):
    """A few members are compared, too: each invitation by one who is missing would be stale."""
    limits = policy(limits={"max_population_drop": drop}).limits
    if believed:
        check_members(ORG, listed, before, limits)
        return
    with pytest.raises(GuardRefused, match=f"{before} were before: the drop is over") as caught:
        check_members(ORG, listed, before, limits)
    assert caught.value.reasons == (Reason.MAX_POPULATION_DROP,)
