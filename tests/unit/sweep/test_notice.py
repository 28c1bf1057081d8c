"""Nothing is deleted before it was announced `wait` earlier, and nothing that is due is left.

The model is a dictionary: what is announced, and when. Nights come in any order of lists that
are read or not, policies that change, entries that come and go, kills, and clocks that step.
"""

import os
from datetime import timedelta

import pytest
from audit.rotated_logs import kill, rotate
from audit.written_logs import answer, event, fields_of, opened
from builders import NOW, ORG, OTHER_ORG, PROJECT, invitation, object_id, policy
from hypothesis import given, settings
from hypothesis import strategies as st
from invite_sweeper.sweep.notice import Notice, describe_notice, notice_steps

from invite_sweeper.audit import LogPath
from invite_sweeper.audit.events import Announced, AnnouncementEnded, Planned, announcement_key
from invite_sweeper.audit.history import read_history
from invite_sweeper.audit.reader import read_events
from invite_sweeper.models import InvitationList, ListRef, ListUnreadable, Project, Source
from invite_sweeper.sweep.discovery import ListedInvitations
from invite_sweeper.sweep.plan import PlanBuilder
from invite_sweeper.sweep.selection import Selector

DAY, WEEK = timedelta(days=1), timedelta(days=7)
HOST = "https://cloud.mongodb.com"
CASES = int(os.environ.get("INVITE_SWEEPER_CASES", "30"))


def decide(one, announced_ago=None, *, now=NOW, wait=WEEK, **keys):
    """Return the decision of a policy with a notice about an invitation announced before."""
    held = {} if announced_ago is None else {announcement_key(one): now - announced_ago}
    return Notice(held, wait, now)(Selector(policy(**keys), now).decide(one))


def test_stale_invitation_is_announced_by_the_rule_and_kept_for_the_wait():
    decision = decide(invitation(source=Source.INVITES))
    assert (decision.stale, decision.keep_reason) == (False, "notice_pending")
    assert decision.announcement == (None, NOW + WEEK, "forgotten", ())


@pytest.mark.parametrize(
    ("ago", "stale"),
    [(timedelta(), False), (WEEK - timedelta(seconds=1), False), (WEEK, True), (WEEK * 2, True)],
)
def test_invitation_announced_exactly_wait_ago_is_deleted(ago, stale):
    decision = decide(invitation(source=Source.INVITES), ago)
    assert decision.stale is stale
    assert decision.rule == ("forgotten" if stale else None)
    if not stale:
        assert decision.announcement == (NOW - ago, NOW - ago + WEEK, None, ())


def test_announcement_later_than_now_counts_for_nothing():
    decision = decide(invitation(source=Source.INVITES), -timedelta(seconds=1))
    assert decision.announcement == (None, NOW + WEEK, "forgotten", ())


def test_wait_of_the_policy_in_force_counts():
    assert not decide(invitation(source=Source.INVITES), DAY).stale
    assert decide(invitation(source=Source.INVITES), DAY, wait=DAY).stale


@pytest.mark.parametrize(
    "keys",
    [
        {"rules": [{"name": "forgotten", "older_than": "25d"}]},
        {"keep": [{"name": "k", "usernames": ["person-1@*"]}]},
    ],
)
def test_announcement_ends_where_the_invitation_is_not_stale_or_kept(keys):
    decision = decide(invitation(source=Source.INVITES), DAY, **keys)
    assert decision.announcement == (None, None, None, (invitation(source=Source.INVITES),))
    assert (
        decide(invitation(2, source=Source.INVITES), None, **keys).announcement is None
        or "keep" in keys
    )


def test_unknown_inviter_neither_ends_nor_deletes():
    rules = [{"name": "left", "inviter_gone": True}]
    decision = decide(invitation(source=Source.INVITES), DAY, rules=rules)
    assert (decision.keep_reason, decision.announcement) == ("inviter_unknown", None)


@pytest.mark.parametrize(
    "changes",
    [
        {"created_at": NOW - 21 * DAY},
        {"source": Source.USERS, "status": "PENDING"},
        {"org_id": OTHER_ORG},
        {"project_id": object_id(8)},
        {"id": object_id(9)},
    ],
)
def test_same_id_with_another_date_list_or_organization_is_announced_anew(changes):
    held = {announcement_key(invitation(source=Source.INVITES)): NOW - WEEK}
    other = invitation(source=Source.INVITES)._replace(**changes)
    assert announcement_key(other) not in held
    assert (
        announcement_key(invitation(source=Source.INVITES)._replace(username="x", roles=())) in held
    )


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        (
            (12, 5, 3, True),
            (
                "12 invitations would be announced, 5 deleted, "
                "3 wait until 4 December 2026, 01:00 UTC or later."
            ),
        ),
        (
            (0, 0, 1, False),
            "0 invitations announced, 0 due, 1 waits until 4 December 2026, 01:00 UTC.",
        ),
        (
            (1, 0, 0, False),
            (
                "1 invitation announced, 0 due; "
                "the first may be deleted from 4 December 2026, 01:00 UTC."
            ),
        ),
    ],
)
def test_notice_is_described_by_what_is_announced_due_and_waits(counts, text):
    announced, due, waiting, dry_run = counts
    day = NOW.replace(month=12, day=4)
    assert text == describe_notice(
        announced=announced, due=due, waiting=waiting, next_due=day, dry_run=dry_run
    )


# Nights ------------------------------------------------------------------------------------------


async def night(path, now, lists, rules, *, run_id, dry_run=False, deletes=False, killed_at=None):
    """Run one night on a log, over all its files; return its plan.

    Args:
        lists: By list; None for one that is not read.
        deletes: Atlas deletes what is planned.
        killed_at: The lines of the night that a kill leaves; None to let it end.
    """
    log_path = LogPath(str(path))
    history = read_history(log_path.files())
    log = opened(path, run_id, log_path=log_path)
    start = log.offset
    mode = "dry-run" if dry_run else "sweep"
    log.write(event("run_started", mode=mode, now=now.isoformat().replace("+00:00", "Z")))
    steps = notice_steps(rules, history, HOST, now)
    plan = PlanBuilder(log, Selector(rules, now), rules.limits, now, steps, announces=not dry_run)
    for (org_id, project_id), found in sorted(lists.items()):
        ref = ListRef(Project(project_id, "Sandbox Alpha", org_id), Source.INVITES)
        if found is None:
            await plan.add(ListUnreadable(project_id, "Sandbox Alpha", "timed out"))
        else:
            await plan.add(ListedInvitations(ref, InvitationList(tuple(found))))
    await plan.finish()
    if killed_at is not None:
        await kill(log)
        lines = path.read_bytes()[start:].splitlines(keepends=True)[:killed_at]
        os.truncate(path, start + sum(map(len, lines)))
        return plan
    due = planned(run_id, path)
    for one in [each for found in lists.values() for each in found or ()] if deletes else ():
        if (one.key, one.created_at) in due:
            log.write(event("outcome", **fields_of(one), **answer()))
    log.write(event("run_finished"))
    await log.close()
    return plan


def lines_of_run(run_id, path, *kinds):
    """Return the events of a run of some kinds."""
    return [
        line.event
        for line in read_events([path] if path.exists() else [])
        if line.run_id == run_id and isinstance(line.event, kinds)
    ]


def planned(run_id, path):
    found = (each.invitation() for each in lines_of_run(run_id, path, Planned))
    return {(each.key, each.created_at) for each in found}


LISTS = [(ORG, PROJECT), (ORG, object_id(8)), (OTHER_ORG, object_id(7))]
ENTRY = st.tuples(st.sampled_from(LISTS), st.integers(1, 4), st.integers(0, 1))
"""A list, an id in it, and which of two dates: the person was invited anew."""
NIGHT = st.fixed_dictionaries(
    {
        "step": st.sampled_from([DAY, DAY, 3 * DAY, WEEK, -2 * DAY]),
        "wait": st.sampled_from([DAY, WEEK, WEEK, None]),
        "seen": st.sets(ENTRY, max_size=8),
        "unread": st.sets(st.sampled_from(LISTS), max_size=2),
        "shard": st.sampled_from([None, None, ORG, OTHER_ORG]),
        "kept": st.sampled_from([None, None, "person-1@*", "person-2@*"]),
        "rule_age": st.sampled_from(["1d", "1d", "300d"]),
        "dry_run": st.booleans(),
        "deletes": st.booleans(),
        "killed_at": st.none() | st.none() | st.integers(0, 12),
        "rotate": st.sampled_from([None, None, "rename", "gzip"]),
    }
)


class Model:
    """What is announced and since when, by list, id and date."""

    def __init__(self):
        self.announced = {}

    def night(self, shown, each, now):
        """Return what this night must delete, and what it announces (True) and ends, in order."""
        due, changes = set(), []
        for at in sorted(shown):
            for one in shown[at] or ():
                kept = each["kept"] and one.username.startswith(each["kept"].removesuffix("*"))
                stale = each["rule_age"] == "1d" and not kept
                since = self.announced.get((one.key, one.created_at))
                since = since if since is not None and since <= now else None
                if stale and self._is_due(since, each["wait"], now):
                    due.add((one.key, one.created_at))
                elif each["wait"] is not None and stale is (since is None):
                    changes.append(((one.key, one.created_at), stale))
        return due, changes

    def _is_due(self, since, wait, now):
        return wait is None or (since is not None and now - since >= wait)

    def apply(self, changes, now):
        for key, announced in changes:
            self.announced.pop(key, None)
            if announced:
                self.announced[key] = now


def shown_in(each):
    """Return the invitations of each list that a night reads; None for one that it does not."""
    lists = {at: [] for at in LISTS if each["shard"] in {None, at[0]}}
    for (org_id, project_id), number, date in sorted(each["seen"]):
        sent = NOW - (100 + date) * DAY
        if (org_id, project_id) in lists:
            lists[org_id, project_id].append(
                invitation(
                    number,
                    org_id=org_id,
                    project_id=project_id,
                    created_at=sent,
                    source=Source.INVITES,
                )
            )
    return {at: None if at in each["unread"] else found for at, found in lists.items()}


def policy_of(each):
    notice = {} if each["wait"] is None else {"notice": {"wait": f"{each['wait'].days}d"}}
    return policy(
        organizations=[ORG, OTHER_ORG],
        sources=["invites", "users"],
        rules=[{"name": "r", "older_than": each["rule_age"]}],
        keep=[{"name": "k", "usernames": [each["kept"]]}] if each["kept"] else [],
        **notice,
    )


@settings(max_examples=CASES, deadline=None)
@given(st.lists(NIGHT, min_size=3, max_size=12))
async def test_any_weeks_delete_exactly_what_the_model_says(tmp_path_factory, nights):
    path = tmp_path_factory.mktemp("weeks") / "log.jsonl"
    now, model = NOW, Model()
    for number, each in enumerate(nights):
        now += each["step"]
        shown, run_id = shown_in(each), f"run-{number}"
        if each["rotate"] and path.exists() and path.stat().st_size:
            rotate(path, compress=each["rotate"] == "gzip")
        due, changes = model.night(shown, each, now)
        options = {key: each[key] for key in ("dry_run", "killed_at")}
        deletes = each["deletes"] and not each["dry_run"]
        rules = policy_of(each)
        plan = await night(path, now, shown, rules, run_id=run_id, deletes=deletes, **options)
        assert plan.planned == len(due)
        assert plan.total().announced == sum(announced for _, announced in changes)
        written = len(lines_of_run(run_id, path, Announced, AnnouncementEnded))
        left = planned(run_id, path)
        if each["killed_at"] is None:
            assert left == due
            assert written == (0 if each["dry_run"] else len(changes))
        else:
            assert left <= due
        model.apply(changes[:written], now)
        if deletes and each["killed_at"] is None:
            model.apply([(key, False) for key in due], now)
    assert read_history(LogPath(str(path)).files()).announcements(HOST) == {
        (*key, created_at.strftime("%Y-%m-%dT%H:%M:%SZ")): since
        for (key, created_at), since in model.announced.items()
    }


async def test_dry_run_writes_no_announcement_and_says_how_many_a_sweep_would_write(tmp_path):
    path = tmp_path / "log.jsonl"
    lists, rules = (
        {
            (ORG, PROJECT): [
                invitation(1, source=Source.INVITES),
                invitation(2, source=Source.INVITES),
            ]
        },
        policy(notice={"wait": "7d"}),
    )
    plan = await night(path, NOW, lists, rules, run_id="a", dry_run=True)
    assert plan.total().announced == 2
    assert not [line for line in read_events([path]) if isinstance(line.event, Announced)]


async def test_another_host_begins_anew_and_a_rotated_log_does_not(tmp_path):
    path, rules = tmp_path / "log.jsonl", policy(notice={"wait": "7d"})
    lists = {(ORG, PROJECT): [invitation(1, source=Source.INVITES)]}
    await night(path, NOW, lists, rules, run_id="a")
    other = read_history([path]).announcements("https://cloud.mongodbgov.com")
    assert other == {}
    path.rename(tmp_path / "log-1.jsonl")
    held = read_history([tmp_path / "log-1.jsonl"]).announcements(HOST)
    assert held == {announcement_key(invitation(1, source=Source.INVITES)): NOW}


async def test_announced_line_has_the_invitation_the_rule_and_the_day(tmp_path):
    path, rules = tmp_path / "log.jsonl", policy(notice={"wait": "7d"})
    await night(
        path, NOW, {(ORG, PROJECT): [invitation(1, source=Source.INVITES)]}, rules, run_id="a"
    )
    (line,) = (each.event for each in read_events([path]) if isinstance(each.event, Announced))
    assert (line.invitation(), line.rule) == (invitation(1, source=Source.INVITES), "forgotten")
    assert line.deletable_from == "2026-12-02T01:00:00Z"


@pytest.mark.parametrize(
    ("name", "more", "held"),
    [
        ("outcome", {"outcome": "deleted"}, False),
        ("outcome", {"outcome": "failed"}, True),
        ("announcement_ended", {"reason": "no_rule"}, False),
    ],
)
async def test_announcement_ends_by_a_deletion_or_by_its_line(tmp_path, name, more, held):
    path, rules = tmp_path / "log.jsonl", policy(notice={"wait": "7d"})
    await night(
        path, NOW, {(ORG, PROJECT): [invitation(1, source=Source.INVITES)]}, rules, run_id="a"
    )
    log = opened(path, "b")
    log.write(event("run_started"))
    log.write(event(name, **more))
    await log.close()
    history = read_history([path])
    assert history.announcements(HOST) == (
        {announcement_key(invitation(1, source=Source.INVITES)): NOW} if held else {}
    )
    (step,) = notice_steps(rules, history, HOST, NOW)
    decision = step(Selector(rules, NOW).decide(invitation(1, source=Source.INVITES)))
    assert decision.announcement.announced_at == (NOW if held else None)


@pytest.mark.parametrize("dry_run", [False, True])
async def test_line_of_an_ended_announcement_says_why_the_invitation_is_kept(tmp_path, dry_run):
    path, notice = tmp_path / "log.jsonl", {"wait": "7d"}
    lists = {
        (ORG, PROJECT): [
            invitation(1, source=Source.INVITES),
            invitation(2, source=Source.INVITES),
            invitation(3, source=Source.INVITES),
        ]
    }
    plan = await night(path, NOW, lists, policy(notice=notice), run_id="a")
    assert plan.next_due == NOW + WEEK
    kept = policy(notice=notice, keep=[{"name": "k", "usernames": ["person-2@*"]}])
    later, young = NOW + DAY, invitation(9, created_at=NOW, source=Source.INVITES)
    lists = {(ORG, PROJECT): [young, *lists[ORG, PROJECT][1:]]}
    plan = await night(path, later, lists, kept, run_id="b", dry_run=dry_run)
    assert plan.next_due == NOW + WEEK
    ended = lines_of_run("b", path, AnnouncementEnded)
    assert [(each.invitation(), each.reason) for each in ended] == (
        [] if dry_run else [(invitation(2, source=Source.INVITES), "keep:k")]
    )
