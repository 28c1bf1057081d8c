"""Checks of lists, clock and organizations, and how the lists are counted."""

from datetime import UTC, date, datetime, timedelta

import pytest
from builders import ORG, OTHER_ORG, invitation, object_id, policy, project
from fakes import FakeAtlas

from invite_sweeper.doctor.atlas import clock_check, coverage_checks, list_checks, sunset_checks
from invite_sweeper.doctor.diagnosis import CheckState, Diagnosis, failed, note, ok, warning
from invite_sweeper.doctor.setup import organization_checks
from invite_sweeper.errors import CredentialsRefused, GuardRefused
from invite_sweeper.models import ListRef, ListUnreadable, ProjectGone, Source, SourceRetired
from invite_sweeper.sweep.discovery import MAX_LISTS, ListCounts, count_lists
from invite_sweeper.sweep.scope import RunScope

LIMITS = policy().limits
DAY = timedelta(days=1)
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def lists(count, source=Source.INVITES):
    return [ListRef(project(number), source) for number in range(1, count + 1)]


async def test_project_deleted_meanwhile_is_neither_counted_nor_unreadable():
    atlas = FakeAtlas(
        lists={object_id(1): (invitation(1, source=Source.INVITES),)},
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
        ("USER_UNAUTHORIZED", "The role is missing in 1 project: Vault."),
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


@pytest.mark.parametrize(
    ("left", "state", "text"),
    [
        (181, "note", "Atlas stops serving this list on 2027-07-01, in 181 days."),
        (180, "warning", "Atlas stops serving this list on 2027-07-01, in 180 days."),
        (1, "warning", "Atlas stops serving this list on 2027-07-01, in 1 day."),
        (0, "warning", "Atlas announced 2027-07-01 as the last day of this list."),
    ],
)
def test_sunset_of_a_list_in_use_is_a_note_and_a_warning_from_180_days_before(left, state, text):
    day = date(2027, 7, 1)
    first, *_ = sunset_checks({Source.INVITES: day}, [Source.INVITES], day - left * DAY)
    assert (first.state, first.message) == (state, text)
    assert first.hint == "Under sources, write users and org_users instead of invites."


def test_sunset_of_a_list_that_the_policy_does_not_use_is_ok():
    day = date(2027, 7, 1)
    first, *_ = sunset_checks({Source.INVITES: day}, [Source.USERS], day - DAY)
    assert first.state is CheckState.OK
    assert first.message.endswith("The policy does not use it.")


REFUSED = failed("clock", GuardRefused("Off."))


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [
        ([ok("a", ""), note("b", "")], f"All checks passed: a sweep of Acme ({ORG}) would run."),
        (
            [warning("a", ""), warning("b", "")],
            (
                f"2 warnings: a sweep of Acme ({ORG}) would run, but may not do everything that "
                "is expected."
            ),
        ),
        (
            [warning("a", ""), REFUSED, note("b", "")],
            (
                f"1 warning, 1 failed: a sweep of Acme ({ORG}) would end with exit code 3 (refused "
                "by a guard, nothing was deleted)."
            ),
        ),
    ],
)
def test_verdict_counts_what_needs_attention_and_says_what_a_sweep_would_do(checks, verdict):
    assert Diagnosis(NOW, checks, {ORG: "Acme"}).verdict == verdict


@pytest.mark.parametrize(("count", "named"), [(3, True), (4, False)])
def test_verdict_names_up_to_3_organizations(count, named):
    organizations = {object_id(number): None for number in range(count)}
    verdict = Diagnosis(NOW, [REFUSED], organizations).verdict
    assert (object_id(0) in verdict) is named
    assert ("of 4 organizations" in verdict) is not named


def test_clock_difference_is_in_units_that_suit_it():
    assert clock_check(0.4).message == "This machine's clock agrees with Atlas's."
    assert "2 days ahead of" in clock_check(2 * 86_400.0).message
