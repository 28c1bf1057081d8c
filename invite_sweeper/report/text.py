"""Texts that several outputs share: durations, instants, reasons to keep, names."""

from typing import Final

from invite_sweeper.redaction import SECRETS
from invite_sweeper.sweep.selection import KEEP_REASONS
from invite_sweeper.text import escape_unprintable, to_datetime, to_text

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_MAX_NAME_LENGTH: Final = 120


def display_text(value: object) -> str:
    """Return a name as it is shown: without secrets, truncated, unprintable characters escaped."""
    shown = SECRETS.redact(value) if isinstance(value, str) else value
    return escape_unprintable(to_text(shown, _MAX_NAME_LENGTH))


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
