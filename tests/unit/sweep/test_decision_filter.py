"""Decision filters: bounced invitations, saved plans, and the effect of a changed policy."""

from builders import NOW, invitation
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.audit import invitation_fields
from invite_sweeper.sweep.previous_runs import PolicyChange
from invite_sweeper.sweep.saved_plan import PlanContext, SavedPlanFilter, parse_plan, render_lines
from invite_sweeper.sweep.selection import Decision, decision_filter, no_filter

STALE = Decision(invitation(1), "r", None)
KEPT = Decision(invitation(1), None, "too_young")


class FixedHistory:
    """A deletion history with a fixed count."""

    def __init__(self, count):
        self.number = count

    def count(self, username, project_id):
        assert (username, project_id) == (STALE.invitation.username, STALE.invitation.project_id)
        return self.number


def apply(decision, *, history=None, max_bounces=3, plan_filter=None):
    return decision_filter(history=history, max_bounces=max_bounces, plan_filter=plan_filter)(
        decision
    )


def filter_of(*numbers):
    context = PlanContext(
        run_id="r",
        now=NOW.isoformat(),
        tool_version="0",
        base_url="https://x.example.com",
        organizations=(),
        policy_sha256="",
    )
    rows = ({**invitation_fields(invitation(n), NOW), "rule": "r"} for n in numbers)
    return SavedPlanFilter(parse_plan(render_lines(context, rows)))


def test_decision_is_unchanged_without_filters():
    assert apply(STALE) == STALE == no_filter(STALE)


def test_invitation_deleted_fewer_than_max_bounces_times_is_marked():
    found = apply(STALE, history=FixedHistory(2))
    assert (found.rule, found.bounced) == ("r", 2)


def test_invitation_deleted_max_bounces_times_is_kept():
    found = apply(STALE, history=FixedHistory(3))
    assert (found.keep_reason, found.rule, found.bounced) == ("bounced", None, 3)


def test_max_bounces_of_zero_keeps_only_what_was_deleted_before():
    assert apply(STALE, history=FixedHistory(1), max_bounces=0).keep_reason == "bounced"
    assert apply(STALE, history=FixedHistory(0), max_bounces=0).stale


def test_invitation_without_username_is_not_checked_for_bounces():
    nameless = Decision(invitation(1, username=None), "r", None)
    assert apply(nameless, history=FixedHistory(9)) == nameless


def test_kept_invitation_keeps_its_reason():
    assert apply(KEPT, history=FixedHistory(9)) == KEPT


def test_stale_invitation_that_is_not_in_the_plan_is_kept():
    assert apply(STALE, plan_filter=filter_of(2)).keep_reason == "not_in_plan"
    assert apply(STALE, plan_filter=filter_of(1)).stale


def test_planned_invitation_that_is_kept_now_is_counted():
    plan_filter = filter_of(1)
    assert apply(KEPT, plan_filter=plan_filter) == KEPT
    assert plan_filter.kept_by_reason == {"too_young": 1}


def test_bounced_invitation_of_a_plan_is_kept_and_counted():
    plan_filter = filter_of(1)
    assert apply(STALE, history=FixedHistory(3), plan_filter=plan_filter).keep_reason == "bounced"
    assert plan_filter.kept_by_reason == {"bounced": 1}


@given(
    count=st.integers(0, 9),
    max_bounces=st.integers(0, 9),
    planned=st.booleans(),
    stale=st.booleans(),
)
def test_decision_filter_never_deletes_more(count, max_bounces, planned, stale):
    before = STALE if stale else KEPT
    plan_filter = filter_of(1) if planned else filter_of()
    after = apply(
        before, history=FixedHistory(count), max_bounces=max_bounces, plan_filter=plan_filter
    )
    assert before.stale or not after.stale


class FixedSelector:
    """A selector of the old policy with a fixed decision."""

    def __init__(self, stale):
        self.stale = stale

    def decide(self, one):
        return Decision(one, "old", None) if self.stale else Decision(one, None, "no_rule")


def test_policy_change_lists_what_the_new_policy_adds_and_removes():
    found = PolicyChange(FixedSelector(stale=False))
    assert found.observe(STALE) is STALE
    assert (found.added_count, found.removed_count) == (1, 0)
    assert found.added == ["Sandbox Alpha: person-1@example.com"]
    found = PolicyChange(FixedSelector(stale=True))
    assert found.observe(KEPT) is KEPT
    assert (found.added_count, found.removed_count) == (0, 1)
    assert found.removed == ["Sandbox Alpha: person-1@example.com"]


def test_policy_change_is_empty_where_both_policies_agree():
    same, other = PolicyChange(FixedSelector(stale=True)), PolicyChange(FixedSelector(stale=False))
    same.observe(STALE)
    other.observe(KEPT)
    assert (
        (same.added_count, same.removed_count)
        == (0, 0)
        == (
            other.added_count,
            other.removed_count,
        )
    )


def test_policy_change_without_the_old_policy_counts_all_stale_as_added():
    found = PolicyChange(None)
    found.observe(STALE)
    found.observe(KEPT)
    assert (found.added_count, found.removed_count) == (1, 0)


def test_policy_change_lists_1000_names_and_counts_all():
    found = PolicyChange(None)
    for _ in range(1500):
        found.observe(STALE)
    assert (len(found.added), found.added_count) == (1000, 1500)
    assert "adds 1,500" in found.as_error("f" * 64).message
    assert "f" * 64 in found.as_error("f" * 64).hint


def test_invitation_that_cannot_be_recorded_is_kept():
    long = Decision(invitation(1, project_name="x" * 1025), "r", None)
    assert apply(long) == Decision(long.invitation, None, "unrecordable")
    assert apply(Decision(long.invitation, None, "too_young")).keep_reason == "too_young"
    short = Decision(invitation(1, project_name="x" * 1024), "r", None)
    assert apply(short) == short


def test_planned_invitation_that_cannot_be_recorded_is_counted_as_kept():
    plan_filter = filter_of(1)
    decision = Decision(invitation(1, inviter="x" * 1025), "r", None)
    assert apply(decision, plan_filter=plan_filter).keep_reason == "unrecordable"
    assert plan_filter.kept_by_reason == {"unrecordable": 1}
