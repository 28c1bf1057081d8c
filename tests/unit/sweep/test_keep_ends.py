"""Keep entries that end are named, from a week before their last day to two weeks after it."""

from datetime import timedelta

import pytest
from builders import NOW, ORG
from sweep.night import Night, entries_of, later

from invite_sweeper.endings import WarningCode, WarningLevel
from invite_sweeper.models import Source

DAY = timedelta(days=1)
TODAY = NOW.date()


def trip(days):
    """Return a keep entry whose last day is so many days from today."""
    return {"name": "trip", "usernames": ["person-*"], "until": TODAY + days * DAY}


def ends_of(result):
    """Return what a run reports about keep entries that end."""
    found = [each for each in result.warnings if each.code == WarningCode.KEEP_ENDS]
    assert {each.level for each in found} <= {WarningLevel.URGENT}
    return [each.message for each in found]


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("days", "text"),
    [
        (8, None),
        (7, "ends on 2026-12-02, in 7 days: it keeps 3 invitations until then. Move"),
        (1, "ends on 2026-11-26, in 1 day: it keeps 3 invitations until then. Move"),
        (0, "ends on 2026-11-25, today: it keeps 3 invitations until then. Move"),
        (-1, "ended on 2026-11-24: it keeps no invitation any more. Move"),
        (-14, "ended on 2026-11-11: it keeps no invitation any more. Move"),
        (-15, None),
    ],
)
async def test_entry_is_named_with_its_day_from_7_days_before_it_to_14_days_after(
    directory, days, text, dry_run
):
    night = Night(directory, 1, 2, keep=[trip(days)])
    result = await night.run(dry_run=dry_run)
    found = ends_of(result)
    assert len(found) == (text is not None)
    named = [each for each in result.warnings if "ended on" in each.message]
    assert len(named) == (days < 0)  # once, also where it ended long ago
    assert all(each.startswith(f"The keep entry 'trip' {text}") for each in found)
    assert sum(night.deleted) == (3 if days < 0 and not dry_run else 0)


async def test_entry_that_keeps_nothing_and_one_whose_people_are_gone_are_named_too(directory):
    night = Night(directory, 1, keep=[{**trip(0), "usernames": ["other@example.com"]}])
    (text,) = ends_of(await night.run())
    assert "it keeps 0 invitations until then" in text
    (text,) = ends_of(await night.run(at=later(24)))
    assert text.startswith("The keep entry 'trip' ended on 2026-11-25")


@pytest.mark.parametrize("source", Source)
async def test_invitations_that_the_entry_keeps_are_counted_in_each_list(directory, source):
    night = Night(directory, 0, sources=[str(source)], keep=[trip(3)])
    (atlas,) = night.atlases
    ((place, _),) = atlas.lists.items()
    key = place if source is Source.INVITES else (source, ORG)
    if source is Source.USERS:
        key = source, place
    atlas.lists = {key: entries_of(source, [20 * DAY, 21 * DAY])}
    (text,) = ends_of(await night.run())
    assert "it keeps 2 invitations until then" in text


async def test_organization_that_failed_hides_no_entry_of_the_others(directory):
    night = Night(directory, 1, 2, keep=[trip(0)])
    night.atlases[0].listed = []
    result = await night.run()
    assert [each.error is None for each in result.organizations] == [False, True]
    (text,) = ends_of(result)
    assert "it keeps 2 invitations until then" in text
