"""The nights after a sweep: what it sent, and what ended by itself, is no drop."""

from datetime import timedelta

import pytest
from builders import ORG, object_id, project
from fakes import FakeAtlas
from sweep.night import entries_of, later, message, night_over
from virtual_time import run_skipping_idle_time

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
        self.answer, self.lags, self.gone = answer, lags, set()

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
    is_contradicted = lags and answer[0] in {Outcome.DELETED, Outcome.ALREADY_GONE}
    assert (first.stale, first.still_there) == (16, 16 * is_contradicted)
    is_deleted = answer[0] is Outcome.DELETED and not lags
    assert (first.deleted, first.verified, first.not_verified) == (16 * is_deleted,) * 2 + (0,)
    assert [(each.exit_code, each.stale, message(each)) for each in others] == [(0, 0, None)] * 5
