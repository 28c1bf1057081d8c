"""The one exit code and the one summary of several runs."""

from itertools import permutations

import pytest

from invite_sweeper.sweep.summary import (
    OrganizationSummary,
    RunSummary,
    group_exit_code,
    merge_summaries,
)


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ([0], 0),
        ([0, 0], 0),
        ([10, 10], 10),
        ([0, 10], 10),
        ([3, 3], 3),
        ([0, 3], 4),
        ([5, 0], 4),
        ([4, 0], 4),
        ([4, 6], 4),
        ([5, 5], 5),
        ([9, 10], 4),
        ([0, 8], 8),
        ([7, 0], 7),
        ([7, 8, 0], 8),
        ([8, 5], 8),
        ([5, 6], 5),
        ([3, 5], 5),
        ([3, 6], 6),
        ([1, 3, 5], 1),
    ],
)
def test_code_is_the_common_one_or_8_or_7_or_10_or_4_or_the_worst(ends, code):
    for order in permutations(ends):
        assert group_exit_code(order) == code


def summary(run_id, **changes):
    organization = OrganizationSummary(f"org-{run_id}", None, run_id)
    defaults = {"mode": "sweep", "now": "2026-11-25T01:00:00Z", "organizations": (organization,)}
    return RunSummary(run_id, **defaults | changes)


def test_merged_summary_adds_up_and_keeps_each_organization():
    error = {"message": "No.", "consequence": "Nothing was deleted.", "hint": ""}
    merged = merge_summaries(
        [
            summary("a", stale=2, kept=1, kept_by_reason={"x": 1}, plan_made=True, duration_s=3.0),
            summary("b", exit_code=5, error=error, sources_retired=("invites",)),
            summary(
                "c",
                stale=3,
                kept=3,
                kept_by_reason={"x": 1, "y": 2},
                plan_made=True,
                duration_s=4.0,
                sunset="2027-07-01",
                oldest_pending_days=9.0,
            ),
        ]
    )
    assert (merged.run_id, merged.exit_code, merged.error) == ("a", 4, error)
    assert (merged.stale, merged.kept, merged.kept_by_reason) == (5, 4, {"x": 2, "y": 2})
    assert (merged.plan_made, merged.duration_s) == (True, 4.0)
    assert (merged.sunset, merged.oldest_pending_days) == ("2027-07-01", 9.0)
    assert merged.sources_retired == ("invites",)
    assert [each.id for each in merged.organizations] == ["org-a", "org-b", "org-c"]


def test_summary_of_one_run_is_its_own():
    one = summary("a", exit_code=3)
    assert merge_summaries([one]) is one
