"""Warnings about patterns that are regular expressions, and about roles that do not exist."""

import fnmatch
import re
import string
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.errors import Severity
from invite_sweeper.policy import check_policy
from invite_sweeper.policy.suspects import KNOWN_ROLES, suspicious_pattern, suspicious_role

TODAY = date(2027, 3, 31)
AS_REGEX = "is compared as a glob, not as a regular expression"


@pytest.mark.parametrize(
    ("pattern", "instead"),
    [
        ("^.*@gmail.com$", ["*@gmail.com"]),
        (r".*@gmail\.com", ["*@gmail.com"]),
        (".*@", ["*@*"]),
        (".+@gmail.com", ["*@gmail.com"]),
        ("ada.+@gmail.com", ["ada*@gmail.com"]),
        (".*", ["*"]),
        (r"\.", ["."]),
        ("(a|b)", ["a", "b"]),
        ("(a|b)@x.com", ["a@x.com", "b@x.com"]),
        ("(?:a|b)@x.com", ["a@x.com", "b@x.com"]),
        (r".*@(gmail|hotmail)\.com$", ["*@gmail.com", "*@hotmail.com"]),
        ("a@x.com|b@x.com", ["a@x.com", "b@x.com"]),
        ("[a-z]+", ["[a-z]*"]),
        ("[a-z]+@x.com", ["[a-z]*@x.com"]),
        ("[a-z]{2,}@x.com", ["[a-z]*@x.com"]),
        (r"\d+@x.com", ["[0-9]*@x.com"]),
        (r"\w+@x.com", ["*@x.com"]),
        ("[^a]*@x.com", ["[!a]*@x.com"]),
        ("(?i)ada@x.com", ["ada@x.com"]),
        ("sandbox-.*", ["sandbox-*"]),
        ("^prod", ["prod*"]),
        ("prod$", ["*prod"]),
        (r"^test-\d+$", ["test-[0-9]*"]),
        ("*@.*", ["*@*"]),
        (r"(ada|bob)@(x|y)\.com", ["ada@x.com", "ada@y.com", "bob@x.com", "bob@y.com"]),
        ("(a|(b|c))@x", ["a@x", "b@x", "c@x"]),
        (r"ada(\+.*)?@x\.com", ["ada+*@x.com", "ada@x.com"]),
        (r"^prod-?web$", ["prod-web", "prodweb"]),
        (r"^\[draft\]", ["[[]draft]*"]),
        (r"a\*b", ["a[*]b"]),
        ("/^prod-/", ["prod-*"]),
        ("/^Prod/i", ["Prod*"]),
    ],
)
def test_regular_expression_is_suspicious_and_its_glob_is_named(pattern, instead):
    found = suspicious_pattern(pattern)
    assert found is not None
    assert found.message == AS_REGEX
    named = re.findall(r'"([^"]*)"', found.hint)
    assert named == instead
    assert [suspicious_pattern(glob) for glob in named] == [None] * len(named)


@pytest.mark.parametrize(
    "pattern", [r"a{1}\1", "(a|b|c|d|e)", r"(?P<n>a)", "^$", r"(a|b)+@x\.com", "(a|b)" * 5_000]
)
def test_regular_expression_without_a_simple_glob_has_a_general_hint(pattern):
    found = suspicious_pattern(pattern)
    assert found is not None
    assert found.hint.startswith("write `*` for any text")


def test_braces_are_suspicious():
    found = suspicious_pattern("*@{gmail,hotmail}.com")
    assert found is not None
    assert found.message == "is a glob, and globs have no braces"
    assert found.hint == 'write "*@gmail.com" and "*@hotmail.com", each as its own entry'


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "*+test@*",
        "[ab]*@x.com",
        "a.b@x",
        "*@gmail.com",
        "ada.*@example.com",
        "*@example.*",
        "[!a]*@x.com",
        "[ab]+test@x.com",
        "[a-z]*",
        "?da@x.com",
        "*.*@x.com",
        "a+b@x.com",
        "first.last+tag@x.com",
        "*.test+*@x.com",
        "a.+b@x.com",
        "*-*@x.com",
        "Sandbox (old)",
        "sandbox-*",
        "R&D: data, 2026",
        "5efda682a3f2ed2e7dd6cde4",
        "a'b@x",
        "nmtxqlkl",
        "[[]draft]*",
        "*.",
        "prod.*",
    ],
)
def test_glob_is_not_suspicious(pattern):
    assert suspicious_pattern(pattern) is None


WORD = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=6)
LOCAL = st.lists(WORD, min_size=1, max_size=3).flatmap(
    lambda words: st.sampled_from([".", "-", "_"]).map(lambda separator: separator.join(words))
)
ADDRESS = st.builds("{}@{}.com".format, LOCAL, WORD)
WILDCARD = st.sampled_from(["*", "?", "[ab]", "[!ab]", "[a-z]"])
GLOB = st.one_of(
    ADDRESS,
    st.builds("{}{}@{}.com".format, WILDCARD, LOCAL, WORD),
    st.builds("{}{}@{}.com".format, LOCAL, WILDCARD, WORD),
    st.builds("{}+{}@{}.com".format, LOCAL, WORD, WORD),
    st.builds("*@{}.*".format, WORD),
    st.builds("*+{}@*".format, WORD),
    st.builds("{}-*".format, WORD),
)


@given(GLOB)
def test_no_glob_of_addresses_and_wildcards_is_suspicious(glob):
    assert suspicious_pattern(glob) is None


@given(st.data(), ADDRESS)
def test_glob_that_is_named_matches_what_the_regular_expression_matches(data, address):
    local, _, domain = address.partition("@")
    regex = data.draw(
        st.sampled_from(
            [
                rf"^{re.escape(address)}$",
                rf".*@{re.escape(domain)}",
                rf"^{re.escape(local[0])}.*@{re.escape(domain)}$",
                rf"^(?:{re.escape(local)}|zoe)@{re.escape(domain)}$",
                rf"^{re.escape(local)}@",
            ]
        )
    )
    assert re.search(regex, address)
    found = suspicious_pattern(regex)
    assert found is not None
    globs = re.findall(r'"([^"]*)"', found.hint)
    assert any(fnmatch.fnmatchcase(address, glob) for glob in globs)
    assert not any(fnmatch.fnmatchcase(f"other-{address}.example", glob) for glob in globs)


@given(st.text(max_size=60))
def test_any_text_gets_an_answer(text):
    for found in (suspicious_pattern(text), suspicious_role(text)):
        assert found is None or (found.message and found.hint)


@pytest.mark.parametrize("role", sorted(KNOWN_ROLES))
def test_role_of_atlas_is_not_suspicious(role):
    assert {"GROUP_OWNER", "GROUP_READ_ONLY", "ORG_MEMBER"} <= KNOWN_ROLES
    assert suspicious_role(role) is None


@pytest.mark.parametrize(
    ("role", "hint"),
    [
        ("GROUP_OWNR", "write `GROUP_OWNER`"),
        ("group_owner", "write `GROUP_OWNER`"),
        ("GROUP_READONLY", "write `GROUP_READ_ONLY`"),
        ("Project Owner", "write `GROUP_OWNER`"),
        ("project read only", "write `GROUP_READ_ONLY`"),
        ("Project Data Access Read/Write", "write `GROUP_DATA_ACCESS_READ_WRITE`"),
        ("Organization Owner", "write `ORG_OWNER`"),
        ("PROJECT_OWNER", "write `GROUP_OWNER`"),
        ("Chief", "check its spelling; Atlas may add roles"),
        ("GROUP_SOMETHING_NEW", "check its spelling; Atlas may add roles"),
    ],
)
def test_role_that_atlas_does_not_document_is_suspicious_with_a_similar_one(role, hint):
    found = suspicious_role(role)
    assert found is not None
    assert (found.message, found.hint) == ("is not a role that Atlas documents", hint)


POLICY = """\
version: 1
organizations: ["5efda682a3f2ed2e7dd6cde4", {id: "000000000000000000000000"}]
sources: [invites]
projects:
  include: ["*"]
  exclude: ["prod-.*"]
rules:
  - name: a
    older_than: 30d
    usernames: ["*@x.com", '^y@']
    inviters: ['\\d']
    roles: [GROUP_OWNER, GROUP_OWNR]
  - {name: b, expired: true, expires_within: 1d, projects: ["(x|y)"]}
keep:
  - {name: k, roles: [NOPE], until: 2020-01-01}
"""


def test_each_warning_has_the_position_of_its_entry_in_the_order_of_the_file():
    policy, found = check_policy(POLICY.encode(), TODAY)
    assert policy is not None
    assert [(each.line, each.column, each.where) for each in found] == [
        (2, 45, "organizations[1]"),
        (2, 45, "organizations[1]"),
        (3, 10, "sources"),
        (6, 13, "projects.exclude[0]"),
        (9, 17, "rules[0].older_than"),
        (10, 28, "rules[0].usernames[1]"),
        (11, 16, "rules[0].inviters[0]"),
        (12, 26, "rules[0].roles[1]"),
        (13, 46, "rules[1].expires_within"),
        (13, 61, "rules[1].projects[0]"),
        (15, 23, "keep[0].roles[0]"),
        (15, 37, "keep[0].until"),
    ]
    assert {each.severity for each in found} == {Severity.WARNING}
    assert sorted(map(str, policy.suspicious_entries(TODAY))) == sorted(policy.warnings(TODAY))
    assert len(policy.warnings(TODAY)) == len(found)
    assert (
        "`^y@` in the rule `a` is compared as a glob, not as a regular expression. "
        'Write "y@*".' in policy.warnings(TODAY)
    )


def test_policy_with_errors_has_no_warnings():
    policy, found = check_policy(b"version: 2\n" + POLICY.encode()[11:], TODAY)
    assert policy is None
    assert [(each.where, each.severity) for each in found] == [("version", Severity.ERROR)]
