"""A restore: what a run deleted, who is missing, and one POST for each of them."""

import asyncio
from copy import copy
from pathlib import Path

import msgspec
import pytest
from audit.runs import (
    HOST,
    clock,
    deletion,
    events_of,
    intent,
    outcome,
    planned,
    started,
    write_run,
)
from builders import NOW, ORG, OTHER_ORG, PROJECT, object_id
from reviewed import assert_reviewed
from sweep.night import QuietView, command_of
from virtual_time import run_skipping_idle_time

from invite_sweeper.atlas.http import RequestCounters
from invite_sweeper.audit import AuditDirectory, AuditLog, History, RunFile
from invite_sweeper.audit.events import Intent, OutcomeLine
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.errors import (
    Advisor,
    AuditLogError,
    CredentialsRefused,
    DamagedLog,
    GuardRefused,
    NoDeletionFound,
)
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
from invite_sweeper.sweep.plan import AtlasOrganization
from invite_sweeper.sweep.result import Result

R0 = RunFile(1, "r0", Path("000001-r0.jsonl"))
CREATED = Sending(Outcome.RESTORED, 1, 200)
LATER = Sending(None, 1, 400, "RATE_LIMITED_IP")
OTHER_PROJECT = object_id(50)
TEAM = object_id(60)


def of_list(number=1, **changes):
    return planned(number, **{"source": Source.INVITES, **changes})


def row_of(source, *roles, number=1, **changes):
    """Return the row of a person in a list; one of an organization has the roles there alone."""
    if source.is_organization_level:
        changes = {"project_id": None, "project_name": None, **changes}
    return planned(number, source=source, roles=roles, **changes)


def deleted(*lines):
    return [event for line in lines for event in (intent(line), outcome(line))]


# What a run deleted ------------------------------------------------------------------------------


def found_in(directory, wanted):
    try:
        found = find_deletions(directory, wanted, HOST, Advisor(audit_dir="audit"))
    except NoDeletionFound:
        return ()
    return found.lost


@pytest.mark.parametrize(
    # What became of a deletion, and how many are found without being asked, and on request.
    ("result", "changes", "found"),
    [
        ("deleted", {}, (1, 1)),
        (None, {}, (0, 1)),  # killed
        ("unknown", {}, (0, 1)),
        ("unknown", {"recovers": "r0"}, (0, 0)),
        ("already_gone", {}, (0, 0)),
        ("already_gone", {"attempts": 2}, (0, 1)),
        ("already_gone", {"recovers": "r0"}, (0, 0)),
        ("failed", {"attempts": 2}, (0, 0)),
        ("changed", {}, (0, 0)),
        ("skipped", {"attempts": 0}, (0, 0)),
        ("accepted_before", {}, (0, 0)),
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


def test_a_place_has_the_roles_of_all_entries_of_a_person_whom_a_list_shows_twice(directory):
    entries = (
        Entry(Source.USERS, OTHER_PROJECT, object_id(9), ("GROUP_OWNER",)),
        Entry(
            Source.ORG_INVITES,
            None,
            object_id(8),
            ("ORG_BILLING_ADMIN",),
            project_roles=((PROJECT, "GROUP_X"), (object_id(70), "")),
            team_ids=(TEAM,),
        ),
    )
    first = row_of(Source.ORG_USERS, "ORG_MEMBER", username="a@b.c", entries=entries)
    second = row_of(Source.ORG_USERS, "ORG_OWNER", username="A@b.c", number=2)
    write_run(directory, "r0", *deleted(first, second))
    lost = found_in(directory, Wanted("1"))
    assert {(each.source, each.place_id): each.roles for each in lost} == {
        (Source.USERS, OTHER_PROJECT): ("GROUP_OWNER",),
        (Source.USERS, PROJECT): ("GROUP_X",),
        (Source.USERS, object_id(70)): (),  # Atlas named the project alone
        (Source.ORG_USERS, ORG): ("ORG_MEMBER", "ORG_BILLING_ADMIN", "ORG_OWNER"),
    }
    (organization,) = (each for each in lost if each.project_id is None)
    assert (organization.team_ids, organization.project_roles) == ((TEAM,), ())


@pytest.mark.parametrize("first", [True, False])
def test_the_last_deletion_in_a_place_counts_through_whichever_list(directory, first):
    """A role in a project goes with the invitation to the organization, or alone."""
    with_organization = row_of(
        Source.ORG_USERS,
        "ORG_MEMBER",
        project_roles=((PROJECT, "GROUP_OWNER"),),
        linked_projects=((PROJECT, "Sandbox Alpha"),),
    )
    alone = row_of(Source.USERS, "GROUP_READ_ONLY")
    for one in (with_organization, alone) if first else (alone, with_organization):
        write_run(directory, f"r{one.source.value.replace('_', '')}", *deleted(one))
    lost = found_in(directory, Wanted(username="*"))
    roles = ("GROUP_READ_ONLY",) if first else ("GROUP_OWNER",)
    assert {each.place_id: each.roles for each in lost} == {ORG: ("ORG_MEMBER",), PROJECT: roles}
    assert {each.project_name for each in lost} == {None, "Sandbox Alpha"}


@pytest.mark.parametrize("wanted", [{"run": "1"}, {"username": "*"}, {}])
@pytest.mark.parametrize(
    ("found", "is_unconfirmed"),
    [("already_gone", True), ("unknown", True), ("failed", False), ("accepted_before", False)],
)
@pytest.mark.parametrize("is_killed", [True, False])
def test_request_without_an_answer_is_unconfirmed_unless_a_later_run_found_the_person_there(
    directory, found, is_unconfirmed, wanted, is_killed
):
    if is_killed:
        write_run(directory, "r1", intent(of_list()), killed=True)
    else:
        write_run(directory, "r1", *deletion(1, "unknown", source=Source.INVITES))
    later = deleted(of_list(2)) if "run" in wanted else ()
    write_run(directory, "r2", outcome(of_list(), found, recovers="r1"), *later)
    lost = found_in(directory, Wanted(**wanted, unconfirmed=True))
    assert [each.invitation_id for each in lost] == [object_id(1)] * is_unconfirmed
    assert found_in(directory, Wanted(**wanted)) == ()


def test_without_a_run_the_last_one_is_undone_that_deleted_or_on_request_may_have(directory):
    write_run(directory, "r1", *deleted(of_list(1)))
    write_run(directory, "r2", intent(of_list(2)), killed=True)
    write_run(directory, "r3", *deletion(3, "failed", source=Source.INVITES))
    for unconfirmed, number in ((False, 1), (True, 2)):
        (lost,) = found_in(directory, Wanted(unconfirmed=unconfirmed))
        assert lost.invitation_id == object_id(number)


def test_without_a_run_nothing_is_undone_by_a_log_that_is_damaged_before_the_last_deletions(
    directory,
):
    first = write_run(directory, "r1", *deleted(of_list(1)))
    write_run(directory, "r2", *deleted(of_list(2)))
    first.write_bytes(first.read_bytes().replace(b"person-1", b"person-9"))
    with pytest.raises(DamagedLog):
        found_in(directory, Wanted())


# Who is missing ----------------------------------------------------------------------------------


def present(line, status="PENDING"):
    return line.as_event(Present, rule=line.rule, status_now=status)


class FakeClient:
    """A client of an Atlas that lists these people and two projects, and answers POSTs in turn.

    Args:
        rows: Who is in the lists; NOT_READ where none can be read.
    """

    actor = "client"
    sunsets = {}  # noqa: RUF012 - no list ends

    def __init__(self, rows=(), *, org_id=ORG, replies=(), hangs=None):
        self.reader = self.server = self
        self.counters = RequestCounters()
        self.is_unreadable = rows is NOT_READ
        self.rows = () if self.is_unreadable else rows
        self._org_id = org_id
        self._replies = list(replies)
        self._hangs = hangs
        self.posts = []
        self.looks = []
        self.before_post = lambda: None

    def inviter(self):
        return self

    async def projects(self):
        self.looks.append("projects")
        sandbox = Project(PROJECT, "Sandbox Alpha", self._org_id)
        return sandbox, Project(OTHER_PROJECT, "Search", self._org_id)

    async def people(self, place, source):
        self.looks.append(source.value)
        if self.is_unreadable:
            return NOT_READ
        return tuple(row for row in self.rows if (row.source, row.place_id) == (source, place.id))

    async def invite(self, invitation, sending):
        self.before_post()
        await asyncio.sleep(1e9 if self._hangs == "before" else 0)
        sending.attempts += 1
        sending.response_pending = True
        self.posts.append(invitation)
        await asyncio.sleep(1e9 if self._hangs == "after" else 0)
        return copy(self._replies.pop(0) if self._replies else CREATED)


async def plan_of(clients, *lost):
    organizations = [AtlasOrganization(org_id, each) for org_id, each in clients.items()]
    return await plan_restore(organizations, Deletions((R0,), lost))


async def test_each_list_is_read_once_and_who_is_there_in_another_spelling_is_left_out():
    client = FakeClient([row_of(Source.INVITES, "GROUP_READ_ONLY")])
    there = of_list(1, username="Person-1@\uff25xample.com")
    missing = of_list(2)
    plan = await plan_of({ORG: client}, there, missing)
    assert (plan.already_there, plan.to_invite) == ((present(there),), (missing,))
    assert (plan.restores, plan.exit_code) == (("r0",), 0)
    assert client.looks == ["projects", "users", "invites"]


@pytest.mark.parametrize("name", [None, "\u200b", "a***@example.com"])
async def test_without_a_name_or_with_a_masked_one_nobody_is_invited(name):
    plan = await plan_of({ORG: FakeClient()}, of_list(username=name))
    assert (plan.to_invite, plan.barred[0].reason) == ((), "The invitation had no username.")


async def test_each_organization_is_asked_with_its_own_credentials():
    one = FakeClient([row_of(Source.INVITES, "GROUP_READ_ONLY")])
    other = FakeClient(org_id=OTHER_ORG)
    plan = await plan_of({ORG: one, OTHER_ORG: other}, of_list(1), of_list(1, org_id=OTHER_ORG))
    assert [each.org_id for each in plan.already_there] == [ORG]
    assert [each.org_id for each in plan.to_invite] == [OTHER_ORG]
    assert one.looks == other.looks == ["projects", "users", "invites"]


async def test_an_organization_that_the_policy_does_not_name_is_refused_before_any_request():
    client = FakeClient()
    with pytest.raises(GuardRefused, match=OTHER_ORG):
        await plan_of({ORG: client}, of_list(1), of_list(2, org_id=OTHER_ORG))
    assert client.looks == []


NOT_READ = ListUnreadable(PROJECT, "Sandbox", "Atlas answered 500.")
OWNER = row_of(Source.USERS, "GROUP_OWNER")
READER = row_of(Source.USERS, "GROUP_READ_ONLY")
MEMBER = row_of(Source.ORG_USERS, "ORG_MEMBER")
INVITED = row_of(Source.INVITES, "GROUP_OWNER")
IN_GONE = row_of(Source.USERS, "GROUP_OWNER", project_id=object_id(99))
WHOLE = (
    OWNER,
    row_of(Source.ORG_USERS, "ORG_OWNER", team_ids=(TEAM,)),
    row_of(Source.USERS, "GROUP_READ_ONLY", project_id=OTHER_PROJECT, project_name="Search"),
)
"""What a person lost: by one run or by three, in any order."""


def now(row, status, **changes):
    return msgspec.structs.replace(row, status=status, **changes)


def ended(*org_roles, **held):
    """Return the row of an organization whose invitation was rejected, or has expired."""
    status = "INVITATION_REJECTED" if held else "INVITATION_EXPIRED"
    return row_of(Source.ORG_USERS, "ORG_MEMBER", *org_roles, status=status, **held)


OWNED = ((PROJECT, "GROUP_OWNER"),)
CASES = {
    # Who is in the lists, and what was lost.
    "a list cannot be read": (NOT_READ, [OWNER, of_list(2), now(MEMBER, "", username="c@d.e")]),
    "a project is gone": ([], [IN_GONE]),
    "roles are not known": ([], [of_list(roles=())]),
    "the invitation had no username": ([], [of_list(1, username=None), of_list(2, username="")]),
    "the invitation to the organization brings the roles in its projects": ([], WHOLE),
    "a project that is gone is named and the rest is invited": ([], [IN_GONE, *WHOLE[1:]]),
    "who is there with all roles is there once": (WHOLE, WHOLE),
    "so is an active member": ([now(each, "ACTIVE") for each in WHOLE], WHOLE),
    "a project that the organization did not bring is invited to": (WHOLE[:2], WHOLE),
    "who is there with fewer roles in the organization is not called there": (
        [MEMBER],
        [row_of(Source.ORG_USERS, "ORG_OWNER", "ORG_MEMBER")],
    ),
    "nor without a team": ([MEMBER], [row_of(Source.ORG_USERS, "ORG_MEMBER", team_ids=(TEAM,))]),
    "nor through the older list": ([MEMBER], [row_of(Source.ORG_INVITES, "ORG_OWNER")]),
    "nor with fewer in a project": ([MEMBER, READER], [OWNER]),
    "nor invited with fewer": ([row_of(Source.INVITES, "GROUP_READ_ONLY")], [INVITED]),
    "an active member gets no invitation of invites": ([now(READER, "ACTIVE")], [INVITED]),
    "one of invites is sent beside a pending one with other roles": ([READER], [INVITED]),
    "but not beside one with the same": (
        [row_of(Source.USERS, "GROUP_OWNER", "GROUP_X")],
        [INVITED],
    ),
    "an invitation that has ended is replaced": ([ended("ORG_OWNER", project_roles=OWNED)], WHOLE),
    "one of a project is, too": ([ended(project_roles=OWNED)], WHOLE[:1]),
    "and one of the organization": ([ended("ORG_OWNER")], WHOLE[1:2]),
    "one that has ended with another role is not replaced": ([ended("ORG_OWNER")], [OWNER]),
    "nor with one in another project": (
        [ended(project_roles=((OTHER_PROJECT, "GROUP_OWNER"),))],
        [OWNER],
    ),
    "nor with another one in the project": (
        [ended(project_roles=((PROJECT, "GROUP_X"),))],
        [OWNER],
    ),
    "nor with a team": ([ended(team_ids=(TEAM,))], [OWNER]),
    "of two names that look the same the active member counts": (
        [now(OWNER, "ACTIVE"), now(OWNER, "PENDING", username="PERSON-1@example.com")],
        [INVITED],
    ),
    "so it does where it is the other one": (
        [now(OWNER, "PENDING"), now(OWNER, "ACTIVE", username="PERSON-1@example.com")],
        [INVITED],
    ),
}
PLACES = {ORG: "the organization", PROJECT: "Sandbox Alpha", OTHER_PROJECT: "Search"}


def described(line):
    in_projects = (f"{role} in {PLACES[place]}" for place, role in line.project_roles)
    roles = ", ".join((*line.roles, *line.team_ids, *in_projects)) or "no roles"
    place = PLACES.get(line.place_id, "a project that is gone")
    return f"{line.username or 'no name'} by {line.source.value} in {place}: {roles}"


async def test_decisions_about_who_was_lost_are_as_they_were_reviewed():
    text = "# Who is in the lists, what was lost, and what a restore does.\n"
    for name, (rows, lost) in CASES.items():
        client = FakeClient(rows)
        plan = await plan_of({ORG: client}, *lost)
        lines = ["no list can be read"] if rows is NOT_READ else []
        lines += [f"  there  {described(each)} ({each.status})" for each in client.rows]
        lines += [f"  lost   {described(each)}" for each in lost]
        lines += [f"invite   {described(each)}" for each in plan.to_invite]
        lines += [f"is there {described(each)} ({each.status_now})" for each in plan.already_there]
        lines += [f"barred   {described(each)}\n         {each.reason}" for each in plan.barred]
        lines += [f"exit code {plan.exit_code}"]
        text += "\n".join(("", f"== {name}", *lines, ""))
    assert_reviewed(text, __file__, "restore.txt")


async def test_a_project_that_another_organization_has_now_is_not_invited_to():
    plan = await plan_of({ORG: FakeClient(org_id=OTHER_ORG)}, of_list())
    (barred,) = plan.barred
    assert barred.reason == f"Project {PROJECT} belongs to organization {OTHER_ORG} now."
    assert plan.to_invite == ()


# The POSTs ---------------------------------------------------------------------------------------


class Restore:
    """A restore with a clock that advances only while it waits."""

    def __init__(self, directory, *replies, hangs=None):
        self.client = FakeClient(replies=replies, hangs=hangs)
        self.stop = StopRequest()
        self.log = AuditLog(directory, "r1", clock=clock())
        self.trace = []
        self.client.before_post = lambda: self._note("POST")

    def run(self, *to_invite, there=(), barred=(), opened=()):
        given = {"to_invite": to_invite, "already_there": there, "barred": barred}

        async def scenario():
            organizations = [AtlasOrganization(ORG, self.client)]
            result = Result(command_of(restores=(R0,)), organizations, QuietView())
            restorer = Restorer(result, self.log, self.stop, self._report, self._wait)
            try:
                return await restorer.run(
                    RestorePlan(restores=("r0",), exit_code=0, **given), opened
                )
            finally:
                await self.log.close()

        record, self.waited_s = run_skipping_idle_time(scenario)
        return record.end

    def _report(self, line):
        self.trace.append(f"{line.outcome}: {line.reason}")

    def _wait(self, seconds):
        self._note(f"wait of {seconds:.0f} s")

    def _note(self, what):
        """Note what happens, with what is on disk by then."""
        intents, outcomes = (len(self.lines(kind)) for kind in (Intent, OutcomeLine))
        self.trace.append(f"{what}; on disk: intents {intents}, outcomes {outcomes}")

    def lines(self, kind):
        return [each for each in events_of(FileChain(self.log.file)) if type(each) is kind]


REFUSED = Sending(Outcome.FAILED, 1, 401, fatal_error=CredentialsRefused("No."))
ONE = (of_list(),)
RESTORES = {
    # What is invited, and what Atlas answers; without an answer, it creates the invitation.
    "an invitation is created": (ONE, []),
    "an active member is added": (ONE, [Sending(Outcome.ACTIVE, 1, 200, "CODE")]),
    "another answer is a failure": (ONE, [Sending(Outcome.FAILED, 1, 200, "CODE")]),
    "a request without an answer is not sent again": (ONE, [Sending(Outcome.UNKNOWN, 1)]),
    "one that Atlas does not accept yet is": (ONE, [LATER] * 3),
    "three times at most": (ONE, [LATER] * 4),
    "the eleventh waits until a minute is over": ([of_list(n) for n in range(1, 23)], []),
    "an error of the whole run skips the rest": ((of_list(1), of_list(2)), [REFUSED]),
}


def test_restores_are_as_they_were_reviewed(tmp_path):
    """The intent is on disk before each POST, and all outcomes before each wait."""
    text = ""
    for number, (name, (to_invite, replies)) in enumerate(RESTORES.items()):
        run = Restore(AuditDirectory(tmp_path / str(number)), *replies)
        end = run.run(*to_invite)
        lines = [f"attempts {line.attempts}" for line in run.lines(OutcomeLine)]
        lines = [*run.trace, *dict.fromkeys(lines), f"exit code {end.exit_code}"]
        text += "\n".join((f"== {name}", *lines, f"{run.waited_s:.0f} s", ""))
    assert_reviewed(text, __file__, "restores.txt")


def test_who_is_there_or_barred_has_an_outcome_and_no_post(directory):
    barred = of_list(2).as_event(Barred, rule="forgotten", reason="why")
    run = Restore(directory)
    end = run.run(there=[present(of_list(1))], barred=[barred])
    assert (end.already_there, end.failed, end.exit_code, run.client.posts) == (1, 1, 4, [])
    assert run.trace == ["already_there: invited or a member already", "failed: why"]


@pytest.mark.parametrize(
    ("status", "outcome", "code"),
    [("ACTIVE", "active", 4), ("PENDING", "already_there", 0), ("", "already_there", 0)],
)
@pytest.mark.parametrize("mode", ["restore", "sweep"])
def test_request_of_a_killed_restore_is_ended_as_its_list_shows_and_an_active_member_is_loud(
    directory, status, outcome, code, mode
):
    """A person who is there without such a request was there before."""
    one = of_list(1)
    before = of_list(2)
    write_run(directory, "r0", intent(one), start=started(mode=mode), killed=True)
    opened = History.read(directory, NOW).open_intents(HOST)[ORG]
    run = Restore(directory)
    end = run.run(there=[present(one, status), present(before, "ACTIVE")], opened=opened)
    recovered = [line.outcome for line in run.lines(OutcomeLine) if line.recovers]
    outcome, code = (outcome, code) if mode == "restore" else ("already_there", 0)
    assert recovered == [outcome] * (mode == "restore")
    assert (getattr(end, outcome), end.exit_code) == (1 + (outcome == "already_there"), code)
    assert end.active + end.already_there == 2
    assert ("made_active" in end.reasons) is (code == 4)
    assert run.client.posts == []


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
