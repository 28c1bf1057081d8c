"""Field types of a policy, each with its own validation and error text."""

import difflib
import fnmatch
import re
import unicodedata
from collections.abc import Collection, Iterable
from datetime import date, datetime, timedelta
from functools import partial
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from invite_sweeper.models import MembershipStatus, Source
from invite_sweeper.names import ATLAS_ID, is_atlas_id
from invite_sweeper.policy.yaml_reader import Placeholder, quote

_MAX_COUNT: Final = 1_000_000_000
_MAX_DURATION: Final = timedelta(days=36_500)
_SHORT_DURATION: Final = r"([0-9]+)([smhdw])"
_ISO_DURATION: Final = (
    r"P(?:([0-9]+)W|(?=[0-9T])(?:([0-9]+)D)?"
    r"(?:T(?=[0-9])(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)S)?)?)"
)
"""Whole weeks, days, hours, minutes, seconds. Years and months have no fixed length."""
_CALENDAR_DURATION: Final = r"P[0-9.,]*[0-9][YM].*"
_SECONDS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_UNITS: Final = "a number and a unit: `90s`, `30m`, `12h`, `14d` or `2w`"


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


_MAX_COMPARED_LENGTH: Final = 64
"""A longer word is not a typing error, and comparing it is slow."""


def join_or(words: Iterable[str]) -> str:
    """Join words as alternatives: `a`, `b` or `c`."""
    *others, last = [f"`{word}`" for word in words]
    if not others:
        return last
    return f"{', '.join(others)} or {last}"


def suggest(
    word: object, candidates: Collection[str], otherwise: str = "", *, cutoff: float = 0.55
) -> str:
    """Return the hint to write the candidate that is most similar to `word`.

    Args:
        otherwise: The hint if none is similar enough; by default to write one of all.
        cutoff: Minimum difflib ratio; 1 means identical. The default matches `EXPIRED` with
            `INVITATION_EXPIRED`.
    """
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    if isinstance(word, str) and len(word) <= _MAX_COMPARED_LENGTH:
        closest = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=cutoff)
        if closest:
            return f"write `{by_folded[closest[0]]}`"
    return otherwise or f"write {join_or(candidates)}"


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
    elif re.fullmatch(_CALENDAR_DURATION, text):
        raise InvalidValue("uses years or months, which have no fixed length", "write days")
    elif text.startswith("-"):
        raise InvalidValue("is negative", "write a duration above zero, such as `14d`")
    else:
        raise InvalidValue("is not a duration", f"write a whole {_UNITS.removeprefix('a ')}")
    # `int` refuses more than 4,300 digits (Python 3.11), a float is infinite, which is too long.
    seconds = sum(_SECONDS[unit] * float(number) for unit, number in numbers.items())
    if seconds == 0 and not zero:
        raise InvalidValue("is zero", "write a duration above zero, such as `14d`")
    if seconds > _MAX_DURATION.total_seconds():
        raise InvalidValue("is longer than 100 years", "write `36500d` or less")
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


def _clean_text(value: str) -> str:
    """Reject an empty text, and one with invisible characters, which a glob would not match."""
    if not value.strip():
        raise InvalidValue("is empty", "write a value, or remove it")
    if any(unicodedata.category(character) in _INVISIBLE_CATEGORIES for character in value):
        raise InvalidValue("contains an invisible character", "remove it")
    if value != value.strip():
        raise InvalidValue("starts or ends with a space", "remove the space")
    return value


_INVISIBLE_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")


def _atlas_id(value: str) -> str:
    if is_atlas_id(value):
        return value
    if is_atlas_id(value.lower()):
        raise InvalidValue("has upper-case letters", f"write `{value.lower()}`")
    raise InvalidValue("is not an organization id", "write 24 hex digits (0-9, a-f)")


def _version(value: object) -> object:
    # Literal[1] would accept `yes` and `1.0`, which equal 1 in Python.
    if type(value) is int and value == 1:
        return value
    raise InvalidValue("is not a supported version", "write `version: 1`")


def _duration(value: object, *, zero: bool = False) -> object:
    if not isinstance(value, str):
        raise InvalidValue("has no time unit", f"write {_UNITS}")
    return parse_duration(value, zero=zero)


def _wait(value: timedelta) -> timedelta:
    """Reject a wait after which the announcement is older than what a run reads of the past."""
    if value > _MAX_WAIT:
        raise InvalidValue(f"is longer than {_MAX_WAIT.days} days", "write `90d` or less")
    return value


_MAX_WAIT: Final = timedelta(days=90)
"""Announcements hold for 100 days, and a sweep may be days late."""


def _day(value: object) -> object:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise InvalidValue("is not a date", "write it as `2027-03-31`")


class Correction(NamedTuple):
    """What is wrong with a value, and what to write instead.

    Two sentences without their full stop; the first one without its subject, which is the value.
    """

    message: str
    hint: str


_REGEX_SIGNS: Final = re.compile(
    r"""
      ^\^ | \$$                        # anchors
    | ^/ .+ / [gimsux]*$               # in slashes, as Perl and JavaScript write it
    | \\                               # an escape, as in \. or \d
    | \|                               # alternatives
    | \(\?                             # a group with flags
    | \[\^                             # a negated class: globs write [!
    | \]\+ (?= @ | \. | $ )            # a repeated class: [a-z]+@
    | [])*.] \{ [0-9]                  # a repetition: [a-z]{2,}
    | (?: ^ | (?<=[@_(-]) ) \. [*+]    # any text, where no name has a dot: .*@gmail.com
    | \.\+ (?= @ | $ )                 # any text again: ada.+@gmail.com
    """,
    re.VERBOSE,
)
_BRACES: Final = re.compile(r"\{[^{}]*,[^{}]*\}")
_EACH_ALTERNATIVE: Final = "an entry for each alternative"


def suspicious_pattern(pattern: str) -> Correction | None:
    """Return what is suspicious about a glob: a regular expression, or one with braces.

    `a.*@x` and `[ab]+c@x` may be either, and are accepted as globs.
    """
    if _REGEX_SIGNS.search(pattern):
        hint = f"write `*` for any text, `?` for one character, and {_EACH_ALTERNATIVE}"
        return Correction("is a regular expression, and patterns are globs", hint)
    if _BRACES.search(pattern):
        return Correction("is a glob, and globs have no braces", f"write {_EACH_ALTERNATIVE}")
    return None


_ONE_EACH: Final = "write each address as its own entry"
_NO_ADDRESS: Final = "is not an address and has no wildcard"
_UNMATCHED_USERNAMES: Final = (
    (r"(?i:mailto:)(.*)", "starts with `mailto:`", 'write "{}"'),
    (r".*<([^>]*)>?.*", "contains `<`", 'write "{}"'),
    (r"(.+?)\s*#.*", "contains `#`", 'write "{}"'),
    (r"#.*", "contains `#`", "remove it"),
    (r".*([,;]).*", "contains `{}`", _ONE_EACH),
    (r".*\s.*", "contains white space", f"remove it, or {_ONE_EACH}"),
    (r"@(.*)", "starts with `@`, and an address never does", 'write "*@{}"'),
    (r"([^@*?[]+\.[^@*?[]+)", _NO_ADDRESS, 'write "*@{}", or the whole address'),
    (r"([^@*?[]+)", _NO_ADDRESS, 'write "{}@*", or the whole address'),
)
"""A pattern of globs that match no address, the message, and the hint with its group."""


def _username(pattern: str) -> str:
    for regex, message, hint in _UNMATCHED_USERNAMES:
        if match := re.fullmatch(regex, pattern):
            _reject_regex(pattern)
            parts = match.groups()
            raise InvalidValue(message.format(*parts), hint.format(*parts))
    return pattern


def _reject_regex(pattern: str) -> None:
    """Raise InvalidValue for a pattern that is not a glob: what else is wrong follows from that."""
    suspicion = suspicious_pattern(pattern)
    if suspicion is not None:
        raise InvalidValue(suspicion.message, suspicion.hint)


def _own_username(pattern: str) -> str:
    """Reject a glob that matches every address: a condition that no person meets."""
    if all(fnmatch.fnmatchcase(address, pattern.lower()) for address in _UNLIKE_ADDRESSES):
        hint = "write globs for the people to leave out, such as `*@example.com`"
        raise InvalidValue("matches everybody, so nobody is left", hint)
    return pattern


_UNLIKE_ADDRESSES: Final = ("a@b.cd", "efg.hij+12@klm-34.nopq.rstuvw")
"""Addresses with no letter in common, and of parts with different lengths."""


def _organization(pattern: str) -> str:
    if is_atlas_id(pattern.lower()):
        return _atlas_id(pattern)
    return _check_id_length(pattern)


def _credentials_name(name: str) -> str:
    """Reject a name whose variables would be those that name the file of another set."""
    if name == "FILE" or name.endswith("_FILE"):
        hint = "choose another name: a variable that ends with `_FILE` names a file"
        raise InvalidValue("ends with `FILE`", hint)
    return name


def _check_id_length(pattern: str) -> str:
    """Reject what is probably an id with a missing or doubled digit."""
    if re.fullmatch("[0-9a-fA-F]{20,28}", pattern) and not is_atlas_id(pattern.lower()):
        raise InvalidValue(f"has {len(pattern)} hex digits; an id has 24", "check the id")
    return pattern


def _project(pattern: str) -> str:
    if pattern.startswith("!"):
        name = quote(pattern.removeprefix("!"))
        hint = f"write {name}, under `include` to read it or under `exclude` to skip it"
        raise InvalidValue("starts with `!`, which does not negate", hint)
    if pattern.endswith("/"):
        _reject_regex(pattern)
        hint = f"write {quote(pattern[:-1])}"
        raise InvalidValue("ends with `/`, and no project's name does", hint)
    return _check_id_length(pattern)


def _whole_path(path: str) -> str:
    if path.startswith("~"):
        hint = "write the whole path, such as `/var/log/invite-sweeper`"
        raise InvalidValue("begins with `~`, which is not expanded", hint)
    return path


def _only_true(value: bool) -> bool:
    if not value:
        raise InvalidValue("is not a condition", "write `true`, or remove the key")
    return value


def _collapse_whitespace(value: str) -> str:
    return " ".join(value.split())


def _null(value: object) -> object:
    """Return None for a key without a value, which is an error of any other key."""
    return None if value is Placeholder.EMPTY else value


_T = TypeVar("_T")
OneOrMore: TypeAlias = Annotated[tuple[_T, ...], Field(min_length=1)]
Text: TypeAlias = Annotated[
    str, AfterValidator(_clean_text), Field(json_schema_extra={"minLength": 1})
]
Sentence: TypeAlias = Annotated[
    str, AfterValidator(_collapse_whitespace), AfterValidator(_clean_text)
]
DirectoryPath: TypeAlias = Annotated[Text, AfterValidator(_whole_path)]
OnlyTrue: TypeAlias = Annotated[bool, AfterValidator(_only_true), WithJsonSchema({"const": True})]
UsernamePattern: TypeAlias = Annotated[Text, AfterValidator(_username)]
OwnPattern: TypeAlias = Annotated[UsernamePattern, AfterValidator(_own_username)]
OrganizationPattern: TypeAlias = Annotated[Text, AfterValidator(_organization)]
ProjectPattern: TypeAlias = Annotated[Text, AfterValidator(_project)]
AtlasId: TypeAlias = Annotated[
    str, AfterValidator(_atlas_id), Field(json_schema_extra={"pattern": f"^{ATLAS_ID}$"})
]
CredentialsName: TypeAlias = Annotated[
    str, Field(pattern="^[A-Z0-9_]+$"), AfterValidator(_credentials_name)
]
Variable: TypeAlias = Annotated[str, Field(pattern="^[A-Z_][A-Z0-9_]*$")]
PATTERNS: Final = {
    "^[A-Z0-9_]+$": Correction(
        "is not a credentials name",
        "use upper-case letters, digits and `_`: the suffix of the variables' names",
    ),
    "^[A-Z_][A-Z0-9_]*$": Correction(
        "is not an environment variable name",
        "write the variable's name in upper case, never the URL or secret itself",
    ),
}
"""By the pattern; the value may be a URL or a secret, which must not reach a log."""
Version: TypeAlias = Annotated[int, BeforeValidator(_version), WithJsonSchema({"const": 1})]
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
InvitedStatus: TypeAlias = Literal[
    MembershipStatus.PENDING,
    MembershipStatus.INVITATION_EXPIRED,
    MembershipStatus.INVITATION_REJECTED,
]
Rate: TypeAlias = Annotated[
    Annotated[float, Field(gt=0, allow_inf_nan=False)] | None,
    BeforeValidator(_null),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}]}),
]
Count: TypeAlias = Annotated[int, Field(ge=0, le=_MAX_COUNT)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
