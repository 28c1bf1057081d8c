"""Shards: each credential belongs to one shard, and the limits are divided."""

from datetime import timedelta
from fractions import Fraction

import pytest
from builders import invitation, object_id, policy
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.counts import Counts
from invite_sweeper.errors import UsageError
from invite_sweeper.models import Source
from invite_sweeper.sweep.guards import MIN_COUNT_FOR_SHARE, limit_violations
from invite_sweeper.sweep.plan import OldestFirst
from invite_sweeper.sweep.scope import Shard
from invite_sweeper.sweep.selection import Decision

NAMES = ("", "BETA", "GAMMA", "DELTA")
ORGANIZATIONS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=20)


def policy_of(*names):
    """Return a policy with an organization for each of these names of credentials."""
    organizations = [
        {"id": object_id(n), "credentials": name} if name else object_id(n)
        for n, name in enumerate(names)
    ]
    return policy(organizations=organizations)


def dealt(shard, whole):
    return [each.id for each in shard.part_of_policy(whole).organizations]


@given(names=ORGANIZATIONS, count=st.integers(2, 6))
def test_every_organization_belongs_to_one_shard_and_so_do_those_of_its_credential(names, count):
    whole = policy_of(*names)
    shards = [dealt(Shard(index, count), whole) for index in range(1, count + 1)]
    assert sorted(id_ for ids in shards for id_ in ids) == sorted(
        each.id for each in whole.organizations
    )
    used = [{names[int(id_, 16)] for id_ in ids} for ids in shards]
    assert sum(map(len, used)) == len(set(names))
    assert max(map(len, used)) - min(map(len, used)) <= 1


def test_credentials_are_dealt_out_in_the_order_of_the_policy_so_that_a_new_one_moves_none():
    before, after = policy_of("B", "A", "B", ""), policy_of("B", "A", "B", "", "C")
    ids = [object_id(n) for n in range(5)]
    assert [dealt(Shard(n, 2), before) for n in (1, 2)] == [[ids[0], ids[2], ids[3]], [ids[1]]]
    assert [dealt(Shard(n, 2), after) for n in (1, 2)] == [
        [ids[0], ids[2], ids[3]],
        [ids[1], ids[4]],
    ]


def test_shard_beyond_the_credentials_has_no_organization_however_many_there_are():
    whole = policy_of("", "BETA")
    assert dealt(Shard(1, 10**17), whole) == [object_id(0)]
    assert dealt(Shard(10**17, 10**17), whole) == []


def test_hash_of_the_policy_does_not_depend_on_the_shard():
    whole = policy_of("", "BETA")
    assert Shard(1, 2).part_of_policy(whole).sha256 == whole.sha256


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
    assert Shard.parse("1/2") == Shard(1, 2)
    assert Shard.parse("2/3") == Shard(2, 3)
    assert str(Shard(2, 3)) == "2/3"


def test_auto_is_the_completion_index_plus_1():
    assert Shard.parse("auto/3", completion_index="0") == Shard(1, 3)
    assert Shard.parse("auto/3", completion_index="2") == Shard(3, 3)


def test_one_of_one_is_no_shard():
    assert Shard.parse("1/1") is None
    assert Shard.parse("auto/1", completion_index="0") is None


def test_auto_with_an_index_beyond_the_count_is_refused():
    with pytest.raises(UsageError):
        Shard.parse("auto/3", completion_index="3")


def has_project(shard, project_id):
    """Return whether the project's organization is one of the shard's."""
    return int(project_id, 16) % shard.count == shard.index - 1


def deleted_by(shard, stale_by_project, kept_by_project, limits):
    """Return how many a shard deletes: all that is stale there, the oldest, or none."""
    part = shard.limits_for(limits)
    own = {p for p in {*stale_by_project, *kept_by_project} if has_project(shard, p)}
    stale = {p: count for p, count in stale_by_project.items() if p in own and count}
    seen = sum(stale.values()) + sum(n for p, n in kept_by_project.items() if p in own)
    if limits.over_limit == "trim":
        oldest = OldestFirst(part)
        for project, count in stale.items():
            ages = (timedelta(days=20 + number) for number in range(count))
            oldest.add(
                [
                    Decision(
                        invitation(n, project_id=project, age=age, source=Source.INVITES), "r", None
                    )
                    for n, age in enumerate(ages)
                ]
            )
        selected = oldest.select(seen=seen, stale=sum(stale.values()), shard=shard)
        stale = {found[0].invitation.project_id: len(found) for found in selected}
    if limit_violations(Counts(invitations_seen=seen), stale, part, shard):
        assert limits.over_limit == "refuse"
        return 0
    return sum(stale.values())


projects = st.dictionaries(st.integers(0, 10**6).map(object_id), st.integers(0, 30), max_size=30)


@given(
    stale=projects,
    kept=projects,
    count=st.integers(1, 12),
    keys=st.fixed_dictionaries(
        {
            "max_deletions": st.integers(0, 200),
            "max_deletions_per_project": st.integers(0, 40),
            "max_share": st.integers(0, 20).map(lambda n: n / 20),
            "over_limit": st.sampled_from(["refuse", "trim"]),
        }
    ),
)
def test_all_shards_together_keep_the_limits_of_one_run(stale, kept, count, keys):
    """They delete at most `max_deletions`, and at most the share of all seen and the exempt few.

    The share is that of each shard's own invitations. So the few that are exempt may come on top
    of it, once for all shards together: what one run without shards may delete where few are
    stale.
    """
    limits = policy(limits=keys).limits
    shards = [Shard(index, count) for index in range(1, count + 1)]
    deleted = sum(deleted_by(shard, stale, kept, limits) for shard in shards)
    seen = sum(stale.values()) + sum(kept.values())
    assert deleted <= limits.max_deletions
    assert deleted <= int(Fraction(str(limits.max_share)) * seen) + MIN_COUNT_FOR_SHARE


@pytest.mark.parametrize("count", [1, 2, 10, 20])
def test_share_0_with_100_of_100_stale_deletes_at_most_10_in_all_shards(count):
    limits = policy(limits={"max_share": 0, "max_deletions": 1000}).limits
    stale = {object_id(number): 1 for number in range(100)}
    shards = [Shard(index, count) for index in range(1, count + 1)]
    assert sum(deleted_by(shard, stale, {}, limits) for shard in shards) <= MIN_COUNT_FOR_SHARE


@pytest.mark.parametrize(("shard", "exempt"), [(Shard(1, 3), 4), (Shard(3, 3), 3)])
def test_exempt_count_of_a_shard_is_inclusive(shard, exempt):
    limits = policy(limits={"max_share": 0}).limits
    for count in (exempt, exempt + 1):
        counts = Counts(invitations_seen=100)
        found = limit_violations(counts, {object_id(1): count}, limits, shard)
        assert bool(found) == (count > exempt)


@pytest.mark.parametrize("index", ["", "x", "-1", "²", "9" * 5000])
def test_malformed_completion_index_is_refused(index):
    with pytest.raises(UsageError, match="is not valid"):
        Shard.parse("auto/3", completion_index=index)


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "2", "1/", "/2", "1/2/3", "x/2", "a/b", "1.0/2", "²/3", "auto/2"),
        *("0/2", "3/2", "-1/2", f"1/{'9' * 5000}"),
    ],
)
def test_malformed_shard_is_wrong_usage_with_the_forms_that_are_valid(text):
    with pytest.raises(UsageError) as caught:
        Shard.parse(text)
    assert caught.value.message == f"--shard {text!r} is not valid."
    assert caught.value.hint == (
        "Write I/N with I from 1 to N, such as 2/3, or auto/N inside an Indexed Job, which reads "
        "JOB_COMPLETION_INDEX."
    )
