"""How many deletions the limits allow: each at its boundary, in a place and in all together."""

from collections import Counter
from datetime import timedelta

import pytest
from audit.runs import planned
from builders import NOW, ORG, OTHER_ORG, object_id, policy

from invite_sweeper.endings import Reason
from invite_sweeper.models import Project, Source
from invite_sweeper.sweep.limits import Backlog, Exceeded, Limit, RunLimits, describe_place
from invite_sweeper.sweep.scope import Shard

FIRST, SECOND = object_id(1), object_id(2)
WIDE = {
    "max_deletions": 1_000,
    "max_deletions_per_project": 1_000,
    "max_share": 1.0,
    "max_unreadable_projects": 1_000,
}
PLACES = {number: Project(object_id(number), f"p{number}", ORG) for number in (1, 2, 3)}


def limits_of(sent=(), shard=None, **keys):
    """Return limits of which only the ones that are given can hold anything back."""
    sent = {object_id(place): number for place, number in dict(sent).items()}
    return RunLimits(policy(limits={**WIDE, **keys}).limits, shard, Counter(sent))


def line(number, *, place=1, days=20, **changes):
    return planned(
        number,
        source=Source.INVITES,
        project_id=PLACES[place].id,
        project_name=PLACES[place].name,
        age=timedelta(days=days),
        **changes,
    )


def lines(**in_places):
    """Return so many invitations of each place, the oldest first: `lines(p1=3, p2=1)`."""
    places = [int(name[1:]) for name, number in in_places.items() for _ in range(number)]
    return [line(n, place=place, days=90 - n) for n, place in enumerate(places, start=1)]


def trimmed(limits, deletable, seen=1_000):
    """Return the number of each invitation that waits, with the key of its limit."""
    left = limits.trim(deletable, seen, NOW)
    return {int(key[3], 16): limit.reason.value for key, limit in left.items()}


def exceeded(limits, deletions, seen=1_000, deletable=None):
    found = limits.exceeded(deletions, seen, len(deletions) if deletable is None else deletable)
    return {each.limit.reason.value: each for each in found}


# One limit ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("most", "used", "left"), [(5, 0, 5), (5, 4, 1), (5, 5, 0), (5, 6, 0), (0, 0, 0)]
)
def test_limit_still_allows_what_is_not_used_and_never_less_than_none(most, used, left):
    assert Limit(Reason.MAX_DELETIONS, most, used).left == left


def test_limit_is_named_by_its_key_its_place_and_its_use():
    labels = {ORG: "Alpha", OTHER_ORG: "Beta"}
    in_all = Limit(Reason.MAX_DELETIONS, 2_000, 1_500)
    in_place = Limit(Reason.MAX_DELETIONS_PER_PROJECT, 5, 2, PLACES[1])
    assert in_all.describe(labels) == "max_deletions"
    assert in_all.describe_use(labels) == "max_deletions (1,500 of 2,000 used)"
    place = f"max_deletions_per_project in project p1 ({FIRST}) of Alpha"
    assert in_place.describe_use(labels) == f"{place} (2 of 5 used)"


@pytest.mark.parametrize(
    ("place", "labels", "expected"),
    [
        (PLACES[1], {}, f"project p1 ({FIRST})"),
        (PLACES[1], {ORG: "Alpha"}, f"project p1 ({FIRST})"),
        (PLACES[1], {ORG: "Alpha", OTHER_ORG: "Beta"}, f"project p1 ({FIRST}) of Alpha"),
        (PLACES[1], {OTHER_ORG: "Beta", "x": "X"}, f"project p1 ({FIRST}) of {ORG}"),
        (Project(FIRST, "p\n1", ""), {ORG: "A", "x": "X"}, f"project p[U+000A]1 ({FIRST})"),
        (Project.of_organization(ORG), {ORG: "Alpha"}, "the lists of Alpha"),
        (Project.of_organization(ORG), {}, f"the lists of {ORG}"),
    ],
)
def test_place_is_named_and_its_organization_only_beside_others(place, labels, expected):
    assert describe_place(place, labels) == expected


# What a run may delete ---------------------------------------------------------------------------


def test_what_earlier_runs_sent_counts_in_its_place_and_in_all_places_together():
    limits = limits_of({1: 3, 2: 4}, max_deletions=10, max_deletions_per_project=5)
    assert limits.max_deletions == Limit(Reason.MAX_DELETIONS, 10, 7)
    used = {number: limits.in_place(place).used for number, place in PLACES.items()}
    assert used == {1: 3, 2: 4, 3: 0}
    in_place = Limit(Reason.MAX_DELETIONS_PER_PROJECT, 5, 3, PLACES[1])
    assert limits.in_place(PLACES[1]) == in_place


@pytest.mark.parametrize(("index", "part"), [(1, 4), (2, 3), (3, 3)])
def test_shard_has_its_part_of_what_counts_in_all_places_and_the_whole_of_a_project(index, part):
    limits = limits_of(
        shard=Shard(index, 3),
        max_deletions=10,
        max_deletions_per_project=10,
        max_unreadable_projects=10,
    )
    assert (limits.max_deletions.most, limits.max_unreadable) == (part, part)
    assert limits.in_place(PLACES[1]).most == 10
    assert limits.max_share(100, part) is None
    assert limits.max_share(100, part + 1) is not None


@pytest.mark.parametrize(
    # Deletions of a share of 0.5, of 40 seen; None where it is ignored.
    ("sent", "deletable", "most"),
    [(0, 10, None), (0, 11, 20), (4, 6, None), (4, 7, 22), (10, 0, None), (11, 0, 25)],
)
def test_share_is_of_the_seen_and_the_sent_where_they_and_the_deletable_are_over_ten(
    sent, deletable, most
):
    found = limits_of({1: sent}, max_share=0.5).max_share(40, deletable)
    assert found == (None if most is None else Limit(Reason.MAX_SHARE, most, sent))


@pytest.mark.parametrize(
    ("share", "seen", "most"), [(0.29, 100, 29), (0.29, 99, 28), (0.07, 100, 7), (0.0, 50, 0)]
)
def test_share_is_exact_and_rounded_down(share, seen, most):
    assert limits_of(max_share=share).max_share(seen, 11).most == most


# What fits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [0, 2])
@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"max_deletions": 6}, "max_deletions"),
        ({"max_deletions_per_project": 6}, "max_deletions_per_project"),
        ({"max_share": 0.5}, "max_share"),
    ],
)
def test_as_many_fit_as_a_limit_leaves_and_not_one_more(keys, reason, sent):
    limits = limits_of({1: sent}, **keys)
    # Of a share: half of the 24 that were read or sent, of which more than 10 would go.
    most = 12 if reason == "max_share" else 6
    fits = most - sent
    assert trimmed(limits, lines(p1=13), 24 - sent) == dict.fromkeys(range(fits + 1, 14), reason)
    found = exceeded(limits, lines(p1=fits), 24 - sent, deletable=13)
    assert found == {}
    found = exceeded(limits, lines(p1=fits + 1), 24 - sent, deletable=13)
    assert list(found) == [reason]


def test_the_tighter_of_the_limits_of_all_places_is_what_an_invitation_waits_for():
    both = {"max_deletions": 6, "max_share": 0.2}
    assert set(trimmed(limits_of(**both), lines(p1=11), 40).values()) == {"max_deletions"}
    assert set(trimmed(limits_of(**both), lines(p1=11), 29).values()) == {"max_share"}


def test_a_place_that_is_full_leaves_its_part_to_others_and_is_named_before_the_limit_of_all():
    limits = limits_of(max_deletions=3, max_deletions_per_project=2)
    found = trimmed(limits, lines(p1=4, p2=3))
    in_place = dict.fromkeys((3, 4), "max_deletions_per_project")
    assert found == in_place | dict.fromkeys((6, 7), "max_deletions")


def test_the_oldest_fit_first_then_the_lower_id_and_those_without_a_date_last():
    limits = limits_of(max_deletions=1)
    undated = line(1, days=0, created_at=None)
    young = line(3, days=1)
    first, second = line(4, days=30), line(5, days=30)
    for fits, rest in (
        (first, (undated, young, second)),
        (second, (young, undated)),
        (young, (undated,)),
    ):
        waiting = limits.trim([*rest, fits], 1_000, NOW)
        assert set(waiting) == {each.key for each in rest}


def test_of_two_places_with_the_same_id_and_date_the_lower_place_fits():
    one, two = line(7, place=1), line(7, place=2)
    for order in ([one, two], [two, one]):
        assert set(limits_of(max_deletions=1).trim(order, 1_000, NOW)) == {two.key}


# What does not fit -------------------------------------------------------------------------------


def test_a_limit_that_is_exceeded_has_the_value_with_which_it_would_not_be():
    deletions = lines(p1=12)
    found = exceeded(limits_of({1: 3}, max_deletions=14), deletions)
    in_all = Limit(Reason.MAX_DELETIONS, 14, 3)
    assert found == {"max_deletions": Exceeded(in_all, 12, 15)}
    found = exceeded(limits_of({1: 3}, max_deletions_per_project=14), deletions)
    in_place = Limit(Reason.MAX_DELETIONS_PER_PROJECT, 14, 3, PLACES[1])
    assert found == {"max_deletions_per_project": Exceeded(in_place, 12, 15)}
    # 15 of 40 are 37.5 percent: the whole percent above. 15 of 50 are 30.
    for seen, most, needed in ((37, 4, 0.38), (47, 5, 0.3)):
        found = exceeded(limits_of({1: 3}, max_share=0.1), deletions, seen)
        assert found == {"max_share": Exceeded(Limit(Reason.MAX_SHARE, most, 3), 12, needed)}


def test_share_counts_the_deletable_and_not_only_what_is_to_go():
    limits = limits_of(max_share=0.1)
    assert exceeded(limits, lines(p1=10), seen=20) == {}
    assert list(exceeded(limits, lines(p1=10), seen=20, deletable=11)) == ["max_share"]


def test_of_the_places_that_exceed_their_limit_the_worst_is_named_with_the_number_of_others():
    limits = limits_of({2: 4}, max_deletions_per_project=2)
    (found,) = exceeded(limits, lines(p1=5, p2=3, p3=2)).values()
    assert (found.limit.place.id, found.deletions, found.needed) == (SECOND, 3, 7)
    assert found.other_places == 1
    (found,) = exceeded(limits, lines(p1=3, p3=2)).values()
    assert (found.limit.place.id, found.other_places) == (FIRST, 0)


def test_no_deletion_exceeds_nothing_whatever_earlier_runs_sent():
    keys = {"max_deletions": 0, "max_deletions_per_project": 0, "max_share": 0.0}
    limits = limits_of({1: 50}, **keys)
    assert exceeded(limits, [], deletable=20) == {}
    assert sorted(exceeded(limits, lines(p1=1))) == sorted(keys)
    assert len(trimmed(limits, lines(p1=1))) == 1


# How long the rest takes -------------------------------------------------------------------------


def backlog(limits, deletable, seen=1_000):
    return limits.backlog(limits.trim(deletable, seen, NOW), seen, len(deletable))


@pytest.mark.parametrize(("stale", "nights"), [(4, 1), (6, 1), (7, 2), (9, 2), (10, 3)])
def test_nights_are_what_is_left_by_what_one_run_may_delete_rounded_up(stale, nights):
    limit = Limit(Reason.MAX_DELETIONS, 3, 0)
    assert backlog(limits_of(max_deletions=3), lines(p1=stale)) == Backlog(limit, nights)
    in_place = Limit(Reason.MAX_DELETIONS_PER_PROJECT, 3, 0, PLACES[1])
    found = backlog(limits_of(max_deletions_per_project=3), lines(p1=stale))
    assert found == Backlog(in_place, nights)


def test_nothing_is_left_where_all_fit_and_never_goes_where_a_limit_is_zero():
    assert backlog(limits_of(max_deletions=3), lines(p1=3)) is None
    found = backlog(limits_of(max_deletions=0), lines(p1=3))
    assert found == Backlog(Limit(Reason.MAX_DELETIONS, 0, 0), None)


def test_the_limit_that_takes_longest_binds_and_one_that_holds_nothing_back_may_take_longer():
    limits = limits_of(max_deletions_per_project=2)
    found = backlog(limits, lines(p1=4, p2=9, p3=5))
    assert (found.limit.place.id, found.nights) == (SECOND, 4)
    # 8 wait for the place, which would let them go in one night; 3 a night may go in all.
    limits = limits_of({1: 8}, max_deletions=11, max_deletions_per_project=8, max_share=0.03)
    found = backlog(limits, lines(p1=8), seen=92)
    assert (found.limit.reason, found.nights) == (Reason.MAX_DELETIONS_PER_PROJECT, 3)
