"""What the files of earlier runs say: everything that a run relies on."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from unittest.mock import Mock

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

from invite_sweeper.audit import AuditDirectory, CompleteRun, History, PlanScope
from invite_sweeper.audit.events import (
    Announced,
    AnnouncementEnded,
    ListResult,
    OrganizationResult,
    announcement_key,
)
from invite_sweeper.endings import ExitCode, Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import Entry, ListUnreadable, Outcome, Source, SourceRetired

ELSEWHERE = "https://cloud.mongodbgov.com"
SCOPE = "b" * 64
OTHER_PROJECT = object_id(500)
IN_ORGANIZATION = {"source": Source.ORG_USERS, "project_id": None, "project_name": None}
ROW = Entry(Source.USERS, OTHER_PROJECT, object_id(41))


def history(directory: AuditDirectory) -> History:
    return History.read(directory.files())


class TestRuns:
    def test_each_run_has_its_lines(self, directory):
        write_run(directory, "r1", *deletion(1), *deletion(2, "failed"), end=finished(exit_code=4))
        write_run(directory, "r2", planned(3), planned(4), start=started(mode="dry-run"))
        with write_run(directory, "r3", *deletion(5), killed=True).open("ab") as file:
            file.write(b'{"ts":"2026')
        (directory.path / "000004-r4.jsonl").touch()  # killed before its first line
        one, two, three, four = history(directory).runs
        assert (one.run_id, one.mode, one.exit_code, one.planned) == ("r1", "sweep", 4, 2)
        assert one.outcomes == {"deleted": 1, "failed": 1}
        assert one.finished_at == "2026-11-25T01:00:00.007000Z"
        assert (two.mode, two.planned, two.outcomes) == ("dry-run", 2, {})
        assert (three.base_url, three.exit_code, three.end) == (HOST, None, None)
        assert three.outcomes == {"deleted": 1}
        assert (four.start, four.mode, four.base_url, four.finished_at) == (None, None, None, "")

    def test_the_last_sweep_may_have_been_killed(self, directory):
        assert history(directory).last_sweep() is None
        write_run(directory, "r1")
        write_run(directory, "r2", killed=True)
        write_run(directory, "r3", start=started(mode="dry-run"))
        found = history(directory)
        assert found.last_sweep().run_id == "r2"

    def test_an_outcome_needs_no_intent_and_one_that_replaces_another_is_counted_alone(
        self, directory
    ):
        skipped = outcome(planned(3), "skipped", attempts=0)
        again = outcome(planned(2), "failed", attempts=0, replaces="deleted")
        deletions = [line for number in (1, 2, 4) for line in deletion(number)]
        write_run(directory, "r1", *deletions, planned(3), skipped, again)
        (run,) = history(directory).runs
        assert run.outcomes == {"deleted": 2, "failed": 1, "skipped": 1}

    def test_reading_can_be_stopped_every_now_and_then(self, directory):
        write_run(directory, "r1", *deletion(1))
        check = Mock(side_effect=[None, TimeoutError])
        History.read(directory.files(), check=check)
        with pytest.raises(TimeoutError):
            History.read(directory.files(), check=check)

    @pytest.mark.parametrize("old", [b'"mode":"sweep"', b'"event":"intent"', b"{", b"\n"])
    def test_a_changed_file_refuses_the_run(self, directory, old):
        path = write_run(directory, "r1", *deletion(1))
        write_run(directory, "r2")
        path.write_bytes(path.read_bytes().replace(old, b'"x":0', 1))
        with pytest.raises(GuardRefused, match=rf"{path.name} line \d") as caught:
            history(directory)
        assert caught.value.reasons == (Reason.EARLIER_RUNS,)

    def test_a_file_that_cannot_be_opened_refuses_the_run(self, directory):
        write_run(directory, "r1").unlink()
        (directory.path / "000001-r1.jsonl").mkdir()
        for read in (history, AuditDirectory.next_run):
            with pytest.raises(GuardRefused, match="cannot be read"):
                read(directory)


class TestOpenIntents:
    def test_they_are_grouped_by_organization_in_the_order_written(self, directory):
        there = {"org_id": OTHER_ORG, "project_id": OTHER_PROJECT}
        lines = [intent(planned(n, **there)) for n in (3, 1)] + [intent(planned(2))]
        write_run(directory, "r1", *deletion(4), *lines, killed=True)
        found = history(directory).open_intents(HOST)
        assert {
            org: [(each.run.run_id, listed_as(each.intent)) for each in intents]
            for org, intents in found.items()
        } == {
            OTHER_ORG: [("r1", invitation(n, **there)) for n in (3, 1)],
            ORG: [("r1", invitation(2))],
        }
        assert history(directory).open_intents(ELSEWHERE) == {}

    def test_a_later_run_resolves_them_by_the_run_that_it_names(self, directory):
        write_run(directory, "r1", *deletion(1)[:2], killed=True)
        write_run(directory, "r2", *deletion(1))
        assert len(history(directory).open_intents(HOST)[ORG]) == 1
        write_run(directory, "r3", outcome(planned(1), "already_gone", recovers="r1"))
        found = history(directory)
        assert found.open_intents(HOST) == {}
        assert (found.runs[2].outcomes, found.runs[2].resolved) == ({}, {"already_gone": 1})


UNSENT = {Outcome.SKIPPED, Outcome.CHANGED, Outcome.ACCEPTED_BEFORE}


class TestDeletedWithin:
    """What counts towards the limits of a period."""

    def within(self, directory: AuditDirectory, hours: float = 20) -> Counter[str]:
        return history(directory).deleted_within(timedelta(hours=hours), NOW + timedelta(minutes=1))

    @pytest.mark.parametrize(
        ("result", "changes", "counted"),
        [
            *((each, {}, each not in UNSENT) for each in Outcome),
            ("failed", {"attempts": 0}, False),
            ("failed", {"attempts": 0, "recovers": "r1"}, True),  # the killed run may have sent it
            ("skipped", {"recovers": "r1"}, True),
            ("failed", {"attempts": 0, "replaces": "deleted"}, True),
        ],
    )
    def test_an_intent_counts_unless_its_run_sent_nothing(
        self, directory, result, changes, counted
    ):
        plan = planned()
        lines = [plan, intent(plan)]
        killed = "recovers" in changes
        if "replaces" in changes:
            lines.append(outcome(plan))
        write_run(directory, "r1", *lines, *(() if killed else (outcome(plan, result, **changes),)))
        if killed:
            assert self.within(directory).total() == 1
            write_run(directory, "r2", outcome(plan, result, **changes))
        assert self.within(directory).total() == counted

    def test_an_invitation_counts_once_and_for_the_project_that_names_it(self, directory):
        write_run(
            directory,
            "r1",
            *deletion(1, entries=(ROW,)),
            *deletion(2),
            *deletion(3, project_id=OTHER_PROJECT),
            *deletion(4, entries=(ROW,), **IN_ORGANIZATION),
        )
        assert self.within(directory) == {PROJECT: 2, OTHER_PROJECT: 1, ORG: 1}
        write_run(directory, "r2", *deletion(1)[:2], start=started(base_url=ELSEWHERE), killed=True)
        assert self.within(directory).total() == 5
        write_run(directory, "r3", *deletion(6, "restored"), start=started(mode="restore"))
        assert self.within(directory).total() == 5

    def test_the_period_is_counted_from_the_intent_and_does_not_contain_its_start(self, directory):
        write_run(directory, "r1", *deletion(1))  # the intent is the third line
        write_run(directory, "r2", *deletion(2), at=NOW + timedelta(days=9))  # the clock was wrong
        period, then = timedelta(hours=20), NOW + timedelta(milliseconds=2)
        found = history(directory)
        assert found.deleted_within(period, then + period).total() == 1
        assert found.deleted_within(period, then + period - timedelta.resolution).total() == 2
        assert found.deleted_within(timedelta(0), then) == {}


class TestBounces:
    def test_deletions_of_a_user_are_counted_by_place(self, directory):
        for run_id in ("r1", "r2"):
            write_run(directory, run_id, *deletion(1), *deletion(2, "already_gone"))
        write_run(directory, "r3", *deletion(1), start=started(mode="restore"))
        found = history(directory)
        assert found.times_deleted(invitation(1)) == 2
        assert found.times_deleted(invitation(1, invitation_id=object_id(99))) == 2
        assert found.times_deleted(invitation(2)) == 0
        assert found.times_deleted(invitation(1, project_id=OTHER_PROJECT)) == 0
        assert found.times_deleted(invitation(1, org_id=OTHER_ORG)) == 0

    @pytest.mark.parametrize(
        "name", ["PERSON@example.com", "\uff50erson@example.com", "p\u200berson@example.com"]
    )
    def test_names_that_look_the_same_are_one(self, directory, name):
        write_run(directory, "r1", *deletion(1, username="person@example.com"))
        assert history(directory).times_deleted(invitation(1, username=name)) == 1

    def test_the_places_of_all_entries_count_once_each(self, directory):
        same_project = Entry(Source.ORG_INVITES, None, object_id(42))
        for run_id in ("r1", "r2"):
            write_run(
                directory, run_id, *deletion(1, entries=(ROW, same_project), **IN_ORGANIZATION)
            )
        found = history(directory)
        assert found.times_deleted(invitation(1, **IN_ORGANIZATION)) == 2
        assert found.times_deleted(invitation(1, project_id=OTHER_PROJECT)) == 2
        assert found.times_deleted(invitation(1)) == 0
        of_project = invitation(1, project_id=OTHER_PROJECT)
        assert found.times_deleted(invitation(1), of_project) == 2
        assert found.times_deleted(of_project, invitation(1)) == 2

    @pytest.mark.parametrize("result", Outcome)
    def test_a_user_is_gone_whose_invitation_ended(self, directory, result):
        write_run(directory, "r1", *deletion(1, result))
        is_gone = history(directory).is_gone(invitation(1).user_key)
        assert is_gone == (result in {"deleted", "already_gone"})


class TestAnnouncements:
    def announced(self, number: int = 1, **changes: object) -> Announced:
        return event_of(
            Announced,
            invitation(number, **changes),
            rule="r",
            deletable_from="2026-12-02T01:00:00Z",
        )

    def test_it_holds_from_the_instant_of_its_run_against_its_host(self, directory):
        assert history(directory).announcements(HOST) == {}
        write_run(directory, "r1", self.announced(), at=NOW + timedelta(hours=1), killed=True)
        write_run(directory, "r2", self.announced(2), start=started(base_url=ELSEWHERE))
        write_run(directory, "r3", self.announced(3), start=started(now="yesterday"))
        assert history(directory).announcements(HOST) == {announcement_key(invitation()): NOW}

    def test_it_ends_with_a_line_and_can_begin_anew(self, directory):
        ended = event_of(AnnouncementEnded, invitation(1), reason="no_rule")
        write_run(directory, "r1", self.announced(1), self.announced(2))
        write_run(directory, "r2", ended)
        assert list(history(directory).announcements(HOST)) == [announcement_key(invitation(2))]
        later = started(now="2026-12-01T01:00:00Z")
        write_run(directory, "r3", self.announced(1), start=later)
        instant = datetime(2026, 12, 1, 1, tzinfo=UTC)
        assert history(directory).announcements(HOST)[announcement_key(invitation(1))] == instant

    @pytest.mark.parametrize(("result", "left"), [("deleted", 0), ("failed", 1), ("unknown", 1)])
    def test_it_ends_with_a_deletion(self, directory, result, left):
        write_run(directory, "r1", self.announced())
        write_run(directory, "r2", *deletion(1, result))
        assert len(history(directory).announcements(HOST)) == left


class TestLastPlan:
    SCOPE = PlanScope("a" * 64, frozenset({ORG}), HOST)

    def test_it_has_all_entries_and_what_was_deleted_since(self, directory):
        write_run(directory, "r0", *deletion(2))
        write_run(directory, "r1", *deletion(1, entries=(ROW,)), *deletion(2, "failed"), planned(3))
        write_run(directory, "r2", *deletion(3), start=started(plan_sha256="c" * 64))
        plan = history(directory).last_plan(self.SCOPE)
        assert plan.run_id == "r1"
        first = planned(1, entries=(ROW,)).keys
        assert list(plan.plan.values()) == [first, planned(2).keys, planned(3).keys]
        assert plan.deleted == {*first, planned(3).key}

    def test_it_says_what_was_not_read(self, directory):
        unread = ListUnreadable(
            project_id=PROJECT,
            project_name="x",
            reason="no",
            http_status=401,
            error_code=None,
            source=Source.USERS,
            org_id=ORG,
        )
        own = structs.replace(unread, project_id=None, source=Source.ORG_USERS)
        gone = SourceRetired(source=Source.INVITES, reason="no", http_status=410, error_code=None)
        write_run(directory, "r1", unread, own, gone)
        plan = history(directory).last_plan(self.SCOPE)
        assert plan.unread == {("users", ORG, PROJECT), ("org_users", ORG, ORG)}
        assert plan.retired == {Source.INVITES}

    @pytest.mark.parametrize(
        ("start", "end"),
        [
            (started(), None),
            (started(), finished(exit_code=8)),
            (started(), finished(plan_made=False)),
            (started(), finished(trimmed=1)),
            (started(plan_sha256="c" * 64), finished()),
            (started(mode="restore"), finished()),
            (started(policy_sha256="d" * 64), finished()),
            (started(organizations=(ORG, OTHER_ORG)), finished()),
            (started(base_url=ELSEWHERE), finished()),
        ],
    )
    def test_another_kind_of_run_is_not_compared(self, directory, start, end):
        write_run(directory, "r1", planned(1), end=finished(exit_code=3))  # refused by a guard
        write_run(directory, "r2", planned(2), start=start, end=end, killed=end is None)
        assert history(directory).last_plan(self.SCOPE).run_id == "r1"


@pytest.mark.parametrize("code", ExitCode)
def test_a_sweep_that_completed_a_plan_has_used_it(directory, code):
    digest = "c" * 64
    start = started(plan_sha256=digest)
    write_run(directory, "r1", start=start, killed=True)
    write_run(directory, "r2", start=started(mode="dry-run", plan_sha256=digest))
    write_run(directory, "r3", start=started(plan_sha256="d" * 64))
    write_run(directory, "r4", start=start, end=finished(exit_code=code))
    found = history(directory).applied_by(digest)
    assert (found.run_id if found else None) == ("r4" if code in {0, 4} else None)


def organization(projects: int = 3, org_id: str = ORG, **changes: object) -> OrganizationResult:
    defaults: dict[str, object] = {"projects_seen": projects, "plan_made": True}
    return OrganizationResult(id=org_id, **{**defaults, **changes})


def users(by_project: dict[str, int], *unread: str, org_id: str = ORG) -> ListResult:
    return ListResult(
        org_id=org_id,
        source=Source.USERS,
        complete=not unread,
        entries=sum(by_project.values()),
        by_project=by_project,
        unread=unread,
    )


def own_list(entries: int, *unread: str) -> ListResult:
    return ListResult(
        org_id=ORG, source=Source.ORG_USERS, complete=not unread, entries=entries, unread=unread
    )


DRY, ELSEWHERE_STARTED = started(mode="dry-run"), started(base_url=ELSEWHERE)
IN_PROJECT, IN_OTHER, OWN = (
    ("users", ORG, PROJECT),
    ("users", ORG, OTHER_PROJECT),
    ("org_users", ORG, ORG),
)


class TestLastComplete:
    """What the population guard compares with."""

    def run(self, directory: AuditDirectory, *read: object, start=None, **end: object) -> None:
        """Write a run that wrote some lines and read some lists."""
        lists = tuple(each for each in read if isinstance(each, ListResult))
        lines = [each for each in read if not isinstance(each, ListResult)]
        end = {"organizations": (organization(),), "lists": lists, **end}
        run_id = f"r{len(directory.files()) + 1}"
        write_run(directory, run_id, *lines, start=start, end=finished(**end))

    def last(self, directory: AuditDirectory) -> CompleteRun:
        found = history(directory).last_complete(SCOPE, HOST)
        assert found is not None
        return found

    def test_it_has_projects_and_entries_by_organization(self, directory):
        there = users({OTHER_PROJECT: 2}, org_id=OTHER_ORG)
        both = (organization(3, projects_gone=1), organization(5, OTHER_ORG))
        self.run(directory, users({PROJECT: 4}), own_list(7), there, organizations=both)
        assert self.last(directory) == (
            {ORG: 2, OTHER_ORG: 5},
            {IN_PROJECT: 4, OWN: 7, ("users", OTHER_ORG, OTHER_PROJECT): 2},
            frozenset(),
        )

    def test_what_a_run_ended_is_no_drop(self, directory):
        results = ("deleted", "already_gone", "failed", "unknown", "skipped", "accepted_before")
        lines = [
            e for n, each in enumerate(results) for e in deletion(n, each, source=Source.USERS)
        ]
        other = Entry(Source.USERS, PROJECT, object_id(70))
        lines += deletion(7, entries=(other,), **IN_ORGANIZATION)
        self.run(directory, *lines, users({PROJECT: 20}), own_list(7))
        assert self.last(directory).entries == {IN_PROJECT: 15, OWN: 6}
        write_run(directory, "killed", *deletion(8, source=Source.USERS)[:2], killed=True)
        assert self.last(directory).entries[IN_PROJECT] == 14
        settled = outcome(planned(8, source=Source.USERS), "failed", recovers="killed")
        self.run(directory, settled, exit_code=8)
        self.run(directory, *deletion(9, source=Source.USERS), start=ELSEWHERE_STARTED)
        assert self.last(directory).entries[IN_PROJECT] == 15

    def test_what_was_ended_before_a_list_was_read_is_not_taken_off_again(self, directory):
        elsewhere = {"source": Source.USERS, "project_id": OTHER_PROJECT}
        for number, entries in enumerate((20, 2)):
            lines = deletion(number, source=Source.USERS) + deletion(number + 5, **elsewhere)
            lines += deletion(number, **IN_ORGANIZATION)
            self.run(directory, *lines, users({PROJECT: entries}), own_list(1))
        assert self.last(directory).entries == {
            IN_PROJECT: 1
        }  # a list without an entry is not in it

    def test_a_list_that_was_not_read_keeps_its_number(self, directory):
        self.run(directory, users({PROJECT: 4, OTHER_PROJECT: 5}), own_list(7))
        for lists, expected in (
            ((users({PROJECT: 3}, OTHER_PROJECT),), {IN_PROJECT: 3, IN_OTHER: 5, OWN: 7}),
            ((own_list(0, ORG),), {IN_PROJECT: 3, IN_OTHER: 5, OWN: 7}),
            ((users({PROJECT: 2}), own_list(6)), {IN_PROJECT: 2, OWN: 6}),
        ):
            self.run(directory, *lists)
            assert self.last(directory).entries == expected

    @pytest.mark.parametrize(
        "changes", [{"exit_code": 3}, {"exit_code": 5}, {"plan_made": False}], ids=str
    )
    def test_an_organization_that_was_kept_out_keeps_its_numbers(self, directory, changes):
        self.run(directory, users({PROJECT: 9}))
        kept_out = (organization(1, **changes),)
        self.run(directory, users({PROJECT: 1}), organizations=kept_out, exit_code=4)
        assert self.last(directory) == ({ORG: 3}, {IN_PROJECT: 9}, frozenset())

    @pytest.mark.parametrize("code", [3, 5, 6, 7, 8])
    def test_a_run_that_was_refused_or_stopped_is_not_complete(self, directory, code):
        self.run(directory, users({PROJECT: 9}))
        self.run(directory, users({PROJECT: 1}), exit_code=code)
        assert self.last(directory).entries == {IN_PROJECT: 9}

    def test_a_dry_run_counts_until_there_is_a_sweep(self, directory):
        self.run(directory, own_list(5), start=DRY, exit_code=10)
        assert self.last(directory).entries == {OWN: 5}
        self.run(directory, own_list(6))
        self.run(directory, own_list(1), start=DRY)
        assert self.last(directory).entries == {OWN: 6}

    def test_another_scope_counts_until_there_is_a_run_of_the_same_one(self, directory):
        other = {"start": started(scope_sha256="c" * 64)}
        other["organizations"] = (organization(9), organization(9, OTHER_ORG))
        self.run(directory, own_list(9), **other)
        assert self.last(directory).other_scope == {ORG, OTHER_ORG}
        self.run(directory, own_list(5), start=DRY)
        self.run(directory, own_list(9), **other)
        assert self.last(directory) == ({ORG: 3, OTHER_ORG: 9}, {OWN: 5}, {OTHER_ORG})

    def test_another_host_is_not_compared(self, directory):
        self.run(directory, own_list(5), start=ELSEWHERE_STARTED)
        assert history(directory).last_complete(SCOPE, HOST) is None
        self.run(directory, own_list(6))
        assert self.last(directory).entries == {OWN: 6}


class TestRemembered:
    def test_the_names_of_organizations_are_the_last_known(self, directory):
        for run_id, name in (("r1", "Old"), ("r2", "New"), ("r3", None)):
            write_run(directory, run_id, end=finished(organizations=(organization(name=name),)))
        assert history(directory).organization_names() == {ORG: "New"}

    def test_the_ends_of_lists_are_the_last_known(self, directory):
        write_run(directory, "r1", end=finished(sunsets={"invites": "2027-07-01"}))
        write_run(directory, "r2", end=finished(sunsets={"invites": "2027-08-01", "new": "x"}))
        write_run(directory, "r3", end=finished(sunsets={"org_invites": "2027-09-01"}))
        assert history(directory).sunsets(HOST) == {
            Source.INVITES: date(2027, 8, 1),
            Source.ORG_INVITES: date(2027, 9, 1),
        }
        assert history(directory).sunsets(ELSEWHERE) == {}

    def test_members_of_a_dry_run_count_until_a_sweep_has_read_them(self, directory):
        dry = started(mode="dry-run")
        write_run(directory, "r1", end=finished(members={ORG: 10}))
        write_run(directory, "r2", start=dry, end=finished(members={ORG: 1, OTHER_ORG: 5}))
        assert history(directory).members(HOST) == {ORG: 10, OTHER_ORG: 5}
        assert history(directory).members(ELSEWHERE) == {}
