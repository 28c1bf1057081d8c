"""The nights after a sweep: what it sent, and what ended by itself, is not a drop."""

from datetime import timedelta

import pytest
from builders import ORG, object_id, project
from fakes import FakeAtlas
from msgspec import structs
from sweep.night import entries_of, later, message, night_over
from virtual_time import run_skipping_idle_time

from invite_sweeper.audit.totals import RunFinished
from invite_sweeper.endings import Reason
from invite_sweeper.models import Source, parse_timestamp
from invite_sweeper.outcomes import Outcome, Sending

DAY = timedelta(days=1)
NIGHTS = 5
PLACE = object_id(1)


class SlowAtlas(FakeAtlas):
    """Shows what it deleted until the next night, if it lags; answers each DELETE the same way."""

    def __init__(self, source, entries, answer, *, lags):
        place = ORG if source.is_organization_level else PLACE
        key = PLACE if source is Source.INVITES else (source, place)
        listed = [project(1, name="p0")]
        super().__init__(listed=listed, lists={key: entries})
        self.answer = answer
        self.lags = lags
        self.gone = set()

    async def invitations(self, project, source=Source.INVITES):
        found = await super().invitations(project, source)
        return tuple(one for one in found if self.lags or one.invitation_id not in self.gone)

    async def delete(self, invitation, progress):
        self.gone.add(invitation.invitation_id)
        outcome, status = self.answer
        return Sending(outcome, 1, status)


class Expiring(SlowAtlas):
    """Shows no entry whose `expires_at` has passed."""

    async def invitations(self, project, source=Source.INVITES):
        found = await super().invitations(project, source)
        return tuple(one for one in found if parse_timestamp(one.expires_at) > self.now)


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("over_limit", ["refuse", "trim"])
async def test_nights_in_which_kept_and_trimmed_invitations_expire_are_not_refused(
    directory, source, over_limit
):
    ages = [*[27.5 * DAY] * 8, *[28.5 * DAY] * 8, *[DAY] * 6]
    atlas = Expiring(source, entries_of(source, ages), (Outcome.DELETED, 204), lags=False)
    keep = [] if over_limit == "trim" else [{"name": "all", "usernames": ["*"]}]
    limits = {"over_limit": over_limit, "max_deletions": 0, "max_deletions_per_project": 0}
    night = night_over(directory, atlas, source, limits=limits, keep=keep)
    seen = []
    for number in range(1 + NIGHTS):
        atlas.now = later(24 * number)
        result = await night.run(at=atlas.now)
        assert (result.exit_code, message(result)) == (0, None)
        seen.append(result.invitations_seen)
    assert seen == [22, 22, 14, 6, 6, 6]


@pytest.mark.parametrize("source", Source)
async def test_list_that_lost_a_page_is_refused_also_on_a_day_on_which_entries_expire(
    directory, source
):
    ages = [*[29.5 * DAY] * 8, *[DAY] * 14]
    atlas = Expiring(source, entries_of(source, ages), (Outcome.DELETED, 204), lags=False)
    night = night_over(directory, atlas, source, keep=[{"name": "all", "usernames": ["*"]}])
    atlas.now = later(0)
    await night.run(at=atlas.now)
    atlas.now = later(24)
    atlas.lists = {key: found[:17] for key, found in atlas.lists.items()}
    result = await night.run(at=atlas.now)
    assert (result.exit_code, result.reasons) == (3, (Reason.MAX_POPULATION_DROP,))


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("lags", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        (Outcome.DELETED, 204),
        (Outcome.ALREADY_GONE, 404),
        (Outcome.FAILED, 502),
        (Outcome.FAILED, 504),
        (Outcome.UNKNOWN, None),
    ],
)
def test_five_nights_after_deletions_that_a_list_or_an_answer_hid_none_is_refused(
    directory, source, lags, answer
):
    atlas = SlowAtlas(source, entries_of(source, [20 * DAY] * 16 + [DAY] * 6), answer, lags=lags)
    night = night_over(directory, atlas, source)

    async def scenario():
        results = []
        for number in range(1 + NIGHTS):
            results.append(await night.run(at=later(24 * number)))
            atlas.lags = False
        return results

    (first, *others), _ = run_skipping_idle_time(scenario)
    assert first.stale == 16
    assert first.deleted == (16 if answer[0] is Outcome.DELETED else 0)
    assert [(each.exit_code, each.stale, message(each)) for each in others] == [(0, 0, None)] * 5


async def _delete_then_read_while_lists_lag(night, atlas, hours=(0, 1)):
    """Run a sweep whose lists show what it deleted, and another one that reads them so."""
    first, second = [await night.run(at=later(hour)) for hour in hours]
    atlas.lags = False
    return first, second


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("answer", [(Outcome.DELETED, 204), (Outcome.UNKNOWN, None)])
@pytest.mark.parametrize("hour", [1, 23])
def test_nights_after_a_second_run_that_reads_lists_that_lag_and_deletes_nothing_are_not_refused(
    directory, source, answer, hour
):
    """The limits are used up: the second run leaves what it still reads for another night."""
    atlas = SlowAtlas(source, entries_of(source, [20 * DAY] * 16 + [DAY] * 6), answer, lags=True)
    limits = {"over_limit": "trim", "max_deletions": 16, "period": "24h"}
    night = night_over(directory, atlas, source, limits=limits)

    async def scenario():
        first, second = await _delete_then_read_while_lists_lag(night, atlas, (0, hour))
        return first, second, [await night.run(at=later(24 * number)) for number in (1, 2, 3)]

    (first, second, others), _ = run_skipping_idle_time(scenario)
    assert (first.stale, second.stale, second.trimmed) == (16, 16, 16)
    assert second.invitations_seen == 22  # as Atlas showed it
    assert [(each.exit_code, each.stale, message(each)) for each in others] == [(0, 0, None)] * 3


@pytest.mark.parametrize("source", Source)
def test_nights_after_lists_that_lag_are_not_refused_where_an_announcement_ended(directory, source):
    """What was deleted is announced anew: the second run does not delete it once more."""
    ages = [20 * DAY] * 16 + [DAY] * 6
    atlas = SlowAtlas(source, entries_of(source, ages), (Outcome.DELETED, 204), lags=True)
    night = night_over(directory, atlas, source, notice={"wait": "1d"})

    async def scenario():
        await night.run()
        first, second = await _delete_then_read_while_lists_lag(night, atlas, (24, 25))
        return first, second, [await night.run(at=later(24 * number)) for number in (2, 3, 4)]

    (first, second, others), _ = run_skipping_idle_time(scenario)
    assert (first.stale, second.stale) == (16, 0)
    assert [(each.exit_code, message(each)) for each in others] == [(0, None)] * 3


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("again", [False, True], ids=["left", "deleted again"])
@pytest.mark.parametrize("age", [20 * DAY, 28.9 * DAY], ids=["valid", "expires"])
def test_list_that_lost_a_page_is_refused_also_after_a_run_that_read_lists_that_lag(
    directory, source, again, age
):
    """What the lists still showed is taken off once, also if it is deleted again or expires."""
    atlas = SlowAtlas(
        source, entries_of(source, [age] * 8 + [DAY] * 22), (Outcome.DELETED, 204), lags=True
    )
    limits = {"over_limit": "trim", "max_deletions": 8, "period": "0s" if again else "20h"}
    night = night_over(directory, atlas, source, limits=limits)

    async def scenario():
        _, second = await _delete_then_read_while_lists_lag(night, atlas)
        atlas.lists = {key: found[:23] for key, found in atlas.lists.items()}  # 15 of the 22
        return second, await night.run(at=later(36))

    (second, third), _ = run_skipping_idle_time(scenario)
    assert second.trimmed == (0 if again else 8)
    assert (third.exit_code, third.reasons) == (3, (Reason.MAX_POPULATION_DROP,))


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(("hours", "is_counted"), [(24, False), (25, True)])
@pytest.mark.parametrize("anew", [False, True], ids=["same", "invited anew"])
def test_entry_counts_if_it_was_ended_over_a_day_ago_or_was_invited_anew_since(
    directory, source, hours, is_counted, anew
):
    """Lists lag by seconds: what one shows after a day was not ended, whatever the answer was."""
    entries = entries_of(source, [20 * DAY] * 16 + [DAY] * 6)
    atlas = SlowAtlas(source, entries, (Outcome.DELETED, 204), lags=True)
    keep = {"keep": [{"name": "all", "usernames": ["*"]}]}
    night = night_over(directory, atlas, source)

    async def scenario():
        await night.run()
        if anew:
            created = {"created_at": "2026-11-25T01:00:00Z"}
            shown = tuple(structs.replace(entry, **created) for entry in entries)
            atlas.lists = dict.fromkeys(atlas.lists, shown)
        night.policy = night_over(directory, atlas, source, **keep).policy
        return await night.run(at=later(hours))

    run_skipping_idle_time(scenario)
    (read,) = night.events(RunFinished)[0].lists
    may_be_gone = sum(sum(days.values()) for days in read.may_be_gone.values())
    assert (read.entries, may_be_gone) == (22, 0 if anew or is_counted else 16)
