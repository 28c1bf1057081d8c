"""What is told of lists, clocks and organizations, and how the lists are counted."""

from datetime import date

import pytest
from builders import ORG, OTHER_ORG, invitation, object_id, policy, project
from fakes import FakeAtlas

from invite_sweeper.doctor import (
    CheckState,
    clock_check,
    coverage_checks,
    list_checks,
    organization_checks,
    sunset_checks,
)
from invite_sweeper.errors import CredentialsRefused
from invite_sweeper.models import ListRef, ListUnreadable, ProjectGone, Source, SourceRetired
from invite_sweeper.sweep.discovery import MAX_LISTS, ListCounts, count_lists
from invite_sweeper.sweep.scope import RunScope

LIMITS = policy().limits


def places(count, source=Source.INVITES):
    return [ListRef(project(number), source) for number in range(1, count + 1)]


async def test_project_that_goes_meanwhile_counts_as_nothing_and_not_as_unreadable():
    atlas = FakeAtlas(
        lists={object_id(1): (invitation(1),)},
        list_results={object_id(2): ProjectGone(object_id(2), "P")},
    )
    census = await count_lists(atlas, places(2), workers=2)
    assert (census.lists_read, census.pending) == ({Source.INVITES: 1}, {Source.INVITES: 1})
    assert census.unreadable == []


async def test_list_that_has_ended_is_not_asked_for_again():
    ended = SourceRetired(object_id(1), "P", "Gone.", 410)
    atlas = FakeAtlas(list_results={object_id(number): ended for number in range(1, 4)})
    census = await count_lists(atlas, places(3), workers=1)
    assert (list(census.retired), atlas.requested) == ([Source.INVITES], [object_id(1)])


async def test_answer_about_the_run_ends_the_count_as_itself():
    atlas = FakeAtlas(list_results={object_id(1): CredentialsRefused("Not from here.")})
    with pytest.raises(CredentialsRefused, match="Not from here"):
        await count_lists(atlas, places(4), workers=4)


async def test_no_more_than_the_most_lists_are_asked_for_and_the_rest_is_told():
    atlas = FakeAtlas()
    census = await count_lists(atlas, places(MAX_LISTS + 2), workers=9)
    assert (len(atlas.requested), census.skipped) == (MAX_LISTS, 2)
    (_, last) = list_checks([Source.INVITES], census, LIMITS)
    assert last.state is CheckState.WARNING
    assert last.message.startswith("2 lists were not read")


def test_list_that_fails_for_another_reason_than_a_role_gives_that_reason():
    lost = ListUnreadable(object_id(1), "Vault", "Atlas answered 500.", 500)
    (check,) = list_checks([Source.INVITES], ListCounts(unreadable=[lost]), LIMITS)
    assert check.state is CheckState.WARNING
    assert check.message == "1 cannot be read: Vault. Atlas answered 500."


def test_answers_without_a_date_leave_the_clock_unknown():
    assert clock_check(None).state is CheckState.WARNING


def test_source_without_an_end_is_named_beside_the_one_that_has_one():
    day, today = date(2027, 7, 1), date(2026, 11, 25)
    sources = [Source.INVITES, Source.USERS]
    *_, last = sunset_checks({Source.INVITES: day}, sources, today)
    assert last.message == "Lists without a sunset date from Atlas: users."
    *_, last = sunset_checks(dict.fromkeys(sources, day), sources, today)
    assert last.message == "Every list of the policy has a sunset date; the first is 2027-07-01."


def test_unnamed_list_that_cannot_be_read_is_told_and_nothing_is_said_of_whom_it_holds():
    lost = ListUnreadable(object_id(1), "Vault", "401.", 401, source=Source.USERS)
    checks = list(
        coverage_checks(1, [], ListCounts(), ListCounts(), ListCounts(unreadable=[lost, lost]))
    )
    assert [check.state for check in checks] == [CheckState.OK, CheckState.OK]
    assert checks[-1].message == "The list users, not among sources, cannot be read in 2."


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("USER_UNAUTHORIZED", "The role is missing in 1: Vault."),
        ("UNEXPECTED_ERROR", "1 cannot be read: Vault. 401."),
        (None, "1 cannot be read: Vault. 401."),
    ],
)
def test_role_is_missed_only_where_a_401_names_one(code, said):
    lost = ListUnreadable(object_id(1), "Vault", "401.", 401, code)
    (only,) = list_checks([Source.INVITES], ListCounts(unreadable=[lost]), LIMITS)
    assert (only.state, only.message) == (CheckState.WARNING, said)


def test_projects_of_another_organization_in_sight_are_told_and_are_no_trouble():
    foreign = [project(number, org_id=OTHER_ORG) for number in (1, 2)]
    told = organization_checks(policy(), RunScope((project(3),), organizations=(ORG,)), foreign)
    *_, last = told
    assert last.state is CheckState.OK
    assert last.message.startswith("2 projects of other organizations are visible and ignored")
    assert OTHER_ORG in last.message
