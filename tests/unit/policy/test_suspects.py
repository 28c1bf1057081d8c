"""No glob of addresses is taken for a regular expression, and no role of Atlas for a typo."""

import string

from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.policy.suspects import (
    KNOWN_ROLES,
    suspicious_pattern,
    suspicious_role,
    unmatched_project,
    unmatched_username,
)

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


@given(GLOB)
def test_no_glob_of_addresses_and_wildcards_is_suspicious(glob):
    assert suspicious_pattern(glob) is None
    assert unmatched_username(glob) is None


@given(st.text(max_size=60))
def test_any_text_gets_an_answer(text):
    for check in (suspicious_pattern, suspicious_role, unmatched_project, unmatched_username):
        found = check(text)
        assert found is None or all(found)


def test_role_of_atlas_is_not_suspicious():
    assert {"GROUP_OWNER", "GROUP_READ_ONLY", "ORG_MEMBER"} <= KNOWN_ROLES
    assert [role for role in KNOWN_ROLES if suspicious_role(role)] == []
