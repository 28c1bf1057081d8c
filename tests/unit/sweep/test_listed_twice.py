"""A list that shows a person twice: each row is an invitation, deleted only if all are stale."""

from builders import NOW, ORG, PROJECT, invitation, object_id, policy

from invite_sweeper.models import Source
from invite_sweeper.sweep.invitations import combine
from invite_sweeper.sweep.selection import Selector


def decisions(*inviters):
    """Return the invitations of a name with two memberships, each with a role in a project."""
    selector = Selector(policy(keep=[{"name": "k", "inviters": ["boss@*"]}]), NOW)
    rows = [
        invitation(
            number,
            source=source,
            project_id=ORG if source is Source.ORG_USERS else PROJECT,
            username="twice@example.com",
            inviter=inviter,
        )
        for source in (Source.ORG_USERS, Source.USERS)  # a user has the same id in both
        for number, inviter in enumerate(inviters, start=1)
    ]
    return combine(map(selector.decide, rows), all_read=True)


def test_each_membership_is_one_invitation_that_ends_through_the_organization():
    found = decisions("x", "y")
    named = [each.invitation for each in found]
    assert [(each.source, each.id) for each in named] == [
        (Source.ORG_USERS, object_id(number)) for number in (1, 2)
    ]
    assert all(each.stale for each in found)
    assert [[e.id for e in each.entries] for each in found] == [[object_id(1)], [object_id(2)]]


def test_kept_membership_keeps_the_other_in_the_organization():
    found = decisions("boss@example.com", "y")
    assert not [
        each for each in found if each.stale and each.invitation.source.is_organization_level
    ]
