"""Values out of an audit line that anybody may have written: never trusted, never too long."""

import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime

import orjson

LONGEST = 500
"""Characters of a value that are kept at all; what is cut off is said in its place."""

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_PLAIN = re.compile(r"[ -~]*")


def parse_line(raw: bytes) -> Mapping[str, object] | None:
    """One audit line as an object, or None where it is none.

    A line that orjson refuses (a lone surrogate, bytes that are no UTF-8) is read by the
    lenient parser of the standard library: showing it beats hiding it.
    """
    try:
        found: object = orjson.loads(raw)
    except orjson.JSONDecodeError:
        try:
            found = json.loads(raw.decode("utf-8", "backslashreplace"))
        except (ValueError, RecursionError):
            return None
    return found if isinstance(found, dict) else None


def text(value: object, longest: int = LONGEST) -> str:
    """The value as text of at most `longest` characters that UTF-8 can hold."""
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return text(", ".join(text(item) for item in value[:LONGEST]), longest)
    written = value if isinstance(value, str) else str(value)
    if len(written) > longest:
        written = f"{written[:longest]}… ({len(written):,} characters)"
    if written.isascii():
        return written
    return written.encode("utf-8", "backslashreplace").decode("utf-8")


def whole(value: object) -> int | None:
    """A whole number that SQLite can hold, or None."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
        return None
    return value


def number(value: object) -> float | None:
    """A finite number as a float, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if abs(found) < float("inf") else None


def instant(value: object) -> datetime | None:
    """An RFC 3339 date as aware UTC, or None where it is none; a date without a zone is none."""
    try:
        found = datetime.fromisoformat(text(value))
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None


def visible(written: str) -> str:
    """The text with everything that has no shape of its own spelt out, as `[U+202E]`.

    Controls, marks that turn the direction, joiners, lone surrogates and characters of no
    meaning can make one name look like another, or a line read backwards.
    """
    if _PLAIN.fullmatch(written):
        return written
    return "".join(
        f"[U+{ord(char):04X}]" if unicodedata.category(char) in _UNPRINTABLE else char
        for char in written
    )


def shortened(written: str, limit: int) -> str:
    """The text, cut to `limit` characters, the ellipsis included."""
    return written if len(written) <= limit else f"{written[: limit - 1]}…"
