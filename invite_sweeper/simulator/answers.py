"""Answers as data: a status, a body and what is special about the head."""

from dataclasses import dataclass, replace
from enum import Enum
from http import HTTPStatus
from typing import Final

from invite_sweeper.simulator.json_types import Json, dump

ERROR_MEDIA: Final = "application/json"
"""Errors carry neither a version nor a charset. Source: 8,738 of 8,831 recordings."""


class Style(Enum):
    """Which of the standing headers an answer has; Atlas leaves some out on some answers."""

    API = "api"
    NOT_FOUND = "not found"
    NO_GROUP = "no group"
    CHALLENGE = "challenge"
    EDGE = "edge"
    BARE = "bare"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to be sent.

    Attributes:
        media: The whole `Content-Type`; None for none. With a version to be filled in for `v2`.
        extra: Headers beyond the standing ones.
    """

    status: int
    body: bytes = b""
    media: str | None = None
    style: Style = Style.API
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Rate:
    """What the bucket of a request holds after it."""

    limit: int
    remaining: int


def reason(status: int) -> str:
    """The words beside a status number."""
    return HTTPStatus(status).phrase


def error(status: int, code: str, detail: str, *parameters: Json) -> Answer:
    """An `ApiError` as the recordings show it: compact, alphabetical, the code in a header too.

    Source: `X-Error-Code` is on every error of 2026-07 and later, but for 401 and 405.
    """
    body: dict[str, Json] = {
        "detail": detail,
        "error": status,
        "errorCode": code,
        "parameters": parameters,
        "reason": reason(status),
    }
    tell = status not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.METHOD_NOT_ALLOWED}
    return Answer(
        status,
        dump(body),
        ERROR_MEDIA,
        Style.NOT_FOUND if status == HTTPStatus.NOT_FOUND else Style.API,
        (("X-Error-Code", code),) if tell else (),
    )


def unauthorized(challenge: str) -> Answer:
    """The first 401: no credentials, unknown ones and wrong ones all get this same answer.

    Source: the recordings of 2026-08-10; pretty-printed, and in another order of keys.
    """
    body = (
        b'{\n  "error" : 401,\n  "reason" : "Unauthorized",\n'
        b'  "detail" : "You are not authorized for this resource.",\n'
        b'  "errorCode" : "UNEXPECTED_ERROR"\n}'
    )
    extra = (("Www-Authenticate", challenge),)
    return Answer(401, body, ERROR_MEDIA, Style.CHALLENGE, extra)


def lacks_role(code: str = "USER_UNAUTHORIZED") -> Answer:
    """401, not 403: the credentials are good and the role is missing.

    Source: texts quoted in the fact sheet, section 5; its headers are assumed.
    """
    return error(401, code, "Current user is not authorized to perform this action.")


def method_not_allowed(allow: str) -> Answer:
    """405 with an empty body and no media type.

    Source: `DELETE /groups/` in the recordings of 2025-04-15.
    """
    return Answer(405, b"", None, Style.EDGE, (("Allow", allow),))


def group_not_found(group_id: str) -> Answer:
    """404 for a project that is not there. Source: recording of 2026-08-10."""
    answer = error(404, "GROUP_NOT_FOUND", f"No group with ID {group_id} exists.", group_id)
    return replace(answer, style=Style.NO_GROUP)


def resource_not_found(what: str) -> Answer:
    """404 for anything else that is not there. Source: recording of 2026-08-10."""
    return error(404, "RESOURCE_NOT_FOUND", f"Cannot find resource {what}.", what)
