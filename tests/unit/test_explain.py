"""An explanation shows the run's decision, the policy keys behind it, and from when on it holds."""

import re
from datetime import timedelta
from functools import partial

import pytest
from builders import NOW, changed, invitation, policy
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.explain import Explainer, describe_decision
from invite_sweeper.models import INVITED_STATUSES, Source
from invite_sweeper.sweep.selection import Decision, Selector

DAY = timedelta(days=1)
in_invites = partial(invitation, source=Source.INVITES)
POLICY = policy(
    rules=[
        {"name": "forgotten", "older_than": "14d"},
        {"name": "outsiders", "older_than": "3d", "usernames": ["*@mail.example.org"]},
        {"name": "owners", "expired": True, "roles": ["GROUP_OWNER"]},
        {"name": "ending", "expires_within": "2d", "roles": ["GROUP_READ_ONLY"]},
    ],
    keep=[
        {"name": "board", "usernames": ["*@board.example.com"]},
        {"name": "trip", "usernames": ["ada@*"], "until": "2026-11-28"},
        {"name": "lapsed", "usernames": ["*"], "until": "2020-01-31"},
        {"name": "eternal", "usernames": ["eve@*"], "until": "9999-12-31"},
    ],
)


def decided(one, now=NOW):
    return Selector(POLICY, now).decide(one)


def explained(one):
    decision = decided(one)
    return Explainer(POLICY, NOW, {}, {}).explain(decision, decision)


ROLES = st.sampled_from([(), ("GROUP_OWNER",), ("GROUP_READ_ONLY",)])
SENT = st.integers(-5, 40).map(lambda days: NOW - timedelta(days=days))
NAMES = ("ada@example.com", "bo@mail.example.org", "cy@board.example.com", "dan@example.com", None)
ANY = st.builds(
    invitation,
    username=st.sampled_from(NAMES),
    created_at=SENT | st.none() | st.just("soon"),
    roles=ROLES,
    source=st.sampled_from(Source),
    status=st.sampled_from([*INVITED_STATUSES, "ACTIVE", None]),
    invitation_id=st.sampled_from(["0123456789abcdef01234567", ""]),
)


@given(ANY)
def test_explained_decision_is_that_of_the_run_and_every_policy_entry_is_explained_once(one):
    decision = decided(one)
    found = explained(one)
    assert (found.rule, found.reason) == (decision.rule, decision.keep_reason)
    entries = [line.partition(":")[0] for line in found.policy if line[0] != " "]
    keeps, rules = ([each.name for each in some] for some in (POLICY.keep, POLICY.rules))
    assert entries == [*(f"keep {name}" for name in keeps), *(f"rule {name}" for name in rules)]


@given(ANY)
def test_deciding_rule_is_the_first_that_matches_and_its_first_key_the_condition(one):
    found = explained(one)
    if found.rule is not None:
        first = next(line for line in found.policy if re.fullmatch("rule .*: matches", line))
        assert first == f"rule {found.rule}: matches"
        key = found.policy[found.policy.index(first) + 1]
        assert key == f"  {found.condition}: matches"


def test_keep_entry_with_a_last_day_is_followed_by_the_rule_from_the_day_after():
    found = explained(in_invites(username="ada@example.com"))
    assert (found.reason, found.stale_by) == ("keep:trip", "forgotten")
    assert f"{found.stale_from:%Y-%m-%d %H:%M}" == "2026-11-29 00:00"
    assert found.condition == "usernames is ada@*, the invitation has ada@example.com"


def test_date_at_the_end_of_the_calendar_is_explained():
    end = NOW.replace(year=9999, month=12, day=31)
    one = changed(in_invites(), created_at=end, expires_at=end)
    assert explained(one).reason == "future_date"


@pytest.mark.parametrize(
    ("age", "has"), [(14 * DAY, "14 days"), (14 * DAY - timedelta(seconds=1), "13.99 days")]
)
def test_age_one_second_below_14_days_is_not_shown_as_14_days(age, has):
    key = f"  older_than is 14 days, the invitation has {has}: "
    assert any(line.startswith(key) for line in explained(in_invites(age=age)).policy)


def test_stale_invitation_that_a_step_of_the_run_kept_has_its_reason_and_its_rule():
    stale = Decision(in_invites(), "forgotten", None)
    text = describe_decision(stale, stale.keep("list_unread"))
    assert text.endswith("could not be read, although rule forgotten matches")
