"""What a killed run left open is resolved: outcomes claim only what Atlas shows."""

from pathlib import Path

import pytest
from audit.runs import HOST, intent, planned, started
from builders import DAY, NOW, ORG, OTHER_ORG, PROJECT, entry_of, listed_as, object_id
from sweep.fakes import FakeAtlas
from sweep.night import ORGS, Night, QuietView, command_of, kill_after_intents, later

from invite_sweeper.audit import History, OpenIntent, RunFile
from invite_sweeper.audit.events import OutcomeLine
from invite_sweeper.endings import WarningCode
from invite_sweeper.models import ListRef, ListUnreadable, Project, ProjectGone, Source
from invite_sweeper.sweep.plan import AtlasOrganization
from invite_sweeper.sweep.reading import ReadingBuilder
from invite_sweeper.sweep.recovery import Recovery
from invite_sweeper.sweep.result import Result
from invite_sweeper.sweep.scope import RunScope

UNREADABLE = ListUnreadable(PROJECT, "Sandbox Alpha", "Atlas answered 500.")
KILLED = RunFile(1, "killed", Path("000001-killed.jsonl"))


def opened(source, number=1, *, mode="sweep"):
    return OpenIntent(KILLED, started(mode=mode), intent(entry_of(source, number)))


class Recovered:
    """A recovery of these intents, with the lines that it writes."""

    def __init__(self, atlas, *intents, scope=None):
        self.lines = []
        organization = AtlasOrganization(ORG, atlas)
        self.result = Result(command_of(), [organization], QuietView())
        self.builder = ReadingBuilder(organization, self.result.command, self.lines.append)
        self.builder.scope = scope
        self.recovery = Recovery(self.result, self.builder, self.lines.append, intents)

    @property
    def outcomes(self):
        return [each.outcome for each in self.lines]

    @property
    def messages(self):
        return [each.message for each in self.result.warnings]


async def recover(atlas, *intents, scope=None):
    found = Recovered(atlas, *intents, scope=scope)
    await found.recovery.recover_rest()
    counts = found.builder.reading().counts
    assert counts.recovered == found.outcomes.count("already_gone")
    return found


LISTED = {
    "not listed": ([], "already_gone"),
    "listed": ([NOW - 20 * DAY], "failed"),
    "made anew": ([NOW - 19 * DAY], "already_gone"),
}


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(("dates", "outcome"), LISTED.values(), ids=LISTED)
async def test_outcome_is_what_the_list_shows_without_a_request_more(source, dates, outcome):
    """What is gone may have been accepted, or the killed run sent its DELETE: none is `deleted`."""
    atlas = FakeAtlas()
    atlas.show(*(entry_of(source, created_at=date) for date in dates))
    found = await recover(atlas, opened(source))
    (line,) = found.lines
    assert (line.outcome, line.rule, line.attempts) == (outcome, "forgotten", 0)
    assert (line.recovers, line.http_status, found.messages) == ("killed", None, [])
    assert len(atlas.requested) == 1


async def test_invitation_of_a_deleted_project_is_gone():
    atlas = FakeAtlas(list_results={PROJECT: ProjectGone(PROJECT)})
    assert (await recover(atlas, opened(Source.USERS))).outcomes == ["already_gone"]


async def test_404_for_a_project_that_this_run_has_listed_leaves_the_intent_open():
    atlas = FakeAtlas(list_results={PROJECT: ProjectGone(PROJECT)})
    scope = RunScope(ORG, project_names={PROJECT: "Sandbox Alpha"})
    found = await recover(atlas, opened(Source.USERS), scope=scope)
    (message,) = found.messages
    assert message.startswith("1 deletion of an earlier run in Sandbox Alpha remains unresolved: ")
    assert "still shows the project" in message
    assert found.lines == []


async def test_intents_of_an_unreadable_list_stay_open():
    atlas = FakeAtlas(list_results={PROJECT: UNREADABLE})
    found = await recover(atlas, *(opened(Source.INVITES, n) for n in (1, 2)))
    said = "2 deletions of an earlier run in Sandbox Alpha remain unresolved: Atlas answered 500."
    assert (found.lines, found.messages) == ([], [said])


async def test_intent_of_a_restore_is_unknown_without_a_request_and_hides_none_of_a_sweep():
    atlas = FakeAtlas()
    of_restore = opened(Source.INVITES, mode="restore")
    found = await recover(atlas, of_restore)
    assert (found.outcomes, found.messages, atlas.requested) == (["unknown"], [], [])
    found = await recover(atlas, of_restore, opened(Source.INVITES))
    assert found.outcomes == ["unknown", "already_gone"]


async def test_list_that_the_run_reads_resolves_its_intents_alone_and_is_not_read_again():
    atlas = FakeAtlas()
    found = Recovered(atlas, opened(Source.INVITES, 1), opened(Source.INVITES, 2))
    for project_id, org_id, source in (
        (PROJECT, ORG, Source.USERS),
        (object_id(9), ORG, Source.INVITES),
        (PROJECT, object_id(9), Source.INVITES),
    ):
        found.recovery.recover_list(ListRef(Project(project_id, "p", org_id), source), ())
    assert found.lines == []
    ref = ListRef(Project(PROJECT, "renamed", ORG), Source.INVITES)
    found.recovery.recover_list(ref, (entry_of(Source.INVITES, 2),))
    await found.recovery.recover_rest()
    assert (found.outcomes, atlas.requested) == (["already_gone", "failed"], [])


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
