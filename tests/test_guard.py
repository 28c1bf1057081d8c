"""Caps that cap: each limit at its edge, with 0, and what trimming may take."""

from datetime import timedelta
from fractions import Fraction

import pytest
from builders import invitation, object_id, policy
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import Source
from invite_sweeper.sweep.guards import (
    PlanCounts,
    Population,
    check_clock,
    check_limits,
    check_population,
    limit_violations,
    share_limit,
)
from invite_sweeper.sweep.plan import OldestFirst
from invite_sweeper.sweep.selection import Decision

WIDE = {
    "max_deletions": 10**6,
    "max_deletions_per_project": 10**6,
    "max_share": 1.0,
    "max_unreadable_projects": 10**6,
}


def limits(**changes):
    return policy(limits={**WIDE, **changes}).limits


def census(*doomed, seen=10**6, unreadable=0):
    return PlanCounts(seen, unreadable, {object_id(n): count for n, count in enumerate(doomed)})


def test_as_many_as_max_deletions_pass_and_one_more_does_not():
    assert limit_violations(census(2, 3), limits(max_deletions=5)) == ()
    (why,) = limit_violations(census(3, 3), limits(max_deletions=5))
    assert why == "6 stale invitations are over max_deletions: 5."


def test_zero_max_deletions_means_zero():
    assert limit_violations(census(), limits(max_deletions=0)) == ()
    assert limit_violations(census(1), limits(max_deletions=0)) != ()


def test_zero_per_project_means_zero():
    assert limit_violations(census(), limits(max_deletions_per_project=0)) == ()
    assert limit_violations(census(1), limits(max_deletions_per_project=0)) != ()


def test_per_project_limit_counts_each_project_alone():
    assert limit_violations(census(3, 3, 3), limits(max_deletions_per_project=3)) == ()
    (why,) = limit_violations(census(3, 4, 3), limits(max_deletions_per_project=3))
    assert why == (
        f"4 stale invitations in project {object_id(1)} are over max_deletions_per_project: 3."
    )


def test_share_says_nothing_where_ten_are_stale_and_speaks_at_eleven():
    assert limit_violations(census(10, seen=10), limits(max_share=0.5)) == ()
    (why,) = limit_violations(census(11, seen=11), limits(max_share=0.5))
    assert why == "11 stale of 11 invitations (100.0%) are over max_share: 0.5."


def test_share_is_reached_and_not_passed():
    assert limit_violations(census(50, seen=100), limits(max_share=0.5)) == ()
    assert limit_violations(census(51, seen=100), limits(max_share=0.5)) != ()


def test_share_is_exact_where_floats_are_not():
    assert limit_violations(census(29, seen=100), limits(max_share=0.29)) == ()
    assert share_limit(limits(max_share=0.29), seen=100, stale=29) == 29
    assert limit_violations(census(30, seen=100), limits(max_share=0.29)) != ()


def test_zero_share_means_zero_above_ten():
    assert limit_violations(census(10, seen=100), limits(max_share=0)) == ()
    assert limit_violations(census(11, seen=100), limits(max_share=0)) != ()


def test_unreadable_projects_up_to_the_limit_pass():
    assert limit_violations(census(unreadable=10), limits(max_unreadable_projects=10)) == ()
    (why,) = limit_violations(census(unreadable=11), limits(max_unreadable_projects=10))
    assert why == "11 projects could not be read, over max_unreadable_projects: 10."


def test_zero_unreadable_projects_means_every_project_must_be_readable():
    assert limit_violations(census(unreadable=0), limits(max_unreadable_projects=0)) == ()
    assert limit_violations(census(unreadable=1), limits(max_unreadable_projects=0)) != ()


def test_limits_that_shards_divide_are_told_as_the_part_of_the_shard_and_no_other():
    tight = limits(**dict.fromkeys(WIDE, 0))
    found = limit_violations(census(11, seen=11, unreadable=1), tight, "1/3")
    part = ", the part of shard 1/3."
    assert [why.endswith(part) for why in found] == [True, True, False, False]
    assert found[0] == f"1 project could not be read, over max_unreadable_projects: 0{part}"
    assert found[1] == f"11 stale invitations are over max_deletions: 0{part}"


def test_refusal_of_a_shard_names_its_part():
    with pytest.raises(GuardRefused, match="the part of shard 2/3"):
        check_limits(census(2), limits(max_deletions=1), "2/3")


def test_every_limit_that_is_passed_is_told():
    tight = dict.fromkeys(WIDE, 0)
    assert len(limit_violations(census(11, seen=11, unreadable=1), limits(**tight))) == 4


def test_refusal_carries_the_first_five_reasons_and_counts_the_rest():
    with pytest.raises(GuardRefused) as caught:
        check_limits(census(*[2] * 8), limits(max_deletions_per_project=1))
    assert caught.value.message.count("max_deletions_per_project") == 5
    assert caught.value.message.endswith("And 3 more.")
    assert caught.value.consequence == "Nothing was deleted."


def test_refusal_tells_its_reasons_in_a_row_and_how_to_fix_it():
    with pytest.raises(GuardRefused) as caught:
        check_limits(census(2), limits(max_deletions=1, max_deletions_per_project=1))
    assert caught.value.message == (
        "2 stale invitations are over max_deletions: 1. "
        f"2 stale invitations in project {object_id(0)} are over max_deletions_per_project: 1."
    )
    assert caught.value.hint == (
        "Read the plan; then raise the limit, narrow the rules, "
        "or let the oldest go first with over_limit: trim."
    )


READABLE = (
    "Give the credentials the role in those projects, exclude them, or raise "
    "max_unreadable_projects; the audit log names each with its reason."
)


def test_for_projects_that_cannot_be_read_no_narrower_rule_is_advised():
    with pytest.raises(GuardRefused) as caught:
        check_limits(census(1, unreadable=1), limits(max_unreadable_projects=0))
    assert caught.value.hint == READABLE


def test_both_mends_are_told_where_projects_and_deletions_are_too_many():
    tight = limits(max_unreadable_projects=0, max_deletions=1)
    with pytest.raises(GuardRefused) as caught:
        check_limits(census(2, unreadable=1), tight)
    assert caught.value.hint.startswith(f"{READABLE} Read the plan; then raise the limit")


def test_as_many_unreadable_projects_as_may_be_are_no_reason_for_a_hint():
    with pytest.raises(GuardRefused) as caught:
        check_limits(census(2, unreadable=1), limits(max_unreadable_projects=1, max_deletions=1))
    assert READABLE not in caught.value.hint


@pytest.mark.parametrize(
    ("count", "said"), [(1, "1 stale invitation is over"), (2, "2 stale invitations are over")]
)
def test_one_stale_invitation_is_over_a_limit_and_two_are(count, said):
    (why,) = limit_violations(census(count), limits(max_deletions=0))
    assert why == f"{said} max_deletions: 0."
    (why,) = limit_violations(census(count), limits(max_deletions_per_project=0))
    assert why.startswith(
        said.replace(" is", f" in project {object_id(0)} is").replace(
            " are", f" in project {object_id(0)} are"
        )
    )


def test_five_reasons_are_all_told():
    with pytest.raises(GuardRefused) as caught:
        check_limits(census(*[2] * 5), limits(max_deletions_per_project=1))
    assert "more." not in caught.value.message


def test_plan_within_its_limits_passes():
    check_limits(census(1), limits())


def stale(number, *, days=20, project=1, source=Source.INVITES):
    one = invitation(number, project_id=object_id(project), age=timedelta(days=days), source=source)
    return Decision(one, "r", None)


def taken(oldest, **counts):
    return {
        found[0].invitation.project_id: [d.invitation.id for d in found]
        for found in oldest.select(**counts)
    }


def test_trim_takes_the_oldest_up_to_max_deletions():
    oldest = OldestFirst(limits(max_deletions=2))
    oldest.add([stale(1, days=20), stale(2, days=40)])
    oldest.add([stale(3, days=30, project=2)])
    assert taken(oldest, seen=100, stale=3) == {
        object_id(1): [object_id(2)],
        object_id(2): [object_id(3)],
    }


def test_trim_holds_the_limit_of_each_project_before_that_of_the_run():
    oldest = OldestFirst(limits(max_deletions=3, max_deletions_per_project=1))
    oldest.add([stale(1, days=90), stale(2, days=80)])
    oldest.add([stale(3, days=20, project=2)])
    assert taken(oldest, seen=100, stale=3) == {
        object_id(1): [object_id(1)],
        object_id(2): [object_id(3)],
    }


@pytest.mark.parametrize("days", [(80, 90), (90, 80)])
def test_trim_takes_the_oldest_of_a_project_wherever_it_stands_in_the_list(days):
    oldest = OldestFirst(limits(max_deletions_per_project=1))
    oldest.add([stale(1, days=days[0]), stale(2, days=days[1])])
    ((found,),) = oldest.select(seen=100, stale=2)
    assert found.invitation.id == object_id(1 + days.index(90))


def test_trim_lets_the_lists_of_a_project_share_its_limit_and_goes_on_to_the_next_project():
    oldest = OldestFirst(limits(max_deletions_per_project=2))
    oldest.add([stale(1, days=90), stale(2, days=70)])
    oldest.add([stale(3, days=80, source=Source.USERS), stale(4, days=60, source=Source.USERS)])
    oldest.add([stale(5, days=50, project=2)])
    found = [[d.invitation.id for d in part] for part in oldest.select(seen=100, stale=5)]
    assert found == [[object_id(1)], [object_id(3)], [object_id(5)]]


def test_trim_with_zero_takes_none():
    oldest = OldestFirst(limits(max_deletions=0))
    oldest.add([stale(1)])
    assert taken(oldest, seen=1, stale=1) == {}


def test_trim_holds_the_share_where_more_than_ten_are_stale():
    oldest = OldestFirst(limits(max_share=0.5))
    oldest.add([stale(n, days=20 + n) for n in range(1, 12)])
    (found,) = taken(oldest, seen=11, stale=11).values()
    assert found == [object_id(n) for n in (11, 10, 9, 8, 7)]


def test_trim_breaks_ties_by_what_came_first():
    oldest = OldestFirst(limits(max_deletions=1))
    oldest.add([stale(2), stale(1)])
    oldest.add([stale(3, project=2)])
    assert taken(oldest, seen=3, stale=3) == {object_id(1): [object_id(1)]}


counts = st.dictionaries(st.integers(1, 6).map(object_id), st.integers(1, 30), max_size=6)
some_limits = st.builds(
    limits,
    max_deletions=st.integers(0, 60),
    max_deletions_per_project=st.integers(0, 30),
    max_share=st.integers(0, 100).map(lambda n: n / 100),
    max_unreadable_projects=st.integers(0, 3),
)


@given(doomed=counts, kept=st.integers(0, 60), unreadable=st.integers(0, 4), limits=some_limits)
def test_plan_that_passed_satisfies_every_limit_recomputed(doomed, kept, unreadable, limits):
    total = sum(doomed.values())
    found = limit_violations(PlanCounts(total + kept, unreadable, doomed), limits)
    share = Fraction(round(limits.max_share * 100), 100)
    holds = (
        total <= limits.max_deletions
        and all(count <= limits.max_deletions_per_project for count in doomed.values())
        and (total <= 10 or Fraction(total, total + kept) <= share)
        and unreadable <= limits.max_unreadable_projects
    )
    assert (found == ()) is holds


@given(
    ages=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 60)), max_size=60),
    kept=st.integers(0, 60),
    limits=some_limits,
)
def test_trimmed_plan_passes_its_own_guard_and_takes_the_oldest_of_each_project(ages, kept, limits):
    by_project = {}
    for number, (project, days) in enumerate(ages, start=1):
        by_project.setdefault(project, []).append(stale(number, days=days, project=project))
    oldest = OldestFirst(limits)
    for found in by_project.values():
        oldest.add(found)
    seen = len(ages) + kept
    plan = {d[0].invitation.project_id: d for d in oldest.select(seen=seen, stale=len(ages))}
    doomed = {project_id: len(found) for project_id, found in plan.items()}
    share = share_limit(limits, seen=seen, stale=len(ages))
    assert sum(doomed.values()) <= limits.max_deletions
    assert all(count <= limits.max_deletions_per_project for count in doomed.values())
    assert share is None or sum(doomed.values()) <= share
    for project, found in by_project.items():
        taken = plan.get(object_id(project), ())
        left = [d for d in found if d not in taken]
        assert all(
            t.invitation.created_at <= other.invitation.created_at for t in taken for other in left
        )


def test_census_adds_up():
    assert census(1, 2, 3).deletions == 6


@pytest.mark.parametrize("skew_s", [0.0, 300.0, -300.0])
def test_clock_up_to_5_minutes_off_passes(skew_s):
    check_clock(skew_s)


SET_IT = "Set the clock (NTP): ages are counted by it."


@pytest.mark.parametrize(
    ("skew_s", "what", "hint"),
    [
        (301.5, "This clock is 302 s ahead of Atlas's.", SET_IT),
        (-300.5, "This clock is 300 s behind Atlas's.", SET_IT),
        (
            None,
            "Atlas's answer carried no readable Date, so this clock could not be checked.",
            "Look for a proxy that removes the Date header.",
        ),
    ],
    ids=["ahead", "behind", "unknown"],
)
def test_clock_that_is_further_off_or_cannot_be_checked_is_refused(skew_s, what, hint):
    with pytest.raises(GuardRefused) as caught:
        check_clock(skew_s)
    assert (caught.value.message, caught.value.hint) == (what, hint)


def fewer(before, now, **changes):
    check_population(Population(*before), Population(*now), limits(**changes))


def test_population_may_fall_by_the_share_and_not_by_one_more():
    fewer((100, 100), (70, 70), max_population_drop=0.3)
    with pytest.raises(GuardRefused, match=r"69 projects are seen where .* left 100"):
        fewer((100, 100), (69, 100), max_population_drop=0.3)
    with pytest.raises(GuardRefused, match=r"69 invitations are seen where .* left 100"):
        fewer((100, 100), (100, 69), max_population_drop=0.3)


def test_population_of_one_is_one():
    with pytest.raises(GuardRefused, match=r"^1 project is seen where .* left 100"):
        fewer((100, 100), (1, 100), max_population_drop=0.3)


def test_population_refusal_names_the_option_that_lets_it_pass_once():
    with pytest.raises(GuardRefused) as caught:
        fewer((100, 100), (69, 100), max_population_drop=0.3)
    assert caught.value.hint == (
        "Find out where they went; where it is as it should be, "
        "--accept-population lets it pass once."
    )


def test_population_may_grow():
    fewer((100, 100), (1000, 1000), max_population_drop=0)


def test_population_drop_of_zero_lets_nothing_be_missing():
    fewer((11, 11), (11, 11), max_population_drop=0)
    with pytest.raises(GuardRefused):
        fewer((11, 11), (10, 11), max_population_drop=0)


def test_population_of_ten_says_nothing_and_of_eleven_speaks():
    fewer((10, 10), (0, 0), max_population_drop=0.3)
    with pytest.raises(GuardRefused):
        fewer((11, 11), (0, 11), max_population_drop=0.3)


def test_population_share_is_exact_where_floats_are_not():
    fewer((100, 100), (71, 71), max_population_drop=0.29)
