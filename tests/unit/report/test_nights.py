"""What the nights of a job come to: done, failed, refused, and those without a run."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from reviewed import assert_reviewed

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
FAILED = (Status.FAILED, 6, "Atlas is not reachable")
REFUSED = (Status.REFUSED, 3, "max_deletions")
STOPPED = (Status.STOPPED, 8, "stopped early")
KILLED = (Status.UNFINISHED, None, "")


def night_run(days_ago, end=DONE):
    status, exit_code, cause = end
    return NightRun(
        number=1,
        mode="sweep",
        night=date(2026, 12, 3) - timedelta(days=days_ago),
        status=status,
        exit_code=exit_code,
        ending=cause or str(status),
        cause=cause,
    )


def nights(ends, now=NOW, begun=None):
    """Return the nights of runs, by how many days ago each was; None for no run."""
    runs = [night_run(days_ago, end) for days_ago, end in sorted(ends.items(), reverse=True) if end]
    return recent_nights(runs, now, begun)


MONTH = dict.fromkeys(range(1, 31), DONE)
WITHOUT_FILE = NOW - timedelta(days=1)


MONTHS = {
    "all done": {},
    "failed, and without a run": {17: FAILED, 16: FAILED, 13: None},
    "three endings, in two months": {3: FAILED, 2: FAILED, 10: REFUSED, 20: KILLED},
    "more groups than are named": dict.fromkeys((3, 6, 9, 12, 15), FAILED),
    "without a run, and without a file": {5: None, 1: None},
}


SEVERAL = ((DONE, REFUSED), (REFUSED, STOPPED), (REFUSED, FAILED), (FAILED, DONE))
SEVERAL += ((KILLED, REFUSED, DONE),)


def test_nights_of_a_month_are_named_as_it_was_reviewed_by_what_they_came_to():
    """A refused sweep does not undo what another one of its night did."""
    text = ""
    for name, ends in MONTHS.items():
        found = nights(MONTH | ends, begun=WITHOUT_FILE)
        text += f"== {name}\n{describe_endings(found)}\n"
        assert were_all_done(found) is (not ends)
    for ends in SEVERAL:
        (night,) = recent_nights([night_run(1, end) for end in ends], NOW)
        text += f"{night.text}: {night.status}\n"
    assert_reviewed(text, Path(__file__).with_name("nights.txt"))


def test_only_the_30_nights_up_to_the_newest_run_and_those_since_are_shown():
    found = nights({40: FAILED, **dict.fromkeys(range(2, 35), DONE)})
    assert (str(found[0].day), str(found[-1].day)) == ("2026-11-02", "2026-12-02")
    assert "failed" not in describe_endings(found)


@pytest.mark.parametrize(("hour", "missed"), [(0, 0), (24, 1)])
def test_the_night_of_now_is_not_missed_before_it_is_over(hour, missed):
    found = nights(MONTH, NOW + timedelta(hours=hour))
    assert len(nights_since_newest(found)) == missed


def test_a_dead_job_misses_each_night_since_its_newest_run():
    found = nights(dict.fromkeys(range(15, 31), DONE))
    missed = [str(night.day) for night in nights_since_newest(found)]
    assert (missed[0], missed[-1], len(missed)) == ("2026-11-19", "2026-12-02", 14)
    assert not were_all_done(found)


@pytest.mark.parametrize("ends", [dict.fromkeys((1, 8, 15, 22, 29), DONE), {5: DONE, 3: DONE}])
def test_who_runs_it_each_week_or_by_hand_misses_no_night(ends):
    found = nights(ends)
    assert were_all_done(found)
    assert nights_since_newest(found) == []
    assert "without a run" in describe_endings(found)
