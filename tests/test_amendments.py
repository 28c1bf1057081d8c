"""A second look only ever keeps more: invitations that bounce, and those no plan lists."""

from builders import NOW, invitation
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.audit import invitation_fields
from invite_sweeper.sweep.previous_runs import PolicyChange
from invite_sweeper.sweep.saved_plan import PlanContext, SavedPlanFilter, parse_plan, render_lines
from invite_sweeper.sweep.selection import Decision, decision_filter, no_filter

STALE = Decision(invitation(1), "r", None)
KEPT = Decision(invitation(1), None, "too_young")


class Deleted:
    """Bounces told in advance."""

    def __init__(self, count):
        self.number = count

    def count(self, username, project_id):
        assert (username, project_id) == (STALE.invitation.username, STALE.invitation.project_id)
        return self.number


def amend(decision, *, bounces=None, max_bounces=3, ceiling=None):
    return decision_filter(history=bounces, max_bounces=max_bounces, plan_filter=ceiling)(decision)


def ceiling_of(*numbers):
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


def test_without_precedents_a_decision_stays_as_it_is():
    assert amend(STALE) == STALE == no_filter(STALE)


def test_invitation_that_came_back_less_often_than_max_bounces_is_marked():
    found = amend(STALE, bounces=Deleted(2))
    assert (found.rule, found.bounced) == ("r", 2)


def test_invitation_that_came_back_max_bounces_times_is_kept():
    found = amend(STALE, bounces=Deleted(3))
    assert (found.keep_reason, found.rule, found.bounced) == ("bounced", None, 3)


def test_max_bounces_of_zero_keeps_what_was_deleted_once_and_not_what_never_was():
    assert amend(STALE, bounces=Deleted(1), max_bounces=0).keep_reason == "bounced"
    assert amend(STALE, bounces=Deleted(0), max_bounces=0).stale


def test_person_without_address_cannot_be_recognised():
    nameless = Decision(invitation(1, username=None), "r", None)
    assert amend(nameless, bounces=Deleted(9)) == nameless


def test_kept_invitation_stays_kept_for_its_own_reason():
    assert amend(KEPT, bounces=Deleted(9)) == KEPT


def test_stale_invitation_that_no_plan_lists_is_kept():
    assert amend(STALE, ceiling=ceiling_of(2)).keep_reason == "not_in_plan"
    assert amend(STALE, ceiling=ceiling_of(1)).stale


def test_planned_invitation_that_is_kept_now_is_told():
    ceiling = ceiling_of(1)
    assert amend(KEPT, ceiling=ceiling) == KEPT
    assert ceiling.kept_by_reason == {"too_young": 1}


def test_bounced_invitation_of_a_plan_is_kept_and_told():
    ceiling = ceiling_of(1)
    assert amend(STALE, bounces=Deleted(3), ceiling=ceiling).keep_reason == "bounced"
    assert ceiling.kept_by_reason == {"bounced": 1}


@given(count=st.integers(0, 9), most=st.integers(0, 9), planned=st.booleans(), stale=st.booleans())
def test_second_look_never_deletes_more(count, most, planned, stale):
    before = STALE if stale else KEPT
    ceiling = ceiling_of(1) if planned else ceiling_of()
    after = amend(before, bounces=Deleted(count), max_bounces=most, ceiling=ceiling)
    assert before.stale or not after.stale


class Before:
    """A selector of the old policy, told in advance."""

    def __init__(self, stale):
        self.stale = stale

    def decide(self, one):
        return Decision(one, "old", None) if self.stale else Decision(one, None, "no_rule")


def test_comparison_tells_what_the_new_policy_adds_and_takes_away():
    found = PolicyChange(Before(stale=False))
    assert found.observe(STALE) is STALE
    assert (found.added_count, found.removed_count) == (1, 0)
    assert found.added == ["Sandbox Alpha: person-1@example.com"]
    found = PolicyChange(Before(stale=True))
    assert found.observe(KEPT) is KEPT
    assert (found.added_count, found.removed_count) == (0, 1)
    assert found.removed == ["Sandbox Alpha: person-1@example.com"]


def test_comparison_says_nothing_of_what_both_policies_agree_on():
    same, other = PolicyChange(Before(stale=True)), PolicyChange(Before(stale=False))
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


def test_comparison_without_the_old_policy_counts_all_that_is_stale_as_new():
    found = PolicyChange(None)
    found.observe(STALE)
    found.observe(KEPT)
    assert (found.added_count, found.removed_count) == (1, 0)


def test_comparison_keeps_names_in_bounded_memory_and_counts_all():
    found = PolicyChange(None)
    for _ in range(1500):
        found.observe(STALE)
    assert (len(found.added), found.added_count) == (1000, 1500)
    assert "adds 1,500" in found.as_error("f" * 64).message
    assert "f" * 64 in found.as_error("f" * 64).hint
