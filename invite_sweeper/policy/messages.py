"""What a person reads about a value: shown safely, called by its kind, the nearest right word."""

import difflib
from collections.abc import Iterable
from datetime import date, datetime
from enum import Enum
from typing import TypeAlias

_MAX_QUOTED_LENGTH = 60
_MAX_COMPARED_LENGTH = 64
"""A longer word is no slip of the finger, and comparing it is slow."""

KeyPath: TypeAlias = tuple[str | int, ...]
"""The way to a value: keys and list positions from the top."""


class Placeholder(Enum):
    """Stands in the plain data where the file has nothing that could be used."""

    EMPTY = "empty"
    """A null: nothing was written, or `~`."""
    UNREADABLE = "unreadable"
    """Something whose fault is reported already."""


def quote(text: str) -> str:
    """Give a text as it may be printed: in backticks, cut short, control characters escaped."""
    cut = text if len(text) <= _MAX_QUOTED_LENGTH else f"{text[:_MAX_QUOTED_LENGTH]}…"
    return f"`{''.join(_escape(character) for character in cut)}`"


def _escape(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def format_path(path: KeyPath) -> str:
    """Name a place, as `rules[0].older_than`; the top of the file is `policy`."""
    formatted = ""
    for step in path:
        if isinstance(step, int):
            formatted += f"[{step}]"
        else:
            name = quote(step)[1:-1]
            formatted += f".{name}" if formatted else name
    return formatted or "policy"


def describe_value(value: object, text: str | None = None) -> str:
    """Call a value by its kind: "the number `3`", "a list".

    Args:
        value: As it came out of the file.
        text: As it is written there, where it is a single value.
    """
    if name := _TYPE_NAMES.get(type(value)):
        return f"{name} {quote(str(value) if text is None else text)}"
    return "a list" if isinstance(value, tuple) else "a mapping of keys"


_TYPE_NAMES: dict[type, str] = {
    bool: "the truth value",
    int: "the number",
    float: "the number",
    str: "the text",
    datetime: "the instant",
    date: "the date",
}


def closest(word: str, candidates: Iterable[str], cutoff: float = 0.55) -> str | None:
    """Find the right word that is most like a wrong one; None where none is like it.

    Args:
        likeness: At least this ratio, as difflib counts it: 1 is the same word. What stands
            by default takes `EXPIRED` for `INVITATION_EXPIRED`.
    """
    if len(word) > _MAX_COMPARED_LENGTH:
        return None
    folded = {candidate.casefold(): candidate for candidate in candidates}
    found = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=cutoff)
    return folded[found[0]] if found else None


def join_or(words: Iterable[str]) -> str:
    """Join words for a sentence: `a`, `b` or `c`."""
    quoted = [f"`{word}`" for word in words]
    return " or ".join(part for part in (", ".join(quoted[:-1]), quoted[-1]) if part)
