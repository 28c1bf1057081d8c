"""Once an answer shows that the run's clock is more than 5 minutes off, nothing more is sent."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import faults
import pytest
from builders import ORG
from deleting import delete, place_of

from invite_sweeper.models import ListUnreadable, Source
from invite_sweeper.outcomes import Outcome

OUTSIDE = [310, 36_000]
"""Seconds by which Atlas's clock moves: by more than 5 minutes, and by a night."""


@pytest.fixture
def alpha(sim):
    """A project with two people in each list."""
    project = sim.add_project("Alpha")
    for name in ("ada", "bob"):
        sim.invite(project, f"{name}@example.com")
        sim.add_user(f"{name}@example.org", group_roles={project: ["GROUP_OWNER"]})
    return project


def move(sim, seconds):
    sim.date_offset = timedelta(seconds=seconds)


@pytest.mark.parametrize("seconds", OUTSIDE)
@pytest.mark.parametrize("source", Source)
async def test_answer_to_a_list_that_is_later_than_the_clock_stops_all_requests(
    sim, online, alpha, source, seconds
):
    reasons = []
    async with online(sim.add_service_account(), halt=reasons.append) as atlas:
        listed = (await atlas.reader.invitations(place_of(source, alpha), source))[0]
        move(sim, seconds)
        found = await atlas.reader.invitations(place_of(source, alpha), source)
        requests = len(sim.requests)
        deletion = await delete(atlas, listed)
        await atlas.reader.active_members(ORG)

    assert not isinstance(found, tuple)
    assert (deletion.outcome, deletion.attempts) == (Outcome.SKIPPED, 0)
    assert (len(sim.requests), sim.deletes_received) == (requests, 0)
    assert len(reasons) == 1
    assert "moved" in reasons[0]


async def test_clock_that_steps_back_while_an_answer_is_in_flight_stops_all_requests(
    sim, online, alpha
):
    """Its `Date` is later than the clock, and earlier than the request, which no cache explains."""
    ahead = [
        timedelta(seconds=1)
    ]  # so that a `Date` without a fraction is earlier than its request
    reasons = []
    options = {"clock": lambda: datetime.now(UTC) + ahead[-1], "attempts": 1}
    async with online(halt=reasons.append, **options) as atlas:
        await atlas.reader.projects()
        step_back = faults.effect(before=lambda _: ahead.append(timedelta(seconds=-310)))
        sim.faults.add(step_back, times=1)
        found = await atlas.reader.invitations(place_of(Source.INVITES, alpha))

    assert isinstance(found, ListUnreadable)
    assert len(reasons) == 1


@pytest.mark.parametrize("seconds", [*OUTSIDE, *(-each for each in OUTSIDE)])
@pytest.mark.parametrize("source", [Source.INVITES, Source.ORG_INVITES])
async def test_answer_to_a_deletion_that_is_off_the_clock_is_the_last_one(
    sim, online, alpha, source, seconds
):
    reasons = []
    async with online(halt=reasons.append) as atlas:
        first, second = (await atlas.reader.invitations(place_of(source, alpha), source))[:2]
        move(sim, seconds)
        deletions = [await delete(atlas, first), await delete(atlas, second)]

    assert [each.outcome for each in deletions] == [Outcome.DELETED, Outcome.SKIPPED]
    assert (sim.deletes_received, len(reasons)) == (1, 1)


@pytest.mark.parametrize("seconds", OUTSIDE)
@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
async def test_look_that_is_later_than_the_clock_is_followed_by_no_deletion(
    sim, online, alpha, source, seconds
):
    reasons = []
    async with online(halt=reasons.append) as atlas:
        listed = (await atlas.reader.invitations(place_of(source, alpha), source))[0]
        move(sim, seconds)
        deletion = await delete(atlas, listed)

    assert (deletion.outcome, sim.deletes_received, len(reasons)) == (Outcome.SKIPPED, 0, 1)


@pytest.mark.parametrize(
    ("first", "then"),
    [(0, 290), (0, -290), (-10, 280), (400, 400), (400, 0), (-400, 36_000)],
    ids=str,
)
async def test_clock_within_5_minutes_or_that_was_off_from_the_start_stops_nothing(
    sim, online, alpha, first, then
):
    """A clock that was off from the start is refused by the guard on the clock."""
    reasons = []
    move(sim, first)
    async with online(halt=reasons.append) as atlas:
        listed = (await atlas.reader.invitations(place_of(Source.INVITES, alpha)))[0]
        move(sim, then)
        deletion = await delete(atlas, listed)

    assert (deletion.outcome, reasons) == (Outcome.DELETED, [])


async def test_page_of_a_proxy_with_another_date_stops_nothing(sim, online, alpha):
    reasons = []
    async with online(halt=reasons.append) as atlas:
        await atlas.reader.projects()
        move(sim, 900)
        sim.faults.add(faults.with_effect(faults.mislabelled(), lambda _: None), times=1)
        sim.faults.add(faults.after(lambda _: None), times=1)
        sim.faults.add(faults.effect(before=lambda _: move(sim, 0)), nth=2, times=None)
        found = await atlas.reader.invitations(place_of(Source.INVITES, alpha))

    assert (len(found), reasons) == (2, [])


@pytest.fixture
def timed(sim, online, fake_time):
    """Connect with a clock that advances in `sleep` alone, and Atlas's at `pace` times its own.

    A pace of 0 is that of a cache: each request gets the same `Date` again.
    """
    start = datetime.now(UTC)

    def passed():
        return timedelta(seconds=fake_time.now_s - 1000)

    async def sleep(seconds):
        await fake_time.sleep(max(seconds, 2.0))  # the waits are random, and a `Date` is of seconds

    @asynccontextmanager
    async def connected(*, pace=1.0, **options):
        clock = {"clock": lambda: start + passed(), "sleep": sleep}
        async with online(**clock, **options) as atlas:

            def behind(seconds):
                def set_date(_call):
                    sim.date_offset = start + pace * passed() - datetime.now(UTC)
                    sim.date_offset -= timedelta(seconds=seconds)

                sim.faults.add(faults.effect(before=set_date), times=None)

            await atlas.reader.projects()
            yield atlas, behind

    return connected


@pytest.mark.parametrize("seconds", OUTSIDE)
@pytest.mark.parametrize("source", Source)
async def test_clock_that_steps_ahead_while_lists_are_read_stops_all_requests(
    sim, timed, alpha, source, seconds
):
    reasons = []
    async with timed(halt=reasons.append) as (atlas, behind):
        listed = (await atlas.reader.invitations(place_of(source, alpha), source))[0]
        behind(seconds)
        found = await atlas.reader.invitations(place_of(source, alpha), source)
        requests = len(sim.requests)
        deletion = await delete(atlas, listed)

    assert isinstance(found, ListUnreadable)
    assert deletion.outcome is Outcome.SKIPPED
    assert (len(sim.requests), sim.deletes_received, len(reasons)) == (requests, 0, 1)


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
async def test_look_that_is_earlier_than_a_clock_that_stepped_is_followed_by_no_deletion(
    sim, timed, alpha, source
):
    reasons = []
    async with timed(halt=reasons.append) as (atlas, behind):
        listed = (await atlas.reader.invitations(place_of(source, alpha), source))[0]
        behind(310)
        deletion = await delete(atlas, listed)

    assert (deletion.outcome, sim.deletes_received, len(reasons)) == (Outcome.SKIPPED, 0, 1)


@pytest.mark.parametrize(
    ("seconds", "pace"), [(290, 1.0), (310, 0.0), (36_000, 0.0), (36_000, 20.0)], ids=str
)
async def test_early_date_that_does_not_go_on_with_the_clock_is_of_a_cache_and_not_believed(
    timed, alpha, seconds, pace
):
    reasons = []
    async with timed(halt=reasons.append, pace=pace) as (atlas, behind):
        behind(seconds)
        found = await atlas.reader.invitations(place_of(Source.INVITES, alpha))

    assert isinstance(found, tuple if seconds < 300 else ListUnreadable)
    assert reasons == []


async def test_one_early_answer_to_each_of_two_requests_does_not_prove_that_the_clock_moved(
    timed, alpha
):
    """A cache may have got them last night, one after the other."""
    reasons = []
    async with timed(halt=reasons.append, attempts=1) as (atlas, behind):
        behind(86_400)
        for source in Source:
            found = await atlas.reader.invitations(place_of(source, alpha), source)
            assert isinstance(found, ListUnreadable)

    assert reasons == []


async def test_stored_answer_of_last_night_hides_no_clock_that_moves_after_it(
    timed, alpha, fake_time
):
    reasons = []
    async with timed(halt=reasons.append, attempts=1) as (atlas, behind):
        for seconds, stops in ((86_400, 0), (310, 0), (310, 1)):
            behind(seconds)
            fake_time.now_s += 5
            found = await atlas.reader.invitations(place_of(Source.INVITES, alpha))
            assert isinstance(found, ListUnreadable)
            assert len(reasons) == stops
