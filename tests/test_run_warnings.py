"""The sentences beside the numbers, each at the day or the case that calls for it."""

from datetime import date, timedelta

import pytest
from builders import invitation, policy

from invite_sweeper.models import Source, SourceRetired
from invite_sweeper.sweep.summary import (
    removed_member_warning,
    retired_warning,
    sunset_warnings,
    unused_keep_warnings,
    unverified_warning,
)

TODAY = date(2026, 11, 25)


@pytest.mark.parametrize(
    ("days", "urgent"), [(180, False), (31, False), (30, True), (1, True), (0, True), (-9, True)]
)
def test_end_of_a_list_is_told_from_180_days_and_urgent_from_30(days, urgent):
    (warning,) = sunset_warnings({Source.INVITES: TODAY + timedelta(days=days)}, TODAY)
    assert warning.urgent is urgent
    assert "users and org_users instead of invites" in warning.text
    left = "in 1 day. " if days == 1 else f"in {days} days. "
    assert (left in warning.text) == (days > 0)


def test_end_that_is_further_off_is_not_told():
    assert sunset_warnings({Source.INVITES: TODAY + timedelta(days=181)}, TODAY) == ()
    assert sunset_warnings({}, TODAY) == ()


@pytest.mark.parametrize("source", Source)
def test_each_source_names_what_takes_its_place_or_an_upgrade(source):
    said = source.replacement_hint
    assert ("Upgrade" in said) == (source in {Source.USERS, Source.ORG_USERS})
    assert (f"instead of {source}." in said) == (source in {Source.INVITES, Source.ORG_INVITES})


def test_retired_list_is_urgent_and_says_the_hint():
    warning = retired_warning(
        SourceRetired("", "", "It is over.", 410, "VERSION_GONE", Source.ORG_INVITES)
    )
    assert warning == (f"It is over. {Source.ORG_INVITES.replacement_hint}", True)


def test_removed_member_without_an_address_is_named_by_its_id():
    one = invitation(7, username=None, project_name="")
    warning = removed_member_warning(one, "a log.jsonl", "run-1")
    assert warning.urgent
    assert warning.text.startswith(f"{one.id} accepted")
    assert one.org_id in warning.text
    assert warning.text.endswith("invite-sweeper restore 'a log.jsonl' --run run-1")


def test_users_that_could_not_be_looked_at_are_counted():
    assert unverified_warning(3).text.startswith("3 of the removed users")


@pytest.mark.parametrize(
    ("kept", "idle"),
    [
        ({"keep:board": 1, "keep:vendors": 2}, []),
        ({"keep:board": 1, "too_young": 5}, ["vendors"]),
        ({"too_young": 5}, ["board", "vendors"]),
    ],
)
def test_keep_entries_in_force_that_kept_nobody_are_told_and_ended_ones_are_not(kept, idle):
    keep = policy(
        keep=[
            {"name": "board", "usernames": ["*@board.exmaple.com"]},
            {"name": "vendors", "usernames": ["v@example.com"], "until": TODAY},
            {"name": "ended", "usernames": ["e@example.com"], "until": TODAY - timedelta(days=1)},
        ]
    ).keep
    told = [warning.text for warning in unused_keep_warnings(keep, kept, TODAY)]
    assert told == [f"The keep entry {name!r} kept nobody: is it spelt right?" for name in idle]
