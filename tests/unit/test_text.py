"""Plural forms."""

import pytest

from invite_sweeper.text import plural_form, pluralize


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
