"""Parse YAML bytes into plain data that keeps the position of every value.

Aliases, tags, merge keys, duplicate keys and deep nesting are errors.
"""

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import yaml
from yaml.constructor import SafeConstructor
from yaml.reader import Reader
from yaml.resolver import Resolver

from invite_sweeper.policy.messages import KeyPath, Placeholder, quote


@dataclass(slots=True)
class Node:
    """One value of the file and its position.

    Attributes:
        index: Where it starts, in characters from the start of the text.
        value: Plain data: dict, tuple, str, int, float, bool, date, datetime, or a
            `Placeholder`.
        text: How the file spells it, without quotes; None for a list or a mapping.
        key_index: Where its key starts; for a list item, its own start.
        children: By key or list position, in file order.
    """

    index: int
    value: object
    text: str | None = None
    key_index: int = -1
    children: "dict[str | int, Node]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Issue:
    """An error in the file.

    Attributes:
        index: Where, in characters from the start of the text.
    """

    index: int
    path: KeyPath
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Document:
    """A file, parsed as far as possible.

    Attributes:
        root: None if nothing could be used; then there is at least one issue.
        issues: Violations of YAML or of our limits to it; unsorted.
        position: Converts an index to line and column, both from 1.
    """

    root: Node | None
    issues: tuple[Issue, ...]
    position: Callable[[int], tuple[int, int]]

    def find(self, path: KeyPath) -> tuple[Node, KeyPath]:
        """Return the deepest existing value on a path, and the path to it.

        Requires a `root`.
        """
        node = cast("Node", self.root)
        for depth, step in enumerate(path):
            if step not in node.children:
                return node, path[:depth]
            node = node.children[step]
        return node, path


def position_lookup(text: str) -> Callable[[int], tuple[int, int]]:
    """Return a function that converts an index in `text` to line and column, both from 1."""
    starts = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))]

    def line_and_column(index: int) -> tuple[int, int]:
        line = bisect_right(starts, index)
        return line, index - starts[line - 1] + 1

    return line_and_column


_NOT_YAML_MESSAGE = "the file is not valid YAML"
_QUOTE_HINT = "quote the string"
# A fragment of the error of PyYAML or libyaml, and its usual cause.
_SYNTAX_MESSAGES = (
    (
        "scanning an alias",
        "a string that starts with `*` is not quoted",
        'quote it: "*@example.com"',
    ),
    ("scanning an anchor", "a string that starts with `&` is not quoted", _QUOTE_HINT),
    (
        "mapping values are not allowed",
        "unexpected colon",
        "quote strings that contain `: `, or fix the indentation",
    ),
    (
        "could not find expected ':'",
        "a key is not followed by a colon",
        "write `key: value`, and indent the lines of one block alike",
    ),
    ("scanning a quoted scalar", "a quoted string is not closed", "close the quotes"),
    ("quoted scalar", "a quoted string contains an unknown escape", "double each backslash in it"),
    ("flow sequence", "a list in brackets is not closed or lacks a comma", "write `[a, b]`"),
    ("flow mapping", "a mapping in braces is not closed or lacks a comma", "write `{a: 1, b: 2}`"),
    ("block scalar", "a string that starts with `|` or `>` is not quoted", _QUOTE_HINT),
    (
        "parsing a block",
        "the indentation does not match the lines above",
        "indent the keys of one mapping, and the dashes of one list, alike",
    ),
    ("document start>", "unexpected text after the end of a value", _QUOTE_HINT),
    ("nesting depth", "the nesting is too deep", "reduce the nesting"),
)
# Report these where the construct starts, not where the parser stopped.
_POINT_AT_START = tuple(
    f"while scanning {thing}"
    for thing in (
        "an alias",
        "an anchor",
        "a simple key",
        "a quoted scalar",
        "a double-quoted scalar",
    )
)


_UNQUOTED_PLACEHOLDER = re.compile(
    r"""(?<![^\s:,{[])[\w./-]*\{(?:date|run_id)\}(?:[\w./-]|\{(?:date|run_id)\})*"""
)
"""In the path of the audit log: YAML reads braces as a mapping."""


def describe_syntax_error(error: Exception, text: str) -> Issue:
    """Return the position and usual cause of a parser error."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        # The Python parser fails on an escape or directive with too large a number.
        return Issue(0, (), _NOT_YAML_MESSAGE, "check escapes (`\\U…`) and directives (`%…`)")
    index = error.problem_mark.index
    problem = f"{error.context or ''} {error.problem or ''}"
    if "cannot start any token" in problem:
        return _bad_first_character(index, text[index : index + 1])
    before, after = text[:index].rpartition("\n")[2], text[index:].partition("\n")[0]
    if found := _UNQUOTED_PLACEHOLDER.search(before + after):
        hint = f'quote it: "{found[0]}"'
        start = index - len(before) + found.start()
        return Issue(start, (), "a string with braces is not quoted", hint)
    if problem.startswith(_POINT_AT_START):
        index = error.context_mark.index if error.context_mark else index
    for part, message, hint in _SYNTAX_MESSAGES:
        if part in problem:
            return Issue(index, (), message, hint)
    return Issue(index, (), _NOT_YAML_MESSAGE, "check the quotes, brackets and colons just before")


def _bad_first_character(index: int, character: str) -> Issue:
    if character == "\t":
        return Issue(index, (), "a tab is used for indentation", "indent with spaces")
    return Issue(index, (), f"a string that starts with `{character}` is not quoted", _QUOTE_HINT)


MAX_BYTES = 1024 * 1024
MAX_DEPTH = 20
LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C parser if PyYAML was built with it. The tests cover both."""

_MAX_VALUE_LENGTH = 100
"""Maximum characters of a number, boolean or date: some take quadratic time to parse."""
_TAG = "tag:yaml.org,2002:"
_STR = f"{_TAG}str"
_NUMBERS = (f"{_TAG}int", f"{_TAG}float")
_CONSTRUCT = cast(
    "dict[str, Callable[[SafeConstructor, yaml.ScalarNode], object]]",
    {
        f"{_TAG}{name}": SafeConstructor.yaml_constructors[f"{_TAG}{name}"]
        for name in ("null", "bool", "int", "float", "timestamp", "str")
    },
)
_FORBIDDEN = re.compile(
    # What YAML forbids; checked here because the parsers report no position.
    f"{Reader.NON_PRINTABLE.pattern}"
    # Line ends for YAML 1.1 and not for editors: a comment would end, and policy would follow.
    "|[\x85\u2028\u2029]|\r(?!\n)"
    # Direction marks: an editor shows a line in another order than it is read.
    "|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
    # A byte order mark inside: invisible, and the parsers disagree about what follows it.
    "|\ufeff"
)
# How YAML resolves a value that cannot be parsed as such or is not supported here.
_REJECTED_TAGS = {
    f"{_TAG}int": "a number, but is not a usable one",
    f"{_TAG}float": "a number, but is not a usable one",
    f"{_TAG}timestamp": "a date, but that date does not exist",
    f"{_TAG}merge": "a merge key, which is not supported",
    f"{_TAG}value": "a default key, which is not supported",
}
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def parse_yaml(data: bytes, loader: type[yaml.SafeLoader] = LOADER) -> Document:
    """Parse a file. Never raises: errors are in the document's issues."""
    if len(data) > MAX_BYTES:
        return _unreadable_document(
            "", 0, "the file is larger than 1 MiB", "split or shorten the policy"
        )
    try:
        text = data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        return _unreadable_document(
            before, len(before), "the file is not UTF-8 text", "save it as UTF-8"
        )
    if forbidden := _FORBIDDEN.search(text):
        name, hint = quote(forbidden[0]), "remove it"
        if forbidden[0] == "\r":
            name, hint = "a carriage return without a line feed", "end each line with LF or CR LF"
        message = f"{name} is not allowed in a policy"
        return _unreadable_document(text, forbidden.start(), message, hint)
    return _DocumentBuilder(text, loader).build()


def _unreadable_document(text: str, index: int, message: str, hint: str) -> Document:
    return Document(None, (Issue(index, (), message, hint),), position_lookup(text))


def _index(event: yaml.Event) -> int:
    # Parsed events always have a mark.
    return cast("yaml.Mark", event.start_mark).index


class _TooDeepError(Exception):
    """The nesting exceeds `MAX_DEPTH`; the issue is already recorded."""


class _DocumentBuilder:
    """Builds nodes from the parser's events and continues after errors where possible.

    PyYAML's own nodes are not used: they recurse without a limit, resolve aliases to shared
    nodes (which can grow exponentially), and drop duplicate keys.
    """

    def __init__(self, text: str, loader: type[yaml.SafeLoader]) -> None:
        self._text = text
        self._events = yaml.parse(text, Loader=loader)
        self._constructor = SafeConstructor()
        self._resolve: Callable[[type, str, tuple[bool, bool]], str] = Resolver().resolve
        self._position = position_lookup(text)
        self._issues: list[Issue] = []

    def build(self) -> Document:
        root: Node | None = None
        try:
            root = self._single_document()
        except _TooDeepError:
            pass
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            self._issues.append(describe_syntax_error(error, self._text))
        return Document(root, tuple(self._issues), self._position)

    def _single_document(self) -> Node | None:
        next(self._events)
        root: Node | None = None
        if isinstance(next(self._events), yaml.DocumentStartEvent):
            root = self._node(next(self._events), ())
            next(self._events)
            if isinstance(event := next(self._events), yaml.DocumentStartEvent):
                self._add_issue(
                    event, (), "a second document starts here", "keep one document in the file"
                )
        if root is None or root.value is Placeholder.EMPTY:
            self._issues.append(Issue(0, (), "the file is empty", "start with `version: 1`"))
            return None
        return root

    def _add_issue(self, event: yaml.Event, path: KeyPath, message: str, hint: str) -> None:
        self._issues.append(Issue(_index(event), path, message, hint))

    def _node(self, event: yaml.Event, path: KeyPath) -> Node:
        index = _index(event)
        if isinstance(event, yaml.AliasEvent):
            self._add_issue(
                event,
                path,
                f"{quote(f'*{event.anchor}')} is an alias, which is not supported",
                "write the value out; strings that start with `*` need quotes",
            )
            return Node(index, Placeholder.UNREADABLE)
        has_tag = self._reject_tag(event, path)
        if isinstance(event, yaml.ScalarEvent):
            value = Placeholder.UNREADABLE if has_tag else self._value(event, path)
            return Node(index, value, text=event.value)
        if len(path) >= MAX_DEPTH:
            self._add_issue(
                event,
                path[:3],
                f"is nested more than {MAX_DEPTH} levels deep",
                "reduce the nesting",
            )
            raise _TooDeepError
        build = self._list if isinstance(event, yaml.SequenceStartEvent) else self._mapping
        return build(Node(index, None), path)

    def _reject_tag(self, event: yaml.Event, path: KeyPath) -> bool:
        tag = cast("yaml.ScalarEvent", event).tag  # list and mapping starts have one too
        if tag is not None:
            self._add_issue(
                event, path, f"has the tag {quote(str(tag))}", "remove it; tags are not supported"
            )
        return tag is not None

    def _value(self, event: yaml.ScalarEvent, path: KeyPath) -> object:
        tag = self._resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag == _STR:
            if _SURROGATE.search(event.value) is None:
                return event.value
            self._add_issue(
                event, path, "contains half a surrogate pair", "write the character itself"
            )
            return Placeholder.UNREADABLE
        if tag in _NUMBERS and ":" in event.value:
            hint = "write it without colons, or quote it if it is a string"
            message = f"{quote(event.value)} is read as a number in base 60"
            self._add_issue(event, path, message, hint)
            return Placeholder.UNREADABLE
        if tag in _CONSTRUCT and len(event.value) <= _MAX_VALUE_LENGTH:
            try:
                value = _CONSTRUCT[tag](self._constructor, yaml.ScalarNode(tag, event.value))
            except (ValueError, OverflowError):
                pass
            else:
                return Placeholder.EMPTY if value is None else value
        self._add_issue(
            event,
            path,
            f"{quote(event.value)} is read as {_REJECTED_TAGS[tag]}",
            "rewrite it, or quote it if it is a string",
        )
        return Placeholder.UNREADABLE

    def _list(self, node: Node, path: KeyPath) -> Node:
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            position = len(node.children)
            child = self._node(event, (*path, position))
            child.key_index = child.index
            node.children[position] = child
        node.value = tuple(child.value for child in node.children.values())
        return node

    def _mapping(self, node: Node, path: KeyPath) -> Node:
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, path)
            child = self._node(next(self._events), (*path, "?" if key is None else key))
            child.key_index = _index(event)
            if key is not None and key not in node.children:
                node.children[key] = child
            elif key is not None:
                line, _ = self._position(node.children[key].key_index)
                self._add_issue(
                    event, (*path, key), f"is set twice (first in line {line})", "keep one"
                )
        node.value = {key: child.value for key, child in node.children.items()}
        return node

    def _key(self, event: yaml.Event, path: KeyPath) -> str | None:
        """Return a key, or None after recording an issue if it is not a string."""
        key = self._node(event, (*path, "?"))
        if isinstance(key.value, str):
            return key.value
        if key.value is not Placeholder.UNREADABLE:
            message = "a list or mapping" if key.text is None else quote(key.text)
            hint = "write a string, quoted if necessary"
            if type(key.value) is int:
                hint += ", and numbers without commas"
            self._add_issue(event, path, f"{message} is used as a key", hint)
        return None
