"""Decisions: each rule and reason at its boundary, and properties of all decisions."""

from datetime import timedelta

import pytest
from builders import NOW, invitation, policy
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.models import Source, UnreadableDate
from invite_sweeper.sweep.selection import ATLAS_LAUNCHED_AT, Selector

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def decide(one, now=NOW, **changes):
    return Selector(policy(**changes), now).decide(one)


def rule(**keys):
    return {"rules": [{"name": "r", **keys}]}


def keep_entry(**keys):
    return {"keep": [{"name": "k", **keys}]}


# --- older_than ----------------------------------------------------------------------------


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(
    ("age", "reason"),
    [
        (14 * DAY, None),
        (14 * DAY - timedelta(microseconds=1), "too_young"),
        (14 * DAY - SECOND, "too_young"),
        (timedelta(), "too_young"),
    ],
    ids=["exactly as old", "one microsecond younger", "one second younger", "sent now"],
)
def test_invitation_is_stale_from_exactly_older_than(age, reason, source):
    decision = decide(invitation(age=age, source=source))
    assert (decision.stale, decision.keep_reason) == (reason is None, reason)


# --- unusable dates ------------------------------------------------------------------------


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(
    ("created_at", "reason"),
    [
        (None, "no_date"),
        (UnreadableDate("last spring"), "unreadable_date"),
        (NOW + timedelta(microseconds=1), "future_date"),
    ],
    ids=["missing", "unreadable", "future"],
)
def test_invitation_with_an_unusable_date_is_kept_with_the_reason(created_at, reason, source):
    assert decide(invitation(created_at=created_at, source=source)).keep_reason == reason


@pytest.mark.parametrize("source", Source)
def test_invitation_without_a_date_is_kept_even_if_the_rule_checks_only_expiry(source):
    one = invitation(created_at=None, expires_at=NOW - DAY, source=source)
    assert decide(one, **rule(expired=True)).keep_reason == "no_date"


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(
    "bad_id",
    [
        "",
        "x",
        "5EFDA682A3F2ED2E7DD6CDE4",
        "5efda682a3f2ed2e7dd6cde4\n",
        "a" * 25,
        "g" + "a" * 23,
        "../" * 8,
    ],
)
def test_invitation_with_a_malformed_id_is_kept(bad_id, source):
    assert decide(invitation(id=bad_id, source=source)).keep_reason == "unreadable_id"


# --- expired, expires_within ---------------------------------------------------------------


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(("left", "expired"), [(timedelta(), True), (SECOND, False)])
def test_invitation_has_expired_from_the_instant_on(left, expired, source):
    assert (
        decide(invitation(expires_at=NOW + left, source=source), **rule(expired=True)).stale
        is expired
    )


@pytest.mark.parametrize("source", Source)
def test_expired_false_matches_unexpired_invitations(source):
    both = rule(older_than="1d", expired=False)
    assert decide(invitation(expires_at=NOW + SECOND, source=source), **both).stale
    assert not decide(invitation(expires_at=NOW, source=source), **both).stale


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(
    ("left", "stale"),
    [
        (timedelta(days=3), True),
        (timedelta(days=3) + SECOND, False),
        (SECOND, True),
        (timedelta(), False),
        (-SECOND, False),
    ],
    ids=["exactly", "one second over", "one second", "now", "past"],
)
def test_expires_within_matches_up_to_exactly_the_span(left, stale, source):
    assert (
        decide(invitation(expires_at=NOW + left, source=source), **rule(expires_within="3d")).stale
        is stale
    )


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(
    ("expires_at", "reason"),
    [(None, "no_date"), (UnreadableDate("soon"), "unreadable_date")],
    ids=["missing", "unreadable"],
)
def test_rule_that_needs_an_unusable_expiry_keeps(expires_at, reason, source):
    assert (
        decide(invitation(expires_at=expires_at, source=source), **rule(expired=True)).keep_reason
        == reason
    )


@pytest.mark.parametrize("source", Source)
def test_rule_with_an_unknown_result_does_not_hide_a_later_match(source):
    rules = {"rules": [{"name": "a", "expired": True}, {"name": "b", "older_than": "14d"}]}
    assert decide(invitation(expires_at=None, source=source), **rules).rule == "b"


# --- names ---------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["usernames", "inviters", "projects"])
def test_globs_ignore_case_and_match_the_whole_name(key):
    one = invitation(
        username="Ann@GMail.com",
        inviter="Ann@GMail.com",
        project_name="Ann@GMail.com",
        source=Source.INVITES,
    )
    assert decide(one, **rule(older_than="1d", **{key: ["*@gmail.COM"]})).stale
    assert not decide(one, **rule(older_than="1d", **{key: ["*gmail"]})).stale


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("name", ["a@x.example.com", "b@x.example.com"])
def test_any_glob_of_a_list_may_match(name, source):
    lists = rule(older_than="1d", usernames=["a@*", "b@*"])
    assert decide(invitation(username=name, source=source), **lists).stale
    assert not decide(invitation(username="c" + name, source=source), **lists).stale


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(
    "name",
    [
        "ceo@board.example.com ",
        " ceo@board.example.com",
        "ceo\u200b@board.example.com",
        "ceo@board\u00ad.example.com\ufeff",
        "\u2066ceo@board.example.com\u2069\u00a0",
    ],
    ids=["space after", "space before", "zero width", "soft hyphen", "direction"],
)
def test_keep_entry_ignores_invisible_characters(name, source):
    keep = [{"name": "board", "usernames": ["*@board.example.com"]}]
    assert (
        decide(invitation(1, username=name, source=source), keep=keep).keep_reason == "keep:board"
    )


def test_projects_globs_also_match_the_id():
    one = invitation(source=Source.INVITES)
    assert decide(one, **rule(older_than="1d", projects=[one.project_id])).stale


@pytest.mark.parametrize("source", Source)
def test_roles_match_any_role_and_ignore_case(source):
    one = invitation(roles=("GROUP_READ_ONLY", "GROUP_OWNER"), source=source)
    assert decide(one, **rule(older_than="1d", roles=["group_owner", "X"])).stale
    assert not decide(one, **rule(older_than="1d", roles=["ORG_OWNER"])).stale


@pytest.mark.parametrize("source", Source)
def test_statuses_match_the_status(source):
    one = invitation(status="INVITATION_EXPIRED", source=source)
    assert decide(one, **rule(statuses=["INVITATION_EXPIRED"])).stale
    assert not decide(one, **rule(statuses=["INVITATION_REJECTED"])).stale


@pytest.mark.parametrize(
    ("changes", "keys", "reason"),
    [
        ({"username": None}, {"usernames": ["*"]}, "no_username"),
        ({"inviter": None}, {"inviters": ["*"]}, "no_inviter"),
        ({"roles": ()}, {"roles": ["GROUP_OWNER"]}, "no_roles"),
        ({"status": None}, {"statuses": ["PENDING"]}, "no_status"),
    ],
    ids=["username", "inviter", "roles", "status"],
)
def test_missing_value_keeps_for_rules_and_keep_entries(changes, keys, reason):
    one = invitation(**{"source": Source.INVITES, **changes})
    assert decide(one, **rule(older_than="1d", **keys)).keep_reason == reason
    assert decide(one, **keep_entry(**keys)).keep_reason == reason


@pytest.mark.parametrize("source", Source)
def test_all_keys_of_a_rule_must_match(source):
    both = rule(older_than="14d", usernames=["*@gmail.com"])
    assert decide(invitation(username="a@gmail.com", source=source), **both).stale
    assert (
        decide(invitation(username="a@example.com", source=source), **both).keep_reason == "no_rule"
    )
    assert (
        decide(invitation(username="a@gmail.com", age=DAY, source=source), **both).keep_reason
        == "too_young"
    )
    assert (
        decide(invitation(username="a@example.com", age=DAY, source=source), **both).keep_reason
        == "no_rule"
    )


@pytest.mark.parametrize("source", Source)
def test_decision_names_the_first_rule_that_matches(source):
    rules = {
        "rules": [
            {"name": "a", "older_than": "30d"},
            {"name": "b", "older_than": "2d"},
            {"name": "c", "older_than": "1d"},
        ]
    }
    assert decide(invitation(source=source), **rules).rule == "b"


# --- keep ----------------------------------------------------------------------------------


@pytest.mark.parametrize("source", Source)
def test_keep_entry_takes_precedence_over_rules(source):
    assert (
        decide(invitation(source=source), **keep_entry(usernames=["PERSON-*"])).keep_reason
        == "keep:k"
    )


@pytest.mark.parametrize("source", Source)
def test_decision_contains_the_invitation(source):
    one = invitation(source=source)
    policies = {}, keep_entry(usernames=["*"]), rule(usernames=["other@*"], older_than="1d")
    decisions = [decide(one, **keys) for keys in policies]
    assert [d.keep_reason for d in decisions] == [None, "keep:k", "no_rule"]
    assert all(d.invitation is one and d.bounced == 0 for d in decisions)


@pytest.mark.parametrize("source", Source)
def test_keep_entry_is_the_reason_even_for_a_young_invitation(source):
    assert (
        decide(invitation(age=DAY, source=source), **keep_entry(usernames=["person-*"])).keep_reason
        == "keep:k"
    )


@pytest.mark.parametrize("source", Source)
def test_keep_entry_is_active_until_the_end_of_its_last_day(source):
    entry = keep_entry(usernames=["*"], until=NOW.date())
    assert decide(invitation(source=source), **entry).keep_reason == "keep:k"
    late = NOW.replace(hour=23, minute=59, second=59, microsecond=999_999)
    assert decide(invitation(source=source), now=late, **entry).keep_reason == "keep:k"
    assert decide(invitation(source=source), now=late + timedelta(microseconds=1), **entry).stale


@pytest.mark.parametrize("source", Source)
def test_keep_entry_that_does_not_match_has_no_effect(source):
    assert decide(invitation(source=source), **keep_entry(usernames=["board@*"])).stale


@pytest.mark.parametrize("source", Source)
def test_matching_keep_entry_takes_precedence_over_an_unknown_one(source):
    entries = {"keep": [{"name": "a", "inviters": ["x"]}, {"name": "b", "usernames": ["*"]}]}
    assert decide(invitation(inviter=None, source=source), **entries).keep_reason == "keep:b"


# --- lists of users ------------------------------------------------------------------------


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
@pytest.mark.parametrize("status", ["ACTIVE", "SOMETHING_NEW", None])
def test_user_without_a_known_pending_status_is_kept(source, status):
    one = invitation(source=source, status=status)
    assert decide(one).keep_reason == "not_pending"
    assert decide(one, **rule(statuses=["PENDING"])).keep_reason == "not_pending"


# --- explain -------------------------------------------------------------------------------


@pytest.mark.parametrize("source", Source)
def test_explain_returns_each_entry_with_each_of_its_keys(source):
    both = {**rule(older_than="14d", usernames=["*@gmail.com"]), **keep_entry(inviters=["x"])}
    found = Selector(policy(**both), NOW).explain(invitation(inviter=None, source=source))
    assert [(f.kind, f.name, f.result) for f in found] == [
        ("keep", "k", "no_inviter"),
        ("rule", "r", False),
    ]
    assert dict(found[1].conditions)["older_than"] is True
    assert dict(found[1].conditions)["usernames"] is False


def test_explain_returns_the_keys_with_their_policy_names_in_order():
    keys = {
        "older_than": "14d",
        "expired": False,
        "expires_within": "30d",
        "usernames": ["*"],
        "inviters": ["*"],
        "roles": ["GROUP_READ_ONLY"],
        "projects": ["*"],
        "statuses": ["PENDING"],
    }
    (found,) = Selector(policy(**rule(**keys)), NOW).explain(invitation(source=Source.INVITES))
    assert found.result is True
    assert found.conditions == tuple((key, True) for key in keys)


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(
    ("created_at", "reason"),
    [(None, "no_date"), (UnreadableDate("last spring"), "unreadable_date")],
    ids=["missing", "unreadable"],
)
def test_explain_returns_the_reason_for_an_unusable_date(created_at, reason, source):
    (found,) = Selector(policy(), NOW).explain(invitation(created_at=created_at, source=source))
    assert found.result == reason
    assert dict(found.conditions)["older_than"] == reason


# --- properties ----------------------------------------------------------------------------

ages = st.timedeltas(min_value=timedelta(days=-2), max_value=timedelta(days=90))
dates = st.one_of(
    st.none(),
    st.builds(UnreadableDate, st.text(max_size=5)),
    st.builds(lambda age: NOW - age, ages),
)
names = st.one_of(
    st.none(), st.sampled_from(["a@gmail.com", "B@Example.com", "c@board.example.com"])
)
invitations = st.builds(
    invitation,
    number=st.integers(1, 10**6),
    created_at=dates,
    expires_at=dates,
    username=names,
    inviter=names,
    roles=st.lists(st.sampled_from(["GROUP_OWNER", "GROUP_READ_ONLY"]), max_size=2).map(tuple),
    status=st.sampled_from(["PENDING", "INVITATION_EXPIRED", None]),
    source=st.sampled_from(list(Source)),
)
entry_keys = st.fixed_dictionaries(
    {},
    optional={
        "usernames": st.just(["*@gmail.com"]),
        "inviters": st.just(["*@example.com"]),
        "roles": st.just(["GROUP_OWNER"]),
        "projects": st.just(["sandbox*"]),
        "older_than": st.sampled_from(["1d", "14d"]),
        "expired": st.booleans(),
    },
)
rule_lists = st.lists(entry_keys, min_size=1, max_size=3).map(
    lambda found: [{"older_than": "7d", **m, "name": f"r{n}"} for n, m in enumerate(found)]
)
keep_lists = st.lists(entry_keys.filter(bool), max_size=3).map(
    lambda found: [{**m, "name": f"k{n}"} for n, m in enumerate(found)]
)


@given(one=invitations, rules=rule_lists, keep=keep_lists)
def test_every_invitation_gets_exactly_one_decision(one, rules, keep):
    decision = decide(one, rules=rules, keep=keep)
    assert (decision.rule is None) != (decision.keep_reason is None)
    assert decision.stale == (decision.rule in {r["name"] for r in rules})


@given(one=invitations, older_than=st.integers(1, 60), later=st.integers(0, 10**7))
def test_stale_by_age_stays_stale_as_now_grows(one, older_than, later):
    rules = [{"name": "r", "older_than": f"{older_than}d", "statuses": ["PENDING"]}]
    if decide(one, rules=rules).stale:
        assert decide(one, now=NOW + timedelta(seconds=later), rules=rules).stale


@given(one=invitations, rules=rule_lists, keep=keep_lists, more=entry_keys.filter(bool))
def test_one_more_keep_entry_never_deletes_more(one, rules, keep, more):
    before = decide(one, rules=rules, keep=keep)
    after = decide(one, rules=rules, keep=[*keep, {**more, "name": "more"}])
    assert before.stale or not after.stale


@given(one=invitations, shorter=st.integers(1, 60), longer=st.integers(0, 60))
def test_a_longer_older_than_never_deletes_more(one, shorter, longer):
    few = decide(one, rules=[{"name": "r", "older_than": f"{shorter + longer}d"}])
    many = decide(one, rules=[{"name": "r", "older_than": f"{shorter}d"}])
    assert many.stale or not few.stale


@given(one=invitations, rules=rule_lists, keep=keep_lists)
def test_explain_agrees_with_the_decision(one, rules, keep):
    selector = Selector(policy(rules=rules, keep=keep), NOW)
    decision = selector.decide(one)
    matching = [f.name for f in selector.explain(one) if f.kind == "rule" and f.result is True]
    if decision.stale:
        assert decision.rule == matching[0]
        assert all(f.result is False for f in selector.explain(one) if f.kind == "keep")


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("key", ["expired", "expires_within"])
@pytest.mark.parametrize(
    ("expires_at", "reason"),
    [
        (None, "no_date"),
        (UnreadableDate("soon"), "unreadable_date"),
        (ATLAS_LAUNCHED_AT - timedelta(seconds=1), "no_date"),
    ],
)
def test_unusable_expiry_is_the_reason_of_the_condition(key, expires_at, reason, source):
    rules = policy(rules=[{"name": "r", key: True if key == "expired" else "1d"}])
    (found,) = Selector(rules, NOW).explain(invitation(1, expires_at=expires_at, source=source))
    assert dict(found.conditions)[key] == reason


@pytest.mark.parametrize("source", Source)
def test_expiry_at_the_launch_of_atlas_is_a_date(source):
    rules = policy(rules=[{"name": "r", "expired": True}])
    at_launch = invitation(1, expires_at=ATLAS_LAUNCHED_AT, source=source)
    assert Selector(rules, NOW).decide(at_launch).rule == "r"
    before = invitation(1, expires_at=ATLAS_LAUNCHED_AT - timedelta(microseconds=1), source=source)
    assert Selector(rules, NOW).decide(before).keep_reason == "no_date"


def test_keep_entry_protects_projects_whose_names_look_the_same_and_a_rule_does_not():
    full_width = invitation(1, project_name="\uff50rod-web", source=Source.INVITES)
    keep = policy(keep=[{"name": "prod", "projects": ["prod-*"]}])
    assert Selector(keep, NOW).decide(full_width).keep_reason == "keep:prod"
    rules = policy(rules=[{"name": "r", "older_than": "1d", "projects": ["prod-*"]}])
    assert Selector(rules, NOW).decide(full_width).keep_reason == "no_rule"
