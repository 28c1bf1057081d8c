"""Durations: `90s`, `30m`, `12h`, `14d`, `2w`, or ISO 8601 (`P14D`)."""

import re
from datetime import timedelta

SHORT_DURATION = r"([0-9]+)([smhdw])"
ISO_DURATION = (
    r"P(?:([0-9]+)W|(?=[0-9T])(?:([0-9]+)D)?"
    r"(?:T(?=[0-9])(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)S)?)?)"
)
"""Whole weeks, days, hours, minutes, seconds. Years and months have no fixed length."""
MAX_DURATION = timedelta(days=36_500)

_CALENDAR_DURATION = re.compile(r"P[0-9.,]*[0-9][YM].*")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_MAX_DIGITS = 12
"""More digits exceed `MAX_DURATION` in any unit, and `int()` refuses over 4,300 digits."""


class DurationError(ValueError):
    """The text is not a usable duration.

    Attributes:
        message: The error; the text precedes it.
        hint: What to write instead.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}; {hint}")
        self.message = message
        self.hint = hint


def parse_duration(text: str, *, zero: bool = False) -> timedelta:
    """Parse a duration above zero and up to 100 years.

    Args:
        zero: Whether zero is allowed, too.

    Raises:
        DurationError: The text is not a duration, is zero, or exceeds 100 years.
    """
    seconds = sum(_parse_digits(digits) * size_s for digits, size_s in _split_duration(text))
    if seconds == 0 and not zero:
        raise DurationError("is zero", "write a duration above zero, such as `14d`")
    if seconds > MAX_DURATION.total_seconds():
        raise DurationError("is longer than 100 years", "write `36500d` or less")
    return timedelta(seconds=seconds)


def _parse_digits(digits: str) -> int:
    significant = digits.lstrip("0")
    return int(f"0{significant}" if len(significant) <= _MAX_DIGITS else "9" * _MAX_DIGITS)


def _split_duration(text: str) -> tuple[tuple[str, int], ...]:
    if short := re.fullmatch(SHORT_DURATION, text):
        return ((short[1], _SECONDS[short[2]]),)
    if iso := re.fullmatch(ISO_DURATION, text):
        return tuple(
            (digits, _SECONDS[unit])
            for digits, unit in zip(iso.groups(), "wdhms", strict=True)
            if digits is not None
        )
    if _CALENDAR_DURATION.fullmatch(text):
        raise DurationError("uses years or months, which have no fixed length", "write days")
    if text.startswith("-"):
        raise DurationError("is negative", "write a duration above zero, such as `14d`")
    raise DurationError(
        "is not a duration", "write a whole number and a unit: `90s`, `30m`, `12h`, `14d` or `2w`"
    )
