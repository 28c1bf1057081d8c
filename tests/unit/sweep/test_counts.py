"""Counts add up: of lists, organizations and runs."""

from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.counts import COUNT_NAMES, Counts, count_values, total
from invite_sweeper.models import Outcome

KEYED = {"invitations_by_source", "kept_by_reason"}
NUMBERS = [each for each in COUNT_NAMES if each not in KEYED]
by_key = st.dictionaries(st.sampled_from("abc"), st.integers(0, 9))
counts = st.builds(
    Counts,
    **dict.fromkeys(NUMBERS, st.integers(0, 9)),
    **dict.fromkeys(KEYED, by_key),
)


@given(counts, counts, counts)
def test_each_count_is_added_in_any_order(one, two, three):
    assert (one + two) + three == one + (two + three) == total([three, two, one])
    assert one + Counts() == one
    for name in NUMBERS:
        assert getattr(one + two, name) == getattr(one, name) + getattr(two, name)


def test_counts_by_key_are_added_and_a_zero_is_kept():
    one = Counts(invitations_by_source={"invites": 0, "users": 1})
    two = Counts(invitations_by_source={"users": 2})
    assert (one + two).invitations_by_source == {"invites": 0, "users": 3}


def test_there_is_a_count_for_each_outcome():
    assert set(map(str, Outcome)) <= set(count_values(Counts()))


def test_total_of_nothing_is_zero():
    assert total([]) == Counts()
