"""Invitations that must stay: look-alike names, ids that are no names, dates that are no dates."""

from datetime import UTC, datetime, timedelta

import pytest
from builders import NOW, ORG, invitation, object_id, policy, project
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.models import Source
from invite_sweeper.sweep.scope import ProjectFilter
from invite_sweeper.sweep.selection import ATLAS_LAUNCHED_AT, Selector
from invite_sweeper.text import Globs, ProjectPatterns, ProtectiveGlobs

ID_WITH_DB = "5edb82a3f2ed2e7dd6cde400"


def decide(one, now=NOW, **changes):
    return Selector(policy(**changes), now).decide(one)


def keep(**matcher):
    return {"keep": [{"name": "k", **matcher}]}


# --- globs and ids of projects ---------------------------------------------------------------


def test_include_glob_does_not_match_the_hex_digits_of_an_id():
    scope = ProjectFilter(policy(projects={"include": ["*db*"]}))
    assert not scope.includes(project(name="prod-payments", id=ID_WITH_DB))
    assert scope.unused_patterns() == ("projects.include '*db*' matched no project.",)


def test_exclude_glob_does_not_match_an_id_and_an_id_entry_does():
    named = project(name="payments", id=ID_WITH_DB)
    assert ProjectFilter(policy(projects={"exclude": ["*db*"]})).includes(named)
    assert not ProjectFilter(policy(projects={"exclude": [ID_WITH_DB]})).includes(named)
    assert not ProjectFilter(policy(projects={"exclude": [ID_WITH_DB.upper()]})).includes(named)


def test_project_named_like_the_id_of_another_is_not_that_project():
    impostor = project(name=ID_WITH_DB, id=object_id(9))
    assert not ProjectFilter(policy(projects={"include": [ID_WITH_DB]})).includes(impostor)


@pytest.mark.parametrize("digits", [23, 25])
def test_entry_of_23_or_25_hex_digits_is_a_name(digits):
    entry = "a" * digits
    assert ProjectPatterns([entry]).matches(object_id(1), entry)


def test_projects_of_a_rule_match_names_and_whole_ids_alone():
    one = invitation(project_id=ID_WITH_DB, project_name="prod-payments", source=Source.INVITES)
    rules = {"rules": [{"name": "r", "older_than": "1d", "projects": ["*db*"]}]}
    assert decide(one, **rules).keep_reason == "no_rule"
    rules["rules"][0]["projects"] = [ID_WITH_DB]
    assert decide(one, **rules).stale


def test_projects_of_a_rule_match_every_linked_project_of_an_organization_invitation():
    one = invitation(
        source=Source.ORG_INVITES,
        project_id=ORG,
        project_name="",
        linked_projects=((ID_WITH_DB, "prod-payments"), (object_id(3), "db-1")),
    )
    rules = {"rules": [{"name": "r", "older_than": "1d", "projects": ["*db*"]}]}
    assert not decide(one, **rules).stale
    assert decide(one, **keep(projects=[ID_WITH_DB])).keep_reason == "keep:k"


HEX_PART = st.text("0123456789abcdef", min_size=1, max_size=23)


@given(HEX_PART, st.text("0123456789abcdef", min_size=24, max_size=24))
def test_no_glob_of_fewer_than_24_digits_selects_a_project_by_its_id(part, project_id):
    assert not ProjectPatterns([f"*{part}*"]).matches(project_id, "sunny")


# --- dates that stand for "no date" ----------------------------------------------------------


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(
    "sentinel",
    [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        ATLAS_LAUNCHED_AT - timedelta(microseconds=1),
    ],
    ids=["0001", "1970", "just before Atlas"],
)
def test_invitation_from_before_atlas_existed_has_no_date_and_is_kept(sentinel, source):
    assert decide(invitation(created_at=sentinel, source=source)).keep_reason == "no_date"


@pytest.mark.parametrize("source", Source)
def test_invitation_from_the_first_instant_of_atlas_is_stale(source):
    assert decide(invitation(created_at=ATLAS_LAUNCHED_AT, source=source)).stale


@pytest.mark.parametrize("source", Source)
def test_expiry_before_atlas_existed_does_not_count_as_expired(source):
    rules = {"rules": [{"name": "r", "expired": True}]}
    assert decide(
        invitation(expires_at=datetime(1970, 1, 1, tzinfo=UTC), source=source), **rules
    ).keep_reason == ("no_date")


@pytest.mark.parametrize("source", Source)
def test_keep_entry_that_asks_for_an_age_keeps_what_has_no_date(source):
    one = invitation(expires_at=datetime(1, 1, 1, tzinfo=UTC), source=source)
    assert not decide(one, **keep(expires_within="3d")).stale


# --- names that look the same ----------------------------------------------------------------

LOOKALIKES = [
    ("*@bücher.example", "ada@xn--bcher-kva.example"),
    ("*@xn--bcher-kva.example", "ada@bücher.example"),
    ("*@XN--BCHER-KVA.example", "ADA@BÜCHER.EXAMPLE"),
    ("ada@board.example.com", "a\u034fda@board.example.com"),
    ("ada@board.example.com", "ad\ufe0fa@board.example.com"),
    ("ada@board.example.com", "ada\u3164@board.example.com"),
    ("ada@board.example.com", "ada\u2800@board.example.com"),
    ("ada@board.example.com", "ada\U000e0101@board.example.com"),
    ("ada@board.example.com", "ada@bo\u200bard.example.com"),
    ("*@board.example.com", "ada\uff20\uff42oard.example.com"),
    ("*@board.example.com", "ada@board\uff0eexample\u3002com"),
    ("a\u034fda@board.example.com", "ada@board.example.com"),
]


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(("pattern", "username"), LOOKALIKES)
def test_keep_entry_protects_a_name_that_looks_the_same(pattern, username, source):
    assert (
        decide(
            invitation(username=username, source=source), **keep(usernames=[pattern])
        ).keep_reason
        == "keep:k"
    )
    assert (
        decide(invitation(inviter=username, source=source), **keep(inviters=[pattern])).keep_reason
        == "keep:k"
    )


# Format characters (U+200B here) never count, in rules neither.
@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(
    ("pattern", "username"), [pair for pair in LOOKALIKES if "\u200b" not in pair[1]]
)
def test_rule_does_not_match_a_name_that_only_looks_the_same(pattern, username, source):
    rules = {"rules": [{"name": "r", "older_than": "1d", "usernames": [pattern]}]}
    assert decide(invitation(username=username, source=source), **rules).keep_reason == "no_rule"


def test_excluded_project_is_protected_under_a_name_that_looks_the_same():
    scope = ProjectFilter(policy(projects={"exclude": ["prod-*"]}))
    assert not scope.includes(project(name="\uff50rod-1"))
    assert not scope.includes(project(name="pr\u034fod-1"))


def test_glob_over_punycode_labels_still_matches_as_written():
    assert ProtectiveGlobs(["*@xn--*.example"]).matches("ada@xn--bcher-kva.example")


@given(st.text(max_size=30))
def test_every_name_that_a_plain_glob_matches_is_protected(name):
    pattern = "".join(f"[{c}]" if c in "*?[" else c for c in name)
    if Globs([pattern]).matches(name):
        assert ProtectiveGlobs([pattern]).matches(name)
