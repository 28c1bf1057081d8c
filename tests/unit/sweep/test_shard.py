"""Shards: each project belongs to one shard, and the limits are divided."""

import pytest
from builders import object_id, policy
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.errors import UsageError
from invite_sweeper.sweep.scope import Shard


@given(count=st.integers(1, 12), number=st.integers(0, 10**9))
def test_every_project_belongs_to_exactly_one_shard(count, number):
    shards = [Shard(index, count) for index in range(1, count + 1)]
    assert sum(shard.includes(object_id(number)) for shard in shards) == 1


@given(count=st.integers(1, 12), max_deletions=st.integers(0, 1000), unreadable=st.integers(0, 20))
def test_parts_of_the_limits_add_up_to_the_whole(count, max_deletions, unreadable):
    keys = {"max_deletions": max_deletions, "max_unreadable_projects": unreadable}
    limits = policy(limits=keys).limits
    parts = [Shard(index, count).limits_for(limits) for index in range(1, count + 1)]
    assert sum(part.max_deletions for part in parts) == max_deletions
    assert sum(part.max_unreadable_projects for part in parts) == unreadable


def test_limit_per_project_is_not_divided():
    limits = policy(limits={"max_deletions_per_project": 7}).limits
    assert Shard(2, 3).limits_for(limits).max_deletions_per_project == 7


def test_shard_is_parsed_and_formatted_as_i_of_n():
    assert Shard.parse("2/3") == Shard(2, 3)
    assert str(Shard(2, 3)) == "2/3"


def test_auto_is_the_completion_index_plus_1():
    assert Shard.parse("auto/3", completion_index="0") == Shard(1, 3)
    assert Shard.parse("auto/3", completion_index="2") == Shard(3, 3)


@pytest.mark.parametrize(
    "text",
    ["", "1", "/", "1/", "/2", "0/2", "3/2", "-1/2", "1/2/3", "a/b", "²/3", "1.0/2", "auto/2"],
)
def test_invalid_shard_is_refused(text):
    with pytest.raises(UsageError, match="--shard"):
        Shard.parse(text)


def test_auto_with_an_index_beyond_the_count_is_refused():
    with pytest.raises(UsageError):
        Shard.parse("auto/3", completion_index="3")


def test_shards_have_similar_sizes():
    sizes = [sum(Shard(i, 3).includes(object_id(n)) for n in range(3000)) for i in (1, 2, 3)]
    assert all(900 < count < 1100 for count in sizes)


def test_more_than_100_shards_are_refused():
    assert Shard.parse("100/100") == Shard(100, 100)
    with pytest.raises(UsageError, match="is not valid"):
        Shard.parse("1/101")
