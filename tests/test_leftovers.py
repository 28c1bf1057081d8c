"""An organization invitation that stays when the project's goes is told, and no other."""

from builders import invitation

from invite_sweeper.models import Source
from invite_sweeper.sweep.plan import RemainingOrgInvitations
from invite_sweeper.sweep.selection import Decision


def told(*decisions):
    leftovers = RemainingOrgInvitations()
    for one in decisions:
        assert leftovers.observe(one) is one
    return leftovers.warnings()


def goes(username="ann@example.com", source=Source.INVITES):
    return Decision(invitation(1, username=username, source=source), "r", None)


def stays(username="ann@example.com", source=Source.ORG_INVITES):
    return Decision(invitation(2, username=username, source=source), None, "too_young")


def test_person_whose_project_invitation_goes_and_whose_organization_s_stays_is_named():
    assert told(goes("ANN@example.com"), stays()) == (
        "An organization invitation stays of 1 whose project invitation goes: ann@example.com.",
    )


def test_order_of_the_lists_does_not_count():
    assert told(stays(), goes()) == told(goes(), stays())


def test_nobody_is_named_where_both_go_or_both_stay_or_another_stays():
    assert told(goes(), goes(source=Source.ORG_INVITES)) == ()
    assert told(stays(source=Source.INVITES), stays()) == ()
    assert told(goes(), stays("bob@example.com")) == ()
    assert told() == ()


def test_person_without_address_is_nobody():
    assert told(goes(None), stays(None)) == ()


def test_ten_are_named_and_the_rest_counted():
    pairs = [(goes(f"p{n:02}@example.com"), stays(f"p{n:02}@example.com")) for n in range(12)]
    (sentence,) = told(*(one for pair in pairs for one in pair))
    assert "p09@example.com and 2 more." in sentence
    assert "p10@" not in sentence
