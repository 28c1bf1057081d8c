"""The plan as it is written: all that is stale, in its order."""

import pytest
from audit.written_logs import opened
from builders import NOW, ORG, PROJECT, invitation, object_id, policy

from invite_sweeper.audit import PlanReader
from invite_sweeper.models import ListRef, Project, Source
from invite_sweeper.sweep.discovery import ListedInvitations
from invite_sweeper.sweep.plan import PlanBuilder
from invite_sweeper.sweep.selection import Selector

PLACE = ListRef(Project(PROJECT, "Sandbox Alpha", ORG), Source.INVITES)


@pytest.mark.parametrize("count", [1, 2, 450])
async def test_each_stale_invitation_of_a_list_is_planned_once_and_comes_back_in_its_order(
    tmp_path, count
):
    found, log = policy(), opened(tmp_path / "log.jsonl")
    draft = PlanBuilder(log, Selector(found, NOW), found.limits, NOW)
    await draft.add(ListedInvitations(PLACE, tuple(invitation(number) for number in range(count))))
    await draft.finish()
    await log.close()
    (span,) = draft.spans
    assert (draft.planned, draft.stale, span.count) == (count, count, count)
    taken = []
    with PlanReader.open(log.path, "run-1") as lane_of:
        lane = lane_of(span)
        while (head := lane.peek()) is not None:
            taken.append(head.invitation.id)
            lane.pop()
    assert taken == [object_id(number) for number in range(count)]
