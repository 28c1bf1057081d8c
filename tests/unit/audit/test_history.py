"""What the files of earlier runs say: what a run relies on, and what was done with a person."""

import shutil
from datetime import UTC, date, datetime, timedelta

import pytest
from audit.runs import (
    HOST,
    announced,
    deletion,
    finished,
    intent,
    invitation,
    outcome,
    planned,
    records,
    started,
    write_run,
)
from builders import DAY, NOW, ORG, OTHER_ORG, PROJECT, object_id
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from invite_sweeper.audit import AuditDirectory, History, LineFilter, verify_directory
from invite_sweeper.audit.directory import MIN_RUNS
from invite_sweeper.audit.events import OrganizationResult, OutcomeLine, announcement_key
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.person import HistoryReader, last_deletions
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import DamagedLog
from invite_sweeper.models import Entry, Source
from invite_sweeper.outcomes import Outcome
from invite_sweeper.text import Globs

SCOPE = "b" * 64
OTHER_PROJECT = object_id(500)
IN_ORGANIZATION = {"source": Source.ORG_USERS, "project_id": None, "project_name": None}
ROW = Entry(Source.USERS, OTHER_PROJECT, object_id(41))
ELSEWHERE = {"base_url": "https://cloud.mongodbgov.com"}
DRY = {"mode": "dry-run"}
RESTORE = {"mode": "restore"}
OF_A_PLAN = {"plan_sha256": "c" * 64}


@pytest.fixture
def write(directory):
    """Write the next run, `r1`, `r2` and so on; return what all of them say."""

    def write(*lines, start=None, killed=False, at=NOW, **end):
        """Write these lines; `start` and `end` are fields of the first and the last one."""
        ends = {"start": started(**start or {}), "end": finished(**end)}
        run_id = f"r{len(directory.files()) + 1}"
        write_run(directory, run_id, *lines, killed=killed, at=at, **ends)
        return History.read(directory, NOW)

    return write


@pytest.mark.parametrize("result", Outcome)
@pytest.mark.parametrize("period", [timedelta(), timedelta(hours=20)])
def test_a_deletion_without_an_answer_is_open_until_a_run_names_it(
    directory, write, result, period
):
    write(*deletion(1, result))
    found = History.read(directory, NOW + timedelta(hours=1), period=period)
    opened = [each.intent.key for each in found.open_intents(HOST).get(ORG, ())]
    assert opened == [planned(1).key] * (result is Outcome.UNKNOWN)
    assert found.open_intents(ELSEWHERE["base_url"]) == {}
    assert records(directory)[-1].open_requests == 0
    found = write(outcome(planned(1), "already_gone", recovers="r1"))
    assert found.open_intents(HOST) == {}


UNSENT = {Outcome.SKIPPED, Outcome.CHANGED, Outcome.ACCEPTED_BEFORE}


class TestSent:
    @pytest.mark.parametrize(
        ("result", "changes", "counted"),
        [
            *((each, {}, each not in UNSENT) for each in Outcome),
            ("failed", {"attempts": 0}, False),
            ("failed", {"attempts": 0, "recovers": "r1"}, True),  # the killed run may have sent it
            ("skipped", {"recovers": "r1"}, True),
        ],
    )
    def test_an_intent_counts_unless_its_run_sent_nothing(self, write, result, changes, counted):
        lines = deletion()[:2]
        last = outcome(planned(), result, **changes)
        if "recovers" in changes:
            assert write(*lines, killed=True).sent.total() == 1
            lines = []
        assert write(*lines, last).sent.total() == counted

    def test_an_invitation_counts_once_and_for_the_project_that_names_it(self, write):
        more = deletion(4, entries=(ROW,), **IN_ORGANIZATION)
        one = deletion(1, entries=(ROW,))
        there = deletion(3, project_id=OTHER_PROJECT)
        found = write(*one, *deletion(2), *there, *more)
        assert found.sent == {PROJECT: 2, OTHER_PROJECT: 1, ORG: 1}
        found = write(*deletion(1)[:2], start=ELSEWHERE, killed=True)
        assert found.sent.total() == 5
        assert write(*deletion(6, "restored"), start=RESTORE).sent.total() == 5
        assert write(*deletion(7)[:2], start=RESTORE, killed=True).sent.total() == 5

    @pytest.mark.parametrize("killed", [False, True])
    @pytest.mark.parametrize("stepped", [timedelta(days=-90), timedelta(), timedelta(days=90)])
    def test_the_period_is_counted_from_the_now_of_the_run_whatever_its_clock_did_later(
        self, directory, write, stepped, killed
    ):
        lines = deletion(1)[:2] if killed else deletion(1)
        write(*lines, at=NOW + stepped, killed=killed)
        period = timedelta(hours=20)
        end = NOW + period  # its start is not in it
        for now, count in ((end, 0), (end - timedelta.resolution, 1), (NOW, 1)):
            assert History.read(directory, now, period=period).sent.total() == count
        assert History.read(directory, NOW, period=timedelta()).sent == {}

    def test_a_run_without_a_readable_instant_counts_but_within_no_period(self, directory, write):
        write(*deletion(1), start={"now": "yesterday"})
        for period, count in ((timedelta(hours=20), 1), (timedelta(), 0)):
            assert History.read(directory, NOW, period=period).sent.total() == count


class TestAnnouncements:
    def test_it_holds_from_the_instant_of_its_run_against_its_host(self, write):
        assert History().announcements(HOST) == {}
        write(announced(), at=NOW + timedelta(hours=1), killed=True)
        write(announced(2), start=ELSEWHERE)
        found = write(announced(3), start={"now": "yesterday"})
        (held,) = found.announcements(HOST).items()
        due_at = datetime(2026, 12, 2, 1, tzinfo=UTC)
        assert held == (announcement_key(invitation()), (announced(), NOW, due_at, "r1"))

    def test_without_a_readable_day_it_does_not_hold(self, write):
        unreadable = structs.replace(announced(), deletable_from="soon")
        assert write(unreadable).announcements(HOST) == {}


@pytest.mark.parametrize("code", ExitCode)
def test_a_sweep_that_completed_a_plan_has_used_it(write, code):
    write(start=OF_A_PLAN, killed=True)
    write(start=DRY | OF_A_PLAN)
    write(start={"plan_sha256": "d" * 64})
    found = write(start=OF_A_PLAN, exit_code=code).applied_by(OF_A_PLAN["plan_sha256"])
    assert (found.run_id if found else None) == ("r4" if code in {0, 4} else None)


def organization(org_id: str = ORG, **changes: object) -> OrganizationResult:
    return OrganizationResult(id=org_id, **changes)


def test_projects_seen_are_those_of_the_last_finished_run_of_a_scope_that_listed_them(write):
    write(organizations=(organization(projects_seen=3), organization(OTHER_ORG, projects_seen=5)))
    write(organizations=(organization(projects_seen=0),), start=DRY)
    write(organizations=(organization(projects_seen=2),), start={"scope_sha256": "c" * 64})
    write(organizations=(organization(projects_seen=1),), start=ELSEWHERE)
    write(killed=True)
    found = write(organizations=(organization(OTHER_ORG, projects_seen=4),), start=DRY)
    seen = [found.projects_seen(HOST, SCOPE, org_id) for org_id in (ORG, OTHER_ORG, "other")]
    assert seen == [3, 4, 0]


def test_the_last_success_is_the_latest_instant_of_a_sweep_or_dry_run_and_not_the_last_file(write):
    ahead = NOW + timedelta(hours=2)
    assert write(start=RESTORE).last_success is None
    assert write(start=DRY, at=ahead).last_success.replace(microsecond=0) == ahead
    assert write(at=NOW).last_success.replace(microsecond=0) == ahead  # the clock was put right
    later = ahead + timedelta(hours=1)
    for changes in ({"exit_code": 4}, {"start": RESTORE}):
        assert write(**changes, at=later).last_success.replace(microsecond=0) == ahead
    assert write(at=later).last_success.replace(microsecond=0) == later


def test_the_names_of_organizations_and_the_ends_of_lists_are_the_last_known(write):
    write(organizations=(organization(name="Old"),), sunsets={"invites": "2027-07-01"})
    write(organizations=(organization(name="New"),), sunsets={"invites": "2027-08-01", "new": "x"})
    write(organizations=(organization(),), sunsets={"org_invites": "2027-09-01"})
    found = write(sunsets={"invites": "2027-10-01"}, start=ELSEWHERE)
    ends = {Source.INVITES: date(2027, 8, 1), Source.ORG_INVITES: date(2027, 9, 1)}
    assert (found.organization_names(), found.sunsets(HOST)) == ({ORG: "New"}, ends)


def run_at(directory, at: datetime, *lines: object, **more: object):
    """Write the run of an instant; its name has it, as a sweep's."""
    run_id = f"{at:%Y%m%dT%H%M%SZ}-{len(directory.files()):08x}"
    start = started(now=f"{at:%Y-%m-%dT%H:%M:%SZ}")
    write_run(directory, run_id, *lines, start=start, at=at, **more)


def run_id_of(directory, number: int):
    return directory.find(str(number)).run_id


def first_read(directory, run_ids):
    """Return the number of the first of these runs that a run reads: their names decide."""
    directory.path.mkdir()
    for number, run_id in enumerate(run_ids, start=1):
        (directory.path / f"{number:06d}-{run_id}.jsonl").touch()
    reader = directory.recent(NOW - 100 * DAY)
    return reader.files[reader.first].number


def of_night(days_ago):
    return f"{NOW - days_ago * DAY:%Y%m%dT%H%M%SZ}-00000001"


def test_a_clock_that_was_set_back_for_one_run_hides_none_before_it(directory):
    nights = (9_000 if days == 20 else days for days in range(140, 0, -1))
    assert first_read(directory, map(of_night, nights)) == 41


@pytest.mark.parametrize(("more", "first"), [([], 1), (["other", of_night(400)], 3)])
def test_fewer_than_thirty_runs_are_all_read_and_so_are_names_without_an_instant(
    directory, more, first
):
    nights = range(500 + MIN_RUNS, 500, -1)
    assert first_read(directory, [*map(of_night, nights), *more]) == first


@pytest.fixture(scope="module")
def years(tmp_path_factory):
    """A deletion of person 1 and an open intent of person 2, and the nights 190 days later."""
    directory = AuditDirectory(tmp_path_factory.mktemp("years") / "audit")
    run_at(directory, NOW - 300 * DAY, *deletion(1), intent(planned(2)), killed=True)
    for days in (110, 99, *range(50, 0, -1)):
        run_at(directory, NOW - days * DAY, *(deletion(1) if days in (99, 50) else ()))
    return directory


def test_what_is_older_decides_nothing_and_is_not_opened(years, tmp_path):
    copied = AuditDirectory(shutil.copytree(years.path, tmp_path / "copied"))
    oldest = copied.files()[0].path
    oldest.write_bytes(b"x" * 100)
    history = History.read(copied, NOW)
    assert history.sent.total() == 2
    assert history.open_intents(HOST) == {}
    with pytest.raises(DamagedLog):
        copied.reader().read()


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


def test_a_longer_period_is_read_as_far_back_as_it_asks(years):
    assert History.read(years, NOW).sent.total() == 2
    assert History.read(years, NOW, period=301 * DAY).sent.total() == 4


def recovered(number: int, result: str = "already_gone", run: str = "r1") -> OutcomeLine:
    return outcome(planned(number), result, attempts=0, recovers=run)


def test_each_request_counts_once_with_the_last_that_is_known_of_it(directory):
    lines = [*deletion(1), *deletion(2, "unknown"), *deletion(3)[:2], *deletion(4)[:2], planned(5)]
    write_run(directory, "r1", *lines, killed=True)
    (first,) = records(directory)
    assert (first.outcomes, first.open_requests) == ({"deleted": 1, "unknown": 1}, 2)
    write_run(directory, "r2", recovered(2), recovered(3, "failed"), *deletion(3))
    first, second = records(directory)
    assert (+first.outcomes, first.open_requests) == (
        {"deleted": 1, "already_gone": 1, "failed": 1},
        1,
    )
    assert first.recovered is None
    assert second.outcomes == {"deleted": 1}
    write_run(directory, "r3", recovered(4))
    first = records(directory)[0]
    assert +first.outcomes == {"deleted": 1, "already_gone": 2, "failed": 1}
    assert first.recovered is not None
    assert (first.recovered.by, first.recovered.outcomes) == (3, {"already_gone": 2, "failed": 1})
    assert verify_directory(directory).recovered == (first.recovered,)


def test_what_no_run_left_is_not_recovered(directory):
    write_run(directory, "r1", *deletion(1))
    write_run(directory, "r2", recovered(1, "failed"), recovered(2), recovered(3, run="r0"))
    first, second = records(directory)
    assert (first.outcomes, second.outcomes) == ({"deleted": 1}, {})


def test_a_run_that_ended_with_a_lost_answer_is_no_killed_one(directory):
    write_run(directory, "r1", *deletion(1, "unknown"))
    write_run(directory, "r2", recovered(1))
    first = records(directory)[0]
    assert (+first.outcomes, first.recovered, first.unfinished) == ({"already_gone": 1}, None, None)


def test_an_intent_is_answered_by_an_outcome_that_shows_its_invitation_otherwise(directory):
    lines = [intent(planned(1)), outcome(planned(1, username="other@example.com"))]
    write_run(directory, "r1", *lines)
    (first,) = records(directory)
    assert (first.open_requests, first.outcomes, first.sent.total()) == (0, {"deleted": 1}, 1)


def test_an_open_invitation_of_a_restore_is_left_and_one_without_an_answer_is_not(directory):
    lines = [*deletion(1, "unknown")[1:], intent(planned(2))]
    write_run(directory, "r1", *lines, killed=True, start=started(mode="restore"))
    (first,) = records(directory)
    assert list(first.left) == [planned(2).key]


def history_of(directory, **criteria):
    reader = HistoryReader(LineFilter(**criteria))
    return [line for file in directory.files() for line in reader.read(FileChain(file))]


def runs(lines):
    return [(line.run.number, line.event.invitation_id[-1:]) for line in lines]


def test_of_each_invitation_the_last_line_of_a_run_counts(directory):
    write_run(
        directory, "r1", *deletion(1), planned(2), planned(3), intent(planned(3)), killed=True
    )
    recovered = outcome(planned(3), "already_gone", recovers="r1")
    write_run(directory, "r2", recovered, *deletion(4, "failed"), *deletion(3))
    found = [
        (line.run.number, line.event.event, getattr(line.event, "outcome", None))
        for line in history_of(directory, username="*")
    ]
    assert found == [
        (1, "outcome", "deleted"),
        (1, "planned", None),
        (1, "intent", None),
        (2, "outcome", "already_gone"),
        (2, "outcome", "failed"),
        (2, "outcome", "deleted"),
    ]


@pytest.mark.parametrize("is_killed", [False, True])
def test_what_was_unknown_and_is_settled_since_is_found_under_both_words(directory, is_killed):
    """A killed run has no line that says so."""
    lines = [intent(planned(1))] if is_killed else deletion(1, "unknown")
    write_run(directory, "r1", *lines, killed=is_killed)
    write_run(directory, "r2", outcome(planned(1), "failed", recovers="r1"), *deletion(2))
    under_unknown = runs(history_of(directory, outcome="unknown"))
    assert under_unknown == [*([] if is_killed else [(1, "1")]), (2, "1")]
    assert runs(history_of(directory, outcome="failed")) == [(2, "1")]


def test_an_invitation_of_invites_stands_beside_that_of_a_user_of_the_project(directory):
    project = planned().project_id
    users = {"source": Source.USERS, "project_id": project, "username": "ada@example.com"}
    invites = {**users, "source": Source.INVITES}
    write_run(directory, "r1", *deletion(1, **users), *deletion(2, **invites))
    write_run(directory, "r2", *deletion(3, **users))
    found = [deletion.line for deletion in last_deletions(history_of(directory))]
    assert runs(found) == [(1, "2"), (2, "3")]


@pytest.mark.parametrize("mode", ["restore", "dry-run"])
def test_an_open_request_of_another_mode_is_not_a_deletion(directory, mode):
    write_run(directory, "r1", intent(planned()), start=started(mode=mode), killed=True)
    assert last_deletions(history_of(directory), unconfirmed=True) == ()


def test_terms_match_the_id_of_each_entry_and_the_name(directory):
    entry = Entry(Source.USERS, "a" * 24, "f" * 24)
    write_run(directory, "r1", *deletion(1, entries=(entry,)), *deletion(2))
    for term in ("F" * 24, planned(1).invitation_id, "Person-1@*"):
        assert [line.event.username for line in history_of(directory, terms=[term])] == [
            "person-1@example.com"
        ]
    both = history_of(directory, terms=["f" * 24, "person-2*"])
    assert runs(both) == [(1, "1"), (1, "2")]
    assert history_of(directory, username="f" * 24) == []


NAMES = st.text(st.sampled_from("aA.b*?[]-@\u212a\u0131\u00df "), min_size=1, max_size=8)


@given(name=NAMES, globs=st.lists(NAMES, min_size=1, max_size=3))
def test_what_a_glob_matches_is_found_whatever_the_letters(tmp_path_factory, name, globs):
    directory = AuditDirectory(tmp_path_factory.mktemp("log"))
    write_run(directory, "r1", *deletion(1, username=name))
    is_found = bool(history_of(directory, terms=globs))
    assert is_found == (
        Globs(globs).matches(name) or Globs(globs).matches(planned(1).invitation_id)
    )
