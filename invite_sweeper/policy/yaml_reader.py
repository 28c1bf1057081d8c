"""YAML bytes -> data with line and column."""

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

# What was read of a file: plain data, and the place of everything in it.


@dataclass(slots=True)
class Node:
    """One value of the file and its place.

    Attributes:
        index: Where it begins, in characters from the beginning of the text.
        value: Plain data: dict, tuple, str, int, float, bool, date, datetime, or a `Mark`.
        text: As it is written, without quotes; None for a list or a mapping.
        key_index: Where its key begins; its own place where it has no key.
        children: By key or by position, in the order of the file.
    """

    index: int
    value: object
    text: str | None = None
    key_index: int = -1
    children: "dict[str | int, Node]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Issue:
    """A fault whose place is not yet counted in lines.

    Attributes:
        index: In characters from the beginning of the text.
    """

    index: int
    path: KeyPath
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Document:
    """A file that was read as far as it could be.

    Attributes:
        root: None where nothing could be used; then there is a flaw.
        flaws: What YAML itself, or our limits to it, find wrong; in no order.
        place: From an index to line and column, both from 1.
    """

    root: Node | None
    issues: tuple[Issue, ...]
    position: Callable[[int], tuple[int, int]]

    def find(self, path: KeyPath) -> tuple[Node, KeyPath]:
        """Find the deepest value on a way, and how much of the way leads to it.

        Only where `root` is not None.
        """
        node = cast("Node", self.root)
        for depth, step in enumerate(path):
            if step not in node.children:
                return node, path[:depth]
            node = node.children[step]
        return node, path


def position_lookup(text: str) -> Callable[[int], tuple[int, int]]:
    """Give a function from a place in a text to its line and column, both from 1."""
    starts = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))]

    def line_and_column(index: int) -> tuple[int, int]:
        line = bisect_right(starts, index)
        return line, index - starts[line - 1] + 1

    return line_and_column


# What YAML's own complaints mean, in words of ours.


_NOT_YAML_MESSAGE = "the text is no valid YAML"
_QUOTE_HINT = "put the text in quotes"
# A part of what PyYAML or libyaml says, and what it comes from in nearly all files.
_SYNTAX_MESSAGES = (
    (
        "scanning an alias",
        "a text that begins with `*` stands without quotes",
        'put it in quotes: "*@example.com"',
    ),
    ("scanning an anchor", "a text that begins with `&` stands without quotes", _QUOTE_HINT),
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
    ("block scalar", "a text begins with `|` or `>` and stands without quotes", _QUOTE_HINT),
    (
        "parsing a block",
        "the indentation does not fit the lines before",
        "indent the keys of one mapping, and the dashes of one list, alike",
    ),
    ("document start>", "something stands after the end of a value", _QUOTE_HINT),
    ("nesting depth", "the nesting is too deep", "nest less"),
)
# Where the beginning of the thing is the place to mend, and not where the parser gave up.
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


@dataclass(frozen=True, slots=True)
class SyntaxIssue:
    """Why a text is no YAML.

    Attributes:
        index: Where, in characters from the beginning of the text.
    """

    index: int
    message: str
    hint: str


def describe_syntax_error(error: Exception, text: str) -> SyntaxIssue:
    """Say what is wrong with a text that is no YAML, and where."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        # The parser in Python trips over an escape or a directive with too large a number.
        return SyntaxIssue(
            0, _NOT_YAML_MESSAGE, "look for an escape (`\\U…`) or a directive (`%…`) in it"
        )
    index = error.problem_mark.index
    problem = f"{error.context or ''} {error.problem or ''}"
    if "cannot start any token" in problem:
        return _bad_first_character(index, text[index : index + 1])
    if problem.startswith(_POINT_AT_START):
        index = error.context_mark.index if error.context_mark else index
    for part, message, hint in _SYNTAX_MESSAGES:
        if part in problem:
            return SyntaxIssue(index, message, hint)
    return SyntaxIssue(
        index, _NOT_YAML_MESSAGE, "look at what stands just before: quotes, brackets, colons"
    )


def _bad_first_character(index: int, character: str) -> SyntaxIssue:
    if character == "\t":
        return SyntaxIssue(index, "a tab stands where YAML wants spaces", "indent with spaces")
    return SyntaxIssue(
        index, f"a text begins with `{character}` and stands without quotes", _QUOTE_HINT
    )


# YAML text to plain data, with the place of everything in it.


MAX_BYTES = 1024 * 1024
MAX_DEPTH = 20
LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser in C where PyYAML was built with it; both are tested."""

_MAX_VALUE_LENGTH = 100
"""In characters, of a number, truth value or date: some take quadratic time to read."""
_TAG = "tag:yaml.org,2002:"
_STR = f"{_TAG}str"
_CONSTRUCT = cast(
    "dict[str, Callable[[SafeConstructor, yaml.ScalarNode], object]]",
    {
        f"{_TAG}{name}": SafeConstructor.yaml_constructors[f"{_TAG}{name}"]
        for name in ("null", "bool", "int", "float", "timestamp", "str")
    },
)
# YAML's own set of printable characters; the parsers name no place for the others.
_UNPRINTABLE = Reader.NON_PRINTABLE
# Within a file it is invisible, and the two parsers do not read the same behind it.
_BYTE_ORDER_MARK = re.compile("\ufeff")
# What YAML takes a value for, where it cannot be read as such or is not for policies.
_REJECTED_TAGS = {
    f"{_TAG}int": "a number and is none that can be used",
    f"{_TAG}float": "a number and is none that can be used",
    f"{_TAG}timestamp": "a date and is no day of the calendar",
    f"{_TAG}merge": "a merge key, and none is followed",
    f"{_TAG}value": "a default value, and there is none",
}
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def parse_yaml(data: bytes, loader: type[yaml.SafeLoader] = LOADER) -> Document:
    """Read a file's bytes. Nothing is raised, whatever they are: faults are in the answer."""
    if len(data) > MAX_BYTES:
        return _unreadable_document(
            "", 0, "the file is over 1 MiB", "split the policy or shorten it"
        )
    try:
        text = data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        return _unreadable_document(
            before, len(before), "the file is no UTF-8 text", "save it as UTF-8"
        )
    if unprintable := _UNPRINTABLE.search(text) or _BYTE_ORDER_MARK.search(text):
        message = f"{quote(unprintable[0])} may not stand in a policy"
        return _unreadable_document(text, unprintable.start(), message, "remove it")
    return _DocumentBuilder(text, loader).build()


def _unreadable_document(text: str, index: int, message: str, hint: str) -> Document:
    return Document(None, (Issue(index, (), message, hint),), position_lookup(text))


def _index(event: yaml.Event) -> int:
    # Only an event that was made by hand is without a mark.
    return cast("yaml.Mark", event.start_mark).index


class _TooDeepError(Exception):
    """The nesting is over `MAX_DEPTH`; its flaw is noted."""


class _DocumentBuilder:
    """Turns the parser's events into nodes, and goes on past each fault that it can.

    Events, not PyYAML's own nodes: those are built by recursion without a bound, resolve
    aliases to shared nodes (which explode), and forget what was written twice.
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
            syntax_issue = describe_syntax_error(error, self._text)
            self._issues.append(
                Issue(syntax_issue.index, (), syntax_issue.message, syntax_issue.hint)
            )
        return Document(root, tuple(self._issues), self._position)

    def _single_document(self) -> Node | None:
        next(self._events)
        root: Node | None = None
        if isinstance(next(self._events), yaml.DocumentStartEvent):
            root = self._node(next(self._events), ())
            next(self._events)
            if isinstance(event := next(self._events), yaml.DocumentStartEvent):
                self._add_issue(
                    event, (), "a second document begins", "keep one document in the file"
                )
        if root is None or root.value is Placeholder.EMPTY:
            self._issues.append(Issue(0, (), "the file is empty", "begin with `version: 1`"))
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
                f"{quote(f'*{event.anchor}')} is an alias, and none is followed",
                "write the value out; a text that begins with `*` needs quotes",
            )
            return Node(index, Placeholder.UNREADABLE)
        has_tag = self._reject_tag(event, path)
        if isinstance(event, yaml.ScalarEvent):
            value = Placeholder.UNREADABLE if has_tag else self._value(event, path)
            return Node(index, value, text=event.value)
        if len(path) >= MAX_DEPTH:
            self._add_issue(event, path[:3], f"is over {MAX_DEPTH} levels deep", "nest less")
            raise _TooDeepError
        build = self._list if isinstance(event, yaml.SequenceStartEvent) else self._mapping
        return build(Node(index, None), path)

    def _reject_tag(self, event: yaml.Event, path: KeyPath) -> bool:
        tag = cast("yaml.ScalarEvent", event).tag  # the starts of lists and mappings have one, too
        if tag is not None:
            self._add_issue(
                event, path, f"has the tag {quote(str(tag))}", "remove it; tags are not read"
            )
        return tag is not None

    def _value(self, event: yaml.ScalarEvent, path: KeyPath) -> object:
        tag = self._resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag == _STR:
            if _SURROGATE.search(event.value) is None:
                return event.value
            self._add_issue(event, path, "holds half a character", "write the character itself")
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
            f"{quote(event.value)} is taken for {_REJECTED_TAGS[tag]}",
            "write it out, or put it in quotes if it is a text",
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
                    event, (*path, key), f"stands twice (first in line {line})", "keep one"
                )
        node.value = {key: child.value for key, child in node.children.items()}
        return node

    def _key(self, event: yaml.Event, path: KeyPath) -> str | None:
        """Read a key; None where it is none that a policy can have, and that is noted."""
        key = self._node(event, (*path, "?"))
        if isinstance(key.value, str):
            return key.value
        if key.value is not Placeholder.UNREADABLE:
            message = "a list or mapping" if key.text is None else quote(key.text)
            self._add_issue(
                event, path, f"{message} stands as a key", "write a text, in quotes if need be"
            )
        return None
