"""Keep entries that end are named, with the people behind them, a week before and after."""

from datetime import timedelta

import pytest
from builders import NOW, ORG, OTHER_ORG, entry_of, policy
from sweep.night import Night, later

from invite_sweeper.endings import WarningCode, WarningLevel
from invite_sweeper.models import Source
from invite_sweeper.sweep.keep_ends import KeepEnds, count_by_entry, describe_ends
from invite_sweeper.sweep.selection import Selector

DAY = timedelta(days=1)
TODAY = NOW.date()


def trip(days, **keys):
    """Return a policy with a keep entry whose last day is so many days from today."""
    entry = {"name": "trip", "usernames": ["person-*"], "until": TODAY + days * DAY}
    return policy(keep=[{**entry, **keys}])


def people(rules, *entries):
    """Return how many people each entry has."""
    ends = KeepEnds(rules, TODAY, lambda prolonged: Selector(prolonged, NOW))
    ends.add(entries)
    return count_by_entry([ends.people])


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(
    ("days", "count"), [(8, None), (7, 1), (1, 1), (0, 1), (-1, 1), (-7, 1), (-8, None)]
)
def test_entry_counts_from_7_days_before_its_last_day_to_7_days_after_it(days, count, source):
    assert people(trip(days), entry_of(source)).get("trip") == count


@pytest.mark.parametrize("days", [3, -3])
def test_people_are_counted_and_not_invitations(days):
    names = ("Person-1@example.com", "person-1@EXAMPLE.com", "\uff50erson-1@example.com")
    entries = [
        entry_of(source, number, username=name)
        for number, (source, name) in enumerate(zip(Source, (*names, "x@y.z"), strict=True))
    ]
    assert people(trip(days), *entries) == {"trip": 1}
    other = entry_of(Source.USERS, org_id=OTHER_ORG, username=names[0])
    found = []
    for one in (entries[0], other):
        ends = KeepEnds(trip(days), TODAY, lambda prolonged: Selector(prolonged, NOW))
        ends.add([one])
        found.append(ends.people)
    assert count_by_entry(found) == {"trip": 1}
    assert people(trip(days), *(entry_of(Source.USERS, number) for number in range(3)))["trip"] == 3


@pytest.mark.parametrize("days", [3, -3])
def test_people_that_the_entry_does_not_match_are_not_counted(days):
    assert people(trip(days), entry_of(Source.USERS, username="x@y.z")) == {"trip": 0}
    nameless = entry_of(Source.USERS, username=None)
    assert people(trip(days), nameless) == {"trip": 0}


def test_person_kept_by_another_entry_too_loses_nothing_when_one_has_ended():
    other = {"name": "all", "usernames": ["*"]}
    ended = {"name": "trip", "usernames": ["person-*"], "until": TODAY - DAY}
    assert people(policy(keep=[ended, other]), entry_of(Source.USERS)) == {"trip": 0}
    soon = {**other, "until": TODAY + DAY}
    found = people(policy(keep=[ended, soon]), entry_of(Source.USERS))
    assert found == {"trip": 0, "all": 1}


@pytest.mark.parametrize(
    ("days", "now", "earlier", "text"),
    [
        (7, 2, 0, "ends on 2026-12-02, in 7 days: it keeps 2 people until then. Move"),
        (1, 1, 0, "ends on 2026-11-26, in 1 day: it keeps 1 person until then. Move"),
        (0, 2, 0, "ends on 2026-11-25, today: it keeps 2 people until then. Move"),
        (-1, 1, 5, "ended on 2026-11-24: 1 person is not kept by it any more. Move"),
        (-7, 2, 0, "ended on 2026-11-18: 2 people are not kept by it any more. Move"),
        (-7, 0, 5, "ended on 2026-11-18: it kept 5 people in its last days."),
        (8, 2, 2, None),
        (-8, 2, 2, None),
        (3, 0, 5, None),
        (-3, 0, 0, None),
    ],
)
def test_entry_is_named_with_its_day_and_how_many_people(days, now, earlier, text):
    found = list(describe_ends(trip(days), TODAY, {"trip": now}, {"trip": earlier}))
    assert len(found) == (text is not None)
    assert all(each.startswith(f"The keep entry 'trip' {text}") for each in found)


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(("days", "deleted"), [(7, 0), (0, 0), (-1, 3), (-8, 3), (8, 0)])
async def test_run_needs_attention_over_several_organizations(directory, days, deleted, dry_run):
    keep = [{"name": "trip", "usernames": ["person-*"], "until": TODAY + days * DAY}]
    night = Night(directory, 1, 2, keep=keep)
    result = await night.run(dry_run=dry_run)
    found = [each for each in result.warnings if each.code == WarningCode.KEEP_ENDS]
    assert [each.level for each in found] == [WarningLevel.URGENT] * (abs(days) <= 7)
    assert all("3 people" in each.message for each in found)
    assert [each.people for each in result.keep_entries] == [3 if abs(days) <= 7 else None]
    assert sum(night.deleted) == deleted * (not dry_run)


def ends_of(result):
    """Return the sentences of a run about keep entries that end, and the people in its file."""
    texts = [each.message for each in result.warnings if each.code == WarningCode.KEEP_ENDS]
    (entry,) = result.keep_entries
    return texts, entry.people, entry.people_before


@pytest.mark.parametrize("dry_run", [True, False])
async def test_entry_is_named_to_the_7th_day_after_it_by_what_earlier_runs_saw(directory, dry_run):
    keep = [{"name": "trip", "usernames": ["person-*"], "until": TODAY}]
    night = Night(directory, 1, 2, keep=keep)
    (text,), *counts = ends_of(await night.run())
    assert ("it keeps 3 people until then" in text, counts) == (True, [3, 0])
    (text,), *counts = ends_of(await night.run(at=later(24)))
    assert ("3 people are not kept by it any more" in text, counts) == (True, [3, 0])
    assert sum(night.deleted) == 3
    for atlas in night.atlases:
        atlas.lists = dict.fromkeys(atlas.lists, ())
    before = "The keep entry 'trip' ended on 2026-11-25: it kept 3 people in its last days."
    for day in (2, 7):
        assert ends_of(await night.run(at=later(24 * day), dry_run=dry_run)) == ([before], 0, 3)
    assert ends_of(await night.run(at=later(24 * 8), dry_run=dry_run)) == ([], None, 0)


@pytest.mark.parametrize("change", [{"name": "trips"}, {"until": TODAY - DAY}])
async def test_another_entry_or_another_last_day_is_not_named_by_earlier_runs(directory, change):
    keep = {"name": "trip", "usernames": ["person-*"], "until": TODAY}
    night = Night(directory, 1, keep=[keep])
    await night.run()
    after = Night(directory, 0, keep=[{**keep, **change}])
    assert ends_of(await after.run(at=later(24))) == ([], 0, 0)


async def test_entry_that_holds_is_not_named_for_people_that_it_kept_before(directory):
    keep = [{"name": "trip", "usernames": ["person-*"], "until": TODAY + DAY}]
    await Night(directory, 2, keep=keep).run()
    for hours, named in ((24, 0), (48, 1)):  # its last day, and the day after
        texts, people, before = ends_of(await Night(directory, 0, keep=keep).run(at=later(hours)))
        assert (len(texts), people, before) == (named, 0, 2 * named)


async def test_organization_that_failed_hides_no_person_of_the_others(directory):
    keep = [{"name": "trip", "usernames": ["person-*"], "until": TODAY}]
    night = Night(directory, 1, 2, keep=keep)
    night.atlases[0].listed = []
    result = await night.run()
    assert [each.error is None for each in result.organizations] == [False, True]
    assert result.organizations[0].id == ORG
    assert [each.people for each in result.keep_entries] == [2]
