"""What YAML's own complaints mean, in words of ours."""

from dataclasses import dataclass

import yaml

_NOT_YAML = "the text is no valid YAML"
_QUOTE = "put the text in quotes"
# A part of what PyYAML or libyaml says, and what it comes from in nearly all files.
_MEANINGS = (
    (
        "scanning an alias",
        "a text that begins with `*` stands without quotes",
        'put it in quotes: "*@example.com"',
    ),
    ("scanning an anchor", "a text that begins with `&` stands without quotes", _QUOTE),
    (
        "mapping values are not allowed",
        "a colon stands where no key may be",
        "put quotes around a text that holds `: `, or mend the indentation",
    ),
    (
        "could not find expected ':'",
        "a key has no colon after it",
        "write `key: value`, and indent the lines of one block alike",
    ),
    ("scanning a quoted scalar", "a text in quotes has no end", "close its quotes"),
    ("quoted scalar", "a text in quotes holds an unknown escape", "double each backslash in it"),
    ("flow sequence", "a list in brackets is not closed or lacks a comma", "write `[a, b]`"),
    ("flow mapping", "a mapping in braces is not closed or lacks a comma", "write `{a: 1, b: 2}`"),
    ("block scalar", "a text begins with `|` or `>` and stands without quotes", _QUOTE),
    (
        "parsing a block",
        "the indentation does not fit the lines before",
        "indent the keys of one mapping, and the dashes of one list, alike",
    ),
    ("document start>", "something stands after the end of a value", _QUOTE),
    ("nesting depth", "the nesting is too deep", "nest less"),
)
# Where the beginning of the thing is the place to mend, and not where the parser gave up.
_BEGUN_EARLIER = tuple(
    f"while scanning {thing}"
    for thing in (
        "an alias",
        "an anchor",
        "a simple key",
        "a quoted scalar",
        "a double-quoted scalar",
    )
)


@dataclass(frozen=True, slots=True)
class Complaint:
    """Why a text is no YAML.

    Attributes:
        index: Where, in characters from the beginning of the text.
    """

    index: int
    what: str
    hint: str


def explain(error: Exception, text: str) -> Complaint:
    """Say what is wrong with a text that is no YAML, and where."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        # The parser in Python trips over an escape or a directive with too large a number.
        return Complaint(0, _NOT_YAML, "look for an escape (`\\U…`) or a directive (`%…`) in it")
    at = error.problem_mark.index
    said = f"{error.context or ''} {error.problem or ''}"
    if "cannot start any token" in said:
        return _bad_beginning(at, text[at : at + 1])
    if said.startswith(_BEGUN_EARLIER):
        at = error.context_mark.index if error.context_mark else at
    for part, what, hint in _MEANINGS:
        if part in said:
            return Complaint(at, what, hint)
    return Complaint(at, _NOT_YAML, "look at what stands just before: quotes, brackets, colons")


def _bad_beginning(at: int, character: str) -> Complaint:
    if character == "\t":
        return Complaint(at, "a tab stands where YAML wants spaces", "indent with spaces")
    return Complaint(at, f"a text begins with `{character}` and stands without quotes", _QUOTE)
