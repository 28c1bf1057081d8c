"""What YAML allows and a policy does not, told with its place, by either parser."""

from datetime import date, datetime

import pytest
import yaml

from invite_sweeper.policy.messages import Placeholder, format_path
from invite_sweeper.policy.yaml_reader import LOADER, MAX_BYTES, MAX_DEPTH, parse_yaml

LOADERS = [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)]


@pytest.fixture(params=LOADERS, ids=["python", "c"])
def loader(request):
    return request.param


def said(data, loader):
    document = parse_yaml(data if isinstance(data, bytes) else data.encode(), loader)
    return sorted(
        "{}:{}: {}: {}; {}".format(
            *document.position(flaw.index), format_path(flaw.path), flaw.message, flaw.hint
        )
        for flaw in document.issues
    )


def test_the_parser_in_c_is_used_where_there_is_one():
    assert getattr(yaml, "CSafeLoader", yaml.SafeLoader) is LOADER


def test_values_are_those_of_yaml_1_1(loader):
    text = (
        "text: a b\nquoted: '1'\n'yes': yes\ncount: 7\noctal: 010\nbase60: 1:30\nshare: 0.5\n"
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
        "base60": 90,
        "share": 0.5,
        "nothing": Placeholder.EMPTY,
        "tilde": Placeholder.EMPTY,
        "day": date(2027, 3, 31),
        "instant": datetime(2027, 3, 31, 10, 0),  # noqa: DTZ001 — YAML's own, without a zone
        "list": (1, "a"),
        "map": {"a": False},
    }


def test_every_value_has_the_place_where_it_begins(loader):
    document = parse_yaml("# hä\na:\n  - b: 1\n    c: [x, 'ÿ', z]\r\nd: {e: f}\n".encode(), loader)
    places = {
        path: document.position(document.find(path)[0].index)
        for path in [("a",), ("a", 0), ("a", 0, "b"), ("a", 0, "c", 2), ("d", "e")]
    }
    assert places == {
        ("a",): (3, 3),
        ("a", 0): (3, 5),
        ("a", 0, "b"): (3, 8),
        ("a", 0, "c", 2): (4, 17),
        ("d", "e"): (5, 8),
    }
    assert document.position(document.find(("a", 0, "c"))[0].key_index) == (4, 5)


def test_a_way_that_leads_nowhere_ends_at_the_deepest_value(loader):
    document = parse_yaml(b"a: {b: c}\n", loader)
    node, way = document.find(("a", "b", "x", 3))
    assert (node.value, way) == ("c", ("a", "b"))


def test_a_byte_order_mark_does_not_shift_the_columns(loader):
    assert said("\ufeffa: *b\n", loader)[0].startswith("1:4: a: ")


@pytest.mark.parametrize("text", ["", "\n", "# a remark\n", "---\n", "~\n", "--- # nothing\n..."])
def test_a_file_without_a_value_is_empty(text, loader):
    assert said(text, loader) == ["1:1: policy: the file is empty; begin with `version: 1`"]


def test_exactly_one_mib_is_read_and_one_byte_more_is_not(loader):
    head = b"a: b\n#"
    full = head + b"x" * (MAX_BYTES - len(head))
    assert said(full, loader) == []
    assert said(full + b"x", loader) == [
        "1:1: policy: the file is over 1 MiB; split the policy or shorten it"
    ]


def test_bytes_that_are_no_utf_8_are_told_with_their_place(loader):
    assert said(b"a: b\nc: \xc3\xa4\xff\n", loader) == [
        "2:5: policy: the file is no UTF-8 text; save it as UTF-8"
    ]
    assert said("a: b".encode("utf-16"), loader)[0].startswith("1:1: policy: the file is no UTF-8")


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b", "\x7f", "\x80", "\ufffe", "\ufeff"])
def test_a_character_that_may_not_be_there_is_told_with_its_place(character, loader):
    (fault,) = said(f"a: b\nc: x{character}y\n", loader)
    assert fault.startswith("2:5: policy: `\\")
    assert fault.endswith("` may not stand in a policy; remove it")


@pytest.mark.parametrize("before", ["\ufeff", "\u2028", "a: b\n", "# said\n", "'"])
def test_a_byte_order_mark_that_begins_no_file_is_refused(before, loader):
    (fault,) = said(f"{before}\ufeff- a: b\n", loader)
    assert fault.endswith("`\\ufeff` may not stand in a policy; remove it")


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}")])
def test_exactly_twenty_levels_are_read_and_one_more_is_not(opening, closing, loader):
    assert said(opening * MAX_DEPTH + closing * MAX_DEPTH, loader) == []
    (fault,) = said(opening * (MAX_DEPTH + 1) + closing * (MAX_DEPTH + 1), loader)
    assert "is over 20 levels deep; nest less" in fault


@pytest.mark.parametrize("opening", ["[", "- ", "{a: ", "? "])
def test_a_bottomless_file_is_a_fault_and_no_recursion_error(opening, loader):
    (fault,) = said(opening * 100_000, loader)
    assert "nest less" in fault


def test_every_alias_is_a_fault_of_its_own_and_its_anchor_is_none(loader):
    hint = "write the value out; a text that begins with `*` needs quotes"
    assert said("a: &x [1]\nb: *x\nc: [*x, *nobody]\n", loader) == [
        f"{where}: `{alias}` is an alias, and none is followed; {hint}"
        for where, alias in (("2:4: b", "*x"), ("3:5: c[0]", "*x"), ("3:9: c[1]", "*nobody"))
    ]


def test_aliases_that_would_explode_are_never_expanded(loader):
    levels = "\n".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" if n else "a0: &a0 [x]" for n in range(12)
    )
    assert len(said(levels, loader)) == 9 * 11


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!!str", "!!binary", "!mine", "!<x>", "!"]
)
@pytest.mark.parametrize("value", ["x", "[x]", "{x: y}"])
def test_every_tag_is_a_fault_on_any_kind_of_value(tag, value, loader):
    (fault,) = said(f"a: {tag} {value}\n", loader)
    assert fault.startswith("1:4: a: has the tag `")
    assert fault.endswith("`; remove it; tags are not read")


def test_a_second_document_is_a_fault_where_it_begins(loader):
    assert said("a: b\n---\nc: d\n", loader) == [
        "2:1: policy: a second document begins; keep one document in the file"
    ]


def test_a_key_that_stands_twice_is_told_where_it_repeats(loader):
    document = parse_yaml(b"a: 1\nb: {c: 1, c: 2}\n'a': 3\n", loader)
    assert said("a: 1\nb: {c: 1, c: 2}\n'a': 3\n", loader) == [
        "2:11: b.c: stands twice (first in line 2); keep one",
        "3:1: a: stands twice (first in line 1); keep one",
    ]
    assert document.root is not None
    assert document.root.value == {"a": 1, "b": {"c": 1}}


def test_faults_inside_what_stands_twice_are_told_too(loader):
    assert len(said("a: 1\na: [*x]\n", loader)) == 2


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
def test_a_key_that_is_no_text_is_a_fault(key, shown, loader):
    column = 3 if key.startswith("?") else 1
    (fault,) = said(f"{key}: 1\n", loader)
    assert fault.startswith(f"1:{column}: policy: {shown} stands as a key; write a text, in quotes")


def test_a_merge_key_is_a_fault_and_a_quoted_one_is_a_text(loader):
    (fault,) = said("a: {<<: {b: c}}\n", loader)
    assert fault.startswith("1:5: a.?: `<<` is taken for a merge key, and none is followed; ")
    assert said("a: {'<<': {b: c}}\n", loader) == []


@pytest.mark.parametrize(
    ("value", "taken_for"),
    [
        ("2027-02-31", "a date and is no day of the calendar"),
        ("2027-13-01 10:00:00", "a date and is no day of the calendar"),
        ("2001-12-14t21:59:43.10-99:99", "a date and is no day of the calendar"),
        ("0b_", "a number and is none that can be used"),
        ("1" * 101, "a number and is none that can be used"),
        ("1:1" + ":1" * 200, "a number and is none that can be used"),
        ("1" + ":1" * 200 + ".0", "a number and is none that can be used"),
        ("1" * 5_000, "a number and is none that can be used"),
        ("=", "a default value, and there is none"),
        ("<<", "a merge key, and none is followed"),
    ],
)
def test_a_value_that_yaml_mistakes_is_a_fault_with_the_way_out(value, taken_for, loader):
    (fault,) = said(f"a: {value}\n", loader)
    assert fault.startswith("1:4: a: `")
    assert fault.endswith(
        f"is taken for {taken_for}; write it out, or put it in quotes if it is a text"
    )
    assert len(fault) < 250


def test_a_number_of_one_hundred_digits_is_still_a_number(loader):
    document = parse_yaml(b"a: " + b"1" * 100, loader)
    assert document.root is not None
    assert document.root.value == {"a": int("1" * 100)}


def test_half_a_character_is_never_let_through(loader):
    (fault,) = said('a: "\\ud800"\n', loader)
    assert "half a character" in fault or "unknown escape" in fault


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("a: [*@x.com]\n", "1:5", "a text that begins with `*` stands without quotes"),
        ("a: *\n", "1:4", "a text that begins with `*` stands without quotes"),
        ("a: &\n", "1:4", "a text that begins with `&` stands without quotes"),
        ("a: @x\n", "1:4", "a text begins with `@` and stands without quotes"),
        ("a: `x`\n", "1:4", "a text begins with ``` and stands without quotes"),
        ("a: %x\n", "1:4", "a text begins with `%` and stands without quotes"),
        ("a:\n\tb: c\n", "2:1", "a tab stands where YAML wants spaces"),
        ("a: b: c\n", "1:5", "a colon stands where no key may be"),
        ("a: 1\nb\nc: d\n", "2:1", "a key has no colon after it"),
        ("a: 'x\nb: c\n", "1:4", "a text in quotes has no end"),
        ('a: "\\q"\n', None, "a text in quotes holds an unknown escape"),
        ("a: [b\nc: d\n", "2:2", "a list in brackets is not closed or lacks a comma"),
        ("a: {b: c]\n", "1:9", "a mapping in braces is not closed or lacks a comma"),
        ("a: >x\n b\n", "1:5", "a text begins with `|` or `>` and stands without quotes"),
        ("a:\n  - b\n c: d\n", "3:2", "the indentation does not fit the lines before"),
        ("[a, b]]\n", "1:7", "something stands after the end of a value"),
        ("a: !x!y z\n", "1:4", "the text is no valid YAML"),
    ],
)
def test_a_slip_of_syntax_is_told_in_plain_words_with_its_place(text, place, what, loader):
    (fault,) = said(text, loader)
    assert f": policy: {what}; " in fault
    assert place is None or fault.startswith(f"{place}: ")


def test_faults_before_a_slip_of_syntax_are_told_with_it(loader):
    assert [fault.split(":")[0] for fault in said("a: *x\nb: [\n", loader)] == ["1", "3"]


@pytest.mark.parametrize("text", ['a: "\\UFFFFFFFF"\n', f"%YAML 1.{'9' * 5_000}\n---\na: b\n"])
def test_numbers_that_no_character_or_version_has_are_faults(text, loader):
    (fault,) = said(text, loader)
    assert ": policy: " in fault
