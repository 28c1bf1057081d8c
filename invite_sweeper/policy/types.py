"""Field types of a policy, each with its own validation and error text."""

import re
import unicodedata
from collections.abc import Callable
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from invite_sweeper.models import INVITED_STATUSES, Source
from invite_sweeper.policy.durations import (
    ISO_DURATION,
    SHORT_DURATION,
    DurationError,
    parse_duration,
)
from invite_sweeper.policy.suspects import (
    Suspicion,
    suggest,
    unmatched_project,
    unmatched_username,
)
from invite_sweeper.policy.yaml_reader import Placeholder

_Member = TypeVar("_Member", bound=StrEnum)
_MAX_COUNT = 1_000_000_000
POLICY_ERROR_TYPE = "wrong"
"""The type of the errors raised here; their context holds `message`, `hint` and `quote`."""


def value_error(message: str, hint: str, *, show_value: bool = True) -> PydanticCustomError:
    """Return the error for a validator to raise, with the text that the operator reads.

    Args:
        message: A sentence without its subject, which is the value.
        hint: What to write instead.
        show_value: Whether the value may be printed.
    """
    context = {"message": message, "hint": hint, "quote": show_value}
    return PydanticCustomError(POLICY_ERROR_TYPE, "{message}; {hint}", context)


def _clean_text(value: str) -> str:
    """Reject an empty text, and one with invisible characters, which a glob would not match."""
    if not value.strip():
        raise value_error("is empty", "write a value, or remove it")
    if any(unicodedata.category(character) in _INVISIBLE_CATEGORIES for character in value):
        raise value_error("contains an invisible character", "remove it")
    if value != value.strip():
        raise value_error("starts or ends with a space", "remove the space")
    return value


_INVISIBLE_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")


def _atlas_id(value: str) -> str:
    if re.fullmatch(r"[0-9a-f]{24}", value):
        return value
    if re.fullmatch(r"[0-9a-f]{24}", value.lower()):
        raise value_error("has upper-case letters", f"write `{value.lower()}`")
    raise value_error("is not an organization id", "write 24 hex digits (0-9, a-f)")


def _pattern_validator(pattern: str, name: str, hint: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if re.fullmatch(pattern, value):
            return value
        # Not shown: a URL or secret that was pasted here must not reach a log.
        raise value_error(f"is not {name}", hint, show_value=False)

    return check


def _version(value: object) -> object:
    # Literal[1] would accept `yes` and `1.0`, which equal 1 in Python.
    if type(value) is int and value == 1:
        return value
    raise value_error("is not a supported version", "write `version: 1`")


def _duration(*, zero: bool = False) -> Callable[[object], object]:
    def parse(value: object) -> object:
        if isinstance(value, timedelta):
            return value
        if not isinstance(value, str):
            raise value_error(
                "has no time unit", "write a number and a unit: `90s`, `30m`, `12h`, `14d` or `2w`"
            )
        try:
            return parse_duration(value, zero=zero)
        except DurationError as error:
            raise value_error(error.message, error.hint) from None

    return parse


def _day(value: object) -> object:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise value_error("is not a date", "write it as `2027-03-31`")


def _one_of(allowed: tuple[_Member, ...], name: str) -> Callable[[object], _Member]:
    """Return a validator that returns the member with the value."""

    def check(value: object) -> _Member:
        if value not in allowed:
            raise value_error(f"is not {name}", suggest(value, allowed))
        return allowed[allowed.index(value)]

    return check


def _reject(find: Callable[[str], Suspicion | None]) -> Callable[[str], str]:
    """Return a validator that raises what `find` returns: a message and a hint."""

    def check(value: str) -> str:
        if issue := find(value):
            raise value_error(*issue)
        return value

    return check


def _unexpanded_path(path: str) -> Suspicion | None:
    if path.startswith("~"):
        hint = "write the whole path, such as `/var/log/invite-sweeper`"
        return "begins with `~`, which is not expanded", hint
    return None


def _only_true(value: bool) -> bool:
    if not value:
        raise value_error("is not a condition", "write `true`, or remove the key")
    return value


def _collapse_whitespace(value: str) -> str:
    return " ".join(value.split())


class NullInFile:
    """Lets a key be null in the file; elsewhere a key without a value is an error."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: None if value is Placeholder.EMPTY else value, handler(source)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"type": "null"}]}


class _FrozenMapping:
    """Validates a mapping of strings and stores it as a tuple of pairs, in file order."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        mapping = handler.generate_schema(dict[Text, Text])
        return core_schema.no_info_after_validator_function(
            lambda read: tuple(read.items()),
            mapping,
            serialization=core_schema.plain_serializer_function_ser_schema(dict),
        )


Text: TypeAlias = Annotated[
    str, AfterValidator(_clean_text), Field(json_schema_extra={"minLength": 1})
]
Sentence: TypeAlias = Annotated[
    str, AfterValidator(_collapse_whitespace), AfterValidator(_clean_text)
]
DirectoryPath: TypeAlias = Annotated[Text, AfterValidator(_reject(_unexpanded_path))]
OnlyTrue: TypeAlias = Annotated[bool, AfterValidator(_only_true), WithJsonSchema({"const": True})]
Texts: TypeAlias = Annotated[tuple[Text, ...], Field(min_length=1)]
UsernamePatterns: TypeAlias = Annotated[
    tuple[Annotated[Text, AfterValidator(_reject(unmatched_username))], ...], Field(min_length=1)
]
ProjectPattern: TypeAlias = Annotated[Text, AfterValidator(_reject(unmatched_project))]
ProjectPatterns: TypeAlias = Annotated[tuple[ProjectPattern, ...], Field(min_length=1)]
AtlasId: TypeAlias = Annotated[
    str, AfterValidator(_atlas_id), Field(json_schema_extra={"pattern": "^[0-9a-f]{24}$"})
]
CredentialsName: TypeAlias = Annotated[
    str,
    AfterValidator(
        _pattern_validator(
            "[A-Z0-9_]+",
            "a credentials name",
            "use upper-case letters, digits and `_`: the suffix of the variables' names",
        )
    ),
    Field(json_schema_extra={"pattern": "^[A-Z0-9_]+$"}),
]
Variable: TypeAlias = Annotated[
    str,
    AfterValidator(
        _pattern_validator(
            "[A-Z_][A-Z0-9_]*",
            "an environment variable name",
            "write the variable's name in upper case, never the URL or secret itself",
        )
    ),
    Field(json_schema_extra={"pattern": "^[A-Z_][A-Z0-9_]*$"}),
]
Version: TypeAlias = Annotated[int, BeforeValidator(_version), WithJsonSchema({"const": 1})]
_DurationText = WithJsonSchema(
    {"type": "string", "pattern": f"^({SHORT_DURATION}|{ISO_DURATION})$"}
)
Duration: TypeAlias = Annotated[timedelta, BeforeValidator(_duration()), _DurationText]
DurationOrZero: TypeAlias = Annotated[
    timedelta, BeforeValidator(_duration(zero=True)), _DurationText
]
Day: TypeAlias = Annotated[
    date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})
]
KnownSource: TypeAlias = Annotated[
    Source,
    BeforeValidator(_one_of(tuple(Source), "a source")),
    WithJsonSchema({"enum": [str(source) for source in Source]}),
]
Status: TypeAlias = Annotated[
    str,
    AfterValidator(_one_of(INVITED_STATUSES, "a status of an invitation")),
    Field(json_schema_extra={"enum": [str(status) for status in INVITED_STATUSES]}),
]
Tags: TypeAlias = Annotated[tuple[tuple[str, str], ...], _FrozenMapping]
Count: TypeAlias = Annotated[int, Field(ge=0, le=_MAX_COUNT)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
