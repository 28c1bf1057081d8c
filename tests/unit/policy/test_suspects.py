"""No glob of addresses is taken for a regular expression, and no role of Atlas for a typo."""

import json
import string
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.models import Source
from invite_sweeper.policy import check_policy
from invite_sweeper.policy.policy import KNOWN_ROLES

WORD = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=6)
LOCAL = st.lists(WORD, min_size=1, max_size=3).flatmap(
    lambda words: st.sampled_from([".", "-", "_"]).map(lambda separator: separator.join(words))
)
WILDCARD = st.sampled_from(["*", "?", "[ab]", "[!ab]", "[a-z]"])
GLOB = st.one_of(
    st.builds("{}@{}.com".format, LOCAL, WORD),
    st.builds("{}{}@{}.com".format, WILDCARD, LOCAL, WORD),
    st.builds("{}{}@{}.com".format, LOCAL, WILDCARD, WORD),
    st.builds("{}+{}@{}.com".format, LOCAL, WORD, WORD),
    st.builds("*@{}.*".format, WORD),
    st.builds("*+{}@*".format, WORD),
    st.builds("{}-*".format, WORD),
)


def findings(**lists):
    """Return what is said of the entries of a rule."""
    rule = {"name": "a", "older_than": "14d", **lists}
    policy = {"version": 1, "organizations": ["5efda682a3f2ed2e7dd6cde4"], "rules": [rule]}
    data = json.dumps({**policy, "sources": list(Source)}).encode()
    _, issues = check_policy(data, date(2027, 3, 31))
    return [f"{each.where}: {each.message} {each.hint}" for each in issues]


@given(st.lists(GLOB, min_size=1))
def test_no_glob_of_addresses_and_wildcards_is_suspicious(globs):
    assert findings(usernames=globs) == []


@given(st.text(st.characters(max_codepoint=0xD7FF, exclude_characters="\x7f"), min_size=1))
def test_any_text_gets_an_answer_about_itself(text):
    for line in findings(usernames=[text], projects=[text], roles=[text]):
        assert line.startswith(("rules[0].usernames[0]", "rules[0].projects[0]", "rules[0].roles"))


def test_role_of_atlas_is_not_suspicious():
    assert {"GROUP_OWNER", "GROUP_READ_ONLY", "ORG_MEMBER"} <= KNOWN_ROLES
    assert findings(roles=sorted(KNOWN_ROLES)) == []
