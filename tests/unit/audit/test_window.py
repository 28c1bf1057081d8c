"""What a run reads of earlier ones: as far back as it asks, and at least the last 30 runs."""

from datetime import datetime, timedelta

import pytest
from audit.runs import HOST, deletion, intent, invitation, outcome, planned, started, write_run
from builders import NOW, ORG, event_of

from invite_sweeper.audit import AuditDirectory, History
from invite_sweeper.audit.directory import MIN_RUNS
from invite_sweeper.audit.events import Announced, announcement_key
from invite_sweeper.errors import DamagedLog

DAY = timedelta(days=1)


def run_at(directory: AuditDirectory, at: datetime, *lines: object, **more: object) -> None:
    """Write the run of an instant; its name has it, as a sweep's."""
    run_id = f"{at:%Y%m%dT%H%M%SZ}-{len(directory.files()):08x}"
    start = started(now=f"{at:%Y-%m-%dT%H:%M:%SZ}")
    write_run(directory, run_id, *lines, start=start, at=at, **more)


def run_id_of(directory: AuditDirectory, number: int) -> str:
    return directory.find(str(number)).run_id


def first_read(directory: AuditDirectory, now: datetime = NOW) -> int:
    """Return the number of the first run that one at an instant reads."""
    reader = directory.recent(now - 100 * DAY)
    return reader.files[reader.first].number


def test_a_run_reads_the_last_hundred_days_however_many_they_have(directory):
    for days in range(140, 0, -1):
        run_at(directory, NOW - days * DAY)
    assert first_read(directory) == 41
    assert first_read(directory, NOW + 1000 * DAY) == 140 - MIN_RUNS + 1


def test_a_clock_that_was_set_back_for_one_run_hides_none_before_it(directory):
    for days in range(140, 0, -1):
        run_at(directory, NOW - (9_000 if days == 20 else days) * DAY)
    assert first_read(directory) == 41


def test_fewer_than_thirty_runs_are_all_read_and_so_are_names_without_an_instant(directory):
    for days in range(MIN_RUNS, 0, -1):
        run_at(directory, NOW - (days + 500) * DAY)
    assert first_read(directory) == 1
    write_run(directory, "other")
    run_at(directory, NOW - 400 * DAY)
    assert first_read(directory) == 3


def announced(number: int) -> Announced:
    deletable_from = "2026-12-02T01:00:00Z"
    return event_of(Announced, invitation(number), rule="r", deletable_from=deletable_from)


def years(directory: AuditDirectory) -> None:
    """Write a deletion of person 1 and an open intent of person 2, and a hundred nights later."""
    run_at(directory, NOW - 300 * DAY, *deletion(1), intent(planned(2)), killed=True)
    for days in range(110, 0, -1):
        run_at(directory, NOW - days * DAY, *(deletion(1) if days in (99, 50) else ()))


def test_what_is_older_decides_nothing_and_is_not_opened(directory):
    years(directory)
    oldest = directory.files()[0].path
    oldest.write_bytes(b"x" * 100)
    history = History.read(directory, NOW)
    assert history.sent.total() == 2
    assert history.open_intents(HOST) == {}
    with pytest.raises(DamagedLog):
        directory.reader().read()


def test_of_old_nights_what_is_open_or_announced_counts_and_what_was_sent_does_not(directory):
    """The deletions of an old night are paired without being decoded, and end what they ended."""
    run_at(directory, NOW - 70 * DAY, announced(1), announced(2))
    run_at(directory, NOW - 60 * DAY, *deletion(1), *deletion(3), intent(planned(4)), killed=True)
    run_at(directory, NOW - 50 * DAY, *deletion(5), intent(planned(6)), killed=True)
    found = History.read(directory, NOW, period=timedelta(hours=20))
    assert [each.intent.key for each in found.open_intents(HOST)[ORG]] == [
        planned(4).key,
        planned(6).key,
    ]
    assert list(found.announcements(HOST)) == [announcement_key(invitation(2))]
    assert found.sent == {}
    recovered = outcome(planned(4), "already_gone", attempts=0, recovers=run_id_of(directory, 2))
    run_at(directory, NOW - 40 * DAY, recovered)
    found = History.read(directory, NOW)
    assert [each.intent.key for each in found.open_intents(HOST)[ORG]] == [planned(6).key]


def test_a_longer_period_is_read_as_far_back_as_it_asks(directory):
    years(directory)
    assert History.read(directory, NOW).sent.total() == 2
    assert History.read(directory, NOW, period=301 * DAY).sent.total() == 4


def test_a_gap_in_the_numbers_is_seen_however_old_it_is(directory):
    years(directory)
    directory.files()[1].path.unlink()
    with pytest.raises(DamagedLog, match="file 000002 is missing"):
        History.read(directory, NOW)
    directory.files()[0].path.unlink()
    History.read(directory, NOW)
