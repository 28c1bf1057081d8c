"""One is one, and nothing else is."""

import pytest

from invite_sweeper.text import plural_form, pluralize


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (1_000, "1,000 runs")]
)
def test_one_has_no_s_and_every_other_number_has_one(number, said):
    assert pluralize(number, "run") == said


@pytest.mark.parametrize(("number", "said"), [(0, "0 entries"), (1, "1 entry"), (2, "2 entries")])
def test_word_with_a_plural_of_its_own_takes_it_for_all_but_one(number, said):
    assert pluralize(number, "entry", "entries") == said


@pytest.mark.parametrize(("number", "said"), [(0, "are"), (1, "is"), (2, "are")])
def test_verb_goes_with_its_number(number, said):
    assert plural_form(number, "is", "are") == said
