"""Any bytes are parsed into a policy or a list of errors; nothing else is raised."""

from datetime import date

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from unit.policy.test_policy import CONTRACT

from invite_sweeper.policy import InvalidPolicy, Policy, Severity, check_policy, parse_policy
from invite_sweeper.policy.yaml_reader import NotReadableError, parse_yaml

VALID = CONTRACT.decode()
PIECES = st.sampled_from(
    [
        *"[]{},:-?&*!|>'\"%@`#~=\t\n\r\\ \u2028\x85\ufeff",
        *("- ", ": ", "? ", "\n  ", "*a", "&a ", "<<: ", "---\n", "...\n", "%YAML 1.1\n", "|9\n"),
        *("!!python/object:os.system ", "!!binary ", "!<x> ", "!!set ", "!!timestamp x"),
        *("2027-02-31", "99999-01-01", "2001-12-14t21:59:43.10-99:99", "0001-01-01 00:00:00+23:59"),
        *("1:30", "190:20:30.15", "0x", "0b_", "0o8", "1_", "-_", ".inf", "-.inf", ".nan", "1e999"),
        *("9" * 30, "9" * 5_000, "-1", "0", "1.5", "true", "off", "null"),
        *('"\\ud800"', '"\\UFFFFFFFF"', '"\\x00"', '"\\u202e"', '"\\N"'),
        *("version: 1\n", "organizations: ", "rules: ", "keep: ", "name: ", "older_than: "),
        *("limits: ", "max_share: ", "projects: ", "tags: ", "notify: ", "until: ", "audit: "),
        *("14d", "P1Y", "0s", "PENDING", "[" * 25, "{a: " * 25),
    ]
)
YAMLISH = st.lists(PIECES, max_size=25).map("".join)
# A valid policy with one part replaced: close to real mistakes.
DAMAGED = st.builds(
    lambda start, length, piece: VALID[:start] + piece + VALID[start + length :],
    st.integers(0, len(VALID)),
    st.integers(0, 40),
    PIECES,
)
BYTES = st.one_of(st.binary(), YAMLISH.map(str.encode), DAMAGED.map(str.encode))


@settings(deadline=None)
@given(BYTES)
@example(b"[")
@example(b"\xff\xfe\x00")
@example(b"a: " + b"[" * 2_000)
@example(b"a: " + b"1" * 100_000)
def test_any_bytes_yield_a_policy_or_errors_with_position_and_hint(data):
    policy, found = check_policy(data, date(2027, 3, 31))
    errors = tuple(each for each in found if each.severity is Severity.ERROR)
    try:
        outcome = parse_policy(data, "p")
    except InvalidPolicy as error:
        outcome = error
    if isinstance(outcome, Policy):
        assert (policy, errors) == (outcome, ())
        return
    assert (policy, errors) == (None, outcome.issues)
    assert outcome.issues
    lines = data.count(b"\n") + data.count(b"\r") + 1
    for error, line in zip(outcome.issues, outcome.lines(), strict=True):
        assert 1 <= error.line <= lines
        assert error.column >= 1
        assert all((error.where, error.message, error.hint))
        assert line.isprintable() or "quote it" in line
        assert "nput should" not in line


@settings(deadline=None)
@given(st.one_of(YAMLISH, DAMAGED))
@example("\u2028\ufeff-")
def test_python_and_c_parser_return_the_same_data(text):
    loaders = (yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    try:
        python, c = (parse_yaml(text.encode(), loader) for loader in loaders)
    except NotReadableError:
        return
    assert repr(python.root.value) == repr(c.root.value)
    assert python.issues == c.issues
