"""Bodies and headers of responses as Atlas sends them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

import msgspec

Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None


class Missing:
    """Marks a key that is left out of a document."""


MISSING: Final = Missing()


def to_json(document: Json) -> bytes:
    """Return compact JSON with sorted keys, as in every recorded response.

    Source: the recordings of 2025-03-28 to 2026-08-10.
    """
    return msgspec.json.encode(document, order="sorted")


def render_document(fields: Mapping[str, Json | Missing]) -> bytes:
    """Return compact JSON without the keys that are `MISSING`."""
    return to_json({key: value for key, value in fields.items() if not isinstance(value, Missing)})


def parse_object(body: bytes) -> dict[str, object] | None:
    """Return the JSON object in a body; None if it is not one."""
    try:
        value: object = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


ERROR_MEDIA: Final = "application/json"
"""Media type of errors, without version and charset. Source: 8,738 of 8,831 recordings."""


class HeaderStyle(Enum):
    """Selects the standard headers of a response; Atlas omits some of them in some cases."""

    API = "api"
    NOT_FOUND = "not found"
    NO_GROUP = "no group"
    CHALLENGE = "challenge"
    EDGE = "edge"
    BARE = "bare"


@dataclass(frozen=True, slots=True)
class SimulatedResponse:
    """A response to send.

    Attributes:
        media: The whole `Content-Type`; None for no such header.
        style: Which standard headers it has.
        extra: Additional headers.
    """

    status: int
    body: bytes = b""
    media: str | None = None
    style: HeaderStyle = HeaderStyle.API
    extra: tuple[tuple[str, str], ...] = ()


class Rejected(Exception):
    """A request that is answered with an error."""

    def __init__(self, response: SimulatedResponse) -> None:
        super().__init__(response.status)
        self.response = response


@dataclass(frozen=True, slots=True)
class BucketState:
    """The state of a request's token bucket after the request, for its headers."""

    limit: int
    remaining: int


def reason_phrase(status: int) -> str:
    """Return the reason phrase of a status."""
    return HTTPStatus(status).phrase


def api_error(status: int, code: str, detail: str, *parameters: Json) -> SimulatedResponse:
    """Return an `ApiError`, with its code in a header too.

    Source: recordings. Since 2026-07, every error but 401 and 405 has `X-Error-Code`.
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
    """Return Digest's first 401, the same for missing, unknown and wrong credentials.

    Source: recordings of 2026-08-10; the body is indented and its keys are not sorted.
    """
    body = (
        b'{\n  "error" : 401,\n  "reason" : "Unauthorized",\n'
        b'  "detail" : "You are not authorized for this resource.",\n'
        b'  "errorCode" : "UNEXPECTED_ERROR"\n}'
    )
    extra = (("Www-Authenticate", challenge),)
    return SimulatedResponse(401, body, ERROR_MEDIA, HeaderStyle.CHALLENGE, extra)


def missing_role(code: str = "USER_UNAUTHORIZED") -> SimulatedResponse:
    """Return the 401 (not 403) for valid credentials without the required role.

    Source: texts quoted in the fact sheet, section 5; the headers are assumed.
    """
    return api_error(401, code, "Current user is not authorized to perform this action.")


def method_not_allowed(allow: str) -> SimulatedResponse:
    """Return a 405 with an empty body and no media type.

    Source: `DELETE /groups/` in the recordings of 2025-04-15.
    """
    return SimulatedResponse(405, b"", None, HeaderStyle.EDGE, (("Allow", allow),))


def group_not_found(group_id: str) -> SimulatedResponse:
    """Return the 404 of an unknown project. Source: recording of 2026-08-10."""
    response = api_error(404, "GROUP_NOT_FOUND", f"No group with ID {group_id} exists.", group_id)
    return replace(response, style=HeaderStyle.NO_GROUP)


def resource_not_found(resource: str) -> SimulatedResponse:
    """Return the 404 of any other unknown resource. Source: recording of 2026-08-10."""
    return api_error(404, "RESOURCE_NOT_FOUND", f"Cannot find resource {resource}.", resource)


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
    """The `Deprecation` and `Sunset` headers of an endpoint."""

    deprecation: str
    sunset: str


@dataclass(frozen=True, slots=True)
class HandledResponse:
    """A response and the values of its endpoint's headers."""

    response: SimulatedResponse
    java_method: str = ""
    retirement: Retirement | None = None
    rate: BucketState | None = None


def render_headers(handled: HandledResponse, date: str, elapsed_ms: int) -> bytes:
    """Return the bytes of the status line and headers, with the final empty line."""
    response, rate = handled.response, handled.rate
    head = replace(response, body=b"")
    template = _head_template(head, handled.java_method, handled.retirement, rate is not None)
    values: dict[str, object] = {"length": len(response.body), "date": date, "ms": elapsed_ms}
    if rate is not None:
        values |= {"limit": rate.limit, "remaining": rate.remaining}
    return (template % values).encode("latin-1")


@lru_cache(maxsize=1024)
def _head_template(
    head: SimulatedResponse, java_method: str, retirement: Retirement | None, has_rate: bool
) -> str:
    """Return the format string of a head; building one costs more than the rest of a DELETE."""
    pairs = [*_STANDARD_HEADERS[head.style], *head.extra]
    if head.media is not None:
        pairs.append(("Content-Type", head.media))
    if head.style in _STYLES_WITH_METHOD:
        if java_method:
            pairs.append(("X-Java-Method", java_method))
        if retirement is not None:
            pairs += (("Deprecation", retirement.deprecation), ("Sunset", retirement.sunset))
    pairs = [(name, value.replace("%", "%%")) for name, value in pairs]
    if head.status != _NO_CONTENT:
        pairs.append(("Content-Length", "%(length)s"))
    if head.style in _STYLES_WITH_TIMES:
        pairs += (("Date", "%(date)s"), ("X-Envoy-Upstream-Service-Time", "%(ms)s"))
        if has_rate:
            pairs += (("Ratelimit-Limit", "%(limit)s"), ("Ratelimit-Remaining", "%(remaining)s"))
    lines = "".join(f"{name}: {value}\r\n" for name, value in sorted(pairs, key=itemgetter(0)))
    return f"HTTP/1.1 {head.status} {reason_phrase(head.status)}\r\n{lines}\r\n"
