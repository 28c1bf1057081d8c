"""A machine or process that stands still for over a minute: what was read before is old."""

import asyncio
from datetime import timedelta

import pytest
from builders import project
from fakes import FakeAtlas
from sweep.night import entries_of, later, message, night_over
from virtual_time import run_skipping_idle_time

from invite_sweeper import clock
from invite_sweeper.audit.events import Intent
from invite_sweeper.models import Source
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.pauses import PauseWatch

AGES = [timedelta(days=20)] * 3


class Pausing(FakeAtlas):
    """Pauses the machine at its n-th list that is read, or in its first DELETE."""

    def __init__(self, source, entries, *, at_list=(), at_delete=False, seconds=61):
        super().__init__(listed=[project(1, name="p0")], lists={})
        place = project(1).id if not source.is_organization_level else entries[0].org_id
        self.key = place if source is Source.INVITES else (source, place)
        self.lists[self.key] = entries
        self.at_list = at_list
        self.at_delete = at_delete
        self.seconds = seconds
        self.night = None

    async def invitations(self, project, source=Source.INVITES):
        found = await super().invitations(project, source)
        if len(self.requested) in self.at_list:
            self.pause()
        return found

    async def delete(self, invitation, progress):
        result = await super().delete(invitation, progress)
        if self.at_delete and len(self.deleted) == 1:
            self.pause()
        return result

    def pause(self):
        self.night.clock_s += self.seconds
        accepted, *others = self.lists[self.key]
        self.lists[self.key] = tuple(others)
        self.accepted = accepted.invitation_id


async def sweep(directory, source, **options):
    atlas = Pausing(source, entries_of(source, AGES), **options)
    night = night_over(directory, atlas, source, limits={"canary": 1}, execution={"concurrency": 1})
    atlas.night = night
    return atlas, await night.run(at=later(0))


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(("seconds", "changed"), [(60, 0), (61, 1)])
async def test_everything_is_read_anew_after_a_pause_of_over_a_minute_while_reading(
    directory, source, seconds, changed
):
    """Who accepted meanwhile is in the list that was read before, and in the plan."""
    atlas, result = await sweep(directory, source, at_list=[1], seconds=seconds)
    assert (result.changed, result.exit_code) == (changed, 0)
    assert (atlas.accepted in atlas.deleted) == (not changed)


@pytest.mark.parametrize("source", Source)
async def test_second_pause_while_everything_is_read_anew_deletes_nothing(directory, source):
    atlas, result = await sweep(directory, source, at_list=[1, 2])
    assert (atlas.deleted, result.exit_code) == ([], 8)
    assert message(result) == (
        "Stopped early: the machine or the process was paused, and the lists are old."
    )


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(("seconds", "code"), [(60, 0), (61, 8)])
async def test_pause_of_over_a_minute_while_deleting_ends_the_deletions(
    directory, source, seconds, code
):
    atlas, result = await sweep(directory, source, at_delete=True, seconds=seconds)
    assert result.exit_code == code
    assert len(atlas.deleted) == (1 if code else 3)
    assert result.skipped == (2 if code else 0)


def test_slow_work_is_not_a_pause():
    async def scenario():
        async with PauseWatch(asyncio.get_running_loop().time) as pauses:
            await asyncio.sleep(3600)
            stop = StopRequest()
            pauses.check(stop)
            return pauses.forget(), stop.reason

    assert run_skipping_idle_time(scenario, poll_s=0)[0] == (False, None)


@pytest.mark.parametrize("source", Source)
async def test_deadline_that_passed_unseen_by_its_timer_lets_no_intent_be_written(
    directory, source, monkeypatch
):
    """A machine that slept has timers that are late; each intent asks the clock."""
    now_s = [0.0]
    monkeypatch.setattr(clock, "seconds", lambda: now_s[0])
    atlas = Pausing(source, entries_of(source, AGES))
    night = night_over(directory, atlas, source, limits={"canary": 1}, execution={"concurrency": 1})

    async def delete(invitation, progress):
        now_s[0] = 61.0
        return await FakeAtlas.delete(atlas, invitation, progress)

    atlas.delete = delete
    with night.stop.at_deadline(60.0, "the deadline of 1 minute passed"):
        result = await night.run(at=later(0))
    assert (len(atlas.deleted), result.skipped, result.exit_code) == (1, 2, 8)
    assert len(night.events(Intent)) == 1
    assert message(result) == "Stopped early: the deadline of 1 minute passed."
