"""What waits after a run."""

from datetime import timedelta

import pytest
from audit.runs import (
    announced,
    deletion,
    finished,
    invitation,
    last_record,
    planned,
    started,
    write_run,
)
from builders import NOW, ORG, OTHER_ORG, PROJECT, event_of

from invite_sweeper.audit import History
from invite_sweeper.audit.events import (
    AnnouncementEnded,
    ListResult,
    WouldBeAnnounced,
    announcement_key,
)
from invite_sweeper.audit.reader import read_back
from invite_sweeper.models import Source
from invite_sweeper.sweep.waiting import find_waiting

DAY = timedelta(days=1)
WEEK = timedelta(days=7)


@pytest.fixture
def write(directory):
    """Write the next run, a day after the one before; return the history and the record."""

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
    first, second = waiting_after(write(announced(2)), [announced(1)])
    assert (first.username, second.username) == ("person-1@example.com", "person-2@example.com")
    assert (first.new, second.new) == (False, True)
    assert (first.announced_at, second.announced_at) == (
        "2026-11-25T01:00:00Z",
        "2026-11-26T01:00:00Z",
    )
    assert (first.deletable_from, second.deletable_from) == (
        "2026-12-02T01:00:00Z",
        "2026-12-03T00:00:00Z",
    )
    assert [first.unread, second.unread] == [False, False]


def test_the_wait_of_the_policy_in_force_counts(write):
    (one,) = waiting_after(write(announced()), wait=30 * DAY)
    assert one.deletable_from == "2026-12-25T00:00:00Z"


@pytest.mark.parametrize(
    ("outcome", "waits"),
    [
        ("deleted", False),
        ("already_gone", False),
        ("accepted_before", False),
        ("failed", True),
        ("unknown", True),
        ("skipped", True),
        ("changed", True),
    ],
)
def test_what_the_run_has_ended_does_not_wait_and_what_it_could_not_end_does(write, outcome, waits):
    write(announced())
    found = waiting_after(write(*deletion(1, outcome)), [announced()])
    assert bool(found) is waits


def test_what_the_run_planned_and_did_not_attempt_waits(write):
    write(announced())
    assert len(waiting_after(write(planned(1), exit_code=3), [announced()])) == 1


def test_an_announcement_that_the_run_ended_does_not_wait(write):
    write(announced())
    ended = event_of(AnnouncementEnded, invitation(1), reason="keep:board")
    assert waiting_after(write(ended)) == ()


PROJECT_UNREAD = {"unread": (PROJECT,), "complete": False}


@pytest.mark.parametrize(
    ("end", "unread"),
    [
        ({"lists": lists()}, None),  # accepted, or revoked by another program
        ({"lists": lists(**PROJECT_UNREAD)}, True),
        ({"lists": lists(unread=("f" * 24,))}, None),
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


def test_what_another_policy_of_the_directory_announced_is_not_sent(write):
    write(announced(1, org_id=OTHER_ORG))
    assert waiting_after(write()) == ()


def test_another_host_has_announcements_of_its_own(write):
    write(announced(1))
    assert waiting_after(write(start={"base_url": "https://cloud.mongodbgov.com"})) == ()


def test_dry_run_shows_what_a_sweep_would_announce_beside_what_waits(write):
    write(announced(1))
    history = write(announced(2, WouldBeAnnounced), mode="dry-run")
    old, would = waiting_after(history, [announced(1)])
    assert (old.announced_at is None, would.announced_at is None) == (False, True)
    assert would.deletable_from == "2026-12-02T01:00:00Z"
    assert [one.new for one in (old, would)] == [False, True]


@pytest.mark.parametrize("narrowed_to", ["Other", "0" * 24])
@pytest.mark.parametrize("named", [("sEaRch",), (PROJECT,), ()])
def test_what_waits_in_a_project_that_a_narrowed_run_did_not_read_is_named_as_unread(
    write, narrowed_to, named
):
    write(announced(1, project_id=PROJECT, project_name="Search"))
    (found,) = waiting_after(write(start={"projects": (narrowed_to,)}, lists=lists()))
    assert found.unread
    assert waiting_after(write(start={"projects": named}, lists=lists())) == ()
