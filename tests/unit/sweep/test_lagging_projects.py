"""A project that lags behind its organization shows a member as invited: the organization is asked.

`tests/api/test_user_removal.py` has what comes of its answer.
"""

import pytest
from builders import NOW, ORG, changed, entry_of, object_id, project
from sweep.night import Night

from invite_sweeper.models import ListUnreadable, Source

SANDBOX = object_id(1)
ADA = entry_of(
    Source.USERS, 7, username="ada@example.com", project_id=SANDBOX, project_name="sandbox"
)
NO_ROLES = {"project_roles": (), "linked_projects": ()}
YOUNG = {"created_at": NOW, **NO_ROLES}  # kept, so that the role in the project goes alone
UNREAD = ListUnreadable(None, None, "401", org_id=ORG)


def in_organization(source, number=9, **changes):
    return entry_of(source, number, **{"username": "Ada@Example.com", **YOUNG, **changes})


LISTS = {
    "the user": ({Source.ORG_USERS: [in_organization(Source.ORG_USERS, 7)]}, False),
    "the name": ({Source.ORG_USERS: [in_organization(Source.ORG_USERS)]}, False),
    "the id": ({Source.ORG_USERS: [in_organization(Source.ORG_USERS, 7, username=None)]}, False),
    "an older list": ({Source.ORG_INVITES: [in_organization(Source.ORG_INVITES)]}, False),
    "no list": ({}, True),
    "another person": (
        {Source.ORG_USERS: [in_organization(Source.ORG_USERS, username="bob@example.com")]},
        True,
    ),
    "no list that was read": ({Source.ORG_USERS: UNREAD, Source.ORG_INVITES: UNREAD}, False),
    "the only list that was read": ({Source.ORG_INVITES: UNREAD}, True),
}
"""What shows her in the organization, the lists, and whether the organization is asked."""


async def asked_for(directory, lists, sources=tuple(Source)):
    """Return the entries before whose removal the organization is asked, in a run that sweeps."""
    night = Night(directory, 0, sources=[str(source) for source in sources])
    (atlas,) = night.atlases
    atlas.listed = [project(1, name="sandbox")]
    atlas.lists = {(Source.USERS, SANDBOX): (ADA,)}
    for source, answer in lists.items():
        atlas.list_results[source, ORG] = tuple(answer) if isinstance(answer, list) else answer
    await night.run()
    assert atlas.deleted == [ADA.invitation_id]
    return night.clients[0].absent


@pytest.mark.parametrize("shown_by", LISTS)
async def test_organization_is_asked_for_a_person_whom_none_of_its_lists_shows(directory, shown_by):
    lists, asks = LISTS[shown_by]
    assert await asked_for(directory, lists) == ({ADA.key} if asks else set())


async def test_organization_is_not_asked_where_the_policy_reads_none_of_its_lists(directory):
    sources = (Source.USERS, Source.INVITES)
    assert await asked_for(directory, {}, sources) == set()


@pytest.mark.parametrize("source", [each for each in Source if each is not Source.USERS])
async def test_organization_is_asked_for_entries_of_users_alone(directory, source):
    place = SANDBOX if source is Source.INVITES else (source, ORG)
    night = Night(directory, 0, sources=[str(each) for each in Source])
    (atlas,) = night.atlases
    atlas.listed = [project(1, name="sandbox")]
    names = NO_ROLES if source.is_organization_level else {"project_id": SANDBOX}
    atlas.lists = {place: (changed(entry_of(source, 5), **names),)}
    await night.run()
    assert (atlas.deleted, night.clients[0].absent) == ([object_id(5)], set())
