"""After a sweep the lists are read again: verified, still there, or not verified."""

import asyncio
from collections import Counter
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
    project,
)
from fakes import FakeAtlas, FakeDeletionLog
from hypothesis import given
from hypothesis import strategies as st
from sweep.night import FakeClient, Night, QuietView, command_of
from virtual_time import run_skipping_idle_time

from invite_sweeper.audit.events import Planned
from invite_sweeper.endings import WarningCode
from invite_sweeper.errors import AtlasUnavailable, CredentialsRefused
from invite_sweeper.models import ListUnreadable, ProjectGone, Source
from invite_sweeper.outcomes import Outcome, Sending
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.organization import AtlasOrganization, Swept
from invite_sweeper.sweep.result import Result
from invite_sweeper.sweep.verification import WAITS_S, Ended, read_again

UNREADABLE = ListUnreadable(PROJECT, "Sandbox Alpha", "503")
SECOND = timedelta(seconds=1)


def line(one, *entries):
    return event_of(Planned, one, rule="forgotten", entries=tuple(e.as_entry for e in entries))


def deleted(number, place=1):
    return line(invitation(number, project_id=object_id(place), source=Source.INVITES))


async def verify(atlas, *lines, stop=None, workers=4, outcome=Outcome.DELETED, waits_s=()):
    """Return how many are verified, and the numbers of those that are still listed."""
    organization = AtlasOrganization(ORG, FakeClient(atlas))
    log = FakeDeletionLog()
    result = Result(command_of(policy(execution={"concurrency": workers})), [], QuietView())
    is_answered = outcome is not Outcome.UNKNOWN
    ended = [Ended(each, outcome, 204 if is_answered else None) for each in lines]
    stop = stop or StopRequest()
    later = await read_again(result, organization, ended, log, stop, iter(waits_s))
    swept = Swept(Counter({outcome: len(lines)})) + later
    left = [int(id_, 16) for kind, id_ in log.lines if kind == "failed"]
    assert len(left) == len(log.lines)
    assert swept.counts.still_there == len(left) * is_answered
    answer = "204" if is_answered else "a lost answer"
    assert {(each.replaces, each.reason) for each in log.events} <= {
        (outcome, f"still listed after {answer}")
    }
    assert swept.outcomes[outcome] == len(lines) - len(left)
    assert swept.outcomes[Outcome.FAILED] == len(left)
    assert (WarningCode.STILL_THERE in result.view.codes()) is bool(left and is_answered)
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


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(("lag_s", "failed"), [(0, []), (30, []), (31, [1])])
def test_deletion_without_an_answer_fails_where_it_is_still_listed_and_else_stays_unknown(
    source, lag_s, failed
):
    """A list that does not show the invitation does not prove who ended it: no one is `deleted`."""
    (verified, read_at_s) = verify_after(lag_s, source, outcome=Outcome.UNKNOWN)
    assert (verified, len(read_at_s) > 1) == ((0, failed), lag_s > 0)


async def test_what_could_not_be_read_again_is_counted_by_organization(directory):
    night = Night(directory, 2, 1)

    def answer(_):
        night.atlases[0].list_results = dict.fromkeys(night.atlases[0].lists, UNREADABLE)
        return True

    result = await night.run(answer=answer)
    counts = [(each.deleted, each.verified, each.not_verified) for each in result.organizations]
    assert counts == [(2, 0, 2), (1, 1, 0)]
    assert (result.deleted, result.not_verified) == (3, 2)


@pytest.mark.parametrize(
    ("sources", "still_invited"),
    [
        (["users"], 2),
        (["invites", "users"], 2),
        (["users", "org_users"], 0),
        (["users", "org_invites"], 0),
        (["invites"], 0),
    ],
)
async def test_people_deleted_from_projects_alone_are_counted_once_each(
    directory, sources, still_invited
):
    """One is in two projects, one is still listed, and one has an invitation of a project."""
    night = Night(directory, 0, sources=sources)
    (atlas,) = night.atlases
    atlas.listed.append(project(2))
    places = [{"project_id": object_id(n), "project_name": f"p{n}"} for n in (1, 2)]
    twice = [entry_of(Source.USERS, 1, **place) for place in places]
    other, stays = (entry_of(Source.USERS, n, **places[0]) for n in (2, 3))
    atlas.lists = {
        (Source.USERS, object_id(1)): (twice[0], other, stays),
        (Source.USERS, object_id(2)): (twice[1],),
        object_id(1): (entry_of(Source.INVITES, 4, **places[0]),),
    }
    atlas.results = {stays.invitation_id: Sending(Outcome.FAILED, 1, 403)}
    result = await night.run()
    assert result.still_invited == still_invited


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


# Lists that lag behind deletions ------------------------------------------------------------------


class Lagging(FakeAtlas):
    """Lists show what was deleted for some seconds more; `read_at_s` has when they were read."""

    def __init__(self, lag_s, *lines):
        super().__init__()
        self.lag_s = lag_s
        self.read_at_s = []
        self.shown = {(one.source, one.scope_id): (listed_as(one),) for one in lines}
        self.started_s = asyncio.get_running_loop().time()

    async def invitations(self, project, source=Source.INVITES):
        elapsed_s = asyncio.get_running_loop().time() - self.started_s
        self.read_at_s.append(elapsed_s)
        if elapsed_s < self.lag_s:
            return self.shown.get((source, project.id), ())
        return await super().invitations(project, source)


def verify_after(lag_s, source, **options):
    """Verify the deletion of one invitation in virtual time; return that, and when it was read."""

    async def scenario():
        one = line(entry_of(source))
        atlas = Lagging(lag_s, one)
        return await verify(atlas, one, waits_s=WAITS_S, **options), atlas.read_at_s

    (found, read_at_s), _ = run_skipping_idle_time(scenario)
    return found, read_at_s


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(
    ("lag_s", "found", "last_s"),
    [(0, (1, []), 0), (0.5, (1, []), 1), (8, (1, []), 15), (30, (1, []), 30), (31, (0, [1]), 30)],
)
def test_list_is_read_again_for_half_a_minute_before_it_contradicts_an_answer(
    source, lag_s, found, last_s
):
    verified, read_at_s = verify_after(lag_s, source)
    assert (verified, round(read_at_s[-1])) == (found, last_s)


@pytest.mark.parametrize("source", Source)
def test_list_that_cannot_be_read_while_it_lags_contradicts_nothing(source):
    async def scenario():
        one = line(entry_of(source))
        atlas = Lagging(1, one)
        key = one.project_id if source is Source.INVITES else (source, one.scope_id)
        atlas.list_results[key] = UNREADABLE
        return await verify(atlas, one, waits_s=WAITS_S)

    assert run_skipping_idle_time(scenario)[0] == (0, [])


def test_stop_while_a_list_lags_leaves_its_deletion_unverified():
    async def scenario():
        one = line(entry_of(Source.USERS))
        stop = StopRequest()
        asyncio.get_running_loop().call_later(2, stop.request, "SIGTERM received")
        return await verify(Lagging(60, one), one, waits_s=WAITS_S, stop=stop)

    found, seconds = run_skipping_idle_time(scenario)
    assert found == (0, [])
    assert seconds < 3


# Bounds ------------------------------------------------------------------------------------------


async def test_nothing_is_read_again_after_a_stop():
    stop = StopRequest()
    atlas = FakeAtlas()
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
