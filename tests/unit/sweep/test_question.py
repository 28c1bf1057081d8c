"""The question before a sweep deletes: what it shows, and what holds if it was open for long."""

from datetime import timedelta

import pytest
from builders import ORG, changed, entry_of, invitation, object_id, project
from sweep.night import Night, message

from invite_sweeper.audit.events import Intent, OutcomeLine, Planned
from invite_sweeper.endings import Reason
from invite_sweeper.errors import AtlasUnavailable
from invite_sweeper.models import ListUnreadable, Source, SourceRetired


async def test_question_has_the_counts_of_all_and_its_time_is_not_the_runs(directory):
    night = Night(directory, 1, 2, 0)
    asked = []

    def answer(result):
        lists = [*night.atlases[1].requested]
        asked.append((result.stale, len(result.organizations), night.deleted, lists))
        night.clock_s += 60
        return True

    night.clock_s = 10.0
    result = await night.run(answer=answer)
    assert asked == [(3, 3, [0, 0, 0], [object_id(2)])]
    assert (result.duration_s, result.changed, night.deleted) == (10.0, 0, [1, 2, 0])
    assert night.atlases[1].requested == [object_id(2)]


UNREAD = ListUnreadable(object_id(1), "p0", "HTTP 500.", 500, org_id=ORG)


def after(night, seconds, change=lambda: None):
    """Return an answer that takes a time, in which Atlas changes."""

    def answer(_):
        night.clock_s += seconds
        change()
        return True

    return answer


async def test_long_question_leaves_out_what_changed_meanwhile(directory):
    night = Night(directory, 1)
    (atlas,) = night.atlases
    own = {"project_id": object_id(1), "source": Source.INVITES}
    one = atlas.lists[object_id(1)][0]
    two, three, four = (invitation(n, project_name="p0", **own) for n in (50, 51, 52))
    atlas.lists[object_id(1)] = (one, two, three, four)

    def change():
        promoted = changed(two, roles=("GROUP_OWNER",))
        later = changed(three, expires_at=three.sent_at + timedelta(days=60))
        atlas.lists[object_id(1)] = (promoted, later, four)

    result = await night.run(answer=after(night, 61, change))
    assert len(night.events(Planned)) == 4
    assert atlas.deleted == [four.invitation_id]
    assert (result.deleted, result.changed, result.exit_code) == (1, 3, 0)
    assert [each.invitation_id for each in night.events(Intent)] == [four.invitation_id]
    assert len(night.events(OutcomeLine)) == 4
    assert night.view.warnings[-1].message.startswith("3 planned invitations changed or left")


@pytest.mark.parametrize(
    ("change", "outcome", "told"),
    [
        ({"list_results": {object_id(1): UNREAD}}, "skipped", None),
        (
            {"list_results": {object_id(1): AtlasUnavailable("No connection.")}},
            "skipped",
            "No connection.",
        ),
        ({"listed": [project(1, name="renamed")]}, "changed", None),
    ],
    ids=["unread", "failed", "out of scope"],
)
async def test_long_question_deletes_nothing_in_a_list_that_cannot_be_read_again(
    directory, change, outcome, told
):
    """What was not read again is not called changed, and is reported with its reason."""
    night = Night(directory, 2, 1, projects={"include": ["p*"]})
    answer = after(night, 61, lambda: vars(night.atlases[0]).update(change))
    result = await night.run(answer=answer)
    assert night.deleted == [0, 1]
    lines = [each.outcome for each in night.events(OutcomeLine)]
    assert lines == [outcome, outcome, "deleted"]
    first, second = result.organizations
    assert (getattr(first, outcome), second.deleted) == (2, 1)
    assert (first.error and first.error["message"]) == told
    assert (first.plan_made, second.plan_made) == (True, True)
    unread = UNREAD in change.get("list_results", {}).values()
    assert night.events(ListUnreadable) == ([UNREAD] if unread else [])
    assert (first.projects_unreadable, first.plan_complete) == (int(unread), not unread)
    (not_read,) = (read.unread for read in result.lists if read.org_id == ORG)
    assert not_read == ((object_id(1),) if unread else ())
    assert result.exit_code == (0 if outcome == "changed" else 4)


@pytest.mark.parametrize(
    ("gone", "deleted"), [(0, 20), (1, 19), (30, 12), (60, 5)], ids="{}".format
)
async def test_long_question_after_which_fewer_are_seen_trims_again_instead_of_refusing(
    directory, gone, deleted
):
    """20 of 80 are planned, a quarter; of fewer, a quarter is fewer, and the oldest stay in."""
    limits = {"over_limit": "trim", "max_share": 0.25}
    night = Night(directory, 0, limits=limits)
    (atlas,) = night.atlases
    (place,) = atlas.lists
    ages = [timedelta(days=60 - number) for number in range(30)] + [timedelta(days=1)] * 50
    entries = [
        invitation(n, age=age, project_id=place, project_name="p0", source=Source.INVITES)
        for n, age in enumerate(ages)
    ]
    atlas.lists[place] = tuple(entries)

    def change():
        atlas.lists[place] = tuple(entries[: len(entries) - gone])

    result = await night.run(answer=after(night, 61, change))
    assert (result.planned, result.trimmed) == (20, 10)
    assert atlas.deleted == [entry.invitation_id for entry in entries[:deleted]]
    assert (result.deleted, result.skipped) == (deleted, 20 - deleted)
    assert (result.changed, result.exit_code) == (0, 4 if deleted < 20 else 0)
    told = [each.message for each in night.view.warnings if "exceeded the limits" in each.message]
    assert len(told) == (deleted < 20)


async def test_long_question_after_which_a_share_is_exceeded_refuses_all_without_trim(directory):
    limits = {"max_share": 0.25}
    night = Night(directory, 20, limits=limits)
    (atlas,) = night.atlases
    (place,) = atlas.lists
    young = [
        invitation(500 + n, age=timedelta(days=1), project_id=place, source=Source.INVITES)
        for n in range(60)
    ]
    stale = atlas.lists[place]
    atlas.lists[place] = (*stale, *young)
    answer = after(night, 61, lambda: atlas.lists.update({place: (*stale, *young[:59])}))
    result = await night.run(answer=answer)
    assert (result.exit_code, result.reasons, night.deleted) == (3, ("max_share",), [0])


async def test_list_that_atlas_retires_during_a_long_question_is_not_called_changed(directory):
    night = Night(directory, 2, sources=["invites", "org_users"])
    retired = SourceRetired(None, None, "Atlas retired the list.", 410, source=Source.INVITES)
    change = {object_id(1): retired}
    (atlas,) = night.atlases
    result = await night.run(answer=after(night, 61, lambda: atlas.list_results.update(change)))
    assert (night.deleted, result.changed, result.skipped) == ([0], 0, 2)
    assert result.reasons == (Reason.RETIRED_SOURCE,)


@pytest.mark.parametrize("again", [UNREAD, changed(UNREAD, reason="HTTP 503.", http_status=503)])
async def test_list_that_neither_reading_could_read_counts_once_whatever_the_second_answer_is(
    directory, again
):
    night = Night(directory, 0, 1)
    (first, _) = night.atlases
    first.list_results[object_id(1)] = UNREAD
    change = {object_id(1): again}
    result = await night.run(answer=after(night, 61, lambda: first.list_results.update(change)))
    assert (night.deleted, result.projects_unreadable) == ([0, 1], 1)
    assert night.events(ListUnreadable) == [UNREAD]
    (unread,) = (read.unread for read in result.lists if read.org_id == ORG)
    assert unread == (object_id(1),)


@pytest.mark.parametrize("source", ["org_users", "users"])
async def test_person_whose_other_list_cannot_be_read_again_is_not_called_changed(
    directory, source
):
    night = Night(directory, 0, sources=["org_users", "users"])
    (atlas,) = night.atlases
    place = {"project_id": object_id(1), "project_name": "p0"}
    of_org = {"project_roles": ((object_id(1), "R"),), "linked_projects": ((object_id(1), "p0"),)}
    atlas.lists = {
        (Source.ORG_USERS, ORG): (entry_of(Source.ORG_USERS, **of_org),),
        (Source.USERS, object_id(1)): (entry_of(Source.USERS, **place),),
    }
    place_id = ORG if source == "org_users" else object_id(1)
    unread = ListUnreadable(None, None, "HTTP 500.", 500, None, Source(source), ORG)
    change = {(Source(source), place_id): unread}
    result = await night.run(answer=after(night, 61, lambda: atlas.list_results.update(change)))
    assert (night.deleted, result.changed, result.skipped) == ([0], 0, 1)


def unreadable(count):
    return [ListUnreadable("??", f"Odd {number}", "malformed id") for number in range(count)]


@pytest.mark.parametrize(("unread", "refused"), [(2, False), (3, True)])
async def test_guards_hold_for_what_is_read_after_a_long_question(directory, unread, refused):
    night = Night(directory, 1, 1, limits={"max_unreadable_projects": 2})
    night.atlases[1].listed += unreadable(1)
    answer = after(night, 61, lambda: night.atlases[0].listed.extend(unreadable(unread - 1)))
    result = await night.run(answer=answer)
    assert (night.deleted, result.projects_unreadable) == ([0, 0] if refused else [1, 1], unread)
    assert result.reasons == (
        (Reason.MAX_UNREADABLE_PROJECTS,) if refused else (Reason.UNREADABLE_PROJECTS,)
    )


async def test_refused_question_deletes_nothing(directory):
    night = Night(directory, 1)
    result = await night.run(answer=lambda _: False)
    assert (message(result), result.error["consequence"]) == ("Cancelled.", "Nothing was deleted.")
    assert (night.deleted, result.exit_code, result.plan_made) == ([0], 3, True)


@pytest.mark.parametrize("answer", [True, False])
async def test_stop_while_the_question_is_open_deletes_nothing(directory, answer):
    night = Night(directory, 1)
    result = await night.run(answer=lambda _: night.stop.request("SIGTERM came") or answer)
    assert (result.exit_code, result.error["consequence"]) == (8, "Nothing was deleted.")
    assert night.deleted == [0]
