"""Bodies, headers, API versions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from re import compile as pattern
from typing import Final, NamedTuple, TypeAlias

import orjson

# JSON as Python holds it, and the compact text that Atlas sends of it.


Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None


class Missing:
    """Stands for a key that is left out of a document altogether."""


MISSING: Final = Missing()


def to_json(document: Json) -> bytes:
    """Compact JSON with its keys in alphabetical order, as every recorded answer has them.

    Source: the recordings of 2025-03-28 to 2026-08-10.
    """
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def render_document(fields: Mapping[str, Json | Missing]) -> bytes:
    """Like `dump`, with the keys whose value is `MISSING` left out, and made to be kept.

    orjson gives its bytes with up to 4 KiB behind them; a copy has none.
    """
    present_fields = {key: value for key, value in fields.items() if not isinstance(value, Missing)}
    return memoryview(to_json(present_fields)).tobytes()


def parse_object(body: bytes) -> dict[str, object] | None:
    """The JSON object in a request's body; None where it is no JSON object."""
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


# Answers as data: a status, a body and what is special about the head.


ERROR_MEDIA: Final = "application/json"
"""Errors carry neither a version nor a charset. Source: 8,738 of 8,831 recordings."""


class HeaderStyle(Enum):
    """Which of the standing headers an answer has; Atlas leaves some out on some answers."""

    API = "api"
    NOT_FOUND = "not found"
    NO_GROUP = "no group"
    CHALLENGE = "challenge"
    EDGE = "edge"
    BARE = "bare"


@dataclass(frozen=True, slots=True)
class SimulatedResponse:
    """What is to be sent.

    Attributes:
        media: The whole `Content-Type`; None for none. With a version to be filled in for `v2`.
        extra: Headers beyond the standing ones.
    """

    status: int
    body: bytes = b""
    media: str | None = None
    style: HeaderStyle = HeaderStyle.API
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class BucketState:
    """What the bucket of a request holds after it."""

    limit: int
    remaining: int


def reason_phrase(status: int) -> str:
    """The words beside a status number."""
    return HTTPStatus(status).phrase


def api_error(status: int, code: str, detail: str, *parameters: Json) -> SimulatedResponse:
    """An `ApiError` as the recordings show it: compact, alphabetical, the code in a header too.

    Source: `X-Error-Code` is on every error of 2026-07 and later, but for 401 and 405.
    """
    body: dict[str, Json] = {
        "detail": detail,
        "error": status,
        "errorCode": code,
        "parameters": parameters,
        "reason": reason_phrase(status),
    }
    has_code_header = status not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.METHOD_NOT_ALLOWED}
    return SimulatedResponse(
        status,
        to_json(body),
        ERROR_MEDIA,
        HeaderStyle.NOT_FOUND if status == HTTPStatus.NOT_FOUND else HeaderStyle.API,
        (("X-Error-Code", code),) if has_code_header else (),
    )


def unauthorized(challenge: str) -> SimulatedResponse:
    """The first 401: no credentials, unknown ones and wrong ones all get this same answer.

    Source: the recordings of 2026-08-10; pretty-printed, and in another order of keys.
    """
    body = (
        b'{\n  "error" : 401,\n  "reason" : "Unauthorized",\n'
        b'  "detail" : "You are not authorized for this resource.",\n'
        b'  "errorCode" : "UNEXPECTED_ERROR"\n}'
    )
    extra = (("Www-Authenticate", challenge),)
    return SimulatedResponse(401, body, ERROR_MEDIA, HeaderStyle.CHALLENGE, extra)


def missing_role(code: str = "USER_UNAUTHORIZED") -> SimulatedResponse:
    """401, not 403: the credentials are good and the role is missing.

    Source: texts quoted in the fact sheet, section 5; its headers are assumed.
    """
    return api_error(401, code, "Current user is not authorized to perform this action.")


def method_not_allowed(allow: str) -> SimulatedResponse:
    """405 with an empty body and no media type.

    Source: `DELETE /groups/` in the recordings of 2025-04-15.
    """
    return SimulatedResponse(405, b"", None, HeaderStyle.EDGE, (("Allow", allow),))


def group_not_found(group_id: str) -> SimulatedResponse:
    """404 for a project that is not there. Source: recording of 2026-08-10."""
    response = api_error(404, "GROUP_NOT_FOUND", f"No group with ID {group_id} exists.", group_id)
    return replace(response, style=HeaderStyle.NO_GROUP)


def resource_not_found(what: str) -> SimulatedResponse:
    """404 for anything else that is not there. Source: recording of 2026-08-10."""
    return api_error(404, "RESOURCE_NOT_FOUND", f"Cannot find resource {what}.", what)


# The head of an answer as bytes, with the headers of the recordings, in their order.
#
# A head is a template with at most five holes; templates are kept, since rendering one
# costs more than all the rest of a DELETE.


_SECURITY_HEADERS: Final = (
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("Strict-Transport-Security", "max-age=31536000; includeSubdomains;"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Permitted-Cross-Domain-Policies", "none"),
)
_SERVER: Final = (("Server", "mdbws"),)
_VARY: Final = (("Vary", "Accept-Encoding"),)
_FRAME: Final = (("X-Frame-Options", "DENY"),)
_JAVA: Final = (("X-Java-Version", "17.0.19+10-LTS"),)
_BUILD: Final = "gitHash=203ac0360368239eed8f27b82e06b1be8429648c; versionString=master"
_SERVICE: Final = (("X-Mongodb-Service-Version", _BUILD),)

_STANDARD_HEADERS: Final = {
    HeaderStyle.API: _SECURITY_HEADERS + _SERVER + _FRAME + _JAVA + _SERVICE,
    HeaderStyle.NOT_FOUND: _SECURITY_HEADERS + _SERVER + _FRAME + _JAVA + _SERVICE + _VARY,
    HeaderStyle.NO_GROUP: _SECURITY_HEADERS + _SERVER + _FRAME + _JAVA + _VARY,
    HeaderStyle.CHALLENGE: _SERVER + _VARY,
    HeaderStyle.EDGE: _SECURITY_HEADERS + _SERVER,
    HeaderStyle.BARE: (),
}
_STYLES_WITH_METHOD: Final = frozenset(
    {HeaderStyle.API, HeaderStyle.NOT_FOUND, HeaderStyle.NO_GROUP}
)
_STYLES_WITH_TIMES: Final = _STYLES_WITH_METHOD | {HeaderStyle.CHALLENGE, HeaderStyle.EDGE}
_NO_CONTENT: Final = 204


class Retirement(NamedTuple):
    """When an operation was deprecated and when it ends, as its headers say it."""

    deprecation: str
    sunset: str


class HeaderTemplate(NamedTuple):
    """All that decides which headers a head has; what is left are the five holes."""

    status: int
    media: str | None
    style: HeaderStyle
    extra: tuple[tuple[str, str], ...]
    java_method: str
    retirement: Retirement | None
    has_rate_limit: bool


def header_template(
    response: SimulatedResponse,
    java_method: str,
    retirement: Retirement | None,
    rate: BucketState | None,
) -> HeaderTemplate:
    """The shape of the head of `answer`."""
    status, media, style, extra = response.status, response.media, response.style, response.extra
    return HeaderTemplate(status, media, style, extra, java_method, retirement, rate is not None)


def render_headers(
    template: HeaderTemplate, length: int, date: str, rate: BucketState | None, elapsed_ms: int
) -> bytes:
    """The head's bytes, the empty line at its end included."""
    values: list[object] = [] if template.status == _NO_CONTENT else [length]
    if template.style in _STYLES_WITH_TIMES:
        values.append(date)
        if rate is not None:
            values += (rate.limit, rate.remaining)
        values.append(elapsed_ms)
    return (_format_string(template) % tuple(values)).encode("latin-1")


@lru_cache(maxsize=1024)
def _format_string(template: HeaderTemplate) -> str:
    """A format string; its holes come in the order in which `render` fills them."""
    pairs = [*_STANDARD_HEADERS[template.style], *template.extra]
    if template.media is not None:
        pairs.append(("Content-Type", template.media))
    if template.java_method and template.style in _STYLES_WITH_METHOD:
        pairs.append(("X-Java-Method", template.java_method))
    if template.retirement is not None and template.style in _STYLES_WITH_METHOD:
        pairs.append(("Deprecation", template.retirement.deprecation))
        pairs.append(("Sunset", template.retirement.sunset))
    fixed_headers = [(name, value.replace("%", "%%")) for name, value in pairs]
    lines = (
        f"{name}: {value}\r\n"
        for name, value in sorted(fixed_headers + _variable_headers(template), key=_header_name)
    )
    return f"HTTP/1.1 {template.status} {reason_phrase(template.status)}\r\n{''.join(lines)}\r\n"


def _variable_headers(template: HeaderTemplate) -> list[tuple[str, str]]:
    names = [] if template.status == _NO_CONTENT else ["Content-Length"]
    if template.style in _STYLES_WITH_TIMES:
        names += ["Date", "X-Envoy-Upstream-Service-Time"]
        names += ["Ratelimit-Limit", "Ratelimit-Remaining"] if template.has_rate_limit else []
    return [(name, "%s") for name in names]


def _header_name(pair: tuple[str, str]) -> str:
    return pair[0]


# Which version of an operation answers, as `Accept` asks for it.


_ACCEPT_PATTERN: Final = pattern(r"application/vnd\.atlas\.(\d{4}-\d{2}-\d{2})\+json")


class VersionResolver:
    """Resolves the asked date down to the newest version that is not after it.

    Attributes:
        exact: Whether only a version's own date is taken, as the documentation has it.
        gone: Family of operations and version that are no longer served; `*` for all versions.
        sunsets: What the `Sunset` header of a family says instead of the ordinary.
    """

    def __init__(self) -> None:
        self.exact_only = False
        self.retired: set[tuple[str, str]] = set()
        self.sunsets: dict[str, str] = {}

    def resolve(
        self, accept: str, versions: Sequence[str], family: str, path: str
    ) -> tuple[str, SimulatedResponse | None]:
        """The version that answers, or the 406 or 410 that does.

        Source: fact sheet, section 2; working clients send dates between versions.
        """
        requested = _requested_version(accept)
        version = max((each for each in versions if each <= requested), default="")
        if not version or (self.exact_only and version != requested):
            return "", not_acceptable()
        if self.retired and ((family, version) in self.retired or (family, "*") in self.retired):
            resource = path.lstrip("/")
            detail = f"Version {version} of {resource} is no longer available."
            return "", api_error(410, "VERSION_GONE", detail, version, resource)
        return version, None


def not_acceptable() -> SimulatedResponse:
    """406 for a missing or wrong `Accept`. Source: quoted in the fact sheet, section 2."""
    return api_error(406, "INVALID_VERSION_DATE", "Invalid accept header or version date.")


@lru_cache(maxsize=256)
def _requested_version(accept: str) -> str:
    """The date that `Accept` asks for; empty, and so before every version, where there is none."""
    found = _ACCEPT_PATTERN.search(accept)
    if found is None:
        return ""
    try:
        return date.fromisoformat(found[1]).isoformat()
    except ValueError:
        return ""
