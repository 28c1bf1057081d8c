"""A request as it arrives, and responses as Atlas sends them."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, TypeAlias
from urllib.parse import parse_qs, unquote

import msgspec

Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None
API_PREFIX: Final = "/api/atlas/v2"
LOCALHOST: Final = "127.0.0.1"
"""Where the simulated Atlas listens, and so the address of each client."""
ERROR_MEDIA: Final = "application/json"
"""Media type of errors, without version and charset. Source: 8,738 of 8,831 recordings."""


def render_json(document: Json) -> bytes:
    """Return compact JSON with sorted keys, as in every recorded response.

    Source: the recordings of 2025-03-28 to 2026-08-10.
    """
    return msgspec.json.encode(document, order="sorted")


def format_atlas_time(timestamp: datetime) -> str:
    """Format a timestamp as `2026-08-10T03:04:53Z`: whole seconds, always `Z`.

    Source: all 4,342 timestamps in the recordings.
    """
    return timestamp.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class SimulatedResponse:
    """A response to send.

    Attributes:
        media: The whole `Content-Type`; None for no such header.
        headers: Further headers.
    """

    status: int
    body: bytes = b""
    media: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Rejected(Exception):
    """A request that is answered with an error."""

    def __init__(self, response: SimulatedResponse) -> None:
        super().__init__(response.status)
        self.response = response


@dataclass(slots=True, eq=False)
class Call:
    """A request as it arrives; a fault may change it before it is executed.

    Attributes:
        target: Path and query as sent.
        headers: A case-insensitive mapping.
        transport: The connection, for a fault that breaks it.
        path: The target without its query.
        query: The values of each parameter.
        template: The path below `/api/atlas/v2` with `{}` for each id; empty if it is another.
        place_id: The project or organization in the path; empty if it has none.
        item_id: The invitation or user in the path; empty if it has none.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    transport: asyncio.Transport | None
    path: str = field(init=False)
    query: dict[str, list[str]] = field(init=False)
    template: str = field(init=False, default="")
    place_id: str = field(init=False, default="")
    item_id: str = field(init=False, default="")

    def __post_init__(self) -> None:
        """Parse the target.

        A trailing slash is ignored: `/groups/` is `/groups`.
        Source: recordings of `GET /groups/` and `DELETE /groups/`.
        """
        self.path, _, query = self.target.partition("?")
        self.query = parse_qs(query)
        start, _, resource = self.path.partition(f"{API_PREFIX}/")
        if not start:
            # Every other part is an id: `groups/{}/invites/{}`.
            parts = resource.removesuffix("/").split("/")
            ids = [unquote(part) for part in parts[1::2]]
            parts[1::2] = ["{}"] * len(ids)
            self.template = "/" + "/".join(parts)
            self.place_id, self.item_id = (*ids, "", "")[:2]


def api_error(
    status: int, code: str, detail: str, *parameters: Json, retry_after: str | None = None
) -> SimulatedResponse:
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
    headers = [] if retry_after is None else [("Retry-After", retry_after)]
    if status not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.METHOD_NOT_ALLOWED}:
        headers.append(("X-Error-Code", code))
    return SimulatedResponse(status, render_json(body), ERROR_MEDIA, tuple(headers))


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

    Source: Atlas documentation, API error codes. Read 2026.
    """
    return api_error(401, code, "Current user is not authorized to perform this action.")


def resource_not_found(resource: str) -> SimulatedResponse:
    """Return the 404 of an unknown resource. Source: recording of 2026-08-10."""
    return api_error(404, "RESOURCE_NOT_FOUND", f"Cannot find resource {resource}.", resource)
