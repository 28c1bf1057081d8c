"""An explanation says what the run would do, and shows what that stands on."""

from datetime import timedelta

import pytest
from builders import NOW, invitation, policy
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.explain import Explainer, describe_decision
from invite_sweeper.models import Source, UnreadableDate
from invite_sweeper.report.formatting import describe_keep_reason
from invite_sweeper.sweep.selection import (
    BOUNCED,
    KEEP_REASONS,
    NOT_IN_PLAN,
    Decision,
    Selector,
    no_filter,
)

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
    return Explainer(POLICY, NOW, no_filter).explain(one)


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
def test_decision_is_the_run_s_own(one):
    assert explained(one).decision == Selector(POLICY, NOW).decide(one)


@given(ANY)
def test_rule_that_decides_is_the_first_whose_every_key_holds(one):
    told = explained(one)
    if told.decision.rule is None:
        return
    rules = [verdict for verdict in told.entries if verdict.kind == "rule"]
    first = next(v for v in rules if all(key.result is True for key in v.keys))
    assert (first.name, first.result) == (told.decision.rule, True)


@given(ANY)
def test_every_entry_of_the_policy_is_told_once_and_each_record_is_plain(one):
    told = explained(one)
    assert sorted(v.name for v in told.entries) == [
        *("board", "forgotten", "lapsed", "outsiders", "owners"),
    ]
    record = told.to_record(NOW)
    assert [each["name"] for each in record["rules"]] == ["forgotten", "outsiders", "owners"]
    assert record["decision"]["stale"] is (told.decision.rule is not None)


@pytest.mark.parametrize(
    ("age", "has"),
    [
        (timedelta(days=14), "14 days"),
        (timedelta(days=14) - timedelta(seconds=1), "13.99 days"),
        (timedelta(hours=36), "1.5 days"),
    ],
)
def test_age_just_below_the_limit_does_not_read_as_the_limit(age, has):
    (key, _) = explained(invitation(age=age)).entries[2].keys
    assert (key.name, key.actual) == ("older_than", has)


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (Decision(invitation(), "forgotten", None), "stale by rule `forgotten`"),
        (Decision(invitation(), "forgotten", None, 2), "deleted 2 times before"),
        (Decision(invitation(), None, "keep:board"), "keep entry `board` matches"),
        (Decision(invitation(), None, "no_inviter"), "cannot be evaluated (no inviter)"),
    ],
)
def test_reason_is_told_in_words(decision, words):
    assert words in describe_decision(decision)


@pytest.mark.parametrize("key", KEEP_REASONS)
def test_every_keep_reason_is_explained_as_the_table_shows_it(key):
    assert (
        describe_decision(Decision(invitation(), None, key)) == f"kept: {describe_keep_reason(key)}"
    )


def test_reasons_of_links_bounces_and_saved_plans_are_among_the_keep_reasons():
    assert {BOUNCED, NOT_IN_PLAN} < KEEP_REASONS.keys()
    assert (
        describe_keep_reason("reaches_out_of_scope")
        == "linked to a project outside the policy's scope"
    )
