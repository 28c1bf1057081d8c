"""Plural forms, globs, names that look the same, and untrusted values."""

from datetime import UTC, datetime, timedelta

import pytest

from invite_sweeper.text import (
    MAX_TEXT_LENGTH,
    Globs,
    ProjectPatterns,
    ProtectiveGlobs,
    casefold_lookalike,
    casefold_visible,
    describe_duration,
    escape_unprintable,
    neutralize_formula,
    organization_label,
    plural_form,
    pluralize,
    to_datetime,
    to_text,
)

PROJECT = "6a793fd0c0eb9e7a177181d4"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (1_000, "1,000 runs")]
)
def test_noun_has_an_s_except_for_one(number, text):
    assert pluralize(number, "run") == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 entries"), (1, "1 entry"), (2, "2 entries")])
def test_irregular_plural_is_used_except_for_one(number, text):
    assert pluralize(number, "entry", "entries") == text


@pytest.mark.parametrize(("number", "text"), [(0, "are"), (1, "is"), (2, "are")])
def test_verb_agrees_with_the_number(number, text):
    assert plural_form(number, "is", "are") == text


def test_lookalikes_are_compared_up_to_4096_characters():
    full_width = "\uff21"
    assert casefold_lookalike(full_width * 4096) == "a" * 4096
    assert casefold_lookalike(full_width * 4097) == casefold_visible(full_width * 4097)


@pytest.mark.parametrize("name", [" Ada@EXAMPLE.com ", "x@y@z.example", "Prod.", "", " "])
def test_ascii_names_look_the_same_as_they_are_displayed(name):
    assert casefold_lookalike(name) == casefold_visible(name)


def test_punycode_in_capitals_is_decoded():
    assert casefold_lookalike("XN--bcher-KVA.example") == "b\u00fccher.example"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (1.9, "1 second"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7_199, "119 minutes"),
        (7_200, "2 hours"),
        (172_799, "47 hours"),
        (172_800, "2 days"),
        (259_199, "2 days"),
        (259_200, "3 days"),
    ],
)
def test_duration_has_the_largest_unit_of_which_it_has_two(seconds, text):
    assert describe_duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(("name", "label"), [("Example", "Example (id)"), (None, "id"), ("", "id")])
def test_organization_without_a_name_is_its_id(name, label):
    assert organization_label("id", name) == label


@pytest.mark.parametrize(
    "start",
    [*"=+-@\t\r\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "  ="],
)
def test_cell_that_starts_a_formula_gets_an_apostrophe(start):
    assert neutralize_formula(f"{start}1") == f"'{start}1"


@pytest.mark.parametrize("space", ["  ", "\u00a0", " \u3000\t", "\v"])
def test_white_space_before_the_start_of_a_formula_changes_nothing(space):
    assert neutralize_formula(f"{space}=1") == f"'{space}=1"


@pytest.mark.parametrize("text", ["", "a=1", "1-1", "  ann@example.com", "'=1", "X=1"])
def test_cell_that_starts_no_formula_stays_as_it_is(text):
    assert neutralize_formula(text) == text


# Names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "same"),
    [
        (" ADA@Example.com ", "ada@example.com"),
        ("Z\u200boe\u0308", "zo\u00eb"),
        ("\u00a0STRASSE\u00a0", "stra\u00dfe"),
        ("\u1e9e", "ss"),
    ],
)
def test_case_composition_and_invisible_format_characters_are_ignored(name, same):
    assert casefold_visible(name) == casefold_visible(same) == same.casefold().strip()


@pytest.mark.parametrize(
    "name",
    [
        "gus@boa\u034frd.example",
        "gus@board\u200b.example",
        "gus@board\u00ad.example",
        "g\u115fus@board.example",
        "g\u1160us@board.example",
        "gus\u17b4@board.example",
        "gus\u17b5@board.example",
        "gus@\u180bboard.example",
        "gus@\u180fboard.example",
        "gus@board\u2065.example",
        "gus@board.example\u2800",
        "gus@board.example\u3164",
        "gus@board.example\ufe00",
        "gus@board.example\ufe0f",
        "gus@board.example\uffa0",
        "gus@board.example\ufff0",
        "gus@board.example\ufff8",
        "gus@board.example\U000e0000",
        "gus@board.example\U000e0fff",
        "gus@board.example\x00",
        "\x07gus@bo\x1fard.example",
        "gus\x7f@board.example",
        " \x08 gus@board.example",
        "gus\x85@board\x9f.example",
        "gus@board.example.",
        "gus@board.example.\u200b",
        "gus@board\uff0eexample\uff0e",
        "\uff27us@board.example",
        "gus@board\u3002example",
        "gus@BOARD\uff0eexample",
    ],
)
def test_name_with_invisible_or_compatible_characters_looks_like_the_plain_one(name):
    assert casefold_lookalike(name) == "gus@board.example"
    assert ProtectiveGlobs(["gus@board.example"]).matches(name)
    assert ProtectiveGlobs(["gus@board.example"]).matching_patterns(name) == ("gus@board.example",)


@pytest.mark.parametrize(
    "name", ["gus@board\u033fexample", "gus\u1161@board.example", "gus@board.example\u2801"]
)
def test_name_with_a_visible_difference_looks_different(name):
    assert casefold_lookalike(name) != "gus@board.example"


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("x@xn--bcher-kva.example", "x@b\u00fccher.example"),
        ("x@mail.xn--bcher-kva.xn--bcher-kva", "x@mail.b\u00fccher.b\u00fccher"),
        ("xn--bcher-kva@example.com", "xn--bcher-kva@example.com"),
        ("x@xn--\u00fc.example", "x@xn--\u00fc.example"),
        ("x@y@xn--bcher-kva", "x@y@b\u00fccher"),
    ],
)
def test_punycode_is_decoded_in_the_labels_of_the_domain_alone(name, same):
    assert casefold_lookalike(name) == same


@pytest.mark.parametrize("name", ["Sandbox [old]", "[draft]", "a[!b]c", "[", "x]", "[]*?"])
def test_entry_with_brackets_equals_the_same_name(name):
    assert Globs([name]).matches(name.upper())
    assert Globs(["other", name]).matching_patterns(name) == (name,)
    assert ProtectiveGlobs([name]).matches(name)
    assert ProjectPatterns([name]).matches(PROJECT, name)


def test_entry_with_brackets_is_still_a_glob():
    assert Globs(["[ab]da@x.com"]).matches("bda@x.com")
    assert not Globs(["[ab]da@x.com"]).matches("[ab]da@x.comm")
    assert not Globs(["[ab]da*"]).matches("[ab]data")


@pytest.mark.parametrize("name", ["gus@board.example..", "gus@board.example.x", "prod."])
def test_only_one_closing_dot_of_a_domain_is_ignored(name):
    assert casefold_lookalike(name) not in ("gus@board.example", "prod")


def test_glob_with_a_closing_dot_covers_the_domain_without_it():
    assert ProtectiveGlobs(["*@board.example."]).matches("gus@board.example")
    assert ProtectiveGlobs(["*@board.example"]).matches("gus@board.example.")
    assert not ProtectiveGlobs(["*@board.example."]).matches("gus@other.example")


def test_globs_match_whole_names_and_none_matches_without_patterns():
    globs = Globs(["a*", "?b"])
    assert (globs.matches("ABC"), globs.matches("xb"), globs.matches("xbc")) == (True, True, False)
    assert globs.matching_patterns("AB") == ("a*", "?b")
    assert globs.matching_patterns("c") == ()
    assert not Globs([]).matches("")


def test_protective_globs_name_each_pattern_once_in_the_order_of_the_policy():
    globs = ProtectiveGlobs(["z*", "*@b\u00fccher.example", "x*"])
    assert globs.matching_patterns("x@xn--bcher-kva.example") == ("*@b\u00fccher.example", "x*")
    assert globs.matches("x@xn--bcher-kva.example")
    assert not globs.matches("y@example.com")
    assert not ProtectiveGlobs([]).matches("x")


@pytest.mark.parametrize("entry", [PROJECT, PROJECT.upper(), f" {PROJECT} "])
def test_id_is_compared_with_ids_alone(entry):
    patterns = ProjectPatterns([entry])
    assert patterns.matches(PROJECT, "x")
    assert patterns.matches(PROJECT.upper(), "x")
    assert patterns.matching_patterns(PROJECT.upper(), "x") == (entry,)
    assert not patterns.matches("0" * 24, PROJECT)
    assert patterns.matching_patterns("0" * 24, PROJECT) == ()


@pytest.mark.parametrize("glob", ["*7a17*", PROJECT[:23], f"{PROJECT}0", f"{PROJECT[:23]}?"])
def test_glob_is_compared_with_names_alone(glob):
    patterns = ProjectPatterns([glob])
    assert not patterns.matches(PROJECT, "x")
    assert patterns.matching_patterns(PROJECT, "x") == ()
    assert patterns.matches("0" * 24, PROJECT + "0") is (glob in ("*7a17*", f"{PROJECT}0"))


def test_protective_project_patterns_also_match_names_that_look_the_same():
    assert ProjectPatterns(["prod-*"], protects=True).matches(PROJECT, "\uff50rod-web")
    assert not ProjectPatterns(["prod-*"]).matches(PROJECT, "\uff50rod-web")


# Values of audit lines -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0, "0"),
        (["a", None, 2], "a, , 2"),
        (("a", ["b", "c"]), "a, b, c"),
        ({"k": 1}, "{'k': 1}"),
        ("\u00fc\ud800", "\u00fc\\ud800"),
    ],
)
def test_any_value_is_text_that_utf_8_can_encode(value, text):
    assert to_text(value) == text


def test_text_over_500_characters_is_cut_and_says_its_length():
    assert to_text("x" * MAX_TEXT_LENGTH) == "x" * 500
    assert to_text("x" * 1501) == "x" * 500 + "\u2026 (1,501 characters)"
    assert to_text("abcd", 3) == "abc\u2026 (4 characters)"
    assert to_text(["abcd"], 3) == "abc\u2026 (4 characters)"


def test_first_500_items_of_a_list_are_shown():
    assert to_text(["a"] * 501, 5000).count("a") == 500


def test_date_is_converted_to_utc():
    assert to_datetime("2026-11-25T03:00:00+02:00") == datetime(2026, 11, 25, 1, tzinfo=UTC)
    assert to_datetime("2026-11-25T03:00:00+02:00").tzinfo is UTC


@pytest.mark.parametrize(
    "value", ["2026-11-25T03:00:00", "soon", None, 5, "0001-01-01T00:00+14:00"]
)
def test_date_without_a_zone_or_in_another_form_is_none(value):
    assert to_datetime(value) is None


def test_unprintable_characters_are_shown_as_their_code():
    assert escape_unprintable("a\u202eb\x07\ud800\ue000\u2028\u2029\u0378") == (
        "a[U+202E]b[U+0007][U+D800][U+E000][U+2028][U+2029][U+0378]"
    )
    assert escape_unprintable("plain ~ text") == "plain ~ text"
    assert escape_unprintable("gr\u00fc\u00dfe\u00a0") == "gr\u00fc\u00dfe\u00a0"
