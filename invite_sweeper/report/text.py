"""Texts that several outputs share: durations, instants, reasons to keep, names; markup."""

import re
from itertools import groupby
from typing import Final

from invite_sweeper.redaction import SECRETS
from invite_sweeper.sweep.selection import KEEP_REASONS
from invite_sweeper.text import escape_unprintable, to_datetime, truncate

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_MAX_NAME_LENGTH: Final = 120


def display_text(value: str | None) -> str:
    """Return a name as it is shown: without secrets, truncated, unprintable characters escaped."""
    return escape_unprintable(truncate(SECRETS.redact(value or ""), _MAX_NAME_LENGTH))


def describe_keep_reason(key: str) -> str:
    """Return the text for a key of `kept_by_reason`."""
    kind, _, entry = key.partition(":")
    if kind == "keep":
        return f"keep entry {escape_unprintable(entry)}"
    return KEEP_REASONS.get(key) or escape_unprintable(key).replace("_", " ")


def describe_duration_s(seconds: float) -> str:
    """Return a duration in the units that suit its size."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    return f"{whole // _HOUR_S:,} h {whole % _HOUR_S // _MINUTE_S} min"


def describe_instant(text: str) -> str:
    """Return an instant of the log to the minute."""
    found = to_datetime(text)
    return f"{found:%Y-%m-%d %H:%M} UTC" if found is not None else "an unknown time"


_SAFE_WORD: Final = re.compile(r"[A-Za-z0-9,;:'()%/.+·-]*")
_LINK: Final = re.compile(r"://|www\.|\.[A-Za-z]", re.IGNORECASE)
_LIST_ITEM: Final = re.compile(r"[-+]+|[0-9]+[.)]")
_FENCES: Final = re.compile(r"`+")


def code_span(value: str, *, in_table: bool = False) -> str:
    """Return the text as a code span, which cannot become markup; empty stays empty.

    Args:
        value: Escaped text, without line breaks or control characters.
        in_table: Escape `|`, because a table row is split before code spans are parsed.

    Source:
        GitHub Flavored Markdown, version 0.29, 6.3 "Code spans" and 4.10 "Tables".
    """
    if not value.strip():
        return ""
    longest = max((len(fence) for fence in _FENCES.findall(value)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if value[0] in "` " or value[-1] in "` " else ""
    span = f"{fence}{pad}{value}{pad}{fence}"
    return span.replace("|", "\\|") if in_table else span


def markdown_text(value: str) -> str:
    """Return a sentence in which words that could become markup or a link are code spans."""
    words = escape_unprintable(value).split()
    parts = []
    for is_safe, group in groupby(enumerate(words), lambda each: _is_safe(*each)):
        text = " ".join(word for _, word in group)
        if not is_safe:
            core = text.rstrip(".,;:")
            text = code_span(core) + text[len(core) :]
        parts.append(text)
    return " ".join(parts)


def _is_safe(position: int, word: str) -> bool:
    if _SAFE_WORD.fullmatch(word) is None or _LINK.search(word):
        return False
    return position > 0 or _LIST_ITEM.fullmatch(word) is None
