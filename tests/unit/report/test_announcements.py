"""What waits after a run, and what reached each receiver."""

import json
import stat
from datetime import timedelta

import pytest
from audit.runs import (
    HOST,
    deletion,
    finished,
    invitation,
    last_record,
    planned,
    started,
    write_run,
)
from builders import NOW, ORG, OTHER_ORG, PROJECT, event_of, object_id

from invite_sweeper.audit import History
from invite_sweeper.audit.events import (
    Announced,
    AnnouncementEnded,
    WouldBeAnnounced,
    announcement_key,
)
from invite_sweeper.audit.totals import ListResult
from invite_sweeper.models import Source
from invite_sweeper.report.announcements import find_waiting
from invite_sweeper.report.delivery import FILE_NAME, Delivery
from invite_sweeper.report.readback import read_rows

DAY = timedelta(days=1)
WEEK = timedelta(days=7)


def announced(number=1, kind=Announced, **changes):
    one = invitation(number, **changes)
    return event_of(kind, one, rule="forgotten", deletable_from="2026-12-02T01:00:00Z")


def key_of(line):
    return announcement_key(line)


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
    keys = {key_of(each) for each in seen}
    return find_waiting(history, record, read_rows(record), keys, wait)


def lists(source=Source.INVITES, **changes):
    whole = {"org_id": ORG, "source": source, "complete": True, "entries": 0}
    return (ListResult(**whole | changes),)


def test_what_the_run_announced_and_what_it_saw_again_waits_from_its_announcement_on(write):
    write(announced(1))
    first, second = waiting_after(write(announced(2)), [announced(1)])
    assert (first.username, second.username) == ("person-1@example.com", "person-2@example.com")
    assert (first.run_id, second.run_id) == ("r1", "r2")
    assert (first.announced_at, second.announced_at) == (
        "2026-11-25T01:00:00Z",
        "2026-11-26T01:00:00Z",
    )
    assert (first.deletable_from, second.deletable_from) == (
        "2026-12-02T01:00:00Z",
        "2026-12-03T01:00:00Z",
    )
    assert [first.unread, second.unread] == [False, False]


def test_the_wait_of_the_policy_in_force_counts(write):
    (one,) = waiting_after(write(announced()), wait=30 * DAY)
    assert one.deletable_from == "2026-12-25T01:00:00Z"


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
    is_new = [one.new_to(frozenset()).new for one in (old, would)]
    assert is_new == [False, True]


# What reached each receiver -----------------------------------------------------------------


def delivery(directory, written, host=HOST):
    history, _ = written
    return Delivery(directory.path, history, host)


def missed(directory, history, receiver="SLACK_URL"):
    found = delivery(directory, history).missed(receiver)
    return sorted(int(key[3], 16) for key in found)


def notified(directory, history, *lines, receivers=("SLACK_URL",)):
    assert delivery(directory, history).record(receivers, lines) == ""


def test_a_receiver_missed_what_was_announced_since_its_mark(directory, write):
    history = write(announced(1))
    assert missed(directory, history) == [1]
    notified(directory, history, announced(1))
    assert missed(directory, history) == []
    history = write(announced(2))
    history = write(announced(3), killed=True)  # its message was never sent
    assert missed(directory, history) == [2, 3]
    assert missed(directory, history, "OTHER_URL") == [1, 2, 3]


def test_what_no_message_could_carry_stays_missed_beyond_the_mark(directory, write):
    """The run read neither the organization nor the project, such as one that is excluded now."""
    history = write(announced(1), announced(2))
    notified(directory, history, announced(1))
    assert missed(directory, history) == [2]
    history = write(announced(3))
    notified(directory, history, announced(3))
    assert missed(directory, history) == [2]
    notified(directory, history, announced(2))
    assert missed(directory, history) == []


def test_a_mark_of_another_host_proves_nothing(directory, write):
    history = write(announced(1))
    assert delivery(directory, history, "https://cloud.mongodbgov.com").record(["A_URL"], []) == ""
    assert missed(directory, history, "A_URL") == [1]


def test_marks_of_another_host_and_of_other_receivers_stay(directory, write):
    history = write(announced(1))
    notified(directory, history, announced(1), receivers=("A_URL",))
    delivery(directory, history, "https://cloud.mongodbgov.com").record(["A_URL"], [])
    notified(directory, history, announced(1), receivers=("B_URL",))
    assert missed(directory, history, "A_URL") == missed(directory, history, "B_URL") == []


def test_a_mark_of_a_run_that_the_directory_does_not_have_proves_nothing(directory, write):
    """The directory was restored from a copy, and its next runs have the numbers of lost ones."""
    history = write(announced(1))
    notified(directory, history, announced(1))
    path = directory.path / FILE_NAME
    path.write_text(path.read_text(encoding="utf-8").replace('"r1"', '"r9"'), encoding="utf-8")
    assert missed(directory, history) == [1]


def put_link(path):
    path.unlink()
    path.symlink_to(path.with_name("elsewhere"))


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "not JSON": lambda path: path.write_bytes(b"\xff\xfe"),
    "another shape": lambda path: path.write_bytes(b'{"SLACK_URL": 3}'),
    "nested too deeply": lambda path: path.write_bytes(b"[" * 100_000),
    "a link": put_link,
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_is_damaged_or_gone_makes_everything_new_and_is_replaced(
    directory, write, damage
):
    history = write(announced(1))
    notified(directory, history, announced(1))
    DAMAGE[damage](directory.path / FILE_NAME)
    found = delivery(directory, history)
    assert missed(directory, history) == [1]
    assert ("Receivers are notified again of all" in found.warning) is (damage != "gone")
    notified(directory, history, announced(1))
    assert missed(directory, history) == []
    assert not (directory.path / "elsewhere").exists()


def test_the_file_is_private_and_names_no_person(directory, write):
    history = write(announced(1), announced(2))
    notified(directory, history, announced(1))
    path = directory.path / FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text(encoding="utf-8")
    assert "@" not in text
    (mark,) = json.loads(text)["SLACK_URL"].values()
    assert mark["run"] == "r1"
    assert mark["untold"][0][3] == object_id(2)


def test_a_file_that_cannot_be_written_is_reported_and_everything_sent_again(directory, write):
    history = write(announced(1))
    (directory.path / FILE_NAME).mkdir()
    failure = delivery(directory, history).record(["SLACK_URL"], [announced(1)])
    assert "The next run notifies the receivers again of what was announced." in failure
    assert missed(directory, history) == [1]
