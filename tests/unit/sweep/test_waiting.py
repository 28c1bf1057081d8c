"""What waits after a run."""

import pytest
from audit.runs import announced, deletion, finished, last_record, planned, started, write_run
from builders import DAY, NOW, ORG, OTHER_ORG, PROJECT, WEEK, object_id

from invite_sweeper.audit import History
from invite_sweeper.audit.events import ListResult, WouldBeAnnounced, announcement_key
from invite_sweeper.audit.reader import read_back
from invite_sweeper.models import Source
from invite_sweeper.sweep.waiting import find_waiting


@pytest.fixture
def write(directory):

    def write(*lines, mode="sweep", start=None, killed=False, **end):
        number = len(directory.files()) + 1
        at = NOW + (number - 1) * DAY
        first = started(mode=mode, **{"now": at.isoformat(), **(start or {})})
        last = finished(**end)
        write_run(directory, f"r{number}", *lines, start=first, end=last, killed=killed, at=at)
        return History.read(directory, NOW), last_record(directory)

    return write


def waiting_after(written, seen=(), wait=WEEK):
    """Return what waits after the last run, which saw the announcements of these lines."""
    history, record = written
    keys = {announcement_key(each) for each in seen}
    return find_waiting(history, read_back(record), keys, wait)


def lists(source=Source.INVITES, **changes):
    whole = {"org_id": ORG, "source": source, "complete": True, "entries": 0}
    return (ListResult(**whole | changes),)


def test_what_the_run_announced_and_what_it_saw_again_waits_from_its_announcement_on(write):
    write(announced(1))
    found = waiting_after(write(announced(2)), [announced(1)])
    assert [(one.new, one.announced_at, one.deletable_from) for one in found] == [
        (False, "2026-11-25T01:00:00Z", "2026-12-02T01:00:00Z"),
        (True, "2026-11-26T01:00:00Z", "2026-12-03T00:00:00Z"),
    ]
    assert [one.unread for one in found] == [False, False]


def test_the_wait_of_the_policy_in_force_counts(write):
    (one,) = waiting_after(write(announced()), wait=30 * DAY)
    assert one.deletable_from == "2026-12-25T00:00:00Z"


@pytest.mark.parametrize(
    ("outcomes", "waits"),
    [
        (("deleted", "already_gone", "accepted_before"), False),
        (("failed", "unknown", "skipped"), True),
    ],
)
def test_what_the_run_has_ended_does_not_wait_and_what_it_could_not_end_does(
    write, outcomes, waits
):
    for number, outcome in enumerate(outcomes):
        write(announced(number))
        found = waiting_after(write(*deletion(number, outcome)), [announced(number)])
        assert (object_id(number) in {one.invitation_id for one in found}) is waits


def test_what_the_run_planned_and_did_not_attempt_waits(write):
    write(announced())
    assert len(waiting_after(write(planned(1), exit_code=3), [announced()])) == 1


PROJECT_UNREAD = {"unread": (PROJECT,), "complete": False}


@pytest.mark.parametrize(
    ("end", "unread"),
    [
        ({"lists": lists()}, None),  # accepted, or revoked by another program
        ({"lists": lists(**PROJECT_UNREAD)}, True),
        ({"lists": lists(org_id=OTHER_ORG)}, True),  # the organization itself failed
        ({"lists": lists(source=Source.USERS, **PROJECT_UNREAD)}, True),
        ({"exit_code": 6, "plan_made": False}, True),
        ({"sources_retired": ("invites",)}, None),
    ],
)
def test_what_the_run_did_not_see_waits_where_its_list_was_not_read(write, end, unread):
    write(announced())
    found = waiting_after(write(**end))
    assert [one.unread for one in found] == ([] if unread is None else [unread])


def test_what_another_policy_announced_or_for_another_host_is_not_sent(write):
    write(announced(1, org_id=OTHER_ORG))
    assert waiting_after(write()) == ()
    assert waiting_after(write(start={"base_url": "https://cloud.mongodbgov.com"})) == ()


def test_dry_run_shows_what_a_sweep_would_announce_beside_what_waits(write):
    write(announced(1))
    history = write(announced(2, WouldBeAnnounced), mode="dry-run")
    old, would = waiting_after(history, [announced(1)])
    assert (old.announced_at is None, would.announced_at is None) == (False, True)
    assert would.deletable_from == "2026-12-02T01:00:00Z"
    assert [one.new for one in (old, would)] == [False, True]


def test_what_waits_in_a_project_that_a_narrowed_run_did_not_read_is_named_as_unread(write):
    write(announced(1, project_id=PROJECT, project_name="Search"))
    for projects in (("Other",), ("0" * 24,), ("sEaRch",), (PROJECT,), ()):
        found = waiting_after(write(start={"projects": projects}, lists=lists()))
        is_outside = projects in {("Other",), ("0" * 24,)}
        assert [one.unread for one in found] == [True] * is_outside
