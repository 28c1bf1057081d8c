"""Durations are parsed exactly; anything else is refused."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.policy import DurationError, parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        ("14d", timedelta(days=14)),
        ("2w", timedelta(days=14)),
        ("1s", timedelta(seconds=1)),
        ("014d", timedelta(days=14)),
        ("P14D", timedelta(days=14)),
        ("P2W", timedelta(days=14)),
        ("PT12H", timedelta(hours=12)),
        ("PT30M", timedelta(minutes=30)),
        ("PT90S", timedelta(seconds=90)),
        ("P1DT2H3M4S", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("36500d", timedelta(days=36_500)),
        ("0" * 5_000 + "1d", timedelta(days=1)),
    ],
)
def test_duration_is_its_number_times_its_unit(text, expected):
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0d", "is zero"),
        ("PT0S", "is zero"),
        ("000w", "is zero"),
        ("-1d", "is negative"),
        ("-P1D", "is negative"),
        ("36501d", "longer than 100 years"),
        ("3153600001s", "longer than 100 years"),
        ("P36500DT1S", "longer than 100 years"),
        ("999999999999999s", "longer than 100 years"),
        ("9" * 5_000 + "s", "longer than 100 years"),
        ("P" + "9" * 5_000 + "W", "longer than 100 years"),
        ("P1Y", "years or months"),
        ("P1M", "years or months"),
        ("P1Y2M3D", "years or months"),
        ("P0.5Y", "years or months"),
        *(
            (text, "is not a duration")
            for text in (
                "",
                "d",
                "14",
                "14 d",
                " 14d",
                "14d\n",
                "14D",
                "1.5d",
                "1d12h",
                "+1d",
                "P",
                "PT",
                "P1DT",
                "P1H",
                "PT1D",
                "P1W1D",
                "p14d",
                "٣d",
                "²d",
                "two weeks",
            )
        ),
    ],
)
def test_text_that_is_not_a_duration_above_zero_is_refused_with_a_hint(text, message):
    with pytest.raises(DurationError) as caught:
        parse_duration(text)
    assert message in caught.value.message
    assert caught.value.hint
    assert str(caught.value) == f"{caught.value.message}; {caught.value.hint}"


@given(st.integers(1, 36_500 * 86_400), st.sampled_from("smhdw"))
def test_short_form_and_iso_8601_are_equal(number, unit):
    iso = f"P{'T' if unit in 'smh' else ''}{number}{unit.upper()}"
    results = []
    for text in (f"{number}{unit}", iso):
        try:
            results.append(parse_duration(text))
        except DurationError as error:
            results.append(error.message)
    assert results[0] == results[1]


@given(st.text())
def test_any_text_yields_a_duration_above_zero_or_a_duration_error(text):
    try:
        duration = parse_duration(text)
    except DurationError as error:
        duration = None
        hint = error.hint
    assert hint if duration is None else duration > timedelta(0)


@pytest.mark.parametrize("text", ["0s", "PT0S", "000w"])
def test_zero_is_a_duration_where_it_is_allowed(text):
    assert parse_duration(text, zero=True) == timedelta(0)
