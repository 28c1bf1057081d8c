"""Field types of a policy, each with its own validation and error text."""

import fnmatch
import re
from contextlib import suppress
from datetime import date, timedelta
from functools import partial
from typing import Annotated, Final, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from invite_sweeper.models import Source
from invite_sweeper.policy.yaml_reader import NULL
from invite_sweeper.text import ATLAS_ID

_MAX_COUNT: Final = 1_000_000_000
_MAX_DURATION: Final = timedelta(days=36_500)
_SHORT_DURATION: Final = r"([0-9]+)([smhdw])"
_ISO_DURATION: Final = (
    r"P(?:([0-9]+)W|(?=[0-9T])(?:([0-9]+)D)?"
    r"(?:T(?=[0-9])(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)S)?)?)"
)
"""Whole weeks, days, hours, minutes and seconds; years and months have no fixed length."""
_SECONDS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}


class InvalidValue(ValueError):
    """A value that is not allowed; pydantic makes an error of it.

    Attributes:
        message: A sentence without its subject, which is the value.
        hint: What to write instead.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}; {hint}")
        self.message = message
        self.hint = hint


def parse_duration(text: str, *, zero: bool = False) -> timedelta:
    """Parse a duration above zero and up to 100 years: `90s`, `30m`, `12h`, `14d`, `2w`, `P14D`.

    Args:
        zero: Whether zero is allowed, too.

    Raises:
        InvalidValue: The text is not a duration, is zero, or exceeds 100 years.
    """
    if short := re.fullmatch(_SHORT_DURATION, text):
        numbers = {short[2]: short[1]}
    elif iso := re.fullmatch(_ISO_DURATION, text):
        numbers = dict(zip(_SECONDS, iso.groups("0"), strict=True))
    else:
        hint = "write a whole number and a unit: `90s`, `30m`, `12h`, `14d` or `2w`"
        raise InvalidValue("is not a duration", hint)
    # `int` refuses more than 4,300 digits (Python 3.11), a float is infinite, which is too long.
    seconds = sum(_SECONDS[unit] * float(number) for unit, number in numbers.items())
    if seconds > _MAX_DURATION.total_seconds() or not (seconds or zero):
        raise InvalidValue("is zero, or longer than 100 years", "write `14d` or another duration")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """Return a duration of whole seconds as a policy writes it, in the largest unit that fits."""
    seconds = round(duration.total_seconds())
    if seconds == 0:
        return "0s"
    for unit in ("d", "h", "m"):
        if seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"


def _visible(value: str) -> str:
    """Refuse a text that is not what a reader sees: a glob would not match."""
    if value and value == value.strip() and value.isprintable():
        return value
    hint = "write a text without invisible characters, and without spaces at its ends"
    raise InvalidValue("is not visible text", hint)


def _duration(value: object, *, zero: bool = False) -> timedelta:
    return parse_duration(value if isinstance(value, str) else "", zero=zero)


def _wait(value: timedelta) -> timedelta:
    """Refuse what ends before it: an announcement holds for 100 days, a sweep may be days late."""
    if value > timedelta(days=90):
        raise InvalidValue("is longer than 90 days", "write `90d` or less")
    return value


def _day(value: object) -> date:
    text = str(value)
    if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        with suppress(ValueError):
            return date.fromisoformat(text)
    raise InvalidValue("is not a date", "write it as `2027-03-31`")


def _only_true(value: bool) -> bool:
    if not value:
        raise InvalidValue("is not a condition", "write `true`, or remove the key")
    return value


def _narrow(pattern: str) -> str:
    """Refuse a glob that matches every address: nobody is left."""
    if all(fnmatch.fnmatchcase(address, pattern.lower()) for address in _UNLIKE_ADDRESSES):
        hint = "write globs for the people to leave out, such as `*@example.com`"
        raise InvalidValue("matches everybody", hint)
    return pattern


_UNLIKE_ADDRESSES: Final = ("a@b.cd", "efg.hij+12@klm-34.nopq.rstuvw")
"""Addresses with no letter in common, and of parts with different lengths."""


def _collapse_whitespace(value: str) -> str:
    return " ".join(value.split())


def _null(value: object) -> object:
    """Return None for a key without a value, which is an error of any other key."""
    return None if value is NULL else value


def _refuse(regex: str, message: str, hint: str) -> AfterValidator:
    """Return a check that refuses each text which an expression matches whole."""

    def check(value: str) -> str:
        if re.fullmatch(regex, value):
            raise InvalidValue(message, hint)
        return value

    return AfterValidator(check)


_NO_ID: Final = "[0-9a-fA-F]{20,23}|[0-9a-fA-F]{25,28}"
"""Probably an id with a missing or a doubled digit."""
_T = TypeVar("_T")
OneOrMore: TypeAlias = Annotated[tuple[_T, ...], Field(min_length=1)]
Text: TypeAlias = Annotated[
    str, AfterValidator(_visible), Field(json_schema_extra={"minLength": 1})
]
Sentence: TypeAlias = Annotated[str, AfterValidator(_collapse_whitespace), AfterValidator(_visible)]
DirectoryPath: TypeAlias = Annotated[
    Text, _refuse("~.*", "begins with `~`", "write the whole path: `~` is not expanded")
]
OnlyTrue: TypeAlias = Annotated[bool, AfterValidator(_only_true), WithJsonSchema({"const": True})]
UsernamePattern: TypeAlias = Annotated[
    Text,
    _refuse(
        r"(?i:mailto:).*|@.*|.*[,;<#\s].*|[^@*?[]*",
        "matches no address",
        'write an entry for each address or glob, such as "*@example.com"',
    ),
]
OwnPattern: TypeAlias = Annotated[UsernamePattern, AfterValidator(_narrow)]
OrganizationPattern: TypeAlias = Annotated[
    Text,
    _refuse(
        rf"{_NO_ID}|(?=.*[A-F])[0-9a-fA-F]{{24}}",
        "matches no organization",
        "write a glob on the name, or an id: 24 hex digits (0-9, a-f)",
    ),
]
ProjectPattern: TypeAlias = Annotated[
    Text,
    _refuse(
        rf"!.*|.*/|{_NO_ID}",
        "matches no project",
        "write a glob on the name, or an id of 24 hex digits; under `exclude` to skip it",
    ),
]
AtlasId: TypeAlias = Annotated[str, Field(pattern=f"^{ATLAS_ID}$")]
CredentialsName: TypeAlias = Annotated[
    str,
    Field(pattern="^[A-Z0-9_]+$"),
    _refuse("(.*_)?FILE", "names the file of another set", "choose another name than `FILE`"),
]
Variable: TypeAlias = Annotated[str, Field(pattern="^[A-Z_][A-Z0-9_]*$")]
Version: TypeAlias = Annotated[int, Field(ge=1, le=1), WithJsonSchema({"const": 1})]
_DurationText = WithJsonSchema(
    {"type": "string", "pattern": f"^({_SHORT_DURATION}|{_ISO_DURATION})$"}
)
_AsWritten = PlainSerializer(format_duration, return_type=str, when_used="json")
Duration: TypeAlias = Annotated[timedelta, BeforeValidator(_duration), _DurationText, _AsWritten]
Wait: TypeAlias = Annotated[Duration, AfterValidator(_wait)]
DurationOrZero: TypeAlias = Annotated[
    timedelta, BeforeValidator(partial(_duration, zero=True)), _DurationText, _AsWritten
]
Day: TypeAlias = Annotated[
    date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})
]
KnownSource: TypeAlias = Annotated[
    Source, Field(strict=False), WithJsonSchema({"enum": [str(source) for source in Source]})
]
InvitedStatus: TypeAlias = Literal["PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED"]
Rate: TypeAlias = Annotated[
    Annotated[float, Field(gt=0, allow_inf_nan=False)] | None,
    BeforeValidator(_null),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}]}),
]
Count: TypeAlias = Annotated[int, Field(ge=0, le=_MAX_COUNT)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
