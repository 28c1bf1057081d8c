"""Steps after the decision: bounced invitations and saved plans."""

import pytest
from builders import NOW, invitation
from hypothesis import given
from hypothesis import strategies as st
from invite_sweeper.sweep.decision_steps import (
    KeepBounced,
    KeepOutsidePlan,
    apply_steps,
    keep_unrecordable,
)

from invite_sweeper.audit import DeletionCounts
from invite_sweeper.audit.events import Planned
from invite_sweeper.models import Source
from invite_sweeper.sweep.saved_plan import PlanContext, SavedPlanFilter, parse_plan, render_lines
from invite_sweeper.sweep.selection import Decision

STALE = Decision(invitation(1, source=Source.INVITES), "r", None)
KEPT = Decision(invitation(1, source=Source.INVITES), None, "too_young")


def deleted(times):
    counts = DeletionCounts()
    for _ in range(times):
        counts.add(STALE.invitation)
    return counts


def apply(decision, *, deletions=None, max_bounces=3, plan_filter=None):
    steps = [keep_unrecordable, KeepBounced(deletions or DeletionCounts(), max_bounces)]
    if plan_filter is not None:
        steps.append(KeepOutsidePlan(plan_filter))
    return apply_steps(steps, decision)


def filter_of(*numbers):
    context = PlanContext(
        run_id="r",
        now=NOW.isoformat(),
        tool_version="0",
        base_url="https://x.example.com",
        organizations=(),
        policy_sha256="",
    )
    rows = (
        Planned.from_invitation(invitation(n, source=Source.INVITES), NOW, rule="r")
        for n in numbers
    )
    return SavedPlanFilter(parse_plan(render_lines(context, rows)))


def test_decision_is_unchanged_without_history_and_plan():
    assert apply(STALE) == STALE


def test_invitation_deleted_fewer_than_max_bounces_times_is_marked():
    found = apply(STALE, deletions=deleted(2))
    assert (found.rule, found.bounced) == ("r", 2)


def test_invitation_deleted_max_bounces_times_is_kept():
    found = apply(STALE, deletions=deleted(3))
    assert (found.keep_reason, found.rule, found.bounced) == ("bounced", None, 3)


def test_max_bounces_of_zero_keeps_only_what_was_deleted_before():
    assert apply(STALE, deletions=deleted(1), max_bounces=0).keep_reason == "bounced"
    assert apply(STALE, deletions=deleted(0), max_bounces=0).stale


@pytest.mark.parametrize("source", Source)
def test_invitation_without_username_is_not_checked_for_bounces(source):
    nameless = Decision(invitation(1, username=None, source=source), "r", None)
    assert apply(nameless, deletions=deleted(9)) == nameless


def test_kept_invitation_keeps_its_reason():
    assert apply(KEPT, deletions=deleted(9)) == KEPT


def test_stale_invitation_that_is_not_in_the_plan_is_kept():
    assert apply(STALE, plan_filter=filter_of(2)).keep_reason == "not_in_plan"
    assert apply(STALE, plan_filter=filter_of(1)).stale


def test_planned_invitation_that_is_kept_now_is_counted():
    plan_filter = filter_of(1)
    assert apply(KEPT, plan_filter=plan_filter) == KEPT
    assert plan_filter.kept_by_reason == {"too_young": 1}


def test_bounced_invitation_of_a_plan_is_kept_and_counted():
    plan_filter = filter_of(1)
    assert apply(STALE, deletions=deleted(3), plan_filter=plan_filter).keep_reason == "bounced"
    assert plan_filter.kept_by_reason == {"bounced": 1}


@given(
    count=st.integers(0, 9),
    max_bounces=st.integers(0, 9),
    planned=st.booleans(),
    stale=st.booleans(),
)
def test_steps_never_delete_more(count, max_bounces, planned, stale):
    before = STALE if stale else KEPT
    plan_filter = filter_of(1) if planned else filter_of()
    after = apply(
        before, deletions=deleted(count), max_bounces=max_bounces, plan_filter=plan_filter
    )
    assert before.stale or not after.stale


@pytest.mark.parametrize("source", Source)
def test_invitation_that_cannot_be_recorded_is_kept(source):
    long = Decision(invitation(1, project_name="x" * 1025, source=source), "r", None)
    assert apply(long) == Decision(long.invitation, None, "unrecordable")
    assert apply(Decision(long.invitation, None, "too_young")).keep_reason == "too_young"
    short = Decision(invitation(1, project_name="x" * 1024, source=source), "r", None)
    assert apply(short) == short


def test_planned_invitation_that_cannot_be_recorded_is_counted_as_kept():
    plan_filter = filter_of(1)
    decision = Decision(invitation(1, inviter="x" * 1025, source=Source.INVITES), "r", None)
    assert apply(decision, plan_filter=plan_filter).keep_reason == "unrecordable"
    assert plan_filter.kept_by_reason == {"unrecordable": 1}


def test_invitation_that_is_not_in_the_plan_keeps_its_fields_and_its_bounces():
    found = apply(STALE, deletions=deleted(2), plan_filter=filter_of(2))
    assert found == Decision(STALE.invitation, None, "not_in_plan", 2)


def test_invitation_that_never_bounced_is_the_same_decision():
    assert apply(STALE, deletions=deleted(0)) is STALE
