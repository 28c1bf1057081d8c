"""Checks of lists, clock and organizations, and how the lists are counted."""

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


def lists(count, source=Source.INVITES):
    return [ListRef(project(number), source) for number in range(1, count + 1)]


async def test_project_deleted_meanwhile_is_neither_counted_nor_unreadable():
    atlas = FakeAtlas(
        lists={object_id(1): (invitation(1),)},
        list_results={object_id(2): ProjectGone(object_id(2), "P")},
    )
    counts = await count_lists(atlas, lists(2), workers=2)
    assert (counts.lists_read, counts.pending) == ({Source.INVITES: 1}, {Source.INVITES: 1})
    assert counts.unreadable == []


async def test_retired_list_is_not_read_again():
    ended = SourceRetired(object_id(1), "P", "Gone.", 410)
    atlas = FakeAtlas(list_results={object_id(number): ended for number in range(1, 4)})
    counts = await count_lists(atlas, lists(3), workers=1)
    assert (list(counts.retired), atlas.requested) == ([Source.INVITES], [object_id(1)])


async def test_fatal_error_ends_the_count():
    atlas = FakeAtlas(list_results={object_id(1): CredentialsRefused("Not from here.")})
    with pytest.raises(CredentialsRefused, match="Not from here"):
        await count_lists(atlas, lists(4), workers=4)


async def test_at_most_max_lists_are_read_and_the_rest_is_reported():
    atlas = FakeAtlas()
    counts = await count_lists(atlas, lists(MAX_LISTS + 2), workers=9)
    assert (len(atlas.requested), counts.skipped) == (MAX_LISTS, 2)
    (_, last) = list_checks([Source.INVITES], counts, LIMITS)
    assert last.state is CheckState.WARNING
    assert last.message.startswith("2 lists were not read")


def test_unreadable_list_shows_a_reason_other_than_a_role():
    unreadable = ListUnreadable(object_id(1), "Vault", "Atlas answered 500.", 500)
    (check,) = list_checks([Source.INVITES], ListCounts(unreadable=[unreadable]), LIMITS)
    assert check.state is CheckState.WARNING
    assert check.message == "1 cannot be read: Vault. Atlas answered 500."


def test_responses_without_a_date_leave_the_clock_unknown():
    assert clock_check(None).state is CheckState.WARNING


def test_source_without_a_sunset_is_named_beside_one_with_a_sunset():
    day, today = date(2027, 7, 1), date(2026, 11, 25)
    sources = [Source.INVITES, Source.USERS]
    *_, last = sunset_checks({Source.INVITES: day}, sources, today)
    assert last.message == "Lists without a sunset date from Atlas: users."
    *_, last = sunset_checks(dict.fromkeys(sources, day), sources, today)
    assert last.message == "Every list of the policy has a sunset date; the first is 2027-07-01."


def test_unreadable_list_outside_the_sources_is_reported_without_a_count():
    unreadable = ListUnreadable(object_id(1), "Vault", "401.", 401, source=Source.USERS)
    checks = list(
        coverage_checks(
            1, [], ListCounts(), ListCounts(), ListCounts(unreadable=[unreadable, unreadable])
        )
    )
    assert [check.state for check in checks] == [CheckState.OK, CheckState.OK]
    assert checks[-1].message == "The list users, not among sources, cannot be read in 2."


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("USER_UNAUTHORIZED", "The role is missing in 1: Vault."),
        ("UNEXPECTED_ERROR", "1 cannot be read: Vault. 401."),
        (None, "1 cannot be read: Vault. 401."),
    ],
)
def test_role_is_missing_only_if_a_401_has_a_role_error(code, message):
    unreadable = ListUnreadable(object_id(1), "Vault", "401.", 401, code)
    (only,) = list_checks([Source.INVITES], ListCounts(unreadable=[unreadable]), LIMITS)
    assert (only.state, only.message) == (CheckState.WARNING, message)


def test_visible_projects_of_another_organization_are_reported_as_ok():
    foreign = [project(number, org_id=OTHER_ORG) for number in (1, 2)]
    checks = organization_checks(
        policy(), RunScope((project(3),), organizations=(ORG,)), foreign, {}
    )
    *_, last = checks
    assert last.state is CheckState.OK
    assert last.message.startswith("2 projects of other organizations are visible and ignored")
    assert OTHER_ORG in last.message
