"""The plan in the audit log contains all stale invitations, in order."""

import pytest
from audit.written_logs import opened
from builders import NOW, ORG, PROJECT, invitation, object_id, policy

from invite_sweeper.audit import PlanReader
from invite_sweeper.models import ListRef, Project, Source
from invite_sweeper.sweep.discovery import ListedInvitations
from invite_sweeper.sweep.plan import PlanBuilder
from invite_sweeper.sweep.selection import Selector

LIST_REF = ListRef(Project(PROJECT, "Sandbox Alpha", ORG), Source.INVITES)


@pytest.mark.parametrize("count", [1, 2, 450])
async def test_each_stale_invitation_is_planned_once_and_read_back_in_order(tmp_path, count):
    rules, log = policy(), opened(tmp_path / "log.jsonl")
    plan = PlanBuilder(log, Selector(rules, NOW), rules.limits, NOW)
    await plan.add(
        ListedInvitations(LIST_REF, tuple(invitation(number) for number in range(count)))
    )
    await plan.finish()
    await log.close()
    (span,) = plan.spans
    assert (plan.planned, plan.stale, span.count) == (count, count, count)
    ids = []
    with PlanReader.open(log.path, "run-1") as queue_for:
        queue = queue_for(span)
        while (planned := queue.peek()) is not None:
            ids.append(planned.invitation.id)
            queue.pop()
    assert ids == [object_id(number) for number in range(count)]
