"""YAML that a policy does not allow is reported with its position by both parsers."""

import re
from datetime import date

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from unit.policy.test_errors import assert_lines, cases
from unit.policy.test_policy import CONTRACT

from invite_sweeper.policy import InvalidPolicy, Policy, Severity, check_policy, parse_policy
from invite_sweeper.policy.yaml_reader import (
    LOADER,
    MAX_BYTES,
    MAX_DEPTH,
    NULL,
    NotReadableError,
    Unusable,
    issue_at,
    parse_yaml,
)

LOADERS = [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)]


@pytest.fixture(params=LOADERS, ids=["python", "c"])
def loader(request):
    return request.param


def document_of(text, loader):
    return parse_yaml(text.encode(), loader)


def unusable_values(node, path=()):
    """Yield an issue for each value that no key takes."""
    if isinstance(node.value, Unusable) and node.value is not NULL:
        yield issue_at(node.at, path, node.value.message, "write another")
    for step, child in node.children.items():
        yield from unusable_values(child, (*path, step))


def issues_of(data, loader):
    try:
        document = parse_yaml(data if isinstance(data, bytes) else data.encode(), loader)
    except NotReadableError as error:
        return [error.issue.text("p").removeprefix("p:")]
    found = sorted([*document.issues, *unusable_values(document.root)])
    return [each.text("p").removeprefix("p:") for each in found]


def test_c_parser_is_used_if_available():
    assert getattr(yaml, "CSafeLoader", yaml.SafeLoader) is LOADER


def test_values_follow_yaml_1_1(loader):
    text = (
        "text: a b\nquoted: '1'\n'yes': yes\ncount: 7\noctal: 010\nshare: 0.5\n"
        "day: 2027-03-31\ninstant: 2027-03-31 10:00:00\n"
        f"map: {{a: off, '<<': b}}\nlong: {'1' * 100}\n"
    )
    document = document_of(text, loader)
    assert (document.issues, document.root.value) == ([], yaml.safe_load(text))
    assert document_of("[~, [1, a]]", loader).root.value == (NULL, (1, "a"))


def test_every_value_has_the_position_where_it_starts(loader):
    document = document_of("# hä\na:\n  - b: 1\n    c: [x, 'ÿ', z]\r\nd: {e: f}\n", loader)
    positions = {
        path: document.root.find(path)[0].at
        for path in [("a",), ("a", 0), ("a", 0, "b"), ("a", 0, "c", 2), ("d", "e")]
    }
    assert list(positions.values()) == [(3, 3), (3, 5), (3, 8), (4, 17), (5, 8)]
    assert document.root.find(("a", 0, "c"))[0].key_at == (4, 5)


def test_find_with_a_missing_path_returns_the_deepest_value(loader):
    node, path = document_of("a: {b: c}\n", loader).root.find(("a", "b", "x", 3))
    assert (node.value, path) == ("c", ("a", "b"))


HAS = "policy: has the character `\\…`; remove it; lines end with LF or CR LF"
BASE_60 = "is read as a YAML number in base 60, which is not valid here"
TAGS = ("!!python/object/apply:os.system", "!!str", "!mine", "!<x>", "!")
FORBIDDEN = [
    (b"a: b\nc: \xc3\xa4\xff\n", "2:5: policy: is not UTF-8; save it as UTF-8"),
    ("a: b".encode("utf-16"), "1:1: policy: is not UTF-8; …"),
    *((f"a: b\nc: x{c}y\n", f"2:5: {HAS}") for c in "\x00\x07\x1b\x7f\x80\ufffe\ufeff"),
    *(
        (f"a: b\r\n{line.format(c)}\n", f"2:{column}: {HAS}")
        for c in "\x85\u2028\u2029\u061c\u200e\u200f\u202a\u202e\u2066\u2069"
        for line, column in (("c: x{}y", 5), ("# it{}s", 5), ("'q{}': x", 3), ('"{}": x', 2))
    ),
    *(
        (text, f"2:4: {HAS}")
        for text in ("a: b\n# c\rrules: []\n", "a: b\n# c\r", "a: b\r\n# c\r\r\n")
    ),
    ("\ufeffa: *b\n", "1:4: a: is read as a YAML alias, which is not valid here; …"),
    ("\ufeff\ufeff- a: b\n", f"1:1: {HAS}"),
    ("# comment\n\ufeff- a: b\n", f"2:1: {HAS}"),
    *(
        (f"a: {tag} {value}\n", "1:4: a: is read as a YAML tag, which is not valid here; …")
        for tag in TAGS
        for value in ("x", "{x: y}")
    ),
    (f"a: {'1' * 5_000}\n", "1:4: a: is read as a YAML int, which is not valid here; …"),
    *((f"a: 1{':1' * 200}{end}\n", f"1:4: a: {BASE_60}; …") for end in ("", ".0")),
    ("a:\n\tb: c\n", "2:1: policy: is not valid YAML: …; indent with spaces"),
    ("a:\n  b: c\n\td: e\n", "3:1: policy: is not valid YAML: …; indent with spaces"),
    ("a:\n- b: c\n \td: e\n", "3:2: policy: is not valid YAML: …; indent with spaces"),
    (f"%YAML 1.{'9' * 5_000}\n---\na: b\n", "1:…: policy: is not valid YAML…"),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, [line]) for text, line in FORBIDDEN),
        *((f"a: b # {character}\n", []) for character in "\u2027\u202f\u2065\u206a\u00ad\u200b"),
        *((case.policy, case.lines) for case in cases("yaml.txt")),
    ],
)
def test_issue_has_its_position_cause_and_fix(text, expected):
    for loader in LOADERS:
        found = issues_of(text, loader)
        assert_lines(found, expected)
        assert all(len(line) < 250 for line in found)


def test_first_value_of_a_duplicate_key_is_kept(loader):
    document = document_of("a: 1\nb: {c: 1, c: 2}\n'a': 3\n", loader)
    assert document.root.value == {"a": 1, "b": {"c": 1}}


def test_file_of_one_mib_is_read_and_one_byte_more_is_refused():
    head = b"a: b\n#"
    full = head + b"x" * (MAX_BYTES - len(head))
    assert issues_of(full, LOADER) == []
    assert issues_of(full + b"x", LOADER) == [
        "1:1: policy: is larger than 1 MiB; split or shorten it"
    ]


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}")])
def test_twenty_levels_are_read_and_twenty_one_are_refused(opening, closing, loader):
    assert issues_of(opening * MAX_DEPTH + closing * MAX_DEPTH, loader) == []
    (error,) = issues_of(opening * (MAX_DEPTH + 1) + closing * (MAX_DEPTH + 1), loader)
    position = f"1:{MAX_DEPTH * len(opening) + 1}"
    assert error == f"{position}: policy: has more than 20 levels; reduce the nesting"


@pytest.mark.parametrize("opening", ["[", "? "])
def test_nesting_of_100000_levels_is_an_error_not_a_recursion_error(opening, loader):
    (error,) = issues_of(opening * 100_000, loader)
    assert re.search("reduce the nesting|maximum nesting depth", error)


# Any bytes ----------------------------------------------------------------------------------------


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
