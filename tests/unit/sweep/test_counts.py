"""Counts add up: of lists, organizations and runs."""

from hypothesis import given, settings
from hypothesis import strategies as st

from invite_sweeper.audit.totals import OrganizationResult
from invite_sweeper.counts import Counts, total
from invite_sweeper.outcomes import Outcome

KEYED = {"invitations_by_source", "kept_by_reason"}
NUMBERS = [each for each in Counts.__struct_fields__ if each not in KEYED]
by_key = st.dictionaries(st.sampled_from("abc"), st.integers(0, 9))
counts = st.builds(
    Counts, **dict.fromkeys(NUMBERS, st.integers(0, 9)), **dict.fromkeys(KEYED, by_key)
)


@settings(max_examples=30)
@given(counts, counts, counts)
def test_each_count_is_added_in_any_order(one, two, three):
    assert (one + two) + three == one + (two + three) == total([three, two, one])
    assert one + Counts() == one
    assert total([]) == Counts()
    assert total([OrganizationResult(id="a", deleted=1), one]).deleted == 1 + one.deleted
    for name in NUMBERS:
        assert getattr(one + two, name) == getattr(one, name) + getattr(two, name)
    for name in KEYED:  # a key of zero is kept
        left = getattr(one, name)
        right = getattr(two, name)
        added = {key: left.get(key, 0) + right.get(key, 0) for key in left | right}
        assert getattr(one + two, name) == added


def test_there_is_a_count_for_each_outcome():
    assert set(map(str, Outcome)) <= set(Counts.__struct_fields__)
