"""What the nights to come bring is what they bring: foretold once, then swept night by night."""

from collections import Counter
from datetime import timedelta

import pytest
from builders import NOW, ORG, OTHER_ORG, PROJECT, entry_of, event_of, object_id, policy
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep.night import Earlier, Night, command_of
from sweep.test_excluded_projects import IN, NO_ROLES, OUT, night_of
from sweep.test_plan import Plan, listed

from invite_sweeper.audit import AuditDirectory
from invite_sweeper.audit.events import Planned
from invite_sweeper.audit.history import SentDeletion
from invite_sweeper.models import Source
from invite_sweeper.sweep.dates import FOREVER, StaleDates, first_night
from invite_sweeper.sweep.due import DueInvitation, FirstNights
from invite_sweeper.sweep.organization import AtlasOrganization, OrganizationPlan, Reading
from invite_sweeper.sweep.outlook import limit_free_at, nights
from invite_sweeper.sweep.selection import Selector

DAY = timedelta(days=1)
TRIM = {"over_limit": "trim", "max_share": 1.0}


class Swept(Earlier):
    """A history of the deletions that a test chooses."""

    def __init__(self, sent=()):
        super().__init__()
        self.sent = list(sent)

    def sent_within(self, period, now):
        return tuple(each for each in self.sent if each.instant > now - period)

    def deleted_within(self, period, now):
        return Counter(each.place for each in self.sent_within(period, now))


def due(count, *, place=PROJECT, night=0, first=0):
    return [
        DueInvitation(
            entry_of(Source.INVITES, first + n, project_id=place, age=(40 - n) * DAY), night
        )
        for n in range(count)
    ]


def first_night_of(rules, selector, decision):
    """Return the first sweep that may delete an invitation; None where none may."""
    dates = FirstNights(rules, StaleDates(rules, selector, NOW), NOW)
    return next((item.night for item in dates.of(decision, decision)), None)


def foretold(waiting, limits, *, sent=()):
    """Return how many go in each night."""
    command = command_of(policy(limits={**TRIM, **limits}), history=Swept(sent))
    found = nights(waiting, command, seen=len(waiting))
    return dict(sorted(Counter(found.values()).items()))


def test_the_oldest_go_first_and_each_night_takes_the_limit():
    assert foretold(due(7), {"max_deletions": 3}) == {0: 3, 1: 3, 2: 1}


def test_the_limit_of_a_project_leaves_the_night_to_others():
    waiting = due(4) + due(2, place=object_id(9), first=50)
    limits = {"max_deletions": 5, "max_deletions_per_project": 2}
    assert foretold(waiting, limits) == {0: 4, 1: 2}


def test_with_refuse_no_limit_counts():
    command = command_of(policy(limits={"max_deletions": 1, "over_limit": "refuse"}))
    waiting = due(3) + due(1, night=4, first=50)
    assert sorted(nights(waiting, command, seen=4).values()) == [0, 0, 0, 4]


@pytest.mark.parametrize("key", ["max_deletions", "max_deletions_per_project", "max_share"])
def test_what_a_limit_of_0_never_lets_go_has_no_night(key):
    assert foretold(due(12), {key: 0}) == {}


def test_the_share_of_each_night_is_that_of_what_is_left():
    """A quarter of 40, of 30, of 23 and so on, until ten or fewer are stale."""
    nights_of_a_quarter = {0: 10, 1: 7, 2: 5, 3: 4, 4: 3, 5: 2, 6: 9}
    limits = {"max_share": 0.25, "max_deletions_per_project": 100}
    assert foretold(due(40), limits) == nights_of_a_quarter


def test_what_earlier_runs_sent_counts_until_their_period_is_over():
    sent = [SentDeletion(NOW - timedelta(hours=hours), PROJECT) for hours in (1, 1, 30)]
    assert foretold(due(4), {"max_deletions": 2, "period": "40h"}, sent=sent) == {2: 2, 4: 2}
    assert foretold(due(4), {"max_deletions": 2, "period": "0s"}, sent=sent) == {0: 2, 1: 2}


LAST_NIGHT = (FOREVER - NOW) // DAY


def test_nights_without_anything_due_are_passed_over_and_none_is_after_the_last_day():
    """`until: 9999-12-30` is how some write "for good"."""
    waiting = due(2) + due(3, night=LAST_NIGHT, first=50)
    assert foretold(waiting, {"max_deletions": 1}) == {0: 1, 1: 1, LAST_NIGHT: 1}
    assert foretold(waiting, {"max_deletions": 0}) == {}


@pytest.mark.parametrize(
    ("until", "notice", "night"),
    [
        ("9999-12-30", None, LAST_NIGHT),
        ("9999-12-30", {"wait": "1d"}, None),
        ("9999-12-29", {"wait": "1d"}, LAST_NIGHT),
        ("9999-12-31", None, None),
    ],
)
def test_what_is_kept_until_the_last_days_of_the_calendar_goes_in_no_night_after_them(
    until, notice, night
):
    keep = [{"name": "for good", "usernames": ["*"], "until": until}]
    rules = policy(keep=keep, **({"notice": notice} if notice else {}))
    selector = Selector(rules, NOW)
    kept = selector.decide(entry_of(Source.INVITES, 1, age=40 * DAY))
    assert first_night_of(rules, selector, kept) == night


@pytest.mark.parametrize(("length", "night"), [(1024, 4), (1025, None)])
def test_what_the_audit_log_cannot_record_goes_in_no_night(length, night):
    rules = policy()
    selector = Selector(rules, NOW)
    young = selector.decide(entry_of(Source.INVITES, age=10 * DAY, username="x" * length))
    assert young.keep_reason == "too_young"
    assert first_night_of(rules, selector, young) == night


@pytest.mark.parametrize(
    ("later", "night"),
    [(-DAY, 0), (timedelta(0), 0), (timedelta.resolution, 1), (DAY, 1), (DAY * 1.5, 2)],
)
def test_first_night_is_the_first_sweep_that_is_not_before_the_instant(later, night):
    assert first_night(NOW + later, NOW) == night


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=3).filter(any),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from(["0s", "20h", "50h"]),
)
async def test_foretold_nights_are_those_of_the_sweeps_that_follow(
    tmp_path_factory, stale, most, most_in_place, period
):
    limits = {**TRIM, "max_deletions": most, "max_deletions_per_project": most_in_place}
    directory = AuditDirectory(tmp_path_factory.mktemp("nights"))
    night = Night(directory, *stale, limits={**limits, "period": period})
    end = await night.run(dry_run=True)
    assert end.forecast.nights == end.nights_left
    took = 0
    swept = await night.run()
    while swept.trimmed:
        took += 1
        assert took < 60
        swept = await night.run(at=NOW + took * DAY)
    assert end.nights_left == (took or None)
    assert sum(stale) == sum(len(atlas.deleted) for atlas in night.atlases)


SLOW = {"name": "slow", "older_than": "20d", "usernames": ["slow*"]}
OTHERS = {"name": "others", "older_than": "14d", "not_usernames": ["slow*"]}


@pytest.mark.parametrize("is_outside", [True, False])
@pytest.mark.parametrize("source", [Source.ORG_USERS, Source.ORG_INVITES])
async def test_role_of_a_kept_person_that_is_stale_tomorrow_takes_a_place_before_younger_ones(
    directory, source, is_outside
):
    """The excluded project keeps the person in the organization; without it, all of it goes."""
    slow = {"username": "slow@example.com", "age": 19.5 * DAY}
    entries = [
        entry_of(source, 1, **NO_ROLES, **slow),
        entry_of(Source.USERS, 1, **IN, **slow),
        *([entry_of(Source.USERS, 1, **OUT, **slow)] if is_outside else []),
        *(
            entry_of(Source.INVITES, number, age=age * DAY, **IN)
            for number, age in ((2, 25), (3, 16), (4, 15))
        ),
    ]
    limits = {**TRIM, "max_deletions": 1}
    night = night_of(directory, *entries, rules=[OTHERS, SLOW], limits=limits)
    end = await night.run(dry_run=True)
    assert (end.stale, end.forecast.stale_within_7d, end.forecast.nights) == (3, 1, 3)
    (atlas,) = night.atlases
    left = []
    for number in range(4):
        swept = await night.run(at=NOW + number * DAY)
        left.append((swept.deleted, swept.nights_left))
    assert left == [(1, 3), (1, 2), (1, 1), (1, None)]
    role_or_person = 1
    assert [int(id_, 16) for id_ in atlas.deleted] == [2, role_or_person, 3, 4]


async def test_what_becomes_stale_meanwhile_and_is_older_goes_before_what_is_left(directory):
    ages = [(1, 19.5, "slow@example.com"), (2, 25, "a@b.cd"), (3, 16, "b@b.cd"), (4, 15, "c@b.cd")]
    entries = [
        entry_of(Source.INVITES, number, age=age * DAY, username=name, **IN)
        for number, age, name in ages
    ]
    limits = {**TRIM, "max_deletions": 1}
    night = night_of(directory, *entries, rules=[OTHERS, SLOW], limits=limits)
    end = await night.run(dry_run=True)
    assert (end.stale, end.trimmed, end.forecast.nights) == (3, 2, 3)
    swept = [await night.run(at=NOW + number * DAY) for number in range(4)]
    assert [each.trimmed for each in swept] == [2, 2, 1, 0]


@pytest.mark.parametrize("is_observed", [False, True])
def test_only_what_may_go_before_the_stale_ones_is_held_in_memory_unless_each_day_is_asked(
    is_observed,
):
    """The oldest go first: what is younger than 14 days is younger than all that is stale."""
    keep = [{"name": "trip", "usernames": ["kept*"], "until": (NOW + 3 * DAY).date()}]
    rows = [
        entry_of(Source.INVITES, 1, age=20 * DAY),
        entry_of(Source.INVITES, 2, age=14 * DAY, username="kept@example.com"),
        entry_of(Source.INVITES, 3, age=14 * DAY - timedelta.resolution),
        entry_of(Source.INVITES, 4, age=DAY),
    ]
    observe = (lambda *_: None) if is_observed else None
    plan = Plan(rules=[OTHERS, SLOW], keep=keep, limits=TRIM, observe=observe).add(listed(*rows))
    held = [int(item.invitation.invitation_id, 16) for item in plan.reading.due]
    assert held == ([1, 2, 3, 4] if is_observed else [1, 2])


async def test_limit_that_earlier_runs_used_has_an_instant_at_which_it_is_free_again(tmp_path):
    limits = {**TRIM, "max_deletions": 2, "max_deletions_per_project": 2}
    night = Night(AuditDirectory(tmp_path), 5, limits=limits)
    first = await night.run()
    assert (first.stale, first.planned, first.nights_left) == (5, 2, 2)
    assert (first.limit_free_at, first.deleted_before) == (None, 0)
    again = await night.run(at=NOW + timedelta(hours=1))
    assert (again.planned, again.trimmed) == (0, 3)
    assert (again.deleted_before, again.max_deletions) == (2, 2)
    assert again.limit_free_at.startswith("2026-11-25T21:00")


async def test_limit_of_a_project_is_free_when_what_this_run_sends_there_counts_no_more(tmp_path):
    """An hour before, a deletion in another project leaves room for others, and not there."""
    limits = {**TRIM, "max_deletions_per_project": 2}
    night = Night(AuditDirectory(tmp_path), 1, 0, limits=limits)
    assert (await night.run()).deleted == 1
    atlas = night.atlases[1]
    (place,) = atlas.lists
    own = {"org_id": OTHER_ORG, "project_id": place}
    atlas.lists[place] = tuple(entry_of(Source.INVITES, 50 + n, **own) for n in range(5))
    result = await night.run(at=NOW + timedelta(hours=1))
    assert (result.planned, result.trimmed) == (2, 3)
    assert result.limit_free_at.startswith("2026-11-25T22:00")


def test_limit_that_was_lowered_is_free_when_fewer_than_it_allows_count():
    """Three were sent an hour after the first three, and the limit is three now."""
    sent = [SentDeletion(NOW - timedelta(hours=hours), object_id(9)) for hours in [2] * 3 + [1] * 3]
    waiting = event_of(Planned, entry_of(Source.INVITES), rule="forgotten")
    reading = Reading(AtlasOrganization(ORG, None), stale=(waiting,))
    command = command_of(policy(limits={**TRIM, "max_deletions": 3}), history=Swept(sent))
    plan = OrganizationPlan(reading, (), trimmed=1)
    assert limit_free_at([plan], command) == NOW + timedelta(hours=19)


async def test_refused_sweep_reports_when_one_more_may_go(tmp_path):
    limits = {"max_deletions": 2, "max_deletions_per_project": 9}
    night = Night(AuditDirectory(tmp_path), 1, limits=limits)
    assert (await night.run()).deleted == 1
    atlas = night.atlases[0]
    (place,) = atlas.lists
    more = [item.invitation for item in due(2, place=place, first=70)]
    atlas.lists[place] = (*atlas.lists[place], *more)
    refused = await night.run(at=NOW + timedelta(hours=1))
    assert refused.reasons == ("max_deletions",)
    assert refused.limit_free_at.startswith("2026-11-25T21:00")


@pytest.mark.parametrize("source", Source)
async def test_forecast_counts_what_becomes_stale_within_7_and_30_days(tmp_path, source):
    ages = {1: 14 * DAY, 2: 7 * DAY, 3: 7 * DAY - timedelta.resolution, 4: DAY}
    rows = [entry_of(source, number, age=age) for number, age in ages.items()]
    plan = Plan(dry_run=True, sources=[source.value]).add(listed(*rows, source=source))
    assert plan.counts.stale == 1
    assert (plan.reading.stale_within_7d, plan.reading.stale_within_30d) == (1, 3)


def test_a_sweep_foretells_nothing():
    plan = Plan().add(listed(entry_of(Source.INVITES, 1, age=10 * DAY)))
    assert plan.reading.stale_within_30d == 0
