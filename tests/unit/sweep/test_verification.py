"""After a sweep the lists are read again: verified, still there, or not verified."""

import asyncio
from datetime import timedelta

import pytest
from builders import NOW, ORG, PROJECT, invitation, object_id
from fakes import FakeAtlas
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.audit.events import Planned
from invite_sweeper.errors import AtlasUnavailable, CredentialsRefused
from invite_sweeper.models import (
    ListUnreadable,
    Outcome,
    Project,
    ProjectGone,
    Source,
    entries_of,
)
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep import deleting
from invite_sweeper.sweep.deleting import DeletionVerifier

OTHER = object_id(77)
UNREADABLE = ListUnreadable(PROJECT, "Sandbox Alpha", "503")


def line(one, entries=()):
    return Planned.from_invitation(one, NOW, rule="forgotten", entries=entries_of(entries))


async def verify(atlas, *deleted, stop=None, workers=4, outcome=Outcome.DELETED):
    verifier = DeletionVerifier(atlas, stop or StopRequest(), NOW)
    for one in deleted:
        verifier.record(line(one), outcome)
    await verifier.run(workers=workers)
    assert all(each is outcome for _, each in verifier.still_listed)
    return verifier.verified, [each.invitation_id for each, _ in verifier.still_listed]


async def test_deletion_that_is_gone_from_its_list_is_verified():
    atlas = FakeAtlas(lists={PROJECT: (invitation(3, source=Source.INVITES),)})
    assert await verify(
        atlas, invitation(1, source=Source.INVITES), invitation(2, source=Source.INVITES)
    ) == (2, [])
    assert atlas.requested == [PROJECT]


async def test_deletion_that_is_in_its_list_is_still_there():
    atlas = FakeAtlas(
        lists={
            PROJECT: (invitation(1, source=Source.INVITES), invitation(3, source=Source.INVITES))
        }
    )
    assert await verify(
        atlas, invitation(1, source=Source.INVITES), invitation(2, source=Source.INVITES)
    ) == (1, [object_id(1)])


@pytest.mark.parametrize(
    "result",
    [
        UNREADABLE,
        ProjectGone(PROJECT, "Sandbox Alpha"),
        AtlasUnavailable("-"),
        CredentialsRefused("-"),
    ],
)
async def test_list_that_cannot_be_read_again_verifies_nothing_and_raises_nothing(result):
    atlas = FakeAtlas(list_results={PROJECT: result})
    other = invitation(2, project_id=OTHER, source=Source.INVITES)
    assert await verify(atlas, invitation(1, source=Source.INVITES), other, workers=2) == (1, [])


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - {Outcome.DELETED, Outcome.ALREADY_GONE}))
async def test_only_deleted_and_gone_invitations_are_looked_up(outcome):
    atlas = FakeAtlas()
    assert await verify(atlas, invitation(1, source=Source.INVITES), outcome=outcome) == (0, [])
    assert atlas.requested == []


async def test_gone_invitation_that_is_in_its_list_is_still_listed_and_none_counts_as_verified():
    atlas = FakeAtlas(
        lists={
            PROJECT: (invitation(1, source=Source.INVITES), invitation(3, source=Source.INVITES))
        }
    )
    gone = invitation(1, source=Source.INVITES), invitation(2, source=Source.INVITES)
    assert await verify(atlas, *gone, outcome=Outcome.ALREADY_GONE) == (0, [object_id(1)])
    assert atlas.requested == [PROJECT]


# An invitation of several entries ----------------------------------------------------------------

IN_ORG = invitation(1, source=Source.ORG_USERS, project_id=ORG, project_name="")
IN_INVITES = invitation(2, source=Source.ORG_INVITES, project_id=ORG, project_name="")
IN_PROJECT = invitation(1, source=Source.USERS)
PERSON = line(IN_ORG, [IN_INVITES, IN_PROJECT])
KEYS = {
    IN_ORG: (Source.ORG_USERS, ORG),
    IN_INVITES: (Source.ORG_INVITES, ORG),
    IN_PROJECT: (Source.USERS, PROJECT),
}


async def verify_person(atlas):
    verifier = DeletionVerifier(atlas, StopRequest(), NOW)
    verifier.record(PERSON, Outcome.DELETED)
    await verifier.run(workers=2)
    assert all(found == (PERSON, Outcome.DELETED) for found in verifier.still_listed)
    return verifier.verified, len(verifier.still_listed)


async def test_invitation_is_verified_if_each_of_its_lists_shows_no_entry_of_it():
    atlas = FakeAtlas()
    assert await verify_person(atlas) == (1, 0)
    assert sorted(atlas.requested) == sorted([ORG, ORG, PROJECT])


@pytest.mark.parametrize("left", KEYS, ids=lambda one: one.source)
async def test_entry_in_any_list_of_the_invitation_is_still_listed(left):
    atlas = FakeAtlas(lists={KEYS[left]: (left,)})
    assert await verify_person(atlas) == (0, 1)


@pytest.mark.parametrize("unread", KEYS, ids=lambda one: one.source)
@pytest.mark.parametrize("left", [None, *KEYS], ids=lambda one: getattr(one, "source", None))
async def test_list_that_cannot_be_read_again_verifies_nothing_and_hides_no_other(unread, left):
    lists = {KEYS[left]: (left,)} if left else {}
    atlas = FakeAtlas(lists=lists, list_results={KEYS[unread]: UNREADABLE})
    seen = left is not None and left is not unread
    assert await verify_person(atlas) == (0, int(seen))


async def test_person_who_was_invited_again_meanwhile_is_not_the_deleted_invitation():
    later = NOW + timedelta(seconds=1)
    lists = {KEYS[one]: (one._replace(created_at=later),) for one in KEYS}
    found = await verify_person(FakeAtlas(lists=lists))
    assert found == (1, 0)


@pytest.mark.parametrize(
    ("listed_at", "still_there"),
    [
        (timedelta(0), True),
        (timedelta(milliseconds=250), True),
        (timedelta(seconds=1), False),
        (timedelta(days=-1), False),
        (None, True),
    ],
)
async def test_user_is_still_there_unless_listed_with_another_date(listed_at, still_there):
    one = invitation(1, source=Source.USERS)
    moved = None if listed_at is None else one.created_at + listed_at
    atlas = FakeAtlas(lists={(Source.USERS, PROJECT): (one._replace(created_at=moved),)})
    assert await verify(atlas, one) == (int(not still_there), [one.id] * still_there)


async def test_nothing_is_read_after_a_stop():
    stop, atlas = StopRequest(), FakeAtlas()
    stop.request("SIGTERM received")
    assert await verify(atlas, invitation(1, source=Source.INVITES), stop=stop) == (0, [])
    assert atlas.requested == []


async def test_stop_ends_the_reading_and_keeps_what_is_verified():
    stop = StopRequest()

    class SlowAtlas(FakeAtlas):
        async def invitations(self, project, source=Source.INVITES):
            if project.id == OTHER:
                stop.request("the deadline of 1h passed")
                await asyncio.Event().wait()
            return await super().invitations(project, source)

    deleted = (
        invitation(1, source=Source.INVITES),
        invitation(2, project_id=OTHER, source=Source.INVITES),
        invitation(3, project_id=object_id(5), source=Source.INVITES),
    )
    assert await verify(SlowAtlas(), *deleted, stop=stop, workers=1) == (1, [])


@pytest.mark.parametrize(("limit", "lists"), [(2, 2), (3, 3), (4, 3)])
async def test_number_of_lists_is_bounded(monkeypatch, limit, lists):
    monkeypatch.setattr(deleting, "MAX_LISTS_VERIFIED", limit)
    atlas = FakeAtlas()
    deleted = [
        invitation(n, project_id=object_id(100 + n), source=Source.INVITES) for n in range(3)
    ]
    assert await verify(atlas, *deleted) == (lists, [])
    assert len(atlas.requested) == lists


@pytest.mark.parametrize(("limit", "verified"), [(2, 2), (3, 3), (4, 3)])
async def test_number_of_remembered_deletions_is_bounded(monkeypatch, limit, verified):
    monkeypatch.setattr(deleting, "MAX_DELETIONS_VERIFIED", limit)
    assert await verify(FakeAtlas(), *(invitation(n, source=Source.INVITES) for n in range(3))) == (
        verified,
        [],
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["gone", "there", "unreadable"])), max_size=12
    ),
    st.integers(1, 5),
)
async def test_each_deletion_of_a_readable_list_is_verified_or_still_there(deletions, workers):
    """Recompute the two numbers from the lists."""
    unreadable = {place for place, fate in deletions if fate == "unreadable"}
    ones = [
        invitation(n, project_id=object_id(50 + place), source=Source.INVITES)
        for n, (place, _) in enumerate(deletions)
    ]
    fates = [fate for _, fate in deletions]
    lists = {}
    for one, fate in zip(ones, fates, strict=True):
        if fate == "there":
            lists[one.project_id] = (*lists.get(one.project_id, ()), one)
    atlas = FakeAtlas(
        lists=lists, list_results={object_id(50 + place): UNREADABLE for place in unreadable}
    )
    verified, still_there = await verify(atlas, *ones, workers=workers)
    readable = [
        f for (place, _), f in zip(deletions, fates, strict=True) if place not in unreadable
    ]
    assert (verified, len(still_there)) == (readable.count("gone"), readable.count("there"))
    assert len(atlas.requested) == len({one.project_id for one in ones})


async def test_list_is_read_again_with_the_project_and_source_of_the_deletion():
    seen = []

    class Recording(FakeAtlas):
        async def invitations(self, project, source=Source.INVITES):
            seen.append((project, source))
            return await super().invitations(project, source)

    one = invitation(1, source=Source.USERS)
    await verify(Recording(), one)
    assert seen == [(Project(one.project_id, "", one.org_id), Source.USERS)]


async def test_list_is_read_again_once_for_invitations_that_name_it_and_for_others():
    atlas = FakeAtlas()
    verifier = DeletionVerifier(atlas, StopRequest(), NOW)
    other = line(invitation(5, source=Source.USERS))
    for each in (PERSON, other):
        verifier.record(each, Outcome.DELETED)
    await verifier.run(workers=1)
    assert (verifier.verified, sorted(atlas.requested)) == (2, sorted([ORG, ORG, PROJECT]))
