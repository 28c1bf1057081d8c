"""Text for policy errors: quoted values, paths, type names and suggestions."""

import difflib
from collections.abc import Iterable
from datetime import date, datetime
from enum import Enum
from typing import NamedTuple, TypeAlias

from typing_extensions import override

_MAX_QUOTED_LENGTH = 60
_MAX_COMPARED_LENGTH = 64
"""A longer word is not a typing error, and comparing it is slow."""

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of the file to a value."""


class Placeholder(Enum):
    """Replaces a value that is missing or unusable in the parsed data."""

    EMPTY = "empty"
    """A null: no value, or `~`."""
    UNREADABLE = "unreadable"
    """A value whose error is already reported."""


class Finding(NamedTuple):
    """An error of several values, or a warning about a valid one.

    Attributes:
        path: Where the value is in the file.
        message: One sentence; in an error without its subject, which is the path.
        hint: What to write instead; empty if nothing.
    """

    path: KeyPath
    message: str
    hint: str = ""

    @override
    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


def quote(text: str) -> str:
    """Return a text in backticks, shortened, with unprintable characters escaped."""
    cut = text if len(text) <= _MAX_QUOTED_LENGTH else f"{text[:_MAX_QUOTED_LENGTH]}…"
    shown = (
        each if each.isprintable() else each.encode("unicode_escape", "backslashreplace").decode()
        for each in cut
    )
    return f"`{''.join(shown)}`"


def format_path(path: KeyPath) -> str:
    """Format a path, such as `rules[0].older_than`; the top of the file is `policy`."""
    formatted = ""
    for step in path:
        if isinstance(step, int):
            formatted += f"[{step}]"
        else:
            name = quote(step)[1:-1]
            formatted += f".{name}" if formatted else name
    return formatted or "policy"


def describe_value(value: object, text: str | None = None) -> str:
    """Describe a value by its type, such as "the number `3`" or "a list"."""
    if name := _TYPE_NAMES.get(type(value)):
        return f"{name} {quote(str(value) if text is None else text)}"
    return "a list" if isinstance(value, tuple) else "a mapping"


_TYPE_NAMES: dict[type, str] = {
    bool: "the boolean",
    int: "the number",
    float: "the number",
    str: "the string",
    datetime: "the timestamp",
    date: "the date",
}


def closest(word: str, candidates: Iterable[str], cutoff: float = 0.55) -> str | None:
    """Return the candidate most similar to `word`, or None if none is similar enough.

    Args:
        cutoff: Minimum difflib ratio; 1 means identical. The default matches `EXPIRED` with
            `INVITATION_EXPIRED`.
    """
    if len(word) > _MAX_COMPARED_LENGTH:
        return None
    folded = {candidate.casefold(): candidate for candidate in candidates}
    found = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=cutoff)
    return folded[found[0]] if found else None


def join_or(words: Iterable[str]) -> str:
    """Join words as alternatives: `a`, `b` or `c`."""
    quoted = [f"`{word}`" for word in words]
    return " or ".join(part for part in (", ".join(quoted[:-1]), quoted[-1]) if part)
