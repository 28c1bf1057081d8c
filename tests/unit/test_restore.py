"""A restore: what a run deleted, who is missing, and one POST for each of them."""

import asyncio
from copy import copy

import pytest
from audit.runs import clock, deletion, intent, outcome, planned, started, write_run
from builders import ORG, OTHER_ORG, PROJECT, object_id
from sweep.night import QuietView, command_of
from virtual_time import run_skipping_idle_time

from invite_sweeper.atlas.http import RequestCounters
from invite_sweeper.audit import AuditLog
from invite_sweeper.audit.events import Intent, OutcomeLine
from invite_sweeper.audit.reader import read_events
from invite_sweeper.errors import AuditLogError, CredentialsRefused, UsageError
from invite_sweeper.models import (
    Entry,
    ListUnreadable,
    Outcome,
    Project,
    Sending,
    Source,
)
from invite_sweeper.restore import (
    Barred,
    Deletions,
    RestorePlan,
    Restorer,
    plan_restore,
    read_deletions,
)
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.command import Organization
from invite_sweeper.sweep.result import Result

CREATED = Sending(Outcome.RESTORED, 1, 200)
LATER = Sending(None, 1, 400, "RATE_LIMITED_IP")
UNSURE = Sending(Outcome.UNKNOWN, 1)


# What a run deleted ------------------------------------------------------------------------------


@pytest.fixture
def deleted_by(directory):
    """Write runs with these lines, and return what the last one deleted, by invitation id."""

    def write(*lines, **options):
        path = write_run(directory, "r1", *lines, killed=options.pop("killed", False))
        found = read_deletions(path, **options)
        assert found.run_id == "r1"
        return [each.invitation_id for each in found.lines]

    return write


def of_list(number=1, **changes):
    return planned(number, **{"source": Source.INVITES, **changes})


def test_deletions_are_what_atlas_confirmed_in_the_order_of_the_run(deleted_by):
    results = ["deleted", "accepted_during", "already_gone", "unknown", "failed", "changed"]
    lines = [
        e for n, each in enumerate(results, 1) for e in deletion(n, each, source=Source.INVITES)
    ]
    assert deleted_by(*lines) == [object_id(1), object_id(2)]


@pytest.mark.parametrize(
    ("result", "attempts", "on_request"),
    [
        ("unknown", 1, True),
        ("already_gone", 1, False),
        ("already_gone", 2, True),
        ("failed", 2, False),
        ("skipped", 0, False),
        ("accepted_before", 1, False),
    ],
)
def test_what_may_have_been_deleted_is_found_on_request(directory, result, attempts, on_request):
    one = of_list()
    path = write_run(directory, "r1", one, intent(one), outcome(one, result, attempts=attempts))
    assert read_deletions(path).lines == ()
    assert len(read_deletions(path, unconfirmed=True).lines) == on_request


def test_what_a_list_still_showed_was_not_deleted(deleted_by):
    one = of_list()
    shown = outcome(one, "failed", attempts=0, replaces="deleted")
    assert deleted_by(one, intent(one), outcome(one), shown, unconfirmed=True) == []


@pytest.mark.parametrize("unconfirmed", [True, False])
def test_intents_of_a_killed_run_are_found_on_request(deleted_by, unconfirmed):
    intents = map(intent, map(of_list, (1, 2)))
    found = deleted_by(*intents, killed=True, unconfirmed=unconfirmed)
    assert found == [object_id(1), object_id(2)] * unconfirmed


def test_what_a_run_settled_for_another_is_not_its_own_but_the_removal_of_a_member_is(deleted_by):
    lines = [
        outcome(of_list(number), result, attempts=0, recovers="r0")
        for number, result in enumerate(("already_gone", "accepted_during", "unknown"), 1)
    ]
    assert deleted_by(*lines, unconfirmed=True) == [object_id(2)]


def test_file_that_a_killed_run_left_empty_has_nothing_to_undo(tmp_path):
    path = tmp_path / "000001-r1.jsonl"
    path.touch()
    with pytest.raises(UsageError, match="has no line"):
        read_deletions(path)


@pytest.mark.parametrize(("glob", "found"), [("PERSON-1@*", 1), ("person-*", 2), ("x*", 0)])
def test_glob_selects_people_whatever_the_case(deleted_by, glob, found):
    lines = [e for n in (1, 2) for e in deletion(n, source=Source.INVITES)]
    assert len(deleted_by(*lines, username=glob)) == found


# Who is missing ----------------------------------------------------------------------------------


class FakeClient:
    """A client of an Atlas that lists these members and projects, and answers POSTs in turn."""

    def __init__(self, *, members=None, org_id=ORG, replies=(), hangs=False):
        self.reader = self.server = self
        self.counters, self.sunsets, self.actor = RequestCounters(), {}, "client"
        self._members, self._org_id, self._replies = members or {}, org_id, list(replies)
        self._hangs = hangs
        self.posts, self.looks, self.before_post = [], 0, lambda: None

    def inviter(self):
        return self

    async def projects(self):
        return (Project(PROJECT, "Sandbox", self._org_id),)

    async def statuses(self, _invitation):
        self.looks += 1
        return self._members

    async def invite(self, invitation, sending):
        sending.attempts += 1
        sending.response_pending = True
        self.before_post()
        self.posts.append(invitation)
        await asyncio.sleep(1e9 if self._hangs else 0)
        return copy(self._replies.pop(0) if self._replies else CREATED)


def organization(client, org_id=ORG):
    return Organization(org_id, client)


async def plan_of(clients, *lines):
    organizations = [organization(each, org_id) for org_id, each in clients.items()]
    return await plan_restore(organizations, Deletions("r0", started(), lines))


async def test_each_list_is_read_once_and_who_is_there_in_another_spelling_is_left_out():
    client = FakeClient(members={"person-1@example.com": "PENDING"})
    there, missing = of_list(1, username="Person-1@\uff25xample.com"), of_list(2)
    plan = await plan_of({ORG: client}, there, missing)
    assert (plan.already_there, plan.to_invite, client.looks) == ((there,), (missing,), 1)


async def test_each_organization_is_asked_with_its_own_credentials():
    one = FakeClient(members={"person-1@example.com": "PENDING"})
    other = FakeClient(org_id=OTHER_ORG)
    plan = await plan_of({ORG: one, OTHER_ORG: other}, of_list(1), of_list(1, org_id=OTHER_ORG))
    assert [each.org_id for each in plan.already_there] == [ORG]
    assert [each.org_id for each in plan.to_invite] == [OTHER_ORG]
    assert (one.looks, other.looks) == (1, 1)


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

    def __init__(self, directory, client):
        self.client, self.stop, self.said = client, StopRequest(), []
        self.log = AuditLog.begin(directory, "r1", clock=clock())

    def run(self, *to_invite, there=(), barred=()):
        plan = RestorePlan(
            restores="r0", to_invite=to_invite, already_there=there, barred=barred, exit_code=0
        )

        async def scenario():
            result = Result(command_of(restores="r0"), [organization(self.client)], QuietView())
            restorer = Restorer(
                result,
                self.log,
                self.stop,
                lambda line, reason: self.said.append((line.outcome, reason)),
            )
            try:
                return await restorer.run(plan)
            finally:
                await self.log.close()

        end, self.waited_s = run_skipping_idle_time(scenario)
        return end

    def lines(self, kind):
        return [each for _, each in read_events(self.log.file.path) if type(each) is kind]


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("restored", 0), ("active", 4), ("already_there", 0), ("failed", 4), ("unknown", 4)],
)
def test_intent_is_on_disk_before_the_post_and_the_outcome_is_what_atlas_made_of_it(
    directory, outcome, code
):
    client = FakeClient(replies=[Sending(Outcome(outcome), 1, 200, "CODE")])
    run, intents = Restore(directory, client), []
    client.before_post = lambda: intents.extend(run.lines(Intent))
    end = run.run(of_list())
    assert len(intents) == 1
    (line,) = run.lines(OutcomeLine)
    assert (line.outcome, line.attempts, line.http_status, line.error_code) == (
        *(outcome, 1, 200, "CODE"),
    )
    assert (getattr(end, outcome), end.exit_code) == (1, code)
    assert run.said == [(outcome, "" if outcome == "restored" else "200 CODE")]


def test_person_is_invited_once_to_a_place_with_the_roles_of_all_entries(directory):
    other = object_id(50)
    entries = (Entry(Source.USERS, other, object_id(9), ("GROUP_OWNER",)),)
    twice = [planned(n, source=Source.ORG_USERS, username="a@b.c", entries=entries) for n in (1, 2)]
    path = write_run(
        directory, "r0", *(e for one in twice for e in (one, intent(one), outcome(one)))
    )
    run = Restore(directory, FakeClient())
    run.run(*read_deletions(path).lines)
    (sent,) = run.client.posts
    assert sent.project_roles == ((other, "GROUP_OWNER"),)


def test_eleventh_post_waits_until_a_minute_is_over(directory):
    run = Restore(directory, FakeClient())
    assert run.run(*map(of_list, range(1, 23))).restored == 22
    assert run.waited_s == pytest.approx(122)


@pytest.mark.parametrize(
    ("refusals", "outcome", "waited_s"),
    [(1, "restored", 10), (3, "restored", 70), (4, "failed", 70)],
)
def test_refusal_for_the_rate_is_repeated_three_times_at_most(
    directory, refusals, outcome, waited_s
):
    run = Restore(directory, FakeClient(replies=[LATER] * refusals))
    end = run.run(of_list())
    (line,) = run.lines(OutcomeLine)
    assert (line.outcome, line.attempts) == (outcome, len(run.client.posts))
    assert (run.waited_s, getattr(end, outcome)) == (pytest.approx(waited_s), 1)


def test_post_without_a_clear_answer_is_not_sent_again(directory):
    run = Restore(directory, FakeClient(replies=[UNSURE]))
    end = run.run(of_list())
    assert (len(run.client.posts), end.unknown, end.exit_code) == (1, 1, 4)


def test_who_is_there_or_barred_has_an_outcome_and_no_post(directory):
    barred = of_list(2).as_event(Barred, rule="forgotten", reason="why")
    run = Restore(directory, FakeClient())
    end = run.run(there=[of_list(1)], barred=[barred])
    assert (end.already_there, end.failed, end.exit_code, run.client.posts) == (1, 1, 4, [])
    assert run.said == [("already_there", ""), ("failed", "why")]


def test_error_of_the_whole_run_skips_the_rest(directory):
    error = CredentialsRefused("No.")
    run = Restore(
        directory,
        FakeClient(replies=[Sending(Outcome.FAILED, 1, 401, fatal_error=error)]),
    )
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

    run = Restore(directory, FakeClient())
    monkeypatch.setattr(AuditLog, method, fail)
    end = run.run(of_list(1), of_list(2))
    assert (len(run.client.posts), end.skipped, end.exit_code) == (sent, skipped, 7)


@pytest.mark.parametrize(("reply", "restored"), [(CREATED, 1), (LATER, 0)])
def test_stop_skips_what_was_not_accepted(directory, reply, restored):
    run = Restore(directory, FakeClient(replies=[reply]))
    run.client.before_post = lambda: run.stop.request("a signal came")
    end = run.run(*map(of_list, (1, 2, 3)))
    assert (end.restored, end.skipped, end.exit_code) == (restored, 3 - restored, 8)
    assert (len(run.client.posts), run.waited_s) == (1, 0)


@pytest.mark.parametrize(("second", "waited_s"), [(False, 20), (True, 0)])
def test_post_in_flight_has_the_grace_period_after_a_signal_and_none_after_the_second(
    directory, second, waited_s
):
    run = Restore(directory, FakeClient(hangs=True))

    def signal():
        run.stop.request("a signal came")
        run.stop.request("the first reason stays")
        if second:
            run.stop.forced.set()

    run.client.before_post = signal
    end = run.run(of_list(1), of_list(2))
    assert (end.unknown, end.skipped, end.exit_code) == (1, 1, 8)
    assert end.error["message"] == "Stopped early: a signal came."
    assert run.waited_s == pytest.approx(waited_s)
