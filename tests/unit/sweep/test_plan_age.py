"""Deletion begins at most 15 minutes after the last list was read, time asleep included."""

from datetime import timedelta

import pytest
from builders import NOW
from sweep.night import Night, message

from invite_sweeper import clock
from invite_sweeper.audit.events import Intent, Planned
from invite_sweeper.endings import Reason
from invite_sweeper.sweep import run

MINUTE_S = 60.0


def night_of(directory, *, read_s=0.0, delete_s=0.0, **execution):
    """Return a night over three stale invitations, whose reading and deletion take a time."""
    night = Night(directory, 3, limits={"canary": 1}, execution={"concurrency": 1, **execution})
    (atlas,) = night.atlases
    atlas.on_list = lambda _: pass_time(night, read_s)
    atlas.on_delete = lambda _: pass_time(night, delete_s)
    return night


def pass_time(night, seconds):
    night.clock_s += seconds
    return True


@pytest.mark.parametrize(("seconds", "deleted"), [(900, 3), (900.5, 0)])
async def test_question_that_is_answered_15_minutes_after_the_reading_is_in_time_and_later_is_not(
    directory, seconds, deleted
):
    night = night_of(directory)
    result = await night.run(answer=lambda _: pass_time(night, seconds))
    assert (night.deleted, result.exit_code) == ([deleted], 0 if deleted else 3)
    assert (len(night.events(Planned)), len(night.events(Intent))) == (3, deleted)


async def test_refusal_tells_how_old_the_plan_is_and_that_the_same_command_makes_a_new_one(
    directory,
):
    night = night_of(directory)
    result = await night.run(answer=lambda _: pass_time(night, 36_000))
    assert result.reasons == (Reason.PLAN_AGE,)
    assert result.error["message"] == (
        "The plan is 10 hours old: deletion begins at most 15 minutes after the last list was read."
    )
    assert result.error["consequence"] == "Nothing was deleted."
    assert result.error["hint"] == "Run the same command again: it makes a new plan."
    again = await night.run(at=NOW + timedelta(hours=10))
    assert (again.exit_code, night.deleted) == (0, [3])


async def test_machine_that_slept_between_reading_and_deletion_has_an_old_plan(
    directory, monkeypatch
):
    night = night_of(directory)
    write_plan = run.check_written_plan

    async def sleep_then_write(log, deletions):
        pass_time(night, 901)
        await write_plan(log, deletions)

    monkeypatch.setattr(run, "check_written_plan", sleep_then_write)
    result = await night.run()
    assert (night.deleted, result.exit_code) == ([0], 3)


async def test_reading_of_20_minutes_makes_no_plan_old_and_a_deletion_of_20_neither(directory):
    """The deadline bounds both."""
    night = night_of(directory, read_s=20 * MINUTE_S, delete_s=20 * MINUTE_S)
    result = await night.run(answer=lambda _: pass_time(night, 15 * MINUTE_S))
    assert (night.deleted, result.exit_code) == ([3], 0)


@pytest.mark.parametrize(("deadline", "minutes"), [("1h", 35), ("34m", 34)])
async def test_question_can_be_answered_15_minutes_from_the_reading_on_or_until_the_deadline(
    directory, deadline, minutes
):
    night = night_of(directory, read_s=20 * MINUTE_S, deadline=deadline)
    await night.run()
    assert night.view.until == [NOW + timedelta(minutes=minutes)]


async def test_dry_run_of_lists_that_were_read_long_ago_is_not_refused(directory, monkeypatch):
    night = night_of(directory)
    monkeypatch.setattr(run, "backlog", lambda *_: pass_time(night, 36_000) and None)
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
