"""The one date of an invitation: since when it is stale, or from when on if nothing changes."""

from datetime import timedelta

import pytest
from builders import NOW, entry_of, object_id, policy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from invite_sweeper.models import Source
from invite_sweeper.sweep.dates import FOREVER, StaleDates
from invite_sweeper.sweep.invitations import combine
from invite_sweeper.sweep.selection import Selector

DAY = timedelta(days=1)
ENDLESS = {"expires_at": None}
YOUNG = {"name": "young", "older_than": "3d", "statuses": ["PENDING"]}
ENDED = {"name": "ended", "older_than": "20d", "expired": True}


def stale_from(entry, *, until=FOREVER, **keys):
    """Return the days from now at which an entry becomes or became stale, and the rule."""
    rules = policy(**keys)
    selector = Selector(rules, NOW)
    found = StaleDates(rules, selector, NOW).stale_from(selector.decide(entry), until)
    return None if found is None else ((found.instant - NOW) / DAY, found.rule)


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(
    ("age", "days"), [(14, 0), (15, -1), (30, -16), (13, 1), (0, 14)], ids="{} days".format
)
def test_invitation_is_stale_from_the_instant_at_which_it_is_older_than_14_days(source, age, days):
    """Also where no key of the policy changes its answer at a later instant."""
    entry = entry_of(source, age=age * DAY, **ENDLESS)
    assert stale_from(entry) == (days, "forgotten")


def test_invitation_is_stale_since_it_was_kept_last_and_not_since_an_earlier_time():
    """Pending it was stale after 3 days, from its end after 10 days on kept until it was 20."""
    entry = entry_of(Source.INVITES, age=25 * DAY, expires_at=NOW - 15 * DAY)
    assert stale_from(entry, rules=[YOUNG, ENDED]) == (-5, "ended")


def test_what_was_stale_once_and_is_kept_now_has_its_next_date():
    entry = entry_of(Source.INVITES, age=15 * DAY, expires_at=NOW - 5 * DAY)
    assert stale_from(entry, rules=[YOUNG, ENDED]) == (5, "ended")
    assert stale_from(entry, rules=[YOUNG]) is None


def test_date_of_a_person_is_that_of_the_invitation_and_not_of_a_role_that_is_stale_sooner():
    """The role in the project is stale in a day, and then an invitation of its own."""
    user = entry_of(Source.ORG_USERS, age=8 * DAY, **ENDLESS)
    role = entry_of(Source.USERS, age=13 * DAY, **ENDLESS)
    selector = Selector(policy(), NOW)
    (kept,) = combine(map(selector.decide, (role, user)))
    assert kept.all_entries == (user, role)
    found = StaleDates(policy(), selector, NOW).stale_from(kept)
    assert found.instant == NOW + 6 * DAY


@pytest.mark.parametrize(
    ("until", "unread", "roles"),
    [(FOREVER, False, 1), (NOW + DAY, False, 1), (NOW + 0.9 * DAY, False, 0), (FOREVER, True, 0)],
)
def test_role_that_is_stale_sooner_than_the_person_has_a_date_of_its_own(until, unread, roles):
    """Where a list was not read, nothing is foretold of those whom it may hold."""
    user = entry_of(Source.ORG_USERS, age=8 * DAY, **ENDLESS)
    role = entry_of(Source.USERS, age=13 * DAY, **ENDLESS)
    second = entry_of(Source.USERS, age=7 * DAY, project_id=object_id(9), **ENDLESS)
    selector = Selector(policy(), NOW)
    (kept,) = combine(map(selector.decide, (role, user, second)))
    kept = kept.keep("list_unread") if unread else kept
    found = list(StaleDates(policy(), selector, NOW).roles_from(kept, until))
    # The younger role goes with the person or after it: it has no date of its own before.
    assert found == [(role, (NOW + DAY, "forgotten"))] * roles


@pytest.mark.parametrize(("until", "found"), [(4, (4, "forgotten")), (3.9, None)])
def test_nothing_is_asked_about_what_comes_after_the_last_instant(until, found):
    entry = entry_of(Source.INVITES, age=10 * DAY)
    assert stale_from(entry, until=NOW + until * DAY) == found


@pytest.mark.parametrize(("last_day", "days"), [(0, 1), (2, 3)])
def test_keep_entry_ends_with_its_last_day(last_day, days):
    """From midnight, in UTC, on."""
    keep = [{"name": "trip", "usernames": ["*"], "until": (NOW + last_day * DAY).date()}]
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    since_midnight = (NOW - midnight) / DAY
    found, rule = stale_from(entry_of(Source.INVITES, age=40 * DAY), keep=keep)
    assert (found + since_midnight, rule) == (pytest.approx(days), "forgotten")


def test_keep_entry_that_begins_before_the_age_of_the_rule_leaves_no_date():
    keep = [{"name": "at last", "usernames": ["*"], "older_than": "14d"}]
    young = entry_of(Source.INVITES, age=10 * DAY)
    assert stale_from(young, keep=keep) is None
    keep[0]["older_than"] = "15d"
    assert stale_from(young, keep=keep) == (4, "forgotten")


@pytest.mark.parametrize("rule", [{"expired": True}, {"statuses": ["INVITATION_EXPIRED"]}], ids=str)
def test_invitation_that_is_old_enough_is_stale_from_its_end_on_by_a_rule_about_its_end(rule):
    rules = [{"name": "ended", "older_than": "5d", **rule}]
    pending = entry_of(Source.INVITES, age=10 * DAY, expires_at=NOW + 3 * DAY)
    assert stale_from(pending, rules=rules) == (3, "ended")


def test_of_two_rules_that_an_age_reaches_at_once_the_first_is_named():
    rules = [{"name": name, "older_than": age} for name, age in (("a", "15d"), ("b", "14d"))]
    young = entry_of(Source.INVITES, age=10 * DAY)
    assert stale_from(young, rules=rules) == (4, "b")
    rules[0]["older_than"] = "14d"
    assert stale_from(young, rules=rules) == (4, "a")


HOUR = timedelta(hours=1)
RULES = [
    {"name": "old", "older_than": "14d"},
    {"name": "guests", "older_than": "3d", "usernames": ["guest@*"]},
    {"name": "nameless", "older_than": "5d", "not_usernames": ["ada@*"]},
    {"name": "pending", "older_than": "2d", "statuses": ["PENDING"]},
    {"name": "expired", "older_than": "1d", "expired": True},
    {"name": "ending", "older_than": "1d", "expires_within": "3d"},
]
KEEP = [
    {"name": "board", "usernames": ["ada@*"]},
    {"name": "for now", "usernames": ["*"], "until": (NOW + 4 * DAY).date()},
    {"name": "at last", "usernames": ["guest@*"], "older_than": "9d"},
    {"name": "over", "usernames": ["*"], "expired": True},
]


@settings(max_examples=200)
@given(
    source=st.sampled_from(Source),
    age_days=st.integers(-3, 16),
    lasts_days=st.sampled_from([None, 8, 30]),
    username=st.sampled_from([None, "ada@x.example", "guest@x.example", "bo@x.example"]),
    rules=st.lists(st.sampled_from(RULES), min_size=1, max_size=3, unique_by=str),
    keep=st.lists(st.sampled_from(KEEP), max_size=2, unique_by=str),
)
def test_date_of_a_kept_entry_is_the_first_hour_at_which_the_policy_makes_it_stale(
    source, age_days, lasts_days, username, rules, keep
):
    sent_at = NOW - age_days * DAY
    expires_at = None if lasts_days is None else sent_at + lasts_days * DAY
    entry = entry_of(source, username=username, age=age_days * DAY, expires_at=expires_at)
    chosen = policy(rules=rules, keep=keep)
    selector = Selector(chosen, NOW)
    kept = selector.decide(entry)
    assume(not kept.stale)
    until = NOW + 20 * DAY
    found = StaleDates(chosen, selector, NOW).stale_from(kept, until)
    hours = (NOW + number * HOUR for number in range(1, 20 * 24 + 1))
    decisions = ((hour, selector.decide(entry, hour)) for hour in hours)
    first = next(((hour, decision.rule) for hour, decision in decisions if decision.stale), None)
    assert found == first
