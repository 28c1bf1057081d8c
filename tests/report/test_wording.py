"""Times and figures as a person says them, at their boundaries."""

import pytest

from invite_sweeper.report.formatting import describe_trimmed, format_countdown, format_duration
from invite_sweeper.text import to_float


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.00 s"),
        (0.994, "0.99 s"),
        (1, "1.0 s"),
        (59.9, "59.9 s"),
        (60, "1 min 0 s"),
        (3599.4, "59 min 59 s"),
        (3599.5, "1 h 0 min"),
        (3600, "1 h 0 min"),
        (90_061, "25 h 1 min"),
        (3_600_000, "1,000 h 0 min"),
    ],
)
def test_duration_changes_its_unit_at_a_second_a_minute_and_an_hour(seconds, said):
    assert format_duration(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0:00"), (59.4, "0:59"), (60, "1:00"), (3599, "59:59"), (3600, "1:00:00")],
)
def test_clock_has_hours_from_an_hour_on(seconds, said):
    assert format_countdown(seconds) == said


@pytest.mark.parametrize(
    ("value", "found"),
    [(3, 3.0), (2.5, 2.5), (True, None), ("3", None), (10**400, None), (1e999, None)],
)
def test_number_is_one_that_can_be_counted_with(value, found):
    assert to_float(value) == found


@pytest.mark.parametrize(("trimmed", "said"), [(1, "1 more is left"), (2, "2 more are left")])
def test_one_that_is_trimmed_is_left_and_two_are(trimmed, said):
    assert describe_trimmed(trimmed) == f"{said} for another night"
