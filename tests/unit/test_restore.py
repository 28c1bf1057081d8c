"""Whom a restore invites again: what a run deleted, who is not there, and what became of each."""

import asyncio
from itertools import pairwise

import pytest
from audit.runs import intent, outcome, planned, started, write_run
from builders import ORG, OTHER_ORG, PROJECT, object_id, project
from fakes import FakeAtlas, FakeDeletionLog

from invite_sweeper.audit import History
from invite_sweeper.endings import Reason
from invite_sweeper.errors import CredentialsRefused, UsageError
from invite_sweeper.models import (
    Entry,
    InviteResult,
    InviteStatus,
    ListUnreadable,
    RequestCounters,
    Source,
)
from invite_sweeper.restore import (
    Deleted,
    Pace,
    Restorer,
    find_missing,
    find_run,
    finished,
    read_deletions,
)
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.organization import Organization

SENT = InviteResult(InviteStatus.CREATED, 200)
LATER = InviteResult(InviteStatus.RETRY_LATER, 400)


def line(number=1, **changes):
    return planned(number, **{"source": Source.INVITES, **changes})


def deleted(number=1, **changes):
    return Deleted.of(outcome(line(number, **changes)))


class FakeClient:
    """A client with members by organization, and scripted answers to POSTs, by address."""

    def __init__(self, there=(), answers=None, org_id=ORG):
        self.there, self.answers, self.sent = there, answers or {}, []
        self.reader = FakeAtlas(listed=[project(1, id=PROJECT, org_id=org_id)])
        self.counters = RequestCounters()

    def members(self):
        return self

    def inviter(self):
        return self

    async def statuses(self, _one):
        if isinstance(self.there, ListUnreadable):
            return self.there
        return dict.fromkeys(self.there, "PENDING")

    async def invite(self, one, progress):
        self.sent.append(one)
        progress.attempts += 1
        answers = self.answers.get(one.username)
        return answers.pop(0) if answers else SENT


# What a run deleted ------------------------------------------------------------------------------


def numbers_of(directory, run_id="r1", **options):
    found = read_deletions(directory.files(), run_id, **options)
    return [int(each.invitation.id, 16) for each in found]


@pytest.mark.parametrize(
    ("result", "options", "by_default", "unconfirmed"),
    [
        ("deleted", {}, True, True),
        ("accepted_during", {}, True, True),
        ("failed", {}, False, False),
        ("skipped", {}, False, False),
        ("accepted_before", {}, False, False),
        ("unknown", {}, False, True),
        ("already_gone", {}, False, False),
        ("already_gone", {"attempts": 2}, False, True),
    ],
)
def test_what_atlas_confirmed_is_brought_back_and_the_rest_on_request(
    directory, result, options, by_default, unconfirmed
):
    one = line()
    write_run(directory, "r1", one, intent(one), outcome(one, result, **options))
    assert numbers_of(directory) == [1] * by_default
    assert numbers_of(directory, unconfirmed=True) == [1] * unconfirmed


def test_deletion_that_a_list_still_showed_is_none(directory):
    one = line()
    lines = [intent(one), outcome(one), outcome(one, "failed", replaces="deleted")]
    write_run(directory, "r1", one, *lines)
    assert numbers_of(directory, unconfirmed=True) == []


def test_outcome_that_a_later_run_recorded_belongs_to_the_killed_one(directory):
    one, own = line(1), line(2)
    write_run(directory, "r1", one, intent(one), killed=True)
    assert numbers_of(directory) == []
    assert numbers_of(directory, unconfirmed=True) == [1]
    recovered = outcome(one, "already_gone", attempts=0, recovers="r1")
    write_run(directory, "r2", recovered, own, intent(own), outcome(own))
    assert numbers_of(directory) == []
    assert numbers_of(directory, unconfirmed=True) == [1]
    assert numbers_of(directory, "r2", unconfirmed=True) == [2]


def test_invitation_comes_back_with_the_roles_of_all_its_entries(directory):
    entries = (
        Entry(Source.ORG_INVITES, None, object_id(8), ("ORG_READ_ONLY",)),
        Entry(Source.USERS, object_id(9), object_id(1), ("GROUP_OWNER",)),
    )
    place = {"source": Source.ORG_USERS, "project_id": ORG, "roles": ("ORG_MEMBER",)}
    one = line(1, entries=entries, **place)
    write_run(directory, "r1", one, intent(one), outcome(one))
    (found,) = read_deletions(directory.files(), "r1")
    assert found.invitation.roles == ("ORG_MEMBER", "ORG_READ_ONLY")
    assert found.invitation.project_roles == ((object_id(9), "GROUP_OWNER"),)


def test_glob_of_a_username_ignores_case(directory):
    lines = [each for n in (1, 2) for each in (line(n), intent(line(n)), outcome(line(n)))]
    write_run(directory, "r1", *lines)
    assert numbers_of(directory, username="PERSON-2@*") == [2]


def test_without_a_run_there_is_nothing_to_undo(directory):
    write_run(directory, "r1", start=started(mode="dry-run"))
    with pytest.raises(UsageError, match="no sweep to undo"):
        find_run(History.read(directory.files()), None)


# Who is there ------------------------------------------------------------------------------------


async def test_each_organization_is_asked_with_its_own_credentials():
    unread = ListUnreadable("", "", "503")
    clients = FakeClient(["\uff30erson-1@Example.com"]), FakeClient(unread, org_id=OTHER_ORG)
    own = [Organization(id_, c) for id_, c in zip((ORG, OTHER_ORG), clients, strict=True)]
    people = [deleted(1), deleted(2), deleted(3, org_id=OTHER_ORG)]
    missing = await find_missing(own, people)
    assert missing.there == (people[0],)
    assert missing.to_invite == (people[1],)
    assert missing.barred == ((people[2], "503"),)


async def test_nobody_is_invited_into_a_project_that_moved_to_another_organization():
    moved = FakeClient(org_id=OTHER_ORG)
    missing = await find_missing([Organization(ORG, moved)], [deleted(1)])
    assert (missing.to_invite, [each for each, _ in missing.barred]) == ((), [deleted(1)])


# What becomes of each ----------------------------------------------------------------------------


async def restore(client, *people, stop=None):
    """Restore; return the outcomes by address, the log and the restorer."""
    now, found, log = [0.0], {}, FakeDeletionLog()

    async def sleep(seconds):
        now[0] += seconds
        await asyncio.sleep(0)

    sent_s = []
    invite = client.invite

    async def timed(one, progress):
        assert ("intent", one.id) in log.lines[: log.on_disk]
        sent_s.append(now[0])
        return await invite(one, progress)

    client.invite = timed
    organizations = [Organization(ORG, client)]
    restorer = Restorer(
        organizations,
        log,
        stop or StopRequest(),
        Pace(lambda: now[0], sleep),
        5.0,
        lambda each, result, _reason: found.update({each.invitation.username: str(result)}),
    )
    await restorer.run(await find_missing(organizations, people))
    assert all(one <= two for one, two in pairwise(sent_s))
    return found, sent_s, finished(organizations, restorer.outcomes, restorer.error, 1.0)


@pytest.mark.parametrize(
    ("answers", "result", "posts", "code"),
    [
        ([SENT], "restored", 1, 0),
        ([InviteResult(InviteStatus.ACTIVE, 201)], "active", 1, 4),
        ([InviteResult(InviteStatus.ALREADY_PRESENT, 409)], "already_there", 1, 0),
        ([InviteResult(InviteStatus.UNKNOWN)], "unknown", 1, 4),
        ([InviteResult(InviteStatus.UNREADABLE, 201)], "unknown", 1, 4),
        ([InviteResult(InviteStatus.REJECTED, 400)], "failed", 1, 4),
        ([LATER, SENT], "restored", 2, 0),
        ([LATER] * 9, "failed", 4, 4),
    ],
)
async def test_outcome_claims_what_the_answer_proves_and_only_a_refusal_is_sent_again(
    answers, result, posts, code
):
    client = FakeClient(answers={"person-1@example.com": list(answers)})
    found, _, end = await restore(client, deleted(1))
    assert (found, len(client.sent), end.exit_code) == (
        {"person-1@example.com": result},
        posts,
        code,
    )


async def test_at_most_ten_are_invited_a_minute():
    _, sent_s, end = await restore(FakeClient(), *(deleted(n) for n in range(25)))
    assert end.restored == 25
    assert all(b - a > 60 for a, b in zip(sent_s, sent_s[10:], strict=False))


async def test_who_is_there_costs_no_request():
    client = FakeClient(["person-1@example.com"])
    found, _, end = await restore(client, deleted(1))
    assert (found, client.sent, end.exit_code) == (
        {"person-1@example.com": "already_there"},
        [],
        0,
    )


async def test_answer_about_the_credentials_ends_the_restore_and_the_rest_is_skipped():
    refused = InviteResult(InviteStatus.REJECTED, 401, fatal_error=CredentialsRefused("401."))
    client = FakeClient(answers={"person-1@example.com": [refused]})
    found, _, end = await restore(client, deleted(1), deleted(2))
    assert list(found.values()) == ["failed", "skipped"]
    assert (end.exit_code, end.reasons) == (5, (Reason.CREDENTIALS,))


async def test_stop_skips_the_rest():
    stop = StopRequest()
    stop.request("SIGTERM came")
    found, sent_s, end = await restore(FakeClient(), deleted(1), stop=stop)
    assert (found, sent_s) == ({"person-1@example.com": "skipped"}, [])
    assert end.reasons == (Reason.NOT_INVITED,)
