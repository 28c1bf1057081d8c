"""The population guard at its boundary: each part and the totals, and what is not compared."""

import pytest
from builders import ORG, OTHER_ORG, policy
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import Population
from invite_sweeper.sweep.guards import check_population


def population(projects=100, invites=100, **invitations):
    counts = {"invites": invites, **invitations}
    return Population(projects, {}, {k: n for k, n in counts.items() if n is not None})


def check(previous, current, drop=0.3, **options):
    check_population(
        previous, current, policy(limits={"max_population_drop": drop}).limits, **options
    )


def refusal(previous, current, drop=0.3, **options):
    with pytest.raises(GuardRefused) as caught:
        check(previous, current, drop, **options)
    return caught.value.message


def test_max_population_drop_is_inclusive():
    check(population(), population(70, 70))
    assert refusal(population(), population(69)) == (
        "69 projects were found, but the last complete run left 100: "
        "the drop is over max_population_drop: 0.3."
    )
    assert refusal(population(), population(100, 69)).startswith(
        "69 invitations were found, but the last complete run left 100: "
    )


def test_error_uses_the_singular_for_one_and_separates_thousands():
    assert refusal(population(), population(1)).startswith("1 project was found, ")
    assert " left 2,000:" in refusal(population(2000), population(1000))


def test_error_names_the_option_to_accept_it():
    with pytest.raises(GuardRefused) as caught:
        check(population(), population(69))
    assert caught.value.hint == (
        "Find the cause. If the drop is expected, accept it for one run with --accept-population."
    )
    assert caught.value.reasons == (Reason.MAX_POPULATION_DROP,)


def test_population_may_grow():
    check(population(), population(1000, 1000, users=5), drop=0)


def test_max_population_drop_of_zero_refuses_any_drop():
    check(population(11, 11), population(11, 11), drop=0)
    refusal(population(11, 11), population(10, 11), drop=0)
    refusal(population(11, 11), population(11, 10), drop=0)


def test_population_of_10_is_not_compared_and_of_11_is():
    check(population(10, 10), population(0, 0))
    assert "0 projects" in refusal(population(11, 11), population(0, 11))


def test_share_is_exact_where_floats_are_not():
    check(population(), population(71, 71), drop=0.29)
    refusal(population(), population(71, 70), drop=0.29)


def test_empty_source_does_not_hide_behind_a_large_one():
    assert refusal(population(users=11), population(users=0)) == (
        "0 invitations in the list users were found, but the last complete run left 11: "
        "the drop is over max_population_drop: 0.3."
    )
    refusal(population(users=11), population())
    check(population(users=10), population(users=0))


def test_small_sources_are_compared_by_their_total():
    parts = {"users": 5, "org_users": 5}
    assert refusal(population(invites=5, **parts), population(invites=5)).startswith(
        "5 invitations were found, but the last complete run left 15"
    )


def test_source_that_is_new_does_not_make_up_for_a_drop_of_another():
    refusal(population(), population(invites=50, users=50))


def test_retired_source_is_waived_alone():
    previous = population(users=50)
    check(previous, population(), retired=["users"])
    refusal(previous, population(), retired=["org_users"])
    assert "69 invitations were found, but the last complete run left 100" in refusal(
        previous, population(invites=69), retired=["users"]
    )
    assert "69 projects" in refusal(previous, population(69), retired=["users", "invites"])
    check(previous, population(invites=None), retired=["users", "invites"])


def visible(**changes):
    return Population(0, {ORG: 20, OTHER_ORG: 20, **changes})


def test_visible_projects_are_compared_by_organization_and_in_total():
    check(visible(), visible())
    assert refusal(visible(), visible(**{ORG: 0})).startswith(
        "20 visible projects were found, but the last complete run left 40"
    )
    assert refusal(visible(), visible(**{ORG: 13})).startswith(
        f"13 visible projects of organization {ORG} were found, but the last complete run left 20"
    )
    check(visible(), visible(**{ORG: 14}))
    refusal(visible(), Population(0, {ORG: 20}))


def test_organization_that_is_new_does_not_make_up_for_a_drop_of_another():
    assert "0 visible projects were" in refusal(
        Population(0, {ORG: 11}), Population(0, {OTHER_ORG: 50})
    )


def test_small_organizations_are_compared_by_their_total():
    six = {ORG: 6, OTHER_ORG: 6}
    assert "6 visible projects were" in refusal(Population(0, six), Population(0, {ORG: 6}))


def test_part_without_a_previous_count_is_not_compared():
    check(Population(), population())
    check(Population(), Population())


@pytest.mark.parametrize(("listed", "gone"), [(10, 10), (11, 3), (20, 6), (100, 30)])
def test_projects_gone_up_to_the_drop_or_of_up_to_10_are_accepted(listed, gone):
    check(Population(), Population(listed - gone), gone=gone)


@pytest.mark.parametrize(("listed", "gone"), [(11, 4), (20, 7), (100, 31), (11, 11)])
def test_more_projects_gone_are_a_drop_without_an_earlier_run(listed, gone):
    left = listed - gone
    verb = "was" if left == 1 else "were"
    assert refusal(Population(), Population(left), gone=gone) == (
        f"{left} projects {verb} left of the {listed} that were just listed: "
        "the drop is over max_population_drop: 0.3."
    )


def test_population_of_two_organizations_is_their_sum():
    one = Population(3, {ORG: 4}, {"invites": 5, "users": 1})
    two = Population(10, {OTHER_ORG: 20}, {"invites": 30})
    both = Population(13, {ORG: 4, OTHER_ORG: 20}, {"invites": 35, "users": 1})
    assert one + two == two + one == both
    assert one + Population() == one


_counts = st.dictionaries(st.sampled_from(["invites", "users", "org_users"]), st.integers(0, 60))
_populations = st.builds(
    Population,
    st.integers(0, 60),
    st.dictionaries(st.sampled_from([ORG, OTHER_ORG]), st.integers(0, 60)),
    _counts,
)


@given(_populations, _populations, st.integers(0, 100), st.sets(st.sampled_from(["users"])))
def test_accepted_population_has_no_part_that_dropped_by_more(previous, current, percent, retired):
    limits = policy(limits={"max_population_drop": percent / 100}).limits
    pairs = [(previous.projects, current.projects)]
    pairs += [(n, current.visible_projects.get(k, 0)) for k, n in previous.visible_projects.items()]
    known = {k: n for k, n in previous.invitations.items() if k not in retired}
    pairs += [(n, current.invitations.get(k, 0)) for k, n in known.items()]
    pairs += [(sum(known.values()), sum(current.invitations.get(k, 0) for k in known))]
    orgs = previous.visible_projects
    pairs += [(sum(orgs.values()), sum(current.visible_projects.get(k, 0) for k in orgs))]
    dropped = any(was > 10 and (was - now) * 100 > percent * was for was, now in pairs)
    try:
        check_population(previous, current, limits, retired=retired)
    except GuardRefused:
        assert dropped
    else:
        assert not dropped


@pytest.mark.parametrize(
    ("previous", "current", "words"),
    [
        (visible(), Population(0, {OTHER_ORG: 50}), f"projects of organization {ORG} were found"),
        (population(invites=11, users=100), population(invites=None, users=100), "list invites"),
    ],
    ids=["organization", "source"],
)
def test_part_that_is_missing_now_counts_as_zero(previous, current, words):
    message = refusal(previous, current)
    assert message.startswith("0 ")
    assert words in message


def test_source_that_is_missing_now_is_zero_and_not_one():
    """With a drop of at most ten of eleven, one would be allowed."""

    def counts(was):
        return Population(0, {ORG: was}, {"invites": was, "users": 100})

    now = Population(invitations={"users": 100})
    check(counts(10), now, drop=0.91)
    refusal(counts(11), now, drop=0.91)
