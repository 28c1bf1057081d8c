"""YAML text to plain data, with the place of everything in it."""

import re
from collections.abc import Callable
from typing import cast

import yaml
from yaml.constructor import SafeConstructor
from yaml.reader import Reader
from yaml.resolver import Resolver

from invite_sweeper.policy.syntax import explain
from invite_sweeper.policy.tree import Document, Flaw, Node, line_counter
from invite_sweeper.policy.words import Mark, Path, shown

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 20
LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser in C where PyYAML was built with it; both are tested."""

_LONGEST_VALUE = 100
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
_TAKEN_FOR = {
    f"{_TAG}int": "a number and is none that can be used",
    f"{_TAG}float": "a number and is none that can be used",
    f"{_TAG}timestamp": "a date and is no day of the calendar",
    f"{_TAG}merge": "a merge key, and none is followed",
    f"{_TAG}value": "a default value, and there is none",
}
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def read(data: bytes, loader: type[yaml.SafeLoader] = LOADER) -> Document:
    """Read a file's bytes. Nothing is raised, whatever they are: faults are in the answer."""
    if len(data) > MAX_BYTES:
        return _hopeless("", 0, "the file is over 1 MiB", "split the policy or shorten it")
    try:
        text = data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        return _hopeless(before, len(before), "the file is no UTF-8 text", "save it as UTF-8")
    if bad := _UNPRINTABLE.search(text) or _BYTE_ORDER_MARK.search(text):
        what = f"{shown(bad[0])} may not stand in a policy"
        return _hopeless(text, bad.start(), what, "remove it")
    return _Builder(text, loader).document()


def _hopeless(text: str, index: int, what: str, hint: str) -> Document:
    return Document(None, (Flaw(index, (), what, hint),), line_counter(text))


def _index(event: yaml.Event) -> int:
    # Only an event that was made by hand is without a mark.
    return cast("yaml.Mark", event.start_mark).index


class _TooDeepError(Exception):
    """The nesting is over `MAX_DEPTH`; its flaw is noted."""


class _Builder:
    """Turns the parser's events into nodes, and goes on past each fault that it can.

    Events, not PyYAML's own nodes: those are built by recursion without a bound, resolve
    aliases to shared nodes (which explode), and forget what was written twice.
    """

    def __init__(self, text: str, loader: type[yaml.SafeLoader]) -> None:
        self._text = text
        self._events = yaml.parse(text, Loader=loader)
        self._constructor = SafeConstructor()
        self._resolve: Callable[[type, str, tuple[bool, bool]], str] = Resolver().resolve
        self._place = line_counter(text)
        self._flaws: list[Flaw] = []

    def document(self) -> Document:
        root: Node | None = None
        try:
            root = self._only_document()
        except _TooDeepError:
            pass
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            complaint = explain(error, self._text)
            self._flaws.append(Flaw(complaint.index, (), complaint.what, complaint.hint))
        return Document(root, tuple(self._flaws), self._place)

    def _only_document(self) -> Node | None:
        next(self._events)
        root: Node | None = None
        if isinstance(next(self._events), yaml.DocumentStartEvent):
            root = self._node(next(self._events), ())
            next(self._events)
            if isinstance(event := next(self._events), yaml.DocumentStartEvent):
                self._note(event, (), "a second document begins", "keep one document in the file")
        if root is None or root.value is Mark.EMPTY:
            self._flaws.append(Flaw(0, (), "the file is empty", "begin with `version: 1`"))
            return None
        return root

    def _note(self, event: yaml.Event, path: Path, what: str, hint: str) -> None:
        self._flaws.append(Flaw(_index(event), path, what, hint))

    def _node(self, event: yaml.Event, path: Path) -> Node:
        index = _index(event)
        if isinstance(event, yaml.AliasEvent):
            self._note(
                event,
                path,
                f"{shown(f'*{event.anchor}')} is an alias, and none is followed",
                "write the value out; a text that begins with `*` needs quotes",
            )
            return Node(index, Mark.UNREADABLE)
        tagged = self._refuse_tag(event, path)
        if isinstance(event, yaml.ScalarEvent):
            value = Mark.UNREADABLE if tagged else self._value(event, path)
            return Node(index, value, text=event.value)
        if len(path) >= MAX_DEPTH:
            self._note(event, path[:3], f"is over {MAX_DEPTH} levels deep", "nest less")
            raise _TooDeepError
        build = self._list if isinstance(event, yaml.SequenceStartEvent) else self._mapping
        return build(Node(index, None), path)

    def _refuse_tag(self, event: yaml.Event, path: Path) -> bool:
        tag = cast("yaml.ScalarEvent", event).tag  # the starts of lists and mappings have one, too
        if tag is not None:
            self._note(
                event, path, f"has the tag {shown(str(tag))}", "remove it; tags are not read"
            )
        return tag is not None

    def _value(self, event: yaml.ScalarEvent, path: Path) -> object:
        tag = self._resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag == _STR:
            if _SURROGATE.search(event.value) is None:
                return event.value
            self._note(event, path, "holds half a character", "write the character itself")
            return Mark.UNREADABLE
        if tag in _CONSTRUCT and len(event.value) <= _LONGEST_VALUE:
            try:
                value = _CONSTRUCT[tag](self._constructor, yaml.ScalarNode(tag, event.value))
            except (ValueError, OverflowError):
                pass
            else:
                return Mark.EMPTY if value is None else value
        self._note(
            event,
            path,
            f"{shown(event.value)} is taken for {_TAKEN_FOR[tag]}",
            "write it out, or put it in quotes if it is a text",
        )
        return Mark.UNREADABLE

    def _list(self, node: Node, path: Path) -> Node:
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            position = len(node.children)
            child = self._node(event, (*path, position))
            child.key_index = child.index
            node.children[position] = child
        node.value = tuple(child.value for child in node.children.values())
        return node

    def _mapping(self, node: Node, path: Path) -> Node:
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, path)
            child = self._node(next(self._events), (*path, "?" if key is None else key))
            child.key_index = _index(event)
            if key is not None and key not in node.children:
                node.children[key] = child
            elif key is not None:
                line, _ = self._place(node.children[key].key_index)
                self._note(event, (*path, key), f"stands twice (first in line {line})", "keep one")
        node.value = {key: child.value for key, child in node.children.items()}
        return node

    def _key(self, event: yaml.Event, path: Path) -> str | None:
        """Read a key; None where it is none that a policy can have, and that is noted."""
        key = self._node(event, (*path, "?"))
        if isinstance(key.value, str):
            return key.value
        if key.value is not Mark.UNREADABLE:
            what = "a list or mapping" if key.text is None else shown(key.text)
            self._note(event, path, f"{what} stands as a key", "write a text, in quotes if need be")
        return None
