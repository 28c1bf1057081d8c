"""Parse YAML bytes into plain data that keeps the position of every value.

Aliases, tags, merge keys, duplicate keys and deep nesting are errors.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TypeAlias, cast

import msgspec
import yaml
from yaml.constructor import SafeConstructor
from yaml.reader import Reader
from yaml.resolver import Resolver

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 20
LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C parser if PyYAML was built with it. The tests cover both."""

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of the file to a value."""


class Severity(StrEnum):
    """Whether a policy with this issue is valid."""

    ERROR = "error"
    WARNING = "warning"


class PolicyIssue(msgspec.Struct, frozen=True, order=True):
    """One error in a policy, or a warning about a valid one.

    Attributes:
        line: From 1.
        column: From 1, in characters.
        where: The key, such as `rules[0].older_than`.
        message: What is wrong.
        hint: What to write instead; empty if nothing.
    """

    line: int
    column: int
    where: str
    message: str
    hint: str
    severity: Severity = Severity.ERROR

    def text(self, file: str) -> str:
        """Return the issue as commands print it."""
        at = f"{file}:{self.line}:{self.column}"
        if self.severity is Severity.ERROR:
            return f"{at}: {self.where}: {self.message}; {self.hint}"
        return f"{at}: warning: {self.where}: {self.message} {self.hint}".rstrip()


class Placeholder(Enum):
    """Replaces a value that is missing or unusable in the parsed data."""

    EMPTY = "empty"
    """A null: no value, or `~`."""
    UNREADABLE = "unreadable"
    """A value whose error is already reported."""


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
    value: object = Placeholder.UNREADABLE
    text: str | None = None
    key_index: int = -1
    children: "dict[str | int, Node]" = field(default_factory=dict)


_MAX_VALUE_LENGTH = 100
"""Maximum characters of a number, boolean or date: some take quadratic time to parse."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_REJECTED_TYPES = {
    "int": "a number, but is not a usable one",
    "float": "a number, but is not a usable one",
    "timestamp": "a date, but that date does not exist",
    "merge": "a merge key, which is not supported",
    "value": "a default key, which is not supported",
}
"""How YAML resolves a value that cannot be parsed as such or is not supported here."""
_CONSTRUCTOR = SafeConstructor()
_resolve: Callable[[type, str, tuple[bool, bool]], str] = Resolver().resolve


def _mark(event: yaml.Event) -> yaml.Mark:
    """Return where an event starts in the text."""
    return cast("yaml.Mark", event.start_mark)  # parsed events always have one


class Document:
    """A file, parsed as far as possible.

    Builds nodes from the parser's events and continues after errors where possible. PyYAML's own
    nodes are not used: they recurse without a limit, resolve aliases to shared nodes (which can
    grow exponentially), and drop duplicate keys.

    Attributes:
        root: None if nothing could be used; then there is at least one issue.
        issues: Violations of YAML or of our limits to it; unsorted.
    """

    def __init__(self, text: str) -> None:
        self.root: Node | None = None
        self.issues: list[PolicyIssue] = []
        self._line_starts = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))]
        self._events: Iterator[yaml.Event] = iter(())

    def issue(self, index: int, path: KeyPath, message: str, hint: str) -> PolicyIssue:
        """Return an issue with the position of an index in the text."""
        line = bisect_right(self._line_starts, index)
        column = index - self._line_starts[line - 1] + 1
        return PolicyIssue(line, column, format_path(path), message, hint)

    def add_issue(self, index: int, path: KeyPath, message: str, hint: str) -> None:
        """Add an issue."""
        self.issues.append(self.issue(index, path, message, hint))

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

    def build(self, events: Iterator[yaml.Event]) -> None:
        """Set the root: the only document's value.

        Raises:
            yaml.YAMLError, ValueError, OverflowError: The parser failed.
        """
        # The stream starts; a document starts, is a value, and ends; the stream ends.
        self._events = events
        next(events)
        root: Node | None = None
        if isinstance(next(events), yaml.DocumentStartEvent):
            root = self._node(next(events), ())
            next(events)
            following = next(events)
            if isinstance(following, yaml.DocumentStartEvent):
                hint = "keep one document in the file"
                self.add_issue(_mark(following).index, (), "a second document starts here", hint)
        if root is None or root.value is Placeholder.EMPTY:
            self.add_issue(0, (), "the file is empty", "start with `version: 1`")
            return
        self.root = root

    def _node(self, event: yaml.Event, path: KeyPath) -> Node:
        """Return the value that begins with an event, and read its events to the last."""
        node = Node(_mark(event).index)
        if isinstance(event, yaml.AliasEvent):
            message = f"{_subject(path, f'*{event.anchor}')} is an alias, which is not supported"
            hint = "write the value out; strings that start with `*` need quotes"
            self.add_issue(_mark(event).index, path, message, hint)
            return node
        tag = cast("yaml.ScalarEvent", event).tag  # List and mapping starts have one, too.
        if tag is not None:
            hint = "remove it; tags are not supported"
            message = f"has the tag {quote(str(tag))}" if path else "has a tag"
            self.add_issue(_mark(event).index, path, message, hint)
        if isinstance(event, yaml.ScalarEvent):
            node.text = event.value
            if tag is None:
                node.value = self._scalar(event, path)
        elif len(path) >= MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem="nesting depth", problem_mark=_mark(event))
        elif isinstance(event, yaml.SequenceStartEvent):
            self._add_items(node, path)
        else:
            self._add_values(node, path)
        return node

    def _scalar(self, event: yaml.ScalarEvent, path: KeyPath) -> object:
        """Return the value of a text as YAML 1.1 reads it; UNREADABLE after adding an issue."""
        text = event.value
        tag = _resolve(yaml.ScalarNode, text, event.implicit)
        name = tag.rpartition(":")[2]  # `int` of `tag:yaml.org,2002:int`
        if name == "str":
            if not _SURROGATE.search(text):
                return text
            message = "contains half a surrogate pair"
            hint = "write the character itself"
        elif name in ("int", "float") and ":" in text:
            message = f"{_subject(path, text)} is read as a number in base 60"
            hint = "write it without colons, or quote it if it is a string"
        else:
            value = _construct(tag, text)
            if value is not Placeholder.UNREADABLE:
                return value
            message = f"{_subject(path, text)} is read as {_REJECTED_TYPES[name]}"
            hint = "rewrite it, or quote it if it is a string"
        self.add_issue(_mark(event).index, path, message, hint)
        return Placeholder.UNREADABLE

    def _add_items(self, node: Node, path: KeyPath) -> None:
        """Read the items of a list, up to its end."""
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            position = len(node.children)
            child = self._node(event, (*path, position))
            child.key_index = child.index
            node.children[position] = child
        node.value = tuple(child.value for child in node.children.values())

    def _add_values(self, node: Node, path: KeyPath) -> None:
        """Read the keys and values of a mapping, up to its end."""
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, path)
            child = self._node(next(self._events), (*path, "?" if key is None else key))
            child.key_index = _mark(event).index
            if key is None:
                continue
            if first := node.children.get(key):
                line = bisect_right(self._line_starts, first.key_index)
                message = f"is set twice (first in line {line})"
                self.add_issue(_mark(event).index, (*path, key), message, "keep one")
            else:
                node.children[key] = child
        node.value = {key: child.value for key, child in node.children.items()}

    def _key(self, event: yaml.Event, path: KeyPath) -> str | None:
        """Return a key, or None after reporting one that is not a string."""
        key = self._node(event, (*path, "?"))
        if isinstance(key.value, str):
            return key.value
        if key.value is not Placeholder.UNREADABLE:
            message = "a list or mapping" if key.text is None else quote(key.text)
            hint = "write a string, quoted if necessary"
            if type(key.value) is int:
                hint += ", and numbers without commas"
            self.add_issue(_mark(event).index, path, f"{message} is used as a key", hint)
        return None


def _construct(tag: str, text: str) -> object:
    """Return the number, boolean, date or null that a text means; UNREADABLE if it means none."""
    if len(text) > _MAX_VALUE_LENGTH:
        return Placeholder.UNREADABLE
    try:
        value = _CONSTRUCTOR.construct_object(yaml.ScalarNode(tag, text))
    except (ValueError, OverflowError, yaml.YAMLError):
        return Placeholder.UNREADABLE
    return Placeholder.EMPTY if value is None else value


def quote(text: str) -> str:
    """Return a text in backticks, shortened, with unprintable characters escaped."""
    cut = text if len(text) <= _MAX_QUOTED_LENGTH else f"{text[:_MAX_QUOTED_LENGTH]}…"
    shown = "".join(map(_escape, cut))
    return f"`{shown}`"


def _escape(character: str) -> str:
    """Return a character as it can be shown."""
    if character.isprintable():
        return character
    return character.encode("unicode_escape", "backslashreplace").decode()


_MAX_QUOTED_LENGTH = 60


def _subject(path: KeyPath, text: str) -> str:
    """Return a value in backticks; the whole file is not shown, which may be that of a token."""
    return quote(text) if path else "the whole file"


def format_path(path: KeyPath) -> str:
    """Format a path, such as `rules[0].older_than`; the top of the file is `policy`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{quote(step)[1:-1]}"
    return text.removeprefix(".") or "policy"


def parse_yaml(data: bytes, loader: type[yaml.SafeLoader] = LOADER) -> Document:
    """Parse a file. Never raises: errors are in the document's issues."""
    if len(data) > MAX_BYTES:
        return _unreadable("", "the file is larger than 1 MiB", "split or shorten the policy")
    try:
        text = data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        return _unreadable(before, "the file is not UTF-8 text", "save it as UTF-8")
    if forbidden := _FORBIDDEN.search(text):
        name = quote(forbidden[0])
        hint = "remove it"
        if forbidden[0] == "\r":
            name = "a carriage return without a line feed"
            hint = "end each line with LF or CR LF"
        before = text[: forbidden.start()]
        return _unreadable(before, f"{name} is not allowed in a policy", hint)
    document = Document(text)
    try:
        document.build(yaml.parse(text, Loader=loader))
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        index, message, hint = _syntax_error(error, text)
        document.add_issue(index, (), message, hint)
    return document


def _unreadable(before: str, message: str, hint: str) -> Document:
    """Return a document with one issue, at the end of the text before it."""
    document = Document(before)
    document.add_issue(len(before), (), message, hint)
    return document


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
_QUOTE = "quote the string"
# A fragment of the error of PyYAML or libyaml, its usual cause and the fix.
_SYNTAX_ERRORS = (
    (
        "scanning an alias",
        "a string that starts with `*` is not quoted",
        'quote it: "*@example.com"',
    ),
    ("scanning an anchor", "a string that starts with `&` is not quoted", _QUOTE),
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
    ("block scalar", "a string that starts with `|` or `>` is not quoted", _QUOTE),
    (
        "parsing a block",
        "the indentation does not match the lines above",
        "indent the keys of one mapping, and the dashes of one list, alike",
    ),
    ("document start>", "unexpected text after the end of a value", _QUOTE),
    ("nesting depth", f"the nesting exceeds {MAX_DEPTH} levels", "reduce the nesting"),
    ("", "the file is not valid YAML", "check the quotes, brackets and colons just before"),
)
_REPORTED_AT_START = re.compile(
    r"while scanning (an alias|an anchor|a simple key|a (double-)?quoted scalar)"
)
"""Constructs whose error is reported where they start, not where the parser stopped."""


def _syntax_error(error: Exception, text: str) -> tuple[int, str, str]:
    """Return where a parser failed, the usual cause and the fix."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        # The Python parser fails on an escape or directive with too large a number.
        return 0, "the file is not valid YAML", "check escapes (`\\U…`) and directives (`%…`)"
    index = error.problem_mark.index
    problem = f"{error.context or ''} {error.problem or ''}"
    if "cannot start any token" in problem:
        character = text[index : index + 1]
        if character == "\t":
            return index, "a tab is used for indentation", "indent with spaces"
        return index, f"a string that starts with `{character}` is not quoted", _QUOTE
    if _REPORTED_AT_START.match(problem) and error.context_mark:
        index = error.context_mark.index
    # The last row is part of every text.
    cause, fix = next((cause, fix) for part, cause, fix in _SYNTAX_ERRORS if part in problem)
    return index, cause, fix
