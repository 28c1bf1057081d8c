"""A restore: what a run deleted, who is missing, and one POST for each of them."""

import asyncio

import pytest
from audit.runs import clock, deletion, intent, outcome, planned, started, write_run
from builders import ORG, OTHER_ORG, PROJECT, object_id

from invite_sweeper.audit import AuditLog
from invite_sweeper.audit.events import Intent, OutcomeLine
from invite_sweeper.audit.reader import read_events
from invite_sweeper.errors import AuditLogError, CredentialsRefused
from invite_sweeper.models import (
    Entry,
    InviteResult,
    InviteStatus,
    ListUnreadable,
    Project,
    RequestCounters,
    Source,
)
from invite_sweeper.restore import (
    Deleted,
    Missing,
    Pace,
    Restorer,
    find_missing,
    finished,
    read_deletions,
)
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.command import Organization

CREATED = InviteResult(InviteStatus.CREATED, 200)
LATER = InviteResult(InviteStatus.RETRY_LATER, 400, "RATE_LIMITED_IP")
UNSURE = InviteResult(InviteStatus.UNKNOWN)


# What a run deleted ------------------------------------------------------------------------------


def names(deletions):
    return [each.line.invitation_id for each in deletions]


def test_deletions_are_what_atlas_confirmed_in_the_order_of_the_run(directory):
    results = ["deleted", "accepted_during", "already_gone", "unknown", "failed", "changed"]
    lines = [
        e for n, each in enumerate(results, 1) for e in deletion(n, each, source=Source.INVITES)
    ]
    write_run(directory, "r1", *lines)
    write_run(directory, "r2", *deletion(9, source=Source.INVITES))
    assert names(read_deletions(directory.files(), "r1")) == [object_id(1), object_id(2)]


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
    one = planned(source=Source.INVITES)
    write_run(directory, "r1", one, intent(one), outcome(one, result, attempts=attempts))
    assert names(read_deletions(directory.files(), "r1")) == []
    found = read_deletions(directory.files(), "r1", unconfirmed=True)
    assert names(found) == [one.invitation_id] * on_request


def test_what_a_list_still_showed_was_not_deleted(directory):
    one = planned(source=Source.INVITES)
    shown = outcome(one, "failed", attempts=0, replaces="deleted")
    write_run(directory, "r1", one, intent(one), outcome(one), shown)
    assert read_deletions(directory.files(), "r1", unconfirmed=True) == ()


def test_unconfirmed_deletions_are_found_on_request_with_those_that_a_later_run_settled(directory):
    one, two, three = (planned(number, source=Source.INVITES) for number in (1, 2, 3))
    write_run(directory, "r1", intent(one), intent(two), intent(three), killed=True)
    assert len(read_deletions(directory.files(), "r1", unconfirmed=True)) == 3
    gone = outcome(one, "already_gone", attempts=0, recovers="r1")
    there = outcome(two, "failed", attempts=0, recovers="r1")
    write_run(directory, "r2", gone, there)
    files = directory.files()
    assert read_deletions(files, "r1") == ()
    assert names(read_deletions(files, "r1", unconfirmed=True)) == [one.invitation_id, object_id(3)]
    assert read_deletions(files, "r2", unconfirmed=True) == ()


def test_removal_of_a_member_is_undone_with_the_run_that_found_it_and_with_that_which_sent_it(
    directory,
):
    one = planned(source=Source.USERS)
    write_run(directory, "r1", intent(one), killed=True)
    write_run(directory, "r2", outcome(one, "accepted_during", attempts=0, recovers="r1"))
    for run_id in ("r1", "r2"):
        assert len(read_deletions(directory.files(), run_id)) == 1


@pytest.mark.parametrize(("glob", "found"), [("PERSON-1@*", 1), ("person-*", 2), ("x*", 0)])
def test_glob_selects_people_whatever_the_case(directory, glob, found):
    lines = [e for n in (1, 2) for e in deletion(n, source=Source.INVITES)]
    write_run(directory, "r1", *lines)
    assert len(read_deletions(directory.files(), "r1", username=glob)) == found


def test_person_has_the_roles_of_all_entries_and_is_invited_once_to_a_place(directory):
    other = object_id(50)
    entries = (Entry(Source.USERS, other, object_id(9), ("GROUP_OWNER",)),)
    twice = [planned(n, source=Source.ORG_USERS, username="a@b.c", entries=entries) for n in (1, 2)]
    write_run(directory, "r1", *(e for one in twice for e in (one, intent(one), outcome(one))))
    (found,) = read_deletions(directory.files(), "r1")
    assert found.invitation.project_roles == ((other, "GROUP_OWNER"),)


# Who is missing ----------------------------------------------------------------------------------


class FakeClient:
    """A client of an Atlas that lists these members and projects, and answers POSTs in turn."""

    def __init__(self, *, members=None, org_id=ORG, replies=()):
        self.counters, self.reader = RequestCounters(), self
        self._members, self._org_id, self._replies = members or {}, org_id, list(replies)
        self.posts, self.looks, self.before_post = [], 0, lambda: None

    def members(self):
        return self

    def inviter(self):
        return self

    async def projects(self):
        return (Project(PROJECT, "Sandbox", self._org_id),)

    async def statuses(self, _invitation):
        self.looks += 1
        return self._members

    async def invite(self, invitation, progress):
        progress.attempts += 1
        progress.response_pending = True
        self.before_post()
        await asyncio.sleep(0)
        self.posts.append(invitation.username)
        return self._replies.pop(0) if self._replies else CREATED


def organization(client, org_id=ORG):
    return Organization(org_id, client)


def deleted(number=1, **changes):
    one = planned(number, **{"source": Source.INVITES, **changes})
    return Deleted.of(outcome(one))


async def missing(client, *deletions):
    return await find_missing([organization(client)], deletions)


async def test_each_list_is_read_once_and_who_is_there_in_another_spelling_is_left_out():
    client = FakeClient(members={"person-1@example.com": "PENDING"})
    found = await missing(client, deleted(1, username="Person-1@\uff25xample.com"), deleted(2))
    assert (len(found.there), len(found.to_invite), client.looks) == (1, 1, 1)


async def test_each_organization_is_asked_with_its_own_credentials():
    one, other = (
        FakeClient(members={"person-1@example.com": "PENDING"}),
        FakeClient(org_id=OTHER_ORG),
    )
    both = [organization(one), organization(other, OTHER_ORG)]
    found = await find_missing(both, [deleted(1), deleted(1, org_id=OTHER_ORG)])
    assert [each.invitation.org_id for each in found.there] == [ORG]
    assert [each.invitation.org_id for each in found.to_invite] == [OTHER_ORG]
    assert (one.looks, other.looks) == (1, 1)


async def test_unreadable_list_and_project_of_another_organization_get_no_invitation():
    unread = FakeClient(members=ListUnreadable(PROJECT, "Sandbox", "Atlas answered 500."))
    ((_, reason),) = (await missing(unread, deleted())).barred
    assert reason == "Atlas answered 500."
    linked = {"source": Source.ORG_USERS, "linked_projects": ((PROJECT, "Sandbox"),)}
    for one in (deleted(), deleted(**linked)):
        ((_, reason),) = (await missing(FakeClient(org_id=OTHER_ORG), one)).barred
        assert reason == f"Project {PROJECT} belongs to organization {OTHER_ORG} now."


# The POSTs ---------------------------------------------------------------------------------------


class Restore:
    """A restore with a clock that advances only while it waits."""

    def __init__(self, directory, client):
        self.client, self.stop, self.said, self.slept = client, StopRequest(), [], []
        self.log = AuditLog.begin(directory, "r1", clock=clock())
        self.now_s = 0.0

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now_s += seconds

    async def run(self, *to_invite, there=(), barred=()):
        self.log.write(started(mode="restore", restores="r0"))
        self.restorer = Restorer(
            [organization(self.client)],
            self.log,
            self.stop,
            Pace(lambda: self.now_s, self.sleep),
            20.0,
            lambda _, outcome, reason: self.said.append((str(outcome), reason)),
        )
        await self.restorer.run(Missing(to_invite, there, barred))
        error, outcomes = self.restorer.error, self.restorer.outcomes
        return finished([organization(self.client)], outcomes, error, 1.0)

    def lines(self, kind):
        return [each.event for each in read_events(self.log.file.path) if type(each.event) is kind]


@pytest.mark.parametrize(
    ("status", "outcome", "code"),
    [
        ("CREATED", "restored", 0),
        ("ACTIVE", "active", 4),
        ("ALREADY_PRESENT", "already_there", 0),
        ("REJECTED", "failed", 4),
        ("UNREADABLE", "unknown", 4),
        ("UNKNOWN", "unknown", 4),
    ],
)
async def test_intent_is_on_disk_before_the_post_and_the_outcome_is_what_atlas_made_of_it(
    directory, status, outcome, code
):
    client = FakeClient(replies=[InviteResult(InviteStatus[status], 200, "CODE")])
    run, intents = Restore(directory, client), []
    client.before_post = lambda: intents.extend(run.lines(Intent))
    end = await run.run(deleted())
    await run.log.close()
    assert len(intents) == 1
    (line,) = run.lines(OutcomeLine)
    assert (line.outcome, line.attempts, line.http_status, line.error_code) == (
        *(outcome, 1, 200, "CODE"),
    )
    assert (getattr(end, outcome), end.exit_code) == (1, code)
    assert run.said == [(outcome, "" if outcome == "restored" else "200 CODE")]


async def test_eleventh_post_waits_until_a_minute_is_over(directory):
    run = Restore(directory, FakeClient())
    end = await run.run(*map(deleted, range(1, 23)))
    assert end.restored == 22
    assert [each for each in run.slept if each] == [61.0, 61.0]


@pytest.mark.parametrize(
    ("refusals", "outcome", "waits"),
    [(1, "restored", [10.0]), (3, "restored", [10.0, 20.0, 40.0]), (4, "failed", [10, 20, 40])],
)
async def test_refusal_for_the_rate_is_repeated_three_times_at_most(
    directory, refusals, outcome, waits
):
    run = Restore(directory, FakeClient(replies=[LATER] * refusals))
    end = await run.run(deleted())
    await run.log.close()
    (line,) = run.lines(OutcomeLine)
    assert (line.outcome, line.attempts) == (outcome, len(run.client.posts))
    assert (run.slept, getattr(end, outcome)) == (waits, 1)


async def test_post_without_a_clear_answer_is_not_sent_again(directory):
    run = Restore(directory, FakeClient(replies=[UNSURE]))
    end = await run.run(deleted())
    assert (len(run.client.posts), end.unknown, end.exit_code) == (1, 1, 4)


async def test_who_is_there_or_barred_has_an_outcome_and_no_post(directory):
    run = Restore(directory, FakeClient())
    end = await run.run(there=[deleted(1)], barred=[(deleted(2), "why")])
    assert (end.already_there, end.failed, end.exit_code, run.client.posts) == (1, 1, 4, [])
    assert run.said == [("already_there", ""), ("failed", "why")]


async def test_error_of_the_whole_run_skips_the_rest(directory):
    error = CredentialsRefused("No.")
    run = Restore(
        directory,
        FakeClient(replies=[InviteResult(InviteStatus.REJECTED, 401, fatal_error=error)]),
    )
    end = await run.run(deleted(1), deleted(2))
    assert (end.failed, end.skipped, end.exit_code) == (1, 1, 5)


async def test_nothing_is_sent_whose_intent_is_not_on_disk(directory, monkeypatch):
    run = Restore(directory, FakeClient())

    async def fail(_log):
        raise AuditLogError("The disk is full.")

    monkeypatch.setattr(AuditLog, "sync", fail)
    end = await run.run(deleted(1), deleted(2))
    assert (run.client.posts, end.skipped, end.exit_code) == ([], 2, 7)


async def test_stop_skips_what_was_not_sent(directory):
    run = Restore(directory, FakeClient())
    run.client.before_post = lambda: run.stop.request("a signal came")
    end = await run.run(deleted(1), deleted(2), deleted(3))
    assert (end.restored, end.skipped, len(run.client.posts)) == (1, 2, 1)
