"""How old a kept invitation is said to be."""

from datetime import timedelta

import pytest
from builders import NOW, invitation

from invite_sweeper.report.run_view import KeptInvitations
from invite_sweeper.sweep.selection import Decision

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("age", "told"),
    [(14 * DAY, 14.0), (14 * DAY - SECOND, 13.9), (13 * DAY, 13.0), (8639 * SECOND, 0.0)],
)
def test_age_is_never_rounded_up_to_what_a_rule_asks_for(age, told):
    names = KeptInvitations(NOW)
    names.record(Decision(invitation(1, created_at=NOW - age), None, "too_young"))
    (row,) = names.rows["too_young"]
    assert row.age_days == told
