"""What the nights of a job come to: done, failed, refused, and those without a run."""

from datetime import UTC, datetime, timedelta

import pytest

from invite_sweeper.endings import Status
from invite_sweeper.report.nights import (
    NightRun,
    describe_endings,
    nights_since_newest,
    recent_nights,
    were_all_done,
)

NOW = datetime(2026, 12, 3, 0, 30, tzinfo=UTC)  # before the run of that night
DONE = (Status.DONE, 0, "")
FAILED = (Status.FAILED, 6, "unreachable")
REFUSED = (Status.REFUSED, 3, "max_deletions")
KILLED = (Status.UNFINISHED, None, "")


def night_run(days_ago, end=DONE):
    status, exit_code, cause = end
    return NightRun(
        number=1,
        mode="sweep",
        began=datetime(2026, 12, 3, 1, tzinfo=UTC) - timedelta(days=days_ago),
        status=status,
        exit_code=exit_code,
        cause=cause,
    )


def nights(ends, now=NOW, begun=None):
    """Return the nights of runs, by how many days ago each was; None for no run."""
    runs = [night_run(days_ago, end) for days_ago, end in sorted(ends.items(), reverse=True) if end]
    return recent_nights(runs, now, begun)


MONTH = dict.fromkeys(range(1, 31), DONE)


def test_a_month_in_which_each_night_was_done_needs_one_number():
    found = nights(MONTH)
    assert were_all_done(found)
    assert describe_endings(found) == "Of the 30 nights from 2026-11-03 to 2026-12-02: 30 done."


def test_failed_nights_are_named_with_their_days_and_cause_and_missing_ones_counted():
    found = nights(MONTH | {17: FAILED, 16: FAILED, 13: None})
    assert not were_all_done(found)
    assert describe_endings(found) == (
        "Of the 30 nights from 2026-11-03 to 2026-12-02: 27 done, 2 failed (16 to 17 November: "
        "Atlas is not reachable), 1 without a run (20 November)."
    )


def test_nights_of_two_months_and_of_different_causes_are_named_apart():
    found = nights(MONTH | {3: FAILED, 2: FAILED, 10: REFUSED, 20: KILLED})
    assert "2 failed (30 November to 1 December: Atlas is not reachable)" in describe_endings(found)
    assert "1 unfinished (13 November), 1 refused (23 November: max_deletions)" in describe_endings(
        found
    )


def test_more_than_three_groups_of_nights_are_counted():
    found = nights(MONTH | dict.fromkeys((3, 6, 9, 12, 15), FAILED))
    assert describe_endings(found).count("Atlas is not reachable") == 3
    assert "and 2 more)" in describe_endings(found)


@pytest.mark.parametrize(("hour", "missed"), [(0, 0), (24, 1)])
def test_the_night_of_now_is_not_missed_before_it_is_over(hour, missed):
    found = nights(MONTH, NOW + timedelta(hours=hour))
    assert len(nights_since_newest(found)) == missed


def test_a_dead_job_misses_each_night_since_its_newest_run():
    found = nights(dict.fromkeys(range(15, 31), DONE))
    assert [str(night.day) for night in nights_since_newest(found)][::13] == [
        "2026-11-19",
        "2026-12-02",
    ]
    assert not were_all_done(found)


@pytest.mark.parametrize(
    "ends", [dict.fromkeys((1, 8, 15, 22, 29), DONE), {5: DONE}, {5: DONE, 3: DONE}]
)
def test_who_runs_it_each_week_or_by_hand_misses_no_night(ends):
    found = nights(ends)
    assert were_all_done(found)
    assert nights_since_newest(found) == []
    assert "without a run" in describe_endings(found)


def test_a_run_that_ended_before_it_had_a_file_is_told_apart_from_no_run():
    begun = datetime(2026, 12, 2, 1, tzinfo=UTC)
    found = nights(MONTH | {1: None, 5: None}, begun=begun)
    assert describe_endings(found) == (
        "Of the 30 nights from 2026-11-03 to 2026-12-02: 28 done, 1 refused (2 December: a run "
        "began, and ended before it had a file), 1 without a run (28 November)."
    )
    assert not were_all_done(found)


def test_only_the_30_nights_up_to_the_newest_run_and_those_since_are_shown():
    found = nights({40: FAILED, **dict.fromkeys(range(2, 35), DONE)})
    assert (str(found[0].day), str(found[-1].day)) == ("2026-11-02", "2026-12-02")
    assert "failed" not in describe_endings(found)
