"""Durations are parsed exactly; anything else is refused."""

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.policy.types import InvalidValue, format_duration, parse_duration

SECONDS = {"90s": 90, "30m": 1_800, "12h": 43_200, "14d": 1_209_600, "2w": 1_209_600, "1s": 1}
SECONDS |= {"014d": 1_209_600, "36500d": 3_153_600_000, f"{'0' * 5_000}1d": 86_400}
SECONDS |= {"P14D": 1_209_600, "P2W": 1_209_600, "PT12H": 43_200, "PT30M": 1_800, "PT90S": 90}
SECONDS |= {"P1DT2H3M4S": 93_784}
REFUSED = {
    "is zero, or longer than 100 years": [
        *("0d", "PT0S", "000w", "36501d", "3153600001s", "P36500DT1S", "999999999999999s"),
        *("9" * 5_000 + "s", "P" + "9" * 5_000 + "W"),
    ],
    "is not a duration": [
        *("", "d", "14", "14 d", " 14d", "14d\n", "14D", "1.5d", "1d12h", "+1d", "two weeks"),
        *("-1d", "-P1D", "P1Y", "P1M", "P1Y2M3D", "P0.5Y"),
        *("P", "PT", "P1DT", "P1H", "PT1D", "P1W1D", "p14d", "٣d", "²d"),
    ],
}


@pytest.mark.parametrize("text", SECONDS)
def test_duration_is_its_number_times_its_unit(text):
    assert parse_duration(text) == timedelta(seconds=SECONDS[text])


@pytest.mark.parametrize("message", REFUSED)
def test_text_that_is_not_a_duration_above_zero_is_refused_with_a_hint(message):
    for text in REFUSED[message]:
        with pytest.raises(InvalidValue) as caught:
            parse_duration(text)
        assert (caught.value.message, bool(caught.value.hint)) == (message, True)
    assert parse_duration("0d", zero=True) == timedelta(0)  # where it is allowed


@given(st.integers(1, 5_000), st.sampled_from("smhdw"))
def test_short_form_and_iso_8601_are_equal(number, unit):
    iso = f"P{'T' if unit in 'smh' else ''}{number}{unit.upper()}"
    assert parse_duration(f"{number}{unit}") == parse_duration(iso)


@given(st.integers(0, 5_000), st.sampled_from([1, 60, 3_600, 86_400]))
def test_duration_is_written_as_it_is_read(number, unit_s):
    duration = timedelta(seconds=number * unit_s)
    assert parse_duration(format_duration(duration), zero=True) == duration


@pytest.mark.parametrize("text", ["0s", "90s", "90m", "36h", "14d"])
def test_duration_is_written_in_the_largest_unit_that_fits(text):
    assert format_duration(parse_duration(text, zero=True)) == text


@given(st.text())
def test_any_text_yields_a_duration_above_zero_or_a_duration_error(text):
    with suppress(InvalidValue):
        assert parse_duration(text) > timedelta(0)
