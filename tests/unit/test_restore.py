"""A restore: what a run deleted, who is missing, and one POST for each of them."""

import asyncio
from copy import copy
from pathlib import Path

import pytest
from audit.runs import HOST, clock, deletion, intent, outcome, planned, started, write_run
from builders import ORG, OTHER_ORG, PROJECT, object_id
from sweep.night import QuietView, command_of
from virtual_time import run_skipping_idle_time

from invite_sweeper.advice import Advisor
from invite_sweeper.atlas.http import RequestCounters
from invite_sweeper.audit import AuditLog, History, RunFile
from invite_sweeper.audit.events import Intent, OutcomeLine
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.errors import AuditLogError, CredentialsRefused, NoDeletionFound
from invite_sweeper.models import Entry, ListUnreadable, Project, Source
from invite_sweeper.outcomes import Outcome, Sending
from invite_sweeper.restore import (
    Barred,
    Deletions,
    Present,
    RestorePlan,
    Restorer,
    Wanted,
    find_deletions,
    plan_restore,
)
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.organization import AtlasOrganization
from invite_sweeper.sweep.result import Result

R0 = RunFile(1, "r0", Path("000001-r0.jsonl"))
CREATED = Sending(Outcome.RESTORED, 1, 200)
LATER = Sending(None, 1, 400, "RATE_LIMITED_IP")


# What a run deleted ------------------------------------------------------------------------------


NEVER = (0, 0)
ON_REQUEST = (0, 1)
ALWAYS = (1, 1)


def found_in(directory, wanted):
    """Return what is to be undone; () where no person is found."""
    try:
        found = find_deletions(directory, wanted, HOST, Advisor(audit_dir="audit"))
    except NoDeletionFound:
        return ()
    return found.lines


def of_list(number=1, **changes):
    return planned(number, **{"source": Source.INVITES, **changes})


@pytest.mark.parametrize(
    ("result", "changes", "found"),
    [
        ("deleted", {}, ALWAYS),
        (None, {}, ON_REQUEST),  # killed
        ("unknown", {}, ON_REQUEST),
        ("unknown", {"recovers": "r0"}, NEVER),
        ("already_gone", {}, NEVER),
        ("already_gone", {"attempts": 2}, ON_REQUEST),
        ("already_gone", {"recovers": "r0"}, NEVER),
        ("failed", {"attempts": 2}, NEVER),
        ("changed", {}, NEVER),
        ("skipped", {"attempts": 0}, NEVER),
        ("accepted_before", {}, NEVER),
    ],
)
def test_deletions_are_what_atlas_confirmed_and_on_request_what_may_have_been(
    directory, result, changes, found
):
    lines = [] if "recovers" in changes else [of_list(), intent(of_list())]
    lines += [outcome(of_list(), result, **changes)] if result else []
    path = write_run(directory, "r1", *lines, killed=result is None)
    asked = (found_in(directory, Wanted(str(path), unconfirmed=each)) for each in (False, True))
    assert tuple(map(len, asked)) == found


@pytest.mark.parametrize(
    ("glob", "numbers"), [(None, [2, 1]), ("person-*", [2, 1]), ("PERSON-1@*", [1]), ("x*", [])]
)
def test_glob_selects_people_in_the_order_of_the_run_whatever_the_case(directory, glob, numbers):
    lines = [each for n in (2, 1) for each in deletion(n, source=Source.INVITES)]
    write_run(directory, "r1", *lines)
    found = found_in(directory, Wanted("1", glob))
    assert [each.invitation_id for each in found] == [object_id(n) for n in numbers]


def test_file_that_a_killed_run_left_empty_has_nothing_to_undo(directory):
    directory.path.mkdir()
    (directory.path / "000001-r1.jsonl").touch()
    assert found_in(directory, Wanted("1")) == ()


# Who is missing ----------------------------------------------------------------------------------


def present(line, status="PENDING"):
    """Return a deletion as a plan has it whose person is there."""
    return line.as_event(Present, rule=line.rule, status_now=status)


class FakeClient:
    """A client of an Atlas that lists these members and projects, and answers POSTs in turn."""

    def __init__(self, *, members=None, org_id=ORG, replies=(), hangs=None):
        self.reader = self.server = self
        self.counters = RequestCounters()
        self.sunsets = {}
        self.actor = "client"
        self._members = members or {}
        self._org_id = org_id
        self._replies = list(replies)
        self._hangs = hangs
        self.posts = []
        self.looks = 0
        self.before_post = lambda: None

    def inviter(self):
        return self

    async def projects(self):
        self.looks += 1
        return (Project(PROJECT, "Sandbox", self._org_id),)

    async def statuses(self, _invitation):
        self.looks += 1
        return self._members

    async def invite(self, invitation, sending):
        self.before_post()
        await asyncio.sleep(1e9 if self._hangs == "before" else 0)
        sending.attempts += 1
        sending.response_pending = True
        self.posts.append(invitation)
        await asyncio.sleep(1e9 if self._hangs == "after" else 0)
        return copy(self._replies.pop(0) if self._replies else CREATED)


async def plan_of(clients, *lines):
    organizations = [AtlasOrganization(org_id, each) for org_id, each in clients.items()]
    return await plan_restore(organizations, Deletions((R0,), lines))


async def test_each_list_is_read_once_and_who_is_there_in_another_spelling_is_left_out():
    client = FakeClient(members={"person-1@example.com": "PENDING"})
    there = of_list(1, username="Person-1@\uff25xample.com")
    missing = of_list(2)
    plan = await plan_of({ORG: client}, there, missing)
    assert (plan.already_there, plan.to_invite) == ((present(there),), (missing,))
    assert plan.exit_code == 0
    assert client.looks == 2  # the projects and the list


async def test_each_organization_is_asked_with_its_own_credentials():
    one = FakeClient(members={"person-1@example.com": "PENDING"})
    other = FakeClient(org_id=OTHER_ORG)
    plan = await plan_of({ORG: one, OTHER_ORG: other}, of_list(1), of_list(1, org_id=OTHER_ORG))
    assert [each.org_id for each in plan.already_there] == [ORG]
    assert [each.org_id for each in plan.to_invite] == [OTHER_ORG]
    assert (one.looks, other.looks) == (2, 2)


async def test_unreadable_list_and_project_of_another_organization_get_no_invitation():
    unread = FakeClient(members=ListUnreadable(PROJECT, "Sandbox", "Atlas answered 500."))
    (barred,) = (await plan_of({ORG: unread}, of_list())).barred
    assert barred.reason == "Atlas answered 500."
    linked = {"source": Source.ORG_USERS, "linked_projects": ((PROJECT, "Sandbox"),)}
    for one in (of_list(), of_list(**linked)):
        plan = await plan_of({ORG: FakeClient(org_id=OTHER_ORG)}, one)
        assert (plan.to_invite, plan.exit_code) == ((), 4)
        moved = f"Project {PROJECT} belongs to organization {OTHER_ORG} now."
        assert [each.reason for each in plan.barred] == [moved]


# The POSTs ---------------------------------------------------------------------------------------


class Restore:
    """A restore with a clock that advances only while it waits."""

    def __init__(self, directory, *replies, hangs=None):
        self.client = FakeClient(replies=replies, hangs=hangs)
        self.stop = StopRequest()
        self.log = AuditLog(directory, "r1", clock=clock())
        self.said = []

    def run(self, *to_invite, there=(), barred=(), opened=()):
        given = {"to_invite": to_invite, "already_there": there, "barred": barred}

        async def scenario():
            organizations = [AtlasOrganization(ORG, self.client)]
            result = Result(command_of(restores=("r0",)), organizations, QuietView())
            restorer = Restorer(result, self.log, self.stop, self._report)
            try:
                return await restorer.run(
                    RestorePlan(restores=("r0",), exit_code=0, **given), opened
                )
            finally:
                await self.log.close()

        record, self.waited_s = run_skipping_idle_time(scenario)
        return record.end

    def _report(self, line, reason):
        self.said.append((line.outcome, reason))

    def lines(self, kind):
        return [each for _, each in FileChain(self.log.file).events() if type(each) is kind]


def answered(outcome):
    return Sending(Outcome(outcome), 1, 200, "CODE")


@pytest.mark.parametrize(
    ("replies", "outcome", "answer", "waited_s"),
    [
        ([answered("restored")], "restored", "200 CODE", 0),
        ([answered("active")], "active", "200 CODE", 0),
        ([answered("already_there")], "already_there", "200 CODE", 0),
        ([answered("failed")], "failed", "200 CODE", 0),
        ([Sending(Outcome.UNKNOWN, 1)], "unknown", "None None", 0),  # it is not sent again
        ([LATER], "restored", "200 None", 10),
        ([LATER] * 3, "restored", "200 None", 70),
        ([LATER] * 4, "failed", "400 RATE_LIMITED_IP", 70),
    ],
)
def test_intent_is_on_disk_before_each_post_and_the_outcome_is_what_atlas_made_of_it(
    directory, replies, outcome, answer, waited_s
):
    run = Restore(directory, *replies)
    intents = []
    run.client.before_post = lambda: intents.append(run.lines(Intent))
    end = run.run(of_list())
    assert [len(each) for each in intents] == [1] * len(run.client.posts)
    (line,) = run.lines(OutcomeLine)
    assert (line.outcome, line.attempts) == (outcome, len(intents))
    assert f"{line.http_status} {line.error_code}" == answer
    reason = "" if outcome == "restored" else answer.replace("None", "").strip()
    assert run.said == [(outcome, reason)]
    is_done = outcome in {"restored", "already_there"}
    assert (getattr(end, outcome), end.exit_code) == (1, 0 if is_done else 4)
    assert run.waited_s == pytest.approx(waited_s)


def test_person_is_invited_once_to_a_place_with_the_roles_of_all_entries(directory):
    other = object_id(50)
    entries = (
        Entry(Source.USERS, other, object_id(9), ("GROUP_OWNER",)),
        Entry(Source.ORG_INVITES, None, object_id(8), ("ORG_BILLING_ADMIN",)),
    )
    twice = [planned(n, source=Source.ORG_USERS, username="a@b.c", entries=entries) for n in (1, 2)]
    write_run(directory, "r0", *(e for one in twice for e in (one, intent(one), outcome(one))))
    run = Restore(directory)
    run.run(*found_in(directory, Wanted("1")))
    (sent,) = run.client.posts
    assert sent.project_roles == ((other, "GROUP_OWNER"),)
    assert sent.roles == ("GROUP_READ_ONLY", "ORG_BILLING_ADMIN")


def test_eleventh_post_waits_until_a_minute_is_over(directory):
    run = Restore(directory)
    assert run.run(*map(of_list, range(1, 23))).restored == 22
    assert run.waited_s == pytest.approx(122)


def test_who_is_there_or_barred_has_an_outcome_and_no_post(directory):
    barred = of_list(2).as_event(Barred, rule="forgotten", reason="why")
    run = Restore(directory)
    end = run.run(there=[present(of_list(1))], barred=[barred])
    assert (end.already_there, end.failed, end.exit_code, run.client.posts) == (1, 1, 4, [])
    assert run.said == [("already_there", ""), ("failed", "why")]


@pytest.mark.parametrize(
    ("status", "outcome", "code"),
    [("ACTIVE", "active", 4), ("PENDING", "already_there", 0), ("", "already_there", 0)],
)
@pytest.mark.parametrize("mode", ["restore", "sweep"])
def test_request_of_a_killed_restore_is_settled_as_its_list_shows_and_an_active_member_is_loud(
    directory, status, outcome, code, mode
):
    """A person who is there without such a request was there before."""
    one = of_list(1)
    before = of_list(2)
    write_run(directory, "r0", intent(one), start=started(mode=mode), killed=True)
    opened = History.read(directory).open_intents(HOST)[ORG]
    run = Restore(directory)
    end = run.run(there=[present(one, status), present(before, "ACTIVE")], opened=opened)
    settled = [line.outcome for line in run.lines(OutcomeLine) if line.recovers]
    outcome, code = (outcome, code) if mode == "restore" else ("already_there", 0)
    assert settled == [outcome] * (mode == "restore")
    assert (getattr(end, outcome), end.exit_code) == (1 + (outcome == "already_there"), code)
    assert end.active + end.already_there == 2
    assert ("made_active" in end.reasons) is (code == 4)
    assert run.client.posts == []


@pytest.mark.parametrize("spellings", [("a@b.c", "A@b.c"), ("A@b.c", "a@b.c")])
async def test_of_two_names_that_look_the_same_the_active_member_counts(spellings):
    members = dict(zip(spellings, ("ACTIVE", "PENDING"), strict=True))
    plan = await plan_of({ORG: FakeClient(members=members)}, of_list(username="a@b.c"))
    assert [each.status_now for each in plan.already_there] == ["ACTIVE"]


def test_error_of_the_whole_run_skips_the_rest(directory):
    error = CredentialsRefused("No.")
    run = Restore(directory, Sending(Outcome.FAILED, 1, 401, fatal_error=error))
    end = run.run(of_list(1), of_list(2))
    assert (end.failed, end.skipped, end.exit_code) == (1, 1, 5)


@pytest.mark.parametrize(
    ("method", "skipped", "sent"), [("sync", 2, 0), ("finish", 0, 2)], ids=["intent", "end"]
)
def test_log_that_cannot_be_written_ends_with_7_and_no_post_without_its_intent(
    directory, monkeypatch, method, skipped, sent
):
    async def fail(_log, *_line):
        raise AuditLogError("The disk is full.")

    run = Restore(directory)
    monkeypatch.setattr(AuditLog, method, fail)
    end = run.run(of_list(1), of_list(2))
    assert (len(run.client.posts), end.skipped, end.exit_code) == (sent, skipped, 7)


@pytest.mark.parametrize(("reply", "restored"), [(CREATED, 1), (LATER, 0)])
def test_stop_skips_what_was_not_accepted(directory, reply, restored):
    run = Restore(directory, reply)
    run.client.before_post = lambda: run.stop.request("a signal came")
    end = run.run(*map(of_list, (1, 2, 3)))
    assert (end.restored, end.skipped, end.exit_code) == (restored, 3 - restored, 8)
    assert (len(run.client.posts), run.waited_s) == (1, 0)


@pytest.mark.parametrize(
    ("hangs", "second", "waited_s", "unknown"),
    [("after", False, 20, 1), ("after", True, 0, 1), ("before", False, 20, 0)],
)
def test_post_in_flight_has_the_grace_period_after_a_signal_and_none_after_the_second(
    directory, hangs, second, waited_s, unknown
):
    run = Restore(directory, hangs=hangs)

    def signal():
        run.stop.request("a signal came")
        run.stop.request("the first reason stays")
        if second:
            run.stop.forced.set()

    run.client.before_post = signal
    end = run.run(of_list(1), of_list(2))
    assert end.error["message"] == "Stopped early: a signal came."
    assert (end.unknown, end.skipped, end.exit_code) == (unknown, 2 - unknown, 8)
    assert run.waited_s == pytest.approx(waited_s)
