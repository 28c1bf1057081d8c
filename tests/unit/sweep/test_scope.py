"""The project filter of a policy, patterns without a match, and the shards."""

import pytest
from builders import OTHER_ORG, PROJECT, object_id, policy, project
from hypothesis import given
from hypothesis import strategies as st
from sweep.night import command_of

from invite_sweeper.errors import UsageError
from invite_sweeper.sweep.scope import ProjectFilter, Shard, scope_sha256

TAGGED = {"tags": (("Env", "Sandbox"), ("team", "data"), ("x", "y"))}
TAGS = {"tags": {"env": "sandbox", "team": "data"}}


@pytest.mark.parametrize(
    ("changes", "filters", "included"),
    [
        ({}, {}, True),
        # `test_text` has more names and ids.
        ({"name": "SANDBOX-1"}, {"include": ["Sandbox-*"]}, True),
        ({"name": "prod-1"}, {"include": ["prod-1"], "exclude": ["PROD-*"]}, False),
        ({"name": "\uff50rod-1"}, {"include": ["prod-*"]}, False),
        ({"name": "\uff50rod-1"}, {"exclude": ["prod-*"]}, False),
        ({"id": object_id(7)}, {"include": [object_id(7)]}, True),
        ({"id": PROJECT}, {"exclude": [PROJECT.upper()]}, False),
        # Tags: all must be on the project.
        (TAGGED, TAGS, True),
        ({"tags": (("env", "sandbox"),)}, TAGS, False),
        ({"tags": (("env", "prod"), ("team", "data"))}, TAGS, False),
    ],
)
def test_project_is_in_scope_if_each_filter_of_the_policy_admits_it(changes, filters, included):
    project_filter = ProjectFilter(policy(projects=filters))
    assert project_filter.includes(project(**changes)) is included


def test_scope_hash_depends_on_projects_tags_and_sources_alone():
    def digest(projects, **keys):
        return scope_sha256(policy(projects=projects, **keys))

    tagless = {"include": ["a", "B"], "exclude": ["c"]}
    base = {**tagless, "tags": {"Env": "Dev"}}
    same = {"include": ["b", "A", "a"], "exclude": ["C"], "tags": {"env": "DEV"}}
    keys = {"rules": [{"name": "other", "older_than": "1d"}], "organizations": [OTHER_ORG]}
    assert digest(base) == digest(same, **keys)
    tags = [{"tags": {"Env": "Test"}}, {"tags": {"Dev": "Dev"}}]
    others = [digest({**base, **each}) for each in ({"include": ["a"]}, {"exclude": ["d"]}, *tags)]
    others += [digest({}), digest(tagless), digest(base, sources=["users"])]
    assert len({digest(base), *others}) == 1 + len(others)


NAMES = ("", "BETA", "GAMMA", "DELTA")
ORGANIZATIONS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=20)


def policy_of(*names):
    organizations = [
        {"id": object_id(n), "credentials": name} if name else object_id(n)
        for n, name in enumerate(names)
    ]
    return policy(organizations=organizations)


def dealt(shard, whole):
    return [each.id for each in shard.part_of_policy(whole).organizations]


@given(names=ORGANIZATIONS, count=st.integers(2, 6))
def test_every_organization_belongs_to_one_shard_and_they_are_dealt_out_evenly(names, count):
    whole = policy_of(*names)
    shards = [dealt(Shard(index, count), whole) for index in range(1, count + 1)]
    every = [each.id for each in whole.organizations]
    assert sorted(id_ for ids in shards for id_ in ids) == sorted(every)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    more = policy_of(*names, "NEW")  # it moves none of the others
    again = [dealt(Shard(index, count), more) for index in range(1, count + 1)]
    assert [[each for each in ids if each in every] for ids in again] == shards


def test_shard_beyond_the_organizations_has_none_however_many_there_are():
    whole = policy_of("", "BETA")
    assert dealt(Shard(1, 10**17), whole) == [object_id(0)]
    assert dealt(Shard(10**17, 10**17), whole) == []


@given(count=st.integers(1, 12), max_deletions=st.integers(0, 1000), unreadable=st.integers(0, 20))
def test_parts_of_the_limits_add_up_to_the_whole(count, max_deletions, unreadable):
    keys = {"max_deletions": max_deletions, "max_unreadable_projects": unreadable}
    whole = policy(limits=keys)
    shards = [Shard(index, count) for index in range(1, count + 1)]
    parts = [command_of(whole, shard=each).limits for each in shards]
    assert sum(part.max_deletions.most for part in parts) == max_deletions
    assert sum(part.max_unreadable for part in parts) == unreadable
    assert {part.in_place(project()).most for part in parts} == {25}


@pytest.mark.parametrize(
    ("text", "index", "shard"),
    [("3/3", "9", "3/3"), ("auto/3", "2", "3/3"), ("1/1", None, "None"), ("auto/1", "0", "None")],
)
def test_shard_is_i_of_n_or_the_completion_index_plus_1_and_one_of_one_is_none(text, index, shard):
    assert str(Shard.parse(text, completion_index=index)) == shard


MALFORMED = ("", "/", "2", "1/", "/2", "1/2/3", "x/2", "1.0/2", "²/3", "auto/2", "0/2", "3/2")
NO_INDEX = ("", "x", "-1", "²", "3", "9" * 5000)
NOT_SHARDS = [(text, None) for text in (*MALFORMED, "-1/2", f"1/{'9' * 5000}")]


@pytest.mark.parametrize(("text", "index"), NOT_SHARDS + [("auto/3", index) for index in NO_INDEX])
def test_malformed_shard_is_wrong_usage_with_the_forms_that_are_valid(text, index):
    with pytest.raises(UsageError) as caught:
        Shard.parse(text, completion_index=index)
    assert caught.value.message == f"--shard {text!r} is not valid."
    assert caught.value.hint == (
        "Write I/N with I from 1 to N, such as 2/3, or auto/N inside an Indexed Job, which reads "
        "JOB_COMPLETION_INDEX."
    )
