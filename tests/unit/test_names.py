"""Names that look the same, and the globs and ids that select them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.text import Globs, IdsAndGlobs, casefold_lookalike, casefold_visible

PROJECT = "6a793fd0c0eb9e7a177181d4"
GUS = "gus@board.example"
FULL_WIDTH_A = "\uff21"
EXAMPLES = [
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


@pytest.mark.parametrize(("fold", "names", "folded"), EXAMPLES)
def test_form_of_a_name(fold, names, folded):
    assert fold(*names) == folded


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
