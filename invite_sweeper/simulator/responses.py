"""Bodies of responses as Atlas sends them, and the errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeAlias

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


def parse_object(body: bytes) -> dict[str, object]:
    """Return the JSON object in a body; an empty one if it is not one."""
    try:
        value: object = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


ERROR_MEDIA: Final = "application/json"
"""Media type of errors, without version and charset. Source: 8,738 of 8,831 recordings."""


@dataclass(frozen=True, slots=True)
class SimulatedResponse:
    """A response to send.

    Attributes:
        media: The whole `Content-Type`; None for no such header.
        headers: Further headers.
        dated: Whether it has a `Date`; the page of a proxy has none.
    """

    status: int
    body: bytes = b""
    media: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    dated: bool = True


class Rejected(Exception):
    """A request that is answered with an error."""

    def __init__(self, response: SimulatedResponse) -> None:
        super().__init__(response.status)
        self.response = response


def api_error(status: int, code: str, detail: str, *parameters: Json) -> SimulatedResponse:
    """Return an `ApiError`, with its code in a header too.

    Source: recordings. Since 2026-07, every error but 401 and 405 has `X-Error-Code`.
    """
    body: dict[str, Json] = {
        "detail": detail,
        "error": status,
        "errorCode": code,
        "parameters": parameters,
        "reason": HTTPStatus(status).phrase,
    }
    has_code_header = status not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.METHOD_NOT_ALLOWED}
    headers = (("X-Error-Code", code),) if has_code_header else ()
    return SimulatedResponse(status, to_json(body), ERROR_MEDIA, headers)


def unauthorized(challenge: str) -> SimulatedResponse:
    """Return Digest's first 401, the same for missing, unknown and wrong credentials.

    Source: recordings of 2026-08-10; the body is indented and its keys are not sorted.
    """
    body = (
        b'{\n  "error" : 401,\n  "reason" : "Unauthorized",\n'
        b'  "detail" : "You are not authorized for this resource.",\n'
        b'  "errorCode" : "UNEXPECTED_ERROR"\n}'
    )
    return SimulatedResponse(401, body, ERROR_MEDIA, (("Www-Authenticate", challenge),))


def missing_role(code: str = "USER_UNAUTHORIZED") -> SimulatedResponse:
    """Return the 401 (not 403) for valid credentials without the required role.

    Source: texts quoted in the fact sheet, section 5.
    """
    return api_error(401, code, "Current user is not authorized to perform this action.")


def group_not_found(group_id: str) -> SimulatedResponse:
    """Return the 404 of an unknown project. Source: recording of 2026-08-10."""
    return api_error(404, "GROUP_NOT_FOUND", f"No group with ID {group_id} exists.", group_id)


def resource_not_found(resource: str) -> SimulatedResponse:
    """Return the 404 of any other unknown resource. Source: recording of 2026-08-10."""
    return api_error(404, "RESOURCE_NOT_FOUND", f"Cannot find resource {resource}.", resource)
