"""Values in errors are short, printable and described by type."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.policy.messages import closest, format_path, join_or, quote


def test_quote_shows_60_characters_and_shortens_61():
    assert quote("x" * 60) == f"`{'x' * 60}`"
    assert quote("x" * 61) == f"`{'x' * 60}…`"


@given(st.text(st.characters()))
def test_quoted_text_is_printable_and_short(text):
    assert quote(text).isprintable()
    assert len(quote(text)) <= 60 * len("\\U0010ffff") + 3


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), "policy"),
        (("rules", 0, "older_than"), "rules[0].older_than"),
        (("projects", "tags", "a\nb"), "projects.tags.a\\nb"),
        ((0, 1), "[0][1]"),
    ],
)
def test_path_is_formatted_with_dots_and_brackets(path, text):
    assert format_path(path) == text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["a"], "`a`"), (["a", "b"], "`a` or `b`"), (["a", "b", "c"], "`a`, `b` or `c`")],
)
def test_words_are_joined_with_commas_and_or(words, sentence):
    assert join_or(words) == sentence


def test_closest_ignores_case_and_compares_up_to_64_characters():
    assert closest("oldr_than", ["older_than", "expired"]) == "older_than"
    assert closest("pending", ["PENDING"]) == "PENDING"
    assert closest("zzz", ["older_than"]) is None
    assert closest("x" * 64, ["x" * 63]) == "x" * 63
    assert closest("x" * 65, ["x" * 64]) is None
