"""Plurals, case-folding and globs, printable text."""

import fnmatch
import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from unicodedata import category, normalize

# Numbers with their words, as a person says them: one is never `1 projects`. Pure.


def pluralize(number: int, singular: str, plural: str | None = None) -> str:
    """Give a number with its noun."""
    return f"{number:,} {plural_form(number, singular, plural or singular + 's')}"


def plural_form(number: int, singular: str, plural: str) -> str:
    """Give the word that goes with a number: `is` or `are`, `has` or `have`."""
    return singular if number == 1 else plural


# Names and globs: how one name is compared with another, everywhere the same.


def casefold_visible(name: str) -> str:
    """Give the form of a name that comparisons use: case does not count.

    Nor does what a person cannot see on a screen: how a letter is composed (NFC), signs
    without a shape of their own, and space at either end.
    """
    if name.isascii():
        return name.strip().lower()
    visible_text = "".join(sign for sign in normalize("NFC", name) if category(sign) != "Cf")
    return normalize("NFC", visible_text.casefold()).strip()


class Globs:
    """A list of globs (`*`, `?`, `[abc]`, `[!abc]`), of which any may match.

    A glob is held against the whole name. An empty list matches nothing.
    """

    __slots__ = ("_any", "_each", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        self._each = tuple(
            re.compile(fnmatch.translate(casefold_visible(p))) for p in self.patterns
        )
        self._any = re.compile("|".join(f"(?:{p.pattern})" for p in self._each) or r"(?!)")

    def matches(self, name: str) -> bool:
        """Tell whether any glob covers the whole name."""
        return self._any.match(casefold_visible(name)) is not None

    def matching_patterns(self, name: str) -> tuple[str, ...]:
        """Give the globs that cover the name, as the person wrote them."""
        folded = casefold_visible(name)
        return tuple(p for p, r in zip(self.patterns, self._each, strict=True) if r.match(folded))


# Values out of an audit line that anybody may have written: never trusted, never too long.


MAX_TEXT_LENGTH = 500
"""Characters of a value that are kept at all; what is cut off is said in its place."""

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_PLAIN = re.compile(r"[ -~]*")


def to_text(value: object, max_length: int = MAX_TEXT_LENGTH) -> str:
    """The value as text of at most `longest` characters that UTF-8 can hold."""
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return to_text(", ".join(to_text(item) for item in value[:MAX_TEXT_LENGTH]), max_length)
    result = value if isinstance(value, str) else str(value)
    if len(result) > max_length:
        result = f"{result[:max_length]}… ({len(result):,} characters)"
    if result.isascii():
        return result
    return result.encode("utf-8", "backslashreplace").decode("utf-8")


def to_int(value: object) -> int | None:
    """A whole number that SQLite can hold, or None."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
        return None
    return value


def to_float(value: object) -> float | None:
    """A finite number as a float, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if abs(found) < float("inf") else None


def to_datetime(value: object) -> datetime | None:
    """An RFC 3339 date as aware UTC, or None where it is none; a date without a zone is none."""
    try:
        found = datetime.fromisoformat(to_text(value))
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None


def escape_unprintable(value: str) -> str:
    """The text with everything that has no shape of its own spelt out, as `[U+202E]`.

    Controls, marks that turn the direction, joiners, lone surrogates and characters of no
    meaning can make one name look like another, or a line read backwards.
    """
    if _PLAIN.fullmatch(value):
        return value
    return "".join(
        f"[U+{ord(char):04X}]" if unicodedata.category(char) in _UNPRINTABLE else char
        for char in value
    )


def truncate(value: str, limit: int) -> str:
    """The text, cut to `limit` characters, the ellipsis included."""
    return value if len(value) <= limit else f"{value[: limit - 1]}…"
