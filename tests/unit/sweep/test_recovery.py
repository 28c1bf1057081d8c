"""What a killed run left open is resolved: outcomes claim only what Atlas shows."""

from pathlib import Path

import pytest
from audit.runs import HOST, intent, planned, started
from builders import (
    DAY,
    NOW,
    ORG,
    OTHER_ORG,
    PROJECT,
    entry_of,
    listed_as,
    object_id,
    policy,
    project,
)
from sweep.fakes import FakeAtlas
from sweep.night import ORGS, Night, QuietView, kill_after_intents, later

from invite_sweeper.audit import History, OpenIntent, RunFile
from invite_sweeper.audit.events import OutcomeLine
from invite_sweeper.endings import WarningCode
from invite_sweeper.models import ListUnreadable, ProjectGone, Source
from invite_sweeper.sweep.plan import AtlasOrganization, OrganizationRead
from invite_sweeper.sweep.reading import read_lists
from invite_sweeper.sweep.recovery import recover, recovery_lists
from invite_sweeper.sweep.scope import RunScope

UNREADABLE = ListUnreadable(PROJECT, "Sandbox Alpha", "Atlas answered 500.")
KILLED = RunFile(1, "killed", Path("000001-killed.jsonl"))


def opened(source, number=1, *, mode="sweep"):
    return OpenIntent(KILLED, started(mode=mode), intent(entry_of(source, number)))


def recovered(answer, *intents):
    """Return the outcomes of these intents, all of one list, and the warnings."""
    lines, warnings = recover(intents, {each.intent.list_key: answer for each in intents})
    return [line.outcome for line in lines], [warning.message for warning in warnings]


LISTED = {
    "not listed": ([], "already_gone"),
    "listed": ([NOW - 20 * DAY], "failed"),
    "made anew": ([NOW - 19 * DAY], "already_gone"),
}


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(("dates", "outcome"), LISTED.values(), ids=LISTED)
def test_outcome_is_what_the_list_shows(source, dates, outcome):
    """What is gone may have been accepted, or the killed run sent its DELETE: none is `deleted`."""
    one = opened(source)
    rows = tuple(entry_of(source, created_at=date) for date in dates)
    ((line,), warnings) = recover([one], {one.intent.list_key: rows})
    assert (line.outcome, line.rule, line.attempts) == (outcome, "forgotten", 0)
    assert (line.recovers, line.http_status, warnings) == ("killed", None, [])


def test_invitation_of_a_deleted_project_is_gone():
    assert recovered(ProjectGone(PROJECT), opened(Source.USERS)) == (["already_gone"], [])


def test_intents_of_an_unreadable_list_stay_open():
    said = "2 deletions of an earlier run in Sandbox Alpha remain unresolved: Atlas answered 500."
    intents = [opened(Source.INVITES, number) for number in (1, 2)]
    assert recovered(UNREADABLE, *intents) == ([], [said])


def test_intent_of_a_restore_is_unknown_without_a_list_and_hides_none_of_a_sweep():
    of_restore = opened(Source.INVITES, mode="restore")
    assert list(recovery_lists([of_restore])) == []
    lines, warnings = recover([of_restore], {})
    assert ([line.outcome for line in lines], warnings) == (["unknown"], [])
    found = recovered((), of_restore, opened(Source.INVITES))
    assert found == (["unknown", "already_gone"], [])


def test_each_list_resolves_its_own_intents_alone():
    one, other = opened(Source.INVITES, 1), opened(Source.USERS, 1)
    shown = {one.intent.list_key: (entry_of(Source.INVITES, 1),), other.intent.list_key: ()}
    lines, _ = recover([one, other], shown)
    assert [line.outcome for line in lines] == ["failed", "already_gone"]


async def read_again(atlas, *intents, scope):
    """Return what became of intents, and the warnings, by the lists that a run reads for them."""
    read = OrganizationRead(AtlasOrganization(ORG, atlas), scope=scope)
    further = recovery_lists(intents)
    sources = {"sources": ["invites"]}
    read = await read_lists(read, policy(**sources), further, QuietView(), workers=2)
    lines, warnings = recover(intents, read.lists)
    return [line.outcome for line in lines], [warning.message for warning in warnings]


async def test_list_out_of_scope_is_read_once_for_all_its_intents_and_one_in_scope_not_again():
    atlas = FakeAtlas()
    intents = [
        opened(source, number) for source in (Source.USERS, Source.INVITES) for number in (1, 2)
    ]
    scope = RunScope(ORG, projects=[project(id=PROJECT, name="renamed")])
    outcomes, _ = await read_again(atlas, *intents, scope=scope)
    assert outcomes == ["already_gone"] * 4
    assert atlas.requested == [PROJECT, PROJECT]  # its invites, and its users


async def test_404_for_a_project_that_this_run_has_listed_leaves_the_intent_open():
    atlas = FakeAtlas(list_results={PROJECT: ProjectGone(PROJECT)})
    scope = RunScope(ORG, project_names={PROJECT: "Sandbox Alpha"})
    outcomes, (message,) = await read_again(atlas, opened(Source.USERS), scope=scope)
    assert message.startswith("1 deletion of an earlier run in Sandbox Alpha remains unresolved: ")
    assert "still shows the project" in message
    assert outcomes == []


async def test_open_intents_of_each_organization_are_resolved_with_its_own_credentials(directory):
    own = [
        {"org_id": org_id, "project_id": object_id(n), "source": Source.USERS}
        for n, org_id in enumerate((ORG, OTHER_ORG), start=1)
    ]
    lines = [planned(900 + n, **place) for n, place in enumerate(own)]
    elsewhere = planned(950, project_id=PROJECT, source=Source.INVITES)
    await kill_after_intents(directory, *lines, elsewhere, organizations=ORGS[:2])
    night = Night(directory, 1, 1, sources=["invites", "users"])
    for atlas, line in zip(night.atlases, lines, strict=True):
        atlas.show(listed_as(line))
    result = await night.run(at=later())
    recovered = [each for each in night.events(OutcomeLine) if each.recovers]
    assert {each.recovers for each in recovered} == {"killed"}
    assert {each.invitation_id: each.outcome for each in recovered} == {
        object_id(900): "failed",
        object_id(901): "failed",
        object_id(950): "already_gone",  # its project is not in scope any more
    }
    assert [each.recovered for each in result.organizations] == [1, 0]  # 2 were not deleted
    assert History.read(directory, NOW).open_intents(HOST) == {}
    assert (await night.run(at=later(48))).recovered == 0


@pytest.mark.parametrize("dry_run", [True, False])
async def test_intents_stay_open_in_a_dry_run_and_where_their_list_cannot_be_read(
    directory, dry_run
):
    await kill_after_intents(
        directory, planned(900, project_id=object_id(1), source=Source.INVITES)
    )
    night = Night(directory, 1, 1)
    if not dry_run:
        unread = ListUnreadable(object_id(1), "p0", "HTTP 503.")
        night.atlases[0].list_results = {object_id(1): unread}
    result = await night.run(at=later(), dry_run=dry_run)
    left = History.read(directory, NOW).open_intents(HOST)[ORG]
    assert (result.recovered, len(left)) == (0, 1)
    assert (WarningCode.RECOVERY in night.view.codes()) is not dry_run
