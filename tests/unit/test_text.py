"""Plural forms, durations, dates, and values that are shown."""

from datetime import UTC, datetime, timedelta

import pytest

from invite_sweeper.json_text import parse_timestamp
from invite_sweeper.report.csv_rows import neutralize_formula
from invite_sweeper.text import (
    describe_duration,
    escape_unprintable,
    organization_label,
    plural_form,
    pluralize,
    shorten_list,
    truncate,
)


def seconds(number):
    return describe_duration(timedelta(seconds=number))


DURATIONS = {1.9: "1 second", 119: "119 seconds", 120: "2 minutes", 7_199: "119 minutes"}
DURATIONS |= {7_200: "2 hours", 172_799: "47 hours", 172_800: "2 days", 259_199: "2 days"}
EXAMPLES = [
    *((pluralize, (n, "run"), text) for n, text in enumerate(["0 runs", "1 run", "2 runs"])),
    (pluralize, (1_000, "entry", "entries"), "1,000 entries"),
    *((plural_form, (n, "is", "are"), verb) for n, verb in enumerate(["are", "is", "are"])),
    (shorten_list, (["a", "b", "c"], 3), "a, b, c"),
    (shorten_list, (["a", "b", "c"], 2), "a, b and 1 more"),
    *((seconds, (number,), text) for number, text in DURATIONS.items()),
    (organization_label, ("id", "Example"), "Example (id)"),
    (organization_label, ("id", ""), "id"),
    # A cell that starts a formula gets an apostrophe, whatever white space is before.
    *(
        (neutralize_formula, (f"{start}1",), f"'{start}1")
        for start in (
            *"=+-@\t\r\n\uff1d\uff0b\uff0d\uff20",
            *("  =", "\u00a0=", " \u3000\t=", "\v="),
        )
    ),
    *((neutralize_formula, (text,), text) for text in ("", "1-1", "  ann@example.com", "'=1")),
    (truncate, ("x" * 500,), "x" * 500),
    (truncate, ("x" * 1501,), "x" * 500 + "\u2026 (1,501 characters)"),
    (truncate, ("abcd", 3), "abc\u2026 (4 characters)"),
    (parse_timestamp, ("2026-11-25T03:00:00+02:00",), datetime(2026, 11, 25, 1, tzinfo=UTC)),
    *(
        (parse_timestamp, (value,), None)
        for value in (None, "2026-11-25T03:00:00", "soon", "0001-01-01T00:00+14:00")
    ),
    (
        escape_unprintable,
        ("a\u202eb\x07\ud800\ue000\u2028\u2029\u0378",),
        "a[U+202E]b[U+0007][U+D800][U+E000][U+2028][U+2029][U+0378]",
    ),
    (escape_unprintable, ("gr\u00fc\u00dfe\u00a0",), "gr\u00fc\u00dfe\u00a0"),
]


@pytest.mark.parametrize(("function", "words", "result"), EXAMPLES)
def test_function_returns_the_result_of_its_example(function, words, result):
    assert function(*words) == result
