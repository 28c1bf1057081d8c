"""An explanation shows the run's decision and the policy keys behind it."""

from datetime import timedelta

import pytest
from builders import NOW, invitation, policy
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.explain import Explainer, describe_decision
from invite_sweeper.models import Source, UnreadableDate
from invite_sweeper.report.formatting import describe_keep_reason
from invite_sweeper.sweep.selection import KEEP_REASONS, Decision, Selector

POLICY = policy(
    rules=[
        {"name": "forgotten", "older_than": "14d"},
        {"name": "outsiders", "older_than": "3d", "usernames": ["*@mail.example.org"]},
        {"name": "owners", "expired": True, "roles": ["GROUP_OWNER"]},
    ],
    keep=[
        {"name": "board", "usernames": ["*@board.example.com"]},
        {"name": "lapsed", "usernames": ["*"], "until": "2020-01-31"},
    ],
)


def explained(one):
    explainer = Explainer(POLICY, NOW)
    return explainer.explain(explainer.decide(one))


ANY = st.builds(
    invitation,
    username=st.sampled_from(
        ["ada@example.com", "bo@mail.example.org", "cy@board.example.com", None]
    ),
    created_at=st.one_of(
        st.none(),
        st.just(UnreadableDate("soon")),
        st.integers(-5, 40).map(lambda days: NOW - timedelta(days=days)),
    ),
    roles=st.sampled_from([(), ("GROUP_OWNER",), ("GROUP_READ_ONLY",)]),
    source=st.sampled_from(Source),
    status=st.sampled_from(["PENDING", "INVITATION_EXPIRED", "ACTIVE", None]),
    id=st.sampled_from(["0123456789abcdef01234567", ""]),
)


@given(ANY)
def test_explained_decision_is_the_decision_of_the_run(one):
    decision = Selector(POLICY, NOW).decide(one)
    found = explained(one).decision
    assert (found.rule, found.kept) == (decision.rule, decision.keep_reason)


@given(ANY)
def test_deciding_rule_is_the_first_with_all_keys_matching(one):
    explanation = explained(one)
    if explanation.decision.rule is None:
        return
    first = next(v for v in explanation.rules if all(key.matched for key in v.keys))
    assert (first.name, first.matched) == (explanation.decision.rule, True)


@given(ANY)
def test_every_policy_entry_is_explained_once(one):
    explanation = explained(one)
    assert [each.name for each in explanation.keep] == ["lapsed", "board"]
    assert [each.name for each in explanation.rules] == ["forgotten", "outsiders", "owners"]
    assert explanation.decision.stale is (explanation.decision.rule is not None)


@pytest.mark.parametrize(
    ("age", "has"),
    [
        (timedelta(days=14), "14 days"),
        (timedelta(days=14) - timedelta(seconds=1), "13.99 days"),
        (timedelta(hours=36), "1.5 days"),
    ],
)
def test_age_one_second_below_14_days_is_not_shown_as_14_days(age, has):
    (key,) = explained(invitation(age=age, source=Source.INVITES)).rules[0].keys
    assert (key.key, key.actual) == ("older_than", has)


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (
            Decision(invitation(source=Source.INVITES), "forgotten", None),
            "stale by rule `forgotten`",
        ),
        (
            Decision(invitation(source=Source.INVITES), "forgotten", None, 2),
            "deleted 2 times before",
        ),
        (
            Decision(invitation(source=Source.INVITES), None, "keep:board"),
            "keep entry `board` matches",
        ),
        (
            Decision(invitation(source=Source.INVITES), None, "no_inviter"),
            "cannot be evaluated (no inviter)",
        ),
    ],
)
def test_decision_is_described_with_its_reason(decision, words):
    assert words in describe_decision(decision)


@pytest.mark.parametrize("key", KEEP_REASONS)
def test_every_keep_reason_has_the_same_text_as_in_the_run_table(key):
    assert (
        describe_decision(Decision(invitation(source=Source.INVITES), None, key))
        == f"kept: {describe_keep_reason(key)}"
    )


def test_bounced_and_not_in_plan_are_keep_reasons():
    assert {"bounced", "not_in_plan", "unrecordable"} < KEEP_REASONS.keys()
    assert (
        describe_keep_reason("reaches_out_of_scope")
        == "linked to a project outside the policy's scope, or to an unknown one"
    )
