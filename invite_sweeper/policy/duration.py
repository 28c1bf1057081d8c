"""Spans of time as people write them: `90s`, `30m`, `12h`, `14d`, `2w`, or ISO 8601 (`P14D`)."""

import re
from datetime import timedelta

SHORT = r"([0-9]+)([smhdw])"
ISO = (
    r"P(?:([0-9]+)W|(?=[0-9T])(?:([0-9]+)D)?"
    r"(?:T(?=[0-9])(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)S)?)?)"
)
"""Weeks, days, hours, minutes, seconds; whole numbers. Years and months have no fixed length."""
LONGEST = timedelta(days=36_500)

_CALENDAR = re.compile(r"P[0-9.,]*[0-9][YM].*")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_MOST_DIGITS = 12
"""More digits are past `LONGEST` in any unit, and Python refuses to read some 4,300 of them."""


class DurationError(ValueError):
    """The text is no span of time that can be used.

    Attributes:
        message: What is wrong with it.
        hint: What to write instead.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}; {hint}")
        self.message = message
        self.hint = hint


def parse_duration(text: str) -> timedelta:
    """Read a span of time: more than nothing, 100 years at most.

    Raises:
        DurationError: It has another form, is zero, or is too long.
    """
    seconds = sum(_count(digits) * size_s for digits, size_s in _parts(text))
    if seconds == 0:
        raise DurationError("is no time at all", "write a duration above zero, as `14d`")
    if seconds > LONGEST.total_seconds():
        raise DurationError("is longer than 100 years", "write `36500d` or less")
    return timedelta(seconds=seconds)


def _count(digits: str) -> int:
    significant = digits.lstrip("0")
    return int(f"0{significant}" if len(significant) <= _MOST_DIGITS else "9" * _MOST_DIGITS)


def _parts(text: str) -> tuple[tuple[str, int], ...]:
    if short := re.fullmatch(SHORT, text):
        return ((short[1], _SECONDS[short[2]]),)
    if iso := re.fullmatch(ISO, text):
        return tuple(
            (digits, _SECONDS[unit])
            for digits, unit in zip(iso.groups(), "wdhms", strict=True)
            if digits is not None
        )
    if _CALENDAR.fullmatch(text):
        raise DurationError("counts years or months, which have no fixed length", "write days")
    if text.startswith("-"):
        raise DurationError("is below zero", "write a duration above zero, as `14d`")
    raise DurationError(
        "is no duration", "write a whole number and its unit: `90s`, `30m`, `12h`, `14d` or `2w`"
    )
