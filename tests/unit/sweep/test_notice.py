"""Nothing is deleted before it was announced `wait` earlier, and nothing that is due is left.

The model is a dictionary: what is announced, and when. Nights come in any order of lists that
are read or not, policies that change, entries that come and go, kills, and clocks that step.
"""

import os
from datetime import timedelta

import pytest
from audit.written_logs import event, opened
from builders import NOW, ORG, OTHER_ORG, PROJECT, invitation, object_id, policy
from hypothesis import given, settings
from hypothesis import strategies as st

from invite_sweeper.audit.events import Announced, announcement_key
from invite_sweeper.audit.history import read_history
from invite_sweeper.audit.reader import read_events
from invite_sweeper.models import InvitationList, ListRef, ListUnreadable, Project, Source
from invite_sweeper.sweep.discovery import ListedInvitations
from invite_sweeper.sweep.notice import Notice, notice_steps
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
    decision = decide(invitation())
    assert (decision.stale, decision.keep_reason) == (False, "notice_pending")
    assert decision.announcement == (None, NOW + WEEK, "forgotten", False)


@pytest.mark.parametrize(
    ("ago", "stale"),
    [(timedelta(), False), (WEEK - timedelta(seconds=1), False), (WEEK, True), (WEEK * 2, True)],
)
def test_invitation_announced_exactly_wait_ago_is_deleted(ago, stale):
    decision = decide(invitation(), ago)
    assert decision.stale is stale
    assert decision.rule == ("forgotten" if stale else None)
    if not stale:
        assert decision.announcement == (NOW - ago, NOW - ago + WEEK, None, False)


def test_announcement_later_than_now_counts_for_nothing():
    decision = decide(invitation(), -timedelta(seconds=1))
    assert decision.announcement == (None, NOW + WEEK, "forgotten", False)


def test_wait_of_the_policy_in_force_counts():
    assert not decide(invitation(), DAY).stale
    assert decide(invitation(), DAY, wait=DAY).stale


@pytest.mark.parametrize(
    "keys",
    [
        {"rules": [{"name": "forgotten", "older_than": "25d"}]},
        {"keep": [{"name": "k", "usernames": ["person-1@*"]}]},
    ],
)
def test_announcement_ends_where_the_invitation_is_not_stale_or_kept(keys):
    decision = decide(invitation(), DAY, **keys)
    assert decision.announcement == (None, None, None, True)
    assert decide(invitation(2), None, **keys).announcement is None or "keep" in keys


def test_unknown_inviter_neither_ends_nor_deletes():
    rules = [{"name": "left", "inviter_gone": True}]
    decision = decide(invitation(), DAY, rules=rules)
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
    held = {announcement_key(invitation()): NOW - WEEK}
    other = invitation()._replace(**changes)
    assert announcement_key(other) not in held
    assert announcement_key(invitation()._replace(username="x", roles=())) in held


# Nights ------------------------------------------------------------------------------------------


async def night(path, now, lists, rules, *, run_id, host=HOST, dry_run=False, killed_after=None):
    """Run one night on a log; return the ids that would be deleted, by the plan.

    Args:
        lists: By list; None for one that is not read.
        killed_after: The lists after which the run is killed; None to let it end.
    """
    log = opened(path, run_id)
    mode = "dry-run" if dry_run else "sweep"
    history = read_history([path])
    log.write(
        event("run_started", mode=mode, base_url=host, now=now.isoformat().replace("+00:00", "Z"))
    )
    steps = notice_steps(rules, history, host, now)
    plan = PlanBuilder(log, Selector(rules, now), rules.limits, now, steps, announces=not dry_run)
    for number, ((org_id, project_id), found) in enumerate(sorted(lists.items())):
        if number == killed_after:
            break
        ref = ListRef(Project(project_id, "Sandbox Alpha", org_id), Source.INVITES)
        if found is None:
            await plan.add(ListUnreadable(project_id, "Sandbox Alpha", "timed out"))
        else:
            await plan.add(ListedInvitations(ref, InvitationList(tuple(found))))
    await plan.finish()
    if killed_after is None:
        log.write(event("run_finished"))
    await log.close()
    return plan


def planned(plan, path):
    return {
        line.event.invitation_id
        for line in read_events([path])
        if line.event.event == "planned" and line.run_id == plan
    }


LISTS = [(ORG, PROJECT), (ORG, object_id(8)), (OTHER_ORG, object_id(7))]
ENTRY = st.tuples(st.sampled_from(LISTS), st.integers(1, 4), st.integers(0, 1))
"""A list, an id in it, and which of two dates: the person was invited anew."""
NIGHT = st.fixed_dictionaries(
    {
        "step": st.sampled_from([DAY, DAY, 3 * DAY, WEEK, -2 * DAY]),
        "wait": st.sampled_from([DAY, WEEK, WEEK]),
        "seen": st.sets(ENTRY, max_size=8),
        "unread": st.sets(st.sampled_from(LISTS), max_size=2),
        "kept": st.sampled_from([None, None, "person-1@*", "person-2@*"]),
        "rule_age": st.sampled_from(["1d", "1d", "300d"]),
        "dry_run": st.booleans(),
        "killed_after": st.sampled_from([None, None, None, 0, 1, 2]),
    }
)


class Model:
    """What is announced and since when, by list, id and date."""

    def __init__(self):
        self.announced = {}

    def due(self, shown, each, now):
        """Return the ids that this night must delete, and take over what it announces and ends."""
        ids, read = set(), sorted(shown)[: each["killed_after"]]
        for at in read:
            for one in shown[at] or ():
                ids |= self._judge((at, one.id, one.created_at), one, each, now)
        return ids

    def _judge(self, key, one, each, now):
        kept = each["kept"] and one.username.startswith(each["kept"].removesuffix("*"))
        stale = each["rule_age"] == "1d" and not kept
        since = self.announced.get(key)
        since = since if since is not None and since <= now else None
        if stale and since is not None and now - since >= each["wait"]:
            return {one.id}
        if not each["dry_run"]:
            if stale and since is None:
                self.announced[key] = now
            elif not stale and since is not None:
                del self.announced[key]
        return set()


def shown_in(each):
    """Return the invitations of each list that a night reads; None for one that it does not."""
    lists = {at: [] for at in LISTS}
    for (org_id, project_id), number, date in each["seen"]:
        sent = NOW - (100 + date) * DAY
        lists[org_id, project_id].append(
            invitation(number, org_id=org_id, project_id=project_id, created_at=sent)
        )
    return {at: None if at in each["unread"] else found for at, found in lists.items()}


@settings(max_examples=CASES, deadline=None)
@given(st.lists(NIGHT, min_size=3, max_size=12))
async def test_any_weeks_delete_exactly_what_the_model_says(tmp_path_factory, nights):
    path = tmp_path_factory.mktemp("weeks") / "log.jsonl"
    now, model = NOW, Model()
    for number, each in enumerate(nights):
        now += each["step"]
        rules = policy(
            organizations=[ORG, OTHER_ORG],
            sources=["invites", "users"],
            rules=[{"name": "r", "older_than": each["rule_age"]}],
            keep=[{"name": "k", "usernames": [each["kept"]]}] if each["kept"] else [],
            notice={"wait": f"{each['wait'].days}d"},
        )
        shown, run_id = shown_in(each), f"run-{number}"
        options = {key: each[key] for key in ("dry_run", "killed_after")}
        plan = await night(path, now, shown, rules, run_id=run_id, **options)
        assert planned(run_id, path) == model.due(shown, each, now)
        assert plan.total().announced <= plan.total().kept_by_reason.get("notice_pending", 0)


async def test_dry_run_writes_no_announcement_and_says_how_many_a_sweep_would_write(tmp_path):
    path = tmp_path / "log.jsonl"
    lists, rules = {(ORG, PROJECT): [invitation(1), invitation(2)]}, policy(notice={"wait": "7d"})
    plan = await night(path, NOW, lists, rules, run_id="a", dry_run=True)
    assert plan.total().announced == 2
    assert not [line for line in read_events([path]) if isinstance(line.event, Announced)]


async def test_another_host_begins_anew_and_a_rotated_log_does_not(tmp_path):
    path, rules = tmp_path / "log.jsonl", policy(notice={"wait": "7d"})
    lists = {(ORG, PROJECT): [invitation(1)]}
    await night(path, NOW, lists, rules, run_id="a")
    other = read_history([path]).announcements("https://cloud.mongodbgov.com")
    assert other == {}
    path.rename(tmp_path / "log-1.jsonl")
    held = read_history([tmp_path / "log-1.jsonl"]).announcements(HOST)
    assert held == {announcement_key(invitation(1)): NOW}


async def test_announced_line_has_the_invitation_the_rule_and_the_day(tmp_path):
    path, rules = tmp_path / "log.jsonl", policy(notice={"wait": "7d"})
    await night(path, NOW, {(ORG, PROJECT): [invitation(1)]}, rules, run_id="a")
    (line,) = (each.event for each in read_events([path]) if isinstance(each.event, Announced))
    assert (line.invitation(), line.rule) == (invitation(1), "forgotten")
    assert line.deletable_from == "2026-12-02T01:00:00Z"


async def test_deletion_ends_the_announcement(tmp_path):
    path, rules = tmp_path / "log.jsonl", policy(notice={"wait": "7d"})
    await night(path, NOW, {(ORG, PROJECT): [invitation(1)]}, rules, run_id="a")
    log = opened(path, "b")
    log.write(event("run_started"))
    log.write(event("outcome", outcome="deleted"))
    await log.close()
    assert read_history([path]).announcements(HOST) == {}
