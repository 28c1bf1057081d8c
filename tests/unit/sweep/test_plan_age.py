"""Deletion begins at most 15 minutes after the last list was read, time asleep included."""

from datetime import timedelta

import pytest
from builders import NOW, entry_of, object_id, project
from sweep.fakes import FakeAtlas
from sweep.night import FakeClient, Night, message

from invite_sweeper import clock
from invite_sweeper.audit.events import Intent, Planned
from invite_sweeper.endings import Reason
from invite_sweeper.models import Source
from invite_sweeper.sweep import run

MINUTE_S = 60.0


class SlowAtlas(FakeAtlas):
    """Has three stale invitations in a list; takes a time to read it, and to delete one."""

    def __init__(self, source, *, read_s=0.0, delete_s=0.0):
        in_project = {"project_id": object_id(1), "project_name": "p0"}
        in_organization = {"project_roles": (), "linked_projects": ()}
        place = in_organization if source.is_organization_level else in_project
        entries = [entry_of(source, number, **place) for number in range(3)]
        super().__init__(listed=[project(1, name="p0")])
        self.show(*entries)
        self.read_s = read_s
        self.delete_s = delete_s
        self.night = None

    async def invitations(self, project, source=Source.INVITES):
        self.night.clock_s += self.read_s
        return await super().invitations(project, source)

    async def delete(self, invitation, progress):
        self.night.clock_s += self.delete_s
        return await super().delete(invitation, progress)


def night_of(directory, source=Source.INVITES, *, read_s=0.0, delete_s=0.0, **keys):
    execution = {"concurrency": 1, **keys}
    night = Night(directory, 0, sources=[str(source)], limits={"canary": 1}, execution=execution)
    atlas = SlowAtlas(source, read_s=read_s, delete_s=delete_s)
    atlas.night = night
    night.atlases = [atlas]
    night.clients = [FakeClient(atlas)]
    return night


def after(night, seconds):
    """Return an answer that takes a time."""

    def answer(_):
        night.clock_s += seconds
        return True

    return answer


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(("seconds", "deleted"), [(0, 3), (900, 3), (900.5, 0), (901, 0)])
async def test_question_that_is_answered_15_minutes_after_the_reading_is_in_time_and_later_is_not(
    directory, source, seconds, deleted
):
    night = night_of(directory, source)
    result = await night.run(answer=after(night, seconds))
    assert (night.deleted, result.exit_code) == ([deleted], 0 if deleted else 3)
    assert (len(night.events(Planned)), len(night.events(Intent))) == (3, deleted)


async def test_refusal_tells_how_old_the_plan_is_and_that_the_same_command_makes_a_new_one(
    directory,
):
    night = night_of(directory)
    result = await night.run(answer=after(night, 36_000))
    assert result.reasons == (Reason.PLAN_AGE,)
    assert result.error["message"] == (
        "The plan is 10 hours old: deletion begins at most 15 minutes after the last list was read."
    )
    assert result.error["consequence"] == "Nothing was deleted."
    assert result.error["hint"] == "Run the same command again: it makes a new plan."
    again = await night.run(at=NOW + timedelta(hours=10))
    assert (again.exit_code, night.deleted) == (0, [3])


@pytest.mark.parametrize(("seconds", "deleted"), [(900, 3), (901, 0)])
async def test_machine_that_slept_between_reading_and_deletion_has_an_old_plan(
    directory, monkeypatch, seconds, deleted
):
    night = night_of(directory)
    write_plan = run.check_written_plan

    async def sleep_then_write(log, deletions):
        night.clock_s += seconds
        await write_plan(log, deletions)

    monkeypatch.setattr(run, "check_written_plan", sleep_then_write)
    result = await night.run()
    assert (night.deleted, result.exit_code) == ([deleted], 0 if deleted else 3)


@pytest.mark.parametrize("source", Source)
async def test_reading_of_20_minutes_makes_no_plan_old_and_a_deletion_of_20_neither(
    directory, source
):
    """The deadline bounds both."""
    night = night_of(directory, source, read_s=20 * MINUTE_S, delete_s=20 * MINUTE_S)
    result = await night.run(answer=after(night, 15 * MINUTE_S))
    assert (night.deleted, result.exit_code) == ([3], 0)


@pytest.mark.parametrize(("deadline", "minutes"), [("1h", 35), ("35m", 35), ("34m", 34)])
async def test_question_can_be_answered_15_minutes_from_the_reading_on_or_until_the_deadline(
    directory, deadline, minutes
):
    night = night_of(directory, read_s=20 * MINUTE_S, deadline=deadline)
    await night.run()
    assert night.view.until == [NOW + timedelta(minutes=minutes)]


async def test_dry_run_of_lists_that_were_read_long_ago_is_not_refused(directory, monkeypatch):
    night = night_of(directory)
    monkeypatch.setattr(run, "backlog", lambda *_: setattr(night, "clock_s", 36_000.0))
    result = await night.run(dry_run=True)
    assert (result.exit_code, message(result), result.stale) == (0, None, 3)


async def test_deadline_that_passed_unseen_by_its_timer_lets_no_intent_be_written(
    directory, monkeypatch
):
    """A machine that slept has timers that are late; each intent asks the clock."""
    night = night_of(directory, delete_s=61)
    monkeypatch.setattr(clock, "seconds", lambda: night.clock_s)
    with night.stop.at_deadline(60.0, "the deadline of 1 minute passed"):
        result = await night.run()
    assert (night.deleted, result.skipped, result.exit_code) == ([1], 2, 8)
    assert len(night.events(Intent)) == 1
    assert message(result) == "Stopped early: the deadline of 1 minute passed."
