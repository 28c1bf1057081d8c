"""YAML that a policy does not allow is reported with its position by both parsers."""

from datetime import date, datetime

import pytest
import yaml

from invite_sweeper.policy.messages import Placeholder, format_path
from invite_sweeper.policy.yaml_reader import LOADER, MAX_BYTES, MAX_DEPTH, parse_yaml

LOADERS = [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)]


@pytest.fixture(params=LOADERS, ids=["python", "c"])
def loader(request):
    return request.param


def issues_of(data, loader):
    document = parse_yaml(data if isinstance(data, bytes) else data.encode(), loader)
    return sorted(
        "{}:{}: {}: {}; {}".format(
            *document.position(issue.index), format_path(issue.path), issue.message, issue.hint
        )
        for issue in document.issues
    )


def test_c_parser_is_used_if_available():
    assert getattr(yaml, "CSafeLoader", yaml.SafeLoader) is LOADER


def test_values_follow_yaml_1_1(loader):
    text = (
        "text: a b\nquoted: '1'\n'yes': yes\ncount: 7\noctal: 010\nshare: 0.5\n"
        "nothing:\ntilde: ~\nday: 2027-03-31\ninstant: 2027-03-31 10:00:00\n"
        "list: [1, a]\nmap: {a: off}\n"
    )
    document = parse_yaml(text.encode(), loader)
    assert document.issues == ()
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
        "map": {"a": False},
    }


def test_every_value_has_the_position_where_it_starts(loader):
    document = parse_yaml("# hä\na:\n  - b: 1\n    c: [x, 'ÿ', z]\r\nd: {e: f}\n".encode(), loader)
    positions = {
        path: document.position(document.find(path)[0].index)
        for path in [("a",), ("a", 0), ("a", 0, "b"), ("a", 0, "c", 2), ("d", "e")]
    }
    assert positions == {
        ("a",): (3, 3),
        ("a", 0): (3, 5),
        ("a", 0, "b"): (3, 8),
        ("a", 0, "c", 2): (4, 17),
        ("d", "e"): (5, 8),
    }
    assert document.position(document.find(("a", 0, "c"))[0].key_index) == (4, 5)


def test_find_with_a_missing_path_returns_the_deepest_value(loader):
    document = parse_yaml(b"a: {b: c}\n", loader)
    node, path = document.find(("a", "b", "x", 3))
    assert (node.value, path) == ("c", ("a", "b"))


def test_byte_order_mark_does_not_shift_columns(loader):
    assert issues_of("\ufeffa: *b\n", loader)[0].startswith("1:4: a: ")


@pytest.mark.parametrize("text", ["", "\n", "# a comment\n", "---\n", "~\n", "--- # nothing\n..."])
def test_file_without_a_value_is_reported_as_empty(text, loader):
    assert issues_of(text, loader) == ["1:1: policy: the file is empty; start with `version: 1`"]


def test_file_of_one_mib_is_read_and_one_byte_more_is_refused(loader):
    head = b"a: b\n#"
    full = head + b"x" * (MAX_BYTES - len(head))
    assert issues_of(full, loader) == []
    assert issues_of(full + b"x", loader) == [
        "1:1: policy: the file is larger than 1 MiB; split or shorten the policy"
    ]


def test_bytes_that_are_not_utf_8_are_reported_with_position(loader):
    assert issues_of(b"a: b\nc: \xc3\xa4\xff\n", loader) == [
        "2:5: policy: the file is not UTF-8 text; save it as UTF-8"
    ]
    assert issues_of("a: b".encode("utf-16"), loader)[0].startswith(
        "1:1: policy: the file is not UTF-8"
    )


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b", "\x7f", "\x80", "\ufffe", "\ufeff"])
def test_forbidden_character_is_reported_with_position(character, loader):
    (error,) = issues_of(f"a: b\nc: x{character}y\n", loader)
    assert error.startswith("2:5: policy: `\\")
    assert error.endswith("` is not allowed in a policy; remove it")


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        ("\x85", "`\\x85`"),
        ("\u2028", "`\\u2028`"),
        ("\u2029", "`\\u2029`"),
        ("\u061c", "`\\u061c`"),
        ("\u200e", "`\\u200e`"),
        ("\u200f", "`\\u200f`"),
        ("\u202a", "`\\u202a`"),
        ("\u202e", "`\\u202e`"),
        ("\u2066", "`\\u2066`"),
        ("\u2069", "`\\u2069`"),
    ],
)
@pytest.mark.parametrize("line", ["c: x{}y", "# it{}s", "'q{}': x", '"{}": x'])
def test_character_that_hides_or_ends_a_line_for_some_readers_is_refused(
    line, character, shown, loader
):
    column = line.index("{") + 1
    (error,) = issues_of(f"a: b\r\n{line.format(character)}\n", loader)
    assert error == f"2:{column}: policy: {shown} is not allowed in a policy; remove it"


@pytest.mark.parametrize("text", ["a: b\n# c\rrules: []\n", "a: b\n# c\r", "a: b\r\n# c\r\r\n"])
def test_carriage_return_without_a_line_feed_is_refused(text, loader):
    (error,) = issues_of(text, loader)
    assert error == (
        "2:4: policy: a carriage return without a line feed is not allowed in a policy; "
        "end each line with LF or CR LF"
    )


@pytest.mark.parametrize("character", ["\u2027", "\u202f", "\u2065", "\u206a", "\u00ad", "\u200b"])
def test_other_characters_are_allowed_in_a_comment(character, loader):
    assert issues_of(f"a: b # {character}\n", loader) == []


@pytest.mark.parametrize("before", ["\ufeff", "a: b\n", "# comment\n", "'"])
def test_byte_order_mark_inside_the_file_is_refused(before, loader):
    (error,) = issues_of(f"{before}\ufeff- a: b\n", loader)
    assert error.endswith("`\\ufeff` is not allowed in a policy; remove it")


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}")])
def test_twenty_levels_are_read_and_twenty_one_are_refused(opening, closing, loader):
    assert issues_of(opening * MAX_DEPTH + closing * MAX_DEPTH, loader) == []
    (error,) = issues_of(opening * (MAX_DEPTH + 1) + closing * (MAX_DEPTH + 1), loader)
    assert "is nested more than 20 levels deep; reduce the nesting" in error


@pytest.mark.parametrize("opening", ["[", "- ", "{a: ", "? "])
def test_nesting_of_100000_levels_is_an_error_not_a_recursion_error(opening, loader):
    (error,) = issues_of(opening * 100_000, loader)
    assert "reduce the nesting" in error


def test_every_alias_is_an_error_but_anchors_are_not(loader):
    hint = "write the value out; strings that start with `*` need quotes"
    assert issues_of("a: &x [1]\nb: *x\nc: [*x, *unknown]\n", loader) == [
        f"{where}: `{alias}` is an alias, which is not supported; {hint}"
        for where, alias in (("2:4: b", "*x"), ("3:5: c[0]", "*x"), ("3:9: c[1]", "*unknown"))
    ]


def test_exponential_aliases_are_not_expanded(loader):
    levels = "\n".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" if n else "a0: &a0 [x]" for n in range(12)
    )
    assert len(issues_of(levels, loader)) == 9 * 11


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!!str", "!!binary", "!mine", "!<x>", "!"]
)
@pytest.mark.parametrize("value", ["x", "[x]", "{x: y}"])
def test_tag_on_any_value_is_an_error(tag, value, loader):
    (error,) = issues_of(f"a: {tag} {value}\n", loader)
    assert error.startswith("1:4: a: has the tag `")
    assert error.endswith("`; remove it; tags are not supported")


def test_second_document_is_an_error_where_it_starts(loader):
    assert issues_of("a: b\n---\nc: d\n", loader) == [
        "2:1: policy: a second document starts here; keep one document in the file"
    ]


def test_duplicate_key_is_reported_where_it_repeats(loader):
    document = parse_yaml(b"a: 1\nb: {c: 1, c: 2}\n'a': 3\n", loader)
    assert issues_of("a: 1\nb: {c: 1, c: 2}\n'a': 3\n", loader) == [
        "2:11: b.c: is set twice (first in line 2); keep one",
        "3:1: a: is set twice (first in line 1); keep one",
    ]
    assert document.root is not None
    assert document.root.value == {"a": 1, "b": {"c": 1}}


def test_errors_inside_a_duplicate_key_are_reported(loader):
    assert len(issues_of("a: 1\na: [*x]\n", loader)) == 2


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("on", "`on`"),
        ("12", "`12`"),
        ("~", "`~`"),
        ("2027-03-31", "`2027-03-31`"),
        ("? [a]\n", "a list or mapping"),
        ("? {a: b}\n", "a list or mapping"),
    ],
)
def test_key_that_is_not_a_string_is_an_error(key, shown, loader):
    column = 3 if key.startswith("?") else 1
    (error,) = issues_of(f"{key}: 1\n", loader)
    assert error.startswith(f"1:{column}: policy: {shown} is used as a key; write a string, quoted")


def test_merge_key_is_an_error_unless_quoted(loader):
    (error,) = issues_of("a: {<<: {b: c}}\n", loader)
    assert error.startswith("1:5: a.?: `<<` is read as a merge key, which is not supported; ")
    assert issues_of("a: {'<<': {b: c}}\n", loader) == []


@pytest.mark.parametrize(
    ("value", "read_as"),
    [
        ("2027-02-31", "a date, but that date does not exist"),
        ("2027-13-01 10:00:00", "a date, but that date does not exist"),
        ("2001-12-14t21:59:43.10-99:99", "a date, but that date does not exist"),
        ("0b_", "a number, but is not a usable one"),
        ("1" * 101, "a number, but is not a usable one"),
        ("1" * 5_000, "a number, but is not a usable one"),
        ("=", "a default key, which is not supported"),
        ("<<", "a merge key, which is not supported"),
    ],
)
def test_unusable_number_or_date_is_an_error_with_a_hint(value, read_as, loader):
    (error,) = issues_of(f"a: {value}\n", loader)
    assert error.startswith("1:4: a: `")
    assert error.endswith(f"is read as {read_as}; rewrite it, or quote it if it is a string")
    assert len(error) < 250


@pytest.mark.parametrize("value", ["1:30", "1:1" + ":1" * 200, "1" + ":1" * 200 + ".0"])
def test_number_in_base_60_is_an_error(value, loader):
    (error,) = issues_of(f"a: {value}\n", loader)
    assert "` is read as a number in base 60; write it without colons, or quote it" in error
    assert issues_of(f"a: '{value}'\n", loader) == []


def test_number_of_100_digits_is_read(loader):
    document = parse_yaml(b"a: " + b"1" * 100, loader)
    assert document.root is not None
    assert document.root.value == {"a": int("1" * 100)}


def test_half_a_surrogate_pair_is_an_error(loader):
    (error,) = issues_of('a: "\\ud800"\n', loader)
    assert "half a surrogate pair" in error or "unknown escape" in error


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("a: [*@x.com]\n", "1:5", "a string that starts with `*` is not quoted"),
        ("a: *\n", "1:4", "a string that starts with `*` is not quoted"),
        ("a: &\n", "1:4", "a string that starts with `&` is not quoted"),
        ("a: @x\n", "1:4", "a string that starts with `@` is not quoted"),
        ("a: `x`\n", "1:4", "a string that starts with ``` is not quoted"),
        ("a: %x\n", "1:4", "a string that starts with `%` is not quoted"),
        ("a:\n\tb: c\n", "2:1", "a tab is used for indentation"),
        ("a: b: c\n", "1:5", "unexpected colon"),
        ("a: 1\nb\nc: d\n", "2:1", "a key is not followed by a colon"),
        ("a: 'x\nb: c\n", "1:4", "a quoted string is not closed"),
        ('a: "\\q"\n', None, "a quoted string contains an unknown escape"),
        ("a: [b\nc: d\n", "2:2", "a list in brackets is not closed or lacks a comma"),
        ("a: {b: c]\n", "1:9", "a mapping in braces is not closed or lacks a comma"),
        ("a: >x\n b\n", "1:5", "a string that starts with `|` or `>` is not quoted"),
        ("a:\n  - b\n c: d\n", "3:2", "the indentation does not match the lines above"),
        ("[a, b]]\n", "1:7", "unexpected text after the end of a value"),
        ("a: !x!y z\n", "1:4", "the file is not valid YAML"),
    ],
)
def test_syntax_error_is_reported_with_cause_and_position(text, position, message, loader):
    (error,) = issues_of(text, loader)
    assert f": policy: {message}; " in error
    assert position is None or error.startswith(f"{position}: ")


def test_errors_before_a_syntax_error_are_also_reported(loader):
    assert [error.split(":")[0] for error in issues_of("a: *x\nb: [\n", loader)] == ["1", "3"]


@pytest.mark.parametrize("text", ['a: "\\UFFFFFFFF"\n', f"%YAML 1.{'9' * 5_000}\n---\na: b\n"])
def test_escape_or_version_with_too_large_a_number_is_an_error(text, loader):
    (error,) = issues_of(text, loader)
    assert ": policy: " in error
