"""Limits at their boundary and with 0, trimming, and the clock."""

from collections import Counter
from datetime import timedelta
from fractions import Fraction

import pytest
from builders import NOW, invitation, object_id, policy
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.counts import Counts
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import Source
from invite_sweeper.sweep.guards import (
    check_clock,
    check_limits,
    limit_violations,
    share_limit,
)
from invite_sweeper.sweep.plan import OldestFirst
from invite_sweeper.sweep.scope import Shard
from invite_sweeper.sweep.selection import Decision

WIDE = {
    "max_deletions": 10**6,
    "max_deletions_per_project": 10**6,
    "max_share": 1.0,
    "max_unreadable_projects": 10**6,
}


def limits(**changes):
    return policy(limits={**WIDE, **changes}).limits


def plan_counts(*deletions, seen=10**6, unreadable=0):
    by_project = {object_id(n): count for n, count in enumerate(deletions)}
    return Counts(invitations_seen=seen, projects_unreadable=unreadable), by_project


@pytest.mark.parametrize(
    ("allowed", "over", "name", "limit"),
    [
        (plan_counts(2, 3), plan_counts(3, 3), "max_deletions", 5),
        (plan_counts(), plan_counts(1), "max_deletions", 0),
        (plan_counts(3, 3, 3), plan_counts(3, 4, 3), "max_deletions_per_project", 3),
        (plan_counts(), plan_counts(1), "max_deletions_per_project", 0),
        (plan_counts(50, seen=100), plan_counts(51, seen=100), "max_share", 0.5),
        (plan_counts(29, seen=100), plan_counts(30, seen=100), "max_share", 0.29),
        (plan_counts(10, seen=100), plan_counts(11, seen=100), "max_share", 0),
        (plan_counts(10, seen=10), plan_counts(11, seen=11), "max_share", 0.5),
        (plan_counts(unreadable=10), plan_counts(unreadable=11), "max_unreadable_projects", 10),
        (plan_counts(), plan_counts(unreadable=1), "max_unreadable_projects", 0),
    ],
    ids=[
        *("5 of 5", "0", "per project", "per project 0"),
        *("share", "share that a float misses", "share 0", "share of 10", "unreadable", "all read"),
    ],
)
def test_each_limit_is_inclusive_and_zero_means_none(allowed, over, name, limit):
    assert limit_violations(*allowed, limits(**{name: limit})) == ()
    ((reason, _),) = limit_violations(*over, limits(**{name: limit}))
    assert reason == name


@pytest.mark.parametrize(
    ("counts", "changes", "message"),
    [
        (
            plan_counts(3, 3),
            {"max_deletions": 5},
            "6 stale invitations are over max_deletions: 5.",
        ),
        (
            plan_counts(3, 4, 3),
            {"max_deletions_per_project": 3},
            f"4 stale invitations in project {object_id(1)} are over max_deletions_per_project: 3.",
        ),
        (
            plan_counts(11, seen=11),
            {"max_share": 0.5},
            "11 stale of 11 invitations (100.0%) are over max_share: 0.5.",
        ),
        (
            plan_counts(unreadable=11),
            {"max_unreadable_projects": 10},
            "11 projects could not be read, over max_unreadable_projects: 10.",
        ),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_violation_names_the_count_and_the_limit(counts, changes, message):
    ((_, found),) = limit_violations(*counts, limits(**changes))
    assert found == message


def test_share_is_computed_exactly_where_floats_are_not():
    assert share_limit(limits(max_share=0.29), seen=100, stale=29) == 29


def test_list_of_an_organization_is_named_as_such_and_not_as_a_project():
    given = (*plan_counts(3, 4), limits(max_deletions_per_project=3), None)
    with pytest.raises(GuardRefused, match=r"^4 stale invitations in the lists of Acme \(id\) are"):
        check_limits(*given, {object_id(1): "the lists of Acme (id)"})


def test_limit_of_unreadable_projects_names_five_and_counts_the_rest():
    given = (*plan_counts(unreadable=7), limits(max_unreadable_projects=6))
    names = [f"project P{number}" for number in range(7)]
    ((_, message),) = limit_violations(*given, unreadable=names)
    assert message.startswith(
        "7 projects could not be read: project P0, project P1, project P2, project P3, project P4 "
        "and 2 more, over max_unreadable_projects: 6."
    )


def test_only_divided_limits_are_reported_as_the_part_of_the_shard():
    tight = limits(**dict.fromkeys(WIDE, 0))
    found = limit_violations(*plan_counts(11, seen=11, unreadable=1), tight, Shard(1, 3))
    part = ", the part of shard 1/3."
    assert [each.message.endswith(part) for each in found] == [True, True, False, False]
    assert found[0].message == f"1 project could not be read, over max_unreadable_projects: 0{part}"
    assert found[1].message == f"11 stale invitations are over max_deletions: 0{part}"


def test_error_names_the_shard():
    with pytest.raises(GuardRefused, match="the part of shard 2/3"):
        check_limits(*plan_counts(2), limits(max_deletions=1), Shard(2, 3))


def test_every_exceeded_limit_is_reported():
    tight = dict.fromkeys(WIDE, 0)
    assert len(limit_violations(*plan_counts(11, seen=11, unreadable=1), limits(**tight))) == 4


def test_error_contains_the_first_five_violations_and_counts_the_rest():
    with pytest.raises(GuardRefused) as caught:
        check_limits(*plan_counts(*[2] * 8), limits(max_deletions_per_project=1))
    assert caught.value.message.count("max_deletions_per_project") == 5
    assert caught.value.message.endswith("And 3 more.")
    assert caught.value.consequence == "Nothing was deleted."


def test_error_contains_all_violations_and_a_hint():
    with pytest.raises(GuardRefused) as caught:
        check_limits(*plan_counts(2), limits(max_deletions=1, max_deletions_per_project=1))
    assert caught.value.message == (
        "2 stale invitations are over max_deletions: 1. "
        f"2 stale invitations in project {object_id(0)} are over max_deletions_per_project: 1."
    )
    assert caught.value.reasons == (Reason.MAX_DELETIONS, Reason.MAX_DELETIONS_PER_PROJECT)
    assert caught.value.hint == (
        "Read the plan, then raise the limit, narrow the rules, "
        "or set over_limit: trim to delete only the oldest."
    )


READABLE = (
    "Grant the credentials the role in those projects, exclude them, or raise "
    "max_unreadable_projects. The audit log names each project with the reason."
)


def test_hint_for_unreadable_projects_does_not_suggest_narrower_rules():
    with pytest.raises(GuardRefused) as caught:
        check_limits(*plan_counts(1, unreadable=1), limits(max_unreadable_projects=0))
    assert caught.value.hint == READABLE


def test_both_hints_are_included_if_both_limits_are_exceeded():
    tight = limits(max_unreadable_projects=0, max_deletions=1)
    with pytest.raises(GuardRefused) as caught:
        check_limits(*plan_counts(2, unreadable=1), tight)
    assert caught.value.hint.startswith(f"{READABLE} Read the plan, then raise the limit")


def test_hint_for_unreadable_projects_is_omitted_at_the_limit():
    with pytest.raises(GuardRefused) as caught:
        check_limits(
            *plan_counts(2, unreadable=1), limits(max_unreadable_projects=1, max_deletions=1)
        )
    assert READABLE not in caught.value.hint


@pytest.mark.parametrize(
    ("count", "text"), [(1, "1 stale invitation is over"), (2, "2 stale invitations are over")]
)
def test_violation_agrees_in_number(count, text):
    ((_, message),) = limit_violations(*plan_counts(count), limits(max_deletions=0))
    assert message == f"{text} max_deletions: 0."
    ((_, message),) = limit_violations(*plan_counts(count), limits(max_deletions_per_project=0))
    assert message.startswith(
        text.replace(" is", f" in project {object_id(0)} is").replace(
            " are", f" in project {object_id(0)} are"
        )
    )


def test_five_violations_are_all_included():
    with pytest.raises(GuardRefused) as caught:
        check_limits(*plan_counts(*[2] * 5), limits(max_deletions_per_project=1))
    assert "more." not in caught.value.message


def test_plan_within_its_limits_passes():
    check_limits(*plan_counts(1), limits())


def stale(number, *, days=20, project=1, source=Source.INVITES):
    one = invitation(number, project_id=object_id(project), age=timedelta(days=days), source=source)
    return Decision(one, "r", None)


def selected_ids(oldest, **counts):
    return {
        found[0].invitation.project_id: [d.invitation.id for d in found]
        for found in oldest.select(**counts)
    }


def test_trim_selects_the_oldest_up_to_max_deletions():
    oldest = OldestFirst(limits(max_deletions=2))
    oldest.add([stale(1, days=20), stale(2, days=40)])
    oldest.add([stale(3, days=30, project=2)])
    assert selected_ids(oldest, seen=100, stale=3) == {
        object_id(1): [object_id(2)],
        object_id(2): [object_id(3)],
    }


def test_trim_applies_the_limit_per_project_before_that_of_the_run():
    oldest = OldestFirst(limits(max_deletions=3, max_deletions_per_project=1))
    oldest.add([stale(1, days=90), stale(2, days=80)])
    oldest.add([stale(3, days=20, project=2)])
    assert selected_ids(oldest, seen=100, stale=3) == {
        object_id(1): [object_id(1)],
        object_id(2): [object_id(3)],
    }


@pytest.mark.parametrize("days", [(80, 90), (90, 80)])
def test_trim_selects_the_oldest_of_a_project_at_any_position(days):
    oldest = OldestFirst(limits(max_deletions_per_project=1))
    oldest.add([stale(1, days=days[0]), stale(2, days=days[1])])
    ((found,),) = oldest.select(seen=100, stale=2)
    assert found.invitation.id == object_id(1 + days.index(90))


def test_trim_applies_the_limit_per_project_to_all_its_lists_together():
    oldest = OldestFirst(limits(max_deletions_per_project=2))
    oldest.add([stale(1, days=90), stale(2, days=70)])
    oldest.add([stale(3, days=80, source=Source.USERS), stale(4, days=60, source=Source.USERS)])
    oldest.add([stale(5, days=50, project=2)])
    found = [[d.invitation.id for d in part] for part in oldest.select(seen=100, stale=5)]
    assert found == [[object_id(1)], [object_id(3)], [object_id(5)]]


def test_trim_fills_the_limit_of_the_run_with_what_a_full_project_leaves():
    oldest = OldestFirst(limits(max_deletions=3, max_deletions_per_project=2))
    oldest.add([stale(1, days=90), stale(2, days=89)])
    oldest.add([stale(3, days=88, source=Source.USERS), stale(4, days=87, source=Source.USERS)])
    oldest.add([stale(5, days=20, project=2)])
    assert [d.invitation.id for part in oldest.select(seen=100, stale=5) for d in part] == [
        object_id(n) for n in (1, 2, 5)
    ]


@given(
    lists=st.lists(
        st.tuples(st.integers(1, 4), st.lists(st.integers(20, 90), max_size=6)), max_size=8
    ),
    run=st.integers(0, 8),
    project=st.integers(0, 4),
)
def test_trim_selects_as_many_as_fit_and_always_the_oldest(lists, run, project):
    oldest = OldestFirst(limits(max_deletions=run, max_deletions_per_project=project))
    every = []
    for number, (of_project, ages) in enumerate(lists):
        found = [
            stale(100 * number + n, days=age, project=of_project) for n, age in enumerate(ages)
        ]
        oldest.add(found)
        every += found
    expected, taken = [], Counter()
    for age, of_project in sorted(
        ((NOW - d.invitation.created_at, d.invitation.project_id) for d in every), reverse=True
    ):
        if len(expected) < run and taken[of_project] < project:
            taken[of_project] += 1
            expected.append(age)
    assert [NOW - d.invitation.created_at for d in oldest.oldest()] == expected


def test_trim_with_max_deletions_0_selects_none():
    oldest = OldestFirst(limits(max_deletions=0))
    oldest.add([stale(1)])
    assert selected_ids(oldest, seen=1, stale=1) == {}


def test_trim_applies_the_share_if_more_than_10_are_stale():
    oldest = OldestFirst(limits(max_share=0.5))
    oldest.add([stale(n, days=20 + n) for n in range(1, 12)])
    (found,) = selected_ids(oldest, seen=11, stale=11).values()
    assert found == [object_id(n) for n in (11, 10, 9, 8, 7)]


def test_trim_breaks_ties_in_a_list_by_id_and_between_lists_by_arrival():
    oldest = OldestFirst(limits(max_deletions=2))
    oldest.add([stale(9, project=2), stale(8, project=2)])
    oldest.add([stale(1)])
    assert selected_ids(oldest, seen=3, stale=3) == {object_id(2): [object_id(8), object_id(9)]}


counts = st.dictionaries(st.integers(1, 6).map(object_id), st.integers(1, 30), max_size=6)
some_limits = st.builds(
    limits,
    max_deletions=st.integers(0, 60),
    max_deletions_per_project=st.integers(0, 30),
    max_share=st.integers(0, 100).map(lambda n: n / 100),
    max_unreadable_projects=st.integers(0, 3),
)


@given(deletions=counts, kept=st.integers(0, 60), unreadable=st.integers(0, 4), limits=some_limits)
def test_plan_has_no_violations_exactly_if_every_limit_holds(deletions, kept, unreadable, limits):
    total = sum(deletions.values())
    found = limit_violations(
        Counts(invitations_seen=total + kept, projects_unreadable=unreadable), deletions, limits
    )
    share = Fraction(round(limits.max_share * 100), 100)
    holds = (
        total <= limits.max_deletions
        and all(count <= limits.max_deletions_per_project for count in deletions.values())
        and (total <= 10 or Fraction(total, total + kept) <= share)
        and unreadable <= limits.max_unreadable_projects
    )
    assert (found == ()) is holds


@given(
    ages=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 60)), max_size=60),
    kept=st.integers(0, 60),
    limits=some_limits,
)
def test_trimmed_plan_is_within_limits_and_selects_the_oldest_of_each_project(ages, kept, limits):
    by_project = {}
    for number, (project, days) in enumerate(ages, start=1):
        by_project.setdefault(project, []).append(stale(number, days=days, project=project))
    oldest = OldestFirst(limits)
    for found in by_project.values():
        oldest.add(found)
    seen = len(ages) + kept
    plan = {d[0].invitation.project_id: d for d in oldest.select(seen=seen, stale=len(ages))}
    deletions = {project_id: len(found) for project_id, found in plan.items()}
    share = share_limit(limits, seen=seen, stale=len(ages))
    assert sum(deletions.values()) <= limits.max_deletions
    assert all(count <= limits.max_deletions_per_project for count in deletions.values())
    assert share is None or sum(deletions.values()) <= share
    for project, found in by_project.items():
        taken = plan.get(object_id(project), ())
        left = [d for d in found if d not in taken]
        assert all(
            t.invitation.created_at <= other.invitation.created_at for t in taken for other in left
        )


@pytest.mark.parametrize("skew_s", [0.0, 300.0, -300.0])
def test_clock_skew_of_up_to_5_minutes_is_accepted(skew_s):
    check_clock(skew_s)


SYNCHRONIZE = "Synchronize the clock (NTP): ages are computed with it."


@pytest.mark.parametrize(
    ("skew_s", "message", "hint"),
    [
        (301.5, "The local clock is 5 minutes ahead of Atlas's.", SYNCHRONIZE),
        (-300.5, "The local clock is 5 minutes behind Atlas's.", SYNCHRONIZE),
        (
            None,
            "The local clock could not be checked: Atlas's response has no valid Date header.",
            "Check for a proxy that removes the Date header.",
        ),
    ],
    ids=["ahead", "behind", "unknown"],
)
def test_clock_skew_over_5_minutes_or_unknown_is_refused(skew_s, message, hint):
    with pytest.raises(GuardRefused) as caught:
        check_clock(skew_s)
    assert (caught.value.message, caught.value.hint) == (message, hint)
    assert caught.value.reasons == (Reason.CLOCK,)


def test_share_is_described_in_the_singular_and_in_the_plural():
    (one,) = limit_violations(*plan_counts(1, seen=3), limits(max_share=0), Shard(100, 100))
    assert one.message == "1 stale of 3 invitations (33.3%) is over max_share: 0.0."
    (two,) = limit_violations(*plan_counts(2, seen=3), limits(max_share=0), Shard(100, 100))
    assert two.message == "2 stale of 3 invitations (66.7%) are over max_share: 0.0."
