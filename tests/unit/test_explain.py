"""An explanation shows the run's decision, the policy keys behind it, and from when on it holds."""

import re
from datetime import timedelta
from functools import partial

from builders import NOW, changed, invitation, policy
from hypothesis import given
from hypothesis import strategies as st
from reviewed import assert_reviewed

from invite_sweeper.explain import Explainer
from invite_sweeper.models import INVITED_STATUSES, Source
from invite_sweeper.sweep.selection import Selector

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
    return Explainer(POLICY, NOW, {}, {}).explain(decided(one))


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


END = NOW.replace(year=9999, month=12, day=31)
EXPLAINED = {
    "an entry with a last day is followed by the rule from the day after": in_invites(
        username="ada@example.com"
    ),
    "a date at the end of the calendar": changed(in_invites(), created_at=END, expires_at=END),
    "an age of 14 days": in_invites(age=14 * DAY),
    "one second less is not shown as 14 days": in_invites(age=14 * DAY - timedelta(seconds=1)),
}


def test_explanations_are_as_they_were_reviewed():
    text = ""
    for name, one in EXPLAINED.items():
        found = explained(one)
        text += f"== {name}\n{found.description}\nby {found.condition or 'no key'}\n"
        text += f"stale from {found.stale_from} by {found.stale_by}\n"
    assert_reviewed(text, __file__, "explained.txt")
