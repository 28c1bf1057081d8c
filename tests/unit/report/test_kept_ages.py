"""Ages of kept invitations are rounded down."""

from datetime import timedelta

import pytest
from builders import NOW, invitation

from invite_sweeper.models import Source
from invite_sweeper.report.run_view import KeptInvitations
from invite_sweeper.sweep.selection import Decision

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("age", "age_days"),
    [(14 * DAY, 14.0), (14 * DAY - SECOND, 13.9), (13 * DAY, 13.0), (8639 * SECOND, 0.0)],
)
def test_age_one_second_below_14_days_is_shown_as_13_9(age, age_days):
    kept = KeptInvitations(NOW)
    kept.record(
        Decision(invitation(1, created_at=NOW - age, source=Source.INVITES), None, "too_young")
    )
    (row,) = kept.rows("too_young")
    assert row.age_days == age_days
