"""Warnings about users who keep an organization invitation."""

from builders import invitation

from invite_sweeper.models import Source
from invite_sweeper.sweep.plan import RemainingOrgInvitations
from invite_sweeper.sweep.selection import Decision


def warnings(*decisions):
    remaining = RemainingOrgInvitations()
    for one in decisions:
        assert remaining.observe(one) is one
    return remaining.warnings()


def stale(username="ann@example.com", source=Source.INVITES):
    return Decision(invitation(1, username=username, source=source), "r", None)


def kept(username="ann@example.com", source=Source.ORG_INVITES):
    return Decision(invitation(2, username=username, source=source), None, "too_young")


def test_user_who_keeps_an_organization_invitation_is_named():
    (warning,) = warnings(stale("ANN@example.com"), kept())
    assert warning == (
        "1 user keeps an organization invitation when the project invitation is deleted: "
        "ann@example.com."
    )


def test_order_of_the_lists_does_not_matter():
    assert warnings(kept(), stale()) == warnings(stale(), kept())


def test_no_user_is_named_if_both_are_deleted_both_are_kept_or_the_users_differ():
    assert warnings(stale(), stale(source=Source.ORG_INVITES)) == ()
    assert warnings(kept(source=Source.INVITES), kept()) == ()
    assert warnings(stale(), kept("bob@example.com")) == ()
    assert warnings() == ()


def test_invitations_without_a_username_are_ignored():
    assert warnings(stale(None), kept(None)) == ()


def test_ten_users_are_named_and_the_rest_is_counted():
    pairs = [(stale(f"p{n:02}@example.com"), kept(f"p{n:02}@example.com")) for n in range(12)]
    (message,) = warnings(*(one for pair in pairs for one in pair))
    assert "p09@example.com and 2 more." in message
    assert "p10@" not in message


def test_two_to_ten_users_are_all_named():
    for count in (2, 10):
        names = [f"p{n:02}@example.com" for n in range(count)]
        (message,) = warnings(*(one for name in names for one in (stale(name), kept(name))))
        assert message == (
            f"{count} users keep an organization invitation when the project invitation is "
            f"deleted: {', '.join(names)}."
        )
