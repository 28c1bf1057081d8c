"""Parse YAML bytes into plain data that keeps the position of every value.

Aliases, tags, merge keys, duplicate keys and deep nesting are errors.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import StrEnum
from typing import Final, TypeAlias, cast

import msgspec
import yaml
from yaml.constructor import SafeConstructor
from yaml.reader import Reader
from yaml.resolver import Resolver
from yaml.scanner import ScannerError

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 20
LOADER: Final[type[yaml.SafeLoader]] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C parser if PyYAML was built with it. The tests cover both."""

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of the file to a value."""
Position: TypeAlias = tuple[int, int]
"""A line and a column, from 1."""


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


class NotReadableError(Exception):
    """The file has no values: it is not YAML, or not as a policy may be.

    Attributes:
        issue: The first of what is wrong.
    """

    def __init__(self, message: str, hint: str, at: Position = (1, 1)) -> None:
        super().__init__(message)
        self.issue = issue_at(at, (), message, hint)


class Unusable(msgspec.Struct, frozen=True):
    """Replaces a value that no key takes, so that it is an error of its key.

    Attributes:
        message: What is wrong with it.
    """

    message: str


NULL: Final = Unusable("is empty")
"""No value, or `~`."""


class Node(msgspec.Struct):
    """One value of the file, and where it is.

    Attributes:
        at: Where it starts.
        key_at: Where its key starts; of an item in a list, its own start.
        value: dict, tuple, str, int, float, bool, date, datetime, or `Unusable`.
        text: How the file spells it, without quotes; None for a list or a mapping.
        children: By key or list position; the first one where a key is set twice.
    """

    at: Position
    key_at: Position
    value: object = None
    text: str | None = None
    children: "dict[str | int, Node]" = msgspec.field(default_factory=dict)

    def find(self, path: KeyPath) -> "tuple[Node, KeyPath]":
        """Return the deepest existing value on a path, and the path to it."""
        node = self
        for depth, step in enumerate(path):
            if step not in node.children:
                return node, path[:depth]
            node = node.children[step]
        return node, path


class YamlDocument:
    """A file, read as far as possible.

    PyYAML's own nodes are not used: they recurse without a limit, resolve aliases to shared nodes
    (which can grow exponentially), and constructing them drops duplicate keys.

    Attributes:
        root: The whole file.
        issues: About keys that are not strings, or not unique.
    """

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self.issues: list[PolicyIssue] = []
        self._events = events
        starts = (each for each in events if isinstance(each, yaml.DocumentStartEvent))
        roots = [self._node(next(events), ()) for _ in starts]
        if len(roots) > 1:
            raise NotReadableError("has a second document", "keep one", roots[1].at)
        if not roots or roots[0].value is NULL:
            raise NotReadableError("is empty", "start with `version: 1`")
        (self.root,) = roots

    def _node(self, event: yaml.Event, path: KeyPath) -> Node:
        """Return the value that begins with an event, and read its events to the last."""
        at = _position(event.start_mark)
        node = Node(at, at)
        if len(path) >= MAX_DEPTH and isinstance(event, yaml.CollectionStartEvent):
            raise NotReadableError(f"has more than {MAX_DEPTH} levels", "reduce the nesting", at)
        if isinstance(event, yaml.AliasEvent):
            node.text = f"*{event.anchor}"
            node.value = _unusable("alias")
            return node
        if isinstance(event, yaml.ScalarEvent):
            node.text = event.value
            node.value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._add_items(node, path)
        else:
            self._add_values(node, path)
        if cast("yaml.ScalarEvent", event).tag is not None:  # lists and mappings have one, too
            node.value = _unusable("tag")
        return node

    def _add_items(self, node: Node, path: KeyPath) -> None:
        """Read the items of a list, up to its end."""
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            number = len(node.children)
            node.children[number] = self._node(event, (*path, number))
        node.value = tuple(child.value for child in node.children.values())

    def _add_values(self, node: Node, path: KeyPath) -> None:
        """Read the keys and values of a mapping, up to its end."""
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, (*path, "?"))
            value_path = (*path, key.text or "?")
            value = self._node(next(self._events), value_path)
            value.key_at = key.at
            if not isinstance(key.value, str):
                hint = "quote the key; numbers have no commas"
                self.issues.append(issue_at(key.at, path, "has a key that is not a string", hint))
                continue
            first = node.children.setdefault(key.value, value)
            if first is not value:
                message = f"is set twice (first in line {first.key_at[0]})"
                self.issues.append(issue_at(key.at, value_path, message, "keep one"))
        node.value = {name: child.value for name, child in node.children.items()}


def issue_at(at: Position, path: KeyPath, message: str, hint: str) -> PolicyIssue:
    """Return an error at a position."""
    return PolicyIssue(*at, format_path(path), message, hint)


def _position(mark: object) -> Position:
    """Return the position of a mark, which each event and error has."""
    found = cast("yaml.Mark", mark)
    return found.line + 1, found.column + 1


_MAX_VALUE_LENGTH: Final = 100
"""Maximum characters of a number, boolean or date: some take quadratic time to parse."""
_resolve: Final[Callable[[type, str, tuple[bool, bool]], str]] = Resolver().resolve


def _scalar(event: yaml.ScalarEvent) -> object:
    """Return the value of a text as YAML 1.1 reads it."""
    text = event.value
    tag = _resolve(yaml.ScalarNode, text, event.implicit)
    kind = tag.rpartition(":")[2]  # `int` of `tag:yaml.org,2002:int`
    if kind == "str":
        return text
    if kind in ("int", "float") and ":" in text:
        return _unusable("number in base 60")
    if len(text) <= _MAX_VALUE_LENGTH:
        with suppress(ValueError, OverflowError, yaml.YAMLError):
            value = SafeConstructor().construct_object(yaml.ScalarNode(tag, text))
            return NULL if value is None else value
    return _unusable(kind)


def _unusable(kind: str) -> Unusable:
    return Unusable(f"is read as a YAML {kind}, which is not valid here")


_MAX_QUOTED_LENGTH: Final = 60


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


def format_path(path: KeyPath) -> str:
    """Format a path, such as `rules[0].older_than`; the top of the file is `policy`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{quote(step)[1:-1]}"
    return text.removeprefix(".") or "policy"


def parse_yaml(data: bytes, loader: type[yaml.SafeLoader] = LOADER) -> YamlDocument:
    """Parse a file.

    Raises:
        NotReadableError: It is empty, or has something that a policy may not have.
    """
    text = _decode(data)
    try:
        return YamlDocument(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text) from None
    except (yaml.YAMLError, ValueError, OverflowError):
        # The Python parser fails on an escape or directive with too large a number.
        hint = "check escapes (`\\U…`) and directives (`%…`)"
        raise NotReadableError("is not valid YAML", hint) from None


def _decode(data: bytes) -> str:
    """Return the text of a file, without a byte order mark.

    Raises:
        NotReadableError: It is too large, not UTF-8, or has a character that is refused.
    """
    if len(data) > MAX_BYTES:
        raise NotReadableError("is larger than 1 MiB", "split or shorten it")
    try:
        text = data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        raise NotReadableError("is not UTF-8", "save it as UTF-8", _end_of(before)) from None
    # What YAML forbids is checked here because the parsers report no position.
    if forbidden := Reader.NON_PRINTABLE.search(text) or _FORBIDDEN.search(text):
        message = f"has the character {quote(forbidden[0])}"
        hint = "remove it; lines end with LF or CR LF"
        raise NotReadableError(message, hint, _end_of(text[: forbidden.start()]))
    return text


def _end_of(text: str) -> Position:
    """Return the line and the column after a text."""
    return text.count("\n") + 1, len(text) - text.rfind("\n")


_FORBIDDEN: Final = re.compile(
    # Line ends for YAML 1.1 and not for editors: a comment would end, and policy would follow.
    "[\x85\u2028\u2029]|\r(?!\n)"
    # Direction marks: an editor shows a line in another order than it is read.
    "|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
    # A byte order mark inside: invisible, and the parsers disagree about what follows it.
    "|\ufeff"
)


_FIXES: Final = {"\t": "indent with spaces"} | dict.fromkeys(
    # Characters that mean something to YAML at the start of a text without quotes.
    "*&!|>@`%",
    'quote the string: "*@example.com"',
)
"""The fix by the character at which a parser failed."""


def _syntax_error(error: yaml.MarkedYAMLError, text: str) -> NotReadableError:
    """Return where a parser failed, what it says of that, and the fix."""
    mark = cast("yaml.Mark", error.problem_mark)
    is_tab = text.startswith("\t", mark.index)
    # A text that cannot be read is reported where it starts, not where the scanner stopped. A tab
    # in an indentation is reported itself: the text may begin on a line before it.
    if isinstance(error, ScannerError) and not is_tab:
        mark = error.context_mark or mark
    hint = _FIXES.get(
        text[mark.index : mark.index + 1],
        "check the quotes, brackets, colons and indentation here and just before",
    )
    message = f"is not valid YAML: {error.problem}"
    return NotReadableError(message, hint, _end_of(text[: mark.index]))
