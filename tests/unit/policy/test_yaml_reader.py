"""YAML that a policy does not allow is reported with its position by both parsers."""

import re
from datetime import date, datetime

import pytest
import yaml

from invite_sweeper.policy.yaml_reader import (
    LOADER,
    MAX_BYTES,
    MAX_DEPTH,
    Placeholder,
    parse_yaml,
)

LOADERS = [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)]


@pytest.fixture(params=LOADERS, ids=["python", "c"])
def loader(request):
    return request.param


def issues_of(data, loader):
    document = parse_yaml(data if isinstance(data, bytes) else data.encode(), loader)
    return sorted(
        f"{each.line}:{each.column}: {each.where}: {each.message}; {each.hint}"
        for each in document.issues
    )


def test_c_parser_is_used_if_available():
    assert getattr(yaml, "CSafeLoader", yaml.SafeLoader) is LOADER


def test_values_follow_yaml_1_1(loader):
    text = (
        "text: a b\nquoted: '1'\n'yes': yes\ncount: 7\noctal: 010\nshare: 0.5\n"
        "nothing:\ntilde: ~\nday: 2027-03-31\ninstant: 2027-03-31 10:00:00\n"
        f"list: [1, a]\nmap: {{a: off, '<<': b}}\nlong: {'1' * 100}\n"
    )
    document = parse_yaml(text.encode(), loader)
    assert document.issues == []
    assert document.root is not None
    assert document.root.value == {
        "text": "a b",
        "quoted": "1",
        "yes": True,
        "count": 7,
        "octal": 8,
        "share": 0.5,
        "nothing": Placeholder.EMPTY,
        "tilde": Placeholder.EMPTY,
        "day": date(2027, 3, 31),
        "instant": datetime(2027, 3, 31, 10, 0),  # noqa: DTZ001 — YAML's own, without a zone
        "list": (1, "a"),
        "map": {"a": False, "<<": "b"},
        "long": int("1" * 100),
    }


def position(document, index):
    issue = document.issue(index, (), "", "")
    return issue.line, issue.column


def test_every_value_has_the_position_where_it_starts(loader):
    document = parse_yaml("# hä\na:\n  - b: 1\n    c: [x, 'ÿ', z]\r\nd: {e: f}\n".encode(), loader)
    positions = {
        path: position(document, document.find(path)[0].index)
        for path in [("a",), ("a", 0), ("a", 0, "b"), ("a", 0, "c", 2), ("d", "e")]
    }
    assert positions == {
        ("a",): (3, 3),
        ("a", 0): (3, 5),
        ("a", 0, "b"): (3, 8),
        ("a", 0, "c", 2): (4, 17),
        ("d", "e"): (5, 8),
    }
    assert position(document, document.find(("a", 0, "c"))[0].key_index) == (4, 5)


def test_find_with_a_missing_path_returns_the_deepest_value(loader):
    document = parse_yaml(b"a: {b: c}\n", loader)
    node, path = document.find(("a", "b", "x", 3))
    assert (node.value, path) == ("c", ("a", "b"))


IS_ALIAS = "is an alias, which is not supported; …"
NOT_ALLOWED = "is not allowed in a policy; remove it"
DATE = "a date, but that date does not exist; rewrite it, or quote it if it is a string"
NUMBER = "a number, but is not a usable one; …"
BASE_60 = "is read as a number in base 60; write it without colons, or quote it if it is a string"
CR = "2:4: policy: a carriage return without a line feed is not allowed in a policy; end each …"
KEY = "is used as a key; write a string, quoted if necessary"
TAG = "1:4: a: has the tag `…`; remove it; tags are not supported"
UNQUOTED = "is not quoted; quote the string"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Bytes and characters
        (b"a: b\nc: \xc3\xa4\xff\n", ["2:5: policy: the file is not UTF-8 text; save it as UTF-8"]),
        ("a: b".encode("utf-16"), ["1:1: policy: the file is not UTF-8 text; …"]),
        *(
            (f"a: b\nc: x{character}y\n", [f"2:5: policy: `\\…` {NOT_ALLOWED}"])
            for character in "\x00\x07\x1b\x7f\x80\ufffe\ufeff"
        ),
        *(
            (f"a: b\r\n{line.format(character)}\n", [f"2:{column}: policy: `\\…` {NOT_ALLOWED}"])
            for character in "\x85\u2028\u2029\u061c\u200e\u200f\u202a\u202e\u2066\u2069"
            for line, column in (("c: x{}y", 5), ("# it{}s", 5), ("'q{}': x", 3), ('"{}": x', 2))
        ),
        *((f"a: b # {character}\n", []) for character in "\u2027\u202f\u2065\u206a\u00ad\u200b"),
        ("a: b\n# c\rrules: []\n", [CR]),
        ("a: b\n# c\r", [CR]),
        ("a: b\r\n# c\r\r\n", [CR]),
        ("\ufeffa: *b\n", [f"1:4: a: `*b` {IS_ALIAS}"]),
        ("\ufeff\ufeff- a: b\n", [f"1:1: policy: `\\ufeff` {NOT_ALLOWED}"]),
        ("# comment\n\ufeff- a: b\n", [f"2:1: policy: `\\ufeff` {NOT_ALLOWED}"]),
        # Aliases, tags, documents
        ("a: &x [1]\n", []),
        (
            "a: &x [1]\nb: *x\nc: [*x, *unknown]\n",
            [
                (
                    "2:4: b: `*x` is an alias, which is not supported; write the value out; "
                    "strings that start with `*` need quotes"
                ),
                f"3:5: c[0]: `*x` {IS_ALIAS}",
                f"3:9: c[1]: `*unknown` {IS_ALIAS}",
            ],
        ),
        *(
            (f"a: {tag} {value}\n", [TAG])
            for tag in (
                "!!python/object/apply:os.system",
                "!!str",
                "!!binary",
                "!mine",
                "!<x>",
                "!",
            )
            for value in ("x", "[x]", "{x: y}")
        ),
        (
            "a: b\n---\nc: d\n",
            ["2:1: policy: a second document starts here; keep one document in the file"],
        ),
        *(
            (text, ["1:1: policy: the file is empty; start with `version: 1`"])
            for text in ("", "\n", "# a comment\n", "---\n", "~\n", "--- # nothing\n...")
        ),
        # Keys
        (
            "a: 1\nb: {c: 1, c: 2}\n'a': [*x]\n",
            [
                "2:11: b.c: is set twice (first in line 2); keep one",
                "3:1: a: is set twice (first in line 1); keep one",
                f"3:7: a[0]: `*x` {IS_ALIAS}",
            ],
        ),
        ("on: 1\n", [f"1:1: policy: `on` {KEY}"]),
        ("12: 1\n", [f"1:1: policy: `12` {KEY}, and numbers without commas"]),
        ("~: 1\n", [f"1:1: policy: `~` {KEY}"]),
        ("2027-03-31: 1\n", [f"1:1: policy: `2027-03-31` {KEY}"]),
        ("? [a]\n: 1\n", [f"1:3: policy: a list or mapping {KEY}"]),
        ("? {a: b}\n: 1\n", [f"1:3: policy: a list or mapping {KEY}"]),
        (
            "a: {<<: {b: c}}\n",
            ["1:5: a.?: `<<` is read as a merge key, which is not supported; …"],
        ),
        # Values
        ("a: 2027-02-31\n", [f"1:4: a: `2027-02-31` is read as {DATE}"]),
        ("a: 2027-13-01 10:00:00\n", [f"1:4: a: `2027-13-01 10:00:00` is read as {DATE}"]),
        ("a: 2001-12-14t21:59:43.10-99:99\n", [f"1:4: a: `2001-12-14t…` is read as {DATE}"]),
        ("a: 0b_\n", [f"1:4: a: `0b_` is read as {NUMBER}"]),
        (f"a: {'1' * 101}\n", [f"1:4: a: `{'1' * 60}…` is read as {NUMBER}"]),
        (f"a: {'1' * 5_000}\n", [f"1:4: a: `{'1' * 60}…` is read as {NUMBER}"]),
        ("a: =\n", ["1:4: a: `=` is read as a default key, which is not supported; …"]),
        ("a: <<\n", ["1:4: a: `<<` is read as a merge key, which is not supported; …"]),
        ("a: 1:30\n", [f"1:4: a: `1:30` {BASE_60}"]),
        (f"a: 1:1{':1' * 200}\n", [f"1:4: a: `…` {BASE_60}"]),
        (f"a: 1{':1' * 200}.0\n", [f"1:4: a: `…` {BASE_60}"]),
        ("a: '1:30'\n", []),
        # Syntax
        (
            "a: [*@x.com]\n",
            ['1:5: policy: a string that starts with `*` is not quoted; quote it: "*@example.com"'],
        ),
        ("a: *\n", ["1:4: policy: a string that starts with `*` is not quoted; …"]),
        ("a: &\n", [f"1:4: policy: a string that starts with `&` {UNQUOTED}"]),
        ("a: @x\n", [f"1:4: policy: a string that starts with `@` {UNQUOTED}"]),
        ("a: `x`\n", [f"1:4: policy: a string that starts with ``` {UNQUOTED}"]),
        ("a: %x\n", [f"1:4: policy: a string that starts with `%` {UNQUOTED}"]),
        ("a:\n\tb: c\n", ["2:1: policy: a tab is used for indentation; indent with spaces"]),
        ("a: b: c\n", ["1:5: policy: unexpected colon; …"]),
        ("a: 1\nb\nc: d\n", ["2:1: policy: a key is not followed by a colon; …"]),
        ("a: 'x\nb: c\n", ["1:4: policy: a quoted string is not closed; close the quotes"]),
        ('a: "\\q"\n', ["1:…: policy: a quoted string contains an unknown escape; …"]),
        ("a: [b\nc: d\n", ["2:2: policy: a list in brackets is not closed or lacks a comma; …"]),
        ("a: {b: c]\n", ["1:9: policy: a mapping in braces is not closed or lacks a comma; …"]),
        ("a: >x\n b\n", [f"1:5: policy: a string that starts with `|` or `>` {UNQUOTED}"]),
        ("a:\n  - b\n c: d\n", ["3:2: policy: the indentation does not match the lines above; …"]),
        ("[a, b]]\n", ["1:7: policy: unexpected text after the end of a value; …"]),
        ("a: !x!y z\n", ["1:4: policy: the file is not valid YAML; …"]),
        (
            "a: *x\nb: [\n",
            [f"1:4: a: `*x` {IS_ALIAS}", "3:1: policy: the file is not valid YAML; …"],
        ),
        ('a: "\\UFFFFFFFF"\n', ["1:…: policy: …"]),
        (f"%YAML 1.{'9' * 5_000}\n---\na: b\n", ["1:…: policy: …"]),
    ],
)
def test_issue_has_its_position_cause_and_fix(text, expected, loader):
    found = issues_of(text, loader)
    assert len(found) == len(expected), found
    for line, pattern in zip(found, expected, strict=True):
        assert re.fullmatch(".*".join(map(re.escape, pattern.split("…"))), line), line
        assert len(line) < 250


def test_half_a_surrogate_pair_is_an_error(loader):
    (error,) = issues_of('a: "\\ud800"\n', loader)
    assert "half a surrogate pair" in error or "unknown escape" in error


def test_first_value_of_a_duplicate_key_is_kept(loader):
    document = parse_yaml(b"a: 1\nb: {c: 1, c: 2}\n'a': 3\n", loader)
    assert document.root is not None
    assert document.root.value == {"a": 1, "b": {"c": 1}}


def test_file_of_one_mib_is_read_and_one_byte_more_is_refused(loader):
    head = b"a: b\n#"
    full = head + b"x" * (MAX_BYTES - len(head))
    assert issues_of(full, loader) == []
    assert issues_of(full + b"x", loader) == [
        "1:1: policy: the file is larger than 1 MiB; split or shorten the policy"
    ]


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}")])
def test_twenty_levels_are_read_and_twenty_one_are_refused(opening, closing, loader):
    assert issues_of(opening * MAX_DEPTH + closing * MAX_DEPTH, loader) == []
    (error,) = issues_of(opening * (MAX_DEPTH + 1) + closing * (MAX_DEPTH + 1), loader)
    position = f"1:{MAX_DEPTH * len(opening) + 1}"
    assert error == f"{position}: policy: the nesting exceeds 20 levels; reduce the nesting"


@pytest.mark.parametrize("opening", ["[", "- ", "{a: ", "? "])
def test_nesting_of_100000_levels_is_an_error_not_a_recursion_error(opening, loader):
    (error,) = issues_of(opening * 100_000, loader)
    assert "reduce the nesting" in error


def test_exponential_aliases_are_not_expanded(loader):
    levels = "\n".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" if n else "a0: &a0 [x]" for n in range(12)
    )
    assert len(issues_of(levels, loader)) == 9 * 11
