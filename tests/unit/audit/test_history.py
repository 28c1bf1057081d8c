"""What the files of earlier runs say: everything that a run relies on."""

from datetime import UTC, date, datetime, timedelta

import pytest
from audit.runs import (
    HOST,
    deletion,
    finished,
    intent,
    invitation,
    outcome,
    planned,
    started,
    write_run,
)
from builders import NOW, ORG, OTHER_ORG, PROJECT, event_of, listed_as, object_id
from msgspec import structs

from invite_sweeper.audit import History, RunRecord
from invite_sweeper.audit.events import Announced, AnnouncementEnded, announcement_key
from invite_sweeper.audit.intents import IntentLedger
from invite_sweeper.audit.record import read_run
from invite_sweeper.audit.totals import ListResult, OrganizationResult
from invite_sweeper.endings import ExitCode, Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import Entry, Source
from invite_sweeper.outcomes import Outcome

SCOPE = "b" * 64
TODAY = NOW.date()
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
        """Write these lines, and what the run read; `start` and `end` are fields of its ends."""
        read = tuple(each for each in lines if isinstance(each, ListResult))
        written = [each for each in lines if not isinstance(each, ListResult)]
        ends = {"start": started(**start or {}), "end": finished(**{"lists": read, **end})}
        run_id = f"r{len(directory.files()) + 1}"
        write_run(directory, run_id, *written, killed=killed, at=at, **ends)
        return History.read(directory)

    return write


def records(directory) -> list[RunRecord]:
    """Return the runs as their files say them."""
    ledger = IntentLedger()
    return [read_run(chain, ledger) for chain in directory.reader()]


def test_each_run_has_its_lines(directory, write):
    write(*deletion(1), *deletion(2, "failed"), exit_code=4)
    write(planned(3), planned(4), start=DRY)
    write(*deletion(5), killed=True)
    with directory.find("r3").path.open("ab") as file:
        file.write(b'{"ts":"2026')
    (directory.path / "000004-r4.jsonl").touch()  # killed before its first line
    one, two, three, four = records(directory)
    assert (one.run_id, one.mode, one.exit_code, one.planned) == ("r1", "sweep", 4, 2)
    assert one.outcomes == {"deleted": 1, "failed": 1}
    assert one.finished_at == "2026-11-25T01:00:00.007000Z"
    assert (two.mode, two.planned, two.outcomes) == ("dry-run", 2, {})
    assert (three.start.base_url, three.exit_code, three.end) == (HOST, None, None)
    assert three.outcomes == {"deleted": 1}
    assert (four.mode, four.start.base_url, four.start.now, four.finished_at) == ("", "", "", "")


def test_an_outcome_needs_no_intent(write):
    skipped = outcome(planned(3), "skipped", attempts=0)
    run = write(*deletion(1), *deletion(2, "failed"), planned(3), skipped).last
    assert run.outcomes == {"deleted": 1, "failed": 1, "skipped": 1}


@pytest.mark.parametrize("old", [b'"mode":"sweep"', b'"event":"intent"', b"{", b"\n"])
def test_a_changed_file_refuses_the_run(directory, write, old):
    write(*deletion(1))
    write()
    path = directory.find("r1").path
    path.write_bytes(path.read_bytes().replace(old, b'"x":0', 1))
    with pytest.raises(GuardRefused, match=rf"{path.name} line \d") as caught:
        History.read(directory)
    assert caught.value.reasons == (Reason.EARLIER_RUNS,)


def test_a_file_that_cannot_be_opened_refuses_the_run(directory):
    (directory.path / "000001-r1.jsonl").mkdir(parents=True)
    for read in (lambda: History.read(directory), directory.next_run):
        with pytest.raises(GuardRefused, match="cannot be read"):
            read()


class TestOpenIntents:
    def test_they_are_grouped_by_organization_in_the_order_written(self, write):
        there = {"org_id": OTHER_ORG, "project_id": OTHER_PROJECT}
        lines = [intent(planned(n, **there)) for n in (3, 1)] + [intent(planned(2))]
        found = write(*deletion(4), *lines, killed=True)
        assert {
            org: [(each.run.run_id, listed_as(each.intent)) for each in intents]
            for org, intents in found.open_intents(HOST).items()
        } == {
            OTHER_ORG: [("r1", invitation(n, **there)) for n in (3, 1)],
            ORG: [("r1", invitation(2))],
        }
        assert found.open_intents(ELSEWHERE["base_url"]) == {}

    def test_a_later_run_resolves_them_by_the_run_that_it_names(self, write):
        write(*deletion(1)[:2], killed=True)
        assert len(write(*deletion(1)).open_intents(HOST)[ORG]) == 1
        found = write(outcome(planned(1), "already_gone", recovers="r1"))
        assert found.open_intents(HOST) == {}
        assert found.last.outcomes == {}


UNSENT = {Outcome.SKIPPED, Outcome.CHANGED, Outcome.ACCEPTED_BEFORE}


def within(found: History, hours: float = 20) -> dict[str, int]:
    """Return what counts towards the limits of a period."""
    return found.deleted_within(timedelta(hours=hours), NOW + timedelta(minutes=1))


class TestDeletedWithin:
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
            assert within(write(*lines, killed=True)).total() == 1
            lines = []
        assert within(write(*lines, last)).total() == counted

    def test_an_invitation_counts_once_and_for_the_project_that_names_it(self, write):
        more = deletion(4, entries=(ROW,), **IN_ORGANIZATION)
        one = deletion(1, entries=(ROW,))
        there = deletion(3, project_id=OTHER_PROJECT)
        found = write(*one, *deletion(2), *there, *more)
        assert within(found) == {PROJECT: 2, OTHER_PROJECT: 1, ORG: 1}
        found = write(*deletion(1)[:2], start=ELSEWHERE, killed=True)
        assert within(found).total() == 5
        assert within(write(*deletion(6, "restored"), start=RESTORE)).total() == 5

    @pytest.mark.parametrize("killed", [False, True])
    @pytest.mark.parametrize("stepped", [timedelta(days=-90), timedelta(), timedelta(days=90)])
    def test_the_period_is_counted_from_the_now_of_the_run_whatever_its_clock_did_later(
        self, write, stepped, killed
    ):
        lines = deletion(1)[:2] if killed else deletion(1)
        found = write(*lines, at=NOW + stepped, killed=killed)
        period = timedelta(hours=20)
        assert found.deleted_within(period, NOW + period).total() == 0  # its start is not in it
        assert found.deleted_within(period, NOW + period - timedelta.resolution).total() == 1
        assert found.deleted_within(timedelta(0), NOW) == {}
        (deletion_,) = found.sent_within(period, NOW)
        assert deletion_.instant == NOW


def announced(number: int = 1) -> Announced:
    deletable_from = "2026-12-02T01:00:00Z"
    return event_of(Announced, invitation(number), rule="r", deletable_from=deletable_from)


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

    def test_it_ends_with_a_line_and_can_begin_anew(self, write):
        write(announced(1), announced(2))
        found = write(event_of(AnnouncementEnded, invitation(1), reason="no_rule"))
        assert list(found.announcements(HOST)) == [announcement_key(invitation(2))]
        found = write(announced(1), start={"now": "2026-12-01T01:00:00Z"})
        instant = datetime(2026, 12, 1, 1, tzinfo=UTC)
        assert found.announcements(HOST)[announcement_key(invitation(1))].announced_at == instant

    @pytest.mark.parametrize(("result", "left"), [("deleted", 0), ("failed", 1), ("unknown", 1)])
    def test_it_ends_with_a_deletion(self, write, result, left):
        write(announced())
        assert len(write(*deletion(1, result)).announcements(HOST)) == left


@pytest.mark.parametrize("code", ExitCode)
def test_a_sweep_that_completed_a_plan_has_used_it(write, code):
    write(start=OF_A_PLAN, killed=True)
    write(start=DRY | OF_A_PLAN)
    write(start={"plan_sha256": "d" * 64})
    found = write(start=OF_A_PLAN, exit_code=code).applied_by(OF_A_PLAN["plan_sha256"])
    assert (found.run_id if found else None) == ("r4" if code in {0, 4} else None)


# What the population guard compares with ----------------------------------------------------------

IN_PROJECT = ("users", ORG, PROJECT)
IN_OTHER = ("users", ORG, OTHER_PROJECT)
OWN = ("org_users", ORG, ORG)


def organization(projects: int = 3, org_id: str = ORG, **changes: object) -> OrganizationResult:
    defaults: dict[str, object] = {"projects_seen": projects, "plan_made": True}
    return OrganizationResult(id=org_id, **{**defaults, **changes})


def read(source: Source, count: int, *unread: str, org_id: str = ORG, **more: object) -> ListResult:
    given = {"complete": not unread, "entries": count, "unread": unread, **more}
    return ListResult(org_id=org_id, source=source, **given)


def users(by_project: dict[str, int], *unread: str, org_id: str = ORG) -> ListResult:
    entries = sum(by_project.values())
    return read(Source.USERS, entries, *unread, org_id=org_id, by_project=by_project)


def own_list(entries: int, *unread: str) -> ListResult:
    return read(Source.ORG_USERS, entries, *unread)


class TestLastComplete:
    @pytest.fixture
    def run(self, write):
        """Write a run that wrote some lines and read some lists; return what is compared."""

        def run(*lines, today=TODAY, **more):
            found = write(*lines, **{"organizations": (organization(),), **more})
            return found.last_complete(SCOPE, HOST, today)

        return run

    def test_it_has_projects_and_entries_by_organization(self, run):
        there = users({OTHER_PROJECT: 2}, org_id=OTHER_ORG)
        both = (organization(3, projects_gone=1), organization(5, OTHER_ORG))
        assert run(users({PROJECT: 4}), own_list(7), there, organizations=both) == (
            {ORG: 2, OTHER_ORG: 5},
            {IN_PROJECT: 4, OWN: 7, ("users", OTHER_ORG, OTHER_PROJECT): 2},
            frozenset(),
        )

    def test_what_a_run_ended_is_not_a_drop(self, run):
        results = ("deleted", "already_gone", "failed", "unknown", "skipped", "accepted_before")
        lines = [
            e for n, each in enumerate(results) for e in deletion(n, each, source=Source.USERS)
        ]
        other = Entry(Source.USERS, PROJECT, object_id(70))
        lines += deletion(7, entries=(other,), **IN_ORGANIZATION)
        found = run(*lines, users({PROJECT: 20}), own_list(7))
        assert found.entries == {IN_PROJECT: 13, OWN: 6}
        found = run(*deletion(8, source=Source.USERS)[:2], killed=True)
        assert found.entries[IN_PROJECT] == 12
        run(outcome(planned(8, source=Source.USERS), "failed", recovers="r2"), exit_code=8)
        found = run(*deletion(9, source=Source.USERS), start=ELSEWHERE)
        assert found.entries[IN_PROJECT] == 12

    @pytest.mark.parametrize("source", Source)
    @pytest.mark.parametrize("result", Outcome)
    def test_no_entry_with_an_intent_counts_as_missing_whatever_its_outcome(
        self, run, source, result
    ):
        place = {} if not source.is_organization_level else {"project_id": None}
        lines = deletion(1, result, source=source, **place)
        by_project = {} if place else {PROJECT: 4}
        found = run(*lines, read(source, 4, by_project=by_project))
        assert list(found.entries.values()) == [3]

    @pytest.mark.parametrize("result", ["skipped", "changed", "failed"])
    def test_an_entry_without_an_intent_counts_unless_it_is_gone(self, run, result):
        line = outcome(planned(1, source=Source.USERS), result, attempts=0)
        assert run(line, users({PROJECT: 4})).entries == {IN_PROJECT: 4}

    @pytest.mark.parametrize("source", Source)
    @pytest.mark.parametrize(
        ("days", "left"), [(-1, 5), (0, 3), (1, 2), (300, 2)]
    )  # before its day, on it and later
    def test_an_entry_that_has_expired_is_not_a_drop_and_counts_once(self, run, source, days, left):
        """Of five entries two expire on a day, one of them after an intent, and one a day later."""
        expires = NOW + timedelta(days=3)
        place = {"project_id": None} if source.is_organization_level else {}
        by_project = {} if place else {PROJECT: 6}
        id_ = ORG if place else PROJECT
        expiring = {id_: {"2026-11-28": 3, "2026-11-29": 1}}
        lines = deletion(1, "failed", source=source, expires_at=expires, **place)
        found = run(
            *lines,
            read(source, 6, by_project=by_project, expiring=expiring),
            today=(expires + timedelta(days=days)).date(),
        )
        assert list(found.entries.values()) == [left]

    @pytest.mark.parametrize("source", Source)
    @pytest.mark.parametrize(
        ("days", "left"), [(-1, 6), (0, 4), (1, 4)]
    )  # before the day on which two of the four that may be gone expire, on it and later
    def test_entries_that_may_be_gone_are_not_a_drop_and_count_once_when_they_expire(
        self, run, source, days, left
    ):
        place = ORG if source.is_organization_level else PROJECT
        may_be_gone = {place: {"2026-11-28": 2, "never": 2}}
        expiring = {place: {"2026-11-28": 4}}
        by_project = {} if source.is_organization_level else {PROJECT: 10}
        today = date(2026, 11, 28) + timedelta(days=days)
        more = {"by_project": by_project, "expiring": expiring, "may_be_gone": may_be_gone}
        found = run(read(source, 10, **more), today=today)
        assert list(found.entries.values()) == [left]

    @pytest.mark.parametrize(("again", "left"), [(0, 6), (1, 6), (4, 6), (5, 5)])
    def test_entries_that_may_be_gone_and_are_ended_again_count_once(self, run, again, left):
        lines = [e for n in range(again) for e in deletion(n, source=Source.USERS)]
        shown = {"by_project": {PROJECT: 10}, "may_be_gone": {PROJECT: {"never": 4}}}
        listed = read(Source.USERS, 10, **shown)
        assert run(*lines, listed).entries == {IN_PROJECT: left}

    def test_what_was_ended_before_a_list_was_read_is_not_taken_off_again(self, run):
        elsewhere = {"source": Source.USERS, "project_id": OTHER_PROJECT}
        for number, entries in enumerate((20, 2)):
            lines = deletion(number, source=Source.USERS) + deletion(number + 5, **elsewhere)
            lines += deletion(number, **IN_ORGANIZATION)
            found = run(*lines, users({PROJECT: entries}), own_list(1))
        assert found.entries == {IN_PROJECT: 1}  # a list without an entry is not in it

    def test_a_list_that_was_not_read_keeps_its_number(self, run):
        run(users({PROJECT: 4, OTHER_PROJECT: 5}), own_list(7))
        for lists, expected in (
            ((users({PROJECT: 3}, OTHER_PROJECT),), {IN_PROJECT: 3, IN_OTHER: 5, OWN: 7}),
            ((own_list(0, ORG),), {IN_PROJECT: 3, IN_OTHER: 5, OWN: 7}),
            ((users({PROJECT: 2}), own_list(6)), {IN_PROJECT: 2, OWN: 6}),
        ):
            assert run(*lists).entries == expected

    @pytest.mark.parametrize(
        "end",
        [
            {"start": ELSEWHERE},
            *({"exit_code": code} for code in (3, 5, 6, 7, 8)),
            *(
                {"organizations": (organization(1, **kept_out),), "exit_code": 4}
                for kept_out in ({"exit_code": 3}, {"exit_code": 5}, {"plan_made": False})
            ),
        ],
    )
    def test_a_run_elsewhere_or_one_that_was_refused_or_stopped_is_not_compared(self, run, end):
        run(users({PROJECT: 9}))
        assert run(users({PROJECT: 1}), **end) == ({ORG: 3}, {IN_PROJECT: 9}, frozenset())

    def test_a_dry_run_counts_until_there_is_a_sweep(self, run):
        assert run(own_list(5), start=DRY, exit_code=10).entries == {OWN: 5}
        run(own_list(6))
        assert run(own_list(1), start=DRY).entries == {OWN: 6}

    def test_another_scope_counts_until_there_is_a_run_of_the_same_one(self, run):
        both = (organization(9), organization(9, OTHER_ORG))
        other = {"start": {"scope_sha256": "c" * 64}, "organizations": both}
        assert run(own_list(9), **other).other_scope == {ORG, OTHER_ORG}
        run(own_list(5), start=DRY)
        assert run(own_list(9), **other) == ({ORG: 3, OTHER_ORG: 9}, {OWN: 5}, {OTHER_ORG})


class TestEntriesThatMayBeGone:
    def test_they_are_all_that_a_run_of_the_last_day_may_have_ended_with_their_dates(self, write):
        row = Entry(Source.USERS, OTHER_PROJECT, object_id(41), created_at="2026-11-01T00:00:00Z")
        write(*deletion(1, entries=(row,), **IN_ORGANIZATION), *deletion(2, "failed"))
        write(*deletion(3)[:2], killed=True)
        keys = [*planned(1, entries=(row,), **IN_ORGANIZATION).keys, *planned(2).keys]
        unsent = outcome(planned(4), "skipped", attempts=0)
        found = write(unsent, *deletion(5, "restored"), start=RESTORE)
        may_be_gone = found.may_be_gone(HOST, NOW)
        assert [*may_be_gone] == [*keys, planned(3).key]
        assert {ended.created_at for ended in may_be_gone.values()} == {
            planned(1).created_at,
            "2026-11-01T00:00:00Z",
        }
        assert found.may_be_gone(ELSEWHERE["base_url"], NOW) == {}

    @pytest.mark.parametrize("wanted", [None, "now"])
    def test_after_exactly_a_day_they_may_be_listed_still_and_after_more_not(
        self, directory, write, wanted
    ):
        write(*deletion(1))
        day_later = NOW + timedelta(days=1)
        for now, count in ((day_later, 1), (day_later + timedelta.resolution, 0)):
            found = History.read(directory, now=now if wanted else None)
            assert len(found.may_be_gone(HOST, now)) == count


def test_the_names_of_organizations_are_the_last_known(write):
    for name in ("Old", "New", None):
        found = write(organizations=(organization(name=name),))
    assert found.organization_names() == {ORG: "New"}


def test_the_ends_of_lists_are_the_last_known(write):
    write(sunsets={"invites": "2027-07-01"})
    write(sunsets={"invites": "2027-08-01", "new": "x"})
    write(sunsets={"org_invites": "2027-09-01"})
    found = write(sunsets={"invites": "2027-10-01"}, start=ELSEWHERE)
    ends = {Source.INVITES: date(2027, 8, 1), Source.ORG_INVITES: date(2027, 9, 1)}
    assert found.sunsets(HOST) == ends


def test_members_of_a_dry_run_count_until_a_sweep_has_read_them(write):
    write(members={ORG: 10})
    write(members={ORG: 1, OTHER_ORG: 5}, start=DRY)
    found = write(members={ORG: 2}, start=ELSEWHERE)
    assert found.members(HOST) == {ORG: 10, OTHER_ORG: 5}
