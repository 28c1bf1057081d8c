"""What a person reads about a value: shown safely, called by its kind, the nearest right word."""

import difflib
from collections.abc import Iterable
from datetime import date, datetime
from enum import Enum
from typing import TypeAlias

_LONGEST_SHOWN = 60
_LONGEST_COMPARED = 64
"""A longer word is no slip of the finger, and comparing it is slow."""

Path: TypeAlias = tuple[str | int, ...]
"""The way to a value: keys and list positions from the top."""


class Mark(Enum):
    """Stands in the plain data where the file has nothing that could be used."""

    EMPTY = "empty"
    """A null: nothing was written, or `~`."""
    UNREADABLE = "unreadable"
    """Something whose fault is reported already."""


def shown(text: str) -> str:
    """Give a text as it may be printed: in backticks, cut short, control characters escaped."""
    cut = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
    return f"`{''.join(_visible(character) for character in cut)}`"


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def place_in_words(path: Path) -> str:
    """Name a place, as `rules[0].older_than`; the top of the file is `policy`."""
    words = ""
    for step in path:
        if isinstance(step, int):
            words += f"[{step}]"
        else:
            name = shown(step)[1:-1]
            words += f".{name}" if words else name
    return words or "policy"


def kind(value: object, text: str | None = None) -> str:
    """Call a value by its kind: "the number `3`", "a list".

    Args:
        value: As it came out of the file.
        text: As it is written there, where it is a single value.
    """
    if name := _KINDS.get(type(value)):
        return f"{name} {shown(str(value) if text is None else text)}"
    return "a list" if isinstance(value, tuple) else "a mapping of keys"


_KINDS: dict[type, str] = {
    bool: "the truth value",
    int: "the number",
    float: "the number",
    str: "the text",
    datetime: "the instant",
    date: "the date",
}


def nearest(word: str, right: Iterable[str], likeness: float = 0.55) -> str | None:
    """Find the right word that is most like a wrong one; None where none is like it.

    Args:
        likeness: At least this ratio, as difflib counts it: 1 is the same word. What stands
            by default takes `EXPIRED` for `INVITATION_EXPIRED`.
    """
    if len(word) > _LONGEST_COMPARED:
        return None
    folded = {candidate.casefold(): candidate for candidate in right}
    found = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=likeness)
    return folded[found[0]] if found else None


def listed(words: Iterable[str]) -> str:
    """Join words for a sentence: `a`, `b` or `c`."""
    quoted = [f"`{word}`" for word in words]
    return " or ".join(part for part in (", ".join(quoted[:-1]), quoted[-1]) if part)
