"""Decisions about entries: each condition at its boundary in each list."""

from datetime import UTC, datetime, timedelta

import pytest
from builders import DAY, NOW, ORG, OTHER_ORG, PROJECT, entry_of, invitation, object_id, policy
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.models import Source
from invite_sweeper.redaction import SECRETS
from invite_sweeper.sweep.conditions import ATLAS_LAUNCHED_AT, ActiveMembers
from invite_sweeper.sweep.selection import Selector
from invite_sweeper.text import visible_name

MICROSECOND = timedelta(microseconds=1)
SECRET = "s3cret-of-the-job"
LATE = NOW.replace(hour=23, minute=59, second=59, microsecond=999_999)


def decide(one, now=NOW, members=None, names=None, **changes):
    rules = policy(organizations=[ORG, OTHER_ORG], **changes)
    return Selector(rules, now, members or {}, names or {}).decide(one)


def verdict(one, **keys):
    decision = decide(one, **keys)
    assert decision.invitation is one
    assert decision.stale is (decision.rule is not None) is (decision.keep_reason is None)
    return decision.rule or decision.keep_reason


def rule(**keys):
    return {"rules": [{"name": "r", **keys}]}


def old(**keys):
    return rule(older_than="1d", **keys)


def keep(**keys):
    return {"keep": [{"name": "k", **keys}]}


def rules(**ages):
    return {"rules": [{"name": name, **keys} for name, keys in ages.items()]}


OF_ALL = {"older_than": "1d", "usernames": ["*"]}
NAMED = {"username": "Ann@GMail.com", "inviter": "Ann@GMail.com"}
BOTH = rule(older_than="14d", usernames=["*@gmail.com"])

DECISIONS = [
    # Age, from the date on which it was sent.
    ({"age": 14 * DAY}, {}, "forgotten"),
    ({"age": 14 * DAY - MICROSECOND}, {}, "too_young"),
    ({"created_at": ATLAS_LAUNCHED_AT}, {}, "forgotten"),
    ({"created_at": ATLAS_LAUNCHED_AT - MICROSECOND}, {}, "no_date"),
    ({"created_at": None}, {}, "no_date"),
    ({"created_at": None, "expires_at": NOW - DAY}, rule(expired=True), "no_date"),
    ({"created_at": "last spring"}, {}, "unreadable_date"),
    ({"created_at": NOW + MICROSECOND}, {}, "future_date"),
    # Expiry.
    ({"expires_at": NOW}, rule(expired=True), "r"),
    ({"expires_at": NOW + MICROSECOND}, rule(expired=True), "no_rule"),
    ({"expires_at": NOW + MICROSECOND}, old(expired=False), "r"),
    ({"expires_at": NOW}, old(expired=False), "no_rule"),
    ({"expires_at": NOW + 3 * DAY}, rule(expires_within="3d"), "r"),
    ({"expires_at": NOW + 3 * DAY + MICROSECOND}, rule(expires_within="3d"), "no_rule"),
    ({"expires_at": NOW}, rule(expires_within="3d"), "no_rule"),
    ({"expires_at": None}, rule(expired=True), "no_date"),
    ({"expires_at": "soon"}, rule(expires_within="1d"), "unreadable_date"),
    ({"expires_at": ATLAS_LAUNCHED_AT}, rule(expired=True), "r"),
    ({"expires_at": ATLAS_LAUNCHED_AT - MICROSECOND}, rule(expired=True), "no_date"),
    # Names, roles and projects.
    (NAMED, old(usernames=["*@gmail.COM"]), "r"),
    (NAMED, old(inviters=["*@gmail.COM"]), "r"),
    ({}, old(roles=["group_read_only", "X"]), "r"),
    ({}, old(roles=["GROUP_OWNER"]), "no_rule"),
    ({}, old(projects=["SANDBOX*"]), "r"),
    ({}, old(projects=[PROJECT]), "r"),
    ({}, old(projects=["sandbox"]), "no_rule"),
    # All but the company's own people.
    (NAMED, old(not_usernames=["*@example.com"]), "r"),
    (NAMED, old(not_usernames=["*@example.com", "*@gmail.COM"]), "no_rule"),
    (NAMED, keep(not_usernames=["*@example.com"]), "keep:k"),
    (NAMED, keep(not_usernames=["*@gmail.com"]), "forgotten"),
    # A rule or keep entry that needs a value that Atlas did not send.
    ({"username": None}, old(usernames=["*"]), "no_username"),
    ({"inviter": None}, old(inviters=["*"]), "no_inviter"),
    ({"roles": (), "project_roles": ()}, old(roles=["X"]), "no_roles"),
    ({"username": None}, keep(usernames=["*"]), "no_username"),
    ({"username": None}, old(not_usernames=["*@x.example"]), "no_username"),
    ({"username": None}, keep(not_usernames=["*@x.example"]), "no_username"),
    ({"inviter": None}, keep(inviters=["*"]), "no_inviter"),
    ({"roles": (), "project_roles": ()}, keep(roles=["X"]), "no_roles"),
    ({"expires_at": datetime(1, 1, 1, tzinfo=UTC)}, keep(expires_within="3d"), "no_date"),
    # All keys of a rule must match, and the first rule that does is named.
    ({"username": "a@example.com"}, BOTH, "no_rule"),
    ({"username": "a@gmail.com", "age": DAY}, BOTH, "too_young"),
    ({"username": "a@example.com", "age": DAY}, BOTH, "no_rule"),
    ({}, rules(a={"older_than": "30d"}, b={"older_than": "2d"}, c={"older_than": "1d"}), "b"),
    ({"expires_at": None}, rules(a={"expired": True}, b={"older_than": "14d"}), "b"),
    ({"username": None}, rules(a=OF_ALL, b={"older_than": "30d"}), "no_username"),
    ({"age": DAY}, rules(a={"older_than": "14d"}, b={"expired": True}), "too_young"),
    # Keep entries come before rules, dates and missing values.
    ({}, keep(usernames=["PERSON-*"]), "keep:k"),
    ({}, keep(usernames=["board@*"]), "forgotten"),
    ({"created_at": None}, keep(usernames=["person-*"]), "keep:k"),
    ({}, keep(usernames=["*"], inviters=["x"]), "forgotten"),
    (
        {"inviter": None},
        {"keep": [{"name": "a", "inviters": ["x"]}, {"name": "b", "usernames": ["*"]}]},
        "keep:b",
    ),
    ({}, keep(usernames=["*"], until=NOW.date()) | {"now": LATE}, "keep:k"),
    ({}, keep(usernames=["*"], until=NOW.date()) | {"now": LATE + MICROSECOND}, "forgotten"),
    # What cannot be deleted.
    ({"links_out_of_scope": True}, {}, "reaches_out_of_scope"),
    *(
        ({"invitation_id": bad_id}, {}, "unreadable_id")
        for bad_id in ("", "x", "A" * 24, f"{'a' * 24}\n", "a" * 25, f"g{'a' * 23}", "../" * 8)
    ),
]


@pytest.mark.parametrize(("changes", "keys", "expected"), DECISIONS)
def test_each_condition_decides_at_its_boundary_in_each_list(changes, keys, expected):
    found = {source: verdict(entry_of(source, **changes), **keys) for source in Source}
    assert found == dict.fromkeys(Source, expected)


ASKS = {
    "usernames": ("username", ["*"]),
    "not_usernames": ("username", ["*@x.example"]),
    "inviters": ("inviter", ["*"]),
}
"""What asks for a name: the field, and a value that holds for each name that there is."""
OTHERS = [
    ({}, True),
    ({"roles": ["GROUP_READ_ONLY"]}, True),
    ({"roles": ["GROUP_OWNER"]}, False),
    ({"projects": ["Sandbox *"]}, True),
    ({"projects": ["prod-*"]}, False),
    ({"older_than": "20d"}, True),
    ({"older_than": "21d"}, False),
]
"""Another matcher of the entry or rule, and whether it holds."""


@pytest.mark.parametrize("name", [None, "", " ", "\u200b", "\u3164"])
@pytest.mark.parametrize("key", ASKS)
def test_entry_without_the_name_that_is_asked_for_is_matched_by_no_rule_and_kept_if_others_hold(
    key, name
):
    field, value = ASKS[key]
    changes = {field: visible_name(name)}
    for source in Source:
        one = entry_of(source, **changes)
        for other, holds in OTHERS:
            by_rule = verdict(one, **rule(**{"older_than": "1d", **other, key: value}))
            assert by_rule == (f"no_{field}" if holds else "no_rule")
            by_keep = verdict(one, **keep(**{**other, key: value}))
            assert by_keep == (f"no_{field}" if holds else "forgotten")


@pytest.mark.parametrize("key", ["usernames", "not_usernames"])
def test_keep_entry_that_asks_for_two_names_keeps_where_the_one_is_missing_and_the_other_holds(key):
    for missing, pattern, expected in (
        ("username", "nmt*", "no_username"),
        ("username", "other", "forgotten"),
        ("inviter", "nmt*", "no_inviter"),
        ("inviter", "other", "no_inviter"),
    ):
        one = entry_of(Source.INVITES, **{missing: None})
        assert verdict(one, **keep(**{key: ASKS[key][1], "inviters": [pattern]})) == expected
    both = entry_of(Source.INVITES, username=None, inviter=None)
    assert verdict(both, **keep(**{key: ASKS[key][1], "inviters": ["other"]})) == "no_username"


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
@pytest.mark.parametrize("status", ["ACTIVE", "SOMETHING_NEW", None])
def test_user_without_a_known_pending_status_is_kept(source, status):
    one = entry_of(source, status=status)
    assert verdict(one) == verdict(one, **rule(statuses=["PENDING"])) == "not_pending"


@pytest.mark.parametrize("source", [Source.INVITES, Source.ORG_INVITES])
def test_older_invitation_without_a_status_is_kept_by_what_asks_for_one(source):
    one = entry_of(source, status=None)
    assert verdict(one) == "forgotten"
    assert verdict(one, **old(statuses=["PENDING"])) == "no_status"
    assert verdict(one, **keep(statuses=["PENDING"])) == "no_status"


def linked(*names, **changes):
    projects = tuple((object_id(n), name) for n, name in enumerate(names, start=1))
    return entry_of(Source.ORG_USERS, linked_projects=projects, **changes)


@pytest.mark.parametrize(
    ("one", "keys", "expected"),
    [
        (linked("Alpha"), old(projects=["alpha"]), "r"),
        (linked("Alpha", "Beta"), old(projects=["alpha"]), "no_rule"),
        (linked("Alpha", "Beta"), old(projects=["alpha", "beta"]), "r"),
        (linked(), old(projects=["*"]), "no_rule"),
        (linked("Alpha", "Beta"), keep(projects=["alp*"]), "keep:k"),
        (linked("Alpha", "Beta"), keep(projects=[object_id(2)]), "keep:k"),
        (linked(project_roles=((object_id(1), "GROUP_OWNER"),)), keep(roles=["x"]), "forgotten"),
        (linked(project_roles=((object_id(1), "X"),)), keep(roles=["x"]), "keep:k"),
    ],
)
def test_rule_must_match_every_project_that_an_invitation_reaches_and_a_keep_entry_one(
    one, keys, expected
):
    assert verdict(one, **keys) == expected


@pytest.mark.parametrize("source", Source)
def test_keep_protects_a_name_that_looks_the_same_and_no_rule_means_it(source):
    """And a name that looks like a colleague's is not one of the others; `test_text` has more."""
    name = "ada\uff20\uff42oard\uff0eexample\u3002com\u200b"
    globs = ["*@board.example.com"]
    one = entry_of(source, username=name)
    assert verdict(one, **keep(usernames=globs)) == "keep:k"
    assert verdict(one, **old(usernames=globs)) == "no_rule"
    assert verdict(entry_of(source, inviter=name), **keep(inviters=globs)) == "keep:k"
    assert verdict(one, **old(not_usernames=globs)) == "no_rule"
    assert verdict(one, **keep(not_usernames=globs)) == "forgotten"


def test_keep_entry_protects_projects_whose_names_look_the_same_and_a_rule_does_not():
    full_width = invitation(1, project_name="\uff50rod-web", source=Source.INVITES)
    assert verdict(full_width, **keep(projects=["prod-*"])) == "keep:k"
    assert verdict(full_width, **old(projects=["prod-*"])) == "no_rule"


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(
    ("name", "entries", "by_rule", "by_keep"),
    [
        ("Acme Sandbox", ["acme *"], "r", "keep:k"),
        ("\uff21cme", ["acme"], "no_rule", "keep:k"),
        # The name is not known: by id alone; and a glob makes nothing stale and keeps.
        (None, ["*"], "no_organization_name", "no_organization_name"),
        (None, [ORG], "r", "keep:k"),
        (None, [ORG, "acme*"], "r", "keep:k"),
        (None, [OTHER_ORG], "no_rule", "forgotten"),
        (None, [OTHER_ORG, "acme*"], "no_organization_name", "no_organization_name"),
    ],
)
def test_organization_matches_by_its_id_or_by_its_name_in_this_run(
    name, entries, by_rule, by_keep, source
):
    one = entry_of(source)
    names = {OTHER_ORG: "Acme"} | ({} if name is None else {ORG: name})
    assert verdict(one, names=names, **old(organizations=entries)) == by_rule
    assert verdict(one, names=names, **keep(organizations=entries)) == by_keep


def test_other_conditions_of_an_entry_decide_where_the_name_is_not_known():
    one = entry_of(Source.USERS)
    assert verdict(one, **keep(organizations=["*"], usernames=["x@*"])) == "forgotten"
    assert verdict(one, **rules(a={"older_than": "1d", "organizations": ["*"]}, b=OF_ALL)) == "b"


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
def test_list_of_users_shows_the_status_whenever_it_ends(source):
    one = entry_of(source, status="INVITATION_EXPIRED", expires_at=NOW + DAY)
    assert verdict(one, **rule(statuses=["INVITATION_EXPIRED"])) == "r"
    assert verdict(one, **rule(statuses=["PENDING"])) == "no_rule"


@pytest.mark.parametrize("source", [Source.INVITES, Source.ORG_INVITES])
@pytest.mark.parametrize(
    ("expires_at", "status"),
    [
        (NOW + MICROSECOND, "PENDING"),
        (NOW, "INVITATION_EXPIRED"),
        (None, None),
        ("soon", None),
        (datetime(1, 1, 1, tzinfo=UTC), None),
    ],
)
def test_row_of_the_older_lists_is_pending_until_it_expires(expires_at, status, source):
    one = entry_of(source, expires_at=expires_at)
    for wanted in ("PENDING", "INVITATION_EXPIRED"):
        by_rule, by_keep = ("r", "keep:k") if wanted == status else ("no_rule", "forgotten")
        unknown = "no_status" if status is None else None
        assert verdict(one, **rule(statuses=[wanted])) == (unknown or by_rule)
        assert verdict(one, **keep(statuses=[wanted])) == (unknown or by_keep)


NAMES = frozenset({"ada@example.com", "zoë@example.com", "bo@example.com"})
ASKED = frozenset({"gone@example.com", "a.b+c@x.example"})
"""Inviters whose name no active member has, by the answer of Atlas."""
MEMBERS = {ORG: ActiveMembers(NAMES, ASKED)}
LEFT = {"inviter_gone": True}
SOON = {"age": timedelta(minutes=1)}


@pytest.mark.parametrize(
    ("inviter", "expected"),
    [
        *((each, "r") for each in ("gone@example.com", " Gone@Example.com ", "a.b+c@x.example")),
        *((each, "no_rule") for each in ("ada@example.com", "ADA@example.com ")),
        *((each, "no_rule") for each in ("zoe\u0308@example.com", "\uff41da@example.com")),
        *((each, "no_rule") for each in ("ada\u200b@example.com", "ada@example.com.")),
        *((each, "inviter_unknown") for each in (None, "", " ", "nmtxqlkl", "a@b", "a b@c.d")),
        ("mdb_sa_id_5efda682a3f2ed2e7dd6cde4", "inviter_unknown"),
        ("left@example.com", "inviter_unknown"),  # not asked for, or without an answer
    ],
)
def test_person_is_gone_whose_address_no_active_member_has_in_any_spelling(inviter, expected):
    by_keep = {"r": "keep:k", "no_rule": "too_young"}.get(expected, expected)
    for source in Source:
        one = entry_of(source, inviter=inviter, **SOON)
        decision = decide(one, members=MEMBERS, **rule(**LEFT))
        assert (source, decision.rule or decision.keep_reason) == (source, expected)
        kept = verdict(one, members=MEMBERS, **old(), **keep(**LEFT))
        assert (source, kept) == (source, by_keep)


def test_inviter_is_unknown_where_the_members_are():
    others = {OTHER_ORG: ActiveMembers(frozenset({"x@y.z"}), ASKED)}
    empty = {ORG: ActiveMembers(frozenset(), ASKED)}
    one = entry_of(Source.USERS, inviter="gone@example.com")
    for members in ({}, others, empty, {ORG: ActiveMembers(NAMES)}):  # the last was not asked for
        assert verdict(one, members=members, **rule(**LEFT)) == "inviter_unknown"


def test_what_a_rule_with_a_secret_in_its_name_would_delete_is_kept():
    SECRETS.add(SECRET)
    one = entry_of(Source.INVITES, age=2 * DAY)
    found = [verdict(one, **rules(**{name: {"older_than": "1d"}})) for name in ("r", SECRET)]
    assert found == ["r", "unrecordable"]


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(
    "changes",
    [
        {"username": "ann\ufffd@example.com"},
        {"inviter": "\ufffd"},
        {"roles": ("\ufffd",)},
        {"project_name": "\ufffd"},
        {"project_roles": ((PROJECT, "\ufffd"),)},
    ],
)
def test_entry_of_which_a_value_is_not_known_whole_is_kept_unless_something_else_keeps_it(
    changes, source
):
    one = entry_of(source, **changes)
    assert verdict(one) == "unrecordable"
    assert verdict(one, **keep(projects=[PROJECT])) == "keep:k"


ages = st.timedeltas(-2 * DAY, 90 * DAY)
dates = st.one_of(st.none(), st.text(max_size=5), st.builds(lambda age: NOW - age, ages))
names = st.sampled_from(["a@gmail.com", "B@Example.com", "c@board.example.com", None])
invitations = st.builds(
    invitation,
    number=st.integers(1, 10**6),
    created_at=dates,
    expires_at=dates,
    username=names,
    inviter=names,
    roles=st.lists(st.sampled_from(["GROUP_OWNER", "GROUP_READ_ONLY"]), max_size=2).map(tuple),
    status=st.sampled_from(["PENDING", "INVITATION_EXPIRED", None]),
    source=st.sampled_from(Source),
)
entry_keys = st.fixed_dictionaries(
    {},
    optional={
        "usernames": st.just(["*@gmail.com"]),
        "not_usernames": st.just(["*@gmail.com"]),
        "organizations": st.sampled_from([[ORG], ["acme*"]]),
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


@given(one=invitations, older_than=st.integers(1, 60), later=st.integers(0, 10**7))
def test_stale_by_age_stays_stale_as_now_grows(one, older_than, later):
    keys = rule(older_than=f"{older_than}d")  # with `statuses`, a row of `invites` may expire
    if decide(one, **keys).stale:
        assert decide(one, now=NOW + timedelta(seconds=later), **keys).stale


@given(one=invitations, rules=rule_lists, keep=keep_lists, more=entry_keys.filter(bool))
def test_one_more_keep_entry_never_deletes_more(one, rules, keep, more):
    before = decide(one, rules=rules, keep=keep)
    after = decide(one, rules=rules, keep=[*keep, {**more, "name": "more"}])
    assert before.stale or not after.stale
