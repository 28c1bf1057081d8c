"""The population guard: projects, all entries, those of each list, and what is waived."""

import pytest
from builders import ORG, OTHER_ORG, object_id, policy, project
from hypothesis import given
from hypothesis import strategies as st
from sweep.night import Earlier, command_of

from invite_sweeper.audit import CompleteRun
from invite_sweeper.counts import Counts
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import ListRef, ListUnreadable, Source, SourceRetired
from invite_sweeper.sweep.organization import AtlasOrganization, Reading
from invite_sweeper.sweep.population import check_population, drop_of_members
from invite_sweeper.sweep.scope import RunScope
from invite_sweeper.text import pluralize


def rules(drop=0.3, sources=tuple(Source)):
    limits = {"max_population_drop": drop}
    return policy(limits=limits, sources=list(map(str, sources)), organizations=[ORG, OTHER_ORG])


def organization(
    org_id=ORG,
    *,
    projects=100,
    gone=0,
    unread=(),
    retired=(),
    excluded=(),
    place=1,
    expiring=None,
    **by_source,
):
    """Return what a run read of an organization, with this number of entries of each source."""
    return Reading(
        AtlasOrganization(org_id, None),
        scope=RunScope(org_id, excluded=[*map(project, excluded)]),
        counts=Counts(projects_seen=projects, projects_gone=gone),
        entries={
            ListRef(project(place), Source(source)): count for source, count in by_source.items()
        },
        expiring={ListRef(project(place), Source(source)): expiring or {} for source in by_source},
        unread=tuple(
            ListUnreadable(object_id(number), "p", "503", source=source, org_id=org_id)
            for source, number in unread
        ),
        retired={each: SourceRetired("", "", "410", source=each) for each in retired},
    )


def before(org_id=ORG, *, projects=100, **by_source):
    """Return what the last complete run left: the entries of a source are in one project."""
    entries = {(source, org_id, object_id(1)): count for source, count in by_source.items()}
    return CompleteRun({org_id: projects}, entries)


def both(one, other):
    return CompleteRun({**one.projects, **other.projects}, {**one.entries, **other.entries})


def check(was, *now, **keys):
    check_population(now, command_of(rules(**keys), history=Earlier(left=was)))


def refusal(was, *now, **keys):
    with pytest.raises(GuardRefused) as caught:
        check(was, *now, **keys)
    assert caught.value.reasons == (Reason.MAX_POPULATION_DROP,)
    assert "--accept-population" in caught.value.hint
    return caught.value.message


def test_drop_is_named_with_both_numbers():
    assert refusal(before(invites=100), organization(projects=69, invites=100)) == (
        "69 projects were found, 100 before: the drop is over max_population_drop: 0.3."
    )
    assert refusal(before(projects=20), organization(projects=1)).startswith("1 project was found,")
    found = refusal(before(invites=2000), organization(invites=1))
    assert found.startswith("1 unexpired entry was found, 2,000 before: ")


@pytest.mark.parametrize(
    ("was", "now", "drop", "allowed"),
    [
        (11, 11, 0, True),
        (11, 10, 0, False),
        (10, 0, 0, True),  # too few to compare
        (11, 0, 1, True),
        (100, 70, 0.3, True),
        (100, 69, 0.3, False),
        (100, 71, 0.29, True),
        (100, 70, 0.29, False),
        (100, 1000, 0, True),
    ],
)
def test_drop_is_inclusive_and_exact_and_numbers_up_to_10_are_not_compared(was, now, drop, allowed):
    for then, found in (
        (before(projects=was), organization(projects=now)),
        (before(projects=was), organization(projects=max(was, now), gone=max(was - now, 0))),
        (before(invites=was), organization(invites=now)),
    ):
        (check if allowed else refusal)(then, found, drop=drop)


def test_each_source_is_compared_alone_and_all_of_them_together():
    was = before(invites=100, users=11)
    assert refusal(was, organization(invites=100, users=0)).startswith(
        "0 unexpired entries in the list users were found, 11 before: "
    )
    refusal(was, organization(invites=100))  # a source without any entry
    small = before(invites=5, users=5, org_users=5)
    assert refusal(small, organization(invites=5)).startswith(
        "5 unexpired entries were found, 15 before"
    )
    refusal(before(invites=100), organization(invites=50, users=50))  # what is new does not count


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(
    ("days", "allowed"),
    [
        ({}, True),
        ({"2026-11-26": 31}, True),  # tomorrow
        ({"2026-11-25": 30, "2026-11-26": 70}, True),
        ({"2026-11-25": 31}, False),
        ({"2026-11-24": 20, "2026-01-01": 11}, False),
    ],
)
def test_entries_that_have_expired_make_up_for_no_drop_of_the_others(source, days, allowed):
    found = organization(expiring=days, **{source.value: 100})
    (check if allowed else refusal)(before(**{source.value: 100}), found)


def test_list_that_is_retired_or_not_read_now_is_waived_alone():
    was = before(invites=100, users=50)
    gone = [Source.USERS]
    check(was, organization(invites=100, retired=gone))
    refusal(was, organization(invites=69, retired=gone))
    refusal(was, organization(invites=100, retired=[Source.ORG_USERS]))
    refusal(was, organization(projects=69, invites=100, retired=[Source.INVITES, Source.USERS]))
    was = CompleteRun({}, {("users", ORG, object_id(1)): 50, ("users", ORG, object_id(2)): 50})
    check(was, organization(users=50, unread=[(Source.USERS, 1)]))
    refusal(was, organization(users=34, unread=[(Source.USERS, 1)]))
    refusal(was, organization(users=50, unread=[(Source.INVITES, 1)]))


def test_numbers_of_several_organizations_are_added_up():
    was = both(before(projects=8, invites=8), before(OTHER_ORG, projects=8, invites=8))
    now = [organization(projects=8, invites=6), organization(OTHER_ORG, projects=8, invites=5)]
    assert refusal(was, *now).startswith("11 unexpired entries were found, 16 before")
    now = [organization(projects=6, invites=8), organization(OTHER_ORG, projects=5, invites=8)]
    assert refusal(was, *now).startswith("11 projects were found")


def test_organization_that_was_not_known_or_is_not_asked_changes_nothing():
    new = organization(OTHER_ORG, projects=50, invites=50)
    check(before(invites=100), organization(invites=100), new)
    refusal(before(invites=100), organization(projects=60, invites=60), new)
    was = both(before(invites=100), before(OTHER_ORG, invites=100))
    check(was, organization(invites=100))  # the other one failed


# Another scope -----------------------------------------------------------------------------------


def elsewhere(**given):
    """Return what only a run of another scope left."""
    return before(**given)._replace(other_scope=frozenset({ORG}))


def test_visible_projects_are_compared_with_those_of_another_scope():
    check(elsewhere(), organization(projects=20, excluded=range(50)))
    assert refusal(elsewhere(), organization(projects=20, excluded=range(49))).startswith("69 proj")


def test_project_that_left_the_scope_of_the_same_policy_is_part_of_the_drop():
    refusal(before(), organization(projects=60, excluded=range(50)))
    refusal(before(invites=100), organization(place=2, invites=60, excluded=[1]))


def test_entries_of_lists_that_the_policy_leaves_out_now_are_not_compared():
    was = elsewhere(invites=50, users=50)
    check(was, organization(users=50), sources=["users"])
    check(was, organization(place=2, users=1, excluded=[1]))
    assert refusal(was, organization(users=34), sources=["users"]).startswith(
        "34 unexpired entries"
    )


def test_entries_of_lists_that_are_new_do_not_make_up_for_a_drop():
    was = elsewhere(users=50)
    refusal(was, organization(place=2, users=50))
    check(before(users=50), organization(place=2, users=50))  # of the same scope, they moved
    check(was, organization(users=35))


# Without an earlier run, and members --------------------------------------------------------------


@pytest.mark.parametrize(
    ("listed", "gone", "allowed"),
    [(100, 30, True), (100, 31, False), (10, 10, True), (11, 4, False)],
)
def test_projects_gone_that_were_just_listed_are_a_drop(listed, gone, allowed):
    found = organization(projects=listed, gone=gone)
    for was in (None, before(projects=1)):
        (check if allowed else refusal)(was, found)


def test_drop_that_was_accepted_is_not_compared():
    given = command_of(rules(), history=Earlier(left=before()), accept_population=True)
    check_population([organization(projects=50, gone=50)], given)


@pytest.mark.parametrize(
    ("was", "now", "drop", "allowed"),
    [
        *((100, 70, 0.3, True), (100, 69, 0.3, False), (100, 71, 0.29, True)),
        *((100, 70, 0.29, False), (4, 3, 0.3, True), (4, 1, 0.3, False), (1, 0, 1, True)),
        *((100, 200, 0, True), (100, 99, 0, False), (100, 100, 0, True), (1, 0, 0, False)),
    ],
)
def test_members_who_dropped_are_not_believed_however_few(was, now, drop, allowed):
    """Each invitation by a member who is missing would be stale."""
    options = {"history": Earlier(members={ORG: was})}
    accepting = command_of(rules(drop), accept_population=True, **options)
    assert drop_of_members(ORG, now, accepting) == ""
    assert drop_of_members(OTHER_ORG, now, command_of(rules(drop), **options)) == ""  # not known
    found = drop_of_members(ORG, now, command_of(rules(drop), **options))
    assert (found == "") is allowed
    counted = f"{pluralize(now, 'active member')} "
    assert allowed or (found.startswith(counted) and f"found, {was} before: the drop" in found)


numbers = st.dictionaries(st.sampled_from(["invites", "users", "org_users"]), st.integers(0, 200))


@given(numbers, numbers, st.integers(0, 100), st.sets(st.sampled_from(Source)))
def test_population_is_accepted_exactly_if_no_part_of_it_dropped_by_more(
    was, now, percent, retired
):
    compared = {name: count for name, count in was.items() if name not in retired and count}
    parts = [(count, now.get(name, 0)) for name, count in compared.items()]
    parts.append((sum(compared.values()), sum(now.get(name, 0) for name in compared)))
    allowed = all(a <= 10 or 100 * (a - b) <= percent * a for a, b in parts)
    then = before(**{name: count for name, count in was.items() if count})
    found = organization(retired=retired, **now)
    (check if allowed else refusal)(then, found, drop=percent / 100)
