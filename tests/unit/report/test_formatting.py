"""Formatting of durations, countdowns and numbers at their boundaries."""

import pytest

from invite_sweeper.report.formatting import describe_trimmed, format_countdown, format_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
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
def test_duration_changes_units_at_1_s_60_s_and_3600_s(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.4, "0:59"), (60, "1:00"), (3599, "59:59"), (3600, "1:00:00")],
)
def test_countdown_shows_hours_from_3600_s(seconds, text):
    assert format_countdown(seconds) == text


@pytest.mark.parametrize(("trimmed", "text"), [(1, "1 more is left"), (2, "2 more are left")])
def test_trimmed_count_of_1_is_singular_and_2_plural(trimmed, text):
    assert describe_trimmed(trimmed) == f"{text} for a later run"
