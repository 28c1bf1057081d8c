"""What the nights of a job come to: done, failed, refused, and those without a run."""

from datetime import UTC, date, datetime, timedelta

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


def nights(ends, now=NOW):
    runs = [night_run(days_ago, end) for days_ago, end in sorted(ends.items(), reverse=True) if end]
    return recent_nights(runs, now)


MONTH = dict.fromkeys(range(1, 31), DONE)
WEEKLY = dict.fromkeys((1, 8, 15, 22, 29), DONE)
MONTHS = {
    # How the nights ended, by how many days ago they were.
    "all done; the night of now is not over": (MONTH, {}),
    "the night before now was missed": (MONTH, {"now": NOW + timedelta(days=1)}),
    "failed, and without a run": (MONTH | {17: FAILED, 16: FAILED, 13: None}, {}),
    "three endings, in two months": (MONTH | {3: FAILED, 2: FAILED, 10: REFUSED, 20: KILLED}, {}),
    "more groups than are named": (MONTH | dict.fromkeys((3, 6, 9, 12, 15), FAILED), {}),
    "without a run": (MONTH | {5: None, 1: None}, {}),
    "a dead job misses each night since its newest run": (dict.fromkeys(range(15, 31), DONE), {}),
    "a job of each week misses none": (WEEKLY, {}),
    "nor does who runs it by hand": ({5: DONE, 3: DONE}, {}),
    "only the 30 nights up to the newest run, and those since, are shown": (
        {40: FAILED, **dict.fromkeys(range(2, 35), DONE)},
        {},
    ),
}
SEVERAL = ((DONE, REFUSED), (REFUSED, STOPPED), (REFUSED, FAILED), (FAILED, DONE))
SEVERAL += ((KILLED, REFUSED, DONE),)


def test_nights_are_named_as_it_was_reviewed_by_what_they_came_to():
    """A refused sweep does not undo what another one of its night did."""
    text = ""
    for name, (ends, options) in MONTHS.items():
        found = nights(ends, **options)
        missed = ", ".join(str(night.day) for night in nights_since_newest(found)) or "none"
        text += f"== {name}\n{describe_endings(found)}\n"
        text += f"all done: {were_all_done(found)}; missed since the newest run: {missed}\n"
    for ends in SEVERAL:
        (night,) = recent_nights([night_run(1, end) for end in ends], NOW)
        text += f"{night.text}: {night.status}\n"
    assert_reviewed(text, __file__, "nights.txt")
