"""Plural forms, and names that look the same."""

import pytest

from invite_sweeper.text import casefold_lookalike, casefold_visible, plural_form, pluralize


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


@pytest.mark.parametrize("name", [" Ada@EXAMPLE.com ", "a\x00b", "x@y@z.example.", "", " "])
def test_ascii_names_look_the_same_as_they_are_displayed(name):
    assert casefold_lookalike(name) == casefold_visible(name)


def test_punycode_in_capitals_is_decoded():
    assert casefold_lookalike("XN--bcher-KVA.example") == "b\u00fccher.example"
