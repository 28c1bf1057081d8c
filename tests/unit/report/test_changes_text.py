"""The sentence about changes since the last plan."""

import pytest

from invite_sweeper.audit.events import ComparedRun, PlanChanges
from invite_sweeper.report.formatting import describe_changes


def run(day=25, *, mode="dry-run", refused=False):
    return ComparedRun(f"run-{day}", mode, f"2026-11-{day}T01:02:03Z", refused)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (PlanChanges((run(),)), "nothing new since the plan of 2026-11-25 01:02 UTC"),
        (
            PlanChanges((run(),), new=1_200),
            "1,200 new since the plan of 2026-11-25 01:02 UTC",
        ),
        (
            PlanChanges((run(mode="sweep"),), still_stale=3),
            "nothing new since the sweep of 2026-11-25 01:02 UTC; 3 still stale",
        ),
        (
            PlanChanges((run(mode="sweep", refused=True),), 1, 2, 3, 4, 5, 6, 7),
            (
                "1 new since the plan of 2026-11-25 01:02 UTC; 2 still stale, 3 deleted,"
                " 4 kept now, 5 gone, 6 in lists that were not read now,"
                " 7 stale in lists that were not read then"
            ),
        ),
        (
            PlanChanges((run(), run(24, mode="sweep")), new=1),
            "1 new since the runs of 2026-11-24 01:02 UTC to 2026-11-25 01:02 UTC",
        ),
        (
            PlanChanges((run(mode="sweep"), run(mode="sweep")), new=1),
            "1 new since the sweep of 2026-11-25 01:02 UTC",
        ),
        (
            PlanChanges((ComparedRun("r", "sweep", "nonsense"),), new=1),
            "1 new since the sweep of an unknown time",
        ),
    ],
)
def test_sentence_names_the_run_and_each_count_that_is_not_0(found, text):
    assert describe_changes(found) == text
