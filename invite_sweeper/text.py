"""Text: plurals, names and globs that ignore case, and untrusted values of audit lines."""

import fnmatch
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from unicodedata import category, normalize


def pluralize(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun; the default plural adds an s."""
    return f"{number:,} {plural_form(number, singular, plural or singular + 's')}"


def plural_form(number: int, singular: str, plural: str) -> str:
    """Return the word that agrees with a number: `is` or `are`, `has` or `have`."""
    return singular if number == 1 else plural


def casefold_visible(name: str) -> str:
    """Return the form of a name for comparisons.

    It ignores case and differences that are not visible: Unicode composition (NFC), format
    characters such as zero-width spaces, and white space at both ends.
    """
    if name.isascii():
        return name.strip().lower()
    visible_text = "".join(char for char in normalize("NFC", name) if category(char) != "Cf")
    return normalize("NFC", visible_text.casefold()).strip()


class Globs:
    """A list of globs (`*`, `?`, `[abc]`, `[!abc]`) that matches if any of them does.

    A glob must match the whole name. An empty list matches nothing.
    """

    __slots__ = ("_any", "_each", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        self._each = tuple(
            re.compile(fnmatch.translate(casefold_visible(p))) for p in self.patterns
        )
        self._any = re.compile("|".join(f"(?:{p.pattern})" for p in self._each) or r"(?!)")

    def matches(self, name: str) -> bool:
        """Return whether any glob matches the name."""
        return self._any.match(casefold_visible(name)) is not None

    def matching_patterns(self, name: str) -> tuple[str, ...]:
        """Return the globs that match the name, as the policy writes them."""
        folded = casefold_visible(name)
        return tuple(p for p, r in zip(self.patterns, self._each, strict=True) if r.match(folded))


# Values of audit lines are untrusted: any program may have written them.


MAX_TEXT_LENGTH = 500
"""Characters of a value that `to_text` keeps; a suffix shows the original length."""

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_PLAIN = re.compile(r"[ -~]*")


def to_text(value: object, max_length: int = MAX_TEXT_LENGTH) -> str:
    """Return a value as text that UTF-8 can encode, cut to `max_length` characters."""
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
    """Return an integer that SQLite can store, or None."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
        return None
    return value


def to_float(value: object) -> float | None:
    """Return a finite number as a float, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if abs(found) < float("inf") else None


def to_datetime(value: object) -> datetime | None:
    """Return an RFC 3339 date as aware UTC; None if it is invalid or has no time zone."""
    try:
        found = datetime.fromisoformat(to_text(value))
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None


def escape_unprintable(value: str) -> str:
    """Return the text with unprintable characters replaced by their code, as `[U+202E]`.

    Control characters, direction marks, joiners, lone surrogates and unassigned characters can
    make one name look like another, or reverse a line.
    """
    if _PLAIN.fullmatch(value):
        return value
    return "".join(
        f"[U+{ord(char):04X}]" if category(char) in _UNPRINTABLE else char for char in value
    )


def truncate(value: str, limit: int) -> str:
    """Return the text cut to `limit` characters, including the ellipsis."""
    return value if len(value) <= limit else f"{value[: limit - 1]}…"
