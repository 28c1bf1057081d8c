"""What was read of a file: plain data, and the place of everything in it."""

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from invite_sweeper.policy.words import Path


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
class Flaw:
    """A fault whose place is not yet counted in lines.

    Attributes:
        index: In characters from the beginning of the text.
    """

    index: int
    path: Path
    what: str
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
    flaws: tuple[Flaw, ...]
    place: Callable[[int], tuple[int, int]]

    def find(self, path: Path) -> tuple[Node, Path]:
        """Find the deepest value on a way, and how much of the way leads to it.

        Only where `root` is not None.
        """
        node = cast("Node", self.root)
        for depth, step in enumerate(path):
            if step not in node.children:
                return node, path[:depth]
            node = node.children[step]
        return node, path


def line_counter(text: str) -> Callable[[int], tuple[int, int]]:
    """Give a function from a place in a text to its line and column, both from 1."""
    starts = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))]

    def line_and_column(index: int) -> tuple[int, int]:
        line = bisect_right(starts, index)
        return line, index - starts[line - 1] + 1

    return line_and_column
