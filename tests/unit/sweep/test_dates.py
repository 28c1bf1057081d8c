"""The one date of an invitation: from which day on a sweep may end it, as the nights then do."""

from datetime import UTC, datetime, time, timedelta

import pytest
from builders import DAY, HOUR, NOW, ORG, entry_of, object_id, policy, project
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sweep.night import Night, QuietView, command_of

from invite_sweeper.audit import AuditDirectory, History
from invite_sweeper.models import Source
from invite_sweeper.sweep.dates import Dates
from invite_sweeper.sweep.discovery import read_and_decide
from invite_sweeper.sweep.plan import AtlasOrganization
from invite_sweeper.sweep.result import Result
from invite_sweeper.sweep.selection import Selector
from invite_sweeper.sweep.steps import Notice

YOUNG = {"name": "young", "older_than": "3d", "statuses": ["PENDING"]}
ENDED = {"name": "ended", "older_than": "20d", "expired": True}


def dated(entry, **keys):
    rules = policy(**keys)
    selector = Selector(rules, NOW)
    notice = Notice({}, rules.notice.wait, NOW) if rules.notice else None
    return Dates(rules, selector, NOW, notice), selector.decide(entry)


def test_invitation_is_stale_since_it_was_kept_last_and_not_since_an_earlier_time():
    """Pending it was stale after 3 days, from its end after 10 days on kept until it was 20."""
    entry = entry_of(Source.INVITES, age=25 * DAY, expires_at=NOW - 15 * DAY)
    dates, decision = dated(entry, rules=[YOUNG, ENDED])
    assert dates.stale_from(decision) == (NOW - 5 * DAY, "ended")


def goes_at(entry, **keys):
    dates, decision = dated(entry, **keys)
    found = dates.goes_at(decision)
    return None if found is None else f"{found:%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("until", "notice", "day"),
    [
        ("9999-12-30", {}, "9999-12-31 00:00"),
        ("9999-12-30", {"notice": {"wait": "1d"}}, None),
        ("9999-12-29", {"notice": {"wait": "1d"}}, "9999-12-30 23:00"),
        ("9999-12-31", {}, None),
    ],
)
def test_what_is_kept_until_the_last_days_of_the_calendar_has_no_day_after_them(until, notice, day):
    keep = [{"name": "for good", "usernames": ["*"], "until": until}]
    assert goes_at(entry_of(Source.INVITES, age=40 * DAY), keep=keep, **notice) == day


@pytest.mark.parametrize(("length", "day"), [(1024, "2026-11-29 01:00"), (1025, None)])
def test_what_the_audit_log_cannot_record_has_no_day(length, day):
    assert goes_at(entry_of(Source.INVITES, age=10 * DAY, username="x" * length)) == day


def test_what_a_list_that_was_not_read_keeps_has_no_day():
    rules = [{"name": f"{days}", "older_than": f"{days}d"} for days in (14, 50)]
    dates, stale = dated(entry_of(Source.ORG_USERS, age=40 * DAY), rules=rules)
    assert dates.goes_at(stale.keep("list_unread")) is None


IN_LISTS = [Source.ORG_USERS, Source.ORG_INVITES, Source.USERS, Source.USERS]


def entries_of_a_person(ages, lasts_days=None):
    """Return the entries of a person: in the organization, and in two projects."""
    found = []
    for number, (source, age) in enumerate(zip(IN_LISTS, ages, strict=True), start=1):
        if age is None:
            continue
        place = {"project_id": object_id(number), "project_name": f"p{number}"}
        names = {"project_roles": (), "linked_projects": ()}
        where = names if source.is_organization_level else place
        ends = None if lasts_days is None else NOW - age + lasts_days * DAY
        of_one = {"username": "ada@example.com", "age": age, "expires_at": ends}
        found.append(entry_of(source, number, **where, **of_one))
    return found


def night_over_person(directory, entries, **keys):
    """Return nights over one organization whose lists show these entries."""
    night = Night(directory, 0, sources=["org_users", "org_invites", "users"], **keys)
    (atlas,) = night.atlases
    atlas.listed = [project(number, name=f"p{number}") for number in (3, 4)]
    atlas.show(*entries)
    return night


async def survey(night, at=NOW):
    """Return what a dry run decides, and the dates."""
    given = {"now": at, "history": History.read(night.directory, at)}
    command = command_of(night.policy, dry_run=True, **given)
    organizations = [AtlasOrganization(ORG, night.atlases[0])]
    result = Result(command, organizations, QuietView())
    (decided,) = await read_and_decide(result, None)
    dates = Dates(night.policy, Selector(night.policy, at), at, command.notice)
    return decided, dates


BY_AGE = [
    {"name": "old", "older_than": "6d"},
    {"name": "ending", "older_than": "2d", "expires_within": "3d"},
    {"name": "expired", "older_than": "1d", "expired": True},
    {"name": "pending", "older_than": "2d", "statuses": ["PENDING"]},
]
FOR_NOW = [
    {"name": "for now", "projects": ["p3"], "until": (NOW + 2 * DAY).date()},
    {"name": "young", "usernames": ["*"], "until": (NOW + 3 * DAY).date()},
    {"name": "at last", "projects": ["p3"], "older_than": "8d"},
    {"name": "over", "projects": ["p4"], "expired": True},
]
LATE = {"name": "late", "older_than": "9d"}
JOINS = (5, None, 9, None)
MIDNIGHT = datetime.combine(NOW.date(), time(), UTC)
"""Of these nights, so that a keep entry ends at the instant of a sweep, as all else does."""
LAST_NIGHT = 17


@settings(max_examples=12)
@given(
    ages=st.tuples(*[st.none() | st.integers(-2, 9)] * 4).filter(any),
    lasts_days=st.sampled_from([None, 5, 12]),
    rules=st.lists(st.sampled_from(BY_AGE), min_size=1, max_size=2, unique_by=str),
    keep=st.lists(st.sampled_from(FOR_NOW), max_size=1),
    wait_days=st.sampled_from([None, 1, 3, 4]),
    asked_in=st.integers(0, 4),
)
@example(JOINS, None, BY_AGE[:1], [], 3, 0).via("the role that waits joins the person tomorrow")
@example(JOINS, None, BY_AGE[:1], [], 3, 1).via("the same, announced before")
@example((0, None, None, 4), 5, BY_AGE[1:2], FOR_NOW[3:], None, 0).via("a role that is gone keeps")
@example((1, None, None, None), 5, BY_AGE[:2], [], 4, 0).via("what is kept meanwhile waits anew")
@example((1, None, None, None), 5, BY_AGE[:2], [], 4, 2).via("the same, announced before")
@example((9, None, None, None), None, BY_AGE[:1], FOR_NOW[1:2], None, 0).via("kept until a day")
@example((None, None, 7, None), None, [LATE], FOR_NOW[2:3], None, 0).via("kept from an age on")
@example((None, None, -2, None), None, BY_AGE[:1], [], None, 0).via("sent in the future")
async def test_each_instant_is_the_first_from_which_on_a_nightly_sweep_deletes(
    tmp_path_factory, ages, lasts_days, rules, keep, wait_days, asked_in
):
    """Also where entries of a person join the invitation or leave it during a notice."""
    ages = [None if age is None else age * DAY + (NOW - MIDNIGHT) for age in ages]
    entries = entries_of_a_person(ages, lasts_days)
    notice = {"notice": {"wait": f"{wait_days}d"}} if wait_days else {}
    directory = AuditDirectory(tmp_path_factory.mktemp("nights"))
    night = night_over_person(directory, entries, rules=rules, keep=keep, **notice)
    for number in range(asked_in):
        await night.run(at=MIDNIGHT + number * DAY)
    decided, dates = await survey(night, MIDNIGHT + asked_in * DAY)
    foretold = {decision.invitation: dates.goes_at(decision) for decision in decided.decisions}
    gone = {}
    # A wait is over an hour before midnight, and what makes it stale may end at midnight.
    days = (MIDNIGHT + number * DAY for number in range(asked_in, LAST_NIGHT + 1))
    nights = [at + early for at in days for early in (timedelta(), DAY - HOUR)]
    for at in nights:
        await night.run(at=at)
        left = {entry for found in night.atlases[0].lists.values() for entry in found}
        for entry in foretold:
            if entry.key not in {each.key for each in left}:
                gone.setdefault(entry, at)
        if not left:
            break
    for kept in decided.decisions if not notice else ():
        if not kept.stale:
            instant = foretold[kept.invitation]
            assert dates.stale_by(kept, MIDNIGHT + LAST_NIGHT * DAY) == instant
            since = dates.stale_from(kept)
            assert (since and since.instant) == instant
    for entry, instant in foretold.items():
        first = next((at for at in nights if instant is not None and at >= instant), None)
        assert gone.get(entry) == first


async def test_forecast_counts_what_goes_up_to_7_and_30_days_from_now(directory):
    """Each is 40 days old at an edge, an hour before it or an instant after it."""
    shifts = (-HOUR, timedelta(), timedelta.resolution)
    spans = [days * DAY + shift for days in (7, 30) for shift in shifts]
    entries = [
        entry_of(Source.USERS, number, age=40 * DAY - span, project_id=object_id(3))
        for number, span in enumerate(spans)
    ]
    rules = [{"name": "old", "older_than": "40d"}]
    decided, _ = await survey(night_over_person(directory, entries, rules=rules))
    assert (decided.dates.stale_within_7d, decided.dates.stale_within_30d) == (2, 5)
