"""Plural forms, durations, dates, values that are shown, names that look the same, commands."""

import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper import text as texts
from invite_sweeper.cli.main import called_as
from invite_sweeper.json_text import parse_timestamp, replace_halves, to_json
from invite_sweeper.report.csv_rows import neutralize_formula
from invite_sweeper.text import (
    Globs,
    IdsAndGlobs,
    casefold_lookalike,
    casefold_visible,
    describe_duration,
    escape_unprintable,
    organization_label,
    plural_form,
    pluralize,
    shorten_list,
    truncate,
)


def seconds(number):
    return describe_duration(timedelta(seconds=number))


DURATIONS = {1.9: "1 second", 119: "119 seconds", 120: "2 minutes", 7_199: "119 minutes"}
DURATIONS |= {7_200: "2 hours", 172_799: "47 hours", 172_800: "2 days", 259_199: "2 days"}
GUS = "gus@board.example"
FULL_WIDTH_A = "\uff21"
EXAMPLES = [
    *((pluralize, (n, "run"), text) for n, text in enumerate(["0 runs", "1 run", "2 runs"])),
    (pluralize, (1_000, "entry", "entries"), "1,000 entries"),
    *((plural_form, (n, "is", "are"), verb) for n, verb in enumerate(["are", "is", "are"])),
    (shorten_list, (["a", "b", "c"], 3), "a, b, c"),
    (shorten_list, (["a", "b", "c"], 2), "a, b and 1 more"),
    *((seconds, (number,), text) for number, text in DURATIONS.items()),
    (organization_label, ("id", "Example"), "Example (id)"),
    (organization_label, ("id", ""), "id"),
    # A cell that starts a formula gets an apostrophe, whatever white space is before.
    *(
        (neutralize_formula, (f"{start}1",), f"'{start}1")
        for start in (
            *"=+-@\t\r\n\uff1d\uff0b\uff0d\uff20",
            *("  =", "\u00a0=", " \u3000\t=", "\v="),
        )
    ),
    *((neutralize_formula, (text,), text) for text in ("", "1-1", "  ann@example.com", "'=1")),
    (truncate, ("x" * 500,), "x" * 500),
    (truncate, ("x" * 1501,), "x" * 500 + "\u2026 (1,501 characters)"),
    (truncate, ("abcd", 3), "abc\u2026 (4 characters)"),
    (parse_timestamp, ("2026-11-25T03:00:00+02:00",), datetime(2026, 11, 25, 1, tzinfo=UTC)),
    *(
        (parse_timestamp, (value,), None)
        for value in (None, "2026-11-25T03:00:00", "soon", "0001-01-01T00:00+14:00")
    ),
    (
        escape_unprintable,
        ("a\u202eb\x07\ud800\ue000\u2028\u2029\u0378",),
        "a[U+202E]b[U+0007][U+D800][U+E000][U+2028][U+2029][U+0378]",
    ),
    (
        replace_halves,
        (rb'"\ud83d\uDE00 \uD800 \udc80\ud800"',),
        rb'"\ud83d\uDE00 \ufffd \ufffd\ufffd"',
    ),
    (replace_halves, (rb'"\\ud800 \\\ud800\ud83d\ude00\n"',), rb'"\\ud800 \\\ufffd\ud83d\ude00\n"'),
    (to_json, ({"\udc80": ["\u00e9\ud800", 1.5]},), '{"\ufffd":["\u00e9\ufffd",1.5]}'.encode()),
    (replace_halves, (rb'"\ud8"',), rb'"\ud8"'),
    (escape_unprintable, ("gr\u00fc\u00dfe\u00a0",), "gr\u00fc\u00dfe\u00a0"),
    # Case, composition and format characters are ignored.
    (casefold_visible, (" ADA@Example.com ",), "ada@example.com"),
    (casefold_visible, ("Z\u200boe\u0308",), "zo\u00eb"),
    (casefold_visible, ("\u00a0STRASSE\u00a0",), "strasse"),
    (casefold_visible, ("stra\u00dfe",), "strasse"),
    (casefold_visible, ("\u1e9e",), "ss"),
    (casefold_lookalike, (FULL_WIDTH_A * 4096,), "a" * 4096),
    (casefold_lookalike, (FULL_WIDTH_A * 4097,), "\uff41" * 4097),
    (casefold_lookalike, (" Ada@EXAMPLE.com ",), "ada@example.com"),
    *((casefold_lookalike, (name,), name) for name in ("x@y@z.example", "prod.", "")),
    (casefold_lookalike, (f"{GUS}..",), f"{GUS}."),
    # Punycode is decoded in the labels of the domain alone.
    (casefold_lookalike, ("XN--bcher-KVA.example",), "b\u00fccher.example"),
    (casefold_lookalike, ("x@xn--bcher-kva.example",), "x@b\u00fccher.example"),
    (casefold_lookalike, ("x@m.xn--bcher-kva.xn--bcher-kva",), "x@m.b\u00fccher.b\u00fccher"),
    (casefold_lookalike, ("xn--bcher-kva@example.com",), "xn--bcher-kva@example.com"),
    (casefold_lookalike, ("x@xn--\u00fc.example",), "x@xn--\u00fc.example"),
    (casefold_lookalike, ("x@y@xn--bcher-kva",), "x@y@b\u00fccher"),
]


@pytest.mark.parametrize(("function", "words", "result"), EXAMPLES)
def test_function_returns_the_result_of_its_example(function, words, result):
    assert function(*words) == result


# Names --------------------------------------------------------------------------------------------


PROJECT = "6a793fd0c0eb9e7a177181d4"


INVISIBLE = (
    "\u034f\u200b\u00ad\u115f\u1160\u17b4\u17b5\u180b\u180f\u2065\u2800\u3164\ufe00\ufe0f\uffa0"
    "\ufff0\ufff8\U000e0000\U000e0fff\x00\x07\x1f\x7f\x85\x9f"
)
LOOKALIKES = [
    *(f"gus@boa{each}rd.example" for each in INVISIBLE),
    *(f"\x07{GUS}", f" \x08 {GUS}", f"{GUS}\u3164", f"{GUS}.", f"{GUS}.\u200b"),
    *("gus@board\uff0eexample\uff0e", "gus@board\u3002example", "gus@BOARD\uff0eexample"),
    "\uff27us@board.example",
]
DIFFERENT = ["gus@board\u033fexample", "gus\u1161@board.example", f"{GUS}\u2801", f"{GUS}.x"]
BRACKETS = ["Sandbox [old]", "[draft]", "a[!b]c", "[", "x]", "[]*?"]


def test_names_that_look_the_same_have_one_form():
    assert {casefold_lookalike(name) for name in LOOKALIKES} == {GUS}


@pytest.mark.parametrize(
    ("protects", "globs", "matching", "others"),
    [
        (False, ["a*", "?b"], ["ABC", "xb"], ["xbc", "c"]),
        (False, ["[ab]da@x.com"], ["bda@x.com"], ["[ab]da@x.comm"]),
        (False, ["[ab]da*"], [], ["[ab]data"]),
        (False, [], [], [""]),
        (True, [], [], ["", "x"]),
        (True, ["z*", "*@b\u00fccher.example"], ["x@xn--bcher-kva.example"], ["y@example.com"]),
        (True, ["*@board.example."], [GUS], ["gus@other.example"]),
        (True, [GUS], LOOKALIKES, DIFFERENT),
        (True, ["*@xn--*.example"], ["ada@xn--bcher-kva.example"], []),
        *(
            (protects, ["other", name], [name, name.upper()], ["another"])
            for name in BRACKETS
            for protects in (False, True)
        ),
    ],
)
def test_globs_match_whole_names(protects, globs, matching, others):
    found = Globs(globs, protects=protects)
    assert [name for name in (*matching, *others) if found.matches(name)] == matching


NO_ID = "0" * 24


@pytest.mark.parametrize(
    ("entry", "matching", "others"),
    [
        *(
            (entry, [(PROJECT, "x"), (PROJECT.upper(), "x")], [(NO_ID, PROJECT)])
            for entry in (PROJECT, PROJECT.upper(), f" {PROJECT} ")
        ),
        # A glob is compared with names alone.
        ("*7a17*", [(NO_ID, PROJECT)], [(PROJECT, "x")]),
        (f"{PROJECT}0", [(NO_ID, f"{PROJECT}0")], [(PROJECT, "x")]),
        *((glob, [], [(PROJECT, "x")]) for glob in (PROJECT[:23], f"{PROJECT[:23]}?")),
        *((name, [(PROJECT, name)], []) for name in BRACKETS),
        ("prod-*", [(PROJECT, "Prod-web")], [(PROJECT, "\uff50rod-web")]),
    ],
)
def test_id_is_compared_with_ids_alone_and_a_glob_with_names(entry, matching, others):
    found = IdsAndGlobs([entry])
    assert [each for each in (*matching, *others) if found.matches(*each)] == matching


@given(st.text(max_size=30))
def test_every_name_that_a_plain_glob_matches_is_protected(name):
    pattern = "".join(f"[{c}]" if c in "*?[" else c for c in name)
    if Globs([pattern]).matches(name):
        assert Globs([pattern], protects=True).matches(name)


def test_protective_project_patterns_also_match_names_that_look_the_same():
    assert IdsAndGlobs(["prod-*"], protects=True).matches(PROJECT, "\uff50rod-web")


# Printed commands ---------------------------------------------------------------------------------


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "bin" / "invite-sweeper"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("found", "shown"), [("same", "invite-sweeper"), ("none", "{script}"), ("another", "{script}")]
)
def test_script_is_named_if_the_path_finds_it_and_else_printed_as_it_was_called(
    monkeypatch, tmp_path, script, found, shown
):
    folder = tmp_path / "other"
    folder.mkdir()
    if found == "another":
        shutil.copy(script, folder)
    monkeypatch.setenv("PATH", str(script.parent if found == "same" else folder))
    assert called_as(str(script)) == shown.format(script=script)


@pytest.mark.parametrize("name", ["/x/invite_sweeper/__main__.py", ""])
def test_module_and_name_are_printed_as_the_name(name):
    assert called_as(name) == "invite-sweeper"


def test_printed_command_begins_as_the_program_was_called_and_can_be_pasted(monkeypatch):
    monkeypatch.setattr(texts.PROGRAM, "called_as", "/opt/my tools/invite-sweeper")
    printed = texts.shell_command("plan", "--out", "a b")
    assert printed == "'/opt/my tools/invite-sweeper' plan --out 'a b'"


def test_hint_of_wrong_usage_begins_as_the_program_was_called(script):
    script.write_text("from invite_sweeper.cli import main\nmain()\n", encoding="utf-8")
    words = [sys.executable, script, "--unknown"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={"PATH": ""})
    assert (done.returncode, f"See: {script} --help" in done.stderr) == (2, True), done.stderr
