"""The plan in the audit log: complete, in order, counted, and trimmed to the oldest."""

import json
from datetime import timedelta

import pytest
from audit.written_logs import lines_of, opened, plan_readers
from builders import NOW, ORG, OTHER_ORG, PROJECT, invitation, object_id, policy
from invite_sweeper.sweep.notice import Notice

from invite_sweeper.counts import Counts
from invite_sweeper.models import (
    InvitationList,
    ListRef,
    ListUnreadable,
    Project,
    ProjectGone,
    Source,
    SourceRetired,
)
from invite_sweeper.sweep.discovery import ListedInvitations
from invite_sweeper.sweep.plan import (
    PlanBuilder,
    trim_plans,
)
from invite_sweeper.sweep.scope import Shard
from invite_sweeper.sweep.selection import Selector

LIST_REF = ListRef(Project(PROJECT, "Sandbox Alpha", ORG), Source.INVITES)


@pytest.mark.parametrize("count", [1, 2, 450])
async def test_each_stale_invitation_is_planned_once_and_read_back_in_order(tmp_path, count):
    rules, log = policy(), opened(tmp_path / "log.jsonl")
    plan = PlanBuilder(log, Selector(rules, NOW), rules.limits, NOW)
    await plan.add(
        ListedInvitations(
            LIST_REF, tuple(invitation(number, source=Source.INVITES) for number in range(count))
        )
    )
    await plan.finish()
    await log.close()
    (span,) = plan.spans
    assert (plan.planned, plan.total().stale, span.count) == (count, count, count)
    ids = []
    with plan_readers(log.path, "run-1") as queue_for:
        queue = queue_for(span)
        while (planned := queue.peek()) is not None:
            ids.append(planned.invitation.id)
            queue.pop()
    assert ids == [object_id(number) for number in range(count)]


# What a plan counts ----------------------------------------------------------------------------


def listed(*invitations, source=Source.INVITES, org_id=ORG, project_id=PROJECT):
    return ListedInvitations(
        ListRef(Project(project_id, "Sandbox Alpha", org_id), source), InvitationList(invitations)
    )


def builder(path, *, steps=(), announces=False, records_kept=False, **keys):
    rules, log = policy(**keys), opened(path)
    plan = PlanBuilder(
        log,
        Selector(rules, NOW),
        rules.limits,
        NOW,
        steps,
        {PROJECT: ORG, object_id(8): ORG, ORG: ORG, object_id(9): OTHER_ORG},
        announces=announces,
        records_kept=records_kept,
    )
    return plan, log


async def written(log, event):
    await log.close()
    return [r for r in map(json.loads, lines_of(log.path)) if r["event"] == event]


async def test_counts_of_several_lists_are_added_up(path):
    plan, _ = builder(path)
    days = timedelta(days=1)
    await plan.add(
        listed(
            invitation(1, source=Source.INVITES),
            invitation(2, age=days, source=Source.INVITES),
            invitation(3, age=2 * days, source=Source.INVITES),
        )
    )
    await plan.add(
        listed(
            invitation(4, source=Source.USERS, status="INVITATION_EXPIRED"),
            invitation(5, source=Source.USERS, status="ACTIVE"),
            source=Source.USERS,
        )
    )
    await plan.add(
        listed(invitation(6, source=Source.INVITES), invitation(7, source=Source.INVITES))
    )
    await plan.combine_people()
    await plan.finish()
    counts = Counts(
        invitations_seen=7,
        invitations_by_source={"invites": 5, "users": 2},
        stale=4,
        kept=3,
        kept_by_reason={"too_young": 2, "not_pending": 1},
    )
    assert (plan.total(), plan.planned) == (counts, 4)
    assert plan.counts == {ORG: counts}
    assert plan.deletions_by_project == {PROJECT: 4}
    by_source = {ref.source: count for ref, count in plan.deletions_by_list.items()}
    assert by_source == {Source.INVITES: 3, Source.USERS: 1}
    assert all(ref.project.name == "Sandbox Alpha" for ref in plan.deletions_by_list)


async def test_plan_of_another_organization_counts_apart(path):
    plan, _ = builder(path)
    await plan.add(listed(invitation(1, source=Source.INVITES)))
    await plan.add(
        listed(
            invitation(2, org_id=OTHER_ORG, project_id=object_id(9), source=Source.INVITES),
            org_id=OTHER_ORG,
            project_id=object_id(9),
        )
    )
    assert {key: each.planned for key, each in plan.counts.items()} == {
        ORG: 1,
        OTHER_ORG: 1,
    }
    assert plan.deletions_by_project == {PROJECT: 1, object_id(9): 1}


async def test_empty_plan_has_no_counts_and_no_oldest(path):
    plan, _ = builder(path)
    assert (plan.oldest, plan.next_due) == (None, None)
    await plan.add(listed())
    await plan.finish()
    assert plan.total() == Counts(invitations_by_source={"invites": 0})
    assert (plan.oldest, plan.deletions_by_project) == (None, {})
    assert (plan.gone_ids, plan.retired) == (set(), [])


async def test_oldest_is_the_earliest_date_of_all_lists_and_ignores_unreadable_ones(path):
    plan, _ = builder(path)
    await plan.add(listed(invitation(1, created_at=None, source=Source.INVITES)))
    assert plan.oldest is None
    await plan.add(
        listed(
            invitation(2, source=Source.INVITES),
            invitation(3, age=timedelta(days=90), source=Source.INVITES),
        )
    )
    await plan.add(listed(invitation(4, age=timedelta(days=1), source=Source.INVITES)))
    assert plan.oldest == NOW - timedelta(days=90)


# What is kept ----------------------------------------------------------------------------------


@pytest.mark.parametrize("records_kept", [True, False])
async def test_each_kept_invitation_has_a_line_with_its_reason_if_that_is_asked_for(
    path, records_kept
):
    keep = [{"name": "board", "usernames": ["person-3@*"]}]
    plan, log = builder(path, records_kept=records_kept, keep=keep)
    one, two, three = (invitation(number, source=Source.INVITES) for number in (1, 2, 3))
    await plan.add(listed(one, two._replace(created_at=NOW - timedelta(days=1)), three))
    await plan.finish()
    await log.close()
    lines = [json.loads(line) for line in lines_of(log.path)]
    kept = [each for each in lines if each["event"] == "kept"]
    assert [each["invitation_id"] for each in lines if each["event"] == "planned"] == [object_id(1)]
    reasons = {each["invitation_id"]: each["reason"] for each in kept}
    expected = {object_id(2): "too_young", object_id(3): "keep:board"}
    assert reasons == (expected if records_kept else {})
    assert len(kept) == (plan.total().kept if records_kept else 0)


async def test_kept_person_of_several_lists_has_one_line_with_the_other_entries(path):
    plan, log = builder(path, records_kept=True, keep=[{"name": "k", "projects": [PROJECT]}])
    in_project = invitation(1, source=Source.USERS, username="ada@example.com")
    in_org = in_project._replace(source=Source.ORG_USERS, project_id=ORG, project_name="")
    await plan.add(listed(in_org, source=Source.ORG_USERS, project_id=ORG))
    await plan.add(listed(in_project, source=Source.USERS))
    await plan.combine_people()
    await plan.finish()
    (line,) = await written(log, "kept")
    assert (line["source"], line["reason"], plan.total().kept) == ("users", "keep:k", 1)
    (other,) = line["entries"]
    assert (other["source"], other["invitation_id"]) == ("org_users", in_org.id)


# What is not deleted ---------------------------------------------------------------------------


async def test_project_that_is_gone_counts_once_for_all_its_lists(path):
    plan, _ = builder(path)
    for project_id in (PROJECT, PROJECT, object_id(8), object_id(9), object_id(5)):
        await plan.add(ProjectGone(project_id, "A"))
    assert plan.gone_ids == {PROJECT, object_id(8), object_id(9), object_id(5)}
    gone = {key: each.projects_gone for key, each in plan.counts.items()}
    assert gone == {ORG: 2, OTHER_ORG: 1, "": 1}


async def test_unreadable_project_is_recorded_with_its_reason(path):
    plan, log = builder(path)
    await plan.add(ListUnreadable(PROJECT, "A", "HTTP 500.", 500, "X", Source.USERS))
    await plan.add(ListUnreadable(object_id(5), "B", "Malformed."))
    await plan.add(ListUnreadable(object_id(8), "C", "HTTP 401.", 401, "USER_UNAUTHORIZED"))
    await plan.add(
        ListUnreadable(object_id(9), "D", "HTTP 403.", 403, "IP_ADDRESS_NOT_ON_ACCESS_LIST")
    )
    unread = {key: (n.projects_unreadable, n.missing_role) for key, n in plan.counts.items()}
    assert unread == {ORG: (2, 1), "": (1, 0), OTHER_ORG: (1, 0)}
    first, second, *_ = await written(log, "project_unreadable")
    del first["ts"], first["run_id"], first["seq"], first["prev"]
    assert first == {
        "event": "project_unreadable",
        "project_id": PROJECT,
        "project_name": "A",
        "reason": "HTTP 500.",
        "http_status": 500,
        "error_code": "X",
        "source": "users",
        "org_id": ORG,
    }
    assert (second["project_id"], second["org_id"]) == (object_id(5), None)


async def test_unreadable_list_of_an_organization_has_no_project(path):
    plan, log = builder(path)
    await plan.add(ListUnreadable(ORG, "", "HTTP 500.", 500, None, Source.ORG_USERS))
    (line,) = await written(log, "project_unreadable")
    assert (line["project_id"], line["project_name"], line["org_id"]) == (None, None, ORG)


async def test_retired_source_is_recorded_with_its_reason(path):
    plan, log = builder(path)
    retired = SourceRetired(PROJECT, "A", "Gone for good.", 410, "RETIRED", Source.INVITES)
    await plan.add(retired)
    assert (plan.retired, plan.total().projects_unreadable) == ([retired], 0)
    (line,) = await written(log, "source_retired")
    assert [line[key] for key in ("source", "reason", "http_status", "error_code")] == [
        "invites",
        "Gone for good.",
        410,
        "RETIRED",
    ]


async def test_planned_line_says_whether_it_is_new_bounced_or_judged_by_members(path):
    more = {"bounced": 2, "new": True, "members_read": 1}
    steps = [lambda each: each._replace(**more) if each.invitation.id == object_id(1) else each]
    plan, log = builder(path, steps=steps)
    await plan.add(
        listed(invitation(1, source=Source.INVITES), invitation(2, source=Source.INVITES))
    )
    first, second = await written(log, "planned")
    more["inviter_gone"] = True
    assert first == {**first, **more}
    assert more.keys().isdisjoint(second)


@pytest.mark.parametrize("first", [1000, 999])
@pytest.mark.parametrize("steps", [(), [Notice({}, timedelta(days=7), NOW)]], ids=len)
async def test_plan_is_synced_whenever_more_than_1000_lines_are_waiting(path, first, steps):
    plan, log = builder(path, steps=steps, announces=True)
    sync, calls = log.sync, []

    async def count():
        calls.append(1)
        await sync()

    log.sync = count
    counts = []
    numbers = iter(range(10_000))
    for length in (first - 500, 500, 1001 - first, 1000, 1):
        await plan.add(
            listed(*(invitation(next(numbers), source=Source.INVITES) for _ in range(length)))
        )
        counts.append(len(calls))
    assert counts == [0, 0, 1, 1, 2]
    unreadable = ListUnreadable(PROJECT, "A", "503")
    for _ in range(1000):
        await plan.add(unreadable)
    assert len(calls) == 2
    await plan.add(unreadable)
    assert len(calls) == 3


# Trim ------------------------------------------------------------------------------------------

TRIM = {"limits": {"over_limit": "trim", "max_deletions": 3, "max_deletions_per_project": 10}}


async def trimmed(plans, shard=None):
    limits = policy(**TRIM).limits
    for plan, lists in trim_plans(plans, limits, shard):
        await plan.finish(lists)


async def test_trimmed_plan_writes_nothing_before_the_end(path):
    plan, log = builder(path, **TRIM)
    await plan.add(
        listed(
            *(invitation(n, age=timedelta(days=20 + n), source=Source.INVITES) for n in range(5))
        )
    )
    assert (plan.total().stale, plan.planned) == (5, 0)
    await trimmed([plan])
    assert (plan.planned, plan.total().trimmed, plan.counts[ORG].planned) == (3, 2, 3)
    lines = await written(log, "planned")
    assert [line["invitation_id"] for line in lines] == [object_id(n) for n in (4, 3, 2)]


async def test_oldest_of_all_plans_are_selected_and_each_goes_to_its_own_plan(tmp_path):
    plans = []
    for number, org_id in enumerate((ORG, OTHER_ORG)):
        plan, _ = builder(tmp_path / f"{number}.jsonl", **TRIM)
        found = [
            invitation(
                10 * number + n,
                org_id=org_id,
                project_id=object_id(number),
                age=timedelta(days=20 + n + 0.5 * number),
                source=Source.INVITES,
            )
            for n in range(3)
        ]
        await plan.add(listed(*found, org_id=org_id, project_id=object_id(number)))
        plans.append(plan)
    await trimmed(plans)
    assert [(plan.planned, plan.total().trimmed) for plan in plans] == [(1, 2), (2, 1)]


async def test_share_of_all_plans_limits_a_trimmed_plan(path):
    keys = {"limits": {"over_limit": "trim", "max_share": 0.5, "max_deletions_per_project": 99}}
    plan, _ = builder(path, **keys)
    young = [invitation(100 + n, age=timedelta(days=1), source=Source.INVITES) for n in range(4)]
    await plan.add(listed(*(invitation(n, source=Source.INVITES) for n in range(12)), *young))
    ((_, lists),) = trim_plans([plan], policy(**keys).limits, None)
    assert sum(map(len, lists)) == 8


async def test_small_numbers_that_max_share_ignores_are_divided_by_the_shards(path):
    keys = {"limits": {"over_limit": "trim", "max_share": 0, "max_deletions_per_project": 99}}
    plan, _ = builder(path, **keys)
    await plan.add(listed(*(invitation(n, source=Source.INVITES) for n in range(6))))
    limits = policy(**keys).limits
    ((_, whole),) = trim_plans([plan], limits, None)
    ((_, half),) = trim_plans([plan], limits, Shard(1, 2))
    assert (sum(map(len, whole)), sum(map(len, half))) == (6, 0)


async def test_plan_without_trim_has_nothing_left_to_select(path):
    plan, _ = builder(path)
    await plan.add(listed(invitation(1, source=Source.INVITES)))
    ((same, lists),) = trim_plans([plan], policy().limits, None)
    assert (same, lists, plan.trim) == (plan, (), None)
