"""A sweep over several organizations: read, planned and checked together, then deleted.

Deletion begins at most 15 minutes after the last list was read, time asleep included.
"""

from datetime import timedelta

import pytest
from builders import DAY, NOW, ORG, OTHER_ORG, changed, entry_of, invitation, object_id, project
from reviewed import assert_reviewed
from sweep.night import Night, later, message

from invite_sweeper import clock
from invite_sweeper.audit import AuditDirectory, AuditLog, check_written_plan
from invite_sweeper.audit.events import Intent, OutcomeLine, Planned
from invite_sweeper.audit.verify import Verdict, verify_directory
from invite_sweeper.endings import Reason, WarningCode, WarningLevel
from invite_sweeper.errors import AtlasUnavailable, AuditLogError, CredentialsRefused
from invite_sweeper.models import ListUnreadable, Source
from invite_sweeper.outcomes import Outcome, Sending
from invite_sweeper.sweep import run
from invite_sweeper.sweep.scope import Shard


def fail(night, number, error=None):
    error = error or AtlasUnavailable("No connection.")
    night.atlases[number].list_results = {object_id(number + 1): error}


async def test_all_organizations_are_planned_on_disk_before_anything_is_deleted(directory):
    night = Night(directory, 1, 2, 3)
    result = await night.run()
    assert night.deleted == [1, 2, 3]
    assert [each.deleted for each in result.organizations] == [1, 2, 3]
    assert (result.exit_code, result.error, result.reasons) == (0, None, ())
    kinds = [type(each) for each in night.events()]
    assert Planned not in kinds[kinds.index(Intent) :]
    assert verify_directory(directory).verdict is Verdict.SOUND


async def test_dry_run_plans_the_same_and_deletes_and_asks_nothing(directory):
    night = Night(directory, 1, 2)
    result = await night.run(dry_run=True)
    assert (night.deleted, night.view.asked, result.stale) == ([0, 0], [], 3)
    assert len(night.events(Planned)) == 3
    assert (result.plan_made, result.plan_complete) == (True, True)


async def test_run_without_stale_invitations_asks_nothing(directory):
    night = Night(directory, 0)
    assert (await night.run()).exit_code == 0
    assert night.view.asked == []


@pytest.mark.parametrize(
    ("fails", "code", "words"),
    [
        (lambda night: fail(night, 0), 6, "No connection."),
        (lambda night: setattr(night.atlases[0], "clock_skew_s", None), 3, "not be checked"),
    ],
    ids=["no connection", "no clock"],
)
async def test_organization_that_failed_loses_nothing_and_does_not_count_towards_the_limits(
    directory, fails, code, words
):
    night = Night(directory, 3, 2, limits={"max_deletions": 2})
    fails(night)
    result = await night.run()
    assert (night.deleted, result.exit_code) == ([0, 2], 4)
    first, second = result.organizations
    assert (first.exit_code, words in first.error["message"]) == (code, True)
    assert ORG in first.error["organization"]
    assert (second.exit_code, second.error) == (0, None)


def clock_steps_after_reading(night):
    """Of an organization that failed, too, the clock counts."""
    fail(night, 0)
    night.atlases[1].on_list = lambda _: setattr(night.atlases[0], "clock_skew_s", 301.0)


def fail_all(night):
    fail(night, 0)
    fail(night, 1)


def stop_while_listing(night):
    night.atlases[0].on_list = lambda _: night.stop.request("the deadline passed")


def stop_while_asking(night):
    return {"answer": lambda _: night.stop.request("SIGTERM came") or True}


def answer_late(night):
    return {"answer": lambda _: pass_time(night, 36_000)}


OLD = "The plan is 10 hours old: deletion begins at most 15 minutes after the last list was read."
OVER = "In 2 organizations together: 5 stale invitations are over max_deletions: 4."
NOTHING_DELETED = {
    "more stale in all than max_deletions": ({"max_deletions": 4}, None, 3, OVER),
    "a wrong clock after reading": ({}, clock_steps_after_reading, 3, "The local clock is 5"),
    "no organization read": ({}, fail_all, 6, "No connection."),
    "a question answered with no": ({}, lambda _: {"answer": lambda _: False}, 3, "Cancelled."),
    "a question answered after 10 hours": ({}, answer_late, 3, OLD),
    "a stop while lists are read": ({}, stop_while_listing, 8, "the deadline passed"),
    "a stop while the question is open": ({}, stop_while_asking, 8, "SIGTERM came"),
}


@pytest.mark.parametrize("name", NOTHING_DELETED)
async def test_nothing_is_deleted_in_any_organization_after(directory, name):
    limits, prepare, code, words = NOTHING_DELETED[name]
    night = Night(directory, 2, 3, limits=limits)
    options = prepare(night) if prepare is not None else None
    result = await night.run(**options or {})
    assert (night.deleted, night.events(Intent), result.exit_code) == ([0, 0], [], code)
    assert words in message(result)
    assert result.error["consequence"].startswith("Nothing was deleted")
    assert bool(night.view.asked) is ("question" in name)


def keep_until(days):
    last_day = NOW.date() + timedelta(days=days)
    return {"keep": [{"name": "trip", "usernames": ["person-*"], "until": last_day}]}


PATTERNS = {"include": ["*", "P*", "x-*", object_id(7)], "exclude": ["none-*", "p1"]}
EXCLUDE = {"projects": PATTERNS}
BOARD = {"name": "board", "usernames": ["*@board.example"]}
UNUSED = {"keep": [BOARD, {"name": "first", "usernames": ["person-0@*"]}]}
MANY = {"keep": [{"name": f"k{n}", "usernames": [f"x{n}@*"]} for n in range(5)]}
NAMED = {
    "rules": [{"name": "r", "older_than": "14d", "organizations": ["beta"]}],
    "keep": [{"name": "k", "organizations": ["alp*", "x*"]}],
}
NEWER = {"sources": ["invites", "users", "org_users"]}  # else each run warns of their end
PLAN = {"dry_run": True}
DOWN = AtlasUnavailable("No connection.")
UNREAD_LIST = [{}, {"list_results": {object_id(2): DOWN}}]
ENDS = [{"expiries": (NOW - 3 * DAY, NOW + 3 * DAY, NOW + 90 * DAY)}]
GAMMA = [{"names": {ORG: "Alpha", OTHER_ORG: "Gamma"}}] * 2
WARNED = {
    "pattern that matches no project": ((1, 1), EXCLUDE, [], {}),
    "pattern, and an organization was not listed": ((1, 1), EXCLUDE, [{"listed": DOWN}], {}),
    "plan with an unused keep entry": ((1, 0), UNUSED, [], PLAN),
    "sweep with one": ((1, 0), UNUSED, [], {}),
    "plan of no invitation with two": ((0, 0), UNUSED, [], PLAN),
    "plan with one that did not read everything": ((1, 0), UNUSED, UNREAD_LIST, PLAN),
    "plan with five": ((1,), MANY, [], PLAN),
    **{
        f"keep entry with {days} days left": ((1, 2), keep_until(days), [], {})
        for days in (8, 7, 1, 0, -1, -14, -15)
    },
    "name that no organization has": ((1, 1), NAMED, GAMMA, {}),
    "the same in a shard": ((1, 1), NAMED, GAMMA, {"shard": Shard(1, 2)}),
    "name that one has": ((1, 1), NAMED, [{"names": {ORG: "Alpha", OTHER_ORG: "Beta"}}] * 2, {}),
    "name of an organization whose name is not known": ((1, 1), NAMED, [], {}),
    "names that are not known": ((1,), {}, [{"names": DOWN}], {}),
    "secret that ends soon": ((1,), {}, ENDS, {}),
}
"""By what is warned of: the stale invitations, the policy, what each Atlas has, and of the run."""


def told_by(night, result):
    warnings = [each for each in night.view.warnings if each.code != WarningCode.AUDIT_LOG]
    shown = [f"    {each.level} {each.code}: {each.message}" for each in warnings]
    ends = [each.credentials_expire for each in result.organizations if each.credentials_expire]
    shown += [f"    credentials end on {each}" for each in ends]
    done = f"    exit {result.exit_code}, deleted {night.deleted}, kept {result.kept_by_reason}"
    return [*shown, f"{done}, announced {result.announced}, trimmed {result.trimmed}"]


async def test_what_is_warned_of_is_as_it_was_reviewed(tmp_path):
    parts = []
    for number, (name, (stale, keys, atlases, options)) in enumerate(WARNED.items()):
        night = Night(AuditDirectory(tmp_path / str(number)), *stale, **NEWER, **keys)
        for atlas, changes in zip(night.atlases, atlases, strict=False):
            vars(atlas).update(changes)
        parts += [f"== {name}", *told_by(night, await night.run(**options))]
    keys = {"limits": {"max_deletions": 2, "over_limit": "trim"}, "notice": {"wait": "7d"}}
    night = Night(AuditDirectory(tmp_path / "notice"), 3, **NEWER, **keys)
    more = invitation(50, project_id=object_id(1), source=Source.INVITES)
    for day, dry_run in ((0, True), (0, False), (1, True), (7, False), (8, False)):
        if day == 1:
            night.atlases[0].show(more)
        result = await night.run(at=later(24 * day), dry_run=dry_run)
        parts += [f"== notice on day {day}, dry run {dry_run}", *told_by(night, result)]
    assert_reviewed("\n".join(parts) + "\n", __file__, "warnings.txt")


@pytest.mark.parametrize(("now", "warns"), [(9, False), (8, True)])
async def test_over_a_tenth_fewer_projects_than_the_last_run_saw_are_warned_of_and_refuse_nothing(
    directory, now, warns
):
    night = Night(directory, 1)
    for at, count, dry_run in ((NOW, 10, True), (later(), now, False)):
        night.atlases[0].listed = [project(n, name=f"p{n}") for n in range(1, count + 1)]
        result = await night.run(at=at, dry_run=dry_run)
    found = [each for each in result.warnings if each.code == WarningCode.FEWER_PROJECTS]
    said = (
        f"The credentials of the organization Alpha ({ORG}) see 8 projects in scope, and the last "
        "run saw 10. If they still exist, check the roles of the credentials."
    )
    assert [(each.message, each.level) for each in found] == [(said, WarningLevel.URGENT)] * warns
    assert (night.deleted, result.exit_code) == ([1], 0)


async def test_question_has_the_counts_of_all_and_its_time_is_not_the_runs(directory):
    night = Night(directory, 1, 2, 0)
    asked = []

    def answer(result):
        lists = [*night.atlases[1].requested]
        asked.append((result.stale, len(result.organizations), night.deleted, lists))
        night.clock_s += 60
        return True

    night.clock_s = 10.0
    result = await night.run(answer=answer)
    assert asked == [(3, 3, [0, 0, 0], [object_id(2)])]
    assert (result.duration_s, result.changed, night.deleted) == (10.0, 0, [1, 2, 0])
    assert night.atlases[1].requested == [object_id(2)]


async def test_stop_while_the_first_organization_is_swept_skips_the_others(directory):
    night = Night(directory, 1, 2)
    night.atlases[0].on_delete = lambda _: night.stop.request("SIGTERM came")
    result = await night.run()
    assert (night.deleted, result.deleted, result.skipped) == ([1, 0], 1, 2)
    assert (result.exit_code, result.error["consequence"]) == (8, "The audit log is complete.")
    assert len(night.events(OutcomeLine)) == 3


async def test_breaker_skips_what_all_organizations_have_left_and_is_a_reason_there_alone(
    directory,
):
    night = Night(directory, 1, 7, 2, limits={"canary": 6})
    failing = night.atlases[1]
    failed = Sending(Outcome.FAILED, 1, 403, "X")
    failing.results = {
        each.invitation_id: failed for each in failing.lists[Source.INVITES, object_id(2)]
    }
    result = await night.run()
    found = [(each.deleted, each.failed, each.skipped) for each in result.organizations]
    assert found == [(1, 0, 0), (0, 5, 2), (0, 0, 2)]
    assert result.organizations[1].missing_role == 5
    opened = [Reason.CIRCUIT_BREAKER in each.reasons for each in result.organizations]
    assert (opened, result.exit_code) == ([False, True, True], 4)
    assert [each.exit_code for each in result.organizations] == [0, 4, 4]
    assert night.view.codes().count(WarningCode.CIRCUIT_BREAKER) == 1


async def test_refused_credentials_end_one_organization_and_the_others_go_on(directory):
    night = Night(directory, 2, 2, execution={"concurrency": 1}, limits={"canary": 0})
    refused = Sending(Outcome.FAILED, 1, 403, None, CredentialsRefused("no"))
    night.atlases[0].results = {object_id(1): refused}
    result = await night.run()
    assert (night.deleted, result.failed) == ([1, 2], 1)
    (error, none) = [each.error for each in result.organizations]
    assert error["organization"] == f"Alpha ({ORG})"
    assert error["consequence"] == "1 invitation had been deleted there by then."
    assert none is None


async def test_log_that_fails_ends_the_sweep_of_all_organizations(directory, monkeypatch):
    night = Night(directory, 2, 2, execution={"concurrency": 1}, limits={"canary": 1})
    sync = AuditLog.sync

    async def failing(log):
        if sum(night.deleted) == 1:
            raise AuditLogError("The disk is full.")
        await sync(log)

    monkeypatch.setattr(AuditLog, "sync", failing)
    result = await night.run()
    assert result.error["consequence"] == "1 invitation had been deleted by then."
    assert (night.deleted, result.skipped) == ([1, 0], 3)


async def test_plan_that_was_changed_on_disk_is_not_deleted(directory, monkeypatch):
    night = Night(directory, 2)

    async def changing(log, written):
        await log.sync()
        path = directory.files()[-1].path
        text = path.read_text().replace("person-1@", "person-2@")
        path.write_text(text)
        await check_written_plan(log, written)

    monkeypatch.setattr("invite_sweeper.sweep.run.check_written_plan", changing)
    result = await night.run()
    assert (night.deleted, result.exit_code) == ([0], 7)
    assert "was changed" in message(result)


@pytest.mark.parametrize(
    ("sources", "still_invited"), [(["invites", "users"], 2), (["users", "org_users"], 0)]
)
async def test_people_deleted_from_projects_alone_are_counted_once_each(
    directory, sources, still_invited
):
    """One is in two projects, one is not deleted, and one has an invitation of a project."""
    night = Night(directory, 0, sources=sources)
    (atlas,) = night.atlases
    atlas.listed.append(project(2))
    places = [{"project_id": object_id(n), "project_name": f"p{n}"} for n in (1, 2)]
    twice = [entry_of(Source.USERS, 1, **place) for place in places]
    other, stays = (entry_of(Source.USERS, n, **places[0]) for n in (2, 3))
    atlas.show(*twice, other, stays, entry_of(Source.INVITES, 4, **places[0]))
    atlas.results = {stays.invitation_id: Sending(Outcome.FAILED, 1, 403)}
    result = await night.run()
    assert result.still_invited == still_invited


MINUTE_S = 60.0


def slow_night(directory, *, read_s=0.0, delete_s=0.0, **execution):
    """Return a night over three stale invitations, whose reading and deletion take a time."""
    night = Night(directory, 3, limits={"canary": 1}, execution={"concurrency": 1, **execution})
    (atlas,) = night.atlases
    atlas.on_list = lambda _: pass_time(night, read_s)
    atlas.on_delete = lambda _: pass_time(night, delete_s)
    return night


def pass_time(night, seconds):
    night.clock_s += seconds
    return True


@pytest.mark.parametrize(("seconds", "deleted"), [(900, 3), (900.5, 0)])
async def test_question_that_is_answered_15_minutes_after_the_reading_is_in_time_and_later_is_not(
    directory, seconds, deleted
):
    night = slow_night(directory)
    result = await night.run(answer=lambda _: pass_time(night, seconds))
    assert (night.deleted, result.exit_code) == ([deleted], 0 if deleted else 3)
    assert (len(night.events(Planned)), len(night.events(Intent))) == (3, deleted)


async def test_machine_that_slept_between_reading_and_deletion_has_an_old_plan(
    directory, monkeypatch
):
    night = slow_night(directory)
    write_plan = run.check_written_plan

    async def sleep_then_write(log, deletions):
        pass_time(night, 901)
        await write_plan(log, deletions)

    monkeypatch.setattr(run, "check_written_plan", sleep_then_write)
    result = await night.run()
    assert (night.deleted, result.exit_code) == ([0], 3)


async def test_reading_of_20_minutes_makes_no_plan_old_and_a_deletion_of_20_neither(directory):
    """The deadline bounds both."""
    night = slow_night(directory, read_s=20 * MINUTE_S, delete_s=20 * MINUTE_S)
    result = await night.run(answer=lambda _: pass_time(night, 15 * MINUTE_S))
    assert (night.deleted, result.exit_code) == ([3], 0)


@pytest.mark.parametrize(("deadline", "minutes"), [("1h", 35), ("34m", 34)])
async def test_question_can_be_answered_15_minutes_from_the_reading_on_or_until_the_deadline(
    directory, deadline, minutes
):
    night = slow_night(directory, read_s=20 * MINUTE_S, deadline=deadline)
    await night.run()
    assert night.view.until == [NOW + timedelta(minutes=minutes)]


async def test_dry_run_of_lists_that_were_read_long_ago_is_not_refused(directory, monkeypatch):
    night = slow_night(directory)
    monkeypatch.setattr(run, "backlog", lambda *_: pass_time(night, 36_000) and None)
    result = await night.run(dry_run=True)
    assert (result.exit_code, message(result), result.stale) == (0, None, 3)


async def test_deadline_that_passed_unseen_by_its_timer_lets_no_intent_be_written(
    directory, monkeypatch
):
    """A machine that slept has timers that are late; each intent asks the clock."""
    night = slow_night(directory, delete_s=61)
    monkeypatch.setattr(clock, "seconds", lambda: night.clock_s)
    with night.stop.at_deadline(60.0, "the deadline of 1 minute passed"):
        result = await night.run()
    assert (night.deleted, result.skipped, result.exit_code) == ([1], 2, 8)
    assert len(night.events(Intent)) == 1
    assert message(result) == "Stopped early: the deadline of 1 minute passed."


GONE = "gone@example.com"
LEFT = {"rules": [{"name": "left", "inviter_gone": True}]}
NOT_SAID = ListUnreadable(ORG, "", "The answer is about other people than asked for.", 200)
MEMBERS = frozenset(f"p{number}@example.com" for number in range(20))
UNREAD = ListUnreadable(ORG, "", "the role is missing.")


def night_of(directory, *inviters, known=MEMBERS, **keys):
    """Return a night over one organization; each invitation is by another person."""
    night = Night(directory, len(inviters), **{**LEFT, **keys})
    (atlas,) = night.atlases
    ((key, found),) = atlas.lists.items()
    pairs = zip(found, inviters, strict=True)
    atlas.lists[key] = tuple(changed(one, inviter=inviter) for one, inviter in pairs)
    atlas.members = known
    return night


def warnings(result):
    return [each.message for each in result.warnings if each.code == WarningCode.MEMBERS]


@pytest.mark.parametrize(("answer", "is_gone"), [(False, True), (True, False), (NOT_SAID, False)])
async def test_inviter_is_gone_only_if_the_list_and_the_answer_for_the_name_agree(
    directory, answer, is_gone
):
    night = night_of(directory, GONE)
    night.atlases[0].answers = {GONE: answer}
    result = await night.run()
    assert (night.deleted, night.atlases[0].asked) == ([int(is_gone)], [GONE])
    assert result.kept_by_reason == ({} if is_gone else {"inviter_unknown": 1})
    said = (
        f"1 inviter in the organization Alpha ({ORG}) is not in the list of active members, and "
        "the answer for the name does not say whether they left: The answer is about other people "
        "than asked for. Their invitations are kept."
    )
    assert warnings(result) == [said] * (answer is NOT_SAID)


async def test_each_inviter_who_seems_gone_is_asked_for_once_in_all_lists_and_no_other_is(
    directory,
):
    """Also where lists are read at the same time."""
    others = ("p1@example.com", "P1@Example.com ", "nmtxqlkl", None, "\uff50" + "1@example.com")
    night = night_of(directory, GONE, " Gone@Example.com", GONE, *others)
    (atlas,) = night.atlases
    (one, *_) = atlas.lists[Source.INVITES, object_id(1)]
    for number in range(2, 9):
        atlas.listed.append(project(number))
        place = {"project_id": object_id(number), "invitation_id": object_id(90 + number)}
        atlas.show(changed(one, **place))
    result = await night.run(dry_run=True)
    assert (result.stale, atlas.asked) == (10, [GONE])


@pytest.mark.parametrize("known", [UNREAD, frozenset()], ids=["unread", "none"])
async def test_no_inviter_is_gone_or_asked_for_where_the_list_is_not_known(directory, known):
    night = night_of(directory, GONE, known=known)
    result = await night.run()
    assert (night.deleted, result.kept_by_reason) == ([0], {"inviter_unknown": 1})
    assert night.atlases[0].asked == []
    if known is UNREAD:
        (warning,) = warnings(result)
        assert warning == (
            f"The active members of the organization Alpha ({ORG}) are not known: the role is "
            "missing. Nothing is deleted there by inviter_gone."
        )
