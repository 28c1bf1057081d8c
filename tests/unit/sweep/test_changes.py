"""The comparison of a plan with the last one of the same policy: what changed since."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from audit.runs import deletion, finished, outcome, planned, started, write_run
from builders import ORG, PROJECT, entry_of, event_of, invitation, object_id
from hypothesis import given, settings
from hypothesis import strategies as st

from invite_sweeper.audit import AuditDirectory, History, PlanScope
from invite_sweeper.audit.events import Planned
from invite_sweeper.audit.totals import ListResult, OrganizationResult, PlanChanges
from invite_sweeper.models import ListUnreadable, Source
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.sweep.steps import ChangeTracker

SCOPE = PlanScope("a" * 64, frozenset({ORG}), "https://cloud.mongodb.com")
THEN = "2026-11-24T01:00:00Z"


def unread(source=Source.INVITES, org_id=ORG):
    return ListUnreadable(PROJECT, "Sandbox Alpha", "403", source=source, org_id=org_id)


def line(number, **changes):
    return planned(number, **{"source": Source.INVITES, **changes})


def write_plan(directory, numbers=(), *more, run_id="r1", mode="dry-run", **end):
    """Write a run that planned these invitations."""
    start = started(mode=mode, now=THEN)
    write_run(directory, run_id, *map(line, numbers), *more, start=start, end=finished(**end))


def decided(one, *, stale=True):
    return Decision(one, "r", None) if stale else Decision(one, None, "too_young")


def tracker_of(directory):
    return ChangeTracker(History.read(directory).last_plan(SCOPE))


def compare(directory, stale=(), kept=(), unread=(), retired=()):
    """Return new, still stale, deleted, no longer stale, not read."""
    tracker = tracker_of(directory)
    for number in (*stale, *kept):
        tracker(decided(invitation(number, source=Source.INVITES), stale=number in stale))
    return counts(tracker.result(unread, retired))


def counts(changes):
    found = changes.new, changes.still_stale, changes.deleted
    return (*found, changes.no_longer_stale, changes.not_read)


def test_each_invitation_of_both_plans_is_counted_once(directory):
    write_plan(directory, (1, 2, 3, 4))
    assert compare(directory, stale=(1, 5, 6), kept=(2, 7)) == (2, 1, 0, 3, 0)
    assert tracker_of(directory).result((), ()) == PlanChanges(
        run_id="r1", now=THEN, new=0, still_stale=0, deleted=0, no_longer_stale=4, not_read=0
    )


def test_only_what_is_stale_now_and_was_not_planned_then_is_marked_as_new(directory):
    write_plan(directory, (1, 2))
    tracker = tracker_of(directory)
    own = [invitation(n, source=Source.INVITES) for n in (1, 3, 4)]
    found = [tracker(decided(one, stale=one.invitation_id != object_id(4))) for one in own]
    assert [each.new for each in found] == [False, True, False]
    assert [each.stale for each in found] == [True, True, False]


@pytest.mark.parametrize(
    ("kind", "deleted"),
    [("deleted", 1), ("accepted_during", 0), ("already_gone", 0), ("failed", 0), ("skipped", 0)],
)
def test_what_the_sweep_deleted_is_not_called_no_longer_stale(directory, kind, deleted):
    write_plan(directory, (1, 2), outcome(line(1), kind), mode="sweep", exit_code=4)
    assert compare(directory, stale=(2,)) == (0, 1, deleted, 1 - deleted, 0)


@pytest.mark.parametrize("killed", [True, False])
def test_what_a_later_run_deleted_is_deleted(directory, killed):
    write_plan(directory, (1, 2, 3))
    lines = [*deletion(1, source=Source.INVITES), *deletion(2, source=Source.INVITES)]
    write_run(directory, "r2", *lines, start=started(plan_sha256="d" * 64), killed=killed)
    assert compare(directory, stale=(3,)) == (0, 1, 2, 0, 0)


def test_what_a_run_deleted_before_the_plan_is_not_counted(directory):
    write_run(directory, "r0", *deletion(1, source=Source.INVITES))
    write_plan(directory, (1, 2))
    assert compare(directory) == (0, 0, 0, 2, 0)


def test_same_id_in_another_list_or_organization_is_another_invitation(directory):
    write_plan(directory, (1,))
    for changes in ({"source": Source.USERS}, {"org_id": "f" * 24}, {"project_id": "f" * 24}):
        other = invitation(1, **{"source": Source.INVITES, **changes})
        assert tracker_of(directory)(decided(other)).new
    assert not tracker_of(directory)(decided(invitation(1, source=Source.INVITES))).new


def test_person_whose_delete_goes_through_another_list_now_is_not_new(directory):
    in_org, in_project = (entry_of(each) for each in (Source.ORG_USERS, Source.USERS))
    named = event_of(Planned, in_org, rule="forgotten", entries=(in_project.as_entry,))
    write_plan(directory, (), named)
    tracker = tracker_of(directory)
    assert not tracker(decided(in_project)).new
    assert counts(tracker.result((), ())) == (0, 1, 0, 0, 0)
    whole = decided(in_org)._replace(entries=(in_project,))
    assert not tracker_of(directory)(whole).new


# Lists that were not read -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unread", "retired", "not_read"),
    [
        ([unread()], [], 3),
        ([unread(Source.USERS)], [], 0),
        ([unread(org_id="f" * 24)], [], 0),
        ([], [Source.INVITES], 3),
        ([], [Source.USERS], 0),
    ],
)
def test_planned_invitations_in_a_list_that_is_not_read_now_are_not_called_no_longer_stale(
    directory, unread, retired, not_read
):
    write_plan(directory, (1, 2, 3))
    found = compare(directory, unread=unread, retired=retired)
    assert found == (0, 0, 0, 3 - not_read, not_read)


def unread_then(source):
    read = ListResult(org_id=ORG, source=source, complete=False, entries=0, unread=(PROJECT,))
    return {"lists": (read,)}


def retired_then(source):
    return {"sources_retired": (source.value,)}


@pytest.mark.parametrize("end", [unread_then, retired_then])
@pytest.mark.parametrize(("source", "new"), [(Source.INVITES, 0), (Source.USERS, 1)])
def test_stale_invitation_of_a_list_that_was_not_read_then_is_not_new(directory, end, source, new):
    write_plan(directory, **end(source))
    assert compare(directory, stale=(9,)) == (new, 0, 0, 0, 1 - new)


@settings(max_examples=40)
@given(
    then=st.sets(st.integers(1, 6)),
    deleted=st.sets(st.integers(1, 6)),
    found=st.dictionaries(st.integers(1, 9), st.booleans()),
    was_unread=st.booleans(),
    is_unread=st.booleans(),
)
def test_counts_add_up_to_both_plans(then, deleted, found, was_unread, is_unread):
    with TemporaryDirectory() as folder:
        directory = AuditDirectory(Path(folder))
        more = [outcome(line(n)) for n in sorted(then & deleted)]
        end = unread_then(Source.INVITES) if was_unread else {}
        write_plan(directory, sorted(then), *more, mode="sweep", **end)
        new, still_stale, gone, no_longer, not_read = compare(
            directory,
            stale=[number for number, stale in found.items() if stale],
            kept=[number for number, stale in found.items() if not stale],
            unread=[unread()] if is_unread else [],
        )
    stale_now = {number for number, stale in found.items() if stale}
    assert new + still_stale + not_read + gone + no_longer == len(then | stale_now)
    assert still_stale == len(then & stale_now)
    assert gone == len((then & deleted) - stale_now)
    assert not (new and was_unread)
    assert not (no_longer and is_unread)


@pytest.mark.parametrize("plan_made", [True, False])
def test_stale_invitation_of_an_organization_that_was_not_planned_then_is_not_new(
    directory, plan_made
):
    write_plan(directory, organizations=(OrganizationResult(id=ORG, plan_made=plan_made),))
    assert compare(directory, stale=(9,)) == (plan_made, 0, 0, 0, not plan_made)
