"""After a sweep the lists are read again: verified, still there, or not verified."""

import asyncio
from datetime import timedelta

import pytest
from builders import (
    NOW,
    ORG,
    PROJECT,
    changed,
    entry_of,
    event_of,
    invitation,
    listed_as,
    object_id,
    policy,
)
from fakes import FakeAtlas, FakeDeletionLog
from hypothesis import given
from hypothesis import strategies as st
from sweep.night import FakeClient, QuietView, command_of

from invite_sweeper.audit.events import Planned
from invite_sweeper.endings import WarningCode
from invite_sweeper.errors import AtlasUnavailable, CredentialsRefused
from invite_sweeper.models import ListUnreadable, Outcome, ProjectGone, Source
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.executor import Executor
from invite_sweeper.sweep.guards import CircuitBreaker
from invite_sweeper.sweep.organization import AtlasOrganization, OrganizationPlan, Reading
from invite_sweeper.sweep.result import Result

UNREADABLE = ListUnreadable(PROJECT, "Sandbox Alpha", "503")
SECOND = timedelta(seconds=1)


def line(one, *entries):
    return event_of(Planned, one, rule="forgotten", entries=tuple(e.entry for e in entries))


def deleted(number, place=1):
    return line(invitation(number, project_id=object_id(place), source=Source.INVITES))


async def verify(atlas, *lines, stop=None, workers=4, outcome=Outcome.DELETED):
    """Return how many are verified, and the numbers of those that are still listed."""
    organization, log = AtlasOrganization(ORG, FakeClient(atlas)), FakeDeletionLog()
    plan = OrganizationPlan(Reading(organization), lines)
    result = Result(command_of(policy(execution={"concurrency": workers})), [], QuietView())
    breaker = CircuitBreaker(result.command.limits)
    executor = Executor(result, plan, log, stop or StopRequest(), breaker)
    executor.ended = [(each, outcome) for each in lines]
    executor._outcomes[outcome] = len(lines)
    await executor.read_again()
    swept = executor.swept()
    left = [int(id_, 16) for kind, id_ in log.lines if kind == "failed"]
    assert swept.counts.still_there == len(left) == len(log.lines)
    assert {each.replaces for each in log.events} <= {outcome}
    assert swept.outcomes[outcome] == len(lines) - len(left)
    assert swept.outcomes[Outcome.FAILED] == len(left)
    assert (WarningCode.STILL_THERE in result.view.codes()) is bool(left)
    return swept.counts.verified, left


@pytest.mark.parametrize(
    "result",
    [UNREADABLE, ProjectGone(PROJECT), AtlasUnavailable("-"), CredentialsRefused("-")],
)
async def test_list_that_cannot_be_read_again_verifies_nothing_and_raises_nothing(result):
    atlas = FakeAtlas(list_results={object_id(2): result})
    assert await verify(atlas, deleted(1, 1), deleted(2, 2), workers=1) == (1, [])


async def test_nothing_more_is_read_once_atlas_is_gone():
    gone = {object_id(n): AtlasUnavailable("-") for n in range(9)}
    atlas = FakeAtlas(list_results=gone)
    assert await verify(atlas, *(deleted(n, n) for n in range(9)), workers=1) == (0, [])
    assert len(atlas.requested) == 1


async def test_gone_invitation_is_read_again_and_not_called_verified():
    atlas = FakeAtlas(lists={object_id(1): (listed_as(deleted(1)),)})
    found = await verify(atlas, deleted(1), deleted(2), outcome=Outcome.ALREADY_GONE)
    assert (found, atlas.requested) == ((0, [1]), [object_id(1)])


# An invitation of several entries ----------------------------------------------------------------

ENTRIES = {
    each: entry_of(each, number)
    for number, each in enumerate((Source.ORG_USERS, Source.ORG_INVITES, Source.USERS), start=1)
}
PERSON = line(*ENTRIES.values())


def lists_of(*sources, **changes):
    own = {each: changed(ENTRIES[each], **changes) for each in sources if each is not None}
    return {(source, one.scope_id): (one,) for source, one in own.items()}


@pytest.mark.parametrize("unread", [None, *ENTRIES])
@pytest.mark.parametrize("left", [None, *ENTRIES])
async def test_invitation_is_verified_if_each_of_its_lists_was_read_and_shows_no_entry(
    unread, left
):
    results = dict.fromkeys(lists_of(unread), UNREADABLE)
    atlas = FakeAtlas(lists=lists_of(left), list_results=results)
    is_seen = left is not None and left is not unread
    expected = (int(unread is None and left is None), [1] if is_seen else [])
    assert await verify(atlas, PERSON) == expected
    assert sorted(atlas.requested) == sorted([ORG, ORG, PROJECT])


async def test_list_is_read_once_for_invitations_that_name_it_and_for_others():
    atlas = FakeAtlas()
    assert await verify(atlas, PERSON, line(entry_of(Source.USERS, 5)), workers=1) == (2, [])
    assert sorted(atlas.requested) == sorted([ORG, ORG, PROJECT])


@pytest.mark.parametrize(("later", "found"), [(timedelta(0), (0, [1])), (SECOND, (1, []))])
async def test_person_who_was_invited_again_meanwhile_is_not_the_deleted_invitation(later, found):
    anew = FakeAtlas(lists=lists_of(*ENTRIES, created_at=NOW + later))
    assert await verify(anew, PERSON) == found


@pytest.mark.parametrize(
    ("moved", "still_there"),
    [
        (timedelta(0), True),
        (timedelta(milliseconds=250), True),
        (SECOND, False),
        (timedelta(days=-1), False),
        (None, True),
    ],
)
async def test_user_is_still_there_unless_listed_with_another_date(moved, still_there):
    one = entry_of(Source.USERS)
    listed = changed(one, created_at=None if moved is None else one.sent_at + moved)
    atlas = FakeAtlas(lists={(Source.USERS, PROJECT): (listed,)})
    assert await verify(atlas, line(one)) == (int(not still_there), [1] * still_there)


# Bounds ------------------------------------------------------------------------------------------


async def test_nothing_is_read_again_after_a_stop():
    stop, atlas = StopRequest(), FakeAtlas()
    stop.request("SIGTERM received")
    assert await verify(atlas, deleted(1), stop=stop) == (0, [])
    assert atlas.requested == []


@pytest.mark.parametrize("stops_at", [1, 2])
async def test_stop_ends_the_reading_and_keeps_what_is_verified(stops_at):
    stop = StopRequest()

    class Stopping(FakeAtlas):
        async def invitations(self, project, source=Source.INVITES):
            if len(self.requested) == stops_at:
                stop.request("the deadline of 1h passed")
                await asyncio.Event().wait()
            return await super().invitations(project, source)

    atlas = Stopping()
    lines = [deleted(n, n) for n in range(3)]
    assert await verify(atlas, *lines, stop=stop, workers=1) == (stops_at, [])
    assert len(atlas.requested) == stops_at


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["gone", "there", "unreadable"])), max_size=12
    ),
    st.integers(1, 5),
)
async def test_each_deletion_of_a_readable_list_is_verified_or_still_there(deletions, workers):
    """Recompute the two numbers from the lists."""
    unreadable = {place for place, fate in deletions if fate == "unreadable"}
    lines = [deleted(n, 50 + place) for n, (place, _) in enumerate(deletions)]
    lists = {}
    for each, (_, fate) in zip(lines, deletions, strict=True):
        if fate == "there":
            lists[each.project_id] = (*lists.get(each.project_id, ()), listed_as(each))
    atlas = FakeAtlas(
        lists=lists, list_results={object_id(50 + place): UNREADABLE for place in unreadable}
    )
    verified, still_there = await verify(atlas, *lines, workers=workers)
    readable = [fate for place, fate in deletions if place not in unreadable]
    assert (verified, len(still_there)) == (readable.count("gone"), readable.count("there"))
    assert len(atlas.requested) == len({each.project_id for each in lines})
