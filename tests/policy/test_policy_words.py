"""What a person reads of a value is short, printable and right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.policy.messages import closest, format_path, join_or, quote


def test_exactly_sixty_characters_are_shown_and_of_more_the_first_sixty():
    assert quote("x" * 60) == f"`{'x' * 60}`"
    assert quote("x" * 61) == f"`{'x' * 60}…`"


@given(st.text(st.characters()))
def test_what_is_shown_can_be_printed_and_is_never_long(text):
    assert quote(text).isprintable()
    assert len(quote(text)) <= 60 * len("\\U0010ffff") + 3


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ((), "policy"),
        (("rules", 0, "older_than"), "rules[0].older_than"),
        (("projects", "tags", "a\nb"), "projects.tags.a\\nb"),
        ((0, 1), "[0][1]"),
    ],
)
def test_a_place_is_named_as_people_write_it(path, words):
    assert format_path(path) == words


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["a"], "`a`"), (["a", "b"], "`a` or `b`"), (["a", "b", "c"], "`a`, `b` or `c`")],
)
def test_words_are_joined_as_in_a_sentence(words, sentence):
    assert join_or(words) == sentence


def test_the_nearest_word_is_found_whatever_its_case_up_to_64_characters():
    assert closest("oldr_than", ["older_than", "expired"]) == "older_than"
    assert closest("pending", ["PENDING"]) == "PENDING"
    assert closest("zzz", ["older_than"]) is None
    assert closest("x" * 64, ["x" * 63]) == "x" * 63
    assert closest("x" * 65, ["x" * 64]) is None
